"""What a request leads to: a level that tightens, a size to come down to, the close, or a refusal with its reason.

A request sets levels and phases as `progress` does, and `reconcile` turns them into orders, so it passes the same guard
and is carried on over refusals, lost answers and restarts. A request whose id was answered in this life of the position
is not heard again.

Invariants: I2 (never more than there is), I3 (only reduces), I4 (a stop only tightens), I14 (a level is set against the
market on a fresh mark only).
"""

from tpctl.exits.draft import STALE_MS, Draft, tighter
from tpctl.exits.episode import OrderState, Phase
from tpctl.exits.events import Requested
from tpctl.exits.ids import Role
from tpctl.exits.instrument import Instrument
from tpctl.exits.model import Note, NoteKind, Trail
from tpctl.exits.profiles import settle_callback
from tpctl.exits.progress import move_stop, trail_change
from tpctl.exits.quantize import market_limits, round_quantity, round_stop
from tpctl.exits.requests import (
    CloseAll,
    Outcome,
    Rearm,
    Reduce,
    Request,
    RequestAnswer,
    StopToBreakeven,
    TightenStop,
    TrailNow,
)
from tpctl.exits.trailing import peak_profit, trail_stop
from tpctl.exits.units import ONE, ZERO, Price, Ratio, trimmed

CLOSED_BY_REQUEST = "request"
# Enough for the requests that can be under way at one time; the journal keeps all of them.
_REMEMBERED = 32


def see_request(draft: Draft, event: Requested) -> None:
    """Do what is asked for, or tell why not; once for each id."""
    known = draft.episode.requests
    if event.id in known:
        return
    draft.set(requests=(*known[1 - _REMEMBERED :], event.id))
    draft.notes.append(answer_note(event, _answer(draft, event.request)))


def answer_note(event: Requested, answer: RequestAnswer) -> Note:
    """Return the note that answers a request."""
    data = {
        "request": str(event.request),
        "outcome": answer.outcome.value,
        "source": event.source,
        "request_id": event.id,
    }
    return Note(event.at, NoteKind.ANSWERED, event.key, answer.text, data)


def no_position(event: Requested) -> RequestAnswer:
    """Return the answer where no position of this symbol and side is managed."""
    return _refused(f"no position {event.key} is managed")


def _answer(draft: Draft, request: Request) -> RequestAnswer:
    episode = draft.episode
    if episode.phase is Phase.FLAT or episode.stated == 0 or episode.quantity == 0:
        return _refused("the position is closed")
    if episode.phase is Phase.CLOSING:
        if isinstance(request, CloseAll):
            return _unchanged("the position is being closed already")
        return _refused("the position is being closed")
    match request:
        case CloseAll():
            return _close(draft)
        case Reduce(share=share):
            return _close(draft) if share.fraction == ONE else _reduce(draft, share)
        case _:
            return _move(draft, request)


def _move(draft: Draft, request: StopToBreakeven | TightenStop | TrailNow | Rearm) -> RequestAnswer:
    """Answer a request about a level."""
    episode = draft.episode
    if episode.stop is None or episode.plan is None or episode.instrument is None or episode.phase is Phase.ADOPTING:
        return _refused("the position has no plan yet")
    match request:
        case StopToBreakeven():
            level = round_stop(episode.instrument, episode.key.side, episode.plan.breakeven)
            return _tighten(draft, level, "breakeven", "breakeven")
        case TightenStop(price=price):
            level = round_stop(episode.instrument, episode.key.side, price)
            return _tighten(draft, level, "request", "the price asked for")
        case TrailNow(callback=callback):
            return _trail(draft, episode.instrument, callback)
        case Rearm():
            return _rearm(draft)


def _refused(text: str) -> RequestAnswer:
    return RequestAnswer(Outcome.REFUSED, text)


def _unchanged(text: str) -> RequestAnswer:
    return RequestAnswer(Outcome.UNCHANGED, text)


def _done(text: str) -> RequestAnswer:
    return RequestAnswer(Outcome.DONE, text)


def _at_market(draft: Draft, level: Price) -> RequestAnswer | None:
    """Return the refusal of a level the market has passed, or that cannot be held against it (I14)."""
    episode = draft.episode
    if episode.mark is None:
        return _refused("no mark price is known yet")
    age = draft.now - episode.mark_at
    if age > STALE_MS:
        return _refused(f"the newest mark is {trimmed(ONE * age / 1000)} s old")
    if draft.beyond(level, profit=False):
        text = f"a stop at {trimmed(level)} would close at once: the mark is {trimmed(episode.mark)}"
        return _refused(text)
    return None


