"""Every intent in every position mode, as it goes on the wire (binance-usdm 2.2, 4.1)."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.adapters.binance_map.params import Operation, find_params, wire_order
from tpctl.exits.instrument import PositionSide
from tpctl.exits.intents import CancelOrder, PlaceStop, PlaceTakeProfit, ReduceAtMarket
from tpctl.exits.model import Book, PositionKey, PositionMode, WorkingType

ONE_WAY, HEDGE = PositionMode.ONE_WAY, PositionMode.HEDGE
LONG, SHORT = PositionKey("XRPUSDT", PositionSide.LONG), PositionKey("XRPUSDT", PositionSide.SHORT)
MARK, LAST = WorkingType.MARK, WorkingType.LAST
QTY, TRIGGER = Decimal("1E+2"), Decimal("5.0E-1")

STOP = {"algoType": "CONDITIONAL", "symbol": "XRPUSDT", "type": "STOP_MARKET", "triggerPrice": "0.50"}
TP = STOP | {"type": "TAKE_PROFIT_MARKET"}


def stop(key, quantity=QTY, working=MARK):
    return PlaceStop(key, "tp-1", quantity, TRIGGER, working, "test")


def take_profit(key, working=MARK):
    return PlaceTakeProfit(key, "tp-1", 1, QTY, TRIGGER, working, "test")


def market(key):
    return ReduceAtMarket(key, "tp-1", QTY, "test")


PLACEMENTS = [
    (stop(LONG), ONE_WAY, STOP | {"side": "SELL", "quantity": "100", "reduceOnly": "true"}),
    (stop(SHORT), ONE_WAY, STOP | {"side": "BUY", "quantity": "100", "reduceOnly": "true"}),
    (stop(LONG), HEDGE, STOP | {"side": "SELL", "quantity": "100", "positionSide": "LONG"}),
    (stop(SHORT), HEDGE, STOP | {"side": "BUY", "quantity": "100", "positionSide": "SHORT"}),
    (stop(LONG, None), ONE_WAY, STOP | {"side": "SELL", "closePosition": "true"}),
    (stop(SHORT, None), ONE_WAY, STOP | {"side": "BUY", "closePosition": "true"}),
    (stop(LONG, None), HEDGE, STOP | {"side": "SELL", "closePosition": "true", "positionSide": "LONG"}),
    (stop(SHORT, None), HEDGE, STOP | {"side": "BUY", "closePosition": "true", "positionSide": "SHORT"}),
    (take_profit(LONG), ONE_WAY, TP | {"side": "SELL", "quantity": "100", "reduceOnly": "true"}),
    (take_profit(SHORT), ONE_WAY, TP | {"side": "BUY", "quantity": "100", "reduceOnly": "true"}),
    (take_profit(LONG), HEDGE, TP | {"side": "SELL", "quantity": "100", "positionSide": "LONG"}),
    (take_profit(SHORT), HEDGE, TP | {"side": "BUY", "quantity": "100", "positionSide": "SHORT"}),
]


@pytest.mark.parametrize(("intent", "mode", "expected"), PLACEMENTS)
def test_conditional_orders_go_to_the_algo_book_with_the_closing_side(intent, mode, expected):
    order = wire_order(intent, mode)

    assert order.operation is Operation.PLACE_ALGO
    assert order.params == expected | {"clientAlgoId": "tp-1", "workingType": "MARK_PRICE"}


@pytest.mark.parametrize("intent", [stop(LONG, working=LAST), stop(LONG, None, LAST), take_profit(LONG, LAST)])
def test_the_last_price_is_named_too(intent):
    assert wire_order(intent, ONE_WAY).params["workingType"] == "CONTRACT_PRICE"


@pytest.mark.parametrize(
    ("key", "mode", "expected"),
    [
        (LONG, ONE_WAY, {"side": "SELL", "reduceOnly": "true"}),
        (SHORT, ONE_WAY, {"side": "BUY", "reduceOnly": "true"}),
        (LONG, HEDGE, {"side": "SELL", "positionSide": "LONG"}),
        (SHORT, HEDGE, {"side": "BUY", "positionSide": "SHORT"}),
    ],
)
def test_a_market_reduction_asks_for_its_result(key, mode, expected):
    order = wire_order(market(key), mode)

    common = {"symbol": "XRPUSDT", "type": "MARKET", "quantity": "100", "newClientOrderId": "tp-1"}
    assert order.operation is Operation.PLACE_REGULAR
    assert order.params == common | expected | {"newOrderRespType": "RESULT"}


@pytest.mark.parametrize("mode", [ONE_WAY, HEDGE])
def test_cancels_go_to_the_book_of_the_order(mode):
    algo = wire_order(CancelOrder(LONG, "tp-1", Book.ALGO, "test"), mode)
    regular = wire_order(CancelOrder(LONG, "tp-1", Book.REGULAR, "test"), mode)

    assert (algo.operation, algo.params) == (Operation.CANCEL_ALGO, {"clientAlgoId": "tp-1"})
    assert regular.operation is Operation.CANCEL_REGULAR
    assert regular.params == {"symbol": "XRPUSDT", "origClientOrderId": "tp-1"}


def test_queries_go_to_the_book_of_the_order():
    assert find_params("XRPUSDT", "tp-1", Book.ALGO) == {"clientAlgoId": "tp-1"}
    assert find_params("XRPUSDT", "tp-1", Book.REGULAR) == {"symbol": "XRPUSDT", "origClientOrderId": "tp-1"}


@pytest.mark.parametrize("client_id", ["", "a" * 37, "a:b", "a/b", "a b", "ä", "a\n"])
def test_an_id_the_exchange_would_misread_never_leaves(client_id):
    with pytest.raises(ValueError, match="client id"):
        wire_order(CancelOrder(LONG, client_id, Book.ALGO, "test"), ONE_WAY)


@pytest.mark.parametrize("bad", ["0", "-1", "Infinity"])
def test_a_size_or_trigger_that_is_no_positive_number_never_leaves(bad):
    with pytest.raises(ValueError, match="quantity"):
        wire_order(ReduceAtMarket(LONG, "tp-1", Decimal(bad), "test"), ONE_WAY)
    with pytest.raises(ValueError, match="trigger"):
        wire_order(PlaceStop(LONG, "tp-1", None, Decimal(bad), MARK, "test"), ONE_WAY)


numbers = st.decimals(min_value="1E-12", max_value="1E+12", allow_nan=False, allow_infinity=False)


@settings(max_examples=150, deadline=None)
@given(
    quantity=st.none() | numbers,
    trigger=numbers,
    side=st.sampled_from(PositionSide),
    mode=st.sampled_from(PositionMode),
    working=st.sampled_from(WorkingType),
)
def test_every_placement_is_plain_text_and_can_only_reduce(quantity, trigger, side, mode, working):
    """I3 and I16, whatever the numbers."""
    key = PositionKey("币安人生USDT", side)
    params = wire_order(PlaceStop(key, "tp-1", quantity, trigger, working, "test"), mode).params

    assert all(isinstance(value, str) for value in params.values())
    assert set(params.get("quantity", "1") + params["triggerPrice"]) <= set("0123456789.")
    assert Decimal(params["triggerPrice"]) == trigger
    assert params["side"] == ("SELL" if side is PositionSide.LONG else "BUY")
    reducing = {"reduceOnly", "closePosition", "positionSide"} & params.keys()
    assert reducing
    assert not {"quantity", "closePosition"} <= params.keys()
    assert not {"reduceOnly", "closePosition"} <= params.keys()
    assert ("positionSide" in params) is (mode is PositionMode.HEDGE)
