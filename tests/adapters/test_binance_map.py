"""Payloads to the model: recorded, documented and damaged ones (binance-usdm 5, 4.10)."""

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.adapters.binance_map import account, orders
from tpctl.adapters.binance_map.fields import Malformed
from tpctl.adapters.binance_map.streams import FrameDecoder, MalformedFrame
from tpctl.exits.events import Filled, LeverageChanged, MarginChanged, MarkPrice, ModeSeen, OrderSeen, PositionSeen
from tpctl.exits.instrument import OrderKind, OrderSide, PositionSide, Unavailable
from tpctl.exits.model import Book, MarginMode, OrderStatus, PositionMode, WorkingType

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT

ALGO_ACK = {
    "algoId": 1000000204743716,
    "clientAlgoId": "tpctl-1",
    "algoType": "CONDITIONAL",
    "orderType": "STOP_MARKET",
    "symbol": "BTCUSDT",
    "side": "SELL",
    "positionSide": "BOTH",
    "timeInForce": "GTC",
    "quantity": "0.0007",
    "algoStatus": "NEW",
    "triggerPrice": "74457.10",
    "price": "0.00",
    "icebergQuantity": None,
    "workingType": "MARK_PRICE",
    "closePosition": False,
    "priceProtect": False,
    "reduceOnly": True,
    "createTime": 1789363069186,
    "updateTime": 1789363069186,
    "triggerTime": 0,
}
POSITION = {
    "symbol": "ADAUSDT",
    "positionSide": "BOTH",
    "positionAmt": "30",
    "entryPrice": "0.385",
    "markPrice": "0.41047590",
    "unRealizedProfit": "0.76427700",
    "liquidationPrice": "0",
    "isolatedMargin": "0",
    "isolatedWallet": "0",
    "initialMargin": "0.61571385",
    "maintMargin": "0.08004280",
    "updateTime": 1720736417660,
}
ALGO_UPDATE = {
    "caid": "Q5xaq5EGKgXXa0fD7fs0Ip",
    "aid": 2148719,
    "at": "CONDITIONAL",
    "o": "STOP_MARKET",
    "s": "BNBUSDT",
    "S": "SELL",
    "ps": "BOTH",
    "f": "GTE_GTC",
    "q": "0",
    "X": "NEW",
    "ai": "",
    "tp": "750",
    "p": "0",
    "wt": "CONTRACT_PRICE",
    "cp": True,
    "R": True,
}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def documented(shared_data, name):
    rows = lines(shared_data / "docs_examples_nautilus.jsonl")
    return next(row["body"] for row in rows if row["name"].endswith(f"/{name}.json"))


def decode(payload, mode=None):
    return FrameDecoder(mode).decode(json.dumps(payload).encode())


def algo_update(**changes):
    body = {"e": "ALGO_UPDATE", "T": 1750515742297, "E": 1750515742303, "o": ALGO_UPDATE | changes}
    [event] = decode(body).events
    return event.order


def account_update(*held, mode=None):
    rows = [dict(zip(("s", "pa", "ep", "ps"), row, strict=True)) for row in held]
    frame = decode({"e": "ACCOUNT_UPDATE", "E": 7, "T": 6, "a": {"m": "ORDER", "B": [], "P": rows}}, mode)
    return [(event.key.side, event.quantity, event.entry_price) for event in frame.events]


# REST orders


def test_recorded_orders_of_2023_are_read(shared_data):
    rows = [
        row["ccxt"]["info"] for row in lines(shared_data / "rest_orders_recorded_2023.jsonl") if "info" in row["ccxt"]
    ]
    read = [orders.regular_order(row) for row in rows]

    assert len(read) == 7
    assert {order.position_side for order in read} == {LONG, SHORT}
    filled = next(order for order in read if order.status is OrderStatus.FILLED)
    assert (filled.kind, filled.executed, filled.average_price) == (OrderKind.MARKET, D("0.003"), D("37225.10000"))
    trailing = [order for order in read if order.kind is OrderKind.TRAILING_STOP_MARKET]
    assert [order.trigger for order in trailing] == [D("37453.52"), D("37342.42")]
    assert all(order.reduce_only and order.price is None for order in trailing)


