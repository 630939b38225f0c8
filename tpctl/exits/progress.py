"""What follows from the facts: ratchet, trail, live adjustment, overdue stops, the end of an episode.

It sets levels and phases; `reconcile` turns them into orders. Levels only tighten (I4); a crossed level closes at
market.
"""

from dataclasses import dataclass, replace

from tpctl.exits.draft import SETTLE_MS, STUCK_MS, Draft, tighter
from tpctl.exits.episode import Episode, LegState, LegStatus, OrderState, Phase
from tpctl.exits.fills import release_unclaimed
from tpctl.exits.ids import Role
from tpctl.exits.instrument import Unavailable
from tpctl.exits.intents import ReadAccount, ReadContext
from tpctl.exits.ladder import adjust_live
from tpctl.exits.legs import fees_of, record_hits, record_misses
from tpctl.exits.model import NoteKind, PositionKey
from tpctl.exits.quantize import round_tp
from tpctl.exits.reconcile import begin_close
from tpctl.exits.rules import TrailRules
from tpctl.exits.size import fit_legs, settle_difference
from tpctl.exits.stops import ratchet_stop
from tpctl.exits.trail_styles import follow
from tpctl.exits.trailing import Rearm, peak_profit, trail_stop
from tpctl.exits.units import ONE, ZERO, Millis, Money, Price, Ratio

# A context that never came is asked for again after this.
_CONTEXT_RETRY_MS = 2_000


# Where a ratchet of each style moves the stop; the default one names the level it moves to.
_RATCHET_WORDS: dict[str, str] = {
    "breakeven": "breakeven",
    "moving_target": "its target behind",
    "percent_below_trigger": "its share behind the trigger",
    "percent_below_highest": "its share behind the best price",
}


def progress(draft: Draft) -> None:
    """Move the episode on from what is known now."""
    episode = draft.episode
    if episode.phase is Phase.FLAT:
        return
    if episode.stated == 0:
        _end_when_explained(draft)
        return
    record_hits(draft)
    if episode.quantity == 0:
        return  # by our own account; the exchange has the last word on flat
    if episode.context_asked_at is None:
        draft.set(context_asked_at=draft.now, context_at=None)
        draft.ask(ReadContext(episode.key))
    if draft.episode.plan is not None and episode.phase is not Phase.CLOSING:
        fit_legs(draft)
        _adjust_live(draft)
        _ratchet(draft)
        _follow_trail(draft)


def on_time(draft: Draft) -> None:
    """Decide what only the passing of time decides: retries, lasting differences, a stop that should have triggered."""
    episode = draft.episode
    if episode.phase is Phase.FLAT:
        return
    release_unclaimed(draft)
    if episode.stated == 0:
        return
    _ask_context_again(draft)
    if atr_due(episode, draft.state.rules.trail, draft.now):
        draft.set(context_asked_at=None)
    settle_difference(draft)
    _watch_overdue(draft)


def _ask_context_again(draft: Draft) -> None:
    episode = draft.episode
    asked = episode.context_asked_at
    awaited = episode.context_at is None or episode.phase is Phase.ADOPTING
    if awaited and asked is not None and draft.now - asked >= _CONTEXT_RETRY_MS:
        draft.set(context_asked_at=None)


def atr_due(episode: Episode, rules: TrailRules, now: Millis) -> bool:
    """Whether the average true range that a trail follows is to be read again."""
    terms, read_at = episode.trail_terms, episode.context_at
    return (
        terms is not None
        and terms.atr_multiple is not None
        and (read_at is not None and now - read_at >= rules.atr_interval_ms)
    )


def move_stop(draft: Draft, level: Price, cause: str, reason: str, kind: NoteKind = NoteKind.STOP_MOVED) -> None:
    """Tighten the stop to `level`; anything looser or equal changes nothing (I4)."""
    old = draft.episode.stop
    if old is None or tighter(draft.episode, old, level) == old:
        return
    draft.set(stop=level, stop_cause=cause)
    draft.tell(kind, reason, **{"from": old, "to": level, "mark": draft.episode.mark})
    if draft.stopped(level):
        begin_close(draft, f"{cause} level is already passed")


