"""How orders of both books change state: record it, index it, tell the user stream, in that order.

Decides nothing about when a state is reached. A conditional order finishes with the order it became, filled or not.
"""

from tpctl.exits.units import Money
from tpctl.venue.core import Core
from tpctl.venue.ledger import IncomeRow
from tpctl.venue.orders import Conditional, Order
from tpctl.venue.stream import push_conditional, push_order

# Reasons an order expires: ORDER_TRADE_UPDATE `er` (binance-usdm 5.6).
EXPIRED_IOC = 2
EXPIRED_REDUCE_ONLY = 4
EXPIRED_LIQUIDATION = 5
EXPIRED_MARKET_BOUND = 9


def accept_order(core: Core, order: Order) -> None:
    """Put a regular order into the book as NEW."""
    core.books.add(order)
    core.note(order)
    push_order(core, order, "NEW")


def end_order(core: Core, order: Order, status: str, expiry: int = 0) -> None:
    """End an open regular order as CANCELED or EXPIRED."""
    order.status = status
    order.updated = core.now
    core.books.settle(order)
    core.note(order, str(expiry) if expiry else "")
    push_order(core, order, status, expiry=expiry)
    finish_origin(core, order)


def finish_origin(core: Core, order: Order) -> None:
    """Let the conditional order a finished order was born from finish with it."""
    if order.origin is not None and not order.open:
        move_conditional(core, order.origin, "FINISHED")


def rest_conditional(core: Core, order: Conditional) -> None:
    """Put a conditional order into the algo book as NEW."""
    core.books.rest(order)
    core.note(order)
    push_conditional(core, order)


def move_conditional(core: Core, order: Conditional, status: str, reason: str = "") -> None:
    """Move a conditional order to another state."""
    order.status = status
    order.updated = core.now
    order.reason = reason
    if status != "TRIGGERING":
        core.books.retire(order)
    core.note(order, reason)
    push_conditional(core, order)


def book_income(core: Core, symbol: str, kind: str, amount: Money, *, trade_id: str = "") -> None:
    """Add a line to the income history; nothing for nothing."""
    if amount:
        row = IncomeRow(core.now, symbol, kind, amount, trade_id, next(core.ids.transaction), trade_id)
        core.ledger.income.append(row)
