"""One websocket that is always there: `Stream` reads it, watches it, replaces it, for as long as it runs.

Decides when a connection is given up (closed, silent, malformed, told to) and when the next one is dialled: at once
after a steady one, otherwise after an exponential delay with jitter, never more than 10 s, without end. A connection
reaches its 24 h in no case: the next one is open before it is closed (reliability W4). What frames mean is the sink's.

Never prints an address or a library's exception: addresses of the user stream hold its key (I20).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.version import version as library_version

from tpctl.adapters.binance_map.streams import MalformedFrame
from tpctl.adapters.streams.timing import SYSTEM, Timing
from tpctl.exits.errors import TpctlError

Raw: TypeAlias = bytes | str

# binance-usdm 2.4: the exchange ends every connection at 24 h.
ROTATE_S = 84_600.0
_OVERLAP_S = 5.0
_ROTATE_AGAIN_S = 60.0
# Reliability M1 allows 30 s; the user stream is not to be missed for so long after an outage is over.
_LONGEST_DELAY_S = 10.0
_FIRST_DELAY_S = 0.5
# A connection that lived this long was good; the next one is dialled without a delay.
_STEADY_S = 30.0

_OPEN_TIMEOUT_S = 5
# A half-open connection is found out after two of these.
_PING_S = 10
_LARGEST_FRAME = 8 * 2**20

_QUIET = logging.getLogger("tpctl.streams.library")
# The library writes request lines, which hold the listen key, to its debug log.
_QUIET.disabled = True


class Disconnected(Exception):  # noqa: N818 - reads as the fact it states
    """The connection is gone, or never came to be; the text says why in words of our own."""


class Connection(Protocol):
    """An open websocket."""

    async def recv(self) -> Raw:
        """Return the next message; raises `Disconnected`."""
        ...

    async def send(self, message: str) -> None:
        """Send a message; raises `Disconnected`."""
        ...

    async def close(self) -> None:
        """Close, in bounded time."""
        ...


Dial: TypeAlias = Callable[[str], Awaitable[Connection]]


class Sink(Protocol):
    """Takes what a stream delivers. All methods return at once."""

    def frame(self, raw: Raw) -> None:
        """Take a message; raises `MalformedFrame` where it cannot be read."""
        ...

    def opened(self) -> None:
        """Learn that messages arrive from now on, after a time in which they did not."""
        ...

    def lost(self, reason: str) -> None:
        """Learn that messages were, or may have been, missed."""
        ...


class _WebSocket:
    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def recv(self) -> Raw:
        try:
            return await self._socket.recv(decode=False)
        except ConnectionClosed as error:
            reason = _closed(error)
        raise Disconnected(reason)

    async def send(self, message: str) -> None:
        try:
            await self._socket.send(message)
        except ConnectionClosed as error:
            reason = _closed(error)
        else:
            return
        raise Disconnected(reason)

    async def close(self) -> None:
        await self._socket.close()


async def dial(url: str) -> Connection:
    """Open a websocket; raises `Disconnected`. Proxies of the environment are not used, as REST does not."""
    # Before 15 the library knows no proxies, nor the parameter.
    options: dict[str, Any] = {"proxy": None} if int(library_version.split(".", 1)[0]) >= 15 else {}
    try:
        socket = await connect(
            url,
            open_timeout=_OPEN_TIMEOUT_S,
            ping_interval=_PING_S,
            ping_timeout=_PING_S,
            close_timeout=1,
            max_size=_LARGEST_FRAME,
            compression=None,
            logger=_QUIET,
            **options,
        )
    except InvalidStatus as error:
        reason = f"the handshake was refused with HTTP {error.response.status_code}"
    except TimeoutError:
        reason = "the handshake was not answered in time"
    except (OSError, WebSocketException) as error:
        reason = f"the connection failed ({type(error).__name__})"
    else:
        return _WebSocket(socket)
    raise Disconnected(reason)


def _closed(error: ConnectionClosed) -> str:
    code = error.rcvd.code if error.rcvd is not None else None
    return "the connection broke" if code is None else f"the exchange closed the connection ({code})"


@dataclass(slots=True, eq=False)
class _Link:
    """One connection and the task that reads it; `reason` is why we ended it ourselves."""

    connection: Connection
    opened_at: float
    rotate_at: float
    reader: "asyncio.Task[str]" = field(init=False)
    reason: str | None = None

    def stop(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.reader.cancel()

    async def close(self) -> str:
        """End the reader, close the connection, and return why it ended."""
        self.reader.cancel()
        await asyncio.wait({self.reader})
        await self.connection.close()
        if self.reason is not None or self.reader.cancelled():
            return self.reason or "the stream was stopped"
        return self.reader.result()


class Stream:
    """Keeps one stream connected until its `run` is cancelled.

    `address` gives the URL of the next connection and may ask the exchange for a key. `stale_s` is how long silence is
    believed; None where silence is normal. All times are monotonic seconds.
    """

    def __init__(
        self,
        sink: Sink,
        address: Callable[[], Awaitable[str]],
        *,
        stale_s: float | None,
        rotate_s: float = ROTATE_S,
        dial: Dial = dial,
        timing: Timing = SYSTEM,
    ) -> None:
        self.connected = False
        self.reconnects = 0
        self.last_frame_at: float | None = None
        self._sink = sink
        self._address = address
        self._stale_s = stale_s
        self._rotate_s = rotate_s
        self._dial = dial
        self._timing = timing
        self._link: _Link | None = None
        self._retiring: set[asyncio.Task[str]] = set()
        self._failures = 0
        self._told = False

    @property
    def age_s(self) -> float | None:
        """Seconds since the last frame, or None where none came yet."""
        return None if self.last_frame_at is None else self._timing.monotonic() - self.last_frame_at

    def restart(self, reason: str) -> None:
        """Give the present connection up and dial the next one."""
        if self._link is not None:
            self._link.stop(reason)

    async def run(self) -> None:
        """Read until cancelled."""
        try:
            while True:
                self._link = await self._connect()
                reason = await self._serve()
                self.connected = False
                self.reconnects += 1
                self._tell(reason)
        finally:
            self.connected = False
            links = [task for task in (*self._retiring, self._closing()) if task is not None]
            if links:
                await asyncio.wait(links)

    def _closing(self) -> "asyncio.Task[str] | None":
        link, self._link = self._link, None
        for task in self._retiring:
            task.cancel()
        return None if link is None else asyncio.ensure_future(link.close())

    def _tell(self, reason: str) -> None:
        if not self._told:
            self._told = True
            self._sink.lost(reason)

    async def _connect(self) -> _Link:
        while True:
            if self._failures:
                delay = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2.0 ** min(self._failures - 1, 10))
                await self._timing.sleep(delay * (0.5 + self._timing.random() / 2))
            try:
                link = await self._open()
            except (Disconnected, TpctlError) as error:
                self._failures += 1
                reason = str(error)
            else:
                self.connected = True
                self._told = False
                self._sink.opened()
                return link
            self._tell(reason)

    async def _open(self) -> _Link:
        connection = await self._dial(await self._address())
        now = self._timing.monotonic()
        link = _Link(connection, now, now + self._rotate_s)
        link.reader = asyncio.ensure_future(self._read(connection))
        return link

    async def _read(self, connection: Connection) -> str:
        try:
            while True:
                raw = await connection.recv()
                self.last_frame_at = self._timing.monotonic()
                self._sink.frame(raw)
        except (Disconnected, MalformedFrame) as error:
            return str(error)

    async def _serve(self) -> str:
        """Read the present connection to its end, replacing it in time; return why it ended."""
        while True:
            link = self._link
            assert link is not None  # noqa: S101 - set by the caller, replaced below
            alarm = asyncio.ensure_future(self._alarm(link))
            try:
                await asyncio.wait({link.reader, alarm}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                alarm.cancel()
            if link.reader.done():
                self._link = None
                lived = self._timing.monotonic() - link.opened_at
                self._failures = 0 if lived >= _STEADY_S else self._failures + 1
                return await link.close()
            await self._rotate(link)

    async def _alarm(self, link: _Link) -> None:
        """Return when the connection has reached its age; give it up when it has fallen silent."""
        while True:
            now = self._timing.monotonic()
            if now >= link.rotate_at:
                return
            wait = link.rotate_at - now
            if self._stale_s is not None:
                silent = now - max(link.opened_at, self.last_frame_at or link.opened_at)
                if silent >= self._stale_s:
                    link.stop(f"the stream was silent for {silent:.0f} s")
                    return
                wait = min(wait, self._stale_s - silent)
            await self._timing.sleep(wait)

    async def _rotate(self, old: _Link) -> None:
        """Open the next connection beside the old one, which is read on for a while and then closed."""
        try:
            fresh = await self._open()
        except (Disconnected, TpctlError):
            old.rotate_at = self._timing.monotonic() + _ROTATE_AGAIN_S
            return
        gap = old.reader.done()
        self._link = fresh
        task = asyncio.ensure_future(self._retire(old))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
        if gap:
            self._sink.lost("the connection broke while it was being replaced")

    async def _retire(self, old: _Link) -> str:
        try:
            await self._timing.sleep(_OVERLAP_S)
        finally:
            ended = await old.close()
        return ended
