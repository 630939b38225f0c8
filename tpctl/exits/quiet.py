"""Decides when marks and ticks cannot lead to anything, so that they cost next to nothing.

An episode is settled when nothing is under way and nothing waits for time to pass. Then every mark strictly inside its
band would change the mark and the best price and nothing else; both are kept aside in `State.quiet` and taken in with
the next event that is not quiet. A test holds the two ways equal, event by event.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from functools import cache

from tpctl.exits.episode import (
    Episode,
    LegStatus,
    OrderState,
    OwnOrder,
    Phase,
    QuietMark,
    State,
    replace_episode,
    replace_state,
)
from tpctl.exits.events import Event, MarkPrice
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import PositionKey
from tpctl.exits.rules import ExitRules
from tpctl.exits.trail_styles import follow
from tpctl.exits.trailing import peak_profit
from tpctl.exits.units import ONE, ZERO, Millis, Price

# Two marks inside this share of one price differ by less than what needs a second mark to be believed (I15).
_NEAR = Decimal("0.024")
_AT_REST = frozenset({OrderState.DONE, OrderState.GONE, OrderState.REFUSED, OrderState.WITHHELD})


@cache
def keys_of(symbol: str) -> tuple[PositionKey, ...]:
    """Return the positions a symbol can have."""
    return tuple(PositionKey(symbol, side) for side in PositionSide)


def catch_up(state: State, episode: Episode) -> Episode:
    """Return the episode with the quiet marks of its symbol taken in."""
    quiet = state.quiet.get(episode.key.symbol)
    if quiet is None or (quiet.price is episode.mark and quiet.at == episode.mark_at):
        return episode
    long = episode.key.side is PositionSide.LONG
    best, worst = (quiet.highest, quiet.lowest) if long else (quiet.lowest, quiet.highest)
    return replace_episode(
        episode, mark=quiet.price, mark_at=quiet.at, peak=episode.best(best), trough=episode.worst(worst)
    )


def best_price(state: State, episode: Episode) -> Price | None:
    """Return the best price since entry, quiet marks included; None before the first mark."""
    quiet = state.quiet.get(episode.key.symbol)
    if quiet is None or episode.peak is None:
        return episode.peak
    return episode.best(quiet.highest if episode.key.side is PositionSide.LONG else quiet.lowest)


def awake(state: State, symbols: AbstractSet[str]) -> State:
    """Return the state with the quiet marks of some symbols taken in by their episodes."""
    if symbols.isdisjoint(state.quiet):
        return state
    episodes = dict(state.episodes)
    for symbol in symbols:
        for key in keys_of(symbol):
            if key in episodes:
                episodes[key] = catch_up(state, episodes[key])
    quiet = {symbol: mark for symbol, mark in state.quiet.items() if symbol not in symbols}
    return replace_state(state, episodes=episodes, quiet=quiet)


def loud_first(state: State, batch: Sequence[Event]) -> Sequence[Event]:
    """Return a batch with the marks at its end reordered: those that left their quiet band, others, the quiet ones.

    They must be one for each symbol at most, so that they do not follow from each other.
    """
    begin = len(batch)
    while begin > 0 and isinstance(batch[begin - 1], MarkPrice):
        begin -= 1

    def loudness(event: Event) -> int:
        assert isinstance(event, MarkPrice)  # noqa: S101 - the loop above has looked
        band = state.quiet.get(event.symbol)
        if band is None:
            return 1
        return 2 if band.above < event.price < band.below else 0

    return [*batch[:begin], *sorted(batch[begin:], key=loudness)]


def still_quiet(quiet: QuietMark, at: Millis, price: Price) -> QuietMark | None:
    """Return the record with one more mark, or None where the mark may matter."""
    if at < quiet.at or not quiet.above < price < quiet.below:
        return None
    lowest, highest = quiet.lowest, quiet.highest
    if price < lowest:
        lowest = price
    elif price > highest:
        highest = price
    return QuietMark(at, price, lowest, highest, quiet.above, quiet.below)


def quiet_mark(episodes: Iterable[Episode], rules: ExitRules, now: Millis) -> QuietMark | None:
    """Return the band of one symbol around its newest mark, or None where something is still to happen."""
    above, below = ZERO, Decimal("Infinity")
    newest: Episode | None = None
    for episode in episodes:
        if episode.mark is None or not _settled(episode, rules, now):
            return None
        for level in _losses(episode):
            if episode.key.side is PositionSide.LONG:
                above = max(above, level)
            else:
                below = min(below, level)
        for level in _gains(episode, rules):
            if episode.key.side is PositionSide.LONG:
                below = min(below, level)
            else:
                above = max(above, level)
        newest = episode
    if newest is None or newest.mark is None:
        return None
    mark = newest.mark
    above, below = max(above, mark * (ONE - _NEAR)), min(below, mark * (ONE + _NEAR))
    return QuietMark(newest.mark_at, mark, mark, mark, above, below) if above < mark < below else None


def _settled(episode: Episode, rules: ExitRules, now: Millis) -> bool:
    """Whether neither time nor a mark inside the band leads to anything."""
    return (
        episode.phase is Phase.GUARDED
        and episode.quantity > 0
        and episode.stop is not None
        and episode.suspect_mark is None
        and episode.differs_since is None
        and episode.overdue_since is None
        and not episode.unclaimed
        and episode.reduce_to is None
        and episode.context_asked_at is not None
        and episode.context_at is not None
        and episode.protected is (episode.unprotected_since is None)
        and all(at <= now for at in episode.retry_at.values())
        and all(leg.recorded for leg in episode.legs if leg.status is LegStatus.HIT)
        and all(_at_rest(order) for order in episode.orders)
        and not _rearm_waits(episode, rules)
    )


def _at_rest(order: OwnOrder) -> bool:
    if order.state is OrderState.LIVE:
        return order.confirmed and order.cancel_at is None
    return order.state in _AT_REST


def _trails(episode: Episode) -> bool:
    terms = episode.trail_terms
    if terms is None or episode.peak is None:
        return False
    return peak_profit(episode.key.side, episode.entry, episode.peak) >= terms.activation


def _rearm_waits(episode: Episode, rules: ExitRules) -> bool:
    """Whether another callback only waits for the position's age or the time since the last change."""
    terms, callback, peak = episode.trail_terms, episode.callback, episode.peak
    if terms is None or callback is None or peak is None or not _trails(episode):
        return False
    change = follow(
        terms,
        callback,
        peak,
        peak_profit(episode.key.side, episode.entry, peak),
        Unavailable("it was not read") if episode.context is None else episode.context.atr,
        position_age_ms=rules.trail.min_age_ms,
        since_change_ms=None,
        limits=rules.trail,
    )
    return change.changed


def _losses(episode: Episode) -> Iterator[Price]:
    """Yield the levels on the losing side at which a mark matters."""
    if episode.stop is not None:
        yield episode.stop
    if episode.backstop is not None:
        yield episode.backstop


def _gains(episode: Episode, rules: ExitRules) -> Iterator[Price]:
    """Yield the levels on the winning side at which a mark matters."""
    sign = episode.key.side.sign
    for leg in episode.legs:
        if leg.status is LegStatus.WAITING:
            yield leg.trigger
    terms = episode.trail_terms
    if terms is not None and not _trails(episode):
        yield episode.entry * (ONE + sign * terms.activation.fraction)
    follows = rules.execution.ratchet == "percent_below_highest" and episode.legs_hit > 0
    if episode.peak is not None and (follows or _trails(episode)):
        yield episode.peak
    regime = Unavailable("no context") if episode.context is None else episode.context.regime
    if not episode.live_adjusted and not isinstance(regime, Unavailable):
        yield episode.entry * (ONE + sign * rules.ladder.live_pnl.fraction)
