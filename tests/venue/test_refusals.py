"""The twin refuses as the exchange does: every code of binance-usdm 3.3 that an exit tool can meet."""

import json
from decimal import Decimal

import pytest
from venue_desk import BTC, XRP, Desk

from tpctl.venue.rulebook import RuleBook, builtin_rules, load_rules


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": ""}, -1102),
        ({"symbol": "NOPEUSDT"}, -1121),
        ({"side": ""}, -1102),
        ({"side": "LONG"}, -1117),
        ({"type": ""}, -1102),
        ({"type": "ICEBERG"}, -1116),
        ({"quantity": ""}, -1102),
        ({"quantity": "1E-3"}, -1100),
        ({"quantity": "0"}, -4003),
        ({"quantity": "-0.010"}, -4003),
        ({"quantity": "0.0101"}, -1111),
        ({"quantity": "121"}, -4005),
        ({"quantity": "0.001"}, -4164),
        ({"price": "50000"}, -1106),
        ({"timeInForce": "GTC"}, -1106),
        ({"stopPrice": "50000"}, -1106),
        ({"positionSide": "LONG"}, -4061),
        ({"positionSide": "long"}, -4060),
        ({"reduceOnly": "True"}, -4062),
        ({"reduceOnly": "true"}, -2022),
        ({"newClientOrderId": "x" * 37}, -4015),
        ({"newClientOrderId": "a b"}, -4015),
        ({"newOrderRespType": "FULL"}, -1136),
        ({"closePosition": "true"}, -4136),
        ({"type": "STOP_MARKET", "stopPrice": "49000"}, -4120),
        ({"type": "TRAILING_STOP_MARKET"}, -4120),
        ({"type": "LIMIT", "price": "50000"}, -1102),
        ({"type": "LIMIT", "price": "50000", "timeInForce": "DAY"}, -1115),
        ({"type": "LIMIT", "price": "50000", "timeInForce": "GTD", "goodTillDate": "1700000200000"}, -5040),
        ({"type": "LIMIT", "timeInForce": "GTC"}, -1102),
        ({"type": "LIMIT", "timeInForce": "GTC", "priceMatch": "QUEUE"}, -5041),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "0"}, -4001),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "50000.05"}, -4014),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "50000.001"}, -1111),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "4529764.1"}, -4002),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "500.0"}, -4013),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "47499.9"}, -4024),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "52500.1", "side": "BUY"}, -4016),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "49000.0", "positionSide": "BOTH"}, None),
        ({"type": "LIMIT", "timeInForce": "GTX", "price": "49000.0"}, -5022),
        ({"type": "LIMIT", "timeInForce": "FOK", "price": "51000.0"}, -5021),
        ({"quantity": "50"}, -2019),
        ({"quantity": "60", "side": "BUY"}, -2019),
    ],
)
def test_an_order_request_is_judged_as_the_exchange_judges_it(desk: Desk, params: dict[str, str], code: int | None):
    request = {"quantity": "0.010"} | params
    if code is None:
        assert desk.order(**request)["status"] == "NEW"
        return
    with desk.refused(code):
        desk.order(**request)
    assert desk.venue.open_orders({}) == []


def test_a_quantity_below_the_minimum_and_off_the_step_have_their_own_codes():
    rules = _edited(lambda symbol: symbol["filters"][1].update(minQty="0.004", stepSize="0.004", maxQty="1000"))
    desk = Desk(rules=rules)
    with desk.refused(-4004):
        desk.limit("51000", "0.003")
    with desk.refused(-4023):
        desk.limit("51000", "0.006")
    desk.limit("51000", "0.008")


def test_a_tick_that_is_no_power_of_ten_is_enforced():
    desk = Desk(rules=_edited(lambda symbol: symbol["filters"][0].update(tickSize="25", minPrice="25")))
    with desk.refused(-4014):
        desk.limit("51010")
    desk.limit("51025")


def test_trailing_zeros_are_no_extra_precision(desk: Desk):
    desk.limit("51000.1000", "0.0100")


