"""The websocket API under the real client library, and under requests no client library sends."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from binance import AsyncClient
from binance.exceptions import BinanceAPIException, BinanceWebsocketUnableToConnect
from binance.ws.reconnecting_websocket import ReconnectingWebsocket
from test_server import Client, op, twin
from test_server_binance import sync
from test_server_faults import faulty

from tpctl.venue.auth import sign
from tpctl.venue.limits import Limits


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(ReconnectingWebsocket, "TIMEOUT", 0.3)


@asynccontextmanager
async def library(url: str, key: str = "sim", secret: str = "sim") -> AsyncIterator[AsyncClient]:  # noqa: S107 - the fake account's
    client = AsyncClient(key, secret)
    client.FUTURES_URL = f"{url}/fapi"
    client.ws_future._url = f"{url.replace('http', 'ws')}/ws-fapi/v1"
    await sync(client)
    try:
        yield client
    finally:
        await client.ws_future.__aexit__(None, None, None)
        await client.close_connection()


def test_orders_of_both_books_are_placed_changed_found_and_cancelled() -> None:
    async def scenario() -> None:
        async with twin() as own, library(own.served.url) as client:
            bought = await client.ws_futures_create_order(
                symbol="XRPUSDT", side="BUY", type="MARKET", quantity="800", newOrderRespType="RESULT"
            )
            assert bought["status"] == "FILLED"
            (position,) = await client.ws_futures_v2_account_position(symbol="XRPUSDT")
            assert position["positionAmt"] == "800.0"
            take = await client.ws_futures_create_order(
                symbol="XRPUSDT", side="SELL", type="LIMIT", timeInForce="GTC", quantity="100", price="2.6000",
                reduceOnly="true", newClientOrderId="take",
            )  # fmt: skip
            moved = await client.ws_futures_edit_order(
                symbol="XRPUSDT", orderId=take["orderId"], side="SELL", quantity="90", price="2.6100"
            )
            assert (moved["price"], moved["origQty"]) == ("2.6100", "90.0")
            assert (await client.ws_futures_get_order(symbol="XRPUSDT", origClientOrderId="take"))["status"] == "NEW"
            gone = await client.ws_futures_cancel_order(symbol="XRPUSDT", origClientOrderId="take")
            assert gone["status"] == "CANCELED"

            stop = await client.ws_futures_create_order(
                symbol="XRPUSDT", side="SELL", type="STOP_MARKET", stopPrice="2.3000", quantity="800",
                reduceOnly="true", clientAlgoId="stop",
            )  # fmt: skip
            assert (stop["clientAlgoId"], stop["algoStatus"]) == ("stop", "NEW")
            assert (await client.ws_futures_cancel_algo_order(clientAlgoId="stop"))["code"] == "200"
            assert own.served.venue.resting_orders() == own.served.venue.resting_conditionals() == []

    asyncio.run(scenario())


def test_account_and_prices_are_read_in_both_versions() -> None:
    async def scenario() -> None:
        async with twin() as own, library(own.served.url) as client:
            assert {row["symbol"] for row in await client.ws_futures_account_position()} >= {"XRPUSDT", "BTCUSDT"}
            assert await client.ws_futures_v2_account_position() == []
            for balance in (client.ws_futures_account_balance, client.ws_futures_v2_account_balance):
                assert (await balance())[0]["asset"] == "USDT"
            assert (await client.ws_futures_account_status())["canTrade"] is True
            assert (await client.ws_futures_v2_account_status())["totalWalletBalance"] == "100000.00000000"
            last = await client.futures_symbol_ticker(symbol="XRPUSDT")
            assert (await client.ws_futures_get_all_tickers(symbol="XRPUSDT"))["price"] == last["price"]
            book = await client.ws_futures_get_order_book_ticker(symbol="XRPUSDT")
            assert book["bidPrice"] < book["askPrice"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("key", "secret", "offset", "status", "code"),
    [
        ("someone", "sim", 0, 401, -2015),
        ("sim", "wrong", 0, 400, -1022),
        ("sim", "sim", -60_000, 400, -1021),
        ("sim", "sim", 0, 400, -4120),
    ],
)
def test_refusals_reach_the_library(key: str, secret: str, offset: int, status: int, code: int) -> None:
    async def scenario() -> None:
        async with twin() as own, library(own.served.url, key, secret) as client:
            client.timestamp_offset += offset
            with pytest.raises(BinanceAPIException) as refused:
                # Past the library's own routing to the algo book.
                await client._ws_futures_api_request(
                    "order.place",
                    True,
                    {"symbol": "XRPUSDT", "side": "SELL", "type": "STOP_MARKET", "stopPrice": "2.3", "quantity": "10"},
                )
            assert (refused.value.status_code, refused.value.code) == (status, code)

    asyncio.run(scenario())


def signed(client: Client, **params: object) -> dict[str, object]:
    """Sign as the exchange documents it: every value as JSON spells it, no quoting."""
    values = {"apiKey": "sim", "timestamp": client.served.status["now"], **params}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    text = "&".join(f"{name}={texts[name]}" for name in sorted(texts))
    return {**values, "signature": sign("sim", text)}


def test_an_answer_tells_the_limits_and_what_was_used_of_them() -> None:
    async def scenario() -> None:
        async with twin() as client, client.connect("/ws-fapi/v1") as socket:
            order = {"symbol": "XRPUSDT", "side": "BUY", "type": "MARKET", "quantity": "10", "reduceOnly": False}
            await socket.send_json({"id": 7, "method": "order.place", "params": signed(client, **order)})
            answer = await socket.receive_json()
            assert (answer["id"], answer["status"], answer["result"]["status"]) == (7, 200, "NEW")
            used = {
                (row["rateLimitType"], row["interval"]): (row["limit"], row["count"]) for row in answer["rateLimits"]
            }
            assert used == {
                ("REQUEST_WEIGHT", "MINUTE"): (2400, 0),
                ("ORDERS", "SECOND"): (300, 1),
                ("ORDERS", "MINUTE"): (1200, 1),
            }
            await socket.send_json({"id": "k", "method": "userDataStream.start", "params": {"apiKey": "sim"}})
            assert len((await socket.receive_json())["result"]["listenKey"]) == 64

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "number", "code"),
    [
        ("{", None, -1130),
        ("[]", None, -1130),
        ('{"id":1,"method":"order.teleport"}', 1, -5000),
        ('{"id":1}', 1, -5000),
        ('{"id":1,"method":"ticker.price","params":[]}', 1, -1130),
        ('{"id":1,"method":"order.status","params":{"apiKey":"sim"}}', 1, -1102),
        ('{"id":1,"method":"order.status","params":{}}', 1, -2014),
        ('{"id":1,"method":"ticker.price","params":{"symbol":"NOPEUSDT"}}', 1, -1121),
    ],
)
def test_a_request_no_library_sends_is_refused_and_the_connection_stays(text: str, number: object, code: int) -> None:
    async def scenario() -> None:
        async with twin() as client, client.connect("/ws-fapi/v1") as socket:
            await socket.send_str(text)
            answer = await socket.receive_json()
            assert (answer["id"], answer["error"]["code"]) == (number, code)
            await socket.send_json({"id": 2, "method": "ticker.price", "params": {"symbol": "XRPUSDT"}})
            assert (await socket.receive_json())["status"] == 200

    asyncio.run(scenario())


def test_a_lost_answer_never_comes_and_its_outcome_is_unknown_to_the_library() -> None:
    async def scenario() -> None:
        async with faulty("lost-after", opens=False) as own:
            client = AsyncClient("sim", "sim")
            client.ws_future._url = f"{own.served.url.replace('http', 'ws')}/ws-fapi/v1"
            with pytest.raises(BinanceWebsocketUnableToConnect, match="timed out"):
                await client.ws_futures_create_order(
                    symbol="XRPUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="10", price="2.3000",
                    timestamp=own.served.status["now"],
                )  # fmt: skip
            assert len(own.served.venue.resting_orders()) == 1
            await client.ws_future.__aexit__(None, None, None)
            await client.close_connection()

    asyncio.run(scenario())


@pytest.mark.parametrize(("name", "status", "code"), [("ban", 418, -1003), ("unavailable", 503, 0)])
def test_outages_answer_here_too(name: str, status: int, code: int) -> None:
    async def scenario() -> None:
        async with faulty(name) as client, client.connect("/twin/v1/pace") as pace:
            await op(pace, "advance")
            async with client.connect("/ws-fapi/v1") as socket:
                await socket.send_json({"id": 1, "method": "ticker.price", "params": {}})
                answer = await socket.receive_json()
                assert (answer["status"], answer["error"]["code"]) == (status, code)

    asyncio.run(scenario())


def test_an_answer_breaks_off() -> None:
    async def scenario() -> None:
        async with faulty("garbled") as client, client.connect("/ws-fapi/v1") as socket:
            await socket.send_json({"id": 1, "method": "ticker.price", "params": {}})
            with pytest.raises(json.JSONDecodeError):
                json.loads((await socket.receive()).data)

    asyncio.run(scenario())


def test_the_connection_ends_with_its_day_and_is_refused_in_a_maintenance() -> None:
    async def scenario() -> None:
        limits = Limits(connection_ms=4_000)
        async with faulty("maintenance", limits=limits) as client, client.connect("/twin/v1/pace") as pace:
            async with client.connect("/ws-fapi/v1") as socket:
                await op(pace, "advance")
                await socket.send_json({"id": 1, "method": "ticker.price", "params": {}})
                assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with client.connect("/ws-fapi/v1"):
                    pass
            assert refused.value.status == 502

    asyncio.run(scenario())