def test_an_acknowledgement_without_average_price_is_read(shared_data):
    row = documented(shared_data, "order_response")
    del row["avgPrice"], row["cumQuote"]

    order = orders.regular_order(row)

    assert (order.book, order.average_price, order.price) == (Book.REGULAR, None, D("50000.00"))
    assert (order.trigger, order.status, order.exchange_id) == (None, OrderStatus.NEW, "12345678")


def test_an_algo_acknowledgement_is_read():
    order = orders.algo_order(ALGO_ACK)

    assert (order.book, order.kind, order.status) == (Book.ALGO, OrderKind.STOP_MARKET, OrderStatus.NEW)
    assert (order.client_id, order.exchange_id) == ("tpctl-1", "1000000204743716")
    assert (order.quantity, order.trigger, order.price) == (D("0.0007"), D("74457.10"), None)
    assert (order.working, order.reduce_only, order.close_position) == (WorkingType.MARK, True, False)
    assert (order.executed, order.child_id, order.updated_at) == (D(0), None, 1789363069186)


def test_list_rows_printed_as_floats_are_read_exactly():
    listed = {"quantity": "7.0E-4", "triggerPrice": "74457.1", "price": "0.0", "actualQty": "0.0"}
    [order] = orders.AlgoList().orders([ALGO_ACK | listed], whole=True)

    assert order == orders.algo_order(ALGO_ACK)


@pytest.mark.parametrize("quantity", ["0", None, ""])
def test_a_close_position_order_has_no_quantity_of_its_own(quantity):
    order = orders.algo_order(ALGO_ACK | {"quantity": quantity, "closePosition": True})

    assert order.close_position
    assert order.quantity == 0


def test_a_triggered_order_names_its_child_and_finished_is_not_filled():
    triggered = {"algoStatus": "FINISHED", "actualOrderId": "8886900", "actualPrice": "0.000000", "actualQty": "0"}
    order = orders.algo_order(ALGO_ACK | triggered)

    assert (order.status, order.child_id) == (OrderStatus.FINISHED, "8886900")
    assert (order.executed, order.average_price) == (D(0), None)


def test_documented_list_rows_are_read_and_execution_algorithms_left_out(shared_data):
    listed = documented(shared_data, "open_algo_orders")
    [order] = orders.AlgoList().orders([*listed, {"algoType": "TWAP", "algoId": 1}], whole=True)

    assert (order.client_id, order.kind, order.closes) == ("test-algo-order-1", OrderKind.STOP_MARKET, SHORT)


def test_a_listed_row_is_read_again_only_where_it_says_something_else():
    """In a list of one symbol what is not there is of the others, and stays known."""
    other = ALGO_ACK | {"algoId": 7, "clientAlgoId": "tpctl-2"}
    listed = orders.AlgoList()
    first, second = listed.orders([dict(ALGO_ACK), dict(other)], whole=True)
    [again] = listed.orders([dict(ALGO_ACK)], whole=False)
    moved, same = listed.orders([ALGO_ACK | {"triggerPrice": "75000.0"}, dict(other)], whole=True)

    assert again is first
    assert same is second
    assert (first.trigger, moved.trigger) == (D("74457.10"), D("75000.0"))
    assert listed.orders([], whole=True) == ()


def test_a_type_we_do_not_know_is_shown_but_never_protection():
    assert not orders.algo_order(ALGO_ACK | {"orderType": "STOP_SOMEHOW"}).kind.protective
    assert not orders.algo_order(ALGO_ACK | {"orderType": "LIMIT"}).kind.protective


def test_a_state_we_do_not_know_is_neither_protection_nor_the_end():
    status = orders.algo_order(ALGO_ACK | {"algoStatus": "PONDERING"}).status

    assert status is not OrderStatus.NEW
    assert not status.terminal


