"""What `metrics` reads: from a journal, its index or metrics files to a report.

Puts parts together and decides nothing about figures. It only reads; the one thing it keeps is the index, a view of the
journal that can be thrown away.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal

from tpctl.adapters.files import StateDir, find_state_dir
from tpctl.adapters.journal_scan import JournalScan, OpenAttempt
from tpctl.adapters.metrics_positions import charges, delays, excursions, in_hindsight
from tpctl.adapters.metrics_query import Group, MetricsQuery, Selection
from tpctl.adapters.metrics_store import open_index
from tpctl.cli.metrics_options import MetricsOptions
from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.scoring import Record
from tpctl.exits.statistics import Dimension, Tally, to_pico, total
from tpctl.exits.targets import judge_targets
from tpctl.exits.units import ZERO, Millis
from tpctl.market.incidence import band, hit_incidence
from tpctl.settings.profile import profile_state
from tpctl.views.metrics_report import FIELDS, NOT_IN_FILE, MetricsReport, Rest, Row, value_of

# Attempts an index has to take in before it is worth a word on a terminal.
_TOLD_FROM = 50_000
_TREND_BUCKETS = 16
_OPEN_BY = frozenset({Dimension.STRATEGY, Dimension.SYMBOL, Dimension.LEG, Dimension.SIDE, Dimension.ARM})


@dataclass(frozen=True, slots=True)
class Source:
    """What a run reads. `scan` and `query` are None where there is only a metrics file, or nothing at all."""

    name: str
    scan: JournalScan | None
    query: MetricsQuery | None
    records: tuple[Record, ...]
    warnings: tuple[tuple[str, str], ...] = ()


@contextmanager
def opened(options: MetricsOptions) -> Iterator[tuple[Source, str, str]]:
    """Open what the run reads; yields it with the profile's name and environment."""
    profile, env, place = profile_state(options.shared.config, options.shared.profile, options.shared.state_dir)
    if options.merge:
        from tpctl.cli.metrics_merge import opened_merge

        with opened_merge(options.merge) as (scan, index, records, warnings):
            query = None if index is None else MetricsQuery(index)
            yield Source("the files named", scan, query, records, warnings), profile, env
        return
    state = None if options.file is not None else find_state_dir(place)
    if state is None or not state.journal.exists():
        yield _file_source(options, state or StateDir(place.absolute())), profile, env
        return
    with JournalScan.open(state.journal) as scan:
        index, warning = open_index(state.path / "metrics-index.db", scan, _teller(options))
        with index:
            warnings = () if warning is None else (("index", warning),)
            yield Source(str(state.journal), scan, MetricsQuery(index), (), warnings), profile, env


def _file_source(options: MetricsOptions, state: StateDir) -> Source:
    from tpctl.adapters.metrics_file import MetricsFile, metrics_path

    path = metrics_path(state, options.file, os.environ)
    records = MetricsFile(path).read()
    if records is None and options.file is not None:
        raise InputsError(f"metrics file {str(path)!r} does not exist", "check the path after --file")
    if records is None:
        return Source(str(state.path), None, None, ())
    return Source(str(path), None, None, tuple(records.values()))


def _teller(options: MetricsOptions) -> Callable[[int, int], None] | None:
    """Return what tells how a long first reading goes on, on a terminal only."""
    if options.shared.quiet or not sys.stderr.isatty():
        return None

    def tell(row: int, through: int) -> None:
        if through >= _TOLD_FROM:
            end = "\n" if row >= through else ""
            sys.stderr.write(f"\rreading the journal: {row * 100 // through}% {end}")
            sys.stderr.flush()

    return tell


def selection(source: Source, options: MetricsOptions, env: str) -> Selection:
    """Return which attempts the options ask for; ages count from the present."""
    since = None
    if options.since is not None:
        since = options.since.at
        if options.since.age_ms is not None:
            since = _present(source, env) - options.since.age_ms
    return Selection(options.strategies, options.symbols, since, None)


def _present(source: Source, env: str) -> Millis:
    """Return the present: the market's own in sim, where it is not that of the wall."""
    if env == "sim" and source.query is not None:
        span = source.query.span(Selection())
        if span is not None:
            return span[1] + 1
    return time.time_ns() // 1_000_000


