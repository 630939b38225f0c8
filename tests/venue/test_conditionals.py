"""What conditional orders do: triggers, the order of events, the two-key stop, gaps, orphans, trails, hedge mode."""

from decimal import Decimal

import pytest
from venue_desk import BTC, Desk

from tpctl.venue.quotes import MarketStep, Quote


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_closing_stop_that_fires_tells_the_whole_sequence(desk: Desk):
    desk.long()
    desk.closing("STOP_MARKET", "49000", clientAlgoId="sl")
    desk.closing("TAKE_PROFIT_MARKET", "52000", clientAlgoId="tp")
    desk.story()
    desk.price("48990")

    assert desk.story() == [
        "algo sl TRIGGERING",
        "algo sl TRIGGERED",
        "order sl NEW NEW 0/0.100",
        "trade sl 0.100",
        "order sl TRADE FILLED 0.100/0.100",
        "account ORDER BTCUSDT=0",
        "algo sl FINISHED",
        "algo tp EXPIRED",
    ]
    assert desk.venue.positions() == ()


def test_the_child_order_carries_the_client_id_and_is_found_in_the_regular_book(desk: Desk):
    desk.long()
    desk.stop("49000", clientAlgoId="sl")
    desk.price("48990")
    state = desk.algo_state("sl")
    child = desk.venue.get_order({"symbol": BTC, "orderId": state["actualOrderId"]})

    assert state["algoStatus"] == "FINISHED"
    assert state["actualQty"] == "0.100"
    assert state["triggerTime"] == desk.venue.now
    assert (child["clientOrderId"], child["status"], child["type"], child["origType"]) == (
        "sl",
        "FILLED",
        "MARKET",
        "STOP_MARKET",
    )
    assert state["actualPrice"] == child["avgPrice"] == "48989.90000"


@pytest.mark.parametrize(
    ("side", "kind", "level", "price", "fires"),
    [
        ("LONG", "STOP_MARKET", "49000", "49000", True),
        ("LONG", "STOP_MARKET", "49000", "49000.1", False),
        ("LONG", "TAKE_PROFIT_MARKET", "51000", "51000", True),
        ("LONG", "TAKE_PROFIT_MARKET", "51000", "50999.9", False),
        ("SHORT", "STOP_MARKET", "51000", "51000", True),
        ("SHORT", "STOP_MARKET", "51000", "50999.9", False),
        ("SHORT", "TAKE_PROFIT_MARKET", "49000", "49000", True),
        ("SHORT", "TAKE_PROFIT_MARKET", "49000", "49000.1", False),
    ],
)
def test_equality_triggers_on_the_right_side(side: str, kind: str, level: str, price: str, fires: bool):
    desk = Desk()
    desk.venue.open_position(BTC, side, quantity=Decimal("0.1"))
    desk.closing(kind, level, side="SELL" if side == "LONG" else "BUY")
    desk.price(price)

    assert (desk.amount() == 0) == fires


@pytest.mark.parametrize(("working", "fires"), [("MARK_PRICE", False), ("CONTRACT_PRICE", True), ("", True)])
def test_the_working_type_names_the_price_and_defaults_to_the_last(desk: Desk, working: str, fires: bool):
    desk.long()
    desk.stop("49000", workingType=working)
    desk.price("48990", mark="49500")

    assert (desk.amount() == 0) == fires


def test_the_two_key_stop_closes_once_and_leaves_its_orphan_to_be_rejected(desk: Desk):
    desk.long()
    desk.closing("STOP_MARKET", "48000", clientAlgoId="backstop")
    desk.stop("49000", clientAlgoId="working")
    desk.take("52000", clientAlgoId="tp")
    desk.price("47000")

    assert desk.amount() == 0
    assert desk.algo_state("working")["algoStatus"] == "FINISHED"
    assert desk.algo_state("backstop")["algoStatus"] == "EXPIRED"
    assert desk.algo_state("tp")["algoStatus"] == "NEW"
    desk.story()
    desk.price("52000")
    assert desk.story() == ["algo tp TRIGGERING", "algo tp REJECTED"]
    assert desk.venue.core.books.find_conditional(0, "tp", desk.venue.now).reason == "Reduce Only reject"
    assert len(desk.venue.ledger.fills) == 2


