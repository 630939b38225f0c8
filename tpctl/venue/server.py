"""The served twin: one loopback port with the exchange's REST and websocket addresses, and the market's time.

Decides which address leads where, and who moves the market. It binds to loopback addresses only: a fake exchange is
nobody else's business.

Beside the exchange's own addresses there are two of the twin's:
- GET `/twin/v1/status`: `{"now","speed","step","done","symbols","env":"sim","faults","rights"}`, for a client that
  looks for its twin; `faults` tells how often each has struck.
- websocket `/twin/v1/pace`: lockstep. `{"op":"advance"}` takes the next step (market, trader, user events) when it is
  due, at once at speed max, and sends its frames. From the first word to the end of the connection the market moves at
  no other time. `{"op":"sync"}` only sends waiting user events. Both then send `{"e":"barrier","E":now,"n":b}` on
  every data connection opened with `barrier=1`, behind everything else of that step, and answer
  `{"now":ms,"step":n,"barrier":b,"done":bool}`. A connection opened with `barrier=1` gets the newest barrier at once.
  At the market's end advance moves nothing and answers done.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from typing import Any, Final

from aiohttp import WSMsgType, web

from tpctl.exits.errors import UsageError
from tpctl.exits.units import Millis
from tpctl.venue.auth import KeyPair, KeyRights
from tpctl.venue.entries import Entries
from tpctl.venue.faults import FaultPlan, LinkFault
from tpctl.venue.http import RestApi
from tpctl.venue.limits import Limits
from tpctl.venue.market import Market
from tpctl.venue.pace import Pace
from tpctl.venue.twin import Twin
from tpctl.venue.venue import Venue
from tpctl.venue.ws_api import WebsocketApi

_DATA_PATHS: Final = (("/market", "market"), ("/public", "public"), ("/private", "private"), ("", "public"))
_SHUTDOWN_S = 0.5


class Served:
    """A twin that is being served: where it is, and when its market ends."""

    def __init__(self, host: str, port: int, twin: Twin, finished: "asyncio.Future[None]") -> None:
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.port = port
        self._twin = twin
        self._finished = finished
        self._told = False

    @property
    def venue(self) -> Venue:
        """The exchange itself, for checkers in the same process."""
        return self._twin.venue

    @property
    def status(self) -> dict[str, Any]:
        """What `/twin/v1/status` answers."""
        return _status(self._twin)

    def cut(self) -> None:
        """Break every data connection, as a network does."""
        self._twin.hub.close()

    def strike(self, fault: LinkFault) -> None:
        """Let a fault happen to the data connections."""
        self._twin.hub.strike(fault)

    async def wait_done(self) -> None:
        """Wait for the market's end; raises what stopped the market, if anything did."""
        self._told = True
        await asyncio.shield(self._finished)

    def raise_untold(self) -> None:
        """Raise what stopped the market where nobody has waited to hear it."""
        if not self._told and self._finished.done():
            self._finished.result()


@asynccontextmanager
async def serve(
    venue: Venue,
    source: Market,
    entries: Entries,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    speed: float | None = None,
    key: str = "sim",
    secret: str = "sim",  # noqa: S107 - the fake account's, known to everybody
    limits: Limits | None = None,
    held: bool = False,
    rights: KeyRights | None = None,
    skew_ms: Millis = 0,
    faults: FaultPlan | None = None,
) -> AsyncIterator[Served]:
    """Serve the twin while the context lasts; port 0 takes a free one, speed None is lockstep.

    `held` keeps the market where it is until a client asks for its steps, whatever the speed. `rights` are what the key
    may do, which the status then says can be asked for. `skew_ms` is how far the exchange's clock is ahead of the
    market's. `faults` are asked at every seam; without them nothing goes wrong.

    Raises `UsageError` for an address that is not loopback, and `OSError` where the port is taken.
    """
    if not _is_loopback(host):
        raise UsageError(f"address {host!r} is not loopback", "serve the twin on 127.0.0.1")
    pace = Pace(speed, source.start_ms)
    plan = faults or FaultPlan({}, 0, start_ms=source.start_ms)
    twin = Twin(venue, source, entries, pace, limits=limits or Limits(), faults=plan)
    if held:
        twin.take_wheel()
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    runner = web.AppRunner(
        _application(
            twin, RestApi(twin, KeyPair(key, secret), rights or KeyRights(), skew_ms), finished, told=rights is not None
        ),
        access_log=None,
        shutdown_timeout=_SHUTDOWN_S,
    )
    await runner.setup()
    clock: asyncio.Task[None] | None = None
    try:
        await web.TCPSite(runner, host, port).start()
        served = Served(host, int(runner.addresses[0][1]), twin, finished)
        if not pace.lockstep:
            clock = asyncio.create_task(_run(twin))
            clock.add_done_callback(partial(_settle, finished))
        elif twin.done:
            finished.set_result(None)
        yield served
    finally:
        if clock is not None:
            clock.cancel()
            await asyncio.wait([clock])
        twin.hub.close()
        await runner.cleanup()
    served.raise_untold()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _status(twin: Twin) -> dict[str, Any]:
    speed = twin.pace.speed
    return {
        "now": twin.now,
        "speed": "max" if speed is None else speed,
        "step": twin.taken,
        "done": twin.done,
        "symbols": list(twin.symbols),
        "env": "sim",
        "faults": dict(twin.faults.dice.counts),
    }


