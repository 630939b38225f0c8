"""The account through the real python-binance, against a tiny scripted server on loopback."""

import asyncio
import contextlib
import io
import logging
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise
from urllib.parse import parse_qsl

import aiohttp
import pytest
from aiohttp import web

from tpctl.adapters.binance.client import BinanceExchange, BinanceReader, ShadowExchange
from tpctl.adapters.binance.clock import EventClock, ExchangeClock
from tpctl.adapters.binance.endpoints import DEMO, LIVE, Endpoints, twin
from tpctl.adapters.secrets import Secret
from tpctl.exits.errors import (
    ConfigError,
    CredentialsError,
    ExchangeRejected,
    RateLimitedError,
    TpctlError,
    UnavailableError,
)
from tpctl.exits.events import Accepted, Refused, Unknown, Withheld
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.intents import CancelOrder, PlaceStop, PlaceTakeProfit, ReduceAtMarket
from tpctl.exits.model import Book, OrderStatus, PositionKey, PositionMode, WorkingType
from tpctl.ports import Admitted, Holdings, KeyRights

NOW = 1_789_000_000_000
KEY, SECRET = "CANARYKEY" * 4, "CANARYSECRET" * 4
LONG = PositionKey("XRPUSDT", PositionSide.LONG)
D = Decimal

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Call:
    method: str
    path: str
    params: dict[str, str]
    key: str | None


@dataclass
class Script:
    """Answers in turn; the last one answers everything after it."""

    answers: list[object]
    calls: list[Call] = field(default_factory=list)
    by_path: dict[str, list[object]] = field(default_factory=dict)

    async def handle(self, request):
        body = (await request.read()).decode()
        params = dict(parse_qsl(request.query_string)) | dict(parse_qsl(body))
        self.calls.append(Call(request.method, request.path, params, request.headers.get("X-MBX-APIKEY")))
        if request.path.endswith("/time") and request.path not in self.by_path:
            return web.json_response({"serverTime": NOW})
        answers = self.by_path.get(request.path, self.answers)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(answer):
            return await answer(request)
        return answer if isinstance(answer, web.Response) else web.json_response(answer)

    def paths(self):
        return [call.path.removeprefix("/fapi/") for call in self.calls if not call.path.endswith("/time")]


def error(status, code, text="why", **headers):
    async def answer(_request):
        return web.json_response({"code": code, "msg": text}, status=status, headers=headers)

    return answer


def page(status, text):
    async def answer(_request):
        return web.Response(status=status, text=text, content_type="text/html")

    return answer


async def dropped(request):
    request.transport.abort()
    await asyncio.sleep(0)
    return web.Response()