def test_an_orphaned_stop_hits_the_next_position_of_the_same_side(desk: Desk):
    desk.long()
    desk.stop("49000", clientAlgoId="old")
    desk.venue.close_position(BTC, "LONG")
    desk.long("0.200")
    desk.price("49000")

    assert desk.amount() == Decimal("0.100")


def test_a_working_stop_covers_only_its_quantity_and_the_backstop_the_rest(desk: Desk):
    desk.long()
    desk.closing("STOP_MARKET", "48000")
    desk.stop("49000", "0.100")
    desk.venue.add_position(BTC, "LONG", quantity=Decimal("0.05"))
    desk.price("48900")
    assert desk.amount() == Decimal("0.050")
    desk.price("47900")
    assert desk.amount() == 0


def test_a_stop_larger_than_the_position_is_capped_to_it(desk: Desk):
    desk.long()
    desk.stop("49000", "0.100", clientAlgoId="sl")
    desk.venue.close_position(BTC, "LONG", Decimal("0.6"))
    desk.price("48900")

    assert desk.amount() == 0
    assert desk.algo_state("sl")["actualQty"] == "0.040"


def test_a_gap_through_several_levels_takes_them_all_nearest_first(desk: Desk):
    desk.long()
    for name, trigger, quantity in (("tp3", "53000", "0.025"), ("tp1", "51000", "0.040"), ("tp2", "52000", "0.035")):
        desk.take(trigger, quantity, clientAlgoId=name)
    desk.price("54000")

    assert [row.client_id for row in desk.venue.ledger.fills[1:]] == ["tp1", "tp2", "tp3"]
    assert desk.amount() == 0


@pytest.mark.parametrize(
    ("side", "take", "stop", "last", "mark"),
    [("LONG", "50500", "49500", "50600", "49400"), ("SHORT", "49500", "50500", "49400", "50600")],
)
def test_stops_act_before_take_profits_when_one_step_crosses_both(
    side: str, take: str, stop: str, last: str, mark: str
):
    desk = Desk()
    desk.venue.open_position(BTC, side, quantity=Decimal("0.1"))
    closing = "SELL" if side == "LONG" else "BUY"
    desk.take(take, workingType="CONTRACT_PRICE", side=closing, clientAlgoId="tp")
    desk.stop(stop, side=closing, clientAlgoId="sl")
    desk.price(last, mark=mark)

    assert [row.client_id for row in desk.venue.ledger.fills[1:]] == ["sl"]
    assert desk.algo_state("tp")["algoStatus"] == "REJECTED"


def test_a_flip_expires_the_closing_orders_of_the_old_side(desk: Desk):
    desk.long()
    desk.closing("STOP_MARKET", "49000", clientAlgoId="sl")
    desk.stop("48500", clientAlgoId="working")
    desk.limit("51000", "0.100", reduceOnly="true", newClientOrderId="ro")
    desk.venue.flip_position(BTC)

    assert desk.amount() == Decimal("-0.100")
    assert desk.algo_state("sl")["algoStatus"] == "EXPIRED"
    assert desk.algo_state("working")["algoStatus"] == "NEW"
    assert desk.venue.get_order({"symbol": BTC, "origClientOrderId": "ro"})["status"] == "EXPIRED"
    desk.price("48400")
    assert desk.algo_state("working")["algoStatus"] == "REJECTED"
    assert desk.amount() == Decimal("-0.100")


def test_price_protection_holds_a_stop_back_while_mark_and_last_are_torn(desk: Desk):
    desk.long()
    desk.stop("49000", priceProtect="true", clientAlgoId="timid")
    desk.price("51700", mark="48900")
    assert desk.algo_state("timid")["algoStatus"] == "NEW"
    desk.price("49000", mark="48900")
    assert desk.algo_state("timid")["algoStatus"] == "FINISHED"