@pytest.mark.parametrize(
    "damage",
    [
        {"algoId": None},
        {"symbol": ""},
        {"side": "UP"},
        {"triggerPrice": "NaN"},
        {"quantity": "1E+99"},
        {"updateTime": "x"},
    ],
)
def test_a_damaged_order_is_refused(damage):
    with pytest.raises(Malformed):
        orders.algo_order(ALGO_ACK | damage)


@pytest.mark.parametrize("payload", [None, {}, "orders", [1], [{}]])
def test_what_is_no_list_of_orders_is_never_an_empty_list(payload):
    with pytest.raises(Malformed):
        orders.AlgoList().orders(payload, whole=True)
    with pytest.raises(Malformed):
        orders.regular_orders(payload)


def test_a_cancel_is_confirmed_by_its_code_which_is_a_text():
    orders.cancelled_algo({"algoId": 1, "clientAlgoId": "a", "code": "200", "msg": "success"})
    with pytest.raises(Malformed):
        orders.cancelled_algo({"algoId": 1, "code": "500"})


def test_an_execution_is_read():
    row = {
        "buyer": False,
        "commission": "0.078",
        "commissionAsset": "USDT",
        "id": 698759,
        "maker": False,
        "orderId": 25851813,
        "price": "7819.01",
        "qty": "0.002",
        "realizedPnl": "-0.91539999",
        "side": "SELL",
        "positionSide": "BOTH",
        "symbol": "BTCUSDT",
        "time": 1569514978020,
    }
    [fill] = orders.fills([row])

    assert (fill.trade_id, fill.order_id, fill.order_side) == (698759, "25851813", OrderSide.SELL)
    assert (fill.fee, fill.realised, fill.at) == (D("0.078"), D("-0.91539999"), 1569514978020)


# REST account


def test_positions_take_their_side_from_the_sign_or_the_leg():
    short = POSITION | {"positionAmt": "-3", "liquidationPrice": "0.61"}
    leg = POSITION | {"positionAmt": "-4", "positionSide": "SHORT"}
    flat = POSITION | {"positionAmt": "0.000"}
    read = account.positions([POSITION, short, leg, flat])

    assert [(item.key.side, item.quantity) for item in read] == [(LONG, 30), (SHORT, 3), (SHORT, 4)]
    assert [item.liquidation_price for item in read] == [None, D("0.61"), None]
    assert (read[0].initial_margin, read[0].unrealised) == (D("0.61571385"), D("0.76427700"))


def test_a_position_without_its_margin_is_refused_not_assumed(shared_data):
    with pytest.raises(Malformed, match="initialMargin"):
        account.positions(documented(shared_data, "position_risk"))


def test_settings_are_read_from_a_list_or_one_object():
    row = {"symbol": "BTCUSDT", "marginType": "CROSSED", "isAutoAddMargin": False, "leverage": 21}
    expected = account.SymbolConfig("BTCUSDT", D(21), MarginMode.CROSS)

    assert account.symbol_config([{"symbol": "A"}, row], "BTCUSDT") == expected
    assert account.symbol_config(row, "BTCUSDT") == expected
    assert isinstance(account.symbol_config([], "BTCUSDT"), Unavailable)
    with pytest.raises(Malformed):
        account.symbol_config([row | {"marginType": "PORTFOLIO"}], "BTCUSDT")


def test_a_wallet_is_read_by_asset(shared_data):
    payload = documented(shared_data, "account_info_v2")
    wallet = account.wallet(payload, "USDT")

    assert (wallet.cross_wallet, wallet.available) == (D("23.72469206"), D("23.72469206"))
    assert isinstance(account.wallet(payload, "USDC"), Unavailable)


def test_position_mode_is_read_and_never_assumed():
    assert account.position_mode({"dualSidePosition": True}) is PositionMode.HEDGE
    assert account.position_mode({"dualSidePosition": "false"}) is PositionMode.ONE_WAY
    with pytest.raises(Malformed):
        account.position_mode({})


