"""The records of the two order books and their indexes.

Decides where an order is found: by symbol while it is open, by id as long as the exchange remembers it. Never decides
what happens to an order. Client ids are unique among the open orders of their book only; a finished order frees its id
(reliability F4).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from tpctl.exits.units import ZERO, Millis, Money, Price, Quantity

# Cancelled or expired orders without a fill are forgotten after 3 days, all others after 90 (reliability F7).
_UNFILLED_RETENTION_MS = 3 * 86_400_000
_RETENTION_MS = 90 * 86_400_000

OPEN_ORDER = frozenset({"NEW", "PARTIALLY_FILLED"})
OPEN_CONDITIONAL = frozenset({"NEW", "TRIGGERING", "TRIGGERED"})


@dataclass(slots=True)
class Order:
    """A regular order. `origin` is the conditional it was born from; `reducing` tells that it can only reduce."""

    order_id: int
    client_id: str
    symbol: str
    buy: bool
    position_side: str
    kind: str
    tif: str
    quantity: Quantity
    price: Price
    reduce_only: bool
    created: Millis
    updated: Millis
    reducing: bool = False
    close_position: bool = False
    good_till: Millis = 0
    origin: "Conditional | None" = None
    status: str = "NEW"
    executed: Quantity = ZERO
    quote: Money = ZERO
    modify_id: int = 0
    liquidation: bool = False

    @property
    def remaining(self) -> Quantity:
        """What is still to be filled."""
        return self.quantity - self.executed

    @property
    def average(self) -> Price:
        """Average fill price, zero before the first fill."""
        return self.quote / self.executed if self.executed else ZERO

    @property
    def side(self) -> str:
        """BUY or SELL."""
        return "BUY" if self.buy else "SELL"

    @property
    def open(self) -> bool:
        """Whether something may still happen to the order."""
        return self.status in OPEN_ORDER


@dataclass(slots=True)
class Conditional:
    """An order of the algo book.

    `falls` says which way the price must come: true triggers at or below `trigger`. A trailing order keeps its
    `extreme` since placement and acts once `activated`. `stuck` makes a triggered order stay TRIGGERING for ever, as
    seen in the wild (reliability F3).
    """

    algo_id: int
    client_id: str
    symbol: str
    buy: bool
    position_side: str
    kind: str
    tif: str
    quantity: Quantity
    price: Price
    trigger: Price
    on_mark: bool
    falls: bool
    reduce_only: bool
    close_position: bool
    price_protect: bool
    created: Millis
    updated: Millis
    good_till: Millis = 0
    activate: Price | None = None
    callback: Decimal | None = None
    extreme: Price = ZERO
    activated: bool = False
    status: str = "NEW"
    triggered_at: Millis = 0
    reason: str = ""
    child: Order | None = None
    stuck: bool = False

    @property
    def side(self) -> str:
        """BUY or SELL."""
        return "BUY" if self.buy else "SELL"

    @property
    def stop(self) -> bool:
        """Whether the order limits a loss: those act before take-profits when one price crosses both."""
        return not self.kind.startswith("TAKE_PROFIT")

    @property
    def executes_at_market(self) -> bool:
        """Whether the order born at the trigger is a market order."""
        return self.kind.endswith("_MARKET")

    @property
    def open(self) -> bool:
        """Whether something may still happen to the order."""
        return self.status in OPEN_CONDITIONAL


@dataclass(slots=True)
class Books:
    """Both order books of the account."""

    _orders: dict[int, Order] = field(default_factory=dict)
    _open: dict[str, dict[int, Order]] = field(default_factory=dict)
    _by_client: dict[str, Order] = field(default_factory=dict)
    _conditionals: dict[int, Conditional] = field(default_factory=dict)
    _resting: dict[str, dict[int, Conditional]] = field(default_factory=dict)
    _conditional_by_client: dict[str, Conditional] = field(default_factory=dict)

    def add(self, order: Order) -> None:
        """Put a regular order into the book."""
        self._orders[order.order_id] = order
        self._open.setdefault(order.symbol, {})[order.order_id] = order
        self._by_client[order.client_id] = order

    def settle(self, order: Order) -> None:
        """Take a finished regular order out of the open ones."""
        self._open[order.symbol].pop(order.order_id, None)

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """Return the open regular orders, oldest first, as a list that outlives changes to the book."""
        if symbol is not None:
            return list(self._open.get(symbol, {}).values())
        return sorted((order for book in self._open.values() for order in book.values()), key=lambda o: o.order_id)

    def open_by_client(self, client_id: str) -> Order | None:
        """Return the open regular order with this client id."""
        order = self._by_client.get(client_id)
        return order if order is not None and order.open else None

    def find(self, symbol: str, order_id: int, client_id: str | None, now: Millis) -> Order | None:
        """Return the regular order by id, or else the latest by client id, as far as the exchange still knows it."""
        order = self._orders.get(order_id) if order_id else self._by_client.get(client_id or "")
        if order is None or order.symbol != symbol or _forgotten(order.open, order.executed, order.updated, now):
            return None
        return order

    def by_id(self, order_id: int) -> Order | None:
        """Return the regular order with this id, however old."""
        return self._orders.get(order_id)

    def orders(self, symbol: str | None, now: Millis) -> Iterator[Order]:
        """Yield all regular orders the exchange still knows, oldest first."""
        for order in self._orders.values():
            if symbol in {None, order.symbol} and not _forgotten(order.open, order.executed, order.updated, now):
                yield order

    def rest(self, conditional: Conditional) -> None:
        """Put a conditional order into the algo book."""
        self._conditionals[conditional.algo_id] = conditional
        self._resting.setdefault(conditional.symbol, {})[conditional.algo_id] = conditional
        self._conditional_by_client[conditional.client_id] = conditional

    def retire(self, conditional: Conditional) -> None:
        """Take a conditional order that no longer waits for its trigger out of the resting ones."""
        self._resting[conditional.symbol].pop(conditional.algo_id, None)

    def resting(self, symbol: str | None = None) -> list[Conditional]:
        """Return the conditional orders that wait for their trigger, oldest first."""
        if symbol is not None:
            return list(self._resting.get(symbol, {}).values())
        return sorted((c for book in self._resting.values() for c in book.values()), key=lambda c: c.algo_id)

    def resting_count(self) -> int:
        """Return how many conditional orders the account has waiting, over all symbols."""
        return sum(len(book) for book in self._resting.values())

    def resting_by_client(self, client_id: str) -> Conditional | None:
        """Return the open conditional order with this client id."""
        conditional = self._conditional_by_client.get(client_id)
        return conditional if conditional is not None and conditional.open else None

    def find_conditional(self, algo_id: int, client_id: str | None, now: Millis) -> Conditional | None:
        """Return the conditional order by id, or else the latest by client id, as far as the exchange knows it."""
        found = self._conditionals.get(algo_id) if algo_id else self._conditional_by_client.get(client_id or "")
        if found is None or _forgotten(found.open, found.child.executed if found.child else ZERO, found.updated, now):
            return None
        return found

    def conditionals(self, symbol: str, now: Millis) -> Iterator[Conditional]:
        """Yield all conditional orders of a symbol the exchange still knows, oldest first."""
        for found in self._conditionals.values():
            executed = found.child.executed if found.child else ZERO
            if found.symbol == symbol and not _forgotten(found.open, executed, found.updated, now):
                yield found


def _forgotten(is_open: bool, executed: Quantity, updated: Millis, now: Millis) -> bool:
    if is_open:
        return False
    return now - updated > (_RETENTION_MS if executed else _UNFILLED_RETENTION_MS)