def test_a_stop_in_a_torn_market_finishes_without_a_fill(desk: Desk):
    """FINISHED does not mean filled: beyond marketTakeBound the market order expires (er 9)."""
    desk.long()
    desk.stop("49000", clientAlgoId="sl")
    desk.venue.user_events()
    desk.price("46000", mark="48900")
    orders = [event["o"] for event in desk.venue.user_events() if event["e"] == "ORDER_TRADE_UPDATE"]

    assert desk.amount() == Decimal("0.100")
    assert [(order["X"], order["er"]) for order in orders] == [("NEW", "0"), ("EXPIRED", "9")]
    assert desk.algo_state("sl")["algoStatus"] == "FINISHED"
    assert desk.algo_state("sl")["actualQty"] == "0"


def test_a_stop_limit_rests_in_the_regular_book_after_its_trigger(desk: Desk):
    desk.long()
    desk.algo("STOP", "49000", price="49100", quantity="0.100", reduceOnly="true", clientAlgoId="sl")
    desk.price("48000")
    assert desk.algo_state("sl")["algoStatus"] == "TRIGGERED"
    assert [order["clientOrderId"] for order in desk.venue.open_orders({})] == ["sl"]
    assert desk.venue.open_algo_orders({}) == []
    desk.price("49100")
    assert desk.algo_state("sl")["algoStatus"] == "FINISHED"
    assert desk.venue.ledger.fills[-1].maker
    assert desk.amount() == 0


def test_a_stop_limit_larger_than_the_position_rests_for_what_there_is(desk: Desk):
    desk.long()
    desk.algo("STOP", "49000", price="49100", quantity="0.100", reduceOnly="true", clientAlgoId="sl")
    desk.venue.close_position(BTC, "LONG", Decimal("0.6"))
    desk.price("48000")

    assert desk.venue.open_orders({})[0]["origQty"] == "0.040"


def test_a_cancelled_child_finishes_its_conditional(desk: Desk):
    desk.long()
    desk.algo("STOP", "49000", price="49100", quantity="0.100", reduceOnly="true", clientAlgoId="sl")
    desk.price("48000")
    desk.venue.cancel_order({"symbol": BTC, "origClientOrderId": "sl"})

    assert desk.algo_state("sl")["algoStatus"] == "FINISHED"
    assert desk.algo_state("sl")["actualQty"] == "0"


def test_an_opening_stop_without_margin_is_rejected_at_its_trigger(desk: Desk):
    desk.stop("49000", "100", reduceOnly="", clientAlgoId="bold")
    desk.price("48990")

    assert desk.algo_state("bold")["algoStatus"] == "REJECTED"
    assert desk.venue.core.books.find_conditional(0, "bold", desk.venue.now).reason == "Margin is insufficient."


@pytest.mark.parametrize(
    ("side", "path", "fires_at"),
    [("LONG", ("51000", "50600", "50489.9"), "50489.9"), ("SHORT", ("49000", "49400", "49490.1"), "49490.1")],
)
def test_a_trail_follows_the_extreme_and_fires_at_its_callback(
    desk: Desk, side: str, path: tuple[str, ...], fires_at: str
):
    desk.venue.open_position(BTC, side, quantity=Decimal("0.1"))
    order_side = "SELL" if side == "LONG" else "BUY"
    desk.algo("TRAILING_STOP_MARKET", "", side=order_side, quantity="0.100", reduceOnly="true", callbackRate="1")
    for price in path:
        assert desk.amount() != 0
        desk.price(price)

    assert desk.amount() == 0
    assert desk.venue.quotes(BTC).last == Decimal(fires_at)


def test_a_trail_waits_for_its_activation_and_tells_it(desk: Desk):
    desk.long()
    params = {"quantity": "0.100", "reduceOnly": "true", "callbackRate": "1", "clientAlgoId": "trail"}
    desk.algo("TRAILING_STOP_MARKET", "", activatePrice="51000", **params)
    desk.price("50900")
    desk.price("50000")
    assert desk.amount() == Decimal("0.100")
    first = [event["o"]["ia"] for event in desk.venue.user_events() if event["e"] == "ALGO_UPDATE"]
    desk.price("51000")
    second = [(event["o"]["X"], event["o"]["ia"]) for event in desk.venue.user_events()]
    desk.price("50490")

    assert (first, second) == ([False], [("NEW", True)])
    assert desk.amount() == 0


