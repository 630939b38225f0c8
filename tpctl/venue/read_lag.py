"""Reads that run behind: orders as they were `core.lag_ms` ago (binance-usdm 4.2: 1 to 2 s after a change).

A fresh order is not there yet; one that has just ended or begun to fill is still new. Changes nothing.
"""

from dataclasses import replace
from typing import TypeVar

from tpctl.exits.units import ZERO
from tpctl.venue.core import Core
from tpctl.venue.orders import Conditional, Order

AnyOrder = TypeVar("AnyOrder", Order, Conditional)


def as_shown(core: Core, order: AnyOrder) -> AnyOrder | None:
    """Return the order as a read shows it now, None where it does not know of it yet."""
    then = core.now - core.lag_ms
    if not core.lag_ms or order.updated <= then:
        return order
    if order.created > then:
        return None
    if isinstance(order, Order):
        return replace(order, status="NEW", executed=ZERO, quote=ZERO, updated=order.created)
    return replace(order, status="NEW", child=None, triggered_at=0, reason="", updated=order.created)


def shown_resting(core: Core, symbol: str | None) -> list[Conditional]:
    """Return the conditional orders that a read lists as open."""
    listed = core.books.resting(symbol)
    if not core.lag_ms:
        return listed
    ended = (core.books.find_conditional(number, None, core.now) for number in _ended(core, "algo"))
    found = {order.algo_id: order for order in ended if order is not None and symbol in {None, order.symbol}}
    found.update((order.algo_id, order) for order in listed)
    shown = (as_shown(core, order) for _, order in sorted(found.items()))
    return [order for order in shown if order is not None and order.open]


def shown_open(core: Core, symbol: str | None) -> list[Order]:
    """Return the regular orders that a read lists as open."""
    listed = core.books.open_orders(symbol)
    if not core.lag_ms:
        return listed
    ended = (core.books.by_id(number) for number in _ended(core, "regular"))
    found = {order.order_id: order for order in ended if order is not None and symbol in {None, order.symbol}}
    found.update((order.order_id, order) for order in listed)
    shown = (as_shown(core, order) for _, order in sorted(found.items()))
    return [order for order in shown if order is not None and order.open]


def _ended(core: Core, book: str) -> list[int]:
    """Return the ids of orders that entered a state within the lag."""
    then = core.now - core.lag_ms
    ids: dict[int, None] = {}
    for moved in reversed(core.ledger.transitions):
        if moved.at <= then:
            break
        if moved.book == book:
            ids[moved.exchange_id] = None
    return list(ids)
