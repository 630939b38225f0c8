"""What the reducer asks for. Orders here can only reduce: none carries an order side, it follows from the position.

Invariants: I3 (no opening, no flip) by construction; I8 and I13 are the engine's, through `guard`.
"""

from dataclasses import dataclass
from typing import TypeAlias

from tpctl.exits.model import Book, PositionKey, WorkingType
from tpctl.exits.units import Price, Quantity


@dataclass(frozen=True, slots=True)
class PlaceStop:
    """Rest a STOP_MARKET. `quantity` None is the backstop: closePosition, following the position's size."""

    key: PositionKey
    client_id: str
    quantity: Quantity | None
    trigger: Price
    working: WorkingType
    reason: str


@dataclass(frozen=True, slots=True)
class PlaceTakeProfit:
    """Rest a reduce-only TAKE_PROFIT_MARKET for one leg."""

    key: PositionKey
    client_id: str
    leg: int
    quantity: Quantity
    trigger: Price
    working: WorkingType
    reason: str


@dataclass(frozen=True, slots=True)
class ReduceAtMarket:
    """Close `quantity` at market, now."""

    key: PositionKey
    client_id: str
    quantity: Quantity
    reason: str


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Cancel one of our own orders."""

    key: PositionKey
    client_id: str
    book: Book
    reason: str


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask the exchange for one order by client id; answers `OrderLookedUp`."""

    key: PositionKey
    client_id: str
    book: Book


@dataclass(frozen=True, slots=True)
class ReadContext:
    """Read rules and planning inputs for one position; answers `ContextRead`."""

    key: PositionKey


@dataclass(frozen=True, slots=True)
class ReadAccount:
    """Read positions and both order books; answers `Snapshot`."""

    reason: str


PlaceIntent: TypeAlias = PlaceStop | PlaceTakeProfit | ReduceAtMarket
OrderIntent: TypeAlias = PlaceIntent | CancelOrder
ReadIntent: TypeAlias = LookUp | ReadContext | ReadAccount
Intent: TypeAlias = OrderIntent | ReadIntent
