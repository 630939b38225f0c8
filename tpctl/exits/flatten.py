"""Closing everything that is managed: which positions are asked to close now, and whether it is done. Pure.

The largest go first, and so many at a time that their orders and the cancels after them keep within the exchange's
limits; a close is a reduction, so nothing else holds it back.
"""

from tpctl.exits.episode import Episode, Phase, State
from tpctl.exits.model import PositionKey

# One order to close and up to five cancels each, of 300 orders in ten seconds and 2400 of weight in a minute.
AT_ONCE = 40


def open_episodes(state: State) -> list[Episode]:
    """Return what is open, the largest notional first."""
    found = [episode for episode in state.episodes.values() if episode.phase is not Phase.FLAT]
    return sorted(found, key=lambda each: (-each.quantity * (each.mark or each.entry), str(each.key)))


def next_to_close(state: State) -> list[PositionKey]:
    """Return the positions to ask now."""
    found = open_episodes(state)
    room = AT_ONCE - sum(episode.phase is Phase.CLOSING for episode in found)
    waiting = [each.key for each in found if each.phase is not Phase.CLOSING and each.quantity > 0]
    return waiting[: max(0, room)]


def is_over(episode: Episode) -> bool:
    """Whether a position is closed and no order of ours is left of it."""
    return episode.phase is Phase.FLAT and not any(order.open for order in episode.orders)


def is_flat(state: State) -> bool:
    """Whether nothing is open any more and no order of ours is left."""
    return all(map(is_over, state.episodes.values())) and not state.orphans
