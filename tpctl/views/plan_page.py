"""A plan as a page of text that fits 80 columns, the same on a terminal and off it but for colour.

Decides wording and layout only. Coloured is what an operator must not miss, and no meaning hangs on it.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Reason
from tpctl.exits.planned import Diff
from tpctl.exits.sheet import PlanSheet
from tpctl.exits.units import Ratio, plain, trimmed
from tpctl.views.plan import PlanReport
from tpctl.views.plan_rows import COLUMNS, Exit, exits_of, row_of

TABLE_COLUMNS = ("exit", "trigger", "distance", "quantity", "pnl", "r", "roi", "reach", "minutes")

_WIDTH = 80
_HEADINGS = {"reach": "odds", "minutes": "time", "position_side": "position", "distance": "from entry"}
_LEFT = frozenset({"symbol", "position_side", "exit", "type", "side", "client_id", "refused"})


def table_text(
    report: PlanReport, fields: Sequence[str], *, quiet: bool = False, explain: bool = False, color: bool = False
) -> str:
    """Return a page per plan: exits, money, orders, and why (if quiet, the exits only)."""
    if not report.sheets:
        return "no open position\n"
    lines: list[str] = []
    for sheet in report.sheets:
        lines += [""] if lines else []
        lines += _page(sheet, fields, quiet=quiet, explain=explain, color=color)
    if not quiet:
        from tpctl.adapters.rulebook import show_age

        age = "age unknown" if report.age_ms is None else f"{show_age(report.age_ms)} old"
        lines += ["", f"rules: {report.origin}, {age}"]
    return "".join(f"{line}\n" for line in lines)


def _page(sheet: PlanSheet, fields: Sequence[str], *, quiet: bool, explain: bool, color: bool) -> list[str]:
    lines = [_bold(_head(sheet), color=color), _subhead(sheet), *_grid(sheet, fields)]
    if quiet:
        return lines
    lines += ["", *_facts(sheet), "", "orders", *_order_lines(sheet, color=color)]
    if sheet.diff is not None:
        lines += ["", "against live orders", *_diff_lines(sheet.diff)]
    if sheet.warnings:
        lines += ["", "warnings", *(line for w in sheet.warnings for line in _wrapped(w.text))]
    if sheet.reasons:
        lines += ["", "why", *(line for reason in sheet.reasons for line in _why(reason, explain=explain))]
    return lines


def _head(sheet: PlanSheet) -> str:
    plan = sheet.plan
    kind = "hypothetical, " if sheet.hypothetical else ""
    size = f"{plain(plan.quantity)} at {trimmed(plan.entry, 10)} = ${_usd(sheet.notional)}"
    return f"{plan.key}  {size}  {trimmed(plan.leverage)}x  ({kind}{plan.policy.value})"


def _subhead(sheet: PlanSheet) -> str:
    mark = "unavailable" if isinstance(sheet.mark, Unavailable) else trimmed(sheet.mark, 10)
    parts = [f"mark {mark}", f"margin ${_usd(sheet.margin)} {sheet.margin_mode.value}"]
    if not isinstance(sheet.pnl, Unavailable):
        parts.append(f"PnL {_signed(sheet.pnl)}")
    return f"  {'  '.join(parts)}"


def _grid(sheet: PlanSheet, fields: Sequence[str]) -> list[str]:
    columns = [name for name in fields if name in COLUMNS]
    with_odds = any(figures.odds is not None for figures in sheet.legs)
    if not with_odds and tuple(columns) == TABLE_COLUMNS:
        columns = [name for name in columns if name not in {"reach", "minutes"}]
    rows = [[_cell(sheet, one, name) for name in columns] for one in exits_of(sheet)]
    heads = [_HEADINGS.get(name, name) for name in columns]
    widths = [max(map(len, cells)) for cells in zip(heads, *rows, strict=True)]
    gap = "  " if sum(widths) + 2 * len(widths) <= _WIDTH else " "

    def line(cells: Sequence[str]) -> str:
        spelled = (
            f"{cell:<{width}}" if name in _LEFT else f"{cell:>{width}}"
            for name, cell, width in zip(columns, cells, widths, strict=True)
        )
        return f"  {gap.join(spelled)}".rstrip()

    return [line(heads), *(line(row) for row in rows)]


def _cell(sheet: PlanSheet, one: Exit, name: str) -> str:
    spell = _CELLS.get(name)
    return (row_of(sheet, one)[name] if spell is None else spell(one)) or "-"


# Where a cell for people is not the script's; empty is shown as a dash.
_CELLS: Mapping[str, Callable[[Exit], str]] = {
    "distance": lambda one: "" if one.distance is None else _signed(one.distance),
    "fraction": lambda one: f"{trimmed(one.fraction * 100, 2)}%",
    "quantity": lambda one: "all" if one.quantity is None else plain(one.quantity),
    "pnl": lambda one: "" if one.gain is None else f"{one.gain.pnl:+.2f}",
    "percent": lambda one: "" if one.gain is None else _signed(one.gain.percent),
    "r": lambda one: "" if one.gain is None else f"{one.gain.r:+.2f}R",
    "roi": lambda one: "" if one.gain is None else f"{one.gain.roi.as_percent:+.1f}%",
    "reach": lambda one: "" if one.odds is None else _share(one.odds.reach_before_stop),
    "minutes": lambda one: "" if one.odds is None else _time(one.odds.expected_minutes),
}


def _facts(sheet: PlanSheet) -> list[str]:
    plan, lines = sheet.plan, []
    if sheet.total is not None:
        total = sheet.total
        lines.append(f"all legs {total.pnl:+.2f} ({_signed(total.percent)}, {total.roi.as_percent:+.1f}% on margin)")
    lines.append(f"reward:risk {trimmed(plan.reward_risk, 2)}")
    lines.append(f"breakeven {plain(plan.breakeven)} with fees of {sheet.fee} on both sides")
    if not isinstance(sheet.breakeven_with_funding, Unavailable):
        lines.append(f"breakeven with the funding so far {trimmed(sheet.breakeven_with_funding, 8)}")
    lines.append(_liquidation_line(sheet))
    if plan.trail is not None:
        trail = plan.trail
        tail = f", closes the last {trimmed(trail.share * 100, 2)}%" if trail.share else ""
        callback = str(trail.callback)
        if trail.atr_multiple is not None:
            callback = f"{trimmed(trail.atr_multiple)}atr, now {trail.callback.show()},"
        lines.append(f"trail {callback} behind the best, from {_signed(trail.activation)}{tail}")
    if sheet.ratchet:
        lines.append("stop after " + ", ".join(f"TP{n} {plain(level)}" for n, level in enumerate(sheet.ratchet, 1)))
    if sheet.partials:
        levels = ", ".join(
            f"{trimmed(level.price, 8)} ({trimmed(level.fraction * 100, 2)}%)" for level in sheet.partials
        )
        lines.append(f"partial levels at this profit {levels}")
    lines += _funding_lines(sheet)
    models = dict.fromkeys(f.odds.model for f in sheet.legs if f.odds is not None)
    lines += [f"odds: {model}" for model in models]
    lines += _bootstrap_lines(sheet)
    return [line for text in lines for line in _wrapped(text)]


def _liquidation_line(sheet: PlanSheet) -> str:
    found = sheet.liquidation
    if isinstance(found.price, Unavailable):
        return f"liquidation unavailable: {found.price.reason}"
    if found.price is None:
        return "liquidation: none"
    away = "" if not isinstance(found.distance, Ratio) else f", {found.distance.show()} from entry"
    return f"liquidation {trimmed(found.price, 8)}{away}"


def _funding_lines(sheet: PlanSheet) -> list[str]:
    funding, lines = sheet.funding, []
    if isinstance(funding.paid, Decimal):
        word = "paid" if funding.paid >= 0 else "received"
        lines.append(f"funding {word} so far ${_usd(abs(funding.paid))}")
    elif not sheet.hypothetical:
        lines.append(f"funding paid so far unavailable: {funding.paid.reason}")
    if isinstance(funding.due, Decimal) and isinstance(funding.rate, Ratio) and isinstance(funding.next_at, int):
        from tpctl.views.machine import rfc3339

        word = "pays" if funding.due >= 0 else "receives"
        rate = trimmed(funding.rate.as_percent, 4)
        lines.append(f"next funding {word} about ${_usd(abs(funding.due))} ({rate}%) at {rfc3339(funding.next_at)}")
    return lines


def _bootstrap_lines(sheet: PlanSheet) -> list[str]:
    drawn = [(leg.number, f.bootstrap) for leg, f in zip(sheet.plan.legs, sheet.legs, strict=True) if f.bootstrap]
    if not drawn:
        return []
    known = [(n, o) for n, o in drawn if not isinstance(o.reach_before_stop, Unavailable)]
    if not known:
        missing = drawn[0][1].reach_before_stop
        return [f"odds by bootstrap unavailable: {missing.reason}"] if isinstance(missing, Unavailable) else []
    told = ", ".join(f"TP{n} {_share(o.reach_before_stop)} in {_time(o.expected_minutes)}" for n, o in known)
    return [f"odds: {known[0][1].model}: {told}"]


def _order_lines(sheet: PlanSheet, *, color: bool) -> list[str]:
    lines = []
    for order, wire in zip(sheet.orders, sheet.wires, strict=True):
        size = "closePosition" if order.quantity is None else plain(order.quantity)
        trigger = "now" if order.trigger is None else f"at {plain(order.trigger)}"
        lines.append(f"  {wire['type']:<18} {wire['side']:<4} {trigger:<14} {size:<14} {order.client_id}")
        for check in order.refusals:
            word = "\x1b[1;31mREFUSE\x1b[0m" if color else "REFUSE"
            lines.append(f"    {word}  {check.filter}  {check.limit}  ({check.code})")
    return lines


def _diff_lines(diff: Diff) -> list[str]:
    lines = []
    rests = {order.client_id: live for order, live in diff.rests}
    if diff.running:
        lines += _wrapped("compared with the plan watch keeps in its journal, as far as it has come")
    for order in diff.wanted:
        live = rests.get(order.client_id)
        name = " ".join([order.role.label, *map(str, order.legs)])
        if live is None:
            lines.append(f"  due    {name}")
        elif live.trigger == order.trigger:
            lines.append(f"  rests  {name}  as {live.client_id}")
        else:
            at = "-" if live.trigger is None else plain(live.trigger)
            lines.append(f"  rests  {name}  as {live.client_id}, at {at}")
    for word, orders in (("extra", diff.extra), ("other", diff.foreign)):
        for live in orders:
            level = live.trigger if live.trigger is not None else live.price
            price = "-" if level is None else plain(level)
            size = "closePosition" if live.close_position else plain(live.quantity)
            lines.append(f"  {word}  {live.kind.value} {price} {size} {live.client_id}")
    return lines


def _why(reason: Reason, *, explain: bool) -> list[str]:
    if not explain:
        return _wrapped(reason.text)
    lines = _wrapped(f"[{reason.stage}] {reason.text}")
    if reason.before is not None or reason.after is not None:
        lines.append(f"      {reason.before or '-'} → {reason.after or '-'}")
    return lines


def _wrapped(text: str) -> list[str]:
    from textwrap import wrap

    return wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False) or [""]


def _share(value: Decimal | Unavailable) -> str:
    return "-" if isinstance(value, Unavailable) else f"{value * 100:.0f}%"


def _time(minutes: Decimal | Unavailable) -> str:
    if isinstance(minutes, Unavailable):
        return "-"
    if minutes < 60:
        return f"{minutes:.0f}m"
    hours = minutes / 60
    return f"{hours:.1f}h" if hours < 48 else f"{hours / 24:.1f}d"


def _signed(value: Ratio) -> str:
    return f"{value.as_percent:+.2f}%"


def _usd(value: Decimal) -> str:
    return f"{value:.2f}"


def _bold(text: str, *, color: bool) -> str:
    return f"\x1b[1m{text}\x1b[0m" if color else text
