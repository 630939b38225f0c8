"""Decides the exits of one position: composes the stages and puts the result on the exchange's grid (exit-rules 5).

`plan_exits` is a function of its request and rules alone: same inputs, same plan. It either returns a plan that the
exchange would accept and whose levels lie on the right sides, or raises `InputsError` that says what stands in the way;
it never invents an input. It serves I4 and I16 by construction: prices on ticks, quantities on steps, stop short of
liquidation.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from tpctl.exits.errors import InputsError
from tpctl.exits.grid import Site, place_levels, place_stop
from tpctl.exits.instrument import Instrument, Unavailable
from tpctl.exits.ladder import LadderInputs, Levels
from tpctl.exits.liquidation import check_leverage
from tpctl.exits.model import Context, Plan, Policy, PositionKey, Reason, Trail
from tpctl.exits.quantize import check_status
from tpctl.exits.risk import RiskEffect, risk_effect
from tpctl.exits.rules import ExitRules, TrailRules
from tpctl.exits.stages import (
    Sketch,
    apply_risk,
    beyond_training,
    blend,
    clamp,
    clear_liquidation,
    default_trail,
    reach_reward,
    settle_stop,
    shape_dynamic,
    shape_hybrid,
    shape_static,
    shape_target,
    take_given,
    tighter_trail,
)
from tpctl.exits.stops import AtrMultiple, LiquidationRoom, StopSpec, liquidation_room, spec_distance, stop_distance
from tpctl.exits.trail_styles import chandelier_callback
from tpctl.exits.units import ONE, ZERO, Money, Price, Quantity, Ratio, plain, trimmed

# Beyond any market; keeps absurd input from overrunning 28 digits.
_LARGEST = Decimal(10) ** 18


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """One position to plan for, and what the operator wants otherwise than the rules.

    `legs` are (distance, share of the initial size) given by hand; `stop` and `trail` are distances given by hand, and
    `trail_activation` is the profit a given trail acts from. `pnl` stands in for the unrealised PnL that mark and entry
    give, as a fraction of notional.
    `min_reward_risk` refuses a plan that falls short of it.
    `anchor_stop_at_mark` measures the stop from the mark where the mark has already crossed the planned one: for
    positions found in loss. `strategy` selects a profile override (exit-rules 2).
    """

    key: PositionKey
    quantity: Quantity
    entry: Price
    mark: Price | None
    instrument: Instrument
    context: Context
    policy: Policy | None = None
    legs: Levels | None = None
    stop: StopSpec | None = None
    trail: StopSpec | None = None
    trail_activation: StopSpec | None = None
    pnl: Ratio | None = None
    min_reward_risk: Decimal | None = None
    anchor_stop_at_mark: bool = False
    strategy: str | None = None

    @property
    def notional(self) -> Money:
        """Value at entry, in the margin asset."""
        return self.quantity * self.entry


def plan_exits(request: PlanRequest, rules: ExitRules) -> Plan:
    """Return the exits of one position, with a reason for whatever a stage changed.

    Raises `InputsError` where a required input is missing or out of range (entry, size, leverage, filters), where the
    position is over-leveraged or too small to place, or where reward:risk stays below `min_reward_risk`.

    What a learned policy suggests moves take-profits alone: neither stop, backstop nor trail lies farther than without
    it, and what cannot be planned without it is not planned with it.
    """
    suggestion = request.context.suggestion
    if isinstance(suggestion, Unavailable):
        return _planned(request, rules)
    leverage = _required(request)
    untrained = beyond_training(suggestion.policy, suggestion.leverage, leverage)
    if untrained is not None:
        return _planned(_without(request, f"policy {untrained}"), rules)
    own = _planned(_without(request, "left out"), rules)
    try:
        return _planned(request, rules, own)
    except InputsError as error:
        return _planned(_without(request, f"with what {suggestion.policy} suggests, {error.message}"), rules)


def _without(request: PlanRequest, why: str) -> PlanRequest:
    return replace(request, context=replace(request.context, suggestion=Unavailable(why)))


def _planned(request: PlanRequest, rules: ExitRules, own: Plan | None = None) -> Plan:
    """Return the plan of a request; `own` is the one without the policy's suggestion, which bounds its stops."""
    leverage = _required(request)
    context = request.context
    effect = risk_effect(context.risk, rules.risk)
    room = _room(request, leverage)

    sketch, stop_reasons = _start(request, effect, rules)
    if context.fees_assumed is not None:
        text = f"fees of the account unavailable ({context.fees_assumed.reason}): the exchange's base rates are used"
        sketch.reasons.append(Reason("inputs", "fees_assumed", text))
    sketch.reasons.extend(context.views)
    _shape(sketch, request, leverage, rules)
    blend(sketch, context.suggestion, rules)
    apply_risk(sketch, effect)
    sketch.reasons.extend(stop_reasons)
    clamp(sketch, rules)
    _settle_trail(sketch, request, rules)
    settle_stop(sketch, leverage, rules)
    reach_reward(sketch, _wanted(request, rules), rules)
    clear_liquidation(sketch, room, leverage, rules)
    return _place(sketch, request, leverage, room, rules, own=own)


