"""The REST side of the served exchange: from a request to a `Venue` method and back (binance-usdm 5).

Decides the order of checks (weight, key, signature, time, order count) and which headers an answer carries. User events
a request caused are sent before its answer is.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from aiohttp import web

from tpctl.exits.units import Millis
from tpctl.venue.auth import KeyPair, KeyRights, check_key, check_signature, check_time, decode_params
from tpctl.venue.limits import ThrottledError
from tpctl.venue.params import Params
from tpctl.venue.refusals import VenueError
from tpctl.venue.routes import ROUTES
from tpctl.venue.twin import Twin

Answer: TypeAlias = Callable[[Params, Millis], Any]
Weigh: TypeAlias = Callable[[Params], int]

_encode = msgspec.json.Encoder().encode


def _one(_params: Params) -> int:
    return 1


def _ticker_weight(params: Params) -> int:
    return 1 if params.get("symbol") else 40


def _kline_weight(params: Params) -> int:
    limit = params.get("limit", "")
    rows = int(limit) if limit.isascii() and limit.isdigit() else 500
    return next((weight for most, weight in ((99, 1), (499, 2), (1000, 5)) if rows <= most), 10)


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
            ("GET", "v1/time"): (lambda _params, now: {"serverTime": now + skew_ms}, _one, False),
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
            check_time(decode_params(query), now + self._skew_ms, self._twin.pace.tolerance())
        except VenueError as refused:
            refusal = {"code": refused.code, "msg": refused.msg}
            return web.Response(body=_encode(refusal), status=refused.http_status, content_type="application/json")
        return web.Response(body=_encode(self._rights.answer(now)), content_type="application/json")

    async def _answer(self, request: web.Request, path: str) -> web.Response:
        query = request.rel_url.raw_query_string
        body = (await request.read()).decode("utf-8", "replace") if request.body_exists else ""
        # From here on nothing waits: a request is handled whole between two steps of the market.
        now = self._twin.now
        route = ROUTES.get((request.method, path))
        headers: dict[str, str] = {}
        try:
            result = self._result(request, path, query, body, now)
            status = 200
        except VenueError as refused:
            result, status = {"code": refused.code, "msg": refused.msg}, refused.http_status
            if isinstance(refused, ThrottledError) and refused.retry_after_s is not None:
                headers["Retry-After"] = str(refused.retry_after_s)
        self._twin.flush()
        headers.update(self._twin.gate.headers(now, order=route is not None and route.order_count > 0))
        return web.Response(body=_encode(result), status=status, headers=headers, content_type="application/json")

    def _result(self, request: web.Request, path: str, query: str, body: str, now: Millis) -> Any:
        params = {**decode_params(body), **decode_params(query)}
        key = request.headers.get("X-MBX-APIKEY")
        gate = self._twin.gate
        own = self._own.get((request.method, path))
        if own is not None:
            handler, weigh, keyed = own
            gate.charge(weigh(params), now)
            if keyed:
                check_key(self._pair, key)
            return handler(params, now)
        route = ROUTES.get((request.method, path))
        if route is None:
            gate.charge(1, now)
            raise VenueError(-5000, f"Path /fapi/{path}, Method {request.method} is invalid", 404)
        gate.charge(route.weight_of(params), now)
        if route.signed:
            check_key(self._pair, key)
            check_signature(self._pair, query or body)
            check_time(params, now + self._skew_ms, self._twin.pace.tolerance())
        if route.order_count:
            gate.count_orders(route.order_count, now)
        return self._twin.venue.call(request.method, path, params)
