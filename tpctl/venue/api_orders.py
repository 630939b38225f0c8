"""REST semantics of the regular book: order, batchOrders, openOrders, allOrders, userTrades (binance-usdm 5.3).

Reads decoded string parameters, refuses as the exchange does, and answers in its shapes. The order of the checks is the
exchange's as far as it is known: parameters first, then filters, then position and margin.
"""

import json
from typing import Any

from tpctl.exits.units import ZERO
from tpctl.venue import params as read
from tpctl.venue import wire
from tpctl.venue.core import Core
from tpctl.venue.filters import (
    check_market_price,
    check_notional,
    check_percent_price,
    check_price,
    check_quantity,
)
from tpctl.venue.lifecycle import end_order
from tpctl.venue.matching import execute, place
from tpctl.venue.orders import Order
from tpctl.venue.params import Params
from tpctl.venue.read_lag import as_shown, shown_open
from tpctl.venue.refusals import VenueError, refusal
from tpctl.venue.requests import (
    CONDITIONAL_KINDS,
    REGULAR_KINDS,
    Head,
    new_client_id,
    read_head,
    read_lifetime,
    read_quantity,
    read_symbol,
    refuse_price_match,
    within,
)
from tpctl.venue.rulebook import SymbolRules
from tpctl.venue.stream import push_order
from tpctl.venue.wire import Payload

_MAX_BATCH = 5
_MAX_ROWS = 1000
_DEFAULT_ROWS = 500
CANCELLED_ALL: Payload = {"code": 200, "msg": "The operation of cancel all open order is done."}


def new_order(core: Core, params: Params) -> Payload:
    """POST order."""
    order, rules = read_order(core, params)
    result = read.choice(params, "newOrderRespType", {"ACK", "RESULT"}, -1136, "ACK") == "RESULT"
    place(core, rules, order)
    return wire.order_ack(core, order, fresh=not result)


def read_order(core: Core, params: Params) -> tuple[Order, SymbolRules]:
    """Return the order a request asks for, judged by parameters and filters alone."""
    kind = params.get("type", "")
    if kind in CONDITIONAL_KINDS:
        read_symbol(core, params)
        raise refusal(-4120)
    head = read_head(core, params)
    read.choice(params, "type", REGULAR_KINDS, -1116)
    if read.flag(params, "closePosition"):
        raise refusal(-4136, kind, "true")
    refuse_price_match(params, kind)
    client_id = read.client_id(params, "newClientOrderId")
    if client_id is not None and core.books.open_by_client(client_id) is not None:
        raise refusal(-4116)
    read.absent(params, "stopPrice", "activationPrice", "callbackRate")
    order = Order(
        order_id=next(core.ids.order),
        client_id=client_id if client_id is not None else new_client_id(core),
        symbol=head.rules.symbol,
        buy=head.buy,
        position_side=head.position_side,
        kind=kind,
        tif="GTC",
        quantity=read_quantity(params),
        price=ZERO,
        reduce_only=head.reduce_only,
        created=core.now,
        updated=core.now,
        reducing=head.reducing,
    )
    if kind == "LIMIT":
        _read_limit(core, params, head, order)
    else:
        _read_market(core, params, head, order)
    return order, head.rules


def _read_limit(core: Core, params: Params, head: Head, order: Order) -> None:
    order.tif, order.good_till = read_lifetime(core, params)
    order.price = read.number(params, "price")
    check_quantity(head.rules, order.quantity, market=False)
    check_price(head.rules, order.price)
    _, mark = core.priced(order.symbol)
    check_percent_price(head.rules, order.price, mark, buy=order.buy)
    if not order.reducing:
        check_notional(head.rules, order.quantity, order.price)


def _read_market(core: Core, params: Params, head: Head, order: Order) -> None:
    read.absent(params, "price", "timeInForce")
    check_quantity(head.rules, order.quantity, market=True)
    _, mark = core.priced(order.symbol)
    check_market_price(head.rules, core.touch(head.rules, buy=order.buy), mark, buy=order.buy)
    if not order.reducing:
        check_notional(head.rules, order.quantity, mark)


def _find(core: Core, params: Params, missing: int) -> Order:
    rules = read_symbol(core, params)
    order_id = read.integer(params, "orderId", 0)
    client_id = params.get("origClientOrderId") or None
    if not order_id and client_id is None:
        raise refusal(-1102, "orderid")
    order = core.books.find(rules.symbol, order_id, client_id, core.now)
    if order is None:
        raise refusal(missing)
    return order


def cancel_order(core: Core, params: Params) -> Payload:
    """DELETE order; -2011 for one that is not open."""
    order = _find(core, params, -2011)
    if not order.open:
        raise refusal(-2011)
    end_order(core, order, "CANCELED")
    return wire.order_ack(core, order)


def get_order(core: Core, params: Params) -> Payload:
    """GET order; -2013 for one the exchange does not know, or no longer."""
    order = as_shown(core, _find(core, params, -2013))
    if order is None:
        raise refusal(-2013)
    return wire.order_row(core, order)


def open_orders(core: Core, params: Params) -> list[Payload]:
    """GET openOrders: the regular book only."""
    symbol = read_symbol(core, params).symbol if params.get("symbol") else None
    return [wire.order_row(core, order) for order in shown_open(core, symbol)]


