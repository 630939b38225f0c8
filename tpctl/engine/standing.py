"""How a position stands: what rests for it at the exchange, as a sentence and as numbers, for a watch asked or ending.

It tells what is known and decides nothing. Only what the exchange confirmed counts as resting.
"""

from collections.abc import Iterable, Mapping, Sequence

from tpctl.exits.episode import Episode, OrderState, OwnOrder, Phase, State
from tpctl.exits.ids import Role
from tpctl.exits.model import Note, NoteKind, Position, PositionKey
from tpctl.exits.units import Millis, trimmed

_STOPS = (Role.STOP, Role.BACKSTOP)
# So many positions are named one by one.
_NAMED = 8


def standing_notes(state: State, at: Millis) -> list[Note]:
    """Return one note for each open position, in the order of their names."""
    episodes = (episode for episode in state.episodes.values() if episode.phase is not Phase.FLAT)
    return [_note(episode, at) for episode in sorted(episodes, key=lambda episode: str(episode.key))]


def left_alone(state: State, positions: Iterable[Position]) -> dict[PositionKey, str]:
    """Return the open positions this run does not manage, and why."""
    found = {}
    for position in positions:
        why = state.scope.why_not(position.key.symbol)
        if position.quantity and position.key not in state.episodes and why is not None:
            found[position.key] = why
    return found


def left_alone_words(found: Mapping[PositionKey, str]) -> str:
    """Return positions that are left alone in a sentence, grouped by why."""
    groups: dict[str, list[str]] = {}
    for key, why in sorted(found.items(), key=str):
        groups.setdefault(why, []).append(str(key))
    return "; ".join(f"{_named(names)} ({why})" for why, names in groups.items())


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _note(episode: Episode, at: Millis) -> Note:
    live = [order for order in episode.orders if order.state is OrderState.LIVE]
    stops = [order for order in live if order.role in _STOPS]
    targets = [order for order in live if order.role is Role.TAKE_PROFIT]
    foreign = [order for order in episode.foreign if order.kind.protective]
    words = [*map(_order, stops), *map(_order, targets)]
    words += [f"a stop of others at {trimmed(order.trigger)}" for order in foreign if order.trigger is not None]
    unclear = sum(order.pending for order in episode.orders)
    if unclear:
        words.append(f"{unclear} not confirmed")
    head = f"{trimmed(episode.quantity)} at {trimmed(episode.entry)}"
    if episode.phase is Phase.CLOSING:
        head += ", being closed"
    rest = f"resting at the exchange: {', '.join(words)}" if words else "nothing rests at the exchange"
    data = {
        "quantity": episode.quantity,
        "entry": episode.entry,
        "mark": episode.mark,
        "protected": episode.protected,
        "stops": len(stops),
        "take_profits": len(targets),
        "foreign_stops": len(foreign),
    }
    return Note(at, NoteKind.STANDING, episode.key, f"{head}; {rest}", data)


def _order(order: OwnOrder) -> str:
    name = {Role.STOP: "stop", Role.BACKSTOP: "backstop"}.get(order.role) or _target(order.legs)
    size = "" if order.quantity is None else f" ({trimmed(order.quantity)})"
    return f"{name} {'' if order.trigger is None else trimmed(order.trigger)}{size}"


def _target(legs: Iterable[int]) -> str:
    return "+".join(f"TP{leg}" for leg in legs) or "take-profit"