def test_limit_orders_may_be_larger_than_market_orders(desk: Desk):
    desk = Desk(wallet=Decimal(100_000_000))
    with desk.refused(-4005):
        desk.order(quantity="121", side="BUY")
    desk.venue.change_leverage({"symbol": BTC, "leverage": "5"})
    desk.limit("49000", "121", side="BUY")


def test_a_position_beyond_the_bracket_of_its_leverage_is_refused():
    desk = Desk(wallet=Decimal(10_000_000))
    desk.venue.change_leverage({"symbol": BTC, "leverage": "125"})
    with desk.refused(-2027):
        desk.order(quantity="7", side="BUY")


def test_the_201st_order_of_a_symbol_is_refused(desk: Desk):
    for _ in range(200):
        desk.limit("49000", "0.003", side="BUY")
    with desk.refused(-2025):
        desk.limit("49000", "0.003", side="BUY")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"algoType": ""}, -1102),
        ({"algoType": "VP"}, -4500),
        ({"symbol": "NOPEUSDT"}, -1121),
        ({"type": "MARKET"}, -1116),
        ({"workingType": "INDEX"}, -4031),
        ({"triggerPrice": ""}, -1102),
        ({"triggerPrice": "49000.05"}, -4014),
        ({"triggerPrice": "49000.001"}, -1111),
        ({"triggerPrice": "0"}, -4006),
        ({"triggerPrice": "4529764.1"}, -4007),
        ({"triggerPrice": "50000"}, -2021),
        ({"type": "TAKE_PROFIT_MARKET"}, -2021),
        ({"type": "STOP"}, -1102),
        ({"price": "49000"}, -1106),
        ({"activatePrice": "51000"}, -1106),
        ({"clientAlgoId": "ä"}, -4015),
        ({"quantity": "120.001"}, -4005),
        ({"quantity": "0.0001"}, -1111),
        ({"quantity": "0.002", "reduceOnly": "false"}, -4164),
        ({"closePosition": "true"}, -4137),
        ({"closePosition": "true", "quantity": ""}, -1106),
        ({"closePosition": "true", "quantity": "", "reduceOnly": "", "type": "STOP"}, -4136),
        ({"closePosition": "true", "quantity": "", "reduceOnly": "", "side": "BUY", "triggerPrice": "51000"}, -4509),
        ({"positionSide": "SHORT"}, -4061),
        ({"type": "TRAILING_STOP_MARKET", "callbackRate": "1"}, -2021),
        ({"type": "TRAILING_STOP_MARKET", "triggerPrice": ""}, -1102),
        ({"type": "TRAILING_STOP_MARKET", "triggerPrice": "", "callbackRate": "0.09"}, -2007),
        ({"type": "TRAILING_STOP_MARKET", "triggerPrice": "", "callbackRate": "20.1"}, -2007),
        ({"type": "TRAILING_STOP_MARKET", "triggerPrice": "", "callbackRate": "1", "activatePrice": "50000"}, -2021),
        ({"type": "TRAILING_STOP_MARKET", "closePosition": "true", "quantity": "", "triggerPrice": ""}, -4136),
    ],
)
def test_a_conditional_request_is_judged_as_the_exchange_judges_it(desk: Desk, params: dict[str, str], code: int):
    desk.long()
    request = {"triggerPrice": "49000", "quantity": "0.100", "reduceOnly": "true"} | params
    with desk.refused(code):
        desk.algo(request.pop("type", "STOP_MARKET"), request.pop("triggerPrice"), **request)
    assert desk.venue.open_algo_orders({}) == []


def test_whether_a_stop_is_already_crossed_is_judged_by_its_working_type(desk: Desk):
    desk.long()
    desk.price("49000", mark="49500")
    desk.stop("49200", workingType="MARK_PRICE")
    with desk.refused(-2021):
        desk.stop("49200", workingType="CONTRACT_PRICE")
    with desk.refused(-2021):
        desk.stop("49200", workingType="")