def all_orders(core: Core, params: Params) -> list[Payload]:
    """GET allOrders: the newest first within the limit, listed oldest first."""
    symbol = read_symbol(core, params).symbol if params.get("symbol") else None
    first = read.integer(params, "orderId", 0)
    limit = min(read.integer(params, "limit", _DEFAULT_ROWS), _MAX_ROWS)
    rows = [
        wire.order_row(core, order) | {"pair": order.symbol, "cumBase": "0"}
        for order in core.books.orders(symbol, core.now)
        if order.order_id >= first and within(order.created, params)
    ]
    return rows[:limit] if first else rows[-limit:]


def cancel_all_orders(core: Core, params: Params) -> Payload:
    """DELETE allOpenOrders: leaves the algo book alone."""
    cancel_symbol(core, read_symbol(core, params).symbol)
    return dict(CANCELLED_ALL)


def cancel_symbol(core: Core, symbol: str) -> None:
    """Cancel every regular order of a symbol."""
    for order in core.books.open_orders(symbol):
        end_order(core, order, "CANCELED")


def batch_orders(core: Core, params: Params) -> list[Payload]:
    """POST batchOrders: each order stands for itself; refusals are answered in place."""
    try:
        batch: Any = json.loads(read.required(params, "batchOrders"))
    except ValueError:
        raise refusal(-1130, "batchOrders") from None
    if not isinstance(batch, list) or not all(isinstance(entry, dict) for entry in batch):
        raise refusal(-1130, "batchOrders")
    if not 1 <= len(batch) <= _MAX_BATCH:
        raise refusal(-4082)
    answers: list[Payload] = []
    for entry in batch:
        try:
            answers.append(new_order(core, {key: _spelt(value) for key, value in entry.items()}))
        except VenueError as refused:
            answers.append(refused.body)
    return answers


def _spelt(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def modify_order(core: Core, params: Params) -> Payload:
    """PUT order: new price and quantity of an open limit order; it loses its place and may execute at once."""
    order = _find(core, params, -2013)
    rules = core.rules.symbols[order.symbol]
    if not order.open:
        raise refusal(-5024)
    if order.kind != "LIMIT":
        raise refusal(-5025)
    buy = read.choice(params, "side", {"BUY", "SELL"}, -1117) == "BUY"
    if buy != order.buy:
        raise refusal(-1130, "side")
    if params.get("reduceOnly") and read.flag(params, "reduceOnly", -4062) != order.reduce_only:
        raise refusal(-5047)
    quantity, price = read_quantity(params), read.number(params, "price")
    modify_id = read.integer(params, "modifyId", 0)
    if (quantity, price) == (order.quantity, order.price):
        raise refusal(-5027)
    check_quantity(rules, quantity, market=False)
    check_price(rules, price)
    _, mark = core.priced(order.symbol)
    check_percent_price(rules, price, mark, buy=buy)
    if not order.reducing:
        check_notional(rules, quantity, price)
    elif quantity - order.executed > core.account.holding(order.symbol, order.position_side).closable(buy=buy):
        raise refusal(-2022)
    order.modify_id = modify_id
    if quantity <= order.executed:
        end_order(core, order, "CANCELED")
    else:
        order.quantity, order.price, order.updated = quantity, price, core.now
        core.note(order, "amended")
        push_order(core, order, "AMENDMENT")
        execute(core, rules, order)
    return wire.order_ack(core, order) | {"pair": order.symbol, "modifyId": modify_id}


def user_trades(core: Core, params: Params) -> list[Payload]:
    """GET userTrades of a symbol, oldest first."""
    symbol = read_symbol(core, params).symbol
    order_id = read.integer(params, "orderId", 0)
    first = read.integer(params, "fromId", 0)
    limit = min(read.integer(params, "limit", _DEFAULT_ROWS), _MAX_ROWS)
    rows = [
        wire.trade_row(core, fill)
        for fill in core.ledger.fills
        if fill.symbol == symbol
        and order_id in {0, fill.order_id}
        and fill.trade_id >= first
        and within(fill.at, params)
    ]
    return rows[:limit] if first or params.get("startTime") else rows[-limit:]


def income(core: Core, params: Params) -> list[Payload]:
    """GET income, oldest first."""
    symbol, kind = params.get("symbol", ""), params.get("incomeType", "")
    limit = min(read.integer(params, "limit", 100), _MAX_ROWS)
    rows = [
        wire.income_row(row)
        for row in core.ledger.income
        if symbol in {"", row.symbol} and kind in {"", row.kind} and within(row.at, params)
    ]
    return rows[:limit] if params.get("startTime") else rows[-limit:]


def countdown_cancel_all(core: Core, params: Params) -> Payload:
    """POST countdownCancelAll: cancels the symbol's regular orders unless renewed; zero stops the countdown.

    Whether it touches conditional orders is not documented; here it does not.
    """
    symbol = read_symbol(core, params).symbol
    delay = read.integer(params, "countdownTime")
    if delay:
        core.countdowns[symbol] = core.now + delay
    else:
        core.countdowns.pop(symbol, None)
    return {"symbol": symbol, "countdownTime": str(delay)}
