"""The answers have the exchange's shapes: keys, string or bare numbers, the quirks of binance-usdm 4.10 and 5."""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from venue_desk import BTC, XRP, Desk

from tpctl.exits.errors import InputsError
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.routes import ROUTES
from tpctl.venue.rulebook import builtin_rules, load_rules
from tpctl.venue.wire import double_text, fixed

# The samples of binance-usdm 5.2 to 5.4, by their keys.
SHAPES = {
    "position_risk_v3": "symbol positionSide positionAmt entryPrice breakEvenPrice markPrice unRealizedProfit"
    " liquidationPrice isolatedMargin notional marginAsset isolatedWallet initialMargin maintMargin"
    " positionInitialMargin openOrderInitialMargin adl bidNotional askNotional updateTime",
    "position_risk_v2": "entryPrice breakEvenPrice marginType isAutoAddMargin isolatedMargin leverage liquidationPrice"
    " markPrice maxNotionalValue positionAmt notional isolatedWallet symbol unRealizedProfit positionSide updateTime",
    "balance_v3": "accountAlias asset balance crossWalletBalance crossUnPnl availableBalance maxWithdrawAmount"
    " marginAvailable updateTime",
    "account_config": "feeTier canTrade canDeposit canWithdraw dualSidePosition updateTime multiAssetsMargin"
    " tradeGroupId",
    "symbol_config": "symbol marginType isAutoAddMargin leverage maxNotionalValue",
    "open_orders": "avgPrice clientOrderId cumQuote executedQty orderId origQty origType price reduceOnly side"
    " positionSide status stopPrice closePosition symbol time timeInForce type updateTime workingType priceProtect"
    " priceMatch selfTradePreventionMode goodTillDate",
    "open_algo_orders": "algoId clientAlgoId algoType orderType symbol side positionSide timeInForce quantity"
    " algoStatus triggerPrice price icebergQuantity selfTradePreventionMode workingType priceMatch closePosition"
    " priceProtect reduceOnly createTime updateTime triggerTime goodTillDate activatePrice callbackRate"
    " actualOrderId actualPrice actualQty tpOrderType",
    "user_trades": "buyer commission commissionAsset id maker orderId price qty quoteQty baseQty marginAsset"
    " realizedPnl side positionSide symbol pair time",
    "premium_index": "symbol markPrice indexPrice estimatedSettlePrice lastFundingRate interestRate nextFundingTime"
    " time",
    "book_ticker": "symbol bidPrice bidQty askPrice askQty time lastUpdateId",
    "ticker_price": "symbol price time",
    "commission_rate": "symbol makerCommissionRate takerCommissionRate rpiCommissionRate",
    "income": "symbol incomeType income asset info time tranId tradeId",
}
ACK = (
    "clientOrderId cumQty executedQty orderId origQty price reduceOnly side positionSide status stopPrice"
    " closePosition symbol timeInForce type origType updateTime workingType priceProtect priceMatch"
    " selfTradePreventionMode goodTillDate"
)


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.long("0.100")
    desk.limit("51000", "0.010", reduceOnly="true")
    desk.stop("49000", "0.070", clientAlgoId="sl")
    return desk


@pytest.mark.parametrize("name", SHAPES)
def test_an_answer_has_the_documented_keys(desk: Desk, name: str):
    answer = getattr(desk.venue, name)({"symbol": BTC})
    row = answer[0] if isinstance(answer, list) else answer

    assert set(row) == set(SHAPES[name].split())
    json.dumps(answer)


def test_the_acknowledgement_has_the_documented_keys(desk: Desk):
    answer = desk.limit("52000")

    assert set(answer) == set(ACK.split())
    assert desk.venue.cancel_order({"symbol": BTC, "orderId": str(answer["orderId"])})["status"] == "CANCELED"


def test_every_route_answers_json_and_names_a_method(desk: Desk):
    for (method, path), route in ROUTES.items():
        assert callable(getattr(desk.venue, route.name)), path
        if method == "GET" and "rder" not in route.name:
            json.dumps(desk.venue.call(method, path, {"symbol": BTC}))


def test_weights_depend_on_the_symbol_where_they_do():
    assert ROUTES["GET", "v1/openAlgoOrders"].weight_of({}) == 40
    assert ROUTES["GET", "v1/openAlgoOrders"].weight_of({"symbol": BTC}) == 1
    assert ROUTES["POST", "v1/algoOrder"].weight_of({}) == 0
    assert ROUTES["POST", "v1/algoOrder"].order_count == 1
    assert ROUTES["GET", "v1/commissionRate"].weight_of({}) == 20


def test_a_closing_order_is_answered_as_gte_with_quantity_zero(desk: Desk):
    answer = desk.closing("STOP_MARKET", "48000")

    assert (answer["timeInForce"], answer["quantity"], answer["closePosition"], answer["reduceOnly"]) == (
        "GTE_GTC",
        "0",
        True,
        True,
    )


