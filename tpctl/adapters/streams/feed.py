"""The live feed: marks of all symbols and the account's own events, from supervised sockets (ports.Feed).

Decides what survives a slow consumer: of marks the latest of each symbol, of user events every one. Says `StreamLost`
when user events may have been missed and again when they arrive anew: only what is read after that is complete.

Invariants: I14 in part: a mark older than one already delivered is dropped. Never closes the listen key: other programs
of the account share it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Container, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tpctl.adapters.binance_map.streams import FrameDecoder
from tpctl.adapters.streams.socket import Dial, Raw, Stream, dial
from tpctl.adapters.streams.timing import SYSTEM, Timing
from tpctl.exits.errors import ExchangeRejected, TpctlError
from tpctl.exits.events import Event, MarkPrice, StreamLost
from tpctl.exits.model import PositionMode
from tpctl.exits.units import Millis
from tpctl.ports import Clock

# binance-usdm 2.4, reliability W5: a key lasts an hour.
KEEP_KEY_S = 1_200.0
_KEEP_KEY_AGAIN_S = 15.0
_IDLE_S = 0.5
MARKET_STALE_S = 10.0
# Monotonic time stands still while the machine sleeps (reliability T2).
_SLEPT_S = 5.0

MARKET_PATH = "/market/stream?streams=!markPrice@arr@1s"
USER_PATH = "/private/ws?listenKey="


class ListenKeys(Protocol):
    """Gives and keeps the key of the account's user stream."""

    async def start_listen_key(self) -> str:
        """Return the key, new or still valid."""
        ...

    async def keep_listen_key(self, key: str) -> None:
        """Extend the key; raises `ExchangeRejected` where the exchange forgot it."""
        ...


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """How one stream fares. `age_ms` is the time since its last frame, None before the first."""

    connected: bool
    age_ms: Millis | None
    reconnects: int


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """How the feed fares. `user` is None for a feed without an account; the counts are of messages and marks."""

    market: StreamStatus
    user: StreamStatus | None
    ignored: int
    dropped: int


class LiveFeed:
    """Reads the market stream and, with `keys`, the user stream of one account.

    `base` is the stream address of the exchange (`Endpoints.stream`), `mode` the account's position mode where known.
    `wanted` tells which symbols' marks are of interest at the moment; without it all are, some 600 a second.
    """

    def __init__(
        self,
        base: str,
        clock: Clock,
        keys: ListenKeys | None = None,
        *,
        mode: PositionMode | None = None,
        wanted: Callable[[], Container[str]] | None = None,
        stale_s: float = MARKET_STALE_S,
        dial: Dial = dial,
        timing: Timing = SYSTEM,
    ) -> None:
        self._base = base
        self._clock = clock
        self._keys = keys
        self._key: str | None = None
        self._timing = timing
        self._marks: dict[str, MarkPrice] = {}
        self._newest: dict[str, Millis] = {}
        self._facts: list[Event] = []
        self._ignored = 0
        self._dropped = 0
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        self.decoder = FrameDecoder(mode, wanted)
        self._market = Stream(_MarketSink(self), self._market_address, stale_s=stale_s, dial=dial, timing=timing)
        # Silence is normal on the user stream: the key is kept alive, and the engine reads the account regularly.
        self._user = Stream(_UserSink(self), self._user_address, stale_s=None, dial=dial, timing=timing)

    @property
    def status(self) -> FeedStatus:
        """How both streams fare right now."""
        user = None if self._keys is None else _status(self._user)
        return FeedStatus(_status(self._market), user, self._ignored, self._dropped)

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        """Yield what arrived since the last batch; an empty batch at least every 500 ms, so that time passes."""
        if self._tasks or self._closed:
            raise RuntimeError("a feed is read once")
        self._start(self._market.run())
        self._start(self._beat())
        if self._keys is not None:
            self._start(self._user.run())
            self._start(self._keep_key(self._keys))
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._ended():
                    return
                for task in self._tasks:
                    if task.done():
                        task.result()
                yield self._drain()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close all sockets and end `events`."""
        self._closed = True
        self._wake.set()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def take_marks(self, raw: Raw) -> None:
        """Take a frame of the market stream."""
        frame = self.decoder.decode(raw)
        self._ignored += frame.ignored
        self._dropped += frame.dropped
        for event in frame.events:
            if not isinstance(event, MarkPrice):
                self._facts.append(event)
            elif event.at > self._newest.get(event.symbol, -1):
                self._newest[event.symbol] = event.at
                self._marks[event.symbol] = event
        self._wake.set()

    def take_facts(self, raw: Raw) -> None:
        """Take a frame of the user stream."""
        frame = self.decoder.decode(raw)
        self._ignored += frame.ignored
        if frame.key_expired:
            self._key = None
            self._user.restart("the listen key expired")
        if frame.events:
            self._facts.extend(frame.events)
            self._wake.set()

    def say_lost(self, reason: str) -> None:
        """Note that user events may have been missed."""
        self._facts.append(StreamLost(self._clock.now(), reason))
        self._wake.set()

    def _ended(self) -> bool:
        return self._closed

    def _drain(self) -> list[Event]:
        # Facts about the account first: a mark must not be judged against a position already gone.
        batch: list[Event] = [*self._facts, *self._marks.values()]
        self._facts.clear()
        self._marks.clear()
        return batch

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda _: self._wake.set())
        self._tasks.append(task)

    async def _market_address(self) -> str:
        return self._base + MARKET_PATH

    async def _user_address(self) -> str:
        assert self._keys is not None  # noqa: S101 - without keys the user stream is never started
        self._key = await self._keys.start_listen_key()
        return self._base + USER_PATH + self._key

    async def _beat(self) -> None:
        """Wake the consumer regularly; restart both streams after the machine slept."""
        gap = self._timing.wall() - self._timing.monotonic()
        while True:
            await self._timing.sleep(_IDLE_S)
            self._wake.set()
            now = self._timing.wall() - self._timing.monotonic()
            if abs(now - gap) > _SLEPT_S:
                gap = now
                self._market.restart("the clock jumped")
                self._user.restart("the clock jumped")

    async def _keep_key(self, keys: ListenKeys) -> None:
        wait = KEEP_KEY_S
        while True:
            await self._timing.sleep(wait)
            wait = KEEP_KEY_S
            key = self._key
            if key is None:
                continue
            try:
                await keys.keep_listen_key(key)
            except ExchangeRejected:
                self._user.restart("the exchange forgot the listen key")
            except TpctlError:
                wait = _KEEP_KEY_AGAIN_S


class _MarketSink:
    """A lost market stream shows in the feed's status and in the age of its marks; nothing needs reading again."""

    def __init__(self, feed: LiveFeed) -> None:
        self._feed = feed

    def frame(self, raw: Raw) -> None:
        self._feed.take_marks(raw)

    def opened(self) -> None:
        pass

    def lost(self, reason: str) -> None:
        pass


class _UserSink:
    def __init__(self, feed: LiveFeed) -> None:
        self._feed = feed

    def frame(self, raw: Raw) -> None:
        self._feed.take_facts(raw)

    def opened(self) -> None:
        self._feed.say_lost("the user stream is connected: events before this were not seen")

    def lost(self, reason: str) -> None:
        self._feed.say_lost(reason)


def _status(stream: Stream) -> StreamStatus:
    age = stream.age_s
    return StreamStatus(stream.connected, None if age is None else int(age * 1000), stream.reconnects)
