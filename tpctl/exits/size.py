"""What is known about the size of a position: statements of the exchange against what executions explain.

Executions and statements arrive in any order, some never. A statement replaces an older one; an execution is counted
once, and not at all where the size it is counted from already contains it. Until a difference has lasted, and a read
taken after it still shows it, it is news on its way and not somebody's act; meanwhile the smaller figure is used.

Invariants: I2 (never close more than there is), I24 (the operator's acts are recognised, and stand).
"""

from dataclasses import replace

from tpctl.exits.allocate import allocate
from tpctl.exits.draft import SETTLE_MS, Draft
from tpctl.exits.episode import Episode, LegState, LegStatus, OrderState, Phase
from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Instrument
from tpctl.exits.intents import ReadAccount
from tpctl.exits.legs import carry_over
from tpctl.exits.model import NoteKind
from tpctl.exits.quantize import market_limits
from tpctl.exits.units import ONE, ZERO, Millis, Price, Quantity

# Streams and queries print entry prices with different numbers of digits; a smaller difference is no addition.
_SAME_ENTRY = ONE.scaleb(-6)


def see_size(draft: Draft, at: Millis, quantity: Quantity, entry: Price, *, changed_at: Millis) -> None:
    """Take in the size of the position as the exchange states it. Once it stated zero, this life is over.

    A larger size that changed after the last execution we heard of, or at another entry, is an increase; any other
    difference may be news on its way.
    """
    episode = draft.episode
    if at < episode.position_at or episode.phase is Phase.FLAT or episode.stated == 0:
        return
    draft.set(stated=quantity, position_at=at, changed_at=max(changed_at, episode.changed_at), absent_reads=0)
    newer = changed_at > episode.executed_at or abs(entry - episode.entry) > _SAME_ENTRY * episode.entry
    if quantity > episode.accounted and newer:
        _see_increase(draft, quantity, entry)
    else:
        _weigh(draft)


def see_size_again(draft: Draft, at: Millis, quantity: Quantity, entry: Price, *, changed_at: Millis) -> None:
    """Take in a size that shows a stated zero to have been the older statement."""
    draft.set(stated=None)
    see_size(draft, at, quantity, entry, changed_at=changed_at)


def take_off(draft: Draft, at: Millis, quantity: Quantity) -> None:
    """Take in that an execution at exchange time `at` took `quantity` off the position."""
    episode = draft.episode
    if at < episode.accounted_at:
        return
    heard = max(draft.now, episode.executed_at)
    draft.set(accounted=max(ZERO, episode.accounted - quantity), executed_at=heard)
    if at > max(episode.position_at, episode.changed_at):
        # What was stated did not contain it yet; a size that changed since the execution does, whenever it was read.
        draft.set(stated=None, quantity=max(ZERO, episode.quantity - quantity))
    _weigh(draft)


def _weigh(draft: Draft) -> None:
    """Use the smaller of the stated and the accounted size, and note since when they differ."""
    episode = draft.episode
    if episode.stated is None or episode.stated == episode.accounted:
        if episode.stated is not None:
            draft.set(quantity=episode.stated)
        draft.set(differs_since=None)
    else:
        since = draft.now if episode.differs_since is None else episode.differs_since
        draft.set(quantity=min(episode.stated, episode.accounted), differs_since=since)


def _see_increase(draft: Draft, quantity: Quantity, entry: Price) -> None:
    """Take in that somebody enlarged the position: cover first, plan again second (I24)."""
    episode = draft.episode
    draft.set(
        quantity=quantity,
        accounted=quantity,
        accounted_at=episode.position_at,
        entry=entry,
        differs_since=None,
        reduce_to=None,
        # Inputs that are on their way will do: the plan is made for the size there is when they come.
        context_asked_at=episode.context_asked_at if episode.context_at is None else None,
        phase=Phase.ADOPTING if episode.phase is Phase.GUARDED else episode.phase,
    )
    draft.tell(
        NoteKind.EXTERNAL, "increased by another order", quantity=quantity, before=episode.accounted, entry=entry
    )


def settle_difference(draft: Draft) -> None:
    """Deal with a size that executions do not explain, once it has lasted and a read taken since confirms it."""
    episode = draft.episode
    if episode.stated is None:
        if episode.accounted == 0:
            draft.ask(ReadAccount("confirm that the position is gone"))
        return
    if episode.differs_since is None or draft.now - episode.differs_since < SETTLE_MS:
        return
    if episode.position_at - episode.differs_since < SETTLE_MS:
        draft.ask(ReadAccount("confirm the size of the position"))
    elif episode.stated > episode.accounted:
        _see_increase(draft, episode.stated, episode.entry)
    else:
        by_hand = episode.accounted - episode.stated
        draft.tell(NoteKind.EXTERNAL, "reduced by another order", quantity=by_hand, remaining=episode.stated)
        draft.set(accounted=episode.stated, accounted_at=episode.position_at, differs_since=None)


def fit_legs(draft: Draft) -> None:
    """Fit the waiting legs to the position once it is known to be smaller than they are together; levels stay."""
    episode = draft.episode
    waiting = [leg for leg in episode.legs if leg.status is LegStatus.WAITING]
    if not waiting or episode.instrument is None or episode.differs_since is not None or episode.unclaimed:
        return
    _finish_crumbs(draft, episode.instrument, waiting)
    waiting = [leg for leg in draft.episode.legs if leg.status is LegStatus.WAITING]
    executing = any(o.state is OrderState.WORKING or (o.pending and o.trigger is None) for o in episode.orders)
    if not executing and sum((leg.remaining for leg in waiting), ZERO) > episode.quantity:
        refit(draft, episode.instrument, waiting)


def _finish_crumbs(draft: Draft, instrument: Instrument, waiting: list[LegState]) -> None:
    """Count a leg as hit when what is left of it is below the smallest order; the next leg takes that over."""
    smallest, _ = market_limits(instrument)
    for leg in waiting:
        if leg.filled > 0 and leg.remaining < smallest:
            draft.set(legs=carry_over(draft.episode.legs, {leg.number}, LegStatus.HIT, draft.now))


def refit(draft: Draft, instrument: Instrument, waiting: list[LegState]) -> None:
    """Share the position among the legs still waiting, in their old proportions."""
    episode = draft.episode
    total = sum((leg.fraction for leg in waiting), ZERO)
    fractions = tuple(leg.fraction / total for leg in waiting)
    # Division leaves a digit or two: the last leg takes what is left, so that the shares sum to one exactly.
    fractions = (*fractions[:-1], ONE - sum(fractions[:-1], ZERO))
    try:
        shares = allocate(episode.quantity, fractions, instrument, tuple(leg.trigger for leg in waiting))
    except InputsError as error:
        draft.set(legs=tuple(_with_share(leg, ZERO) if leg in waiting else leg for leg in episode.legs))
        draft.tell(NoteKind.DEGRADED, f"the rest is too small for take-profits: {error.message}")
        return
    sizes = {leg.number: share for leg, share in zip(waiting, shares.quantities, strict=True)}
    draft.set(legs=tuple(_with_share(leg, sizes[leg.number]) if leg.number in sizes else leg for leg in episode.legs))


def _with_share(leg: LegState, share: Quantity) -> LegState:
    if share > 0:
        return replace(leg, quantity=leg.filled + share)
    return replace(leg, status=LegStatus.SKIPPED)


def is_dust(episode: Episode) -> bool:
    """Whether the position is below the smallest order, so that only a closePosition order can close it."""
    return episode.instrument is not None and episode.quantity < market_limits(episode.instrument)[0]
