"""The websocket side of the served exchange: who is connected, what they asked for, what they are sent.

Decides the order of frames on a connection (market streams by name, then user events, then the barrier), and that no
client can hold up the market: frames wait in a bounded queue, and a client that does not read is cut off. Each frame is
encoded once and the same bytes go to every subscriber. Faults of connections and of market frames strike here.

Addresses (binance-usdm 2.4, 5.6): `/market`, `/public` and `/private`, each with `/ws` (raw) and `/stream` (wrapped).
The legacy `/ws` and `/stream` deliver what `/public` does. An unknown stream, one of the wrong address, and a dead
listen key are accepted and silent.
"""

import asyncio
import json
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from aiohttp import WSMsgType, web

from tpctl.exits.units import Millis
from tpctl.venue.faults import FaultPlan, LinkFault
from tpctl.venue.frames import Build, Category, MarketFrames
from tpctl.venue.limits import Limits, ListenKeys

MOST_STREAMS: Final = 1_024
_PING_S = 180.0
_MESSAGE_BYTES = 65_536

# A half-open connection is found out by its client's pings, which takes about this long. A client in lockstep has no
# wall clock to ping by: its connection breaks by itself then.
_FOUND_OUT_MS = 20_000

_encode = msgspec.json.Encoder().encode


def encoded(payload: Any) -> bytes:
    """Return a message as it is sent; bytes are sent as they are."""
    return payload if isinstance(payload, bytes) else _encode(payload)


class Connection:
    """One data connection and its queue of frames."""

    def __init__(self, request: web.Request, category: str, *, combined: bool, since: Millis, queue: int) -> None:
        self.category = category
        self.combined = combined
        self.since = since
        self.barrier = request.query.get("barrier") == "1"
        self.streams: set[str] = set()
        self.listen_keys: tuple[str, ...] = ()
        self.events: frozenset[str] = frozenset()
        self.deaf = False
        self.deaf_since: Millis = 0
        self.silent_until: Millis = 0
        self.newest = b""
        self._transport = request.transport
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(queue)

    def carry(self, frame: bytes, now: Millis) -> None:
        """Send a frame of a stream, unless the connection has fallen silent."""
        if not self.deaf and now >= self.silent_until:
            self.newest = frame
            self.send(frame)

    def send(self, frame: bytes | None) -> None:
        """Queue a frame, None to close; cut the connection off where the queue is full."""
        try:
            self._queue.put_nowait(frame)
        except asyncio.QueueFull:
            self.abort()

    def abort(self) -> None:
        """Cut the connection off without a goodbye."""
        if self._transport is not None:
            self._transport.abort()

    async def write(self, socket: web.WebSocketResponse) -> None:
        """Send the queued frames until closed."""
        try:
            while (frame := await self._queue.get()) is not None:
                await socket.send_frame(frame, WSMsgType.TEXT)
            await socket.close(code=1001, message=b"the connection has reached its life's end")
        except ConnectionResetError:
            # The client is gone; its reading side ends the connection.
            return