def test_a_closing_stop_needs_a_position_and_stands_once_per_type_and_direction(desk: Desk):
    with desk.refused(-4509):
        desk.closing("STOP_MARKET", "49000")
    desk.long()
    desk.closing("STOP_MARKET", "49000")
    desk.closing("TAKE_PROFIT_MARKET", "52000")
    with desk.refused(-4130):
        desk.closing("STOP_MARKET", "48000")
    with desk.refused(-4130):
        desk.closing("TAKE_PROFIT_MARKET", "53000")


def test_the_201st_conditional_order_of_the_account_is_refused(desk: Desk):
    desk.long()
    desk.long("1000", XRP)
    for index in range(200):
        symbol, trigger = (BTC, "49000") if index % 2 else (XRP, "0.4000")
        desk.stop(trigger, "100" if symbol == XRP else "0.100", symbol=symbol)
    with desk.refused(-4045):
        desk.stop("48000")


def test_client_ids_must_be_unique_among_open_orders_of_their_book_only(desk: Desk):
    desk.long()
    desk.limit("51000", newClientOrderId="same")
    desk.stop("49000", clientAlgoId="same")
    with desk.refused(-4116):
        desk.limit("51000", newClientOrderId="same")
    with desk.refused(-4116):
        desk.stop("48000", clientAlgoId="same")
    desk.venue.cancel_order({"symbol": BTC, "origClientOrderId": "same"})
    desk.venue.cancel_algo_order({"clientAlgoId": "same"})
    desk.stop("48000", clientAlgoId="same")


def test_two_market_orders_with_one_id_both_fill(desk: Desk):
    for _ in range(2):
        desk.order(quantity="0.010", side="BUY", newClientOrderId="again")

    assert desk.amount() == Decimal("0.020")


def test_unknown_orders_are_unknown_to_cancel_and_to_query(desk: Desk):
    with desk.refused(-2011):
        desk.venue.cancel_order({"symbol": BTC, "orderId": "1"})
    with desk.refused(-2013):
        desk.venue.get_order({"symbol": BTC, "origClientOrderId": "ghost"})
    with desk.refused(-2011):
        desk.venue.cancel_algo_order({"clientAlgoId": "ghost"})
    with desk.refused(-2013):
        desk.venue.get_algo_order({"algoId": "1"})
    with desk.refused(-1102):
        desk.venue.get_order({"symbol": BTC})


def test_finished_orders_cannot_be_cancelled(desk: Desk):
    filled = desk.order(quantity="0.010", side="BUY")
    with desk.refused(-2011):
        desk.venue.cancel_order({"symbol": BTC, "orderId": str(filled["orderId"])})


def test_reduce_only_is_refused_flat_and_on_the_opening_side(desk: Desk):
    with desk.refused(-2022):
        desk.order(quantity="0.010", reduceOnly="true")
    desk.long()
    with desk.refused(-2022):
        desk.order(quantity="0.010", side="BUY", reduceOnly="true")


def test_resting_reduce_only_orders_may_not_exceed_the_position(desk: Desk):
    desk.long()
    desk.limit("51000", "0.060", reduceOnly="true")
    with desk.refused(-4118):
        desk.limit("52000", "0.050", reduceOnly="true")
    with desk.refused(-2022):
        desk.limit("52000", "0.110", reduceOnly="true")
    desk.limit("52000", "0.040", reduceOnly="true")


def test_hedge_mode_refuses_reduce_only_and_a_missing_position_side():
    desk = Desk(hedge=True)
    desk.long()
    with desk.refused(-1106):
        desk.order(quantity="0.010", positionSide="LONG", reduceOnly="true")
    with desk.refused(-1106):
        desk.stop("49000", positionSide="LONG")
    with desk.refused(-4061):
        desk.order(quantity="0.010")
    with desk.refused(-2022):
        desk.order(quantity="0.010", side="BUY", positionSide="SHORT")
    with desk.refused(-2022):
        desk.order(quantity="0.200", positionSide="LONG")


