"""How `metrics` shows its result to people: a table, what is below it, targets, and one status line for a monitor.

Decides wording and layout only; every figure comes with the report. What is not on record is n/a, never a zero; a rate
of few attempts stands in parentheses, dim where there is colour.
"""

from collections.abc import Sequence
from decimal import Decimal
from textwrap import wrap

from tpctl.adapters.metrics_query import Spread
from tpctl.exits.instrument import Unavailable
from tpctl.exits.statistics import Dimension, Tally
from tpctl.exits.targets import Finding, Level, worst
from tpctl.exits.units import trimmed
from tpctl.views.metrics_fields import feedback_fields
from tpctl.views.metrics_hindsight import hindsight_lines
from tpctl.views.metrics_report import MetricsReport, Rest, Row, not_recorded, shown_group, slippages, value_of

_HEADS = {
    "tp_attempts": "done",
    "tp_open": "open",
    "tp_hits": "hits",
    "tp_misses": "misses",
    "tp_hit_rate": "hit rate",
    "hit_rate_low": "95% low",
    "hit_rate_high": "high",
    "avg_slippage_pct": "slippage",
    "max_slippage_pct": "max slip",
    "mean_signed_slippage_pct": "signed",
    "avg_time_to_tp_minutes": "minutes",
    "fastest_tp_minutes": "fastest",
    "slowest_tp_minutes": "slowest",
    "total_tp_profit_usd": "hit profit",
    "avg_tp_profit_usd": "avg hit",
    "profit_usd": "profit",
    "avg_profit_usd": "avg",
    "avg_r": "R",
    "avg_profit_share": "avg %",
    "avg_roi": "ROI",
    "premature_exits": "early",
    "premature_judged": "judged",
    "premature_exit_rate": "early rate",
    "missed_opportunities_usd": "missed",
    "last_updated": "updated",
}
_SHARES = frozenset(
    {
        *("tp_hit_rate", "hit_rate_low", "hit_rate_high", "premature_exit_rate", "avg_profit_share", "avg_roi"),
        *("avg_slippage_pct", "max_slippage_pct", "mean_signed_slippage_pct"),
    }
)
_MONEY = frozenset(
    {
        *("total_tp_profit_usd", "avg_tp_profit_usd", "profit_usd", "avg_profit_usd", "missed_opportunities_usd"),
    }
)
# What is left out of a table that is too wide, first to last; the rest always stands.
_LEAST = (
    *("avg_time_to_tp_minutes", "premature_exits", "tp_open", "avg_slippage_pct", "avg_r"),
    *("hit_rate_high", "hit_rate_low", "profit_usd"),
)
# Where the words of a line below the table begin.
_INDENT = 13
_RATES = frozenset({"tp_hit_rate", "hit_rate_low", "hit_rate_high", "premature_exit_rate"})


def cell(row: Row, name: str, min_attempts: int = 0) -> str:
    """Return one figure for people; a rate of few attempts in parentheses."""
    value = value_of(row, name)
    if isinstance(value, Unavailable):
        return "n/a"
    if name == "last_updated":
        from tpctl.views.lines import day

        return day(int(value))
    if isinstance(value, int):
        return str(value)
    text = _number(name, value)
    return f"({text})" if name in _RATES and row.tally.attempts < min_attempts else text


def _number(name: str, value: Decimal) -> str:
    if name in _SHARES:
        return f"{value * 100:.{3 if 'slippage' in name else 1}f}%"
    if name in _MONEY:
        return f"{value:,.2f}"
    return f"{value:.{2 if name == 'avg_r' else 1}f}"