async def cut_off(request):
    response = web.StreamResponse(headers={"Content-Length": "100", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"orderId":')
    request.transport.abort()
    return response


async def unreadable(_request):
    return web.Response(text="{nope", content_type="application/json")


def run(script, work, *, kind=BinanceExchange, keys=True, clock=None):
    """Serve the script, run `work(account)` against it, and return its result."""

    async def main():
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", script.handle)
        runner = web.AppRunner(app, shutdown_timeout=0, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]

        async def no_sleep(seconds):
            naps.append(seconds)

        account = kind(
            twin(f"http://127.0.0.1:{port}"),
            EventClock(NOW) if clock is None else clock,
            key=Secret(KEY) if keys else None,
            secret=Secret(SECRET) if keys else None,
            sleep=no_sleep,
        )
        try:
            return await work(account)
        finally:
            await account.close()
            await runner.cleanup()

    naps = script.naps = []
    return asyncio.run(main())


def submit(answers, intent=None, mode=PositionMode.ONE_WAY):
    script = Script(answers)
    intent = intent or stop()
    return run(script, lambda account: account.submit(Admitted(intent, mode))), script


def stop():
    return PlaceStop(LONG, "tp-stop", D(100), D("0.50"), WorkingType.MARK, "test")


def take_profit():
    return PlaceTakeProfit(LONG, "tp-leg", 1, D(100), D("0.60"), WorkingType.MARK, "test")


ALGO = {
    "algoId": 7,
    "clientAlgoId": "tp-stop",
    "algoType": "CONDITIONAL",
    "orderType": "STOP_MARKET",
    "symbol": "XRPUSDT",
    "side": "SELL",
    "positionSide": "BOTH",
    "quantity": "100",
    "algoStatus": "NEW",
    "triggerPrice": "0.50",
    "price": "0.00",
    "workingType": "MARK_PRICE",
    "closePosition": False,
    "reduceOnly": True,
    "updateTime": NOW,
}
ORDER = {
    "orderId": 8,
    "symbol": "XRPUSDT",
    "status": "FILLED",
    "clientOrderId": "tp-exit",
    "price": "0",
    "origQty": "100",
    "executedQty": "100",
    "type": "MARKET",
    "reduceOnly": True,
    "closePosition": False,
    "side": "SELL",
    "positionSide": "BOTH",
    "stopPrice": "0",
    "updateTime": NOW,
}
CANCELLED = {"algoId": 7, "clientAlgoId": "tp-stop", "code": "200", "msg": "success"}


# Orders


def test_a_stop_goes_to_the_algo_book_under_our_id_and_clock():
    answer, script = submit([ALGO])

    assert answer.order.client_id == "tp-stop"
    [call] = script.calls
    assert (call.method, call.path) == ("POST", "/fapi/v1/algoOrder")
    assert call.params.pop("signature")
    assert call.params == {
        "algoType": "CONDITIONAL",
        "symbol": "XRPUSDT",
        "side": "SELL",
        "type": "STOP_MARKET",
        "quantity": "100",
        "reduceOnly": "true",
        "triggerPrice": "0.50",
        "workingType": "MARK_PRICE",
        "clientAlgoId": "tp-stop",
        "recvWindow": "5000",
        "timestamp": str(NOW),
    }
    assert call.key == KEY


def test_a_reduction_at_market_answers_with_what_was_done():
    answer, script = submit([ORDER], ReduceAtMarket(LONG, "tp-exit", D(100), "test"))

    assert (answer.order.status, answer.order.executed) == (OrderStatus.FILLED, 100)
    assert (script.calls[0].method, script.calls[0].path) == ("POST", "/fapi/v1/order")
    assert script.calls[0].params["newClientOrderId"] == "tp-exit"


@pytest.mark.parametrize(
    ("book", "answer", "path", "name"),
    [
        (Book.ALGO, CANCELLED, "v1/algoOrder", "clientAlgoId"),
        (Book.REGULAR, ORDER | {"status": "CANCELED"}, "v1/order", "origClientOrderId"),
    ],
)
def test_cancels_reach_their_book_in_the_body(book, answer, path, name):
    outcome, script = submit([answer], CancelOrder(LONG, "tp-stop", book, "test"))

    assert outcome == Accepted(None)
    assert (script.calls[0].method, script.paths()) == ("DELETE", [path])
    assert script.calls[0].params[name] == "tp-stop"


@pytest.mark.parametrize(
    "answer",
    [
        dropped,
        cut_off,
        unreadable,
        {},
        ALGO | {"algoStatus": None},
        page(502, "<html>Bad Gateway"),
        page(403, "<html>blocked"),
        page(200, "<html>captive portal"),
        error(408, 0),
        error(500, 0),
        error(503, 0, "Unknown error, please check your request or try again later."),
        error(503, -1000),
        error(400, -1006),
        error(400, -1007),
        error(503, -1001),
        error(400, -4116),
    ],
)
def test_an_order_whose_answer_is_lost_is_unknown_and_never_sent_again(answer):
    """I10, over every way an answer gets lost."""
    outcome, script = submit([answer])

    assert isinstance(outcome, Unknown)
    assert len(script.calls) == 1


def test_an_order_nobody_listens_for_is_unknown():
    async def nowhere():
        account = BinanceExchange(twin("http://127.0.0.1:9"), EventClock(NOW), key=Secret("k"), secret=Secret("s"))
        try:
            return await account.submit(Admitted(stop(), PositionMode.ONE_WAY))
        finally:
            await account.close()

    assert isinstance(asyncio.run(nowhere()), Unknown)


def test_a_timeout_is_unknown(mocker):
    mocker.patch("tpctl.adapters.binance.wire._TIMEOUT", aiohttp.ClientTimeout(total=0.05))

    async def work(account):
        outcome = await account.submit(Admitted(stop(), PositionMode.ONE_WAY))
        release.set()
        return outcome

    async def late(_request):
        await release.wait()
        return web.Response()

    release = asyncio.Event()
    script = Script([late])

    assert run(script, work) == Unknown("no answer in time")
    assert len(script.calls) == 1


@pytest.mark.parametrize("code", [-2021, -2022, -4130, -4509, -1111, -2011, -4045])
def test_a_refusal_keeps_the_exchange_s_code(code):
    outcome, script = submit([error(400, code, "no")])

    assert outcome == Refused(code, "no")
    assert len(script.calls) == 1


@pytest.mark.parametrize("overload", [error(503, -1008), page(503, "Service Unavailable.")])
def test_overload_is_tried_again_with_growing_pauses_then_refused(overload):
    outcome, script = submit([overload])

    assert isinstance(outcome, Refused)
    assert script.naps == [0.2, 0.4, 0.8]
    assert {call.params["clientAlgoId"] for call in script.calls} == {"tp-stop"}


def test_overload_that_passes_is_accepted():
    outcome, script = submit([error(503, -1008), ALGO])

    assert isinstance(outcome, Accepted)
    assert script.naps == [0.2]


@pytest.mark.parametrize("code", [-1021, -5028])
def test_a_refused_clock_is_measured_and_the_order_sent_once_more(code):
    script = Script([error(400, code), ALGO])
    clock = EventClock(NOW - 60_000)
    outcome = run(script, lambda account: account.submit(Admitted(stop(), PositionMode.ONE_WAY)), clock=clock)

    assert isinstance(outcome, Accepted)
    first, _, second = script.calls
    assert first.params["clientAlgoId"] == second.params["clientAlgoId"]
    assert (int(first.params["timestamp"]), int(second.params["timestamp"])) == (NOW - 60_000, NOW)
    assert clock.now() == NOW - 60_000


def test_a_clock_refused_twice_is_a_refusal():
    outcome, script = submit([error(400, -1021)])

    assert isinstance(outcome, Refused)
    assert len(script.paths()) == 2


@pytest.mark.parametrize("code", [-2014, -2015, -1022])
def test_a_refused_key_is_an_error(code):
    with pytest.raises(CredentialsError):
        submit([error(401, code)])


def test_while_banned_nothing_is_sent():
    script = Script([error(418, -1003, f"banned until {NOW + 600_000}.")])

    async def work(account):
        first = await account.submit(Admitted(stop(), PositionMode.ONE_WAY))
        second = await account.submit(Admitted(stop(), PositionMode.ONE_WAY))
        with pytest.raises(RateLimitedError) as caught:
            await account.find_order("XRPUSDT", "tp-stop", Book.ALGO)
        return first, second, caught.value.retry_after_ms

    first, second, wait = run(script, work)
    assert first.code == second.code == -1003
    assert wait == 600_000
    assert len(script.calls) == 1


def test_after_429_a_stop_still_goes_and_a_take_profit_waits():
    script = Script([error(429, -1003, "slow down", **{"Retry-After": "30"}), ALGO])

    async def work(account):
        with pytest.raises(RateLimitedError) as caught:
            await account.wallet("USDT")
        waiting = await account.submit(Admitted(take_profit(), PositionMode.ONE_WAY))
        placed = await account.submit(Admitted(stop(), PositionMode.ONE_WAY))
        return caught.value.retry_after_ms, waiting, placed

    wait, waiting, placed = run(script, work)
    assert wait == 30_000
    assert waiting.code == -1003
    assert isinstance(placed, Accepted)
    assert len(script.calls) == 2


def test_parallel_answers_are_counted_each_for_itself():
    def counted(used):
        async def answer(_request):
            return web.json_response(ALGO, headers={"x-mbx-used-weight-1m": str(used)})

        return answer

    script = Script([counted(used) for used in (11, 700, 13, 12)])

    async def work(account):
        await asyncio.gather(*(account.submit(Admitted(stop(), PositionMode.ONE_WAY)) for _ in range(4)))
        return account.budget.used_weight

    assert run(script, work) == 700


@pytest.mark.parametrize(("path", "used"), [("/fapi/v2/ticker/price", 1), ("/fapi/v1/ticker/24hr", 2300)])
def test_a_weight_that_is_known_to_be_wrong_is_not_counted(path, used):
    async def answer(_request):
        return web.json_response({"price": "2", "quoteVolume": "2"}, headers={"x-mbx-used-weight-1m": "2300"})

    async def work(account):
        await (account.last_price("XRPUSDT") if "price" in path else account.quote_volume("XRPUSDT"))
        return account.budget.used_weight

    script = Script([answer])
    assert run(script, work, kind=BinanceReader) == used
    assert script.calls[0].path == path


# Reads


READS = {
    "server_time": lambda a: a.server_time(),
    "position_mode": lambda a: a.position_mode(),
    "positions": lambda a: a.positions(),
    "holdings": lambda a: a.holdings(),
    "open_orders": lambda a: a.open_orders("XRPUSDT"),
    "find_order": lambda a: a.find_order("XRPUSDT", "x", Book.ALGO),
    "fills": lambda a: a.fills("XRPUSDT", NOW - 1000),
    "symbol_config": lambda a: a.symbol_config("XRPUSDT"),
    "wallet": lambda a: a.wallet("USDT"),
    "fees": lambda a: a.fees("XRPUSDT"),
    "instruments": lambda a: a.instruments(),
    "brackets": lambda a: a.brackets("XRPUSDT"),
    "candles": lambda a: a.candles("XRPUSDT", "1m", 10),
    "quote_volume": lambda a: a.quote_volume("XRPUSDT"),
    "start_listen_key": lambda a: a.start_listen_key(),
}
FAILURES = {
    "dropped": (dropped, UnavailableError),
    "unreadable": (unreadable, UnavailableError),
    "wrong shape": ("text", UnavailableError),
    "error": (error(500, -1000), UnavailableError),
    "refused": (error(400, -1121), UnavailableError),
    "limited": (error(429, -1003), RateLimitedError),
    "key": (error(401, -2015), CredentialsError),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("read", READS)
def test_a_failed_read_is_an_error_never_empty(read, failure):
    answer, kind = FAILURES[failure]
    script = Script([answer], by_path={"/fapi/v1/time": [answer if read == "server_time" else {"serverTime": NOW}]})

    with pytest.raises(kind) as caught:
        run(script, READS[read], kind=BinanceReader)
    assert type(caught.value) is kind


def test_half_a_read_of_both_books_is_no_read():
    script = Script([[ALGO]], by_path={"/fapi/v1/openOrders": [error(500, 0)]})

    with pytest.raises(UnavailableError):
        run(script, READS["open_orders"])


def test_both_books_are_read_the_conditional_one_first():
    script = Script([[]], by_path={"/fapi/v1/openAlgoOrders": [[ALGO]], "/fapi/v1/openOrders": [[ORDER]]})
    found = run(script, READS["open_orders"])

    assert [order.book for order in found] == [Book.ALGO, Book.REGULAR]
    assert script.paths() == ["v1/openAlgoOrders", "v1/openOrders"]
    assert all(call.params["symbol"] == "XRPUSDT" for call in script.calls)


def test_an_order_the_exchange_knows_not_of_is_none():
    script = Script([error(400, -2013, "Order does not exist.")])

    assert run(script, READS["find_order"]) is None
    assert script.paths() == ["v1/algoOrder"]


def test_a_regular_order_is_found_by_its_client_id():
    script = Script([ORDER])
    found = run(script, lambda account: account.find_order("XRPUSDT", "tp-exit", Book.REGULAR))

    assert found.exchange_id == "8"
    assert (script.calls[0].path, script.calls[0].params["origClientOrderId"]) == ("/fapi/v1/order", "tp-exit")


def test_the_open_candle_is_left_out():
    rows = [[at, "1", "2", "0.5", "1.5", "10", at + 59_999, "15"] for at in range(NOW, NOW + 4 * 60_000, 60_000)]
    script = Script([rows])
    found = run(script, lambda account: account.candles("XRPUSDT", "1m", 3), kind=BinanceReader, keys=False)

    assert [candle.at for candle in found] == [row[0] for row in rows[:3]]
    assert script.calls[0].params["limit"] == "4"


def test_more_candles_than_one_answer_holds_are_read_in_pages():
    served = []

    async def answer(request):
        limit = int(request.query["limit"])
        end = int(request.query.get("endTime", NOW)) // 60_000
        served.append(limit)
        rows = [
            [at * 60_000, "1", "1", "1", "1", "1", at * 60_000 + 59_999, "1"] for at in range(end - limit + 1, end + 1)
        ]
        return web.json_response(rows)

    found = run(Script([answer]), lambda account: account.candles("XRPUSDT", "1m", 2000))

    assert served == [1500, 501]
    assert len(found) == 2000
    assert [later.at - candle.at for candle, later in pairwise(found)] == [60_000] * 1999


def trade(number, at):
    return {
        "id": number,
        "orderId": 1,
        "symbol": "XRPUSDT",
        "side": "SELL",
        "positionSide": "BOTH",
        "qty": "1",
        "price": "1",
        "commission": "0",
        "commissionAsset": "USDT",
        "realizedPnl": "0",
        "maker": False,
        "time": at,
    }


def test_fills_are_read_in_pages_and_windows_without_doubles():
    trades = [trade(number, NOW - 20 * 86_400_000 + number * 400_000) for number in range(2500)]

    async def answer(request):
        start, end = int(request.query["startTime"]), int(request.query["endTime"])
        assert end - start < 7 * 86_400_000
        rows = [row for row in trades if start <= row["time"] <= end]
        return web.json_response(rows[: int(request.query["limit"])])

    found = run(Script([answer]), lambda account: account.fills("XRPUSDT", NOW - 21 * 86_400_000))

    assert [fill.trade_id for fill in found] == list(range(2500))


def test_quiet_weeks_do_not_end_the_reading_of_fills():
    trades = [trade(1, NOW - 20 * 86_400_000), trade(2, NOW - 1)]

    async def answer(request):
        start, end = int(request.query["startTime"]), int(request.query["endTime"])
        return web.json_response([row for row in trades if start <= row["time"] <= end])

    found = run(Script([answer]), lambda account: account.fills("XRPUSDT", NOW - 21 * 86_400_000))

    assert [fill.trade_id for fill in found] == [1, 2]


@pytest.mark.parametrize("bare", [True, False])
def test_brackets_come_as_a_list_or_bare_with_exact_numbers(bare):
    tiers = [
        {
            "bracket": 1,
            "initialLeverage": 75,
            "notionalCap": 10000,
            "notionalFloor": 0,
            "maintMarginRatio": 0.0065,
            "cum": 0.0,
        }
    ]
    row = {"symbol": "XRPUSDT", "brackets": tiers}
    [bracket] = run(Script([row if bare else [row]]), READS["brackets"])

    assert bracket.maintenance_rate == D("0.0065")
    assert isinstance(run(Script([[]]), READS["brackets"]), Unavailable)


def test_the_account_mode_is_read_from_the_cheap_endpoint():
    script = Script([{"dualSidePosition": True}])

    assert run(script, READS["position_mode"]) is PositionMode.HEDGE
    assert script.paths() == ["v1/accountConfig"]


def test_the_mode_of_holdings_is_asked_for_only_where_no_row_shows_it():
    flat = {"symbol": "XRPUSDT", "positionSide": "LONG", "positionAmt": "0.0"}
    shown = Script([[flat]])
    assert run(shown, READS["holdings"]) == Holdings(PositionMode.HEDGE, ())
    assert shown.paths() == ["v3/positionRisk"]

    asked = Script([[]], by_path={"/fapi/v1/accountConfig": [{"dualSidePosition": False}]})
    assert run(asked, READS["holdings"]) == Holdings(PositionMode.ONE_WAY, ())
    assert asked.paths() == ["v3/positionRisk", "v1/accountConfig"]


def test_positions_and_wallet_are_read_from_version_three():
    script = Script([[]], by_path={"/fapi/v3/account": [{"assets": []}]})

    assert run(script, READS["positions"]) == ()
    assert isinstance(run(script, READS["wallet"]), Unavailable)
    assert script.paths() == ["v3/positionRisk", "v3/account"]


def test_chinese_symbols_are_signed_and_arrive_whole():
    script = Script([[]])
    run(script, lambda account: account.positions("币安人生USDT"))

    assert script.calls[0].params["symbol"] == "币安人生USDT"


def test_listen_keys_are_given_kept_and_forgotten():
    script = Script([{"listenKey": "k1"}, {}, error(400, -1125, "This listenKey does not exist.")])

    async def work(account):
        key = await account.start_listen_key()
        await account.keep_listen_key(key)
        with pytest.raises(ExchangeRejected) as caught:
            await account.keep_listen_key(key)
        return key, caught.value.code

    assert run(script, work, kind=BinanceReader) == ("k1", -1125)
    assert [call.method for call in script.calls] == ["POST", "PUT", "PUT"]


def test_the_clock_is_measured_before_the_first_signed_read_and_then_left_alone():
    script = Script([[]])
    clock = ExchangeClock()

    async def work(account):
        await account.positions()
        await account.positions()
        return clock.now()

    assert 0 <= run(script, work, clock=clock) - NOW < 60_000
    assert [call.path for call in script.calls].count("/fapi/v1/time") == 1
    stamps = [int(call.params["timestamp"]) for call in script.calls if "timestamp" in call.params]
    assert all(0 <= stamp - NOW < 60_000 for stamp in stamps)


# Safety


def test_a_reader_has_no_way_to_send_an_order():
    """I13: neither a method, nor a session that would carry one."""
    assert not hasattr(BinanceReader, "submit")
    script = Script([ORDER])

    async def work(account):
        session = account._wire._open()
        for send in (session.futures_create_order, session.futures_create_algo_order, session.futures_cancel_order):
            with pytest.raises(RuntimeError):
                await send(symbol="XRPUSDT")

    run(script, work, kind=BinanceReader)
    assert script.calls == []


def test_without_keys_signed_reads_ask_for_them_and_send_nothing():
    script = Script([[]])

    with pytest.raises(CredentialsError):
        run(script, READS["positions"], kind=BinanceReader, keys=False)
    assert script.calls == []


def test_a_redirect_is_not_followed():
    """It would carry the key wherever it points."""

    async def redirect(_request):
        raise web.HTTPFound("/elsewhere")

    script = Script([[]], by_path={"/fapi/v3/positionRisk": [redirect]})

    with pytest.raises(UnavailableError):
        run(script, READS["positions"])
    assert script.paths() == ["v3/positionRisk"]


def echo(status, body, content_type="application/json"):
    """A server that gives back whatever it was sent, headers and all."""

    async def answer(request):
        sent = f"{request.headers} {request.query_string} {await request.text()} {KEY} {SECRET}"
        text = body.replace("ECHO", sent.replace('"', "'"))
        return web.Response(status=status, text=text, content_type=content_type)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        dropped,
        cut_off,
        unreadable,
        echo(400, '{"code":-1121,"msg":"ECHO"}'),
        echo(401, '{"code":-2015,"msg":"ECHO"}'),
        echo(418, '{"code":-1003,"msg":"ECHO"}'),
        echo(502, "ECHO", "text/html"),
        echo(200, "ECHO", "text/html"),
        echo(200, '{"x":"ECHO"}'),
    ],
)
@pytest.mark.parametrize("read", ["positions", "find_order", "server_time", "submit"])
def test_no_secret_is_in_any_error_traceback_or_log(answer, read, caplog):
    """I20: the canaries are in the headers of every request, and the server echoes them."""
    caplog.set_level(logging.DEBUG)
    output = io.StringIO()
    script = Script([answer], by_path={"/fapi/v1/time": [answer]} if read == "server_time" else {})
    work = READS.get(read) or (lambda account: account.submit(Admitted(stop(), PositionMode.ONE_WAY)))
    chained = shown = None
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            shown = [repr(run(script, work))]
        except TpctlError as failure:
            shown = [
                *traceback.format_exception(failure),
                failure.hint,
                repr(failure),
                str(failure),
                repr(failure.__dict__),
            ]
            chained = failure.__cause__ or failure.__context__

    assert chained is None
    seen = output.getvalue() + caplog.text + "".join(shown)
    assert seen
    for canary in ("CANARYKEY", "CANARYSECRET"):
        assert canary not in seen
    assert "signature=" not in seen.replace("signature=***", "")


def test_hosts_are_named_with_their_environment():
    assert (LIVE.env, DEMO.env) == ("live", "demo")
    expected = Endpoints(
        "http://127.0.0.1:8790/fapi", "ws://127.0.0.1:8790", "http://127.0.0.1:8790/futures/data", "sim"
    )
    assert twin("http://127.0.0.1:8790/") == expected
    for bad in ("127.0.0.1:8790", "ftp://127.0.0.1", "http://example.org:1", "http://{tld}"):
        with pytest.raises(ConfigError):
            twin(bad)


# Clocks


def test_the_exchange_clock_follows_monotonic_time_and_takes_readings_at_their_middle():
    mono, wall = [100.0], [1_000_000.0]
    clock = ExchangeClock(monotonic=lambda: mono[0], wall=lambda: wall[0])
    assert clock.due()
    clock.measured(NOW, 99_000.0, 101_000.0)
    assert clock.now() == NOW
    assert not clock.due()

    wall[0] += 3600  # the wall clock jumps: time does not, but the machine may have slept
    assert clock.now() == NOW
    assert clock.due()


def test_the_exchange_clock_is_measured_again_after_some_minutes():
    mono = [100.0]
    clock = ExchangeClock(monotonic=lambda: mono[0], wall=lambda: mono[0])
    clock.measured(NOW, 100_000.0, 100_000.0)
    mono[0] += 179
    assert not clock.due()
    mono[0] += 2
    assert clock.due()
    assert clock.now() == NOW + 181_000


def test_a_twin_at_speed_has_a_clock_at_speed():
    mono = [100.0]
    clock = ExchangeClock(monotonic=lambda: mono[0], wall=lambda: mono[0], speed=60.0)
    clock.measured(NOW, 100_000.0, 100_000.0)
    mono[0] += 1

    assert clock.now() == NOW + 60_000


def test_the_event_clock_never_goes_back():
    clock = EventClock()
    assert clock.due()
    clock.measured(NOW, 0, 0)
    clock.advance(NOW + 5)
    clock.advance(NOW + 1)

    assert (clock.now(), clock.stamp()) == (NOW + 5, NOW + 5)


# What a key may do


class _Rights(BinanceReader):
    """A reader that asks the scripted server for the rights of its key."""

    def __init__(self, endpoints, *args, **kwargs):
        super().__init__(replace(endpoints, rights=endpoints.rest.replace("/fapi", "/sapi")), *args, **kwargs)


RIGHTS = {
    "ipRestrict": True,
    "enableFutures": True,
    "enableWithdrawals": False,
    "enableInternalTransfer": False,
    "permitsUniversalTransfer": False,
}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (RIGHTS, KeyRights(moves_funds=False, trades_futures=True, bound_to_ip=True)),
        (RIGHTS | {"enableWithdrawals": True}, KeyRights(True, True, True)),
        (RIGHTS | {"enableInternalTransfer": True}, KeyRights(True, True, True)),
        (RIGHTS | {"permitsUniversalTransfer": True}, KeyRights(True, True, True)),
        (RIGHTS | {"enableFutures": False, "ipRestrict": False}, KeyRights(False, False, False)),
    ],
)
def test_the_rights_of_a_key_are_read(answer, expected):
    script = Script([answer])

    assert run(script, lambda account: account.key_rights(), kind=_Rights) == expected
    assert script.paths() == ["/sapi/v1/account/apiRestrictions"]


def test_an_answer_without_the_rights_is_not_taken_for_harmless():
    with pytest.raises(UnavailableError):
        run(Script([{}]), lambda account: account.key_rights(), kind=_Rights)


def test_where_no_rights_are_told_none_are_asked_for():
    script = Script([RIGHTS])

    assert isinstance(run(script, lambda account: account.key_rights()), Unavailable)
    assert script.paths() == []


def test_a_shadow_account_withholds_every_order_and_sends_nothing():
    script = Script([{}])

    answer = run(script, lambda account: account.submit(Admitted(stop(), PositionMode.ONE_WAY)), kind=ShadowExchange)

    assert answer == Withheld("shadow mode")
    assert script.calls == []
