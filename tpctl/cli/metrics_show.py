"""What `metrics` shows of a report: tables, JSON, charts, exports, comparisons, and the exit code that goes with it."""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from heapq import merge as merged
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from tpctl.adapters.metrics_query import MetricsQuery, Selection, Unit
from tpctl.cli.metrics_options import Arm, Export, Heat, MetricsOptions, fields_of
from tpctl.cli.metrics_read import Source, build, opened, query_of, regrouped, scan_of, selection
from tpctl.cli.options import Format, colored
from tpctl.exits.errors import ExitCode, InputsError, TpctlError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.statistics import Dimension
from tpctl.exits.targets import Level
from tpctl.exits.units import Millis
from tpctl.views import metrics as text
from tpctl.views import metrics_fields as fields
from tpctl.views.metrics_report import MetricsReport, group_key, shown_group

if TYPE_CHECKING:
    from tpctl.views.machine import Json
    from tpctl.views.metrics_charts import HeatMap

_WORST_TRADES = 6
# What a report tells attempts by beside the grouping asked for.
_PARTS = (Dimension.LEG, Dimension.SIDE, Dimension.REGIME, Dimension.REASON)
_NAGIOS_CODES = {Level.OK: 0, Level.UNJUDGED: 0, Level.WARNING: 1, Level.CRITICAL: 2}
_NAGIOS_UNKNOWN = 3


def run_nagios(options: MetricsOptions) -> ExitCode:
    """Print one status line and leave with the codes a monitoring plugin has: 0, 1, 2, or 3 for unknown."""
    try:
        with opened(options) as (source, _, _):
            report = build(source, options, selection(source, options, "live"))
        line, code = text.nagios_line(report), _NAGIOS_CODES[report.level]
        if not report.rows:
            line, code = "TPCTL UNKNOWN - no attempts on record\n", _NAGIOS_UNKNOWN
    except TpctlError as error:
        line, code = f"TPCTL UNKNOWN - {error.message}\n", _NAGIOS_UNKNOWN
    sys.stdout.write(line)
    # Not one of tpctl's own exit codes: 1 and 2 mean something else there.
    raise SystemExit(code)


def run_read(options: MetricsOptions) -> ExitCode:
    """Show what the options ask for and return the exit code."""
    with opened(options) as (source, profile, env):
        chosen = selection(source, options, env)
        if options.compare is not None:
            return _compare(source, options, chosen, options.compare, (profile, env))
        if options.export is not None:
            return _export(source, options, chosen, env)
        report = build(source, options, chosen)
        if options.report is not None:
            return _page(source, options, chosen, report, options.report, (profile, env))
        if options.plot is not None:
            _plot(source, options, chosen, options.plot)
        _print(source, options, chosen, report, (profile, env))
        if not options.shared.quiet and options.format is not Format.JSON:
            sys.stderr.writelines(f"warning: {text}\n" for _, text in report.warnings)
    if not report.rows:
        if not options.shared.quiet:
            sys.stderr.write(f"no attempts on record in {source.name}\n")
        return ExitCode.EMPTY
    if options.check and report.level in {Level.WARNING, Level.CRITICAL}:
        return ExitCode.CHECK_CRITICAL if report.level is Level.CRITICAL else ExitCode.CHECK_WARNING
    return ExitCode.OK