def table_text(
    report: MetricsReport,
    names: Sequence[str],
    *,
    quiet: bool = False,
    color: bool = False,
    screen: int | None = None,
    fixed: bool = False,
) -> str:
    """Return the report for people, folded to a `screen` of so many columns.

    Fields that do not fit are left out and named, unless they are `fixed`.
    """
    kept = list(names) if screen is None or fixed else _fitting(report, names, screen)
    lines = _table(report, kept, color=color)
    below = [] if quiet else ["", *_below(report)]
    left_out = [_HEADS[name] for name in names if name not in kept]
    if left_out and not quiet:
        below.insert(1, f"not shown    {', '.join(left_out)}: a wider terminal shows them, or --fields")
    lines += below if screen is None else [part for line in below for part in _folded(line, screen)]
    return "".join(f"{line}\n" for line in lines)


def _fitting(report: MetricsReport, names: Sequence[str], screen: int) -> list[str]:
    """Return the fields of a table that fit a screen: those that say least beside the others are left out first."""
    kept = list(names)
    for name in _LEAST:
        if len(_table(report, kept, color=False)[0]) <= screen:
            break
        kept = [other for other in kept if other != name]
    return kept


def _folded(line: str, screen: int) -> list[str]:
    """Return a line in parts that fit, the further ones under the words of the first."""
    indent = " " * _INDENT
    return wrap(line, screen, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) or [""]


def table_heads(by: Sequence[Dimension], names: Sequence[str]) -> list[str]:
    """Return the column heads people read."""
    return [*(dimension.value for dimension in by), *(_HEADS[name] for name in names)]


def _table(report: MetricsReport, names: Sequence[str], *, color: bool) -> list[str]:
    heads = table_heads(report.by, names)
    if any(row.trend for row in report.rows):
        heads.append("trend")
    body = [_cells(report, row, names) for row in report.rows]
    last = _cells(report, report.totals, names)
    left = len(report.by)
    if len(report.rows) > 1:
        last[:left] = ["all", *([""] * (left - 1))]
        body.append(last)
    widths = [max(map(len, column)) for column in zip(heads, *body, strict=True)]
    lines = [_line(heads, widths, left)]
    for cells, row in zip(body, (*report.rows, report.totals), strict=False):
        text = _line(cells, widths, left)
        few = row.tally.attempts < report.min_attempts
        lines.append(f"\x1b[2m{text}\x1b[0m" if color and few else _painted(text, row) if color else text)
    return lines


def _cells(report: MetricsReport, row: Row, names: Sequence[str]) -> list[str]:
    cells = [shown_group(dimension, value) for dimension, value in zip(report.by, row.group, strict=False)]
    cells += [""] * (len(report.by) - len(cells))
    cells += [cell(row, name, report.min_attempts) for name in names]
    if any(other.trend for other in report.rows):
        from tpctl.views.metrics_charts import sparkline

        cells.append(sparkline(row.trend))
    return cells


def _painted(text: str, row: Row) -> str:
    paint = {Level.WARNING: "33", Level.CRITICAL: "1;31"}.get(worst(row.findings))
    return f"\x1b[{paint}m{text}\x1b[0m" if paint else text