def test_settings_refuse_what_the_exchange_refuses(desk: Desk):
    with desk.refused(-4028):
        desk.venue.change_leverage({"symbol": BTC, "leverage": "126"})
    with desk.refused(-4028):
        desk.venue.change_leverage({"symbol": BTC, "leverage": "0"})
    with desk.refused(-4046):
        desk.venue.change_margin_type({"symbol": BTC, "marginType": "CROSSED"})
    with desk.refused(-4059):
        desk.venue.change_position_mode({"dualSidePosition": "false"})
    desk.limit("51000")
    with desk.refused(-4047):
        desk.venue.change_margin_type({"symbol": BTC, "marginType": "ISOLATED"})
    with desk.refused(-4067):
        desk.venue.change_position_mode({"dualSidePosition": "true"})
    desk.venue.cancel_all_orders({"symbol": BTC})
    desk.long("10", leverage=50)
    with desk.refused(-4048):
        desk.venue.change_margin_type({"symbol": BTC, "marginType": "ISOLATED"})
    with desk.refused(-4068):
        desk.venue.change_position_mode({"dualSidePosition": "true"})
    with desk.refused(-2028):
        desk.venue.change_leverage({"symbol": BTC, "leverage": "2"})
    with desk.refused(-2027):
        desk.venue.change_leverage({"symbol": BTC, "leverage": "125"})


def test_leverage_of_an_isolated_position_can_only_rise(desk: Desk):
    desk.long(leverage=10, margin="ISOLATED")
    with desk.refused(-4161):
        desk.venue.change_leverage({"symbol": BTC, "leverage": "5"})
    desk.venue.change_leverage({"symbol": BTC, "leverage": "12"})


def test_a_symbol_that_does_not_trade_takes_only_reducing_orders(desk: Desk):
    desk.long()
    desk.venue.core.rules = _edited(lambda symbol: symbol.update(status="SETTLING"))
    with desk.refused(-4141):
        desk.order(quantity="0.010", side="BUY")
    desk.stop("49000", "0.100")
    desk.order(quantity="0.100", reduceOnly="true")
    for status, code in (("CLOSE", -4141), ("TRADING_HALT", -1122), ("PRE_SETTLE", -4140)):
        desk.venue.core.rules = _edited(lambda symbol, status=status: symbol.update(status=status))
        with desk.refused(code):
            desk.order(quantity="0.010", side="BUY")


def test_a_market_order_against_a_torn_market_is_refused(desk: Desk):
    desk.long()
    desk.price("47000", mark="50000")
    with desk.refused(-4131):
        desk.order(quantity="0.100", reduceOnly="true")


def test_a_batch_answers_each_order_for_itself(desk: Desk):
    orders = [
        {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.010"},
        {"symbol": BTC, "side": "SELL", "type": "STOP_MARKET", "stopPrice": "49000", "quantity": "0.010"},
        {"symbol": BTC, "side": "SELL", "type": "MARKET", "quantity": 0.01, "reduceOnly": True},
    ]
    answers = desk.venue.batch_orders({"batchOrders": json.dumps(orders)})

    assert [answer.get("code", answer.get("status")) for answer in answers] == ["NEW", -4120, "NEW"]
    assert desk.amount() == 0
    with desk.refused(-4082):
        desk.venue.batch_orders({"batchOrders": json.dumps(orders * 2)})
    with desk.refused(-1130):
        desk.venue.batch_orders({"batchOrders": "{"})


def test_a_refusal_is_recorded_with_its_request(desk: Desk):
    with desk.refused(-1111):
        desk.order(quantity="0.0101")
    row = desk.venue.rejected[-1]

    assert (row.at, row.code, row.endpoint) == (desk.venue.now, -1111, "v1/order")
    assert row.params["quantity"] == "0.0101"


def _edited(edit) -> RuleBook:
    """Return the built-in rules with BTCUSDT changed."""
    info = json.loads(json.dumps(builtin_rules().exchange_info))
    edit(next(symbol for symbol in info["symbols"] if symbol["symbol"] == BTC))
    return load_rules(info, list(builtin_rules().brackets.values()))