def test_good_till_date_expires_a_conditional(desk: Desk):
    desk.long()
    until = str(desk.venue.now + 700_000)
    desk.stop("49000", timeInForce="GTD", goodTillDate=until, clientAlgoId="sl")
    desk.prices(at=desk.venue.now + 800_000, BTCUSDT="48000")

    assert desk.algo_state("sl")["algoStatus"] == "EXPIRED"
    assert desk.amount() == Decimal("0.100")


def test_hedge_legs_are_closed_by_their_own_orders():
    desk = Desk(hedge=True)
    desk.long("0.100")
    desk.short("0.200")
    desk.closing("STOP_MARKET", "49000", positionSide="LONG", clientAlgoId="long")
    desk.closing("TAKE_PROFIT_MARKET", "49000", positionSide="SHORT", side="BUY", clientAlgoId="short")
    desk.algo("STOP_MARKET", "48000", positionSide="LONG", quantity="0.100", clientAlgoId="orphan")
    desk.price("48900")

    assert desk.venue.positions() == ()
    assert [row.client_id for row in desk.venue.ledger.fills[2:]] == ["long", "short"]
    desk.price("47900")
    assert desk.algo_state("orphan")["algoStatus"] == "REJECTED"
    assert desk.venue.positions() == ()


def test_a_hedge_stop_larger_than_its_leg_is_capped():
    desk = Desk(hedge=True)
    desk.long("0.100")
    desk.algo("STOP_MARKET", "49000", positionSide="LONG", quantity="0.200")
    desk.price("48900")

    assert desk.amount(side="LONG") == 0


def test_the_two_books_are_cancelled_apart(desk: Desk):
    desk.long()
    desk.stop("49000")
    desk.limit("51000")
    desk.venue.cancel_all_orders({"symbol": BTC})
    assert (len(desk.venue.open_orders({})), len(desk.venue.open_algo_orders({}))) == (0, 1)
    desk.limit("51000")
    desk.venue.cancel_all_algo_orders({"symbol": BTC})
    assert (len(desk.venue.open_orders({})), len(desk.venue.open_algo_orders({}))) == (1, 0)


def test_a_closing_order_is_exempt_from_the_market_lot_size():
    desk = Desk(wallet=Decimal(100_000_000))
    for _ in range(2):
        desk.long("100", leverage=5)
    desk.closing("STOP_MARKET", "49000")
    desk.price("48900")

    assert desk.venue.ledger.fills[-1].quantity == Decimal("200.000")


def test_a_jammed_trigger_leaves_the_position_naked(desk: Desk):
    desk.long()
    desk.stop("49000", clientAlgoId="sl")
    desk.venue.jam("sl")
    desk.price("48900")
    with desk.refused(-4117):
        desk.venue.cancel_algo_order({"clientAlgoId": "sl"})
    for _ in range(3):
        desk.price("48800")

    assert desk.algo_state("sl")["algoStatus"] == "TRIGGERING"
    assert [row["algoStatus"] for row in desk.venue.open_algo_orders({})] == ["TRIGGERING"]
    assert desk.amount() == Decimal("0.100")
    with desk.refused(-2011):
        desk.venue.cancel_algo_order({"clientAlgoId": "sl"})


def test_the_exchange_may_drop_an_order_by_itself(desk: Desk):
    desk.long()
    desk.stop("49000", clientAlgoId="sl")
    desk.story()
    desk.venue.drop("sl")

    assert desk.story() == ["algo sl EXPIRED"]
    assert desk.venue.open_algo_orders({}) == []


def test_unfilled_orders_are_forgotten_after_three_days_and_filled_ones_after_ninety(desk: Desk):
    desk.long()
    desk.stop("48000", clientAlgoId="cancelled")
    desk.venue.cancel_algo_order({"clientAlgoId": "cancelled"})
    desk.stop("49000", clientAlgoId="filled")
    desk.price("48900")
    day = 86_400_000
    desk.venue.step(MarketStep(desk.venue.now + 3 * day + 1, (Quote(BTC, Decimal(48900), Decimal(48900)),)))
    with desk.refused(-2013):
        desk.algo_state("cancelled")
    assert desk.algo_state("filled")["algoStatus"] == "FINISHED"
    desk.venue.step(MarketStep(desk.venue.now + 90 * day, (Quote(BTC, Decimal(48900), Decimal(48900)),)))
    with desk.refused(-2013):
        desk.algo_state("filled")
