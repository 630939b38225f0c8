"""What follows from the facts: ratchet, trail, re-sizing, closing, the end of an episode.

It sets levels and phases; `reconcile` turns them into orders. Levels only tighten (I4); a crossed level closes at market.
"""

from dataclasses import replace
from decimal import Decimal

from tpctl.exits.allocate import allocate
from tpctl.exits.draft import Draft
from tpctl.exits.episode import LegState, LegStatus, OrderState, Phase
from tpctl.exits.errors import InputsError
from tpctl.exits.facts import attempt_of, see_increase
from tpctl.exits.ids import Role
from tpctl.exits.intents import LookUp, ReadAccount, ReadContext
from tpctl.exits.model import Book, NoteKind, Outcome
from tpctl.exits.planner import PlanRequest, plan_exits
from tpctl.exits.quantize import round_stop
from tpctl.exits.reconcile import SETTLE_MS, STUCK_MS, begin_close
from tpctl.exits.stops import ratchet_stop
from tpctl.exits.trailing import peak_profit, rearm, trail_stop
from tpctl.exits.units import ONE, ZERO, Price

# A context that never came is asked for again after this.
_CONTEXT_RETRY_MS = 5_000


def progress(draft: Draft) -> None:
    """Move the episode on from what is known now."""
    episode = draft.episode
    if episode.phase is Phase.FLAT:
        return
    if episode.quantity == 0:
        _end_when_explained(draft)
        return
    if episode.context_asked_at is None:
        draft.set(context_asked_at=draft.now)
        draft.ask([ReadContext(episode.key)])
    if episode.plan is not None and episode.phase is not Phase.CLOSING:
        _ratchet(draft)
        _follow_trail(draft)
    _watch_protection(draft)


def on_time(draft: Draft) -> None:
    """What only the passing of time decides: retries, lasting differences, a stop that should have triggered."""
    episode = draft.episode
    if episode.phase is Phase.FLAT or episode.quantity == 0:
        return
    asked = episode.context_asked_at
    if episode.plan is None and asked is not None and draft.now - asked >= _CONTEXT_RETRY_MS:
        draft.set(context_asked_at=None)
    _settle_difference(draft)
    _watch_overdue(draft)


def take_plan(draft: Draft) -> None:
    """Plan the exits from the context just read; the first plan of an episode also decides its backstop."""
    episode = draft.episode
    assert episode.instrument is not None
    assert episode.context is not None
    request = PlanRequest(
        key=episode.key,
        quantity=episode.quantity,
        entry=episode.entry,
        mark=episode.mark,
        instrument=episode.instrument,
        context=episode.context,
        anchor_stop_at_mark=episode.stop is None,
    )
    try:
        plan = plan_exits(request, draft.state.rules)
    except InputsError as error:
        _guard_without_plan(draft, error)
        return
    first = episode.plan is None
    stop = plan.stop if episode.stop is None else _tighter(draft, episode.stop, plan.stop)
    legs = tuple(
        LegState(leg.number, leg.distance, leg.trigger, leg.fraction, leg.quantity, started_at=draft.now)
        for leg in plan.legs
    )
    draft.set(
        plan=plan,
        plans=episode.plans + 1,
        legs=legs,
        stop=stop,
        backstop=episode.backstop or plan.backstop,
        callback=plan.trail.callback if plan.trail and episode.callback is None else episode.callback,
        phase=Phase.GUARDED if episode.phase is Phase.ADOPTING else episode.phase,
    )
    if first:
        draft.tell(
            NoteKind.ADOPTED,
            "position found",
            quantity=episode.quantity,
            entry=episode.entry,
            notional=episode.quantity * episode.entry,
            leverage=plan.leverage,
            mark=episode.mark,
        )
    ladder = ", ".join(
        f"TP{leg.number}={leg.distance.show()}({leg.fraction * 100:.0f}%)" for leg in plan.legs
    )
    draft.tell(
        NoteKind.PLANNED,
        "first plan" if first else "planned again for the new size",
        policy=plan.policy.value,
        ladder=ladder,
        stop=stop,
        stop_distance=plan.stop_distance.fraction,
        backstop=draft.episode.backstop,
        liquidation=plan.liquidation,
        reward_risk=plan.reward_risk,
        leverage=plan.leverage,
        breakeven=plan.breakeven,
        reasons="\n".join(reason.text for reason in (*plan.reasons, *plan.warnings)),
    )