def test_position_mode_shows_in_rows_of_positions_where_there_are_any():
    rows = {side: {"positionSide": side} for side in ("BOTH", "LONG", "SHORT")}

    assert account.mode_shown([rows["BOTH"]]) is PositionMode.ONE_WAY
    assert account.mode_shown([rows["LONG"], rows["SHORT"]]) is PositionMode.HEDGE
    assert account.mode_shown([]) is None
    with pytest.raises(Malformed, match="both modes"):
        account.mode_shown([rows["BOTH"], rows["SHORT"]])
    with pytest.raises(Malformed):
        account.mode_shown([{"symbol": "XRPUSDT"}])


def test_fees_and_volume_are_read():
    rates = account.fees({"symbol": "A", "makerCommissionRate": "0.0002", "takerCommissionRate": "0.0005"}, "A")

    assert (rates.maker.fraction, rates.taker.fraction) == (D("0.0002"), D("0.0005"))
    assert account.quote_volume({"quoteVolume": "12.50"}) == D("12.50")
    assert isinstance(account.quote_volume({}), Unavailable)


def test_candles_are_read_and_damaged_ones_refused():
    row = [1789478160000, "76936.20", "76965.50", "76936.10", "76965.40", "20.680", 1789478219999, "1591436.27", 878]
    [candle] = account.candles([row])

    assert (candle.at, candle.open, candle.high, candle.low) == (1789478160000, 76936.2, 76965.5, 76936.1)
    assert (candle.close, candle.quote_volume) == (76965.4, 1591436.27)
    for column in (1, 2, 3, 4, 7):
        with pytest.raises(Malformed):
            account.candles([[*row[:column], "NaN", *row[column + 1 :]]])


def test_rate_limits_are_found_by_type_and_interval():
    limits = [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
    ]
    assert account.weight_limits({"rateLimits": limits}) == (6000, 300, None)


# Streams


def test_the_recorded_user_stream_gives_one_fill_per_execution(shared_data):
    decoder = FrameDecoder()
    frames = [
        decoder.decode(json.dumps(row["frame"]).encode()) for row in lines(shared_data / "user_stream_frames.jsonl")
    ]
    events = [event for frame in frames for event in frame.events]
    fills = [event.fill for event in events if isinstance(event, Filled)]

    assert [fill.trade_id for fill in fills] == [5612428004, 5612520599, 148502631]
    assert sum(frame.ignored for frame in frames) == 2  # TRADE_LITE, which would double them
    close = fills[1]
    assert (close.quantity, close.price, close.realised) == (D("0.002"), D("90853.20"), D("-1.77340000"))
    assert (close.fee, close.fee_asset, close.order_side) == (D("0.09085320"), "USDT", OrderSide.SELL)
    stop = [event.order for event in events if isinstance(event, OrderSeen)][-1]
    assert (stop.kind, stop.trigger, stop.status) == (OrderKind.MARKET, D("0.8500000"), OrderStatus.FILLED)
    held = [(event.key.side, event.quantity) for event in events if isinstance(event, PositionSeen)]
    assert held == [(SHORT, 0), (LONG, D("0.002")), (SHORT, 0), (LONG, 0)]


def test_every_documented_frame_is_read(shared_data):
    rows = lines(shared_data / "docs_examples_nautilus.jsonl")
    frames = {row["name"]: decode(row["body"]) for row in rows if "e" in row["body"]}

    assert len(frames) > 15
    kinds = {name: [type(event) for event in frame.events] for name, frame in frames.items() if "user_data" in name}
    assert kinds.pop("user_data_json/account_update.json") == [PositionSeen, PositionSeen]
    assert kinds.pop("user_data_json/account_update_bnfcr.json") == []
    assert kinds.pop("user_data_json/trade_lite.json") == []
    # An execution comes before the state it led to: fees belong to the end a filled order brings about.
    assert all(found in ([OrderSeen], [Filled, OrderSeen]) for found in kinds.values())