def _print(
    source: Source, options: MetricsOptions, chosen: Selection, report: MetricsReport, place: tuple[str, str]
) -> None:
    out, names = sys.stdout, fields_of(options)
    if options.format is Format.JSON:
        extra: dict[str, Json] = {}
        if options.heatmap is not None:
            extra["heatmap"] = _heat_fields(_heat(source, options.heatmap, chosen))
        out.write(fields.document_text(report, _now(), place, names, extra))
    elif options.feedback:
        out.write(text.feedback_text(report.totals.tally))
    elif options.format is Format.JSONL:
        out.write(fields.jsonl_text(report, names))
    elif options.format is Format.CSV:
        out.write(fields.csv_text(report, names))
    elif options.format is Format.PLAIN:
        out.write(fields.plain_text(report, names))
    elif report.rows:
        color, screen = colored(options.shared.color), get_terminal_size().columns if out.isatty() else None
        if options.heatmap is not None:
            from tpctl.views.metrics_charts import heat_text

            heat = _heat(source, options.heatmap, chosen)
            out.write(heat_text(heat, options.min_attempts, color=color, screen=screen))
        elif options.show_targets:
            out.write(text.targets_text(report, color=color))
        else:
            quiet = options.shared.quiet
            fixed = options.fields is not None
            out.write(text.table_text(report, names, quiet=quiet, color=color, screen=screen, fixed=fixed))


def _now() -> Millis:
    return time.time_ns() // 1_000_000


def _heat(source: Source, kind: Heat, chosen: Selection) -> "HeatMap":
    from tpctl.views.metrics_charts import HeatMap

    dimension = Dimension(kind.value)
    found = query_of(source, "--heatmap").tallies((Dimension.SYMBOL, dimension), chosen)
    symbols = sorted({str(group[0]) for group in found})
    values = (
        range(24) if kind is Heat.HOUR else range(7) if kind is Heat.WEEKDAY else sorted({int(g[1]) for g in found})
    )
    columns = {value: number for number, value in enumerate(values)}
    labels = [f"{value:02}" if kind is Heat.HOUR else shown_group(dimension, value) for value in values]
    cells = {(symbols.index(str(group[0])), columns[int(group[1])]): tally for group, tally in found.items()}
    words = {
        Heat.HOUR: "hour of the exit, UTC",
        Heat.WEEKDAY: "weekday of the exit, UTC",
        Heat.DISTANCE: "distance of the target, from",
    }
    return HeatMap(f"symbol by {words[kind]}", tuple(symbols), tuple(labels), cells)


def _heat_fields(heat: "HeatMap") -> "list[Json]":
    return [
        {"symbol": heat.rows[row], "column": heat.columns[column], "attempts": tally.attempts, "hits": tally.hits}
        for (row, column), tally in sorted(heat.cells.items())
    ]


def _plot(source: Source, options: MetricsOptions, chosen: Selection, path: Path) -> None:
    from tpctl.adapters.metrics_export import write_bytes

    heat = None if options.heatmap is None else _heat(source, options.heatmap, chosen)
    points = query_of(source, "--plot").equity(chosen) if heat is None else []
    if path.suffix == ".png":
        from tpctl.views.metrics_png import equity_png, heat_png

        drawn = equity_png(points, path) if heat is None else heat_png(heat, options.min_attempts, path)
    else:
        from tpctl.views.metrics_svg import alone, equity_svg, heat_svg

        svg = equity_svg(points) if heat is None else heat_svg(heat, options.min_attempts)
        page = alone(svg) if path.suffix == ".svg" else f"<!doctype html><meta charset=utf-8><body>{svg}</body>\n"
        drawn = page.encode()
    write_bytes(drawn, path)
    _say(options, f"wrote {path}")


def _say(options: MetricsOptions, text: str) -> None:
    if not options.shared.quiet:
        sys.stderr.write(f"{text}\n")


def _page(
    source: Source,
    options: MetricsOptions,
    chosen: Selection,
    report: MetricsReport,
    path: Path,
    place: tuple[str, str],
) -> ExitCode:
    from tpctl.adapters.metrics_export import write_bytes
    from tpctl.cli.metrics_trades import worst_trades
    from tpctl.views.metrics_page import Page, page_html

    query, scan = query_of(source, "--report"), scan_of(source, "--report")
    page = Page(
        title="How good the exits are",
        made_at=_now(),
        profile=place[0],
        env=place[1],
        report=report,
        parts=tuple(
            regrouped(source, replace(options, by=(by,), sort=None), chosen, report)
            for by in _PARTS
            if by not in report.by
        ),
        equity=tuple(query.equity(chosen)),
        heats=tuple(_heat(source, kind, chosen) for kind in Heat),
        trades=worst_trades(scan, query, chosen, _WORST_TRADES),
    )
    write_bytes(page_html(page).encode(), path)
    _say(options, f"wrote {path}")
    return ExitCode.OK if report.rows else ExitCode.EMPTY


