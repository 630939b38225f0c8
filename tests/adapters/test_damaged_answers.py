"""Answers of the exchange, damaged anywhere: an error that says so, never a crash, never a guess."""

import copy
import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.adapters.binance_map import account, orders
from tpctl.adapters.binance_map.fields import Malformed
from tpctl.adapters.binance_map.streams import FrameDecoder
from tpctl.exits.instrument import Unavailable
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.venue import Venue

BTC = "BTCUSDT"
START = 1_700_000_100_000


def _answers() -> dict[str, Any]:
    """Return one answer of the twin to every read that is mapped."""
    venue = Venue(builtin_rules(), start_ms=START)
    venue.step(MarketStep(START, (Quote(BTC, Decimal(50_000), Decimal(50_000)),)))
    venue.open_position(BTC, "LONG", quantity=Decimal("0.100"))
    stop = {
        "algoType": "CONDITIONAL", "symbol": BTC, "side": "SELL", "type": "STOP_MARKET", "triggerPrice": "49000",
        "workingType": "MARK_PRICE", "clientAlgoId": "sl", "quantity": "0.100", "reduceOnly": "true",
    }  # fmt: skip
    limit = {
        "symbol": BTC, "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "price": "51000", "quantity": "0.010",
        "reduceOnly": "true", "newClientOrderId": "tp",
    }  # fmt: skip
    made: dict[str, Any] = {"algo_ack": venue.new_algo_order(stop), "order_ack": venue.new_order(limit)}
    return made | {
        "order": venue.get_order({"symbol": BTC, "origClientOrderId": "tp"}),
        "orders": venue.open_orders({}),
        "algo": venue.get_algo_order({"clientAlgoId": "sl"}),
        "algos": venue.open_algo_orders({}),
        "cancelled": venue.cancel_algo_order({"clientAlgoId": "sl"}),
        "trades": venue.user_trades({"symbol": BTC}),
        "positions": venue.position_risk_v3({}),
        "mode": venue.account_config({}),
        "config": venue.symbol_config({"symbol": BTC}),
        "wallet": venue.account_v3({}),
        "fees": venue.commission_rate({"symbol": BTC}),
        "premium": venue.premium_index({"symbol": BTC}),
        "book": venue.book_ticker({"symbol": BTC}),
        "last": venue.ticker_price({"symbol": BTC}),
        "funding": [
            {"symbol": BTC, "incomeType": "FUNDING_FEE", "income": "-0.37", "asset": "USDT", "time": START, "tranId": 9}
        ],
        "time": {"serverTime": START},
        "candles": [[START, "1", "2", "0.5", "1.5", "10", START + 59_999, "15", 7, "5", "7", "0"]],
        "limits": {"rateLimits": venue.exchange_info({})["rateLimits"]},
    }


ANSWERS = _answers()
READERS: dict[str, Callable[[Any], object]] = {
    "algo_ack": orders.algo_order,
    "order_ack": orders.regular_order,
    "order": orders.regular_order,
    "orders": orders.regular_orders,
    "algo": orders.algo_order,
    "algos": lambda payload: orders.AlgoList().orders(payload, whole=True),
    "cancelled": orders.cancelled_algo,
    "trades": orders.fills,
    "positions": lambda payload: (account.positions(payload), account.mode_shown(payload)),
    "mode": account.position_mode,
    "config": lambda payload: account.symbol_config(payload, BTC),
    "wallet": lambda payload: account.wallet(payload, "USDT"),
    "fees": lambda payload: account.fees(payload, BTC),
    "premium": account.premium,
    "book": account.top_of_book,
    "last": account.last_price,
    "funding": account.funding_fees,
    "time": account.server_time,
    "candles": account.candles,
    "limits": account.weight_limits,
}

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["", "NaN", "1e999999", "-1", "0", "BOTH", "LONG", "NEW", "\u0661", [], {}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, entry in inner for place in _places(entry, (*path, key)))]


def _damaged(payload: Any, place: tuple[Any, ...], value: Any, *, gone: bool) -> Any:
    if not place:
        return value
    payload = copy.deepcopy(payload)
    holder = payload
    for key in place[:-1]:
        holder = holder[key]
    if gone:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return payload


@pytest.mark.parametrize("name", ANSWERS)
def test_the_whole_answer_is_read(name: str) -> None:
    assert not isinstance(READERS[name](ANSWERS[name]), Unavailable)


@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_an_answer_damaged_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(ANSWERS)))
    place = data.draw(st.sampled_from(_places(ANSWERS[name])))
    damaged = _damaged(ANSWERS[name], place, data.draw(junk), gone=data.draw(st.booleans()))
    try:
        READERS[name](damaged)
    except Malformed:
        return


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("order", "symbol side positionSide status origQty executedQty price clientOrderId type"),
        ("order_ack", "symbol side positionSide status origQty executedQty price clientOrderId type"),
        ("algo", "symbol side positionSide algoStatus quantity triggerPrice clientAlgoId orderType workingType"),
        ("algo_ack", "symbol side positionSide algoStatus quantity triggerPrice clientAlgoId orderType workingType"),
        ("trades", "symbol side positionSide qty price id orderId commission realizedPnl time"),
        ("positions", "symbol positionSide positionAmt entryPrice markPrice liquidationPrice isolatedWallet"),
        ("mode", "dualSidePosition"),
        ("premium", "markPrice"),
        ("last", "price"),
        ("funding", "symbol income time"),
        ("time", "serverTime"),
        ("cancelled", "code"),
    ],
)
def test_what_decides_is_never_assumed(name: str, needed: str) -> None:
    assumed = []
    for key in needed.split():
        payload = copy.deepcopy(ANSWERS[name])
        del (payload[0] if isinstance(payload, list) else payload)[key]
        try:
            READERS[name](payload)
        except Malformed:
            continue
        assumed.append(key)
    assert assumed == []


@pytest.mark.parametrize(
    ("name", "separator", "most"),
    [("ws_btcusdt_20240808.jsonl.gz", " ", 5_000), ("ws_multi_20210417.txt.gz", ": ", 5_000)],
)
def test_every_recorded_market_frame_is_read(shared_data: Any, name: str, separator: str, most: int) -> None:
    decoder, read, ignored = FrameDecoder(), 0, 0
    with gzip.open(shared_data / name, "rt") as lines:
        for line in lines:
            _, found, frame = line.partition(separator)
            if not found or not frame.startswith("{"):
                continue
            taken = decoder.decode(frame.strip().encode())
            assert taken.events == ()
            ignored += taken.ignored
            read += 1
            if read == most:
                break
    assert read == ignored >= 3_000
    with pytest.raises(Malformed):
        decoder.decode(json.dumps(frame)[:-3].encode())
