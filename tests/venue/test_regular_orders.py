"""What regular orders do: acknowledgements, prices, resting limits, reduce-only bookkeeping, depth, amendments."""

from decimal import Decimal

import pytest
from venue_desk import BTC, XRP, Desk

from tpctl.venue.core import Terms


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_default_answer_acknowledges_and_the_result_answer_tells_the_fill(desk: Desk):
    ack = desk.order(quantity="0.010", side="BUY")
    result = desk.order(quantity="0.010", side="BUY", newOrderRespType="RESULT")

    assert (ack["status"], ack["executedQty"]) == ("NEW", "0")
    assert (result["status"], result["executedQty"]) == ("FILLED", "0.010")
    assert not {"avgPrice", "cumQuote"} & (ack.keys() | result.keys())
    queried = desk.venue.get_order({"symbol": BTC, "orderId": str(ack["orderId"])})
    assert (queried["status"], queried["avgPrice"]) == ("FILLED", "50000.10000")


def test_market_orders_pay_half_a_spread_and_the_impact_of_their_size():
    desk = Desk(wallet=Decimal(10_000_000))
    desk.order(quantity="0.010", side="BUY")
    desk.order(quantity="0.010", side="SELL")
    desk.order(quantity="100", side="BUY")

    assert [row.price for row in desk.venue.ledger.fills] == [
        Decimal("50000.1"),
        Decimal("49999.9"),
        Decimal("50025.1"),
    ]


def test_slippage_is_paid_on_top():
    desk = Desk(slippage_bps=Decimal(10))
    desk.order(quantity="0.010", side="SELL")

    assert desk.venue.ledger.fills[0].price == Decimal("49949.9")


def test_a_resting_limit_fills_as_maker_at_its_price_when_touched(desk: Desk):
    desk.long()
    desk.limit("51000", "0.100", reduceOnly="true", newClientOrderId="tp")
    desk.price("50999.9")
    assert desk.amount() == Decimal("0.100")
    desk.story()
    desk.price("51000")

    assert desk.story() == ["trade tp 0.100", "order tp TRADE FILLED 0.100/0.100", "account ORDER BTCUSDT=0"]
    row = desk.venue.ledger.fills[-1]
    assert (row.maker, row.price, row.fee) == (True, Decimal(51000), Decimal("1.02"))


def test_a_crossing_limit_takes_at_the_market_not_at_its_price(desk: Desk):
    answer = desk.limit("51000", side="BUY", newOrderRespType="RESULT")

    assert answer["status"] == "FILLED"
    assert desk.venue.ledger.fills[0].price == Decimal("50000.1")
    assert not desk.venue.ledger.fills[0].maker


def test_immediate_or_cancel_expires_what_it_cannot_take(desk: Desk):
    answer = desk.limit("49000", side="BUY", timeInForce="IOC", newOrderRespType="RESULT")

    assert (answer["status"], answer["executedQty"]) == ("EXPIRED", "0")


def test_a_reduce_only_market_order_is_capped_to_the_position(desk: Desk):
    desk.long()
    answer = desk.order(quantity="0.500", reduceOnly="true", newOrderRespType="RESULT")

    assert (answer["status"], answer["executedQty"]) == ("FILLED", "0.100")
    assert desk.amount() == 0


def test_without_reduce_only_the_same_order_opens_the_other_side(desk: Desk):
    desk.long()
    desk.order(quantity="0.500")

    assert desk.amount() == Decimal("-0.400")


def test_resting_reduce_only_orders_expire_worst_first_when_the_position_shrinks(desk: Desk):
    desk.long()
    for price, quantity in (("51000", "0.040"), ("52000", "0.035"), ("53000", "0.025")):
        desk.limit(price, quantity, reduceOnly="true", newClientOrderId=price)
    desk.venue.user_events()
    desk.venue.close_position(BTC, "LONG", Decimal("0.3"))
    expired = [
        (event["o"]["c"], event["o"]["er"])
        for event in desk.venue.user_events()
        if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["x"] == "EXPIRED"
    ]

    assert expired == [("52000", "4")]
    assert [order["clientOrderId"] for order in desk.venue.open_orders({})] == ["51000", "53000"]


def test_all_reduce_only_orders_expire_when_flat_and_others_stay(desk: Desk):
    desk.long()
    desk.limit("51000", "0.100", reduceOnly="true")
    desk.limit("49000", "0.010", side="BUY", newClientOrderId="entry")
    desk.venue.close_position(BTC, "LONG")

    assert [order["clientOrderId"] for order in desk.venue.open_orders({})] == ["entry"]


