"""The served twin as a plain HTTP and websocket client sees it."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

import aiohttp
import pytest

from tpctl.exits.errors import UsageError
from tpctl.market.bars import BarSeries
from tpctl.venue.auth import KeyPair, Tolerance, check_key, check_signature, check_time, sign
from tpctl.venue.entries import NoEntries, SeededEntries
from tpctl.venue.limits import Gate, Limits, ListenKeys, ThrottledError
from tpctl.venue.market.synthetic import START_MS, SyntheticMarket
from tpctl.venue.pace import Pace, parse_speed
from tpctl.venue.quotes import MarketStep
from tpctl.venue.refusals import VenueError
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.server import Served, serve
from tpctl.venue.venue import Venue

SYMBOLS = ("XRPUSDT", "BTCUSDT")
MINUTE = 60_000


@dataclass
class ShortMarket:
    """The synthetic market's first steps."""

    length: int
    symbols: tuple[str, ...] = SYMBOLS
    start_ms: int = START_MS
    step_ms: int = 5_000

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.length * self.step_ms

    def steps(self) -> Iterator[MarketStep]:
        return islice(SyntheticMarket(1, self.symbols).steps(), self.length)

    def history(self, symbol: str) -> tuple[BarSeries, ...]:
        return SyntheticMarket(1, self.symbols).history(symbol)


class Client:
    """A hand-written client: signs as the exchange asks, reads frames until a barrier."""

    def __init__(self, served: Served, session: aiohttp.ClientSession) -> None:
        self.served = served
        self.session = session

    async def ask(
        self, method: str, path: str, params: dict[str, Any] | None = None, *, signed: bool = False, key: str = "sim"
    ) -> tuple[int, Any, Any]:
        values = {name: str(value) for name, value in (params or {}).items()}
        if signed:
            values.setdefault("timestamp", str(self.served.status["now"]))
        text = "&".join(f"{name}={value}" for name, value in values.items())
        if signed:
            text += f"&signature={sign('sim', text)}"
        url = f"{self.served.url}{path}"
        headers = {"X-MBX-APIKEY": key} if key else {}
        body = None
        if method == "GET":
            url = f"{url}?{text}" if text else url
        else:
            body = text
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        async with self.session.request(method, url, data=body, headers=headers) as answer:
            return answer.status, await answer.json(), answer.headers

    @asynccontextmanager
    async def connect(self, path: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with self.session.ws_connect(self.served.url + path) as socket:
            yield socket


@asynccontextmanager
async def twin(market: Any = None, *, rate: float | None = None, **options: Any) -> AsyncIterator[Client]:
    market = market or SyntheticMarket(1, SYMBOLS)
    venue = Venue(builtin_rules(), start_ms=market.start_ms)
    entries = NoEntries() if rate is None else SeededEntries(1, market.symbols, rate=rate)
    async with serve(venue, market, entries, **options) as served, aiohttp.ClientSession() as session:
        yield Client(served, session)


async def op(socket: aiohttp.ClientWebSocketResponse, name: str) -> dict[str, Any]:
    await socket.send_json({"op": name})
    return await socket.receive_json()


async def until_barrier(socket: aiohttp.ClientWebSocketResponse, number: int) -> list[str]:
    """Return the frames before barrier `number`."""
    frames = []
    while True:
        text = (await socket.receive()).data
        frame = json.loads(text)
        if isinstance(frame, dict) and frame.get("e") == "barrier":
            if frame["n"] == number:
                return frames
            assert frame["n"] < number
        else:
            frames.append(text)


# Who may ask

PAIR = KeyPair("dbef", "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9")
VECTOR = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943"
)
SIGNATURE = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"


def test_the_published_signature_vector_is_accepted_in_any_case() -> None:
    assert sign(PAIR.secret, VECTOR) == SIGNATURE
    check_signature(PAIR, f"{VECTOR}&signature={SIGNATURE}")
    check_signature(PAIR, f"{VECTOR}&signature={SIGNATURE.upper()}")