def _export(source: Source, options: MetricsOptions, chosen: Selection, env: str) -> ExitCode:
    from tpctl.adapters import metrics_export as export

    if options.export is Export.PROM:
        report = build(source, options, chosen)
        groups = [
            (
                {group_key(d): shown_group(d, v) for d, v in zip(report.by, row.group, strict=True)},
                row.tally,
                row.waiting if isinstance(row.waiting, int) else None,
            )
            for row in report.rows
        ]
        naked = None if isinstance(report.rest, Unavailable) else report.rest.naked_ms
        page = export.prometheus_text(groups, naked, env)
        if options.output is None:
            sys.stdout.write(page)
        else:
            export.write_bytes(page.encode(), options.output)
        return ExitCode.OK if groups else ExitCode.EMPTY
    query, scan = query_of(source, "--export"), scan_of(source, "--export")
    rows = export.export_rows(scan, query, chosen)
    if options.export is Export.PARQUET and options.output is not None:
        count = export.write_parquet(rows, options.output)
    elif options.output is not None:
        with export.text_file(options.output) as file:
            count = export.write_csv(rows, file)
    else:
        count = export.write_csv(rows, sys.stdout)
    return ExitCode.OK if count else ExitCode.EMPTY


def _compare(
    source: Source, options: MetricsOptions, chosen: Selection, arms: tuple[Arm, Arm], place: tuple[str, str]
) -> ExitCode:
    from tpctl.cli.metrics_ab import compared
    from tpctl.views import metrics_compare

    query = query_of(source, "--compare")
    if not arms[0].period:
        kind = "arm" if arms[0].drawn else "strategy"
        known = sorted(query.arms()) if arms[0].drawn else query.values(Dimension.STRATEGY)
        for arm in arms:
            if arm.text not in known:
                near = get_close_matches(arm.text, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"on record are: {', '.join(known) or 'none'}"
                raise InputsError(f"no attempts of {kind} {arm.text!r} are on record", hint)
    shares = query.arms() if arms[0].drawn else {}
    found = compared((arms[0].text, arms[1].text), _stream(query, arms, chosen), shares)
    if options.format is Format.JSON:
        from tpctl.views.machine import document

        data = {"compare": metrics_compare.compare_fields(found)}
        sys.stdout.write(document("metrics", _now(), *place, "shadow", data, source.warnings))
    else:
        sys.stdout.write(metrics_compare.compare_text(found))
    return ExitCode.OK if all(found.positions) else ExitCode.EMPTY


def _stream(query: MetricsQuery, arms: tuple[Arm, Arm], chosen: Selection) -> Iterator[tuple[int, Unit]]:
    """Yield positions with the number of their arm, in the order they ended."""
    if arms[0].drawn:
        for unit in query.units(chosen, (arms[0].text, arms[1].text)):
            yield int(unit.strategy == arms[1].text), unit
        return
    if not arms[0].period:
        both = Selection((arms[0].text, arms[1].text), chosen.symbols, chosen.since, chosen.until)
        for unit in query.units(both):
            yield int(unit.strategy == arms[1].text), unit
        return
    sides = [_numbered(number, query, arm, chosen) for number, arm in enumerate(arms)]
    for _, number, unit in merged(*sides, key=lambda item: item[:2]):
        yield number, unit


def _numbered(number: int, query: MetricsQuery, arm: Arm, chosen: Selection) -> Iterator[tuple[Millis, int, Unit]]:
    for unit in query.units(Selection(chosen.strategies, chosen.symbols, arm.since, arm.until)):
        yield unit.at, number, unit