def test_the_cancel_code_is_a_string_for_one_and_a_number_for_all(desk: Desk):
    assert desk.venue.cancel_algo_order({"clientAlgoId": "sl"})["code"] == "200"
    assert desk.venue.cancel_all_algo_orders({"symbol": BTC})["code"] == 200
    assert desk.venue.cancel_all_orders({"symbol": BTC})["code"] == 200


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.0007", "7.0E-4"),
        ("0.07", "0.07"),
        ("74457.10", "74457.1"),
        ("0", "0.0"),
        ("0.00", "0.0"),
        ("320", "320.0"),
        ("0.001", "0.001"),
        ("0.00012345", "1.2345E-4"),
        ("10000000", "1.0E7"),
        ("12345678.5", "1.23456785E7"),
        ("9999999", "9999999.0"),
    ],
)
def test_open_algo_orders_print_numbers_as_doubles(value: str, text: str):
    assert double_text(Decimal(value)) == text


def test_money_never_prints_a_negative_zero():
    assert fixed(Decimal("-0.000000001")) == "0.00000000"


def test_open_algo_orders_use_that_form(desk: Desk):
    row = desk.venue.open_algo_orders({"symbol": BTC})[0]

    assert (row["quantity"], row["triggerPrice"], row["price"]) == ("0.07", "49000.0", "0.0")
    assert desk.algo_state("sl")["triggerPrice"] == "49000.00"


def test_short_positions_have_negative_amount_and_notional():
    desk = Desk()
    desk.short("0.100")
    row = desk.venue.position_risk_v3({})[0]

    assert (row["positionAmt"], row["notional"]) == ("-0.100", "-5000.00000000")


def test_flat_symbols_are_listed_by_v2_only(desk: Desk):
    assert desk.venue.position_risk_v3({"symbol": XRP}) == []
    assert desk.venue.position_risk_v2({"symbol": XRP})[0]["positionAmt"] == "0.0"
    assert [row["symbol"] for row in desk.venue.position_risk_v3({})] == [BTC]


def test_hedge_mode_lists_both_sides():
    desk = Desk(hedge=True)
    desk.long()
    desk.short()

    assert [row["positionSide"] for row in desk.venue.position_risk_v3({})] == ["LONG", "SHORT"]
    assert desk.venue.position_mode({}) == {"dualSidePosition": True}


def test_brackets_are_bare_numbers_in_a_list_or_one_object(desk: Desk):
    single = desk.venue.leverage_bracket({"symbol": BTC})
    every = desk.venue.leverage_bracket({})

    assert single in every
    assert single["brackets"][0] == {
        "bracket": 1,
        "initialLeverage": 125,
        "notionalCap": 300000,
        "notionalFloor": 0,
        "maintMarginRatio": 0.004,
        "cum": 0.0,
    }


def test_exchange_info_ignores_the_symbol(desk: Desk):
    assert desk.venue.exchange_info({"symbol": BTC}) == desk.venue.exchange_info({})
    assert len(desk.venue.exchange_info({})["symbols"]) == len(builtin_rules().symbols)


def test_order_updates_have_the_recorded_keys(desk: Desk, shared_data: Path):
    recorded = [json.loads(line)["frame"] for line in (shared_data / "user_stream_frames.jsonl").open()]
    samples: dict[str, dict[str, Any]] = {}
    for frame in recorded:
        samples.setdefault(frame["e"], frame)
    desk.venue.close_position(BTC, "LONG")
    made = {event["e"]: event for event in desk.venue.user_events()}

    assert set(samples["ORDER_TRADE_UPDATE"]["o"]) <= set(made["ORDER_TRADE_UPDATE"]["o"])
    assert set(samples["TRADE_LITE"]) == set(made["TRADE_LITE"])
    assert set(samples["ACCOUNT_UPDATE"]["a"]["P"][0]) == set(made["ACCOUNT_UPDATE"]["a"]["P"][0])
    for key, value in samples["ORDER_TRADE_UPDATE"]["o"].items():
        assert type(value) is type(made["ORDER_TRADE_UPDATE"]["o"][key]), key


def test_the_full_recorded_rule_book_loads(shared_data: Path):
    info = json.loads(gzip.decompress((shared_data / "exchangeInfo_mainnet_20250811.json.gz").read_bytes()))
    tiers = json.loads(gzip.decompress((shared_data / "leverage_tiers_20250814.json.gz").read_bytes()))
    book = load_rules(info, tiers)

    assert len(book.symbols) == 550
    assert book.symbols[BTC].tiers == builtin_rules().symbols[BTC].tiers
    assert book.exchange_info is info["info"]


def test_a_malformed_rule_book_is_an_inputs_error():
    with pytest.raises(InputsError):
        load_rules({"symbols": [{}]}, [])


def test_time_must_not_run_backwards_and_prices_must_be_prices(desk: Desk):
    with pytest.raises(ValueError, match="backwards"):
        desk.venue.step(MarketStep(desk.venue.now - 1, ()))
    with pytest.raises(InputsError):
        desk.venue.step(MarketStep(desk.venue.now, (Quote(BTC, Decimal(0), Decimal(1)),)))
    with pytest.raises(InputsError):
        desk.venue.step(MarketStep(desk.venue.now, (Quote("NOPE", Decimal(1), Decimal(1)),)))