@pytest.mark.parametrize("name", ["order_update_adl", "order_update_calculated", "order_update_insurance"])
def test_what_the_venue_closes_by_force_counts_as_executed(shared_data, name):
    filled, seen = decode(documented(shared_data, name)).events

    assert seen.order.status is OrderStatus.FILLED
    assert filled.fill.quantity == seen.order.quantity


def test_a_liquidation_that_only_begins_executes_nothing(shared_data):
    [seen] = decode(documented(shared_data, "order_update_calculated_pending")).events

    assert seen.order.status is OrderStatus.NEW


def test_algo_updates_tell_what_was_executed_by_quantity_not_by_state():
    finished = algo_update(X="FINISHED", ai="8886900", ap="751.2", aq="0.00", q="0.01")
    assert (finished.status, finished.executed, finished.child_id) == (OrderStatus.FINISHED, D(0), "8886900")

    resting = algo_update(rm="Reduce Only reject")
    assert (resting.book, resting.close_position, resting.reject_reason) == (Book.ALGO, True, None)
    assert algo_update(X="REJECTED", rm="Reduce Only reject").reject_reason == "Reduce Only reject"


def test_one_way_sizes_name_both_sides_the_flat_one_first():
    assert account_update(("A", "0.020", "6563.6", "BOTH")) == [(SHORT, 0, 0), (LONG, D("0.020"), D("6563.6"))]
    assert account_update(("A", "-2", "5.0", "BOTH")) == [(LONG, 0, 0), (SHORT, 2, 5)]
    assert account_update(("A", "0", "0", "BOTH")) == [(SHORT, 0, 0), (LONG, 0, 0)]


def test_in_hedge_mode_an_empty_both_row_says_nothing():
    """Taken at its word it would report both legs flat, and the sweep would take their stops away."""
    legs = [("A", "0", "0", "BOTH"), ("A", "20", "6563.6", "LONG"), ("A", "-10", "6563.8", "SHORT")]
    expected = [(LONG, 20, D("6563.6")), (SHORT, 10, D("6563.8"))]

    assert account_update(*legs) == expected
    assert account_update(*legs, mode=PositionMode.HEDGE) == expected
    assert account_update(legs[0], mode=PositionMode.HEDGE) == []


def test_the_mode_is_learned_from_what_orders_name():
    decoder = FrameDecoder()
    decoder.decode(json.dumps({"e": "ALGO_UPDATE", "E": 1, "T": 1, "o": ALGO_UPDATE | {"ps": "SHORT"}}))
    assert decoder.mode is PositionMode.HEDGE
    decoder.decode(json.dumps({"e": "ALGO_UPDATE", "E": 1, "T": 1, "o": ALGO_UPDATE}))
    assert decoder.mode is PositionMode.ONE_WAY


def test_a_change_of_the_mode_is_told_before_what_shows_it():
    decoder = FrameDecoder(PositionMode.ONE_WAY)

    def algo(at, **more):
        frame = decoder.decode(json.dumps({"e": "ALGO_UPDATE", "E": at, "T": at, "o": ALGO_UPDATE | more}))
        return [event for event in frame.events if isinstance(event, ModeSeen)], type(frame.events[-1])

    assert algo(1) == ([], OrderSeen)
    assert algo(2, ps="SHORT") == ([ModeSeen(2, PositionMode.HEDGE)], OrderSeen)
    assert algo(3, ps="LONG") == ([], OrderSeen)
    held = {"s": "BTCUSDT", "pa": "1", "ep": "9", "ps": "BOTH"}
    frame = decoder.decode(json.dumps({"e": "ACCOUNT_UPDATE", "E": 4, "a": {"m": "ORDER", "P": [held]}}))
    assert frame.events[0] == ModeSeen(4, PositionMode.ONE_WAY)


