"""When and how an episode gets its plan: at adoption, after an increase, after leverage or the exchange's grid changed.

A new plan never loosens the stop in force (I4). Where no plan can be made, at least a closePosition stop rests (I1).
"""

from dataclasses import replace

from tpctl.exits.draft import Draft, tighter
from tpctl.exits.episode import Episode, LegStatus, Phase
from tpctl.exits.errors import InputsError
from tpctl.exits.events import ContextRead
from tpctl.exits.experiment import Assignment, assign
from tpctl.exits.instrument import Instrument, Unavailable
from tpctl.exits.legs import carry_over
from tpctl.exits.model import Leg, NoteKind, Plan
from tpctl.exits.on_risk import placed_legs, readings_of
from tpctl.exits.planner import PlanRequest, plan_exits
from tpctl.exits.progress import move_stop
from tpctl.exits.quantize import market_step, round_stop, round_tp
from tpctl.exits.reconcile import names
from tpctl.exits.risk import tp_factor
from tpctl.exits.rules import ExitRules
from tpctl.exits.size import refit
from tpctl.exits.units import ONE, Price

_PLAN = "plan"


def see_context(draft: Draft, event: ContextRead) -> None:
    """Take in rules and planning inputs, and plan where a plan is due."""
    episode = draft.episode
    if _seems_gone(episode):
        return
    take_rules(draft, event.instrument)
    draft.set(context=event.context, context_at=event.at)
    if episode.mark is None and event.mark is not None:
        draft.set(mark=event.mark, mark_at=event.at, peak=event.mark, trough=event.mark)
    if episode.plan is None or episode.phase is Phase.ADOPTING:
        _take_plan(draft, event)
    else:
        _check_liquidation(draft, event)


def take_rules(draft: Draft, instrument: Instrument) -> None:
    """Take in the trading rules of the symbol, for whichever of its positions they were read."""
    before = draft.episode.instrument
    if _seems_gone(draft.episode):
        return
    draft.set(instrument=instrument)
    if before is not None and _grid(before) != _grid(instrument):
        _regrid(draft, instrument)


def _seems_gone(episode: Episode) -> bool:
    """Whether nothing is to be planned; no levels are given up for it, because it may be there after all."""
    return episode.phase is Phase.FLAT or episode.quantity == 0


def _grid(instrument: Instrument) -> tuple[object, ...]:
    return (instrument.tick, market_step(instrument))


def _regrid(draft: Draft, instrument: Instrument) -> None:
    """Put levels and legs on a grid that has changed (reliability M2); a stop only moves tighter."""
    episode, side = draft.episode, draft.episode.key.side
    draft.set(
        stop=None if episode.stop is None else round_stop(instrument, side, episode.stop),
        backstop=None if episode.backstop is None else round_stop(instrument, side, episode.backstop),
        legs=tuple(replace(leg, trigger=round_tp(instrument, side, leg.trigger)) for leg in episode.legs),
    )
    waiting = [leg for leg in draft.episode.legs if leg.status is LegStatus.WAITING]
    if waiting:
        refit(draft, instrument, waiting)


def _arm(draft: Draft) -> Assignment | None:
    """Return the arm of the position; drawn before its first plan, it never changes in the middle of a life."""
    episode = draft.episode
    drawn = assign(draft.state.experiment, episode.generation)
    if drawn is None or (episode.plan is not None and episode.arm != drawn.label):
        return None
    return drawn


def _request(draft: Draft, event: ContextRead) -> PlanRequest:
    episode, drawn = draft.episode, _arm(draft)
    return PlanRequest(
        key=episode.key,
        quantity=episode.quantity,
        entry=episode.entry,
        mark=episode.mark,
        instrument=event.instrument,
        context=event.context,
        policy=None if drawn is None else drawn.policy,
        # A level that is already passed would close at once: the operator has the position, so measure from the mark.
        anchor_stop_at_mark=True,
    )


