"""How `plan` shows its result: the report of a run, and the JSON contract of it.

Decides names and rounding for reading only; every number comes with the sheet. Rows for csv and scripts are in
`plan_rows`, the page for people in `plan_page`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from tpctl.exits.figures import Gain
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import LiveOrder, Reason, RiskReadings
from tpctl.exits.odds import Odds
from tpctl.exits.planned import Diff, PlannedOrder
from tpctl.exits.sheet import PlanSheet
from tpctl.exits.units import Millis, Ratio, plain, trimmed

if TYPE_CHECKING:
    from tpctl.views.machine import Json

# The members of data.plans[], which --fields may choose from.
PLAN_FIELDS = (
    "symbol",
    "position_side",
    "hypothetical",
    "generation",
    "entry",
    "mark",
    "quantity",
    "notional",
    "leverage",
    "margin",
    "margin_mode",
    "policy",
    "legs",
    "stop",
    "backstop",
    "trail",
    "ratchet",
    "partials",
    "liquidation",
    "breakeven",
    "breakeven_with_funding",
    "reward_risk",
    "total",
    "pnl",
    "fee",
    "funding",
    "risk",
    "inputs",
    "reasons",
    "warnings",
    "orders",
    "refused",
    "diff",
)


@dataclass(frozen=True, slots=True)
class PlanReport:
    """One run's result: the sheets, and where the trading rules came from (`age_ms` None where it is not known)."""

    sheets: tuple[PlanSheet, ...]
    ts: Millis
    profile: str
    env: str
    origin: str
    fetched_at: Millis | None
    age_ms: Millis | None
    warnings: tuple[tuple[str, str], ...] = ()

    @property
    def all_warnings(self) -> tuple[tuple[str, str], ...]:
        """The run's warnings and those of every plan."""
        of_plans = ((w.code, f"{sheet.plan.key}: {w.text}") for sheet in self.sheets for w in sheet.warnings)
        return (*self.warnings, *of_plans)


def document_text(report: PlanReport, fields: Sequence[str] = PLAN_FIELDS) -> str:
    """Return the report as `tpctl.plan/1`."""
    from tpctl.views.machine import document, rfc3339

    source: dict[str, Json] = {
        "origin": report.origin,
        "fetched_at": None if report.fetched_at is None else rfc3339(report.fetched_at),
        "age_ms": report.age_ms,
    }
    if report.fetched_at is None:
        source["age_unavailable_reason"] = "the rules carry no date"
    plans = [_chosen(plan_record(sheet), fields) for sheet in report.sheets]
    return document(
        "plan",
        ts=report.ts,
        profile=report.profile,
        env=report.env,
        mode="shadow",
        data={"plans": plans, "rules_source": source},
        warnings=report.all_warnings,
    )


def _chosen(record: "Mapping[str, Json]", fields: Sequence[str]) -> "dict[str, Json]":
    """Return the named members, each with its reason where it is unavailable."""
    return {
        name: value
        for name, value in record.items()
        if name in fields or name.removesuffix("_unavailable_reason") in fields
    }


def plan_record(sheet: PlanSheet) -> "dict[str, Json]":
    """Return one plan in the JSON contract's form."""
    plan = sheet.plan
    record: dict[str, Json] = {
        "symbol": plan.key.symbol,
        "position_side": plan.key.side.value,
        "hypothetical": sheet.hypothetical,
        "generation": sheet.generation,
        "entry": plain(plan.entry),
        **_known("mark", sheet.mark),
        "quantity": plain(plan.quantity),
        "notional": money_text(sheet.notional),
        "leverage": trimmed(plan.leverage),
        "margin": money_text(sheet.margin),
        "margin_mode": sheet.margin_mode.value,
        "policy": plan.policy.value,
        "legs": [_leg(sheet, number) for number in range(len(plan.legs))],
        "stop": _level(plan.stop_distance, plan.stop, sheet.stop) | {"quantity": plain(plan.quantity)},
        "backstop": _level(plan.backstop_distance, plan.backstop, sheet.backstop),
        "trail": _trail(sheet),
        "ratchet": [{"after_leg": number, "stop": plain(stop)} for number, stop in enumerate(sheet.ratchet, start=1)],
        "partials": [
            {"price": trimmed(level.price, 10), "fraction": trimmed(level.fraction), "passed": level.passed}
            for level in sheet.partials
        ],
        "liquidation": _liquidation(sheet),
        "breakeven": plain(plan.breakeven),
        **_known("breakeven_with_funding", sheet.breakeven_with_funding, 8),
        "reward_risk": trimmed(plan.reward_risk, 6),
        "total": None if sheet.total is None else _gain(sheet.total),
        **_known("pnl", sheet.pnl),
        "fee": ratio_text(sheet.fee),
        "funding": _funding(sheet),
        "risk": {
            "tp_factor": trimmed(sheet.risk.tp_factor),
            "stop_factor": trimmed(sheet.risk.stop_factor),
            "tighten": sheet.risk.tighten,
        },
        "inputs": _inputs(sheet),
        "reasons": [_reason(reason) for reason in sheet.reasons],
        "warnings": [_reason(reason) for reason in sheet.warnings],
        "orders": [dict(wire) for wire in sheet.wires],
        "refused": [
            {"client_id": order.client_id, "filter": check.filter, "limit": check.limit, "code": check.code}
            for order in sheet.refused
            for check in order.refusals
        ],
    }
    if sheet.diff is not None:
        record["diff"] = _diff(sheet.diff)
    return record


