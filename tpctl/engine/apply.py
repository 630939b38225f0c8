"""Applying a plan document: reading it back, refusing it where the world has moved on, and pinning it to the position.

The document is `tpctl.plan/1` as `plan` writes it. What is pinned is a state of the reducer that already holds the
plan; the engine then runs once as in `watch --once` and places what is missing, through the same guard and journal.
Applying twice changes nothing, because the state remembers the plan and the orders' ids are functions of it.

Drift, each refused with `InputsError` before anything is sent: no position on that side; a size other than the plan's;
an entry more than 0.1 % or a mark more than 0.5 % away from the plan's; a level of the plan that the mark has passed
since; a stop beyond the exchange's liquidation price. A stop in force is never loosened (I4): the tighter one stays.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from tpctl.engine.planning import generation_for
from tpctl.exits.draft import Draft, tighter
from tpctl.exits.episode import Episode, LegState, LegStatus, Phase, State
from tpctl.exits.errors import InputsError
from tpctl.exits.facts import adopt_order
from tpctl.exits.ids import Role, is_ours, parse_client_id
from tpctl.exits.instrument import Instrument, PositionSide
from tpctl.exits.model import Leg, LiveOrder, Plan, Policy, Position, PositionKey, Reason, Trail
from tpctl.exits.planned import PlannedOrder, Standing, Wanted, planned_orders, wanted_by
from tpctl.exits.rules import ExecutionRules
from tpctl.exits.units import ONE, Millis, Price, Ratio, parse_decimal, plain, trimmed

SCHEMA = "tpctl.plan/1"
ENTRY_TOLERANCE = Ratio.percent("0.1")
MARK_TOLERANCE = Ratio.percent("0.5")

# Prices of the same trade are printed with different numbers of digits.
_SAME_ENTRY = ONE.scaleb(-6)

_MAKE_ANOTHER = "make the plan again: tpctl plan -o FILE"


@dataclass(frozen=True, slots=True)
class PlannedPosition:
    """One plan of a document, and the mark it was made at (None where it was not known)."""

    plan: Plan
    mark: Price | None


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan document: which profile and environment it was made for, and its plans."""

    profile: str
    env: str
    plans: tuple[PlannedPosition, ...]


