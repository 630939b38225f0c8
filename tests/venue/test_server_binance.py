"""The served twin under the real client library."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from binance import AsyncClient, BinanceSocketManager
from binance.exceptions import BinanceAPIException
from binance.ws.reconnecting_websocket import ReconnectingWebsocket

from tpctl.venue.entries import NoEntries, SeededEntries
from tpctl.venue.market.synthetic import START_MS, SyntheticMarket
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.server import Served, serve
from tpctl.venue.venue import Venue

SYMBOLS = ("XRPUSDT", "BTCUSDT")


@pytest.fixture(autouse=True)
def quick_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no proxy come between, and the library's sockets end within a second."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(ReconnectingWebsocket, "TIMEOUT", 0.2)


@asynccontextmanager
async def twin(speed: float | None = None, *, opens: bool = False) -> AsyncIterator[tuple[Served, AsyncClient]]:
    market = SyntheticMarket(1, SYMBOLS)
    venue = Venue(builtin_rules(), start_ms=market.start_ms)
    entries = SeededEntries(1, market.symbols, rate=0) if opens else NoEntries()
    async with serve(venue, market, entries, speed=speed) as served:
        client = AsyncClient("sim", "sim")
        client.FUTURES_URL = f"{served.url}/fapi"
        client.API_URL = f"{served.url}/api"
        client.REQUEST_RECVWINDOW = 5_000
        await sync(client)
        try:
            yield served, client
        finally:
            await client.close_connection()


async def sync(client: AsyncClient) -> None:
    client.timestamp_offset = (await client.futures_time())["serverTime"] - int(time.time() * 1000)


def sockets(served: Served, client: AsyncClient) -> BinanceSocketManager:
    manager = BinanceSocketManager(client, max_queue_size=10_000)
    manager.FSTREAM_URL = served.url.replace("http", "ws") + "/"
    return manager


@asynccontextmanager
async def pace(served: Served, client: AsyncClient) -> AsyncIterator[Callable[[str], Awaitable[dict[str, Any]]]]:
    async with client.session.ws_connect(f"{served.url}/twin/v1/pace") as socket:

        async def ask(op: str) -> dict[str, Any]:
            await socket.send_json({"op": op})
            answer = await socket.receive_json()
            client.timestamp_offset = answer["now"] - int(time.time() * 1000)
            return answer

        yield ask


def test_public_requests() -> None:
    async def scenario() -> None:
        async with twin() as (_, client):
            assert await client.futures_ping() == {}
            assert await client.ping() == {}
            assert await client.futures_time() == await client.get_server_time() == {"serverTime": START_MS}
            info = await client.futures_exchange_info()
            assert {"XRPUSDT", "BTCUSDT"} <= {row["symbol"] for row in info["symbols"]}
            mark = await client.futures_mark_price(symbol="XRPUSDT")
            last = await client.futures_symbol_ticker(symbol="XRPUSDT")
            assert float(mark["markPrice"]) == pytest.approx(float(last["price"]), rel=0.01)
            rows = await client.futures_klines(symbol="XRPUSDT", interval="1h", limit=24)
            assert len(rows) == 24
            assert rows[-1][4] == last["price"]
            day = await client.futures_ticker(symbol="XRPUSDT")
            assert float(day["quoteVolume"]) > 0

    asyncio.run(scenario())


def test_orders_of_both_books_by_body_and_by_query() -> None:
    async def scenario() -> None:
        async with twin() as (_, client):
            assert await client.futures_position_information(symbol="XRPUSDT") == []
            await client.futures_change_leverage(symbol="XRPUSDT", leverage="20")
            order = await client.futures_create_order(
                symbol="XRPUSDT", side="BUY", type="MARKET", quantity="800", newOrderRespType="RESULT"
            )
            assert order["status"] == "FILLED"
            assert client.response.headers["x-mbx-order-count-10s"] == "1"
            (position,) = await client.futures_position_information(symbol="XRPUSDT")
            assert float(position["positionAmt"]) == 800

            stop = await client.futures_create_algo_order(
                algoType="CONDITIONAL", symbol="XRPUSDT", side="SELL", type="STOP_MARKET", closePosition="true",
                triggerPrice="2.3000", workingType="MARK_PRICE", clientAlgoId="tpctl-backstop",
            )  # fmt: skip
            assert (stop["algoStatus"], stop["clientAlgoId"]) == ("NEW", "tpctl-backstop")
            (listed,) = await client.futures_get_open_algo_orders(symbol="XRPUSDT")
            assert listed["algoId"] == stop["algoId"]
            gone = await client.futures_cancel_algo_order(symbol="XRPUSDT", clientAlgoId="tpctl-backstop")
            assert gone["code"] == "200"
            assert await client.futures_get_open_algo_orders(symbol="XRPUSDT") == []

            batch = [
                {"symbol": "XRPUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "100",
                 "price": "2.6000", "reduceOnly": "true"}
            ]  # fmt: skip
            (resting,) = await client.futures_place_batch_order(batchOrders=batch)
            assert resting["status"] == "NEW"
            await client.futures_cancel_order(symbol="XRPUSDT", orderId=resting["orderId"])
            assert await client.futures_get_open_orders(symbol="XRPUSDT") == []

    asyncio.run(scenario())


def test_refusals_reach_the_client_with_status_and_code() -> None:
    async def scenario() -> None:
        async with twin() as (served, client):
            with pytest.raises(BinanceAPIException) as refused:
                await client.futures_cancel_order(symbol="XRPUSDT", orderId=1)
            assert (refused.value.status_code, refused.value.code) == (400, -2011)
            with pytest.raises(BinanceAPIException) as refused:
                await client.futures_klines(symbol="XRPUSDT", interval="1s")
            assert (refused.value.status_code, refused.value.code) == (400, -1120)

            stranger = AsyncClient("someone", "sim")
            stranger.FUTURES_URL = f"{served.url}/fapi"
            stranger.timestamp_offset = client.timestamp_offset
            with pytest.raises(BinanceAPIException) as refused:
                await stranger.futures_account()
            assert (refused.value.status_code, refused.value.code) == (401, -2015)
            await stranger.close_connection()

            client.timestamp_offset -= 60_000
            with pytest.raises(BinanceAPIException) as refused:
                await client.futures_account()
            assert (refused.value.status_code, refused.value.code) == (400, -1021)

    asyncio.run(scenario())


def test_user_and_market_sockets_in_lockstep() -> None:
    async def scenario() -> None:
        async with twin() as (served, client), pace(served, client) as ask:
            manager = sockets(served, client)
            user = manager.futures_user_socket()
            mark = manager.symbol_mark_price_socket("XRPUSDT", fast=True)
            marks = manager.all_mark_price_socket(fast=True)
            mixed = manager.futures_multiplex_socket(["xrpusdt@aggTrade", "xrpusdt@kline_1m"], category="market")
            book = manager.symbol_ticker_futures_socket("XRPUSDT")
            async with user, mark, marks, mixed, book:
                answer = await ask("advance")
                first = await mark.recv()
                assert first["stream"] == "xrpusdt@markPrice@1s"
                assert (first["data"]["E"], first["data"]["s"]) == (answer["now"], "XRPUSDT")
                assert [row["s"] for row in (await marks.recv())["data"]] == list(SYMBOLS)
                assert [(await mixed.recv())["data"]["e"] for _ in range(2)] == ["aggTrade", "kline"]
                assert (await book.recv())["data"]["e"] == "bookTicker"

                await client.futures_create_order(symbol="XRPUSDT", side="BUY", type="MARKET", quantity="800")
                events = [await user.recv() for _ in range(4)]
                assert sorted(event["e"] for event in events) == [
                    "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE", "TRADE_LITE",
                ]  # fmt: skip

                listen_key = await client.futures_stream_get_listen_key()
                assert len(listen_key) == 64
                await client.futures_stream_keepalive(listen_key)
                await client.futures_stream_close(listen_key)
                with pytest.raises(BinanceAPIException) as refused:
                    await client.futures_stream_keepalive(listen_key)
                assert refused.value.code == -1125

    asyncio.run(scenario())


def test_a_market_at_speed_reaches_a_reading_client_by_itself() -> None:
    async def scenario() -> None:
        async with twin(speed=600.0, opens=True) as (served, client):
            (position,) = await client.futures_position_information(symbol="XRPUSDT")
            assert float(position["positionAmt"]) > 0
            async with sockets(served, client).symbol_mark_price_socket("XRPUSDT") as mark:
                times = [(await mark.recv())["data"]["E"] for _ in range(5)]
            assert [b - a for a, b in pairwise(times)] == [5_000] * 4
            await sync(client)
            await client.futures_account()

    asyncio.run(scenario())