def _required(request: PlanRequest) -> Decimal:
    """Return the leverage; raise `InputsError` for what a plan cannot be without."""
    key, instrument, context = request.key, request.instrument, request.context
    if instrument.symbol != key.symbol:
        raise InputsError(
            f"the rules of '{instrument.symbol}' were given for '{key.symbol}'", "read the rules of the symbol"
        )
    if instrument.tick <= 0 or instrument.step <= 0:
        raise InputsError(
            f"{key.symbol} has no tick or no step: '{plain(instrument.tick)}', '{plain(instrument.step)}'",
            "read the exchange's rules again",
        )
    if isinstance(context.leverage, Unavailable):
        raise InputsError(f"leverage of {key} is unavailable ({context.leverage.reason})", "give it with --lev")
    for name, value in (
        ("quantity", request.quantity),
        ("entry", request.entry),
        ("mark", request.mark),
        ("leverage", context.leverage),
        ("minimum reward:risk", request.min_reward_risk),
    ):
        if value is not None and not (value.is_finite() and 0 < value < _LARGEST):
            raise InputsError(f"{name} '{value}' of {key} is not a number above zero", f"give the {name}")
    if request.notional >= _LARGEST:
        raise InputsError(f"notional of {key} is out of range", "check quantity and entry")
    _check_readings(context, key)
    return context.leverage


def _check_readings(context: Context, key: PositionKey) -> None:
    """Refuse readings that are known but impossible: a wrong unit must not pass for a strong signal."""
    confidence, volatility, volume = context.confidence, context.volatility, context.quote_volume
    if not isinstance(confidence, Unavailable) and not ZERO <= confidence <= ONE:
        raise InputsError(f"confidence '{confidence}' of {key} is not between 0 and 1", "give a share such as 0.85")
    if not isinstance(volatility, Unavailable) and volatility.fraction < 0:
        raise InputsError(f"volatility '{volatility}' of {key} is below zero", "give a daily standard deviation")
    if not isinstance(volume, Unavailable) and not ZERO <= volume < _LARGEST:
        raise InputsError(f"quote volume '{volume}' of {key} is out of range", "give the 24 h volume in USD")


def _room(request: PlanRequest, leverage: Decimal) -> LiquidationRoom:
    brackets = request.context.brackets
    if not isinstance(brackets, Unavailable):
        check_leverage(leverage, request.notional, brackets)
    return liquidation_room(
        request.key.side,
        request.quantity,
        request.entry,
        leverage=leverage,
        wallet=request.context.wallet,
        brackets=brackets,
    )


def _start(request: PlanRequest, effect: RiskEffect, rules: ExitRules) -> tuple[Sketch, tuple[Reason, ...]]:
    """Return a sketch that holds the stop distance R, and the reasons for it (they belong to a later stage)."""
    policy = request.policy or rules.policy
    if request.stop is not None:
        given = spec_distance(request.stop, request.context.atr, request.entry, "stop")
        return Sketch(policy, given, given_stop=True), (
            Reason("stop", "stop_given", f"stop of {given} was given: not scaled, and not tightened for reward:risk"),
        )
    context = request.context
    distance, reasons = stop_distance(
        context.confidence, context.volatility, effect.stop_factor, rules.stop, rules.target
    )
    return Sketch(policy, distance), reasons


def _shape(sketch: Sketch, request: PlanRequest, leverage: Decimal, rules: ExitRules) -> None:
    context, symbol = request.context, request.key.symbol
    if request.legs is not None:
        take_given(sketch, request.legs, rules)
        return
    match sketch.policy:
        case Policy.DYNAMIC:
            missing = shape_dynamic(sketch, _ladder_inputs(request, leverage, rules), rules)
            if missing is not None:
                sketch.policy = Policy.STATIC
                text = f"dynamic ladder not computed: {missing}; static profile instead"
                sketch.warnings.append(Reason("policy", "static_fallback", text, "dynamic", "static"))
                shape_static(sketch, symbol, request.strategy, context, rules)
        case Policy.STATIC:
            shape_static(sketch, symbol, request.strategy, context, rules)
        case Policy.TARGET:
            shape_target(sketch, context, rules)
        case Policy.HYBRID:
            shape_hybrid(sketch, symbol, request.strategy, context, rules)


def _ladder_inputs(request: PlanRequest, leverage: Decimal, rules: ExitRules) -> LadderInputs:
    asset = request.instrument.margin_asset
    pnl: Ratio | Unavailable = Unavailable("the mark is not known") if request.pnl is None else request.pnl
    if request.pnl is None and request.mark is not None:
        pnl = Ratio(request.key.side.sign * (request.mark - request.entry) / request.entry)
    context = request.context
    return LadderInputs(
        leverage=leverage,
        notional=request.notional
        if asset in rules.ladder.dollar_assets
        else Unavailable(f"margin asset {asset} is not a US dollar"),
        volatility=context.volatility,
        regime=context.regime,
        confidence=context.confidence,
        quote_volume=context.quote_volume,
        pnl=pnl,
    )