@pytest.mark.parametrize(("reason", "told"), [("MARGIN_TRANSFER", 1), ("MARGIN_TYPE_CHANGE", 1), ("FUNDING_FEE", 0)])
def test_a_margin_that_was_moved_is_told(reason, told):
    held = [{"s": "BTCUSDT", "pa": amount, "ep": "9", "ps": side} for side, amount in (("LONG", "1"), ("SHORT", "-1"))]
    events = decode({"e": "ACCOUNT_UPDATE", "E": 4, "a": {"m": reason, "P": held}}).events

    assert [event for event in events if isinstance(event, MarginChanged)] == [MarginChanged(4, "BTCUSDT")] * told


def test_leverage_changes_and_expired_keys_are_told():
    [changed] = decode({"e": "ACCOUNT_CONFIG_UPDATE", "E": 9, "T": 8, "ac": {"s": "BTCUSDT", "l": 25}}).events
    expired = decode({"e": "listenKeyExpired", "E": 9, "listenKey": "WsCMN0a4"})

    assert changed == LeverageChanged(9, "BTCUSDT", D(25))
    assert expired.key_expired
    assert decode({"e": "ACCOUNT_CONFIG_UPDATE", "E": 9, "T": 8, "ai": {"j": True}}).events == ()


def mark(symbol="BTCUSDT", price="11794.15000000", **more):
    return {"e": "markPriceUpdate", "E": 1562305380000, "s": symbol, "p": price, "i": "1", "T": 2, "st": 1} | more


@pytest.mark.parametrize("wrap", [lambda m: [m], lambda m: {"stream": "!markPrice@arr@1s", "data": [m]}, lambda m: m])
def test_marks_are_read_in_every_wrapping(wrap):
    assert decode(wrap(mark())).events == (MarkPrice(1562305380000, "BTCUSDT", D("11794.15000000")),)


@pytest.mark.parametrize("raw", [str, str.encode], ids=["text", "bytes"])
def test_marks_written_as_the_exchange_writes_them_are_read_as_any_others(raw):
    """Without spaces the frame of all marks is recognised by its beginning, and read at once."""
    rows = [mark(), mark("ETHUSDT", "NaN"), mark("BTCUSD_PERP", st=2), mark("XRPUSDT", "2.5")]
    spaced = json.dumps({"stream": "!markPrice@arr@1s", "data": rows})
    compact = json.dumps({"stream": "!markPrice@arr@1s", "data": rows}, separators=(",", ":"))
    decoder = FrameDecoder(wanted=lambda: {"BTCUSDT", "ETHUSDT", "BTCUSD_PERP"})

    frame = decoder.decode(raw(compact))

    assert frame == decoder.decode(raw(spaced))
    assert ([event.symbol for event in frame.events], frame.dropped, frame.ignored) == (["BTCUSDT"], 1, 1)
    for damaged in (compact[:-20], compact.replace('"E"', '"F"'), compact.replace('"data":[', '"data":[7,')):
        with pytest.raises(MalformedFrame):
            decoder.decode(raw(damaged))


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "sNaN", "Infinity", "", "x", "1E+99", "1e999999999"])
def test_a_mark_that_is_no_price_is_dropped_and_counted(price):
    frame = decode({"stream": "s", "data": [mark(price=price), mark("ETHUSDT")]})

    assert [event.symbol for event in frame.events] == ["ETHUSDT"]
    assert frame.dropped == 1


def test_only_the_marks_that_are_wanted_become_events():
    wanted = {"ETHUSDT"}
    decoder = FrameDecoder(wanted=lambda: wanted)
    raw = json.dumps([mark(), mark("ETHUSDT")])

    assert [event.symbol for event in decoder.decode(raw).events] == ["ETHUSDT"]
    wanted.add("BTCUSDT")
    assert len(decoder.decode(raw).events) == 2


def test_coin_margined_marks_are_ignored():
    frame = decode([mark("BTCUSD_PERP", st=2), mark()])

    assert [event.symbol for event in frame.events] == ["BTCUSDT"]
    assert (frame.ignored, frame.dropped) == (1, 0)