def _adjust_live(draft: Draft) -> None:
    """Pull in the levels not yet hit when a sideways market has paid well, once for each plan (exit-rules 1)."""
    episode = draft.episode
    plan, context, instrument, mark = episode.plan, episode.context, episode.instrument, episode.mark
    if episode.live_adjusted or plan is None or context is None or instrument is None or mark is None:
        return
    side = episode.key.side
    pnl = Ratio(side.sign * (mark - episode.entry) / episode.entry)
    if pnl < draft.state.rules.ladder.live_pnl or isinstance(context.regime, Unavailable):
        return
    waiting = [leg for leg in episode.legs if leg.status is LegStatus.WAITING]
    distances, reason = adjust_live([leg.distance for leg in waiting], pnl, context.regime, draft.state.rules.ladder)
    draft.set(live_adjusted=True)
    if reason is None:
        return
    for leg, distance in zip(waiting, distances, strict=True):
        trigger = round_tp(instrument, side, episode.entry * (ONE + side.sign * distance.fraction))
        base = None if leg.base is None else Ratio(leg.base.fraction * distance.fraction / leg.distance.fraction)
        draft.set_leg(replace(leg, distance=distance, trigger=trigger, base=base))
    draft.tell(NoteKind.PLANNED, reason.text, mark=mark, stop=episode.stop)


@dataclass(frozen=True, slots=True)
class _Climbed:
    """The levels a stop climbs as they rest: the plan's own may have moved since."""

    key: PositionKey
    legs: tuple[LegState, ...]
    breakeven: Price


def _ratchet(draft: Draft) -> None:
    episode, rules = draft.episode, draft.state.rules
    plan, instrument, done = episode.plan, episode.instrument, episode.legs_hit
    if done == 0 or plan is None or instrument is None or episode.stop is None:
        return
    climbed = _Climbed(episode.key, episode.legs, plan.breakeven)
    level = ratchet_stop(climbed, done, instrument, rules.execution, peak=episode.peak)
    if level is None:
        return
    if rules.execution.ratchet == "percent_below_highest":
        # It follows every new best price, so like the trail it moves in steps worth an order.
        least = max(instrument.tick, rules.trail.min_step * rules.execution.ratchet_percent.of(level))
        if episode.key.side.sign * (level - episode.stop) < least:
            return
    style = draft.state.rules.execution.ratchet
    where = _RATCHET_WORDS.get(style) or ("breakeven" if done == 1 else f"TP{done - 1}")
    cause = "breakeven" if where == "breakeven" else "ratchet"
    move_stop(draft, level, cause, f"TP{done} filled: stop to {where}")


def trail_change(draft: Draft) -> Rearm | None:
    """Return what becomes of the callback now; None where no trail acts (yet)."""
    episode, rules = draft.episode, draft.state.rules.trail
    terms, peak, callback = episode.trail_terms, episode.peak, episode.callback
    if terms is None or peak is None or callback is None:
        return None
    profit = peak_profit(episode.key.side, episode.entry, peak)
    if profit < terms.activation:
        return None
    context = episode.context
    return follow(
        terms,
        callback,
        peak,
        profit,
        Unavailable("it was not read") if context is None else context.atr,
        position_age_ms=draft.now - episode.opened_at,
        since_change_ms=None if episode.callback_at is None else draft.now - episode.callback_at,
        limits=rules,
    )


def _follow_trail(draft: Draft) -> None:
    episode = draft.episode
    instrument, peak = episode.instrument, episode.peak
    if instrument is None or peak is None or episode.stop is None or episode.phase is Phase.CLOSING:
        return
    change = trail_change(draft)
    if change is None:
        return
    side, rules, callback = episode.key.side, draft.state.rules.trail, change.callback
    if change.changed:
        draft.set(callback=callback, callback_at=draft.now)
    level = trail_stop(instrument, side, peak, callback)
    step = max(instrument.tick, rules.min_step * callback.of(peak))
    if change.changed or side.sign * (level - episode.stop) >= step:
        reason = f"trail {callback.show()} behind the best {peak}"
        if change.changed:
            reason = f"{reason}: {change.reason}"
        move_stop(draft, level, "trail", reason, NoteKind.TRAIL_MOVED)