def test_values_are_signed_before_they_are_encoded() -> None:
    signature = sign(PAIR.secret, "newClientOrderId=a b/c&symbol=%E5%B8%81%E5%AE%89USDT")
    check_signature(PAIR, f"newClientOrderId=a+b%2Fc&symbol=%E5%B8%81%E5%AE%89USDT&signature={signature}")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (f"{VECTOR}&signature={SIGNATURE[:-1]}0", -1022),
        (f"{VECTOR.replace('9000', '9001')}&signature={SIGNATURE}", -1022),
        (f"{VECTOR}&signature=x", -1022),
        (f"{VECTOR}&signature=", -1102),
        (VECTOR, -1102),
    ],
)
def test_any_other_signature_is_refused(raw: str, code: int) -> None:
    with pytest.raises(VenueError) as refused:
        check_signature(PAIR, raw)
    assert (refused.value.code, refused.value.http_status) == (code, 400)


@pytest.mark.parametrize(("header", "code"), [(None, -2014), ("", -2014), ("other", -2015)])
def test_a_wrong_key_is_refused_as_unauthorised(header: str | None, code: int) -> None:
    with pytest.raises(VenueError) as refused:
        check_key(PAIR, header)
    assert (refused.value.code, refused.value.http_status) == (code, 401)
    assert PAIR.secret not in repr(PAIR)


@pytest.mark.parametrize(
    ("offset", "window", "tolerance", "code"),
    [
        (999, "5000", Tolerance(), None),
        (1000, "5000", Tolerance(), -1021),
        (-5000, "5000", Tolerance(), None),
        (-5001, "5000", Tolerance(), -1021),
        (-5001, "", Tolerance(), -1021),
        (-5001, "60000", Tolerance(), None),
        (0, "60001", Tolerance(), -1131),
        (-50_000, "5000", Tolerance(scale=10), None),
        (-50_001, "5000", Tolerance(scale=10), -1021),
        (9_999, "5000", Tolerance(scale=10), None),
        (3_999, "5000", Tolerance(standing_ms=3_000), None),
        (4_000, "5000", Tolerance(standing_ms=3_000), -1021),
        (-5001, "5000", Tolerance(standing_ms=3_000), -1021),
    ],
)
def test_timestamps_are_checked_against_the_window(
    offset: int, window: str, tolerance: Tolerance, code: int | None
) -> None:
    params = {"timestamp": str(START_MS + offset), "recvWindow": window}
    if code is None:
        check_time(params, START_MS, tolerance)
        return
    with pytest.raises(VenueError) as refused:
        check_time(params, START_MS, tolerance)
    assert refused.value.code == code


def test_a_request_without_a_timestamp_is_refused() -> None:
    with pytest.raises(VenueError) as refused:
        check_time({}, START_MS, Tolerance())
    assert refused.value.code == -1102


# How much may be asked


def test_weight_is_refused_until_the_minute_is_over_and_then_banned() -> None:
    gate = Gate(Limits(weight_1m=100, patience=2))
    now = START_MS + 48_500
    for _ in range(10):
        gate.charge(10, now)
    assert gate.headers(now, order=False) == {"x-mbx-used-weight-1m": "100"}

    with pytest.raises(ThrottledError) as refused:
        gate.charge(1, now)
    assert (refused.value.code, refused.value.http_status, refused.value.retry_after_s) == (-1003, 429, 12)

    gate.charge(100, START_MS + MINUTE)
    for _ in range(2):
        with pytest.raises(ThrottledError):
            gate.charge(1, START_MS + MINUTE)
    with pytest.raises(ThrottledError) as refused:
        gate.charge(1, START_MS + MINUTE)
    assert (refused.value.http_status, refused.value.retry_after_s) == (418, 120)
    assert f"banned until {START_MS + 3 * MINUTE}" in refused.value.msg
    with pytest.raises(ThrottledError):
        gate.charge(1, START_MS + 3 * MINUTE - 1)
    gate.charge(1, START_MS + 3 * MINUTE)


