"""Puts a plan together as an operator reads it: the plan, the exact orders, money, odds, and what already rests.

Composition only: levels come from `exits.planner`, orders from `exits.planned`, wire parameters from the same builder
that sends them, odds from their models. Reads nothing and sends nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from tpctl.adapters.binance_map.params import wire_order
from tpctl.exits.figures import Funding, breakeven_with_funding, gain, total_gain
from tpctl.exits.ids import generation_of
from tpctl.exits.instrument import Instrument, Unavailable
from tpctl.exits.model import Plan, Position, PositionKey, PositionMode, Reason
from tpctl.exits.odds import Odds, odds
from tpctl.exits.partials import PartialLevel, partial_levels
from tpctl.exits.planned import Diff, PlannedOrder, Standing, Wanted, compare, planned_orders, wanted_by
from tpctl.exits.planner import PlanRequest, plan_exits
from tpctl.exits.risk import risk_effect
from tpctl.exits.rules import ExitRules, TrailRules
from tpctl.exits.sheet import LegSheet, Liquidation, PlanSheet
from tpctl.exits.stops import liquidation_room, ratchet_stop
from tpctl.exits.trail_styles import widest_callback
from tpctl.exits.units import Millis, Price, Ratio, plain, trimmed
from tpctl.market.odds_bootstrap import bootstrap_odds
from tpctl.ports import Candle

_HOUR_MS = 3_600_000
# Our own liquidation price may differ this much from the exchange's before it is a warning (binance-usdm 4.9).
_LIQUIDATION_TOLERANCE = Decimal("0.005")
_NOT_HELD = Unavailable("the position is hypothetical")


@dataclass(frozen=True, slots=True)
class Situation:
    """What surrounds a plan. `account` and the position's last change seed the orders' ids.

    `position` is None for a hypothetical one. Candles of one hour feed the bootstrap; `odds` False leaves all odds out.
    `notes` are what the inputs had to say. `differ` compares with the live orders in `standing`: the plan's own, or
    where a plan is under way, what that one wants to rest now (`running`).
    """

    account: str
    mode: PositionMode = PositionMode.ONE_WAY
    position: Position | None = None
    standing: Standing = field(default_factory=Standing)
    candles: tuple[Candle, ...] | Unavailable = field(default=Unavailable("candles were not read"))
    funding: Funding | None = None
    notes: tuple[Reason, ...] = ()
    odds: bool = True
    differ: bool = False
    running: Wanted | None = None


def generation_for(account: str, key: PositionKey, changed_at: Millis) -> str:
    """Return the generation of the orders of a position that changed last at `changed_at` (0 while there is none).

    A function of the exchange's own facts: a plan, its document and applying it agree on ids without sharing state.
    """
    return generation_of(account, key, changed_at, 1)


def compose(request: PlanRequest, rules: ExitRules, situation: Situation) -> PlanSheet:
    """Return the plan of a request with its orders, money, odds and comparison; raises `InputsError` as planning does.

    For an open position the liquidation price is the exchange's; our own stands beside it, with a warning where they
    disagree.
    """
    plan = plan_exits(request, rules)
    key, context, fee = plan.key, request.context, request.context.taker_fee
    position, standing = situation.position, replace(situation.standing, mark=request.mark)
    generation = generation_for(situation.account, key, 0 if position is None else position.updated_at)
    orders = planned_orders(wanted_by(plan), request.instrument, generation, rules.execution, standing)
    liquidation, disagreement = _liquidation(request, plan, position)
    funding = situation.funding or Funding(_NOT_HELD, _NOT_HELD, _NOT_HELD, _NOT_HELD)
    pnl = _pnl(request)
    software = rules.execution.take_profit == "software"
    return PlanSheet(
        plan=plan,
        hypothetical=position is None,
        generation=generation,
        mark=Unavailable("neither given nor read") if request.mark is None else request.mark,
        notional=request.notional,
        margin=request.notional / plan.leverage
        if position is None or not position.initial_margin
        else position.initial_margin,
        margin_mode=context.margin,
        context=context,
        fee=fee,
        legs=_legs(plan, request, situation, fee),
        total=total_gain(plan, fee),
        stop=gain(plan, plan.quantity, plan.stop, fee),
        backstop=gain(plan, plan.quantity, plan.backstop, fee),
        ratchet=_ratchet(plan, request.instrument, rules),
        trail_schedule=_trail_schedule(plan, rules.trail),
        partials=_partials(plan, pnl),
        liquidation=liquidation,
        breakeven_with_funding=funding.paid
        if isinstance(funding.paid, Unavailable)
        else breakeven_with_funding(key.side, plan.entry, plan.quantity, fee, funding.paid),
        funding=funding,
        pnl=pnl,
        risk=risk_effect(context.risk, rules.risk),
        orders=orders,
        wires=tuple(wire_order(order.intent, situation.mode).params for order in orders),
        reasons=(*situation.notes, *plan.reasons, *([_SOFTWARE] if software else [])),
        warnings=(*plan.warnings, *disagreement, *_refusals(orders)),
        diff=_diff(request, rules, situation, standing, orders) if situation.differ else None,
    )


_SOFTWARE = Reason(
    "orders", "software_targets", "take-profits are taken by watch when the mark reaches them: only stops rest"
)


def _diff(
    request: PlanRequest, rules: ExitRules, situation: Situation, standing: Standing, orders: tuple[PlannedOrder, ...]
) -> Diff:
    running = situation.running
    if running is not None:
        orders = planned_orders(running, request.instrument, "", rules.execution, standing)
    return compare(request.key, orders, standing.live or (), running=running is not None)


def _refusals(orders: Sequence[PlannedOrder]) -> Iterator[Reason]:
    for order in orders:
        for check in order.refusals:
            name = " ".join([order.role.label, *map(str, order.legs)])
            text = f"{name} would be refused: {check.filter} {check.limit} ({check.code})"
            yield Reason("orders", "would_be_refused", text)


def _pnl(request: PlanRequest) -> Ratio | Unavailable:
    """Return the price move in favour of entry that is known now: what was given, else what the mark says."""
    if request.pnl is not None:
        return request.pnl
    if request.mark is None:
        return Unavailable("the mark is not known")
    return Ratio(request.key.side.sign * (request.mark - request.entry) / request.entry)


def _liquidation(request: PlanRequest, plan: Plan, position: Position | None) -> tuple[Liquidation, tuple[Reason, ...]]:
    context = request.context
    room = liquidation_room(
        plan.key.side,
        plan.quantity,
        plan.entry,
        leverage=plan.leverage,
        wallet=context.wallet,
        brackets=context.brackets,
    )

    def distance(price: Price | None) -> Ratio | None:
        return None if price is None else Ratio(plan.key.side.sign * (plan.entry - price) / plan.entry)

    if position is None:
        if room.bound is None:
            return Liquidation(room.price, distance(room.price), room.price), ()
        missing = Unavailable(f"{room.bound}; at most {room.distance} from entry")
        return Liquidation(missing, missing), ()
    told, ours = position.liquidation_price, room.price
    found = Liquidation(told, distance(told), ours)
    if told is None or ours is None or abs(ours - told) <= _LIQUIDATION_TOLERANCE * told:
        return found, ()
    text = f"the exchange liquidates at {plain(told)}, our own figure is {trimmed(ours, 8)}"
    return found, (Reason("liquidation", "liquidation_differs", text, trimmed(ours, 8), plain(told)),)


def _legs(plan: Plan, request: PlanRequest, situation: Situation, fee: Ratio) -> tuple[LegSheet, ...]:
    closed: Sequence[Odds | None] = [None] * len(plan.legs)
    drawn: Sequence[Odds | None] = closed
    if situation.odds:
        price = plan.entry if request.mark is None else request.mark
        closed = [odds(price, leg.trigger, plan.stop, request.context.volatility) for leg in plan.legs]
        drawn = _bootstrap(plan, price, situation.candles)
    return tuple(
        LegSheet(gain(plan, leg.quantity, leg.trigger, fee), one, other)
        for leg, one, other in zip(plan.legs, closed, drawn, strict=True)
    )


def _bootstrap(plan: Plan, price: Price, candles: tuple[Candle, ...] | Unavailable) -> tuple[Odds, ...]:
    missing = candles if isinstance(candles, Unavailable) else None
    if plan.key.side.sign * (price - plan.stop) <= 0:
        missing = Unavailable("the stop is reached")
    if isinstance(candles, Unavailable) or missing is not None:
        reason = missing or Unavailable("no candles")
        return tuple(Odds(reason, reason, "block bootstrap") for _ in plan.legs)
    return bootstrap_odds(price, [leg.trigger for leg in plan.legs], plan.stop, candles, _HOUR_MS)


def _ratchet(plan: Plan, instrument: Instrument, rules: ExitRules) -> tuple[Price, ...]:
    """Return the stop after each take-profit; it only ever tightens (I4)."""
    sign, stop = plan.key.side.sign, plan.stop
    levels = []
    for done in range(1, len(plan.legs) + 1):
        level = ratchet_stop(plan, done, instrument, rules.execution)
        if level is not None and sign * (level - stop) > 0:
            stop = level
        levels.append(stop)
    return tuple(levels)


def _trail_schedule(plan: Plan, rules: TrailRules) -> tuple[tuple[Ratio, Ratio], ...]:
    trail = plan.trail
    if trail is None:
        return ()
    return tuple((profit, widest_callback(trail, profit, rules)) for profit, _ in trail.schedule)


def _partials(plan: Plan, pnl: Ratio | Unavailable) -> tuple[PartialLevel, ...]:
    if isinstance(pnl, Unavailable) or not plan.legs:
        return ()
    return partial_levels(plan.key.side, plan.entry, plan.legs[-1].trigger, pnl)