def _watch_overdue(draft: Draft) -> None:
    """Close at market when the mark stays beyond the stop and nothing has triggered (reliability F3, O11)."""
    episode = draft.episode
    withheld = any(order.state is OrderState.WITHHELD for order in episode.of_role(Role.STOP))
    if episode.stop is None or withheld or not draft.stopped(episode.stop) or episode.phase is Phase.CLOSING:
        if episode.overdue_since is not None:
            draft.set(overdue_since=None)
    elif episode.overdue_since is None:
        draft.set(overdue_since=draft.now)
    elif draft.now - episode.overdue_since >= STUCK_MS:
        begin_close(draft, "the stop did not trigger")


def watch_protection(draft: Draft) -> None:
    """Keep the account of time without a live stop (I1)."""
    episode = draft.episode
    if episode.phase is Phase.FLAT:
        return
    if not episode.protected:
        if episode.unprotected_since is None:
            draft.set(unprotected_since=draft.now)
    elif episode.unprotected_since is not None:
        gap = draft.now - episode.unprotected_since
        draft.set(unprotected_since=None, naked_ms=episode.naked_ms + gap)


def _end_when_explained(draft: Draft) -> None:
    """End the episode once executions explain where the position went, or had their time to arrive."""
    episode = draft.episode
    if episode.accounted > 0 or episode.unclaimed or episode.traded < episode.exit_quantity:
        if episode.differs_since is None:
            draft.set(differs_since=draft.now)
        if draft.now - (draft.episode.differs_since or draft.now) < SETTLE_MS:
            _look_up_exits(draft)
            return
    end_episode(draft)


def _look_up_exits(draft: Draft) -> None:
    for order in draft.episode.orders:
        if order.open and order.looked_at is None:
            draft.look_up(order)


def end_episode(draft: Draft) -> None:
    """End the episode with what is known: the position is gone, or a new one has taken its place."""
    release_unclaimed(draft, last=True)
    record_hits(draft, last=True)
    watch_protection(draft)
    episode = draft.episode
    price = episode.average_exit or episode.mark or episode.entry
    reason = episode.close_reason or ("take_profit" if episode.accounted == 0 and episode.legs_hit else "another order")
    rest = episode.rest_spent / episode.rest_quantity if episode.rest_quantity else price
    record_misses(draft, reason, rest)
    fees, gross = _outcome(draft)
    draft.set(
        phase=Phase.FLAT,
        flat_at=draft.now,
        quantity=ZERO,
        accounted=ZERO,
        close_reason=reason,
        differs_since=None,
        unclaimed_since=None,
    )
    draft.tell(
        NoteKind.CLOSED,
        reason,
        average_exit=episode.average_exit,
        entry=episode.entry,
        quantity=episode.exit_quantity,
        pnl=gross - fees,
        fees=fees,
        legs_hit=episode.legs_hit,
        legs=len(episode.legs),
        naked_ms=episode.naked_ms,
        duration_ms=draft.now - episode.opened_at,
        generation=episode.generation,
        opened_at=episode.opened_at,
        policy=None if episode.plan is None else episode.plan.policy.value,
        arm=episode.arm,
        leverage=None if episode.plan is None else episode.plan.leverage,
        stop_initial=episode.stop_initial,
        plans=episode.plans,
        quantity_planned=None if episode.plan is None else episode.plan.quantity,
        best_mark=episode.peak,
        worst_mark=episode.trough,
        filled_ms=_closing_took(episode),
    )
    draft.ask(ReadAccount("verify the close"))


def _closing_took(episode: Episode) -> Millis | None:
    """Return how long our slowest market close took from leaving to its execution; None without one."""
    took = (order.took_ms for order in episode.of_role(Role.REDUCE))
    return max((ms for ms in took if ms is not None), default=None)


def _outcome(draft: Draft) -> tuple[Money, Money]:
    """Return fees and gross profit of all exits; for executions that never came, at the order's own average price."""
    episode = draft.episode
    estimated = sum((fees_of(draft, order) - order.fees for order in episode.orders), ZERO)
    missing = max(ZERO, episode.exit_quantity - episode.traded)
    average = episode.average_exit or episode.entry
    unseen = episode.key.side.sign * (average - episode.entry) * missing
    return episode.fees + estimated, episode.realised + unseen