def _leg(sheet: PlanSheet, index: int) -> "dict[str, Json]":
    leg, figures = sheet.plan.legs[index], sheet.legs[index]
    record: dict[str, Json] = {
        "leg": leg.number,
        "distance": ratio_text(leg.distance),
        "trigger": plain(leg.trigger),
        "fraction": trimmed(leg.fraction, 10),
        "quantity": plain(leg.quantity),
        **_gain(figures.gain),
    }
    for name, found in (("odds", figures.odds), ("odds_bootstrap", figures.bootstrap)):
        if found is not None:
            record[name] = _odds(found)
    return record


def _level(distance: Ratio, trigger: Decimal, gain: Gain) -> "dict[str, Json]":
    return {"distance": ratio_text(distance), "trigger": plain(trigger), **_gain(gain)}


def _gain(gain: Gain) -> "dict[str, Json]":
    return {
        "pnl": money_text(gain.pnl),
        "percent": ratio_text(gain.percent),
        "r": trimmed(gain.r, 6),
        "r_before_fees": trimmed(gain.r_before_fees, 6),
        "roi": ratio_text(gain.roi),
    }


def _odds(found: Odds) -> "dict[str, Json]":
    return {
        **_known("reach_before_stop", found.reach_before_stop, 6),
        **_known("expected_minutes", found.expected_minutes, 1),
        "model": found.model,
    }


def _trail(sheet: PlanSheet) -> "dict[str, Json] | None":
    trail = sheet.plan.trail
    if trail is None:
        return None
    return {
        "callback": ratio_text(trail.callback),
        "activation": ratio_text(trail.activation),
        "fraction": trimmed(trail.share, 10),
        "atr_multiple": None if trail.atr_multiple is None else trimmed(trail.atr_multiple),
        "schedule": [
            {"profit": ratio_text(profit), "factor": trimmed(factor), "callback": ratio_text(callback)}
            for (profit, factor), (_, callback) in zip(trail.schedule, sheet.trail_schedule, strict=True)
        ],
    }


def _liquidation(sheet: PlanSheet) -> "dict[str, Json]":
    found = sheet.liquidation
    computed = None if found.computed is None else trimmed(found.computed, 8)
    return {**_known("price", found.price, 8), **_known("distance", found.distance), "computed": computed}


def _funding(sheet: PlanSheet) -> "dict[str, Json]":
    from tpctl.views.machine import rfc3339

    funding = sheet.funding
    due = funding.next_at
    return {
        **_known("paid", funding.paid, 8),
        **(_known("next_at", due) if isinstance(due, Unavailable) else {"next_at": rfc3339(due)}),
        **_known("rate", funding.rate),
        **_known("due", funding.due, 8),
    }


def _inputs(sheet: PlanSheet) -> "dict[str, Json]":
    context = sheet.context
    record: dict[str, Json] = {}
    for name in ("volatility", "regime", "confidence", "quote_volume", "atr", "wallet"):
        record |= _known(name, getattr(context, name))
    risk = context.risk
    for name in ("ess", "systemic", "correlation", "heat"):
        record |= _known(name, getattr(risk, name) if isinstance(risk, RiskReadings) else risk)
    return record


def _diff(diff: Diff) -> "dict[str, Json]":
    return {
        "running": diff.running,
        "rests": [{**_order(order), "resting": _live(live)} for order, live in diff.rests],
        "due": [_order(order) for order in diff.due],
        "extra": [_live(live) for live in diff.extra],
        "foreign": [_live(live) for live in diff.foreign],
    }


def _order(order: PlannedOrder) -> "dict[str, Json]":
    return {
        "role": order.role.label,
        "leg": order.legs[0] if len(order.legs) == 1 else None,
        "type": order.kind.value,
        "trigger": None if order.trigger is None else plain(order.trigger),
        "quantity": None if order.quantity is None else plain(order.quantity),
    }


def _live(order: LiveOrder) -> "dict[str, Json]":
    return {
        "client_id": order.client_id,
        "type": order.kind.value,
        "side": order.order_side.value,
        "trigger": None if order.trigger is None else plain(order.trigger),
        "price": None if order.price is None else plain(order.price),
        "quantity": plain(order.quantity),
        "close_position": order.close_position,
    }


def _reason(reason: Reason) -> "dict[str, Json]":
    return {
        "stage": reason.stage,
        "code": reason.code,
        "text": reason.text,
        "before": reason.before,
        "after": reason.after,
    }


def _known(name: str, value: object, places: int | None = None) -> "dict[str, Json]":
    """Return a member, or null beside the reason it is unavailable."""
    if isinstance(value, Unavailable):
        return {name: None, f"{name}_unavailable_reason": value.reason}
    if isinstance(value, Ratio):
        return {name: ratio_text(value)}
    if isinstance(value, Decimal):
        return {name: plain(value) if places is None else trimmed(value, places)}
    return {name: None if value is None else str(value)}


def ratio_text(value: Ratio) -> str:
    """Return a ratio as JSON and csv carry it: a plain fraction, to ten places."""
    return trimmed(value.fraction, 10)


def money_text(value: Decimal) -> str:
    """Return money as JSON and csv carry it: plain digits, to eight places."""
    return trimmed(value, 8)