def _tighten(draft: Draft, level: Price, cause: str, what: str) -> RequestAnswer:
    """Move the stop to `level` where that is tighter and the market has not passed it."""
    old = draft.episode.stop
    assert old is not None  # noqa: S101 - the caller has looked
    if level == old:
        return _unchanged(f"the stop is at {trimmed(old)} already")
    if tighter(draft.episode, old, level) == old:
        return _refused(f"a stop only tightens: {trimmed(level)} is looser than the {trimmed(old)} in force")
    refusal = _at_market(draft, level)
    if refusal is not None:
        return refusal
    move_stop(draft, level, cause, f"asked for: stop to {what}")
    return _done(f"stop {trimmed(old)} → {trimmed(level)}, {what}")


def _trail(draft: Draft, instrument: Instrument, callback: Ratio | None) -> RequestAnswer:
    """Let the trail act from now on; the callback asked for counts where it is tighter."""
    episode, rules = draft.episode, draft.state.rules.trail
    terms, peak, side = episode.trail_terms, episode.peak, episode.key.side
    if peak is None:
        return _refused("no mark price is known yet")
    in_force = episode.callback or (terms.callback if terms else settle_callback(rules.callback, rules)[0])
    wanted = in_force if callback is None else settle_callback(callback, rules)[0]
    if wanted > in_force:
        return _refused(f"a trail never loosens: {wanted} is wider than the {in_force} in force")
    profit = peak_profit(side, episode.entry, peak)
    level = trail_stop(instrument, side, peak, wanted)
    active = terms is not None and profit >= terms.activation
    if active and wanted == in_force:
        return _unchanged(f"the trail follows already, {in_force} behind the best {trimmed(peak)}")
    tightens = episode.stop is not None and tighter(episode, episode.stop, level) != episode.stop
    refusal = _at_market(draft, level) if tightens else None
    if refusal is not None:
        return refusal
    schedule = terms.schedule if terms else rules.schedule
    activation = min(profit, terms.activation) if terms else profit
    original = min(wanted, terms.callback) if terms else wanted
    share = terms.share if terms else ZERO
    # A callback asked for counts from here on; without one the trail goes on as it does.
    multiple = terms.atr_multiple if terms and callback is None else None
    changed = wanted != in_force or episode.callback is None
    draft.set(
        trail=Trail(original, activation, schedule, share, multiple),
        callback=wanted,
        callback_at=draft.now if changed else episode.callback_at,
    )
    text = f"trailing {wanted} behind the best {trimmed(peak)}"
    if not tightens:
        return _done(f"{text}; the stop stays at {trimmed(episode.stop or ZERO)} until the trail is tighter")
    move_stop(draft, level, "trail", f"asked for: trail {wanted} behind the best {peak}", NoteKind.TRAIL_MOVED)
    return _done(f"{text}: stop {trimmed(episode.stop or ZERO)} → {trimmed(level)}")


def _rearm(draft: Draft) -> RequestAnswer:
    """Answer what the trail does at this moment by itself; `progress` follows and does it."""
    episode = draft.episode
    terms, peak = episode.trail_terms, episode.peak
    if terms is None:
        return _refused("the plan has no trail")
    if peak is None:
        return _refused("no mark price is known yet")
    profit = peak_profit(episode.key.side, episode.entry, peak)
    if profit < terms.activation:
        return _unchanged(f"the trail acts from {terms.activation} profit on, the best so far is {profit.show()}")
    change = trail_change(draft)
    if change is None:
        return _refused("the plan has no trail")
    return _done(change.reason) if change.changed else _unchanged(change.reason)


def _reduce(draft: Draft, share: Ratio) -> RequestAnswer:
    """Set the size the position is to come down to; what fills meanwhile counts towards it."""
    episode, instrument = draft.episode, draft.episode.instrument
    if instrument is None:
        return _refused("the symbol's rules are not read yet")
    if episode.reduce_to is not None:
        return _refused(f"an earlier reduction, to {trimmed(episode.reduce_to)}, is under way")
    if any(o.pending or o.state is OrderState.WORKING for o in episode.orders if o.role is Role.REDUCE):
        return _refused("an order at market is under way")
    smallest, _ = market_limits(instrument)
    part = round_quantity(instrument, share.of(episode.quantity), market=True)
    rest = episode.quantity - part
    if part <= 0 or part < smallest:
        return _refused(f"{share} of {trimmed(episode.quantity)} is below the smallest order of {trimmed(smallest)}")
    if rest < smallest:
        return _refused(
            f"it would leave {trimmed(rest)}, below the smallest order of {trimmed(smallest)}: close instead"
        )
    draft.set(reduce_to=rest)
    return _done(f"reducing by {trimmed(part)} at market, {trimmed(rest)} stay")


def _close(draft: Draft) -> RequestAnswer:
    episode = draft.episode
    draft.set(phase=Phase.CLOSING, close_reason=CLOSED_BY_REQUEST, reduce_to=None)
    when = "" if episode.instrument is not None else " once the symbol's rules are read"
    return _done(f"closing {trimmed(episode.quantity)} at market{when}")