def test_orders_are_counted_in_both_windows() -> None:
    gate = Gate(Limits(orders_10s=3, orders_1m=5))
    gate.count_orders(3, START_MS)
    with pytest.raises(ThrottledError) as refused:
        gate.count_orders(1, START_MS + 9_999)
    assert (refused.value.code, refused.value.http_status, refused.value.retry_after_s) == (-1015, 429, None)

    gate.count_orders(2, START_MS + 10_000)
    with pytest.raises(ThrottledError):
        gate.count_orders(1, START_MS + 20_000)
    gate.count_orders(1, START_MS + MINUTE)
    assert gate.headers(START_MS + MINUTE, order=True) == {
        "x-mbx-used-weight-1m": "0",
        "x-mbx-order-count-10s": "1",
        "x-mbx-order-count-1m": "1",
    }


def test_a_listen_key_lives_an_hour_from_its_last_extension() -> None:
    keys = ListenKeys(60 * MINUTE)
    first = keys.open(START_MS)
    assert len(first) == 64
    assert keys.open(START_MS + MINUTE) == first
    keys.extend(first, START_MS + 50 * MINUTE)
    assert keys.valid(first, START_MS + 110 * MINUTE - 1)
    assert keys.expire(START_MS + 110 * MINUTE - 1) is None

    assert keys.expire(START_MS + 110 * MINUTE) == first
    assert keys.expire(START_MS + 110 * MINUTE) is None
    with pytest.raises(VenueError) as refused:
        keys.extend(first, START_MS + 110 * MINUTE)
    assert refused.value.code == -1125
    assert keys.open(START_MS + 111 * MINUTE) != first


# The market's time


def test_event_time_runs_at_speed_between_steps_and_never_past_them() -> None:
    wall = [0.0]
    pace = Pace(60.0, START_MS, lambda: wall[0])

    assert pace.now(START_MS, START_MS + 5_000) == START_MS
    assert pace.wait_s(START_MS, START_MS + 5_000) == pytest.approx(5 / 60)
    wall[0] += 0.05
    assert pace.now(START_MS, START_MS + 5_000) == START_MS + 3_000
    wall[0] += 1.0
    assert pace.now(START_MS, START_MS + 5_000) == START_MS + 4_999
    assert pace.wait_s(START_MS, START_MS + 5_000) == 0.0
    assert pace.now(START_MS + 5_000, None) == START_MS + 5_000
    assert pace.tolerance() == Tolerance(scale=60.0)


def test_in_lockstep_time_stands_still_but_the_client_is_not_blamed_for_it() -> None:
    wall = [100.0]
    pace = Pace(None, START_MS, lambda: wall[0])
    wall[0] += 30.0

    assert pace.now(START_MS, START_MS + 5_000) == START_MS
    assert pace.tolerance() == Tolerance(standing_ms=30_000.0)
    pace.moved()
    assert pace.tolerance() == Tolerance()


def test_speeds_are_read() -> None:
    assert [parse_speed(text) for text in ("max", "1", "60x", "0.5")] == [None, 1.0, 60.0, 0.5]
    for text in ("", "fast", "0", "-1", "nan", "inf"):
        with pytest.raises(UsageError, match="is not a speed"):
            parse_speed(text)


# The served addresses