@pytest.mark.parametrize(
    "frame",
    [{"e": "MARGIN_CALL"}, {"e": "SOMETHING_NEW", "E": 1}, {"result": None, "id": 1}, {"stream": "s", "data": None}],
)
def test_what_is_of_no_interest_is_ignored_and_counted(frame):
    assert decode(frame).ignored == 1
    assert decode(frame).events == ()


@pytest.mark.parametrize("wrap", [lambda b: b, lambda b: {"stream": "s", "data": b}])
def test_barriers_are_told(wrap):
    frame = decode(wrap({"e": "barrier", "E": 60_000, "n": 12}))

    assert (frame.barrier, frame.at) == (12, 60_000)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[1]",
        b'"text"',
        b"[" * 100_000,
        b'{"e":"ORDER_TRADE_UPDATE"}',
        b'{"e":"ALGO_UPDATE","E":1,"T":1,"o":{}}',
        b'{"e":"ACCOUNT_UPDATE","E":-1,"a":{"P":[]}}',
        b'{"e":"ACCOUNT_UPDATE","E":1,"a":{"P":[{"s":"A","pa":"NaN","ep":"1","ps":"BOTH"}]}}',
        b'{"e":"ACCOUNT_UPDATE","E":99999999999999999,"a":{"P":[]}}',
    ],
)
def test_a_frame_that_cannot_be_read_says_so(raw):
    with pytest.raises(MalformedFrame):
        FrameDecoder().decode(raw)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1", "BOTH", "NEW"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
KEYS = [*"eETsSopPqaxXilLnNtmRc", "ps", "caid", "aid", "cp", "ac", "data", "stream", "pa", "ep", "st"]
KINDS = ["markPriceUpdate", "ORDER_TRADE_UPDATE", "ALGO_UPDATE", "ACCOUNT_UPDATE", "listenKeyExpired", "barrier"]
shaped = st.fixed_dictionaries(
    {"e": st.sampled_from(KINDS)},
    optional={key: json_values | st.dictionaries(st.sampled_from(KEYS), json_values) for key in KEYS if key != "e"},
)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64) | (json_values | shaped).map(lambda value: json.dumps(value).encode()))
def test_no_bytes_whatever_raise_anything_but_malformed_frame(raw):
    try:
        frame = FrameDecoder().decode(raw)
    except MalformedFrame:
        return
    assert all(event.price > 0 for event in frame.events if isinstance(event, MarkPrice))


@settings(max_examples=200, deadline=None)
@given(name=st.sampled_from(["order_update_trade", "algo_update_new", "account_update"]), data=st.data())
def test_no_single_damaged_field_raises_anything_but_malformed_frame(name, data):
    body = DAMAGED[name]
    part = {"order_update_trade": "o", "algo_update_new": "o", "account_update": "a"}[name]
    key = data.draw(st.sampled_from(sorted(body[part])))
    damaged = body | {part: body[part] | {key: data.draw(json_values)}}
    try:
        decode(damaged)
    except MalformedFrame:
        return


DAMAGED = {
    "order_update_trade": {
        "e": "ORDER_TRADE_UPDATE",
        "T": 1568879465651,
        "E": 1568879465651,
        "o": {
            "s": "BTCUSDT", "c": "TEST", "S": "BUY", "o": "LIMIT", "q": "0.001", "p": "7100.50", "ap": "7100.50",
            "sp": "0", "x": "TRADE", "X": "PARTIALLY_FILLED", "i": 8886774, "l": "0.001", "z": "0.001", "L": "7100.50",
            "N": "USDT", "n": "0.01", "T": 1568879465651, "t": 12345678, "m": True, "R": False, "ps": "LONG", "rp": "1",
        },
    },
    "algo_update_new": {"e": "ALGO_UPDATE", "T": 1, "E": 1, "o": ALGO_UPDATE},
    "account_update": {
        "e": "ACCOUNT_UPDATE", "T": 1, "E": 1, "a": {"P": [{"s": "A", "pa": "1", "ep": "1", "ps": "BOTH"}]},
    },
}  # fmt: skip
