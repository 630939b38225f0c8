"""Decides what an execution of ours lost to the middle of the book, and which reading of the book may say so.

The book is read when the execution is heard of, so it is that of a moment later, and how much later is kept beside it.
A reading that came too late says nothing of the execution and is none.
"""

from dataclasses import dataclass
from decimal import Decimal

from tpctl.exits.ids import parse_client_id
from tpctl.exits.instrument import OrderSide, PositionSide
from tpctl.exits.model import Fill, PositionKey
from tpctl.exits.units import Millis, Price, Quantity

# A reading this long after the execution is of another market.
LATE_MS: Millis = 2_000


@dataclass(frozen=True, slots=True)
class TopOfBook:
    """The best prices of a book."""

    bid: Price
    ask: Price


@dataclass(frozen=True, slots=True)
class MidRead:
    """One execution of ours and the book `late_ms` after it. `order` is what the order was for, in our words."""

    trade_id: int
    key: PositionKey
    order: str
    price: Price
    quantity: Quantity
    at: Millis
    bid: Price
    ask: Price
    late_ms: Millis

    @property
    def slippage(self) -> Decimal:
        """What was lost to the mid, as a signed share of it; favourable is negative."""
        mid = (self.bid + self.ask) / 2
        return self.key.side.sign * (mid - self.price) / mid


def mid_read(fill: Fill, book: TopOfBook, at: Millis) -> MidRead | None:
    """Return an execution beside the book as it was read at a time; None where it is not ours or the book too late."""
    name, late = parse_client_id(fill.client_id), at - fill.at
    if name is None or late > LATE_MS:
        return None
    # Every order of ours closes.
    side = PositionSide.LONG if fill.order_side is OrderSide.SELL else PositionSide.SHORT
    key = PositionKey(fill.symbol, side)
    return MidRead(
        *(fill.trade_id, key, name.role.label, fill.price, fill.quantity, fill.at, book.bid, book.ask),
        late_ms=max(0, late),
    )