def check_liquidation(draft: Draft) -> None:
    """After leverage or margin changed: tighten a stop that liquidation would come before (H4); never loosen."""
    episode = draft.episode
    assert episode.instrument is not None
    assert episode.context is not None
    request = PlanRequest(
        key=episode.key,
        quantity=episode.quantity,
        entry=episode.entry,
        mark=episode.mark,
        instrument=episode.instrument,
        context=episode.context,
    )
    try:
        plan = plan_exits(request, draft.state.rules)
    except InputsError as error:
        draft.tell(NoteKind.DEGRADED, f"liquidation is nearer than the exits allow: {error.message}", hint=error.hint)
        return
    if plan.liquidation is None or episode.stop is None:
        return
    if episode.key.side.sign * (episode.stop - plan.liquidation) <= 0:
        move_stop(draft, plan.stop, "stop", "liquidation moved inside the stop")


def _guard_without_plan(draft: Draft, error: InputsError) -> None:
    """No plan can be made: rest at least a closePosition stop at the default distance, and say why (I1)."""
    episode = draft.episode
    draft.tell(NoteKind.DEGRADED, f"no plan: {error.message}", hint=error.hint)
    if episode.backstop is not None or episode.instrument is None:
        return
    rules = draft.state.rules.stop
    distance = rules.distance.scaled(rules.backstop_factor)
    anchor = episode.entry
    level = round_stop(episode.instrument, episode.key.side, _below(draft, anchor, distance.fraction))
    if episode.mark is not None and draft.beyond(level, profit=False):
        level = round_stop(episode.instrument, episode.key.side, _below(draft, episode.mark, distance.fraction))
    draft.set(backstop=level)


def _below(draft: Draft, anchor: Price, fraction: Decimal) -> Price:
    return anchor * (ONE - draft.episode.key.side.sign * fraction)


def _tighter(draft: Draft, a: Price, b: Price) -> Price:
    return max(a, b) if draft.episode.key.side.sign > 0 else min(a, b)


def move_stop(draft: Draft, level: Price, cause: str, reason: str, kind: NoteKind = NoteKind.STOP_MOVED) -> None:
    """Tighten the stop to `level`; anything looser or equal changes nothing (I4)."""
    old = draft.episode.stop
    if old is None or _tighter(draft, old, level) == old:
        return
    draft.set(stop=level, stop_cause=cause)
    draft.tell(kind, reason, **{"from": old, "to": level, "mark": draft.episode.mark})
    if draft.beyond(level, profit=False):
        begin_close(draft, f"{cause} level is already passed")


def _ratchet(draft: Draft) -> None:
    episode = draft.episode
    if episode.legs_hit == 0:
        return
    assert episode.plan is not None
    assert episode.instrument is not None
    done = episode.legs_hit
    level = ratchet_stop(episode.plan, done, episode.instrument, draft.state.rules.execution, peak=episode.peak)
    if level is not None:
        cause = "breakeven" if done == 1 else "ratchet"
        move_stop(draft, level, cause, f"TP{done} filled: stop to {'breakeven' if done == 1 else f'TP{done - 1}'}")


def _follow_trail(draft: Draft) -> None:
    episode = draft.episode
    plan, instrument, peak, callback = episode.plan, episode.instrument, episode.peak, episode.callback
    if plan is None or plan.trail is None or instrument is None or peak is None or callback is None:
        return
    if episode.stop is None or episode.phase is Phase.CLOSING:
        return
    side = episode.key.side
    profit = peak_profit(side, episode.entry, peak)
    if profit < plan.trail.activation:
        return
    rules = draft.state.rules.trail
    change = rearm(
        plan.trail.callback,
        callback,
        profit,
        position_age_ms=draft.now - episode.opened_at,
        since_change_ms=None if episode.callback_at is None else draft.now - episode.callback_at,
        schedule=plan.trail.schedule,
        min_age_ms=rules.min_age_ms,
        min_interval_ms=rules.min_interval_ms,
        min_change=rules.min_change,
    )
    if change.changed:
        draft.set(callback=change.callback, callback_at=draft.now)
        callback = change.callback
    level = trail_stop(instrument, side, peak, callback)
    step = max(instrument.tick, rules.min_step * callback.of(peak))
    if change.changed or side.sign * (level - episode.stop) >= step:
        reason = f"trail {callback.show()} behind the best {peak}"
        if change.changed:
            reason = f"{reason}: {change.reason}"
        move_stop(draft, level, "trail", reason, NoteKind.TRAIL_MOVED)


def _settle_difference(draft: Draft) -> None:
    """Deal with a size that our own fills do not explain, once it has lasted (I24)."""
    episode = draft.episode
    waiting = [leg for leg in episode.legs if leg.status is LegStatus.WAITING]
    excess = sum((leg.remaining for leg in waiting), ZERO) > episode.quantity
    stated = episode.quantity if episode.stated is None else episode.stated
    if episode.accounted == stated and not excess:
        if episode.differs_since is not None:
            draft.set(differs_since=None)
        return
    if episode.differs_since is None:
        draft.set(differs_since=draft.now)
        return
    if draft.now - episode.differs_since < SETTLE_MS:
        return
    if stated > episode.accounted:
        see_increase(draft, stated, episode.entry)
        return
    if episode.accounted > episode.quantity:
        by_hand = episode.accounted - episode.quantity
        draft.tell(NoteKind.EXTERNAL, "reduced by another order", quantity=by_hand, remaining=episode.quantity)
    draft.set(accounted=episode.quantity, differs_since=None)
    if excess:
        _refit_legs(draft, waiting)