def test_every_answer_tells_the_weight_used_and_refusals_have_the_exchange_shape() -> None:
    async def scenario() -> None:
        async with twin() as client:
            status, body, headers = await client.ask("GET", "/fapi/v1/ping", key="")
            assert (status, body, headers["x-mbx-used-weight-1m"]) == (200, {}, "1")
            assert headers["Content-Type"].startswith("application/json")
            status, body, headers = await client.ask("GET", "/fapi/v1/openOrders", signed=True)
            assert (status, body, headers["x-mbx-used-weight-1m"]) == (200, [], "41")
            assert "x-mbx-order-count-10s" not in headers
            status, body, _ = await client.ask("GET", "/fapi/v1/klines", {"symbol": "NOPEUSDT", "interval": "1m"})
            assert (status, body) == (400, {"code": -1121, "msg": "Invalid symbol."})
            status, body, _ = await client.ask("GET", "/fapi/v1/nothing")
            assert (status, body["code"]) == (404, -5000)
            status, body, _ = await client.ask("GET", "/fapi/v3/account", signed=True, key="")
            assert (status, body["code"]) == (401, -2014)

    asyncio.run(scenario())


def test_kline_weights_follow_the_rows_asked_for() -> None:
    async def scenario() -> None:
        async with twin() as client:
            used = []
            for limit in ("99", "499", "1000", "1500", ""):
                params = {"symbol": "XRPUSDT", "interval": "1m"} | ({"limit": limit} if limit else {})
                _, _, headers = await client.ask("GET", "/fapi/v1/klines", params)
                used.append(int(headers["x-mbx-used-weight-1m"]))
            assert used == [1, 3, 8, 18, 23]

    asyncio.run(scenario())


def test_limits_are_enforced_in_event_time() -> None:
    async def scenario() -> None:
        async with twin(limits=Limits(weight_1m=3, orders_10s=1)) as client, client.connect("/twin/v1/pace") as pace:
            order = {"symbol": "XRPUSDT", "side": "BUY", "type": "MARKET", "quantity": "10"}
            status, _, headers = await client.ask("POST", "/fapi/v1/order", order, signed=True)
            assert (status, headers["x-mbx-order-count-10s"], headers["x-mbx-order-count-1m"]) == (200, "1", "1")
            status, body, headers = await client.ask("POST", "/fapi/v1/order", order, signed=True)
            assert (status, body["code"]) == (429, -1015)
            assert "Retry-After" not in headers

            answers = [await client.ask("GET", "/fapi/v1/time") for _ in range(4)]
            assert [status for status, _, _ in answers] == [200, 200, 200, 429]
            assert (answers[3][1]["code"], answers[3][2]["Retry-After"]) == (-1003, "60")
            for _ in range(12):
                await op(pace, "advance")
            assert (await client.ask("GET", "/fapi/v1/time"))[0] == 200

    asyncio.run(scenario())


def test_status_tells_what_is_served() -> None:
    async def scenario() -> None:
        async with twin() as client:
            _, body, _ = await client.ask("GET", "/twin/v1/status")
            assert body == {
                "now": START_MS, "speed": "max", "step": 1, "done": False, "symbols": list(SYMBOLS), "env": "sim",
                "faults": {}, "rights": False,
            }  # fmt: skip

    asyncio.run(scenario())


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "example.com", ""])  # noqa: S104 - the point of the test
def test_no_address_but_loopback_is_served(host: str) -> None:
    async def scenario() -> None:
        with pytest.raises(UsageError, match="is not loopback"):
            async with twin(host=host):
                pass

    asyncio.run(scenario())


def test_advance_moves_one_step_and_the_end_stays_the_end() -> None:
    async def scenario() -> None:
        async with twin(ShortMarket(3)) as client, client.connect("/twin/v1/pace") as pace:
            answers = [await op(pace, name) for name in ("sync", "advance", "advance", "advance")]
            assert [(a["now"] - START_MS, a["step"], a["barrier"], a["done"]) for a in answers] == [
                (0, 1, 1, False),
                (5_000, 2, 2, False),
                (10_000, 3, 3, True),
                (10_000, 3, 4, True),
            ]
            await client.served.wait_done()
            assert "error" in await op(pace, "rewind")

    asyncio.run(scenario())


