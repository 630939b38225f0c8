"""The gate before the exchange: every order intent is admitted or withheld here, with a reason.

Admission is a type: `ports.Exchange.submit` takes `Admitted` only, and only this module builds one. The checks are the
invariants an order must meet whatever the reducer believed: I2 (within the position), I3 (reducing, by the intent
types), I4 (no stop looser than the one that rests), I12 (ours), I13 (shadow is silent), I16 (on the exchange's grid).
No risk measure, cooldown or budget stands here: nothing blocks a reduce.
"""

from collections.abc import Callable
from decimal import Decimal

from tpctl.exits.episode import Episode, State
from tpctl.exits.events import Withheld
from tpctl.exits.ids import Role, is_ours
from tpctl.exits.intents import CancelOrder, OrderIntent, PlaceStop, PlaceTakeProfit, ReduceAtMarket
from tpctl.exits.model import Instrument
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
            return Admitted(intent, state.mode)
        halt = self._halted()
        if halt is not None and isinstance(intent, PlaceTakeProfit):
            return Withheld(f"HALT: {halt}")
        episode = state.episodes.get(intent.key)
        if episode is None or episode.instrument is None:
            return Withheld(f"no position {intent.key} is known")
        fault = _fault(intent, episode, episode.instrument)
        return Withheld(fault) if fault else Admitted(intent, state.mode)


def _fault(
    intent: PlaceStop | PlaceTakeProfit | ReduceAtMarket, episode: Episode, instrument: Instrument
) -> str | None:
    if intent.quantity is not None:
        if intent.quantity <= 0 or intent.quantity > episode.quantity:
            return f"quantity {intent.quantity} is not within the position of {episode.quantity}"
        if not _on_grid(intent.quantity, instrument.step):
            return f"quantity {intent.quantity} is off the step {instrument.step}"
    if isinstance(intent, ReduceAtMarket):
        return None
    if intent.trigger <= 0 or not _on_grid(intent.trigger, instrument.tick):
        return f"trigger {intent.trigger} is off the tick {instrument.tick}"
    if isinstance(intent, PlaceStop) and intent.quantity is not None:
        sign = episode.key.side.sign
        for order in episode.of_role(Role.STOP):
            looser = order.trigger is not None and sign * (intent.trigger - order.trigger) < 0
            if order.resting and looser:
                return f"stop {intent.trigger} is looser than the resting {order.trigger}"
    return None


def _on_grid(value: Decimal, step: Decimal) -> bool:
    return step == 0 or value % step == 0
