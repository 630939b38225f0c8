"""The websockets of the rehearsal: connections in this process, with the order of frames and the faults of real ones.

A connection delivers its frames in the order they were sent, each after a moment; a frame a fault holds back is
overtaken. Decides nothing about contents.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from urllib.parse import parse_qs, urlsplit

from tpctl.adapters.streams.socket import Disconnected
from tpctl.exits.units import Millis
from tpctl.venue.limits import ListenKeys

_LATENCY_S = (0.001, 0.06)
# A socket nobody answers on is found out by its pings after this (streams.socket: two of 10 s).
_HALF_OPEN_S = 20.0


class LoopConnection:
    """One open websocket, as the engine's supervisor sees it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rng: Random, kind: str, key: str | None) -> None:
        self.kind = kind
        self.key = key
        self.opened_at = loop.time()
        self.silent_until = 0.0
        self.closed: str | None = None
        self._loop = loop
        self._rng = rng
        self._ready: deque[bytes] = deque()
        self._coming: deque[tuple[float, bytes]] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def send_frame(self, raw: bytes, delay_ms: Millis = 0) -> None:
        """Let a frame arrive, behind those before it; one with a delay of its own comes when it comes."""
        now = self._loop.time()
        if self.closed is not None or now < self.silent_until:
            return
        due = now + self._rng.uniform(*_LATENCY_S)
        if delay_ms:
            self._loop.call_at(due + delay_ms / 1000, self._arrive, raw)
            return
        if self._coming:
            due = max(due, self._coming[-1][0])
        self._coming.append((due, raw))
        if len(self._coming) == 1:
            self._loop.call_at(due, self._flow)

    def end(self, reason: str) -> None:
        """Break the connection; what is on its way is lost."""
        if self.closed is None:
            self.closed = reason
            self._coming.clear()
            self._wake()

    async def recv(self) -> bytes:
        """Return the next frame; raises `Disconnected`."""
        while not self._ready:
            if self.closed is not None:
                raise Disconnected(self.closed)
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._ready.popleft()

    async def send(self, message: str) -> None:
        """Take a message of the client's: none is needed."""

    async def close(self) -> None:
        """Close from this side."""
        self.end("the connection was closed")

    def _flow(self) -> None:
        now = self._loop.time() + 1e-6
        while self._coming and self._coming[0][0] <= now:
            self._arrive(self._coming.popleft()[1])
        if self._coming:
            self._loop.call_at(self._coming[0][0], self._flow)

    def _arrive(self, raw: bytes) -> None:
        if self.closed is None:
            self._ready.append(raw)
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Links:
    """All connections there are. `refuses` tells why none is taken at the moment, None where they are."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, rng: Random, keys: ListenKeys, refuses: Callable[[], str | None]
    ) -> None:
        self._loop = loop
        self._rng = rng
        self._keys = keys
        self._refuses = refuses
        self.open: list[LoopConnection] = []

    async def dial(self, url: str) -> LoopConnection:
        """Open a websocket; raises `Disconnected`."""
        await asyncio.sleep(self._rng.uniform(*_LATENCY_S))
        refused = self._refuses()
        if refused is not None:
            raise Disconnected(refused)
        parts = urlsplit(url)
        key = parse_qs(parts.query).get("listenKey", [None])[0]
        connection = LoopConnection(self._loop, self._rng, parts.path.split("/")[1], key)
        self.open = [one for one in self.open if one.closed is None]
        self.open.append(connection)
        return connection

    def market(self) -> list[LoopConnection]:
        """Return the connections that get market frames."""
        return [one for one in self.open if one.kind == "market" and one.closed is None]

    def private(self, now: Millis) -> list[LoopConnection]:
        """Return the connections that get user events: those with the valid key."""
        return [
            one
            for one in self.open
            if one.kind == "private" and one.closed is None and one.key is not None and self._keys.valid(one.key, now)
        ]

    def muted(self, at: float) -> bool:
        """Whether a private connection is open and says nothing because of a fault."""
        return any(one.silent_until > at for one in self.each("private"))

    def each(self, link: str) -> list[LoopConnection]:
        """Return the open connections of one kind, or of `both`."""
        return [one for one in self.open if one.closed is None and link in {one.kind, "both"}]

    def break_all(self, link: str, reason: str) -> None:
        """Break connections."""
        for one in self.each(link):
            one.end(reason)

    def silence(self, link: str, ms: Millis) -> None:
        """Let connections say nothing for a while."""
        for one in self.each(link):
            one.silent_until = max(one.silent_until, self._loop.time() + ms / 1000)

    def half_open(self, link: str) -> None:
        """Let connections say nothing until their pings find out."""
        for one in self.each(link):
            one.silent_until = float("inf")
            self._loop.call_later(_HALF_OPEN_S, one.end, "no answer to a ping")