def test_the_barrier_comes_behind_everything_of_its_step() -> None:
    async def scenario() -> None:
        async with twin() as client, client.connect("/twin/v1/pace") as pace:
            await op(pace, "advance")
            path = "/market/stream?streams=xrpusdt@markPrice@1s/btcusdt@aggTrade&barrier=1"
            async with client.connect(path) as data, client.connect("/public/ws/xrpusdt@bookTicker") as plain:
                assert await data.receive_json() == {"e": "barrier", "E": START_MS + 5_000, "n": 1}
                await op(pace, "advance")
                frames = [json.loads(text) for text in await until_barrier(data, 2)]
                assert [frame["stream"] for frame in frames] == ["btcusdt@aggTrade", "xrpusdt@markPrice@1s"]
                assert {frame["data"]["E"] for frame in frames} == {START_MS + 10_000}
                assert (await plain.receive_json())["e"] == "bookTicker"
                await op(pace, "advance")
                assert (await plain.receive_json())["E"] == START_MS + 15_000

    asyncio.run(scenario())


def test_user_events_of_a_request_are_there_before_the_barrier() -> None:
    async def scenario() -> None:
        async with twin() as client, client.connect("/twin/v1/pace") as pace:
            _, key, _ = await client.ask("POST", "/fapi/v1/listenKey")
            paths = [
                f"/private/ws?listenKey={key['listenKey']}&barrier=1",
                f"/private/ws/{key['listenKey']}?barrier=1",
                f"/private/stream?listenKey={key['listenKey']}&barrier=1",
                f"/private/ws?listenKey={key['listenKey']}&events=ACCOUNT_UPDATE&barrier=1",
                "/private/ws?listenKey=dead&barrier=1",
            ]
            sockets = [await client.session.ws_connect(client.served.url + path) for path in paths]
            order = {"symbol": "XRPUSDT", "side": "BUY", "type": "MARKET", "quantity": "10"}
            assert (await client.ask("POST", "/fapi/v1/order", order, signed=True))[0] == 200
            number = (await op(pace, "sync"))["barrier"]
            raw, by_path, wrapped, some, dead = [
                [json.loads(text) for text in await until_barrier(socket, number)] for socket in sockets
            ]
            assert [event["e"] for event in raw].count("ORDER_TRADE_UPDATE") == 2
            assert by_path == raw
            assert wrapped == [{"stream": key["listenKey"], "data": event} for event in raw]
            assert [event["e"] for event in some] == ["ACCOUNT_UPDATE"]
            assert dead == []

    asyncio.run(scenario())


def test_an_expired_listen_key_is_told_once_and_then_silent() -> None:
    async def scenario() -> None:
        limits = Limits(listen_key_ms=10_000)
        async with twin(limits=limits) as client, client.connect("/twin/v1/pace") as pace:
            _, key, _ = await client.ask("POST", "/fapi/v1/listenKey")
            async with client.connect(f"/private/ws?listenKey={key['listenKey']}&barrier=1") as user:
                for _ in range(2):
                    number = (await op(pace, "advance"))["barrier"]
                assert [json.loads(text) for text in await until_barrier(user, number)] == [
                    {"e": "listenKeyExpired", "E": START_MS + 10_000, "listenKey": key["listenKey"]}
                ]
                order = {"symbol": "XRPUSDT", "side": "BUY", "type": "MARKET", "quantity": "10"}
                await client.ask("POST", "/fapi/v1/order", order, signed=True)
                number = (await op(pace, "advance"))["barrier"]
                assert await until_barrier(user, number) == []
                status, body, _ = await client.ask("PUT", "/fapi/v1/listenKey", key)
                assert (status, body["code"]) == (400, -1125)

    asyncio.run(scenario())