def read_plan(data: bytes, name: str) -> PlanFile:
    """Return the document in `data`; `name` is its file for messages. Raises `InputsError` for anything else."""
    try:
        document = json.loads(data, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise InputsError(f"plan file {name!r} is not JSON", _MAKE_ANOTHER) from None
    schema = document.get("schema") if isinstance(document, Mapping) else None
    if schema != SCHEMA:
        known = isinstance(schema, str) and schema.startswith("tpctl.plan/")
        hint = "use the tpctl that wrote it, or a newer one" if known else _MAKE_ANOTHER
        raise InputsError(f"plan file {name!r} has schema {schema!r}, this tpctl reads {SCHEMA!r}", hint)
    try:
        plans = tuple(_planned(row) for row in document["data"]["plans"])
        found = PlanFile(str(document["profile"]), str(document["env"]), plans)
    except KeyError as missing:
        raise InputsError(f"plan file {name!r} lacks {missing}", _MAKE_ANOTHER) from None
    except (AttributeError, TypeError, ValueError, ArithmeticError, InputsError) as error:
        raise InputsError(f"plan file {name!r} is damaged: {error}", _MAKE_ANOTHER) from None
    if not plans:
        raise InputsError(f"plan file {name!r} holds no plan", _MAKE_ANOTHER)
    if len({one.plan.key for one in plans}) < len(plans):
        raise InputsError(f"plan file {name!r} holds two plans for one position", _MAKE_ANOTHER)
    return found


def _planned(row: Mapping[str, Any]) -> PlannedPosition:
    trail = row["trail"]
    liquidation = row["liquidation"]["price"]
    plan = Plan(
        key=PositionKey(str(row["symbol"]), PositionSide(row["position_side"])),
        policy=Policy(row["policy"]),
        quantity=_number(row, "quantity"),
        entry=_number(row, "entry"),
        leverage=_number(row, "leverage"),
        legs=tuple(_leg(leg) for leg in row["legs"]),
        stop_distance=Ratio(_number(row["stop"], "distance")),
        stop=_number(row["stop"], "trigger"),
        backstop_distance=Ratio(_number(row["backstop"], "distance")),
        backstop=_number(row["backstop"], "trigger"),
        trail=None if trail is None else _trail(trail),
        breakeven=_number(row, "breakeven"),
        reward_risk=_number(row, "reward_risk"),
        liquidation=None if liquidation is None else parse_decimal(str(liquidation), "liquidation price"),
        reasons=tuple(_reason(reason) for reason in row["reasons"]),
        warnings=tuple(_reason(reason) for reason in row["warnings"]),
    )
    mark = row["mark"]
    return PlannedPosition(plan, None if mark is None else parse_decimal(str(mark), "mark"))


def _leg(row: Mapping[str, Any]) -> Leg:
    return Leg(
        number=int(row["leg"]),
        distance=Ratio(_number(row, "distance")),
        trigger=_number(row, "trigger"),
        fraction=_number(row, "fraction"),
        quantity=_number(row, "quantity"),
    )


def _trail(row: Mapping[str, Any]) -> Trail:
    schedule = tuple((Ratio(_number(step, "profit")), _number(step, "factor")) for step in row["schedule"])
    return Trail(
        callback=Ratio(_number(row, "callback")),
        activation=Ratio(_number(row, "activation")),
        schedule=schedule,
        share=_number(row, "fraction"),
        # Plans saved by earlier versions have none.
        atr_multiple=None if row.get("atr_multiple") is None else _number(row, "atr_multiple"),
    )


def _reason(row: Mapping[str, Any]) -> Reason:
    return Reason(str(row["stage"]), str(row["code"]), str(row["text"]), row["before"], row["after"])


def _number(row: Mapping[str, Any], name: str) -> Decimal:
    value = row[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return parse_decimal(value, name)


def check_plan(
    planned: PlannedPosition,
    positions: Sequence[Position],
    instrument: Instrument,
    execution: ExecutionRules,
) -> Position:
    """Return the open position a plan is for; raises `InputsError` where it no longer fits (see the module)."""
    plan, key = planned.plan, planned.plan.key
    position = next((position for position in positions if position.key == key), None)
    if position is None:
        raise InputsError(f"there is no open position {key}", "open it first, or make another plan")
    if position.quantity != plan.quantity:
        raise _drifted(key, "size", plain(plan.quantity), plain(position.quantity))
    if _moved(plan.entry, position.entry_price) > ENTRY_TOLERANCE:
        raise _drifted(key, "entry", trimmed(plan.entry, 8), trimmed(position.entry_price, 8))
    mark = position.mark_price
    if planned.mark is not None and _moved(planned.mark, mark) > MARK_TOLERANCE:
        raise _drifted(key, "mark", trimmed(planned.mark, 8), trimmed(mark, 8))
    _check_levels(plan, position, instrument, execution, planned.mark)
    return position


def _check_levels(
    plan: Plan, position: Position, instrument: Instrument, execution: ExecutionRules, then: Price | None
) -> None:
    key, sign, liquidation = plan.key, plan.key.side.sign, position.liquidation_price
    if liquidation is not None and sign * (plan.stop - liquidation) <= 0:
        text = f"the stop {plain(plan.stop)} of {key} lies beyond liquidation at {trimmed(liquidation, 8)}"
        raise InputsError(text, _MAKE_ANOTHER)
    orders = _orders(plan, instrument, execution, position.mark_price)
    before = 0 if then is None else _at_market(_orders(plan, instrument, execution, then))
    if _at_market(orders) > before:
        text = f"the mark {trimmed(position.mark_price, 8)} has passed a level of the plan for {key}"
        raise InputsError(text, _MAKE_ANOTHER)
    refused = next((order for order in orders if order.refusals), None)
    if refused is not None:
        check = refused.refusals[0]
        text = f"the {refused.role.label} of {key} would be refused: {check.filter} {check.limit} ({check.code})"
        raise InputsError(text, _MAKE_ANOTHER)


def _orders(plan: Plan, instrument: Instrument, execution: ExecutionRules, mark: Price) -> tuple[PlannedOrder, ...]:
    # Last prices are not read here: where they trigger, the exchange refuses what they have passed (-2021).
    return planned_orders(wanted_by(plan), instrument, "", execution, Standing(mark=mark))


def _at_market(orders: Iterable[PlannedOrder]) -> int:
    return sum(order.role is Role.REDUCE for order in orders)


def _moved(planned: Price, now: Price) -> Ratio:
    return Ratio(abs(now - planned) / planned)


def _drifted(key: PositionKey, what: str, planned: str, now: str) -> InputsError:
    return InputsError(f"{what} of {key} is '{now}', the plan was made for '{planned}'", _MAKE_ANOTHER)


def pin(state: State, plans: Sequence[tuple[Plan, Position]], live: Sequence[LiveOrder], at: Millis) -> State:
    """Return the state in which these positions have these plans and nothing else is guarded.

    A position the state knows keeps its life: its ids go on, and its stop stays where it is tighter. One it does not
    know begins a life whose ids are those the plan showed. Other positions stay as they are in the journal, untouched.
    """
    episodes: dict[PositionKey, Episode] = {}
    lives = dict(state.lives)
    for plan, position in plans:
        known = state.episodes.get(plan.key)
        if known is None or not same_life(known, position):
            lives[plan.key] = lives.get(plan.key, 0) + 1
            known = _with_live(replace(state, lives=lives), _new_life(state.account, position, live, at), live, at)
        episodes[plan.key] = _pinned(known, plan)
    return replace(state, episodes=episodes, lives=lives, quiet={})


def running_plan(episode: Episode, position: Position) -> Wanted | None:
    """Return what a plan under way wants to rest now; None where the episode is not of this position's present life.

    The stop stands where ratchet and trail have moved it, and take-profits that were reached are done.
    """
    if episode.plan is None or episode.stop is None or not same_life(episode, position):
        return None
    legs = tuple(
        (leg.number, leg.trigger, leg.remaining)
        for leg in episode.legs
        if leg.status is LegStatus.WAITING and leg.remaining > 0
    )
    return Wanted(position.key, position.quantity, episode.stop, episode.backstop, legs)


def same_life(episode: Episode, position: Position) -> bool:
    """Whether an episode is about the position as it is now, and not about one that was closed meanwhile."""
    if episode.phase is Phase.FLAT or episode.stated == 0:
        return False
    same_entry = abs(position.entry_price - episode.entry) <= _SAME_ENTRY * episode.entry
    return same_entry and position.quantity <= episode.accounted


def _with_live(state: State, episode: Episode, live: Sequence[LiveOrder], at: Millis) -> Episode:
    """Return a new life that already knows the orders of ours that rest: nothing is placed a second time beside them.

    What the reducer would cancel of an earlier life it finds again in its first read.
    """
    draft = Draft(state, episode, at)
    for order in live:
        if is_ours(order.client_id) and PositionKey(order.symbol, order.closes) == episode.key:
            adopt_order(draft, at, order)
    return draft.episode


def _new_life(account: str, position: Position, live: Sequence[LiveOrder], at: Millis) -> Episode:
    generation = generation_for(account, position.key, position.updated_at)
    names = (parse_client_id(order.client_id) for order in live)
    used = [name.revision for name in names if name is not None and name.generation == generation]
    mark = position.mark_price if position.mark_price > 0 else None
    return Episode(
        key=position.key,
        generation=generation,
        opened_at=at,
        entry=position.entry_price,
        quantity=position.quantity,
        accounted=position.quantity,
        accounted_at=at,
        stated=position.quantity,
        position_at=at,
        mark=mark,
        mark_at=0 if mark is None else at,
        peak=mark,
        unprotected_since=at,
        next_revision=max(used, default=0) + 1,
    )


def _pinned(episode: Episode, plan: Plan) -> Episode:
    if episode.plan is not None and _levels(episode.plan) == _levels(plan):
        return episode
    return replace(
        episode,
        plan=plan,
        plans=episode.plans + 1,
        legs=tuple(LegState(leg.number, leg.distance, leg.trigger, leg.fraction, leg.quantity) for leg in plan.legs),
        stop=plan.stop if episode.stop is None else tighter(episode, episode.stop, plan.stop),
        backstop=episode.backstop or plan.backstop,
        callback=plan.trail.callback if plan.trail and episode.callback is None else episode.callback,
        phase=Phase.GUARDED if episode.phase is Phase.ADOPTING else episode.phase,
        live_adjusted=False,
        complaint=None,
        # Rules and inputs are read again before anything is sent.
        context_asked_at=None,
    )


def _levels(plan: Plan) -> tuple[object, ...]:
    return (plan.stop, plan.backstop, plan.trail, [(leg.number, leg.trigger, leg.quantity) for leg in plan.legs])
