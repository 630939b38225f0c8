"""The gate before the exchange: every order intent is admitted or withheld here, with a reason.

Admission is a type: `ports.Exchange.submit` takes `Admitted` only, and only this module builds one. The checks are the
invariants an order must meet whatever the reducer believed: I2 (within the position), I3 (reducing, by the intent
types), I4 (no stop looser than the one that rests), I5 (no stop withdrawn before its successor rests), I12 (ours), I13
(shadow is silent), I16 (on the exchange's grid).
No risk measure, cooldown or budget stands here: nothing blocks a reduce.

What shadow mode or HALT withholds waits until it is released; what an invariant withholds may be asked for again,
because the state it was judged by changes.
"""

from collections.abc import Callable
from decimal import Decimal

from tpctl.exits.episode import Episode, Phase, State
from tpctl.exits.events import Withheld
from tpctl.exits.ids import Role, is_ours
from tpctl.exits.instrument import Instrument
from tpctl.exits.intents import CancelOrder, OrderIntent, PlaceIntent, PlaceStop, PlaceTakeProfit, ReduceAtMarket
from tpctl.exits.quantize import market_limits, market_step
from tpctl.exits.units import ZERO, Quantity, plain
from tpctl.ports import Admitted


class Guard:
    """Admits or withholds. `armed` is fixed for the run; `halted` is read at every intent and gives the reason."""

    def __init__(self, *, armed: bool, halted: Callable[[], str | None]) -> None:
        self.armed = armed
        self._halted = halted

    def admit(self, intent: OrderIntent, state: State) -> Admitted | Withheld:
        """Return the admitted intent, or why it stays here."""
        if not is_ours(intent.client_id):
            return Withheld(f"the order {intent.client_id!r} is not ours")
        if not self.armed:
            return Withheld("shadow mode")
        if isinstance(intent, CancelOrder):
            fault = _uncovers(intent, state.episodes.get(intent.key))
            return Withheld(fault, retry=True) if fault else Admitted(intent, state.mode)
        halt = self._halted()
        if halt is not None and isinstance(intent, PlaceTakeProfit):
            return Withheld(f"HALT: {halt}")
        episode = state.episodes.get(intent.key)
        if episode is None or episode.instrument is None:
            return Withheld(f"no position {intent.key} is known", retry=True)
        fault = _fault(intent, episode, episode.instrument)
        return Withheld(fault, retry=True) if fault else Admitted(intent, state.mode)


def _uncovers(intent: CancelOrder, episode: Episode | None) -> str | None:
    """Return why a stop must stay: what was to replace it has gone while the cancel waited its turn (I5)."""
    own = None if episode is None else episode.order(intent.client_id)
    if episode is None or own is None or own.role is not Role.STOP or not own.quantity or own.trigger is None:
        return None
    if episode.phase not in {Phase.ADOPTING, Phase.GUARDED} or episode.instrument is None:
        return None
    others = [
        order.quantity
        for order in episode.of_role(Role.STOP)
        if order is not own and order.resting and order.quantity and order.trigger is not None
        if episode.key.side.sign * (order.trigger - own.trigger) >= 0
    ]
    # A size off the grid keeps a last part that no quantity covers.
    needed = min(own.quantity, episode.quantity)
    if sum(others, ZERO) + market_step(episode.instrument) > needed:
        return None
    return f"without it stops cover '{plain(sum(others, ZERO))}' of {plain(episode.quantity)}"


def _fault(intent: PlaceIntent, episode: Episode, instrument: Instrument) -> str | None:
    """Return which invariant the order would break, None where it keeps them all."""
    if intent.quantity is not None:
        fault = _quantity_fault(intent.quantity, episode.quantity, instrument)
        if fault is not None:
            return fault
    if isinstance(intent, ReduceAtMarket):
        return None
    if intent.trigger <= 0 or not _on_grid(intent.trigger, instrument.tick):
        return f"trigger '{plain(intent.trigger)}' is off the tick {plain(instrument.tick)}"
    if isinstance(intent, PlaceStop) and intent.quantity is not None:
        return _looser(intent, episode)
    return None


def _quantity_fault(quantity: Quantity, position: Quantity, instrument: Instrument) -> str | None:
    smallest, largest = market_limits(instrument)
    if quantity <= 0 or quantity > position:
        return f"quantity '{plain(quantity)}' is not within the position of {plain(position)}"
    if not _on_grid(quantity, market_step(instrument)):
        return f"quantity '{plain(quantity)}' is off the step {plain(market_step(instrument))}"
    if quantity < smallest or (largest and quantity > largest):
        return f"quantity '{plain(quantity)}' is not within {plain(smallest)} to {plain(largest)} of one order"
    return None


def _looser(intent: PlaceStop, episode: Episode) -> str | None:
    for order in episode.of_role(Role.STOP):
        if order.resting and order.trigger is not None:
            gap = episode.key.side.sign * (intent.trigger - order.trigger)
            if gap < 0:
                return f"stop '{plain(intent.trigger)}' is looser than the resting {plain(order.trigger)}"
    return None


def _on_grid(value: Decimal, step: Decimal) -> bool:
    return step == 0 or value % step == 0