def _take_plan(draft: Draft, event: ContextRead) -> None:
    """Plan the exits; the first plan of an episode also decides its backstop."""
    episode = draft.episode
    first, rules = episode.plan is None, draft.state.rules
    drawn = _arm(draft)
    request = _request(draft, event)
    try:
        plan = plan_exits(request, rules)
    except InputsError as error:
        _guard_without_plan(draft, event.instrument, error)
        return
    factor, _ = tp_factor(event.context.risk, rules.risk)
    calm = plan.legs if factor == ONE else _calm_legs(request, rules)
    draft.set(
        plan=plan,
        plans=episode.plans + 1,
        legs=placed_legs(plan.legs, calm, factor),
        risk=readings_of(event.context),
        risk_factor=factor,
        risk_wider_since=None,
        stop=plan.stop if episode.stop is None else tighter(episode, episode.stop, plan.stop),
        backstop=episode.backstop or plan.backstop,
        callback=plan.trail.callback if plan.trail and episode.callback is None else episode.callback,
        phase=Phase.GUARDED if episode.phase is Phase.ADOPTING else episode.phase,
        live_adjusted=False,
        complaint=None,
    )
    if first:
        regime = event.context.regime
        draft.set(
            stop_initial=plan.stop,
            regime=None if isinstance(regime, Unavailable) else regime.value,
            arm=None if drawn is None else drawn.label,
        )
        draft.tell(
            NoteKind.ADOPTED,
            "position found",
            quantity=episode.quantity,
            entry=episode.entry,
            notional=episode.quantity * episode.entry,
            leverage=plan.leverage,
            mark=draft.episode.mark,
        )
    _tell_plan(draft, plan, "first plan" if first else "planned again for the new size", drawn)
    if draft.state.rules.execution.if_crossed == "skip":
        _skip_crossed(draft)


def _calm_legs(request: PlanRequest, rules: ExitRules) -> tuple[Leg, ...]:
    """Return the legs the same plan has where risk scales nothing: what a later factor starts from."""
    calm = replace(request.context, risk=Unavailable("left out"))
    try:
        return plan_exits(replace(request, context=calm), rules).legs
    except InputsError:
        return ()  # wider levels than the exchange takes


def _tell_plan(draft: Draft, plan: Plan, reason: str, drawn: Assignment | None) -> None:
    ladder = ", ".join(f"TP{leg.number}={leg.distance.show()}({leg.fraction * 100:.0f}%)" for leg in plan.legs)
    draft.tell(
        NoteKind.PLANNED,
        reason,
        policy=plan.policy.value,
        ladder=ladder,
        stop=draft.episode.stop,
        stop_distance=plan.stop_distance.fraction,
        backstop=draft.episode.backstop,
        liquidation=plan.liquidation,
        reward_risk=plan.reward_risk,
        leverage=plan.leverage,
        breakeven=plan.breakeven,
        generation=draft.episode.generation,
        arm=None if drawn is None else drawn.label,
        propensity=None if drawn is None else drawn.propensity.fraction,
        reasons="\n".join(reason.text for reason in (*plan.reasons, *plan.warnings)),
    )


def _skip_crossed(draft: Draft) -> None:
    """Leave out the levels the mark had passed before they were planned; the next level takes over their size."""
    numbers = {leg.number for leg in draft.episode.legs if draft.beyond(leg.trigger, profit=True)}
    if numbers:
        draft.set(legs=carry_over(draft.episode.legs, numbers, LegStatus.SKIPPED, draft.now))
        draft.tell(NoteKind.DEGRADED, f"level already passed: take-profit {names(numbers)} skipped")


def _guard_without_plan(draft: Draft, instrument: Instrument, error: InputsError) -> None:
    """No plan can be made: rest at least a closePosition stop at the default distance, and say why (I1)."""
    episode = draft.episode
    draft.failed(_PLAN)
    draft.set(context_asked_at=max(draft.now, draft.episode.retry_at[_PLAN]))
    if error.message != episode.complaint:
        draft.set(complaint=error.message)
        draft.tell(NoteKind.DEGRADED, f"no plan: {error.message}", hint=error.hint)
    if episode.backstop is not None:
        return
    rules = draft.state.rules.stop
    distance = rules.distance.scaled(rules.backstop_factor).fraction
    sign = episode.key.side.sign

    def below(anchor: Price) -> Price:
        return round_stop(instrument, episode.key.side, anchor * (ONE - sign * distance))

    level = below(episode.entry)
    mark = draft.episode.mark
    draft.set(backstop=below(mark) if mark is not None and draft.beyond(level, profit=False) else level)


def _check_liquidation(draft: Draft, event: ContextRead) -> None:
    """After leverage or margin changed: tighten a stop that liquidation would come before (H4); never loosen."""
    episode = draft.episode
    try:
        plan = plan_exits(_request(draft, event), draft.state.rules)
    except InputsError as error:
        if error.message != episode.complaint:
            draft.set(complaint=error.message)
            draft.tell(
                NoteKind.DEGRADED, f"liquidation is nearer than the exits allow: {error.message}", hint=error.hint
            )
        return
    draft.set(complaint=None)
    if plan.liquidation is None or episode.stop is None:
        return
    if episode.key.side.sign * (episode.stop - plan.liquidation) <= 0:
        move_stop(draft, plan.stop, "stop", "liquidation moved inside the stop")