def build(source: Source, options: MetricsOptions, chosen: Selection) -> MetricsReport:
    """Return the report of what is selected."""
    if source.query is None:
        return _of_records(source, options, chosen)
    query, by = source.query, options.by
    waiting = _waiting(source, options, chosen)
    rows = _rows(query, options, chosen, waiting)
    totals = Row((), total(row.tally for row in rows), waiting if isinstance(waiting, Unavailable) else len(waiting))
    return MetricsReport(
        by=by,
        rows=rows,
        totals=totals,
        source=source.name,
        min_attempts=options.min_attempts,
        targets=options.targets,
        rest=_rest(source, chosen, waiting),
        span=query.span(chosen) if options.report is not None else None,
        warnings=source.warnings,
    )


def regrouped(source: Source, options: MetricsOptions, chosen: Selection, report: MetricsReport) -> MetricsReport:
    """Return the same attempts grouped as the options say, and nothing else anew."""
    query, waiting = query_of(source, "the report"), _waiting(source, options, chosen)
    return replace(report, by=options.by, rows=_rows(query, options, chosen, waiting))


def _waiting(source: Source, options: MetricsOptions, chosen: Selection) -> tuple[OpenAttempt, ...] | Unavailable:
    if options.merge:
        return Unavailable("open attempts of several journals are not told apart")
    opened = source.scan.open_attempts() if source.scan is not None else Unavailable("no journal was read")
    return opened if isinstance(opened, Unavailable) else _chosen_open(opened, chosen)


def _rows(
    query: MetricsQuery,
    options: MetricsOptions,
    chosen: Selection,
    waiting: tuple[OpenAttempt, ...] | Unavailable,
) -> tuple[Row, ...]:
    groups, counts = query.tallies(options.by, chosen), _waiting_by(options.by, waiting)
    if not isinstance(counts, Unavailable):
        groups |= {group: Tally() for group in counts if group not in groups}
    trends = _trends(query, options, chosen) if options.trend else {}
    # Every reason is all hits or all misses: there is nothing to judge.
    judged = Dimension.REASON not in options.by
    rows = [
        Row(
            group,
            tally,
            counts if isinstance(counts, Unavailable) else counts.get(group, 0),
            judge_targets(tally, options.targets, options.min_attempts) if judged else (),
            trends.get(group, ()),
        )
        for group, tally in groups.items()
    ]
    return tuple(_sorted(rows, options))


def _rest(source: Source, chosen: Selection, waiting: tuple[OpenAttempt, ...] | Unavailable) -> Rest:
    query = query_of(source, "the report")
    now = source.scan.newest_at() if source.scan is not None else None
    opened: dict[int, int] = {}
    if not isinstance(waiting, Unavailable) and now is not None:
        for attempt in waiting:
            age = band(max(0, now - attempt.since))
            opened[age] = opened.get(age, 0) + 1
    hits, misses = query.ages(chosen)
    return Rest(
        slippage=query.slippage(chosen),
        stop_slippage=query.stop_slippage(chosen),
        naked_ms=query.naked_ms(chosen),
        closes=query.closes(chosen),
        stop_moves=query.stop_moves(chosen),
        incidence=hit_incidence(hits, misses, opened),
        excursions=excursions(query, chosen),
        latency_ms=delays(query, chosen),
        hindsight=in_hindsight(query, chosen),
        charges=charges(query, chosen),
        mid_slippage=query.mid_slippage(chosen),
        mid_late_ms=query.spread("mids", "late", chosen, "1", whole=True),
    )


def _chosen_open(found: Iterable[OpenAttempt], chosen: Selection) -> tuple[OpenAttempt, ...]:
    return tuple(
        attempt
        for attempt in found
        if (not chosen.strategies or attempt.strategy_id in chosen.strategies)
        and (not chosen.symbols or attempt.symbol in chosen.symbols)
    )


def _waiting_by(
    by: tuple[Dimension, ...], waiting: tuple[OpenAttempt, ...] | Unavailable
) -> dict[Group, int] | Unavailable:
    if isinstance(waiting, Unavailable):
        return waiting
    other = next((name for name in by if name not in _OPEN_BY), None)
    if other is not None:
        return Unavailable(f"an open attempt has no {other.value} yet")
    counts: dict[Group, int] = {}
    for attempt in waiting:
        values: dict[Dimension, str | int] = {
            Dimension.STRATEGY: attempt.strategy_id,
            Dimension.SYMBOL: attempt.symbol,
            Dimension.LEG: attempt.leg,
            Dimension.SIDE: attempt.side.value,
            Dimension.ARM: attempt.arm,
        }
        group = tuple(values[name] for name in by)
        counts[group] = counts.get(group, 0) + 1
    return counts


