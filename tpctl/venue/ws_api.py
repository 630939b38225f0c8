"""The websocket API of the served exchange: requests over one connection at `/ws-fapi/v1` (binance-usdm 5.6).

Decides which method is which request and how an answer is wrapped. What a request does, who may ask, and what faults
make of it are those of the REST side. A lost answer is an answer that never comes; the connection stays.
"""

import json
from http import HTTPStatus
from typing import Any, Final

from aiohttp import WSMsgType, web

from tpctl.venue.auth import check_signed_params
from tpctl.venue.faults import Reply
from tpctl.venue.http import Call, Handled, RestApi
from tpctl.venue.refusals import VenueError, refusal
from tpctl.venue.streams import encoded
from tpctl.venue.twin import Twin

_METHODS: Final[dict[str, tuple[str, str]]] = {
    "order.place": ("POST", "v1/order"),
    "order.modify": ("PUT", "v1/order"),
    "order.cancel": ("DELETE", "v1/order"),
    "order.status": ("GET", "v1/order"),
    "algoOrder.place": ("POST", "v1/algoOrder"),
    "algoOrder.cancel": ("DELETE", "v1/algoOrder"),
    "account.position": ("GET", "v2/positionRisk"),
    "v2/account.position": ("GET", "v3/positionRisk"),
    "account.balance": ("GET", "v2/balance"),
    "v2/account.balance": ("GET", "v3/balance"),
    "account.status": ("GET", "v2/account"),
    "v2/account.status": ("GET", "v3/account"),
    "ticker.price": ("GET", "v2/ticker/price"),
    "ticker.book": ("GET", "v1/ticker/bookTicker"),
    "userDataStream.start": ("POST", "v1/listenKey"),
    "userDataStream.ping": ("PUT", "v1/listenKey"),
    "userDataStream.stop": ("DELETE", "v1/listenKey"),
}
# The header that tells a limit's use, and the limit it belongs to in `rateLimits` of exchangeInfo.
_COUNTS: Final = (
    ("x-mbx-used-weight-1m", "REQUEST_WEIGHT", "MINUTE"),
    ("x-mbx-order-count-10s", "ORDERS", "SECOND"),
    ("x-mbx-order-count-1m", "ORDERS", "MINUTE"),
)
_MESSAGE_BYTES: Final = 65_536
_PING_S: Final = 180.0


class WebsocketApi:
    """Answers requests in the order they come, each connection for itself."""

    def __init__(self, twin: Twin, rest: RestApi) -> None:
        self._twin = twin
        self._rest = rest

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer a websocket request and stay with it until it ends, at the latest after its 24 hours."""
        since = self._twin.now
        if self._twin.faults.in_maintenance(since):
            return web.Response(status=502)
        socket = web.WebSocketResponse(heartbeat=_PING_S, compress=False, max_msg_size=_MESSAGE_BYTES)
        await socket.prepare(request)
        life_ms = self._twin.hub.life_ms
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            if life_ms is not None and self._twin.now - since >= life_ms:
                await socket.close(code=1001, message=b"the connection has reached its life's end")
                break
            answer = await self._answered(message.data)
            if answer is not None:
                await socket.send_str(answer)
        return socket

    async def _answered(self, text: str) -> str | None:
        try:
            asked = json.loads(text)
        except json.JSONDecodeError:
            asked = None
        if not isinstance(asked, dict):
            return _refused(None, VenueError(-1130, "Malformed request: expected a JSON object."))
        number = asked.get("id")
        try:
            call = _call(asked)
        except VenueError as refused:
            return _refused(number, refused)
        handled = await self._rest.handle(call)
        if handled.reply is None:
            return None
        return self._wrapped(number, handled.reply, handled).decode()

    def _wrapped(self, number: object, reply: Reply, handled: Handled) -> bytes:
        body, whole = reply.body, True
        if isinstance(body, bytes):
            # Text in the answer's place is passed on; an answer that breaks off does so here too.
            whole = not handled.json
            body = {"code": 0, "msg": body.decode()} if whole else {}
        content = {"result": body} if reply.status == HTTPStatus.OK else {"error": body}
        answer = {"id": number, "status": reply.status, **content, "rateLimits": self._limits(handled)}
        return encoded(answer) if whole else encoded(answer)[:-5]

    def _limits(self, handled: Handled) -> list[dict[str, Any]]:
        rows = self._twin.venue.core.rules.exchange_info["rateLimits"]
        return [
            {**row, "count": int(handled.headers[header])}
            for header, kind, interval in _COUNTS
            if header in handled.headers
            for row in rows
            if (row["rateLimitType"], row["interval"]) == (kind, interval)
        ]


def _refused(number: object, refused: VenueError) -> str:
    return encoded({"id": number, "status": refused.http_status, "error": refused.body}).decode()


def _call(asked: dict[str, Any]) -> Call:
    method, given = asked.get("method"), asked.get("params", {})
    route = _METHODS.get(method) if isinstance(method, str) else None
    if route is None:
        raise VenueError(-5000, f"Method {method} is invalid")
    if not isinstance(given, dict):
        raise refusal(-1130, "params")
    params = {name: _text(value) for name, value in given.items() if value is not None}
    return Call(*route, params, params.get("apiKey"), lambda pair: check_signed_params(pair, params))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
