"""How numbers and orders look in REST answers (binance-usdm 5.2 to 5.4).

Shapes only; reads state, changes nothing. Numbers are strings unless the exchange sends them bare.
"""

from decimal import Decimal
from functools import lru_cache
from typing import Any, TypeAlias

from tpctl.exits.units import Money, Price, plain, trimmed
from tpctl.venue.core import Core
from tpctl.venue.ledger import FillRow, IncomeRow
from tpctl.venue.orders import Conditional, Order
from tpctl.venue.rulebook import SymbolRules

Payload: TypeAlias = dict[str, Any]

QUOTE_ASSET = "USDT"


def fixed(value: Decimal, places: int = 8) -> str:
    """Return `value` with a fixed number of decimals."""
    text = f"{value:.{places}f}"
    return text[1:] if text.startswith("-") and not text.strip("-0.") else text


def money(value: Money) -> str:
    """Return an amount with eight decimals, a bare `0` for zero."""
    return fixed(value) if value else "0"


def quantity_text(rules: SymbolRules, value: Decimal) -> str:
    """Return a quantity with the symbol's quantity precision, a bare `0` for zero."""
    return fixed(value, rules.quantity_precision) if value else "0"


def price_text(rules: SymbolRules, value: Price) -> str:
    """Return a price with the symbol's price precision, a bare `0` for zero."""
    return fixed(value, rules.price_precision) if value else "0"


def average_text(rules: SymbolRules, value: Price) -> str:
    """Return an average price, with three places more than the symbol's prices."""
    return fixed(value, rules.price_precision + 3)


@lru_cache(maxsize=4096)  # an order's numbers are listed as long as it rests
def double_text(value: Decimal) -> str:
    """Return a number as the exchange's openAlgoOrders prints it: a Java double, `7.0E-4`, `74457.1`, `0.0`."""
    sign, digits, exponent = value.normalize().as_tuple()
    if not value or not isinstance(exponent, int):
        return "0.0"
    lead = len(digits) + exponent - 1
    if -3 <= lead < 7:
        text = plain(value.normalize())
        return text if "." in text else f"{text}.0"
    mantissa = "".join(map(str, digits))
    return f"{'-' if sign else ''}{mantissa[0]}.{mantissa[1:] or '0'}E{lead}"


def order_ack(core: Core, order: Order, *, fresh: bool = False) -> Payload:
    """Return the answer to POST, PUT and DELETE order: without avgPrice and cumQuote since 2026-07-15.

    `fresh` is the default ACK answer: the order as it arrived, whatever it has become since.
    """
    rules = core.rules.symbols[order.symbol]
    executed = "0" if fresh else quantity_text(rules, order.executed)
    origin = order.origin
    return {
        "clientOrderId": order.client_id,
        "cumQty": executed,
        "executedQty": executed,
        "orderId": order.order_id,
        "origQty": quantity_text(rules, order.quantity),
        "price": price_text(rules, order.price),
        "reduceOnly": order.reduce_only,
        "side": order.side,
        "positionSide": order.position_side,
        "status": "NEW" if fresh else order.status,
        "stopPrice": price_text(rules, origin.trigger) if origin else "0",
        "closePosition": order.close_position,
        "symbol": order.symbol,
        "timeInForce": order.tif,
        "type": order.kind,
        "origType": origin.kind if origin else order.kind,
        "updateTime": order.created if fresh else order.updated,
        "workingType": "MARK_PRICE" if origin and origin.on_mark else "CONTRACT_PRICE",
        "priceProtect": bool(origin and origin.price_protect),
        "priceMatch": "NONE",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "goodTillDate": order.good_till,
    }


def order_row(core: Core, order: Order) -> Payload:
    """Return an order as GET order, openOrders and allOrders show it."""
    rules = core.rules.symbols[order.symbol]
    row = order_ack(core, order)
    del row["cumQty"]
    return {
        "avgPrice": average_text(rules, order.average),
        **row,
        "cumQuote": money(order.quote),
        "time": order.created,
    }


def trade_row(core: Core, fill: FillRow) -> Payload:
    """Return a row of userTrades."""
    rules = core.rules.symbols[fill.symbol]
    return {
        "buyer": fill.side == "BUY",
        "commission": fixed(fill.fee),
        "commissionAsset": QUOTE_ASSET,
        "id": fill.trade_id,
        "maker": fill.maker,
        "orderId": fill.order_id,
        "price": price_text(rules, fill.price),
        "qty": quantity_text(rules, fill.quantity),
        "quoteQty": fixed(fill.quantity * fill.price),
        "baseQty": "0",
        "marginAsset": rules.margin_asset,
        "realizedPnl": fixed(fill.realised),
        "side": fill.side,
        "positionSide": fill.position_side,
        "symbol": fill.symbol,
        "pair": fill.symbol,
        "time": fill.at,
    }


def income_row(row: IncomeRow) -> Payload:
    """Return a row of the income history."""
    return {
        "symbol": row.symbol,
        "incomeType": row.kind,
        "income": fixed(row.amount),
        "asset": QUOTE_ASSET,
        "info": row.info,
        "time": row.at,
        "tranId": row.tran_id,
        "tradeId": row.trade_id,
    }


def algo_ack(core: Core, order: Conditional) -> Payload:
    """Return the answer to POST algoOrder."""
    rules = core.rules.symbols[order.symbol]
    return {
        "algoId": order.algo_id,
        "clientAlgoId": order.client_id,
        "algoType": "CONDITIONAL",
        "orderType": order.kind,
        "symbol": order.symbol,
        "side": order.side,
        "positionSide": order.position_side,
        "timeInForce": order.tif,
        "quantity": quantity_text(rules, order.quantity),
        "algoStatus": order.status,
        "triggerPrice": fixed(order.trigger, rules.price_precision),
        "price": fixed(order.price, rules.price_precision),
        "icebergQuantity": None,
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingType": "MARK_PRICE" if order.on_mark else "CONTRACT_PRICE",
        "priceMatch": "NONE",
        "closePosition": order.close_position,
        "priceProtect": order.price_protect,
        "reduceOnly": order.reduce_only,
        "createTime": order.created,
        "updateTime": order.updated,
        "triggerTime": order.triggered_at,
        "goodTillDate": order.good_till,
        "activatePrice": price_text(rules, order.activate) if order.activate else "",
        "callbackRate": trimmed(order.callback) if order.callback else "",
    }


def algo_row(core: Core, order: Conditional) -> Payload:
    """Return a conditional order as GET algoOrder and allAlgoOrders show it."""
    rules = core.rules.symbols[order.symbol]
    child = order.child
    row = algo_ack(core, order) | {
        "actualOrderId": str(child.order_id) if child else "",
        "actualPrice": average_text(rules, child.average) if child else "0.000000",
        "tpOrderType": "",
    }
    if child:
        row |= {"actualQty": quantity_text(rules, child.executed), "actualType": child.kind}
    return row


def open_algo_row(core: Core, order: Conditional) -> Payload:
    """Return a row of openAlgoOrders, whose numbers the exchange prints as doubles."""
    child = order.child
    return algo_row(core, order) | {
        "quantity": double_text(order.quantity),
        "triggerPrice": double_text(order.trigger),
        "price": double_text(order.price),
        "actualPrice": double_text(child.average if child else Decimal(0)),
        "actualQty": double_text(child.executed if child else Decimal(0)),
    }