async def _run(twin: Twin) -> None:
    """Move the market with the wall clock. Between two steps every waiting request gets its turn."""
    while not twin.done:
        await twin.free.wait()
        await asyncio.sleep(twin.wait_s)
        if twin.free.is_set() and twin.wait_s <= 0:
            twin.advance()


def _settle(finished: "asyncio.Future[None]", clock: "asyncio.Task[None]") -> None:
    if clock.cancelled() or finished.done():
        return
    error = clock.exception()
    if error is None:
        finished.set_result(None)
    else:
        finished.set_exception(error)


def _application(twin: Twin, rest: RestApi, finished: "asyncio.Future[None]", *, told: bool) -> web.Application:
    app = web.Application()
    if told:
        app.router.add_get("/sapi/v1/account/apiRestrictions", rest.answer_rights)
    app.router.add_route("*", "/fapi/{path:.+}", rest.answer)
    app.router.add_get("/api/v3/{path:ping|time}", rest.answer_spot)

    app.router.add_get("/ws-fapi/v1", WebsocketApi(twin, rest).serve)

    async def status(_request: web.Request) -> web.Response:
        return web.json_response({**_status(twin), "rights": told})

    async def pace(request: web.Request) -> web.WebSocketResponse:
        return await _control(request, twin, finished)

    app.router.add_get("/twin/v1/status", status)
    app.router.add_get("/twin/v1/pace", pace)
    for prefix, category in _DATA_PATHS:
        for form, combined in (("ws", False), ("stream", True)):

            async def data(
                request: web.Request, category: str = category, combined: bool = combined
            ) -> web.StreamResponse:
                return await twin.hub.serve(request, category, combined=combined)

            app.router.add_get(f"{prefix}/{form}", data)
            app.router.add_get(f"{prefix}/{form}/{{tail:.*}}", data)
    return app


async def _control(request: web.Request, twin: Twin, finished: "asyncio.Future[None]") -> web.WebSocketResponse:
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    driving = False
    try:
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            op = _asked(message.data)
            if op is not None and not driving:
                driving = True
                twin.take_wheel()
            try:
                answer = await _obey(twin, op)
            except Exception as error:
                if not finished.done():
                    finished.set_exception(error)
                raise
            if twin.done and not finished.done():
                finished.set_result(None)
            await socket.send_json(answer)
    finally:
        if driving:
            twin.leave_wheel()
    return socket


def _asked(text: str) -> object:
    try:
        asked = json.loads(text)
    except json.JSONDecodeError:
        return None
    return asked.get("op") if isinstance(asked, dict) else None


async def _obey(twin: Twin, op: object) -> dict[str, Any]:
    if op == "advance":
        await asyncio.sleep(twin.wait_s)
        twin.advance()
    elif op == "sync":
        twin.flush()
    else:
        return {"error": f"unknown op {op!r}, expected advance or sync"}
    barrier = twin.hub.raise_barrier()
    return {"now": twin.now, "step": twin.taken, "barrier": barrier, "done": twin.done}