def test_streams_are_subscribed_listed_and_left() -> None:
    async def scenario() -> None:
        async with (
            twin() as client,
            client.connect("/twin/v1/pace") as pace,
            client.connect("/market/ws?barrier=1") as data,
        ):
            await data.receive_json()

            async def say(method: str, params: list[Any], number: int = 1) -> Any:
                await data.send_json({"method": method, "params": params, "id": number})
                return await data.receive_json()

            assert await say("SUBSCRIBE", ["xrpusdt@aggTrade", "nosuch@aggTrade"], 7) == {"result": None, "id": 7}
            assert (await say("LIST_SUBSCRIPTIONS", []))["result"] == ["nosuch@aggTrade", "xrpusdt@aggTrade"]
            number = (await op(pace, "advance"))["barrier"]
            (trade,) = [json.loads(text) for text in await until_barrier(data, number)]
            assert (trade["e"], trade["s"], trade["a"]) == ("aggTrade", "XRPUSDT", 1)
            assert await say("SET_PROPERTY", ["combined", True]) == {"result": None, "id": 1}
            number = (await op(pace, "advance"))["barrier"]
            (trade,) = [json.loads(text) for text in await until_barrier(data, number)]
            assert (trade["stream"], trade["data"]["a"]) == ("xrpusdt@aggTrade", 2)
            assert await say("UNSUBSCRIBE", ["xrpusdt@aggTrade"]) == {"result": None, "id": 1}
            number = (await op(pace, "advance"))["barrier"]
            assert await until_barrier(data, number) == []
            for method, params in (("SUBSCRIBE", []), ("SUBSCRIBE", [1]), ("SHOUT", [])):
                assert "error" in await say(method, params)
            await data.send_str("{")
            assert "error" in await data.receive_json()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "delivers"),
    [
        ("/market/ws/xrpusdt@markPrice", ["markPriceUpdate"]),
        ("/market/ws/xrpusdt@markPrice@1s/xrpusdt@bookTicker", ["markPriceUpdate"]),
        ("/public/ws/xrpusdt@markPrice@1s/xrpusdt@bookTicker", ["bookTicker"]),
        ("/ws/xrpusdt@markPrice/xrpusdt@bookTicker", ["bookTicker"]),
        ("/market/ws/xrpusdt@kline_1m", ["kline"]),
        ("/market/ws/xrpusdt_perpetual@continuousKline_5m", ["continuous_kline"]),
        ("/market/ws/xrpusdt@kline_1s", []),
        ("/market/ws/XRPUSDT@markPrice", []),
        ("/private/ws/xrpusdt@markPrice", []),
    ],
)
def test_each_address_delivers_its_own_streams_and_is_silent_on_others(path: str, delivers: list[str]) -> None:
    async def scenario() -> None:
        async with (
            twin() as client,
            client.connect("/twin/v1/pace") as pace,
            client.connect(f"{path}?barrier=1") as data,
        ):
            number = (await op(pace, "advance"))["barrier"]
            assert [json.loads(text)["e"] for text in await until_barrier(data, number)] == delivers

    asyncio.run(scenario())


def test_market_frames_carry_the_exchange_keys() -> None:
    keys = {
        "!markPrice@arr": {"e", "E", "s", "p", "ap", "i", "P", "r", "T", "st"},
        "btcusdt@aggTrade": {"e", "E", "s", "a", "p", "q", "nq", "f", "l", "T", "m", "st"},
        "btcusdt@kline_1m": {"e", "E", "s", "k"},
        "btcusdt_perpetual@continuousKline_1m": {"e", "E", "ps", "ct", "k"},
    }

    async def scenario() -> None:
        async with (
            twin() as client,
            client.connect("/twin/v1/pace") as pace,
            client.connect(f"/market/stream?streams={'/'.join(keys)}&barrier=1") as data,
        ):
            number = (await op(pace, "advance"))["barrier"]
            frames = {}
            for text in await until_barrier(data, number):
                frame = json.loads(text)
                frames[frame["stream"]] = frame["data"]
        (mark, _) = frames.pop("!markPrice@arr")
        assert set(mark) == keys.pop("!markPrice@arr")
        assert len(mark["p"].partition(".")[2]) == 8
        assert {stream: set(frame) for stream, frame in frames.items()} == keys
        candle = frames["btcusdt@kline_1m"]["k"]
        assert set(candle) == set("tTsifLochlvnxqVQB")
        assert (candle["i"], candle["x"], candle["T"] - candle["t"]) == ("1m", False, 59_999)
        assert set(frames["btcusdt_perpetual@continuousKline_1m"]["k"]) == set(candle) - {"s"}

    asyncio.run(scenario())