def test_thin_depth_fills_over_several_steps():
    desk = Desk(terms=Terms(depth=Decimal(2000)))
    desk.order(quantity="0.100", side="BUY", newClientOrderId="big")
    assert desk.story() == [
        "order big NEW NEW 0/0.100",
        "trade big 0.040",
        "order big TRADE PARTIALLY_FILLED 0.040/0.100",
        "account ORDER BTCUSDT=0.04",
    ]
    desk.price("50000")
    desk.price("50000")

    assert desk.amount() == Decimal("0.100")
    assert [row.quantity for row in desk.venue.ledger.fills] == [Decimal("0.040"), Decimal("0.040"), Decimal("0.020")]
    assert desk.venue.open_orders({}) == []


def test_a_stop_in_thin_depth_stays_triggered_until_it_is_done():
    desk = Desk(terms=Terms(depth=Decimal(6000)))
    desk.long()
    desk.price("50000")
    desk.closing("STOP_MARKET", "49000", clientAlgoId="sl")
    desk.venue.core.terms = Terms(depth=Decimal(2000))
    desk.price("48900")
    assert desk.algo_state("sl")["algoStatus"] == "TRIGGERED"
    assert desk.amount() == Decimal("0.060")
    desk.venue.close_position(BTC, "LONG", Decimal("0.5"))
    for _ in range(3):
        desk.price("48900")

    assert desk.amount() == 0
    assert desk.algo_state("sl")["algoStatus"] == "FINISHED"


def test_an_amended_limit_keeps_its_id_and_tells_the_amendment(desk: Desk):
    placed = desk.limit("51000", "0.010", side="SELL", newClientOrderId="a")
    desk.venue.user_events()
    change = {"symbol": BTC, "side": "SELL", "origClientOrderId": "a", "quantity": "0.020", "price": "51500"}
    answer = desk.venue.modify_order(change | {"modifyId": "7"})
    event = desk.venue.user_events()[0]["o"]

    assert (answer["orderId"], answer["origQty"], answer["price"], answer["modifyId"]) == (
        placed["orderId"],
        "0.020",
        "51500.00",
        7,
    )
    assert (event["x"], event["X"], event["M"]) == ("AMENDMENT", "NEW", 7)
    with desk.refused(-5027):
        desk.venue.modify_order(change)
    with desk.refused(-4014):
        desk.venue.modify_order(change | {"price": "51500.05"})


def test_the_countdown_cancels_regular_orders_of_its_symbol_only(desk: Desk):
    desk.long()
    desk.limit("51000")
    desk.stop("49000")
    desk.limit("0.6000", "100", symbol=XRP)
    assert desk.venue.countdown_cancel_all({"symbol": BTC, "countdownTime": "5000"}) == {
        "symbol": BTC,
        "countdownTime": "5000",
    }
    for _ in range(5):
        desk.price("50000")

    assert [order["symbol"] for order in desk.venue.open_orders({})] == [XRP]
    assert len(desk.venue.open_algo_orders({})) == 1


def test_trades_and_orders_are_listed_by_time_and_id(desk: Desk):
    desk.long()
    since = desk.venue.now + 1
    desk.price("50100")
    desk.venue.close_position(BTC, "LONG")
    trades = desk.venue.user_trades({"symbol": BTC})

    assert [trade["side"] for trade in trades] == ["BUY", "SELL"]
    assert desk.venue.user_trades({"symbol": BTC, "startTime": str(since)}) == trades[1:]
    assert desk.venue.user_trades({"symbol": BTC, "fromId": str(trades[1]["id"])}) == trades[1:]
    assert len(desk.venue.all_orders({"symbol": BTC, "limit": "1"})) == 1
    assert [row["incomeType"] for row in desk.venue.income({})] == ["COMMISSION", "REALIZED_PNL", "COMMISSION"]


def test_a_flip_counts_as_one_order_and_jumps_the_sign(desk: Desk):
    desk.long()
    desk.venue.flip_position(BTC)
    row = desk.venue.ledger.fills[-1]

    assert (row.before, row.after) == (Decimal("0.100"), Decimal("-0.100"))
    assert desk.venue.positions()[0].entry == row.price


def test_a_crossing_limit_never_pays_worse_than_its_price():
    desk = Desk(wallet=Decimal(10_000_000))
    desk.limit("50000.1", "100", side="BUY")

    assert desk.venue.ledger.fills[0].price == Decimal("50000.1")


def test_an_order_is_found_under_its_own_symbol_and_as_long_as_it_is_remembered(desk: Desk):
    placed = desk.limit("51000", newClientOrderId="x")
    with desk.refused(-2013):
        desk.venue.get_order({"symbol": XRP, "orderId": str(placed["orderId"])})
    desk.venue.cancel_order({"symbol": BTC, "origClientOrderId": "x"})
    desk.prices(at=desk.venue.now + 3 * 86_400_000, BTCUSDT="50000")
    assert desk.venue.get_order({"symbol": BTC, "origClientOrderId": "x"})["status"] == "CANCELED"
    desk.price("50000")
    with desk.refused(-2013):
        desk.venue.get_order({"symbol": BTC, "origClientOrderId": "x"})
