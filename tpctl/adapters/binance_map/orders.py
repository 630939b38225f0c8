"""Orders and executions as REST shows them (binance-usdm 5.3, 5.4), of both books.

Never decides what an order is for. FINISHED is kept as it is: it does not mean filled, `executed` says what was.
"""

from tpctl.adapters.binance_map.fields import (
    Malformed,
    Row,
    algo_kind,
    flag,
    identifier,
    millis,
    number,
    number_or_zero,
    order_side,
    position_side,
    positive_or_none,
    regular_kind,
    row,
    rows,
    status,
    text,
    whole,
    working_type,
)
from tpctl.exits.instrument import OrderKind
from tpctl.exits.model import Book, Fill, LiveOrder

# A trailing stop has a callback in a trigger's place.
_WITHOUT_TRIGGER = frozenset({OrderKind.TRAILING_STOP_MARKET})


def regular_order(payload: object) -> LiveOrder:
    """Return an order of the regular book from a placement, query, cancel or list row; raises `Malformed`.

    Placement answers carry no average price since 2026-07-15; it is None then.
    """
    source = row(payload, "order")
    quantity, executed = number(source, "origQty"), number(source, "executedQty")
    price = number(source, "price")
    return LiveOrder(
        symbol=text(source, "symbol"),
        client_id=text(source, "clientOrderId"),
        exchange_id=identifier(source, "orderId"),
        book=Book.REGULAR,
        kind=regular_kind(text(source, "type"), price),
        order_side=order_side(text(source, "side")),
        position_side=position_side(text(source, "positionSide")),
        status=status(text(source, "status"), executed, quantity),
        quantity=quantity,
        trigger=positive_or_none(number_or_zero(source, "stopPrice")),
        price=positive_or_none(price),
        working=working_type(str(source.get("workingType", "CONTRACT_PRICE"))),
        close_position=flag(source, "closePosition"),
        reduce_only=flag(source, "reduceOnly"),
        executed=executed,
        average_price=positive_or_none(number_or_zero(source, "avgPrice")),
        child_id=None,
        updated_at=_updated(source),
    )


def algo_order(payload: object) -> LiveOrder:
    """Return a conditional order from a placement, query or list row; raises `Malformed`.

    A closePosition order has quantity "0" or none at all; lists print numbers as "7.0E-4".
    """
    source = row(payload, "algo order")
    kind = algo_kind(text(source, "orderType" if "orderType" in source else "type"))
    closes = flag(source, "closePosition")
    quantity = number_or_zero(source, "quantity") if closes else number(source, "quantity")
    executed = number_or_zero(source, "actualQty")
    trigger = number_or_zero(source, "triggerPrice") if kind in _WITHOUT_TRIGGER else number(source, "triggerPrice")
    return LiveOrder(
        symbol=text(source, "symbol"),
        client_id=text(source, "clientAlgoId"),
        exchange_id=identifier(source, "algoId"),
        book=Book.ALGO,
        kind=kind,
        order_side=order_side(text(source, "side")),
        position_side=position_side(text(source, "positionSide")),
        status=status(text(source, "algoStatus"), executed, quantity),
        quantity=quantity,
        trigger=positive_or_none(trigger),
        price=positive_or_none(number_or_zero(source, "price")),
        working=working_type(text(source, "workingType")),
        close_position=closes,
        reduce_only=flag(source, "reduceOnly"),
        executed=executed,
        average_price=positive_or_none(number_or_zero(source, "actualPrice")),
        child_id=_child(source),
        updated_at=_updated(source),
    )


def _child(source: Row) -> str | None:
    """Return the id of the order a trigger gave birth to, None before that."""
    child = source.get("actualOrderId")
    return None if child is None or child == "" or str(child) == "0" else identifier(source, "actualOrderId")


def regular_orders(payload: object) -> tuple[LiveOrder, ...]:
    """Return the orders of an openOrders answer; raises `Malformed`."""
    return tuple(regular_order(item) for item in rows(payload, "openOrders"))


class AlgoList:
    """Reads the openAlgoOrders answers of one account. A row that says what it said last time is not read again.

    Hundreds of conditional orders are listed twice a minute, and hardly one of them has changed since.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[Row, LiveOrder]] = {}

    def orders(self, payload: object, *, whole: bool) -> tuple[LiveOrder, ...]:
        """Return the conditional orders of an answer, which lists those of all symbols or not; raises `Malformed`.

        Execution algorithms (VP, TWAP) share the list but are no conditional orders; they are left out.
        """
        found: dict[str, tuple[Row, LiveOrder]] = {}
        for item in rows(payload, "openAlgoOrders"):
            if item.get("algoType", "CONDITIONAL") != "CONDITIONAL":
                continue
            name = str(item.get("algoId"))
            known = self._known.get(name)
            found[name] = known if known is not None and known[0] == item else (item, algo_order(item))
        if whole:
            self._known = found
        else:
            self._known.update(found)
        return tuple(order for _, order in found.values())


def cancelled_algo(payload: object) -> None:
    """Check the answer to the cancel of a conditional order, whose code is the text "200"; raises `Malformed`."""
    source = row(payload, "cancel answer")
    if str(source.get("code")) != "200":
        raise Malformed("the cancel was not confirmed")


def fill(payload: object) -> Fill:
    """Return one execution from a userTrades row; raises `Malformed`.

    The row names the order by its exchange id only: `client_id` is empty.
    """
    source = row(payload, "trade")
    return Fill(
        symbol=text(source, "symbol"),
        trade_id=whole(source, "id"),
        order_id=identifier(source, "orderId"),
        client_id="",
        order_side=order_side(text(source, "side")),
        position_side=position_side(text(source, "positionSide")),
        quantity=number(source, "qty"),
        price=number(source, "price"),
        fee=number(source, "commission"),
        fee_asset=text(source, "commissionAsset"),
        realised=number(source, "realizedPnl"),
        maker=flag(source, "maker"),
        at=millis(source, "time"),
    )


def fills(payload: object) -> tuple[Fill, ...]:
    """Return the executions of a userTrades answer; raises `Malformed`."""
    return tuple(fill(item) for item in rows(payload, "userTrades"))


def _updated(source: Row) -> int:
    return millis(source, "updateTime" if "updateTime" in source else "time")