def _of_records(source: Source, options: MetricsOptions, chosen: Selection) -> MetricsReport:
    """Return the report of metrics files: records by strategy and symbol are all they hold."""
    if chosen.since is not None and source.records:
        raise InputsError("--since needs the attempts, a metrics file holds none", "leave --since out")
    other = next((name for name in options.by if name not in {Dimension.STRATEGY, Dimension.SYMBOL}), None)
    if other is not None:
        raise InputsError(
            f"a metrics file does not tell attempts by {other.value}", "group by strategy or symbol, or read a journal"
        )
    groups: dict[Group, list[Tally]] = {}
    for record in source.records:
        if (not chosen.strategies or record.strategy_id in chosen.strategies) and (
            not chosen.symbols or record.symbol in chosen.symbols
        ):
            values = {Dimension.STRATEGY: record.strategy_id, Dimension.SYMBOL: record.symbol}
            groups.setdefault(tuple(values[name] for name in options.by), []).append(_tally(record))
    rows = [
        Row(group, tally, NOT_IN_FILE, judge_targets(tally, options.targets, options.min_attempts), from_file=True)
        for group, tally in ((group, total(tallies)) for group, tallies in groups.items())
    ]
    return MetricsReport(
        by=options.by,
        rows=tuple(_sorted(rows, options)),
        totals=Row((), total(row.tally for row in rows), NOT_IN_FILE, from_file=True),
        source=source.name,
        min_attempts=options.min_attempts,
        targets=options.targets,
        rest=NOT_IN_FILE,
        warnings=source.warnings,
    )


def _tally(record: Record) -> Tally:
    """Return a record's sums, as far as its averages give them back; of the misses' profit it says nothing."""
    hits = record.tp_hits

    def whole(average: Decimal | None) -> int:
        return 0 if average is None else to_pico(average * hits)

    return Tally(
        attempts=record.tp_attempts,
        hits=hits,
        slip_abs=whole(record.avg_slippage_pct),
        slip_sum=whole(record.mean_signed_slippage_pct),
        took=round((record.avg_time_to_tp_minutes or ZERO) * hits * 60_000),
        gain=to_pico(record.total_tp_profit_usd),
        profit=to_pico(record.total_tp_profit_usd),
        premature=record.premature_exits,
        judged=record.premature_exits,
        missed=to_pico(record.missed_opportunities_usd),
        slip_max=to_pico(record.max_slippage_pct or ZERO),
        slowest=round((record.slowest_tp_minutes or ZERO) * 60_000),
        updated=record.last_updated,
        fastest=round((record.fastest_tp_minutes or ZERO) * 60_000),
    )


def _sorted(rows: list[Row], options: MetricsOptions) -> list[Row]:
    rows = sorted(rows, key=lambda row: tuple((isinstance(value, str), value) for value in row.group))
    name = options.sort
    if name is None:
        return rows
    if name in options.by:
        place = options.by.index(Dimension(name))
        return sorted(rows, key=lambda row: row.group[place])
    if name not in FIELDS:
        raise InputsError(f"the rows have no {name!r} to sort by", f"add it to --by, now {', '.join(options.by)}")

    def figure(row: Row) -> tuple[bool, Decimal]:
        value = value_of(row, name)
        return (True, ZERO) if isinstance(value, Unavailable) else (False, -Decimal(value))

    return sorted(rows, key=figure)


def _trends(
    query: MetricsQuery, options: MetricsOptions, chosen: Selection
) -> dict[Group, tuple[tuple[int, int], ...]]:
    span = query.span(chosen)
    if span is None:
        return {}
    start, end = span
    width = (end - start) // _TREND_BUCKETS + 1
    found = query.trend(options.by, chosen, start, width, _TREND_BUCKETS)
    return {
        group: tuple(buckets.get(number, (0, 0)) for number in range(_TREND_BUCKETS))
        for group, buckets in found.items()
    }


def query_of(source: Source, what: str) -> MetricsQuery:
    """Return the attempts to ask; raises `InputsError` where there is no journal."""
    if source.query is None:
        raise InputsError(f"{what} needs the attempts, there is no journal in {source.name}", "run tpctl watch first")
    return source.query


def scan_of(source: Source, what: str) -> JournalScan:
    """Return the journal to read from; raises `InputsError` where there is none."""
    if source.scan is None:
        raise InputsError(f"{what} needs a journal, there is none in {source.name}", "run tpctl watch first")
    return source.scan