def _line(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    """Return cells in columns, the first `left` and a trend to the left, figures to the right."""
    parts = [
        f"{text:<{width}}" if number < left or number >= len(widths) else f"{text:>{width}}"
        for number, (text, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(parts).rstrip()


def _below(report: MetricsReport) -> list[str]:
    lines = []
    if any(row.tally.attempts < report.min_attempts for row in report.rows):
        lines.append(f"(…) fewer than {report.min_attempts} attempts: no alert")
    lines.append(_feedback_line(report.totals.tally))
    rest = report.rest
    if isinstance(rest, Unavailable):
        return [*lines, f"positions    n/a: {rest.reason}"]
    if rest.incidence is not None and isinstance(report.totals.waiting, int) and report.totals.waiting:
        low, high = rest.incidence.estimate, rest.incidence.estimate + rest.incidence.unsettled
        share = f"{low:.1%}" if f"{low:.1%}" == f"{high:.1%}" else f"{low:.1%} to {min(high, 1.0):.1%}"
        lines.append(f"with open    counting {report.totals.waiting} attempts still open, {share} end in a hit")
    lines += _slippage_lines(rest)
    closes = rest.closes
    if closes.count:
        reasons = ", ".join(f"{reason.replace('_', '-')} {count}" for reason, count in closes.reasons.items())
        r = "n/a" if closes.mean_r is None else f"{closes.mean_r:+.2f} R"
        lines.append(
            f"positions    {closes.count} closed, PnL {closes.pnl:+,.2f} after exit fees of {closes.fees:,.2f},"
            f" mean {r}: {reasons}"
        )
    lines += _cost_lines(rest)
    if rest.naked_ms is not None:
        count, p50, p99, longest = rest.naked_ms
        lines.append(f"naked time   p50 {p50} ms, p99 {p99} ms, longest {longest} ms, of {count} positions")
    lines += _course_lines(rest)
    if rest.stop_moves:
        moves = ", ".join(f"{cause} {count}" for cause, count in rest.stop_moves.items())
        lines.append(f"stops moved  {moves}")
    lines += hindsight_lines(rest.hindsight)
    words = ", ".join(name.removesuffix("_usd").replace("_", " ") for name in not_recorded(report))
    return [*lines, f"n/a          not recorded: {words}"] if words else lines


def _cost_lines(rest: Rest) -> list[str]:
    """Return what positions cost beside the fees of their exits."""
    charges = rest.charges
    known = (("entry fees", charges.entry_fees, ",.2f"), ("funding paid", charges.funding, "+,.2f"))
    parts = [
        f"{words} {amounts.total:{form}} USD ({amounts.spread.count})"
        for words, amounts, form in known
        if amounts is not None
    ]
    if not parts:
        return []
    net = charges.net
    after = "" if net is None else f"; PnL after both {net.total:+,.2f} USD ({net.spread.count})"
    return [f"costs        {', '.join(parts)}{after}, of {charges.read} positions read"]


def _course_lines(rest: Rest) -> list[str]:
    """Return how far positions went, what was kept of it, and how long requests took."""
    lines = []
    course = rest.excursions
    if course.mfe is not None and course.mae is not None:
        best, worst = course.mfe, course.mae
        text = f"in favour p50 {best.quantiles[0]:.2%}, mean {best.mean:.2%}"
        text += f"; against p50 {worst.quantiles[0]:.2%}, mean {worst.mean:.2%}, worst {worst.largest:.2%}"
        if course.mfe_r is not None and course.mae_r is not None:
            text += f" ({course.mfe_r.mean:+.2f} R and {-course.mae_r.mean:+.2f} R)"
        lines.append(f"excursions   {text}")
    capture, captured = course.capture, course.captured
    if capture is not None:
        single = f"p50 {capture.quantiles[0]:.0%} of its best move, of {capture.count} positions that had one"
        if captured is not None:
            amounts = f"{captured.taken:+,.2f} of {captured.offered:,.2f} USD before fees"
            lines.append(f"captured     {captured.share:.1%} of all best moves together, {amounts}")
        lines.append(f"{'captured' if captured is None else '':<12} a position {single}")
    if rest.latency_ms:
        stages = "; ".join(
            f"{stage} p50 {spread.quantiles[0]} ms, p99 {spread.quantiles[2]} ms, longest {spread.largest} ms"
            for stage, spread in rest.latency_ms.items()
        )
        lines.append(f"latency      {stages}")
    return lines


def _feedback_line(tally: Tally) -> str:
    parts = [
        f"{words} {'n/a' if value is None else f'{value * 100:.{places}f}%'}"
        for words, value, places in (
            ("hit rate", tally.hit_rate, 1),
            ("slippage", tally.average_slippage, 3),
            ("premature", tally.premature_rate, 1),
        )
    ]
    return f"feedback     {', '.join(parts)}"


def _slippage_lines(rest: Rest) -> list[str]:
    lines = [
        f"slippage     {name} ({spread.count}) against the {against}: mean {spread.mean * 100:+.3f}%,"
        f" p50 {spread.quantiles[0] * 100:+.3f}%, p90 {spread.quantiles[1] * 100:+.3f}%,"
        f" p99 {spread.quantiles[2] * 100:+.3f}%"
        for name, against, spread in slippage_kinds(rest)
    ]
    late = rest.mid_late_ms
    if late is not None:
        lines.append(f"             the mid was read p50 {late.quantiles[0]} ms, p99 {late.quantiles[2]} ms after them")
    return lines


def slippage_kinds(rest: Rest) -> list[tuple[str, str, Spread]]:
    """Return the slippage of every kind of order, named for people, each with what it is against."""
    return [
        (
            f"stop, {name.replace('_', '-')}"
            if against == "trigger" and name not in {"stop", "take_profit"}
            else name.replace("_", "-"),
            against,
            spread,
        )
        for name, against, spread in slippages(rest)
    ]


def targets_text(report: MetricsReport, *, color: bool = False) -> str:
    """Return every figure against its target."""
    heads = [*(dimension.value for dimension in report.by), "figure", "value", "95%", "target", "verdict"]
    left = len(heads)
    body = []
    for row in report.rows:
        group = [shown_group(dimension, value) for dimension, value in zip(report.by, row.group, strict=False)]
        body += [[*group, *_finding_cells(finding)] for finding in row.findings]
    widths = [max(map(len, column)) for column in zip(heads, *body, strict=True)]
    lines = [_line(heads, widths, left)]
    paints = {Level.WARNING.value: "33", Level.CRITICAL.value: "1;31", Level.UNJUDGED.value: "2"}
    for cells in body:
        paint = paints.get(cells[-1]) if color else None
        text = _line(cells, widths, left)
        lines.append(f"\x1b[{paint}m{text}\x1b[0m" if paint else text)
    return "".join(f"{line}\n" for line in lines)


def _finding_cells(finding: Finding) -> list[str]:
    places = 3 if finding.name == "slippage" else 1

    def share(value: Decimal | None) -> str:
        return "n/a" if value is None else f"{value * 100:.{places}f}%"

    sign = "≥" if finding.name == "hit_rate" else "<"
    interval = "n/a" if finding.low is None else f"{share(finding.low)} to {share(finding.high)}"
    target = f"{sign} {trimmed(finding.target * 100)}%"
    return [finding.name.replace("_", " "), share(finding.value), interval, target, finding.level.value]


def feedback_text(tally: Tally) -> str:
    """Return the vector for training, one `name value` a line, plain digits; `-` where nothing was measured."""
    fields = feedback_fields(tally)
    names = ("tp_hit_rate", "avg_slippage", "premature_exit_rate")
    return "".join(f"{name} {'-' if fields[name] is None else fields[name]}\n" for name in names)


def nagios_line(report: MetricsReport) -> str:
    """Return the status line of a monitoring plugin, with performance data of the totals."""
    words = {Level.OK: "OK", Level.UNJUDGED: "OK", Level.WARNING: "WARNING", Level.CRITICAL: "CRITICAL"}
    found = [(row, finding) for row in report.rows for finding in row.findings if finding.level is report.level]
    tally = report.totals.tally
    text = f"{tally.attempts} attempts"
    if report.level in {Level.WARNING, Level.CRITICAL}:
        row, finding = found[0]
        group = " ".join(shown_group(d, v) for d, v in zip(report.by, row.group, strict=False))
        _, value, interval, target, _ = _finding_cells(finding)
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        text = f"{group} {finding.name.replace('_', ' ')} {value} (95% {interval}), target {target}{more}"
    elif report.level is Level.UNJUDGED:
        text = f"{tally.attempts} attempts, too few to judge"
    aims = report.targets
    data = (
        ("hit_rate", tally.hit_rate, f"{trimmed(aims.hit_rate)}:"),
        ("slippage", tally.average_slippage, trimmed(aims.slippage)),
        ("premature", tally.premature_rate, trimmed(aims.premature)),
    )
    perf = " ".join(f"{name}={'U' if value is None else trimmed(value, 6)};{aim}" for name, value, aim in data)
    return f"TPCTL {words[report.level]} - {text} | attempts={tally.attempts} {perf}\n"
