"""The HTML report of `metrics`: one file that opens offline, with its charts drawn inside it.

Decides layout only. Nothing in the page is fetched and nothing in it runs: no script, no font, no image from elsewhere.
Every text that came from a journal is escaped.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from html import escape

from tpctl.adapters.metrics_positions import Captured
from tpctl.adapters.metrics_query import Closed, Spread
from tpctl.exits.instrument import Unavailable
from tpctl.exits.statistics import Tally
from tpctl.exits.targets import Level, worst
from tpctl.exits.units import Millis, Money
from tpctl.views.html_page import section, whole
from tpctl.views.machine import rfc3339
from tpctl.views.metrics import cell, slippage_kinds, table_heads
from tpctl.views.metrics_charts import HeatMap
from tpctl.views.metrics_hindsight import NOT_SETTLED, OTHER_WORDS, early_rates, span
from tpctl.views.metrics_report import TABLE_FIELDS, MetricsReport, Rest, Row, charged, not_recorded, shown_group
from tpctl.views.metrics_svg import equity_svg, heat_svg
from tpctl.views.metrics_trade_svg import Path, trade_svg
from tpctl.views.metrics_values import total_of

# Widths of charts, in pixels: on a desk, and on a telephone.
_WIDE, _NARROW = 880, 350
_REGRET_WORDS = "What the clairvoyant, who leaves at the best price there was, has more is the regret."
_HINDSIGHT_WORDS = "What the price path until four hours after each exit says."


@dataclass(frozen=True, slots=True)
class Trade:
    """One closed position to draw: what it went through, and its levels as (kind, label, price)."""

    closed: Closed
    path: Path
    levels: tuple[tuple[str, str, Decimal], ...]


@dataclass(frozen=True, slots=True)
class Page:
    """What one report page shows; `parts` are the same attempts by other things."""

    title: str
    made_at: Millis
    profile: str
    env: str
    report: MetricsReport
    parts: tuple[MetricsReport, ...]
    equity: tuple[tuple[Millis, Money], ...]
    heats: tuple[HeatMap, ...]
    trades: tuple[Trade, ...]


def page_html(page: Page) -> str:
    """Return the report as one HTML file."""
    report = page.report
    run = f"profile {escape(page.profile)} · env {escape(page.env)} · made {rfc3339(page.made_at)}"
    parts = [
        f"<h1>{escape(page.title)}</h1>",
        f'<p class="faint">{run}{_span(report)}</p>',
        _tiles(report),
        section("By " + _heads(report), _table(report)),
        section("Equity of exits, USD after exit fees", _both(partial(equity_svg, page.equity))),
        *(_heat(report, heat) for heat in page.heats),
        _targets(report),
        *(section("By " + _heads(part), _table(part)) for part in page.parts),
        _exits(report),
        _course(report),
        _hindsight(report),
        _worst(page.trades),
        _not_recorded(report),
    ]
    return whole(page.title, parts)


def _heat(report: MetricsReport, heat: HeatMap) -> str:
    legend = _legend(report, heat.cells.values())
    return section(
        f"Hits: {heat.title}", f'<div class="map">{heat_svg(heat, report.min_attempts, _WIDE)}</div>{legend}'
    )


def _both(draw: Callable[[int], str]) -> str:
    """Return a chart twice, of which the page shows one: as wide as a desk, and as narrow as a telephone."""
    return f'<div class="wide">{draw(_WIDE)}</div><div class="narrow">{draw(_NARROW)}</div>'


def _heads(report: MetricsReport) -> str:
    return ", ".join(dimension.value for dimension in report.by)


def _span(report: MetricsReport) -> str:
    if report.span is None:
        return ""
    first, last = report.span
    return f" · exits from {rfc3339(first)} to {rfc3339(last)}"


def _tiles(report: MetricsReport) -> str:
    total = report.totals
    tiles = [
        (cell(total, "tp_hit_rate"), f"hit rate, 95% {cell(total, 'hit_rate_low')} to {cell(total, 'hit_rate_high')}"),
        (cell(total, "tp_attempts"), f"attempts done, {cell(total, 'tp_open')} open"),
        (cell(total, "profit_usd"), "profit of exits, USD"),
        (cell(total, "avg_r"), "mean R of an attempt"),
        (cell(total, "avg_slippage_pct"), "mean slippage of hits"),
        (cell(total, "premature_exits"), f"exits too early, of {cell(total, 'premature_judged')} judged misses"),
    ]
    rest = report.rest
    if not isinstance(rest, Unavailable):
        mean_r = "n/a" if rest.closes.mean_r is None else f"{rest.closes.mean_r:+.2f} R"
        tiles.append((str(rest.closes.count), f"positions closed, mean {mean_r}"))
    if not isinstance(rest, Unavailable) and rest.naked_ms is not None:
        _, p50, p99, longest = rest.naked_ms
        tiles.append((f"{p99} ms", f"naked time p99; p50 {p50} ms, longest {longest} ms"))
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile"><b>{escape(value)}</b><span>{escape(words)}</span></div>' for value, words in tiles
        )
        + "</div>"
    )


def _table(report: MetricsReport) -> str:
    heads = "".join(
        f"<th{' class=left' if number < len(report.by) else ''}>{escape(head)}</th>"
        for number, head in enumerate(table_heads(report.by, TABLE_FIELDS))
    )
    rows = [_table_row(report, row) for row in report.rows]
    if len(report.rows) > 1:
        rows.append(_table_row(report, report.totals, total=True))
    legend = _legend(report, [row.tally for row in report.rows])
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>{legend}"


def _table_row(report: MetricsReport, row: Row, *, total: bool = False) -> str:
    groups = (
        ["all", *[""] * (len(report.by) - 1)]
        if total
        else [shown_group(dimension, value) for dimension, value in zip(report.by, row.group, strict=True)]
    )
    level = worst(row.findings)
    few = row.tally.attempts < report.min_attempts
    kind = "all" if total else "few" if few else level.value if level in {Level.WARNING, Level.CRITICAL} else ""
    cells = "".join(f"<td class=left>{escape(text)}</td>" for text in groups)
    cells += "".join(f"<td>{escape(cell(row, name, report.min_attempts))}</td>" for name in TABLE_FIELDS)
    return f'<tr class="{kind}">{cells}</tr>'


def _legend(report: MetricsReport, tallies: Iterable[Tally]) -> str:
    """Return what pale figures mean, where there are any."""
    if all(tally.attempts >= report.min_attempts for tally in tallies):
        return ""
    return f'<p class="faint">Pale or in parentheses: fewer than {report.min_attempts} attempts, no judgement.</p>'


def _targets(report: MetricsReport) -> str:
    rows = [
        f'<tr class="{finding.level.value}">'
        + "".join(f"<td class=left>{escape(shown_group(d, v))}</td>" for d, v in zip(report.by, row.group, strict=True))
        + f"<td class=left>{escape(finding.name.replace('_', ' '))}</td><td>{_percent(finding.value)}</td>"
        + f"<td>{_percent(finding.low)} to {_percent(finding.high)}</td><td>{_percent(finding.target)}</td>"
        + f"<td class=left>{finding.level.value}</td></tr>"
        for row in report.rows
        for finding in row.findings
        if finding.level in {Level.WARNING, Level.CRITICAL}
    ]
    if not rows:
        judged = any(f.level is Level.OK for row in report.rows for f in row.findings)
        words = "Every judged figure meets its target." if judged else "Too few attempts to judge."
        return section("Targets", f'<p class="faint">{words}</p>')
    heads = "".join(f"<th class=left>{escape(d.value)}</th>" for d in report.by)
    heads += "<th class=left>figure</th><th>value</th><th>95%</th><th>target</th><th class=left>verdict</th>"
    return section("Missed targets", f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>")


def _exits(report: MetricsReport) -> str:
    rest = report.rest
    if isinstance(rest, Unavailable):
        return section("Positions", f'<p class="faint">n/a: {escape(rest.reason)}</p>')
    closes = rest.closes
    r = "n/a" if closes.mean_r is None else f"{closes.mean_r:+.2f} R"
    parts = [
        f"<p>{closes.count} closed, PnL {closes.pnl:+,.2f} USD after exit fees of {closes.fees:,.2f}, mean {r}.</p>",
        _costs(rest),
        _counts("Closed by", {name.replace("_", "-"): count for name, count in closes.reasons.items()}),
        _counts("Stops moved", rest.stop_moves),
    ]
    kinds = slippage_kinds(rest)
    if kinds:
        rows = "".join(
            f"<tr><td class=left>{escape(name)}</td><td class=left>{against}</td><td>{spread.count}</td>"
            f"<td>{_signed(spread.mean)}</td>"
            + "".join(f"<td>{_signed(value)}</td>" for value in (*spread.quantiles, spread.largest))
            + "</tr>"
            for name, against, spread in kinds
        )
        heads = (
            "<th class=left>slippage, a loss positive</th><th class=left>against</th><th>fills</th><th>mean</th>"
            "<th>p50</th>"
        )
        parts.append(
            f"<table><thead><tr>{heads}<th>p90</th><th>p99</th><th>max</th></tr></thead><tbody>{rows}</tbody></table>"
        )
    return section("Positions", "".join(parts))


def _costs(rest: Rest) -> str:
    """Return what positions cost beside the fees of their exits."""
    words = {"entry_fees_usd": "fees of the entries", "funding_usd": "funding paid", "net_pnl_usd": "PnL after both"}
    told = charged(rest)
    rows = [
        f"<tr><td class=left>{text}</td><td>{cost.spread.count}</td><td>{cost.total:+,.2f}</td>"
        f"<td>{cost.spread.mean:+,.2f}</td><td>{cost.spread.quantiles[0]:+,.2f}</td></tr>"
        for name, text in words.items()
        if not isinstance(cost := told[name], Unavailable)
    ]
    if not rows:
        return ""
    heads = "<th class=left>beside the fees of exits, USD</th><th>positions</th><th>total</th><th>mean</th><th>p50</th>"
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _course(report: MetricsReport) -> str:
    """Return how far positions went while they were held, and how long requests took."""
    rest = report.rest
    if isinstance(rest, Unavailable):
        return ""
    course = rest.excursions
    rows = [
        _spread_row(words, spread, show)
        for words, spread, show in (
            ("most in favour, of the entry", course.mfe, _percent),
            ("most against, of the entry", course.mae, _percent),
            ("most in favour, R", course.mfe_r, _in_r),
            ("most against, R", course.mae_r, _in_r),
            ("captured, of the most in favour", course.capture, _percent),
        )
    ]
    rows += [_spread_row(f"order {stage}, ms", spread, _whole) for stage, spread in rest.latency_ms.items()]
    words = "" if course.captured is None else f'<p class="faint">{_captured_words(course.captured)}</p>'
    return section("While they were held", _spreads(rows, "positions or orders") + words)


def _captured_words(captured: Captured) -> str:
    return (
        f"Together {captured.count} positions took {captured.taken:+,.2f} of the {captured.offered:,.2f} USD their best"
        f" marks offered, {captured.share:.1%}, before fees. The mean of single shares says less: positions that hardly"
        " moved rule it."
    )


def _hindsight(report: MetricsReport) -> str:
    rest = report.rest
    if isinstance(rest, Unavailable):
        return ""
    found = rest.hindsight
    early = [
        f"<tr><td class=left>within {span(one.minutes)}</td><td>{one.judged}</td><td>{one.premature}</td>"
        + "".join(f"<td>{_percent(value)}</td>" for value in early_rates(one))
        + f"<td>{_percent(one.further.quantiles[0]) if one.further is not None else 'n/a'}</td></tr>"
        for one in found.early
    ]
    heads = "<th class=left>target reached after the exit</th><th>misses judged</th><th>too early</th><th>rate</th>"
    heads += "<th>95% low</th><th>high</th><th>best price beyond the exit, p50</th>"
    parts = [
        f'<p class="faint">{_HINDSIGHT_WORDS}</p>',
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(early)}</tbody></table>",
    ]
    rows = [_other_row(OTHER_WORDS[name], other.better, other.better_r) for name, other in found.others.items()]
    if rows:
        heads = "<th class=left>instead of the exits made, more by</th><th>positions</th><th>total USD</th>"
        heads += "<th>mean USD</th><th>p50 USD</th><th>mean R</th><th>p50 R</th>"
        parts.append(f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>")
        parts.append(
            '<p class="faint">What the clairvoyant, who leaves at the best price there was, has more is the regret.</p>'
        )
    else:
        parts.append(f'<p class="faint">n/a: {NOT_SETTLED}</p>')
    return section("In hindsight", "".join(parts))


def _other_row(words: str, usd: Spread, in_r: Spread | None) -> str:
    cells = [str(usd.count), *(f"{value:+,.2f}" for value in (total_of(usd), usd.mean, usd.quantiles[0]))]
    cells += ["n/a", "n/a"] if in_r is None else [f"{in_r.mean:+.2f}", f"{in_r.quantiles[0]:+.2f}"]
    return f"<tr><td class=left>{escape(words)}</td>" + "".join(f"<td>{text}</td>" for text in cells) + "</tr>"


def _spread_row(words: str, spread: Spread | None, show: Callable[[Decimal], str]) -> str:
    cells = ["0", *["n/a"] * 5]
    if spread is not None:
        cells = [str(spread.count), *(show(value) for value in (spread.mean, *spread.quantiles, spread.largest))]
    return f"<tr><td class=left>{escape(words)}</td>" + "".join(f"<td>{text}</td>" for text in cells) + "</tr>"


def _spreads(rows: Sequence[str], count: str) -> str:
    heads = f"<th class=left></th><th>{count}</th><th>mean</th><th>p50</th><th>p90</th><th>p99</th><th>max</th>"
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _in_r(value: Decimal) -> str:
    return f"{value:.2f}"


def _whole(value: Decimal) -> str:
    return f"{value:.0f}"


def _counts(words: str, counts: object) -> str:
    items = dict(counts) if isinstance(counts, dict) else {}
    if not items:
        return ""
    listed = " · ".join(f"{escape(name)} {count}" for name, count in items.items())
    return f'<p><span class="faint">{escape(words)}:</span> {listed}</p>'


def _worst(trades: Sequence[Trade]) -> str:
    if not trades:
        return ""
    articles = []
    for trade in trades:
        closed = trade.closed
        r = "" if closed.r is None else f", {closed.r:+.2f} R"
        marks = "" if trade.path.stretches else f" · not settled yet, {len(trade.path.marks)} marks on record"
        articles.append(
            f'<article><h3>{escape(str(closed.key))} <span class="bad">{closed.pnl:+,.2f} USD{r}</span></h3>'
            f'<p class="faint">{escape(closed.strategy or "n/a")} · closed by {escape(closed.reason.replace("_", "-"))}'
            f" · {rfc3339(closed.at)}{marks}</p>"
            f"{_both(partial(trade_svg, trade.path, trade.levels))}</article>"
        )
    words = (
        '<p class="faint">Grey: the price in steps, from the lowest to the highest, as the settlement saw it; the'
        " shaded part came after the exit. Before it is settled, only the marks that decisions left in the journal."
        " Red: where the stop stood. Dots: fills.</p>"
    )
    return section("Worst trades", "".join(articles) + words)


def _not_recorded(report: MetricsReport) -> str:
    rows = "".join(
        f"<tr><td class=left>{escape(name)}</td><td class='left wrap'>{escape(reason)}</td></tr>"
        for name, reason in not_recorded(report).items()
    )
    return section("Not recorded", f"<table><tbody>{rows}</tbody></table>") if rows else ""


def _percent(value: Decimal | None) -> str:
    return "n/a" if value is None else f"{value * 100:.2f}%"


def _signed(value: Decimal) -> str:
    return f"{value * 100:+.3f}%"
