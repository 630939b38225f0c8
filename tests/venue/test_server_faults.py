"""Faults at the served twin, as a client that does not know of them meets them: in lockstep and by the wall clock."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from test_server import SYMBOLS, Client, ShortMarket, op, until_barrier

from tpctl.venue.entries import NoEntries, SeededEntries
from tpctl.venue.faults import CATALOG, FaultPlan
from tpctl.venue.outbox import Outbox
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.server import serve
from tpctl.venue.venue import Venue

MARKS = "/market/stream?streams=!markPrice@arr@1s&barrier=1"


@asynccontextmanager
async def faulty(*names: str, opens: bool = True, steps: int = 400, **options: Any) -> AsyncIterator[Client]:
    """Serve a twin in which every share strikes and everything timed is due at nearly every step."""
    market = ShortMarket(steps)
    venue = Venue(builtin_rules(), start_ms=market.start_ms)
    rates = {name: 1.0 if CATALOG[name].share else 3_600.0 for name in names}
    plan = FaultPlan(rates, 1, start_ms=market.start_ms, remembered=100)
    entries = SeededEntries(1, SYMBOLS, rate=0) if opens else NoEntries()
    async with serve(venue, market, entries, faults=plan, **options) as served, aiohttp.ClientSession() as session:
        yield Client(served, session)


async def raw(client: Client, path: str) -> tuple[int, str, bytes, Any]:
    async with client.session.get(client.served.url + path) as answer:
        return answer.status, answer.content_type, await answer.read(), answer.headers


ORDER = {"symbol": "XRPUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "10", "price": "2.3000"}


# requests


@pytest.mark.parametrize(("name", "executed"), [("lost-before", False), ("lost-after", True)])
def test_a_lost_request_breaks_the_connection_before_or_after_it_was_executed(name: str, executed: bool) -> None:
    async def scenario() -> None:
        async with faulty(name, opens=False) as client:
            with pytest.raises(aiohttp.ClientError):
                await client.ask("POST", "/fapi/v1/order", ORDER, signed=True)
            assert len(client.served.venue.resting_orders()) == executed
            assert client.served.status["faults"] == {name: 1}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("ban", 418, -1003),
        ("throttle", 429, -1003),
        ("overload", 503, -1008),
        ("order-limit", 429, -1015),
        ("clock-skew", 400, None),
    ],
)
def test_an_outage_answers_in_the_exchanges_place(name: str, status: int, code: int | None) -> None:
    async def scenario() -> None:
        async with faulty(name) as client, client.connect("/twin/v1/pace") as pace:
            for _ in range(3):
                await op(pace, "advance")
            got, body, headers = await client.ask("POST", "/fapi/v1/order", ORDER, signed=True)
            assert got == status
            assert body["code"] in ({-1021, -5028} if code is None else {code})
            assert ("Retry-After" in headers) == (name in {"ban", "throttle"})
            assert client.served.venue.resting_orders() == []

    asyncio.run(scenario())


def test_answers_that_are_no_json_come_as_what_they_are() -> None:
    async def scenario() -> None:
        async with faulty("garbled") as client:
            status, kind, body, _ = await raw(client, "/fapi/v1/exchangeInfo")
            assert (status, kind) == (200, "application/json")
            with pytest.raises(ValueError, match=r"delimiter|Unterminated|value"):
                json.loads(body)
        async with faulty("unavailable") as client:
            status, kind, body, _ = await raw(client, "/fapi/v1/time")
            assert (status, kind, body) == (503, "text/html", b"Service Unavailable.")

    asyncio.run(scenario())


def test_a_maintenance_takes_neither_requests_nor_websockets() -> None:
    async def scenario() -> None:
        async with faulty("maintenance") as client, client.connect("/twin/v1/pace") as pace:
            async with client.connect(MARKS) as market:
                for _ in range(3):
                    await op(pace, "advance")
                while (await market.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
            assert (await raw(client, "/fapi/v1/time"))[:2] == (502, "text/html")
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with client.connect(MARKS):
                    pass
            assert refused.value.status == 502

    asyncio.run(scenario())


def test_reads_lag_and_positions_come_empty() -> None:
    async def scenario() -> None:
        async with faulty("read-lag", opens=False) as client:
            status, _, _ = await client.ask("POST", "/fapi/v1/order", ORDER, signed=True)
            assert status == 200
            _, listed, _ = await client.ask("GET", "/fapi/v1/openOrders", {"symbol": "XRPUSDT"}, signed=True)
            assert listed == []
        async with faulty("empty-positions") as client:
            _, rows, _ = await client.ask("GET", "/fapi/v3/positionRisk", signed=True)
            assert rows == []
            assert client.served.venue.positions()

    asyncio.run(scenario())


def test_an_accepted_algo_order_is_rejected_a_moment_later() -> None:
    async def scenario() -> None:
        async with faulty("late-reject") as client:
            order = {
                "algoType": "CONDITIONAL", "symbol": "XRPUSDT", "type": "STOP_MARKET", "side": "SELL",
                "closePosition": "true", "triggerPrice": "2.0000", "clientAlgoId": "tp-1",
            }  # fmt: skip
            status, body, _ = await client.ask("POST", "/fapi/v1/algoOrder", order, signed=True)
            assert (status, body["algoStatus"]) == (200, "NEW")
            _, now, _ = await client.ask("GET", "/fapi/v1/algoOrder", {"clientAlgoId": "tp-1"}, signed=True)
            assert now["algoStatus"] == "REJECTED"

    asyncio.run(scenario())


def test_the_exchanges_clock_jumps_and_its_signature_window_with_it() -> None:
    async def scenario() -> None:
        async with faulty("clock-jump") as client, client.connect("/twin/v1/pace") as pace:
            offset = 0
            while abs(offset) < 10_000:
                await op(pace, "advance")
                now = (await client.ask("GET", "/fapi/v1/time"))[1]["serverTime"]
                offset = now - client.served.venue.now
            status, body, _ = await client.ask("GET", "/fapi/v3/account", signed=True)
            assert (status, body["code"]) == (400, -1021)
            status, _, _ = await client.ask("GET", "/fapi/v3/account", {"timestamp": now}, signed=True)
            assert status == 200

    asyncio.run(scenario())


def test_latency_lasts_by_the_clock_of_a_market_that_moves_and_is_nothing_in_lockstep() -> None:
    async def scenario(speed: float | None) -> bool:
        async with faulty("stall", speed=speed) as client:
            loop = asyncio.get_running_loop()
            before = loop.time()
            status, _, _ = await client.ask("GET", "/fapi/v1/time")
            assert status == 200
            # A stall of 5 to 30 s of event time at fifty times the wall clock.
            return loop.time() - before >= 0.1

    assert asyncio.run(scenario(50.0))
    assert not asyncio.run(scenario(None))


# events and frames


async def private(client: Client) -> str:
    _, body, _ = await client.ask("POST", "/fapi/v1/listenKey")
    return f"/private/ws?listenKey={body['listenKey']}&barrier=1"


async def texts(socket: aiohttp.ClientWebSocketResponse, number: int) -> list[str]:
    """Return the frames before a barrier, whatever they are."""
    frames = []
    while f'"n":{number}}}' not in (text := (await socket.receive()).data) or '"barrier"' not in text:
        if '"barrier"' not in text:
            frames.append(text)
    return frames


async def events_of_an_order(client: Client, steps: int = 0) -> list[str]:
    """Return the user frames that one resting order causes, `steps` steps on."""
    async with client.connect(await private(client)) as user, client.connect("/twin/v1/pace") as pace:
        await client.ask("POST", "/fapi/v1/order", ORDER, signed=True)
        number = (await op(pace, "sync"))["barrier"]
        for _ in range(steps):
            number = (await op(pace, "advance"))["barrier"]
        return await texts(user, number)


@pytest.mark.parametrize(
    ("name", "steps", "count"),
    [("drop-events", 0, 0), ("duplicate-events", 1, 2), ("reorder-events", 0, 0), ("reorder-events", 1, 1)],
)
def test_user_events_are_lost_doubled_and_late(name: str, steps: int, count: int) -> None:
    async def scenario() -> None:
        async with faulty(name, opens=False) as client:
            frames = await events_of_an_order(client, steps)
            assert [json.loads(frame)["e"] for frame in frames] == ["ORDER_TRADE_UPDATE"] * count

    asyncio.run(scenario())


def test_user_events_and_market_frames_break_off() -> None:
    async def scenario() -> None:
        async with faulty("malformed-event", opens=False) as client:
            (frame,) = await events_of_an_order(client)
            with pytest.raises(json.JSONDecodeError):
                json.loads(frame)
        async with faulty("malformed-frame") as client, client.connect(MARKS) as market:
            async with client.connect("/twin/v1/pace") as pace:
                number = (await op(pace, "advance"))["barrier"]
                (text,) = await texts(market, number)
            with pytest.raises(json.JSONDecodeError):
                json.loads(text)

    asyncio.run(scenario())


def test_marks_come_again_older_and_as_nonsense() -> None:
    async def scenario(name: str) -> list[Any]:
        async with faulty(name) as client, client.connect(MARKS) as market, client.connect("/twin/v1/pace") as pace:
            return [
                json.loads(text)["data"] for text in await until_barrier(market, (await op(pace, "advance"))["barrier"])
            ]

    good, (late,) = asyncio.run(scenario("late-marks"))
    assert late["E"] < good[0]["E"]
    good, (bad,) = asyncio.run(scenario("bad-marks"))
    assert bad["p"] in {"NaN", "0.00000000"} or bad["p"].startswith("-") or bad["s"] not in SYMBOLS


# connections


async def ended(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    """Read a socket to its end and return its close code; None for one that just broke."""
    while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
        pass
    return message.data if message.type is aiohttp.WSMsgType.CLOSE else None


@pytest.mark.parametrize(("name", "codes"), [("disconnect", {None, 1001}), ("day-cut", {1001})])
def test_connections_break_with_and_without_a_goodbye(name: str, codes: set[int | None]) -> None:
    async def scenario() -> None:
        async with faulty(name) as client, client.connect("/twin/v1/pace") as pace:
            async with client.connect(MARKS) as market:
                for _ in range(20):
                    await op(pace, "advance")
                assert await ended(market) in codes
            async with client.connect(MARKS.replace("&barrier=1", "")):
                pass

    asyncio.run(scenario())


@pytest.mark.parametrize(("name", "answers"), [("silence", ["PONG"]), ("half-open", [])])
def test_a_silent_connection_still_answers_pings_and_a_half_open_one_does_not(name: str, answers: list[str]) -> None:
    async def scenario() -> None:
        async with faulty(name) as client, client.connect("/twin/v1/pace") as pace:
            url = client.served.url + MARKS.replace("&barrier=1", "")
            async with client.session.ws_connect(url, autoping=False) as market:
                for _ in range(20):
                    await op(pace, "advance")
                await market.ping(b"there?")
                # What is answered at all is answered before the next requests are.
                for _ in range(5):
                    await raw(client, "/twin/v1/status")
                client.served.cut()
                kinds = []
                while not (message := await market.receive()).type.name.startswith(("CLOS", "ERROR")):
                    kinds.append(message.type.name)
                assert [kind for kind in kinds if kind != "TEXT"] == answers
                assert kinds.count("TEXT") < 20

    asyncio.run(scenario())


def test_a_half_open_connection_of_a_reader_in_lockstep_breaks_where_its_pings_would_have_found_out() -> None:
    async def scenario() -> None:
        async with (
            faulty("half-open") as client,
            client.connect("/twin/v1/pace") as pace,
            client.connect(MARKS) as market,
        ):
            for _ in range(30):
                await op(pace, "advance")
            assert await ended(market) is None

    asyncio.run(scenario())


def test_the_listen_key_expires_with_a_word_or_is_replaced_without_one() -> None:
    async def scenario(name: str) -> list[str]:
        async with (
            faulty(name, opens=False) as client,
            client.connect("/twin/v1/pace") as pace,
            client.connect(await private(client)) as user,
        ):
            for _ in range(3):
                await op(pace, "advance")
            await client.ask("POST", "/fapi/v1/order", ORDER, signed=True)
            number = (await op(pace, "sync"))["barrier"]
            return [json.loads(frame)["e"] for frame in await until_barrier(user, number)]

    assert asyncio.run(scenario("key-expiry")) == ["listenKeyExpired"]
    assert asyncio.run(scenario("key-rotation")) == []


def test_a_flood_sends_two_thousand_frames_at_once() -> None:
    async def scenario() -> None:
        async with faulty("flood") as client, client.connect(MARKS) as market, client.connect("/twin/v1/pace") as pace:
            await op(pace, "advance")
            number = (await op(pace, "advance"))["barrier"]
            assert len(await until_barrier(market, number)) >= 2_000

    asyncio.run(scenario())


# the market and the account


def test_prices_gap_and_the_operator_acts_in_a_served_market() -> None:
    async def scenario() -> None:
        async with faulty("price-gap", "wick", "hand-close") as client, client.connect("/twin/v1/pace") as pace:
            assert client.served.venue.positions()
            for _ in range(30):
                await op(pace, "advance")
            struck = client.served.status["faults"]
            assert struck["price-gap"] > 10
            assert struck["hand-close"] >= 1
            assert len(client.served.venue.positions()) == 0

    asyncio.run(scenario())


def test_what_is_put_off_is_done_in_order_once_it_is_due() -> None:
    outbox, done = Outbox(), list[int]()
    for number, due in enumerate((30, 10, 10, 20)):
        outbox.put(due, lambda number=number: done.append(number))

    outbox.release(9)
    assert done == []
    outbox.release(20)
    assert done == [1, 2, 3]
    assert len(outbox) == 1
