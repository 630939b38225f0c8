"""The REST side of the served exchange: from a request to a `Venue` method and back (binance-usdm 5).

Decides the order of checks (weight, key, signature, time, order count) and which headers an answer carries. User events
a request caused are sent before its answer is. What a fault makes of a request is carried out here: delayed, lost,
answered by somebody else.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from aiohttp import web

from tpctl.exits.units import Millis
from tpctl.venue.auth import KeyPair, KeyRights, check_key, check_signature, check_time, decode_params
from tpctl.venue.faults import Fate, Reply, answered
from tpctl.venue.limits import ThrottledError
from tpctl.venue.params import Params
from tpctl.venue.refusals import VenueError
from tpctl.venue.routes import ROUTES
from tpctl.venue.streams import encoded
from tpctl.venue.twin import Twin

Answer: TypeAlias = Callable[[Params, Millis], Any]
Weigh: TypeAlias = Callable[[Params], int]


def _one(_params: Params) -> int:
    return 1


def _ticker_weight(params: Params) -> int:
    return 1 if params.get("symbol") else 40


def _kline_weight(params: Params) -> int:
    limit = params.get("limit", "")
    rows = int(limit) if limit.isascii() and limit.isdigit() else 500
    return next((weight for most, weight in ((99, 1), (499, 2), (1000, 5)) if rows <= most), 10)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, its parameters decoded: the API key it names, and what judges its signature (or refuses it)."""

    method: str
    path: str
    params: Params
    key: str | None
    authentic: Callable[[KeyPair], None]


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of a request: the reply (None: no answer comes), and the headers that tell what has been used.

    `json` tells whether the answer is the API's own; some of those given in its place are plain text.
    """

    reply: Reply | None
    headers: dict[str, str]
    json: bool


class RestApi:
    """Answers `/fapi/...`, `/api/v3/ping` and `/api/v3/time`."""

    def __init__(self, twin: Twin, pair: KeyPair, rights: KeyRights, skew_ms: Millis) -> None:
        self._twin = twin
        self._pair = pair
        self._rights = rights
        self._skew_ms = skew_ms
        # What needs no account: method, weight, and whether the API key is needed.
        self._own: dict[tuple[str, str], tuple[Answer, Weigh, bool]] = {
            ("GET", "v1/ping"): (lambda _params, _now: {}, _one, False),
            ("GET", "v1/time"): (lambda _params, now: {"serverTime": now + self._ahead_ms}, _one, False),
            ("GET", "v1/klines"): (lambda params, _now: twin.candles.klines(params), _kline_weight, False),
            ("GET", "v1/continuousKlines"): (
                lambda params, _now: twin.candles.continuous_klines(params),
                _kline_weight,
                False,
            ),
            ("GET", "v1/ticker/24hr"): (lambda params, _now: twin.candles.tickers(params), _ticker_weight, False),
            ("POST", "v1/listenKey"): (self._open_key, _one, True),
            ("PUT", "v1/listenKey"): (self._extend_key, _one, True),
            ("DELETE", "v1/listenKey"): (self._close_key, _one, True),
        }

    @property
    def _ahead_ms(self) -> Millis:
        """How far the exchange's clock is ahead of the market's."""
        return self._skew_ms + self._twin.faults.clock_offset_ms

    def _open_key(self, _params: Params, now: Millis) -> dict[str, str]:
        return {"listenKey": self._twin.keys.open(now)}

    def _extend_key(self, params: Params, now: Millis) -> dict[str, str]:
        return {"listenKey": self._twin.keys.extend(params.get("listenKey") or None, now)}

    def _close_key(self, _params: Params, _now: Millis) -> dict[str, str]:
        self._twin.keys.close()
        return {}

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request to `/fapi/{path}`."""
        return await self._answer(request, request.match_info["path"])

    async def answer_spot(self, request: web.Request) -> web.Response:
        """Answer the two spot requests the client library makes when it is constructed."""
        return await self._answer(request, f"v1/{request.match_info['path']}")

    async def answer_rights(self, request: web.Request) -> web.Response:
        """Answer `/sapi/v1/account/apiRestrictions`: what the key may do."""
        now = self._twin.now
        query = request.rel_url.raw_query_string
        try:
            check_key(self._pair, request.headers.get("X-MBX-APIKEY"))
            check_signature(self._pair, query)
            check_time(decode_params(query), now + self._ahead_ms, self._twin.pace.tolerance())
        except VenueError as refused:
            refusal = {"code": refused.code, "msg": refused.msg}
            return web.Response(body=encoded(refusal), status=refused.http_status, content_type="application/json")
        return web.Response(body=encoded(self._rights.answer(now)), content_type="application/json")

    async def _answer(self, request: web.Request, path: str) -> web.Response:
        query = request.rel_url.raw_query_string
        body = (await request.read()).decode("utf-8", "replace") if request.body_exists else ""
        params = {**decode_params(body), **decode_params(query)}
        authentic = partial(check_signature, raw=query or body)
        call = Call(request.method, path, params, request.headers.get("X-MBX-APIKEY"), authentic)
        handled = await self.handle(call)
        if handled.reply is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        headers = handled.headers
        if handled.reply.retry_after_s is not None:
            headers["Retry-After"] = str(handled.reply.retry_after_s)
        kind = "application/json" if handled.json else "text/html"
        return web.Response(
            body=encoded(handled.reply.body), status=handled.reply.status, headers=headers, content_type=kind
        )

    async def handle(self, call: Call) -> Handled:
        """Answer a request as the exchange and the faults make of it."""
        fate = self._twin.faults.on_request(self._twin.now, call.method, call.path, call.params)
        await self._twin.pause(fate.delay_ms)
        # From here on nothing waits: a request is handled whole between two steps of the market.
        now = self._twin.now
        status, result, wait_s = self._executed(call, now, fate) if fate.executes else (200, None, None)
        self._twin.flush()
        route = ROUTES.get((call.method, call.path))
        headers = self._twin.gate.headers(now, order=route is not None and route.order_count > 0)
        reply = answered(fate, status, result)
        if reply is not None:
            await self._twin.pause(reply.back_ms)
            reply = replace(reply, retry_after_s=reply.retry_after_s or wait_s)
        return Handled(reply, headers, json=fate.answer is None or bool(fate.answer.code))

    def _executed(self, call: Call, now: Millis, fate: Fate) -> tuple[int, Any, int | None]:
        """Return status, body and Retry-After of what the exchange itself makes of a request."""
        try:
            result = self._result(call, now, fate)
        except VenueError as refused:
            wait_s = refused.retry_after_s if isinstance(refused, ThrottledError) else None
            return refused.http_status, refused.body, wait_s
        if fate.rejects:
            self._twin.venue.reject(result["clientAlgoId"])
        return 200, result, None

    def _result(self, call: Call, now: Millis, fate: Fate) -> Any:
        gate, params = self._twin.gate, call.params
        own = self._own.get((call.method, call.path))
        if own is not None:
            handler, weigh, keyed = own
            gate.charge(weigh(params), now)
            if keyed:
                check_key(self._pair, call.key)
            return handler(params, now)
        route = ROUTES.get((call.method, call.path))
        if route is None:
            gate.charge(1, now)
            raise VenueError(-5000, f"Path /fapi/{call.path}, Method {call.method} is invalid", 404)
        gate.charge(route.weight_of(params), now)
        if route.signed:
            check_key(self._pair, call.key)
            call.authentic(self._pair)
            check_time(params, now + self._ahead_ms, self._twin.pace.tolerance())
        if route.order_count:
            gate.count_orders(route.order_count, now)
        return [] if fate.empty else self._twin.venue.call(call.method, call.path, params, lag_ms=fate.lag_ms)