def _settle_trail(sketch: Sketch, request: PlanRequest, rules: ExitRules) -> None:
    """Take the callback given by hand, or make the policy's follow the configured style.

    The share left to the trail stays the policy's.
    """
    limits, atr = rules.trail, request.context.atr
    if request.trail is not None:
        callback = spec_distance(request.trail, atr, request.entry, "trail")
        if not limits.min_callback <= callback <= limits.max_callback:
            raise InputsError(
                f"trail '{callback}' is outside {limits.min_callback} to {limits.max_callback}",
                "give a callback in that range",
            )
        multiple = request.trail.multiple if isinstance(request.trail, AtrMultiple) else None
        terms = default_trail(rules, sketch.trail.share if sketch.trail else ZERO)
        sketch.trail = replace(terms, callback=callback, atr_multiple=multiple)
        if request.trail_activation is not None:
            activation = spec_distance(request.trail_activation, atr, request.entry, "trail activation")
            sketch.trail = replace(sketch.trail, activation=activation)
    elif sketch.trail is not None and limits.style == "atr":
        _hang_chandelier(sketch, sketch.trail, request, limits)
    if sketch.trail is not None and limits.style == "percent":
        sketch.trail = replace(sketch.trail, schedule=((sketch.trail.activation, ONE),))


def _hang_chandelier(sketch: Sketch, trail: Trail, request: PlanRequest, limits: TrailRules) -> None:
    """Let the callback follow the average true range, within the bounds of the configured schedule."""
    multiple, atr = AtrMultiple(limits.atr_multiple), request.context.atr
    trail = replace(trail, schedule=limits.schedule, atr_multiple=multiple.multiple)
    if isinstance(atr, Unavailable):
        text = f"ATR unavailable ({atr.reason}): the trail begins with {trail.callback}, and follows {multiple} later"
        sketch.warnings.append(Reason("trail", "atr_unavailable", text))
    else:
        callback = chandelier_callback(request.entry, atr, multiple, limits)
        text = f"trail of {multiple} at an hourly ATR of {atr:.4g}"
        sketch.reasons.append(Reason("trail", "atr_trail", text, str(trail.callback), callback.show(4)))
        trail = replace(trail, callback=callback)
    sketch.trail = trail


def _place(
    sketch: Sketch,
    request: PlanRequest,
    leverage: Decimal,
    room: LiquidationRoom,
    rules: ExitRules,
    *,
    own: Plan | None,
) -> Plan:
    status = check_status(request.instrument)
    if not status.ok:
        text = f"{request.key.symbol} takes no new orders: {status.limit}"
        sketch.warnings.append(Reason("quantize", "not_tradable", text))
    site = Site(request.key, request.instrument, request.quantity, request.entry)
    legs = place_levels(sketch, site, request.context.taker_fee)
    trail = sketch.trail if own is None else tighter_trail(sketch.trail, own.trail)
    if not legs:
        if trail is None or not trail.share:
            raise InputsError(f"no leg of {request.key} can be placed at '{plain(request.quantity)}'", "use fewer legs")
        trail = replace(trail, share=ONE)
    placed = place_stop(
        sketch,
        site,
        legs,
        trail=trail,
        room=room,
        rules=rules.stop,
        reward_risk=_wanted(request, rules),
        mark=request.mark,
        anchor_at_mark=request.anchor_stop_at_mark,
        own=own,
    )
    _judge_reward(sketch, request, placed.reward_risk, rules)
    net = rules.execution.breakeven == "net"
    try:
        return Plan(
            key=request.key,
            policy=sketch.policy,
            quantity=request.quantity,
            entry=request.entry,
            leverage=leverage,
            legs=legs,
            stop_distance=sketch.stop,
            stop=placed.stop,
            backstop_distance=placed.backstop_distance,
            backstop=placed.backstop,
            trail=trail,
            breakeven=site.stop_tick(site.net_price(request.context.taker_fee) if net else request.entry),
            reward_risk=placed.reward_risk,
            liquidation=room.price,
            reasons=tuple(sketch.reasons),
            warnings=tuple(sketch.warnings),
        )
    except ValueError as error:
        raise InputsError(
            f"no plan for {request.key} holds together: {error}", "check entry, distances and the symbol's tick"
        ) from error


def _wanted(request: PlanRequest, rules: ExitRules) -> Decimal:
    return max(rules.stop.reward_risk, request.min_reward_risk or ZERO)


def _judge_reward(sketch: Sketch, request: PlanRequest, reward_risk: Decimal, rules: ExitRules) -> None:
    """Warn where reward:risk stays short of the rules, refuse where it stays short of what was asked for."""
    least = request.min_reward_risk
    if least is not None and reward_risk < least:
        raise InputsError(
            f"reward:risk of {request.key} is '{trimmed(reward_risk, 3)}', below '{trimmed(least)}'",
            "take wider legs or a tighter stop, or lower --min-reward-risk",
        )
    if reward_risk < rules.stop.reward_risk:
        text = f"reward:risk is {trimmed(reward_risk, 3)}, below {trimmed(rules.stop.reward_risk)}"
        sketch.warnings.append(Reason("reward_risk", "reward_risk_short", text))
