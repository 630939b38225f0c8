"""Watches the algo book: which conditional orders a price triggers, and what becomes of them (binance-usdm 2.2, 4.4).

Decides the order in which orders act when one price crosses several: stops before take-profits, then the nearest
trigger first. A reducing order that finds no position is rejected, it never opens one.
"""

from tpctl.exits.units import ZERO, Price
from tpctl.venue.core import Core
from tpctl.venue.lifecycle import accept_order, move_conditional
from tpctl.venue.matching import admit, execute, is_reducing
from tpctl.venue.orders import Conditional, Order
from tpctl.venue.refusals import VenueError
from tpctl.venue.rulebook import SymbolRules
from tpctl.venue.stream import push_conditional

REDUCE_ONLY_REASON = "Reduce Only reject"


def crossed(order: Conditional, price: Price) -> bool:
    """Return whether `price` triggers a stop or take-profit; equality does."""
    return price <= order.trigger if order.falls else price >= order.trigger


def trigger_due(core: Core, rules: SymbolRules) -> None:
    """Trigger every conditional order of a symbol that the current prices cross."""
    last, mark = core.last[rules.symbol], core.mark[rules.symbol]
    due = [
        order
        for order in core.books.resting(rules.symbol)
        if order.status == "NEW" and _due(core, rules, order, last, mark)
    ]
    if len(due) > 1:
        due.sort(key=lambda order: (not order.stop, -order.trigger if order.falls else order.trigger, order.algo_id))
    for order in due:
        # One of those before it may have closed the position and expired this one.
        if order.status == "NEW":
            trigger(core, rules, order)


def _due(core: Core, rules: SymbolRules, order: Conditional, last: Price, mark: Price) -> bool:
    if order.good_till and core.now >= order.good_till:
        move_conditional(core, order, "EXPIRED")
        return False
    price = mark if order.on_mark else last
    hit = crossed(order, price) if order.callback is None else _trailed(core, order, price)
    return hit and not (order.price_protect and abs(mark - last) > last * rules.trigger_protect)


def _trailed(core: Core, order: Conditional, price: Price) -> bool:
    """Follow the price with a trailing order and return whether it has turned by the callback (in percent)."""
    if order.callback is None:
        return False
    order.extreme = min(order.extreme, price) if order.buy else max(order.extreme, price)
    if not order.activated:
        goal = order.activate
        if goal is not None and (order.extreme > goal if order.buy else order.extreme < goal):
            return False
        order.activated = True
        push_conditional(core, order)
    share = order.callback / 100
    return price >= order.extreme * (1 + share) if order.buy else price <= order.extreme * (1 - share)


def trigger(core: Core, rules: SymbolRules, order: Conditional) -> None:
    """Turn a conditional order into a regular one and execute it, or reject it where the book refuses that."""
    order.triggered_at = core.now
    move_conditional(core, order, "TRIGGERING")
    if order.stuck:
        return
    closable = core.account.holding(order.symbol, order.position_side).closable(buy=order.buy)
    reducing = order.close_position or is_reducing(
        core.account.hedge, order.position_side, buy=order.buy, reduce_only=order.reduce_only
    )
    if reducing and not closable:
        move_conditional(core, order, "REJECTED", REDUCE_ONLY_REASON)
        return
    quantity = closable if order.close_position else order.quantity
    child = Order(
        order_id=next(core.ids.order),
        client_id=order.client_id,
        symbol=order.symbol,
        buy=order.buy,
        position_side=order.position_side,
        kind="MARKET" if order.executes_at_market else "LIMIT",
        tif="GTC" if order.executes_at_market else order.tif,
        quantity=min(quantity, closable) if reducing else quantity,
        price=ZERO if order.executes_at_market else order.price,
        reduce_only=order.reduce_only,
        created=core.now,
        updated=core.now,
        reducing=reducing,
        close_position=order.close_position,
        origin=order,
    )
    try:
        admit(core, rules, child)
    except VenueError as refused:
        move_conditional(core, order, "REJECTED", REDUCE_ONLY_REASON if refused.code == -2022 else refused.msg)
        return
    order.child = child
    move_conditional(core, order, "TRIGGERED")
    accept_order(core, child)
    execute(core, rules, child)