def _refit_legs(draft: Draft, waiting: list[LegState]) -> None:
    """Share the smaller position among the legs still waiting, in their old proportions; levels stay."""
    episode = draft.episode
    assert episode.instrument is not None
    total = sum((leg.fraction for leg in waiting), ZERO)
    fractions = tuple(leg.fraction / total for leg in waiting)
    # Division leaves a digit or two: the last leg takes what is left, so that the shares sum to one exactly.
    fractions = (*fractions[:-1], ONE - sum(fractions[:-1], ZERO))
    try:
        shares = allocate(episode.quantity, fractions, episode.instrument, tuple(leg.trigger for leg in waiting))
    except InputsError as error:
        draft.set(legs=tuple(leg for leg in episode.legs if leg.status is not LegStatus.WAITING))
        draft.tell(NoteKind.DEGRADED, f"the rest is too small for take-profits: {error.message}")
        return
    sizes = {leg.number: share for leg, share in zip(waiting, shares.quantities, strict=True)}
    legs: list[LegState] = []
    for leg in episode.legs:
        share = sizes.get(leg.number)
        if share is None:
            legs.append(leg)
        elif share > 0:
            legs.append(replace(leg, quantity=leg.filled + share))
        else:
            legs.append(replace(leg, status=LegStatus.SKIPPED))
    draft.set(legs=tuple(legs))


def _watch_overdue(draft: Draft) -> None:
    """Close at market when the mark stays beyond the stop and nothing has triggered (reliability F3, O11)."""
    episode = draft.episode
    if episode.stop is None or not draft.beyond(episode.stop, profit=False) or episode.phase is Phase.CLOSING:
        if episode.overdue_since is not None:
            draft.set(overdue_since=None)
        return
    if any(order.state is OrderState.WITHHELD for order in episode.of_role(Role.STOP)):
        return
    if episode.overdue_since is None:
        draft.set(overdue_since=draft.now)
    elif draft.now - episode.overdue_since >= STUCK_MS:
        begin_close(draft, "the stop did not trigger")


def _watch_protection(draft: Draft) -> None:
    episode = draft.episode
    if episode.protected:
        if episode.unprotected_since is not None:
            gap = draft.now - episode.unprotected_since
            draft.set(unprotected_since=None, naked_ms=episode.naked_ms + gap)
    elif episode.unprotected_since is None:
        draft.set(unprotected_since=draft.now)


def watch_protection(draft: Draft) -> None:
    """Keep the account of time without a live stop (I1)."""
    if draft.episode.phase is not Phase.FLAT:
        _watch_protection(draft)


def _end_when_explained(draft: Draft) -> None:
    """End the episode once the exits account for its size, or the evidence had its time to arrive."""
    episode = draft.episode
    if episode.accounted > 0:
        if episode.differs_since is None:
            draft.set(differs_since=draft.now)
            _look_up_exits(draft)
            return
        if draft.now - episode.differs_since < SETTLE_MS:
            return
    _watch_protection(draft)
    price = episode.average_exit or episode.mark or episode.entry
    reason = episode.close_reason or ("take_profit" if episode.accounted == 0 and episode.legs_hit else "another order")
    rest = episode.rest_spent / episode.rest_quantity if episode.rest_quantity else price
    for leg in episode.legs:
        if leg.status is LegStatus.WAITING and leg.remaining > 0:
            draft.attempts.append(attempt_of(draft, leg, Outcome.MISS, reason, rest, leg.remaining))
    draft.set(phase=Phase.FLAT, flat_at=draft.now, accounted=ZERO, differs_since=None)
    draft.tell(
        NoteKind.CLOSED,
        reason,
        average_exit=episode.average_exit,
        entry=episode.entry,
        quantity=episode.exit_quantity,
        pnl=episode.realised - episode.fees,
        fees=episode.fees,
        legs_hit=episode.legs_hit,
        legs=len(episode.legs),
        naked_ms=draft.episode.naked_ms,
        duration_ms=draft.now - episode.opened_at,
    )
    draft.ask([ReadAccount("verify the close")])


def _look_up_exits(draft: Draft) -> None:
    for order in draft.episode.orders:
        if order.open:
            book = Book.REGULAR if order.role is Role.REDUCE or order.child_id else Book.ALGO
            draft.set_order(order.client_id, looked_at=draft.now)
            draft.ask([LookUp(draft.episode.key, order.client_id, book)])