def test_a_closed_candle_is_told_before_the_next_one_opens() -> None:
    async def scenario() -> None:
        async with (
            twin() as client,
            client.connect("/twin/v1/pace") as pace,
            client.connect("/market/ws/xrpusdt@kline_1m?barrier=1") as data,
        ):
            for _ in range(12):
                number = (await op(pace, "advance"))["barrier"]
            candles = [json.loads(text)["k"] for text in await until_barrier(data, number)]
            _, rows, _ = await client.ask("GET", "/fapi/v1/klines", {"symbol": "XRPUSDT", "interval": "1m"})
        assert [candle["x"] for candle in candles] == [False] * 11 + [True, False]
        closed, opened = candles[-2:]
        assert (closed["t"], opened["t"]) == (START_MS, START_MS + MINUTE)
        assert [rows[-2][i] for i in (0, 1, 2, 3, 4, 5, 7)] == [closed[key] for key in "tohlcvq"]

    asyncio.run(scenario())


def test_a_client_that_does_not_read_is_cut_off_and_holds_up_nobody() -> None:
    async def scenario() -> None:
        market = SyntheticMarket(1)
        streams = "/".join(f"{symbol.lower()}@kline_{i}" for symbol in market.symbols for i in ("1m", "5m", "1h", "1d"))
        async with twin(market, limits=Limits(queue=200)) as client, client.connect("/twin/v1/pace") as pace:
            deaf = await client.session.ws_connect(f"{client.served.url}/market/stream?streams={streams}")
            deaf._response.connection.transport.pause_reading()
            async with client.connect("/market/ws/xrpusdt@markPrice?barrier=1") as data:
                for _ in range(700):
                    answer = await op(pace, "advance")
                    assert len(await until_barrier(data, answer["barrier"])) == 1
            deaf._response.connection.transport.resume_reading()
            async with asyncio.timeout(30):
                while (message := await deaf.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
            assert message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}

    asyncio.run(scenario())


def test_a_connection_ends_when_its_day_is_over() -> None:
    async def scenario() -> None:
        limits = Limits(connection_ms=10_000)
        async with (
            twin(limits=limits) as client,
            client.connect("/twin/v1/pace") as pace,
            client.connect("/market/ws/xrpusdt@markPrice") as data,
        ):
            for _ in range(2):
                await op(pace, "advance")
            kinds = [(await data.receive()).type for _ in range(3)]
            assert kinds == [aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.CLOSE]
            assert data.close_code == 1001

    asyncio.run(scenario())


async def told_story(steps: int) -> str:
    """Return the hash of every frame of a story with trades, by steps."""
    digest = hashlib.sha256()
    async with twin(SyntheticMarket(1), rate=60.0) as client, client.connect("/twin/v1/pace") as pace:
        _, key, _ = await client.ask("POST", "/fapi/v1/listenKey")
        market = "/market/stream?streams=!markPrice@arr@1s/xrpusdt@kline_1m/xrpusdt@aggTrade&barrier=1"
        async with client.connect(market) as data, client.connect(f"/private/ws/{key['listenKey']}?barrier=1") as user:
            for number in range(steps):
                answer = await op(pace, "advance")
                for socket in (data, user):
                    for text in await until_barrier(socket, answer["barrier"]):
                        digest.update(text.encode())
                if number % 20 == 10:
                    _, body, _ = await client.ask("GET", "/fapi/v3/positionRisk", signed=True)
                    symbol, amount = body[0]["symbol"], Decimal(body[0]["positionAmt"])
                    order = {"symbol": symbol, "type": "MARKET", "quantity": abs(amount), "reduceOnly": "true"}
                    side = {"side": "SELL" if amount > 0 else "BUY"}
                    status, body, _ = await client.ask("POST", "/fapi/v1/order", order | side, signed=True)
                    assert status == 200
                    digest.update(json.dumps(body).encode())
    return digest.hexdigest()


