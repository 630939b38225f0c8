"""What the reducer hears: every fact arrives as one of these, with its time.

`at` is the exchange's time in milliseconds UTC. The same fact may arrive twice, late, or not at all; the reducer is
written for that.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from tpctl.exits.instrument import Instrument
from tpctl.exits.model import Context, Fill, LiveOrder, Position, PositionKey, PositionMode, RiskReadings
from tpctl.exits.requests import Request
from tpctl.exits.units import Millis, Price, Quantity


@dataclass(frozen=True, slots=True)
class MarkPrice:
    """The mark price of one symbol."""

    at: Millis
    symbol: str
    price: Price


@dataclass(frozen=True, slots=True)
class OrderSeen:
    """An order in some state: from the user stream, from an answer, or from a query."""

    at: Millis
    order: LiveOrder


@dataclass(frozen=True, slots=True)
class Filled:
    """An execution."""

    at: Millis
    fill: Fill


@dataclass(frozen=True, slots=True)
class PositionSeen:
    """The size of one position changed, or was read. Zero quantity is flat; `entry_price` is then zero.

    In one-way mode the map emits both sides of the symbol, so that a flip shows as one side going flat and the other
    appearing.
    """

    at: Millis
    key: PositionKey
    quantity: Quantity
    entry_price: Price


@dataclass(frozen=True, slots=True)
class LeverageChanged:
    """The leverage of a symbol was changed."""

    at: Millis
    symbol: str
    leverage: Decimal


@dataclass(frozen=True, slots=True)
class MarginChanged:
    """The margin of a symbol's positions was changed, in amount or in kind: its liquidation price moved."""

    at: Millis
    symbol: str


@dataclass(frozen=True, slots=True)
class ModeSeen:
    """The position mode is another one than before: what follows names sides, or no longer does."""

    at: Millis
    mode: PositionMode


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One full read of the account. `at` is when the read began: whatever happened later is not in it."""

    at: Millis
    mode: PositionMode
    positions: tuple[Position, ...]
    orders: tuple[LiveOrder, ...]


@dataclass(frozen=True, slots=True)
class ContextRead:
    """Rules and planning inputs for one position were read."""

    at: Millis
    key: PositionKey
    instrument: Instrument
    context: Context
    mark: Price | None = None


@dataclass(frozen=True, slots=True)
class RiskRead:
    """Portfolio and market risk was measured; what could not be is unavailable in the readings."""

    at: Millis
    readings: RiskReadings


@dataclass(frozen=True, slots=True)
class Accepted:
    """The exchange acknowledged the request; `order` is the state it answered with (None for a cancel)."""

    order: LiveOrder | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The exchange refused, definitively: the request never reached a book."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The answer may have been lost: neither success nor failure (I10)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Withheld:
    """The guard did not let the request out: shadow mode, HALT, or a broken invariant.

    With `retry` the reason may pass by itself, so the reducer may ask again; else it waits to be released.
    """

    reason: str
    retry: bool = False


Answer: TypeAlias = Accepted | Refused | Unknown | Withheld


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of an intent, by the client id it carried; `sent_at` is when the request left, None if it did not."""

    at: Millis
    key: PositionKey
    client_id: str
    answer: Answer
    cancel: bool = False
    sent_at: Millis | None = None


@dataclass(frozen=True, slots=True)
class OrderLookedUp:
    """The answer to a query by client id: the order, or None where the exchange knows of none."""

    at: Millis
    key: PositionKey
    client_id: str
    order: LiveOrder | None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""

    at: Millis


@dataclass(frozen=True, slots=True)
class StreamLost:
    """Events may have been missed; a snapshot follows."""

    at: Millis
    reason: str


@dataclass(frozen=True, slots=True)
class Released:
    """What stood in the way of requests is gone: HALT was lifted, or the exchange answers again."""

    at: Millis


@dataclass(frozen=True, slots=True)
class Requested:
    """Something was asked of a position; `id` makes it count once, `source` is who asked, for the record."""

    at: Millis
    key: PositionKey
    id: str
    source: str
    request: Request


Event: TypeAlias = (
    MarkPrice
    | OrderSeen
    | Filled
    | PositionSeen
    | LeverageChanged
    | MarginChanged
    | ModeSeen
    | Snapshot
    | ContextRead
    | RiskRead
    | Answered
    | OrderLookedUp
    | Tick
    | StreamLost
    | Released
    | Requested
)
