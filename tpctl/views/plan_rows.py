"""A plan as rows, one per exit: for csv, for scripts, and as the cells of the page.

Decides which exits there are and how a script reads them; amounts are plain digits, ratios fractions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tpctl.exits.figures import Gain
from tpctl.exits.ids import Role
from tpctl.exits.instrument import Unavailable
from tpctl.exits.odds import Odds
from tpctl.exits.planned import PlannedOrder
from tpctl.exits.sheet import PlanSheet
from tpctl.exits.units import Ratio, plain, trimmed
from tpctl.views.plan import PlanReport, money_text, ratio_text

# What --fields may name outside JSON.
COLUMNS = (
    "symbol",
    "position_side",
    "exit",
    "type",
    "side",
    "trigger",
    "quantity",
    "distance",
    "fraction",
    "pnl",
    "percent",
    "r",
    "roi",
    "reach",
    "minutes",
    "client_id",
    "refused",
)


@dataclass(frozen=True, slots=True)
class Exit:
    """One exit of a plan, before it is spelled. `orders` carry it; none for a trail, which moves the stop."""

    name: str
    trigger: Decimal | None
    quantity: Decimal | None
    distance: Ratio | None
    fraction: Decimal
    gain: Gain | None
    odds: Odds | None
    orders: tuple[PlannedOrder, ...]


def exits_of(sheet: PlanSheet) -> list[Exit]:
    """Return the exits of a plan: take-profits near to far, the trail's share, stop and backstop."""
    plan = sheet.plan

    def of(role: Role, leg: int | None = None) -> tuple[PlannedOrder, ...]:
        named = (Role.REDUCE, role) if role is Role.TAKE_PROFIT else (role,)
        return tuple(o for o in sheet.orders if o.role in named and (leg is None or leg in o.legs))

    whole = Decimal(1)
    exits = [
        Exit(
            f"TP{leg.number}",
            leg.trigger,
            leg.quantity,
            leg.distance,
            leg.fraction,
            figures.gain,
            figures.odds,
            of(Role.TAKE_PROFIT, leg.number),
        )
        for leg, figures in zip(plan.legs, sheet.legs, strict=True)
    ]
    if plan.trail is not None and plan.trail.share:
        rest = plan.quantity - sum((leg.quantity for leg in plan.legs), Decimal(0))
        exits.append(Exit("trail", None, rest, plan.trail.activation, plan.trail.share, None, None, ()))
    closing = tuple(o for o in sheet.orders if o.role is Role.REDUCE and not o.legs)
    stop = of(Role.STOP) or closing
    exits.append(Exit("stop", plan.stop, plan.quantity, -plan.stop_distance, whole, sheet.stop, None, stop))
    distance = -plan.backstop_distance
    exits.append(Exit("backstop", plan.backstop, None, distance, whole, sheet.backstop, None, of(Role.BACKSTOP)))
    return exits


def row_of(sheet: PlanSheet, one: Exit) -> dict[str, str]:
    """Return one exit as a script reads it."""
    gain, first = one.gain, one.orders[0] if one.orders else None
    found = one.odds
    return {
        "symbol": sheet.plan.key.symbol,
        "position_side": sheet.plan.key.side.value,
        "exit": one.name,
        "type": "" if first is None else first.kind.value,
        "side": sheet.plan.key.side.closing.value,
        "trigger": "" if one.trigger is None else plain(one.trigger),
        "quantity": "" if one.quantity is None else plain(one.quantity),
        "distance": "" if one.distance is None else ratio_text(one.distance),
        "fraction": trimmed(one.fraction, 10),
        "pnl": "" if gain is None else money_text(gain.pnl),
        "percent": "" if gain is None else ratio_text(gain.percent),
        "r": "" if gain is None else trimmed(gain.r, 6),
        "roi": "" if gain is None else ratio_text(gain.roi),
        "reach": ""
        if found is None or isinstance(found.reach_before_stop, Unavailable)
        else trimmed(found.reach_before_stop, 6),
        "minutes": ""
        if found is None or isinstance(found.expected_minutes, Unavailable)
        else trimmed(found.expected_minutes, 1),
        "client_id": " ".join(order.client_id for order in one.orders),
        "refused": "; ".join(f"{c.filter} {c.limit} ({c.code})" for order in one.orders for c in order.refusals),
    }


def plain_text(report: PlanReport, fields: Sequence[str]) -> str:
    """Return one tab-separated line per exit, without a header."""
    rows = (row_of(sheet, one) for sheet in report.sheets for one in exits_of(sheet))
    return "".join("\t".join(row[name] for name in fields) + "\n" for row in rows)


def csv_text(report: PlanReport, fields: Sequence[str]) -> str:
    """Return one line per exit as comma-separated values with a header line."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(fields)
    for sheet in report.sheets:
        for one in exits_of(sheet):
            row = row_of(sheet, one)
            writer.writerow([row[name] for name in fields])
    return out.getvalue()