def test_one_seed_in_lockstep_is_one_story_to_the_last_byte() -> None:
    first, second, longer = (asyncio.run(told_story(steps)) for steps in (120, 120, 121))

    assert first == second != longer


def test_at_speed_the_market_runs_to_its_end_without_a_step_left_out() -> None:
    async def scenario() -> None:
        async with (
            twin(ShortMarket(100), speed=3_000.0) as client,
            client.connect("/twin/v1/pace") as pace,
            client.connect("/market/ws/xrpusdt@markPrice") as data,
        ):
            await client.served.wait_done()
            times = []
            while not times or times[-1] < START_MS + 99 * 5_000:
                times.append((await data.receive_json())["E"])
            assert times == list(range(times[0], START_MS + 100 * 5_000, 5_000))
            assert client.served.status["done"]
            assert (await op(pace, "advance"))["done"]

    asyncio.run(scenario())


def test_a_market_that_is_driven_stands_still_between_its_steps_and_goes_on_by_itself_afterwards() -> None:
    wall = [0.0]
    pace = Pace(60.0, START_MS, lambda: wall[0])
    pace.drive(True, START_MS)
    wall[0] += 1.0

    assert pace.now(START_MS, START_MS + 5_000) == START_MS
    assert pace.wait_s(START_MS, START_MS + 5_000) == 0.0
    assert pace.tolerance() == Tolerance(standing_ms=1_000.0)
    pace.moved()
    assert pace.wait_s(START_MS + 5_000, START_MS + 10_000) == pytest.approx(5 / 60)
    wall[0] += 100.0
    pace.drive(False, START_MS + 5_000)
    assert pace.wait_s(START_MS + 5_000, START_MS + 10_000) == pytest.approx(5 / 60)


def test_a_driver_holds_the_market_until_it_leaves() -> None:
    async def scenario() -> None:
        async with twin(ShortMarket(2_000), speed=3_000.0) as client:
            async with client.connect("/twin/v1/pace") as pace:
                first = (await op(pace, "advance"))["step"]
                for number in range(1, 20):
                    assert (await op(pace, "sync"))["step"] == first + number - 1
                    assert (await op(pace, "advance"))["step"] == first + number
            await client.served.wait_done()

    asyncio.run(scenario())


class BrokenMarket(ShortMarket):
    """A market whose source fails after three steps."""

    def steps(self) -> Iterator[MarketStep]:
        yield from islice(super().steps(), 3)
        raise RuntimeError("the source broke")


def test_what_stops_the_market_is_told_to_who_waits_for_its_end() -> None:
    async def scenario() -> None:
        async with twin(BrokenMarket(9), speed=3_000.0) as client:
            with pytest.raises(RuntimeError, match="the source broke"):
                await client.served.wait_done()

    asyncio.run(scenario())


def test_what_stops_the_market_is_raised_at_the_end_where_nobody_waited() -> None:
    async def scenario() -> None:
        async with twin(BrokenMarket(9)) as client, client.connect("/twin/v1/pace") as pace:
            assert (await op(pace, "advance"))["step"] == 2
            await pace.send_json({"op": "advance"})
            assert (await pace.receive()).type in {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED}

    with pytest.raises(RuntimeError, match="the source broke"):
        asyncio.run(scenario())