class Hub:
    """All data connections, and the frames of every step."""

    def __init__(self, frames: MarketFrames, keys: ListenKeys, limits: Limits, faults: FaultPlan) -> None:
        self._frames = frames
        self._keys = keys
        self._limits = limits
        self._faults = faults
        self._now: Millis = 0
        self._barrier = 0
        # Dicts keep the order of arrival, which keeps a story the same.
        self._connections: dict[Connection, None] = {}
        self._subscribers: dict[str, dict[Connection, None]] = {}
        self._builds: dict[str, tuple[Category, Build]] = {}

    @property
    def barrier(self) -> int:
        """The number of the newest barrier."""
        return self._barrier

    @property
    def life_ms(self) -> Millis | None:
        """How long a connection may live; None is for ever."""
        return self._limits.connection_ms

    def publish_step(self, at: Millis) -> None:
        """Send what the market streams carry after a step at `at`, end what has lived its time."""
        self._now = at
        self._frames.move(at)
        for connection in list(self._connections):
            if connection.deaf and connection.barrier and at - connection.deaf_since >= _FOUND_OUT_MS:
                connection.abort()
        for stream in sorted(self._builds):
            self._publish(stream, *self._builds[stream])
        expired = self._keys.expire(at)
        if expired is not None:
            self._tell_expired(expired)
        if self._limits.connection_ms is not None:
            for connection in list(self._connections):
                if at - connection.since >= self._limits.connection_ms:
                    self._end(connection)

    def _publish(self, stream: str, category: Category, build: Build) -> None:
        readers = [c for c in self._subscribers[stream] if c.category == category]
        if not readers:
            return
        for payload in build():
            for delivery in self._faults.on_frame(self._now, payload):
                raw = encoded(delivery.payload)
                wrapped = _wrap(stream, raw)
                for connection in readers:
                    connection.carry(wrapped if connection.combined else raw, self._now)

    def publish_user(self, kind: str, raw: bytes) -> None:
        """Send a user event to every connection with the valid key."""
        for connection in self._connections:
            for key in connection.listen_keys:
                if self._keys.valid(key, self._now) and (not connection.events or kind in connection.events):
                    connection.carry(_framed(connection, key, raw), self._now)

    def strike(self, fault: LinkFault) -> None:
        """Let a fault happen to the connections."""
        if fault.kind in {"expire-key", "rotate-key"}:
            key = self._keys.current
            self._keys.close()
            if key is not None and fault.kind == "expire-key":
                self._tell_expired(key)
            return
        for connection in list(self._connections):
            link = "private" if connection.category == "private" else "market"
            if fault.link in {link, "both"}:
                self._strike(connection, fault)

    def _strike(self, connection: Connection, fault: LinkFault) -> None:
        match fault.kind:
            case "cut":
                connection.abort()
            case "close":
                self._end(connection)
            case "silence":
                connection.silent_until = max(connection.silent_until, self._now + fault.ms)
            case "half-open":
                connection.deaf = True
                connection.deaf_since = self._now
            case _:
                for _ in range(fault.frames if connection.newest else 0):
                    connection.send(connection.newest)

    def _tell_expired(self, key: str) -> None:
        notice = _encode({"e": "listenKeyExpired", "E": self._now, "listenKey": key})
        for connection in self._connections:
            if key in connection.listen_keys:
                connection.carry(_framed(connection, key, notice), self._now)

    def _end(self, connection: Connection) -> None:
        self._forget(connection)
        connection.send(None)

    def raise_barrier(self) -> int:
        """Mark in every connection that asked for it that all before it has been sent; return its number."""
        self._barrier += 1
        frame = self._barrier_frame()
        for connection in self._connections:
            if connection.barrier:
                connection.send(frame)
        return self._barrier

    def _barrier_frame(self) -> bytes:
        return _encode({"e": "barrier", "E": self._now, "n": self._barrier})

    async def serve(self, request: web.Request, category: str, *, combined: bool) -> web.StreamResponse:
        """Answer a websocket request and stay with it until it ends."""
        if self._faults.in_maintenance(self._now):
            return web.Response(status=502)
        connection = Connection(request, category, combined=combined, since=self._now, queue=self._limits.queue)
        tail = request.match_info.get("tail", "")
        named = request.query.get("streams", "") if combined else tail
        if category == "private":
            named_keys = [*request.query.getall("listenKey", []), *tail.split("/")]
            connection.listen_keys = tuple(dict.fromkeys(filter(None, named_keys)))
            connection.events = frozenset(filter(None, request.query.get("events", "").split("/")))
        socket = web.WebSocketResponse(heartbeat=_PING_S, autoping=False, compress=False, max_msg_size=_MESSAGE_BYTES)
        await socket.prepare(request)
        self._connections[connection] = None
        self._subscribe(connection, filter(None, named.split("/")))
        if connection.barrier:
            connection.send(self._barrier_frame())
        writer = asyncio.create_task(connection.write(socket))
        try:
            async for message in socket:
                if connection.deaf:
                    continue
                if message.type is WSMsgType.TEXT:
                    connection.send(self._answer(connection, message.data))
                elif message.type is WSMsgType.PING:
                    await socket.pong(message.data)
        finally:
            self._forget(connection)
            writer.cancel()
        return socket

    def _answer(self, connection: Connection, text: str) -> bytes:
        try:
            request = json.loads(text)
        except json.JSONDecodeError:
            request = None
        if not isinstance(request, dict):
            return _encode({"error": {"code": 3, "msg": "Invalid JSON: expected an object"}})
        number, method, params = request.get("id"), request.get("method"), request.get("params", [])
        named = params if isinstance(params, list) else []
        streams = [name for name in named if isinstance(name, str)]
        if method in {"SUBSCRIBE", "UNSUBSCRIBE"} and (not streams or len(streams) != len(named)):
            return _encode({"error": {"code": 2, "msg": "Invalid request: params must name streams"}, "id": number})
        if method == "SUBSCRIBE":
            if len(connection.streams | set(streams)) > MOST_STREAMS:
                return _encode({"error": {"code": 2, "msg": "Invalid request: too many streams"}, "id": number})
            self._subscribe(connection, streams)
        elif method == "UNSUBSCRIBE":
            self._unsubscribe(connection, streams)
        elif method == "LIST_SUBSCRIPTIONS":
            return _encode({"result": sorted(connection.streams), "id": number})
        elif method == "SET_PROPERTY" and len(named) == 2 and named[0] == "combined" and isinstance(named[1], bool):
            connection.combined = named[1]
        else:
            return _encode({"error": {"code": 2, "msg": f"Invalid request: unknown method {method}"}, "id": number})
        return _encode({"result": None, "id": number})

    def _subscribe(self, connection: Connection, streams: Iterable[str]) -> None:
        for stream in streams:
            connection.streams.add(stream)
            readers = self._subscribers.setdefault(stream, {})
            if not readers and (found := self._frames.find(stream)) is not None:
                self._builds[stream] = found
            readers[connection] = None

    def _unsubscribe(self, connection: Connection, streams: Iterable[str]) -> None:
        for stream in streams:
            connection.streams.discard(stream)
            readers = self._subscribers.get(stream)
            if readers is not None:
                readers.pop(connection, None)
                if not readers:
                    del self._subscribers[stream]
                    self._builds.pop(stream, None)

    def _forget(self, connection: Connection) -> None:
        self._connections.pop(connection, None)
        self._unsubscribe(connection, list(connection.streams))

    def close(self) -> None:
        """Cut every connection off."""
        for connection in list(self._connections):
            connection.abort()


def _wrap(stream: str, raw: bytes) -> bytes:
    return b'{"stream":' + _encode(stream) + b',"data":' + raw + b"}"


def _framed(connection: Connection, stream: str, raw: bytes) -> bytes:
    return _wrap(stream, raw) if connection.combined else raw
