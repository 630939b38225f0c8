"""The step-by-step feed of a twin served at full speed: the market moves only when the consumer is done (ports.Feed).

One control socket paces the twin; barrier frames on the data sockets tell that everything of a step has arrived. So a
run depends on the market alone, not on how fast anything was (I21). Event time is the twin's: the feed sets the clock.

Order within a step: by event time, marks before account events of the same time, each socket's own order kept.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import msgspec

from tpctl.adapters.binance_map.streams import Frame, FrameDecoder, MalformedFrame
from tpctl.adapters.streams.feed import KEEP_KEY_S, MARKET_PATH, USER_PATH, ListenKeys
from tpctl.adapters.streams.socket import Connection, Dial, Disconnected, dial
from tpctl.adapters.streams.timing import SYSTEM, Timing
from tpctl.exits.errors import ExchangeRejected, TpctlError, UnavailableError
from tpctl.exits.events import Event, StreamLost
from tpctl.exits.model import PositionMode
from tpctl.exits.units import Millis

_PACE_PATH = "/twin/v1/pace"
_BARRIER = "&barrier=1"
_ATTEMPTS = 5
_RETRY_S = 0.2
# The twin is on this machine: a step that takes this long hangs.
_PATIENCE_S = 30.0


class SteppedClock(Protocol):
    """Event time that the feed moves."""

    def now(self) -> Millis:
        """Return the current event time."""
        ...

    def advance(self, at: Millis) -> None:
        """Move on to `at`."""
        ...


class _Pace(msgspec.Struct):
    now: int
    barrier: int
    done: bool = False


@dataclass(slots=True, eq=False)
class _Data:
    """One data socket. `frames` is what arrived since the last batch, `lost` why it was dialled anew."""

    rank: int
    decoder: FrameDecoder
    connection: Connection | None = None
    barrier: int = -1
    frames: list[Frame] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


class LockstepFeed:
    """Reads a twin one step at a time. `base` is its stream address; without `keys` there is only the market."""

    def __init__(
        self,
        base: str,
        clock: SteppedClock,
        keys: ListenKeys | None = None,
        *,
        mode: PositionMode | None = None,
        dial: Dial = dial,
        timing: Timing = SYSTEM,
    ) -> None:
        self._base = base
        self._clock = clock
        self._keys = keys
        self._key: str | None = None
        self._kept_at: tuple[float, float] = (0.0, 0.0)
        self._dial = dial
        self._timing = timing
        self._control: Connection | None = None
        self._market = _Data(0, FrameDecoder(mode))
        self._user = _Data(1, FrameDecoder(mode))
        self._sockets = (self._market,) if keys is None else (self._market, self._user)
        self._closed = False

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        """Yield step after step until the twin's market ends; raises `UnavailableError` where the twin is gone.

        Before each step comes what the consumer's own requests caused, in batches of its own, until nothing is left.
        """
        try:
            for data in self._sockets:
                await self._open(data)
            first = await self._pace("sync")
            before = await self._collect(first)
            yield [*before, StreamLost(self._clock.now(), "the twin is connected")]
            done = first.done
            while not self._closed:
                caused = await self._collect(await self._pace("sync"))
                if caused:
                    yield caused
                    continue
                if done:
                    return
                await self._keep_key()
                reply = await self._pace("advance")
                done = reply.done
                yield await self._collect(reply)
        finally:
            await self.close()

    async def close(self) -> None:
        """Close all sockets and end `events`."""
        self._closed = True
        for data in self._sockets:
            await _close(data.connection)
            data.connection = None
        await _close(self._control)
        self._control = None

    async def _pace(self, op: Literal["advance", "sync"]) -> _Pace:
        """Ask the twin for a step, or for what was caused since the last one.

        Where the answer to a step is lost, whether it was taken is learned by asking again for a sync.
        """
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    if self._control is None:
                        self._control = await self._dial(self._base + _PACE_PATH)
                    await self._control.send(f'{{"op":"{op}"}}')
                    return msgspec.json.decode(await self._control.recv(), type=_Pace)
            except (Disconnected, TimeoutError, msgspec.MsgspecError) as error:
                reason = str(error) or "no answer in time"
            await _close(self._control)
            self._control = None
            op = "sync"
            await self._timing.sleep(_RETRY_S)
        raise UnavailableError(f"the twin does not answer: {reason}", "look whether it still runs")

    async def _collect(self, reply: _Pace) -> list[Event]:
        """Wait until every socket has delivered the barrier; return everything of the step in its order."""
        waits = [asyncio.ensure_future(self._until(data, reply.barrier)) for data in self._sockets]
        try:
            for wait in waits:
                await wait
        finally:
            for wait in waits:
                wait.cancel()
        self._clock.advance(reply.now)
        found: list[tuple[tuple[int, int, int], tuple[Event, ...]]] = []
        reasons: list[str] = []
        for data in self._sockets:
            newest = 0
            for index, frame in enumerate(data.frames):
                newest = max(newest, frame.at)
                found.append(((newest, data.rank, index), frame.events))
            reasons += data.lost
            data.frames.clear()
            data.lost.clear()
        found.sort(key=lambda entry: entry[0])
        batch: list[Event] = [event for _, events in found for event in events]
        batch += [StreamLost(self._clock.now(), reason) for reason in reasons]
        return batch

    async def _until(self, data: _Data, barrier: int) -> None:
        while data.barrier < barrier:
            reason = await self._read(data)
            if reason is not None:
                data.lost.append(reason)
                await self._open(data)

    async def _read(self, data: _Data) -> str | None:
        """Take one frame; return why the socket must be dialled anew, or None."""
        if data.connection is None:
            return "the connection was closed"
        try:
            async with asyncio.timeout(_PATIENCE_S):
                frame = data.decoder.decode(await data.connection.recv())
        except (Disconnected, MalformedFrame) as error:
            return str(error)
        except TimeoutError:
            return "no barrier in time"
        if frame.barrier is not None:
            data.barrier = frame.barrier
        if frame.events:
            data.frames.append(frame)
        if frame.key_expired:
            self._key = None
            return "the listen key expired"
        return None

    async def _open(self, data: _Data) -> None:
        """Dial a data socket; the twin sends the current barrier at once."""
        reason = ""
        for _ in range(_ATTEMPTS):
            await _close(data.connection)
            data.connection = None
            try:
                data.connection = await self._dial(await self._address(data))
            except (Disconnected, TpctlError) as error:
                reason = str(error)
            else:
                return
            await self._timing.sleep(_RETRY_S)
        raise UnavailableError(f"a stream of the twin cannot be opened: {reason}", "look whether it still runs")

    async def _address(self, data: _Data) -> str:
        if data is self._market or self._keys is None:
            return self._base + MARKET_PATH + _BARRIER
        self._key = await self._keys.start_listen_key()
        self._kept_at = self._times()
        return self._base + USER_PATH + self._key + _BARRIER

    async def _keep_key(self) -> None:
        """Extend the key when 20 minutes of the twin's time or of ours have passed."""
        if self._keys is None or self._key is None:
            return
        now = self._times()
        if all(later - kept < KEEP_KEY_S for later, kept in zip(now, self._kept_at, strict=True)):
            return
        try:
            await self._keys.keep_listen_key(self._key)
        except ExchangeRejected:
            self._user.lost.append("the exchange forgot the listen key")
            await self._open(self._user)
        except TpctlError:
            return  # tried again at the next step
        self._kept_at = now

    def _times(self) -> tuple[float, float]:
        return self._clock.now() / 1000, self._timing.monotonic()


async def _close(connection: Connection | None) -> None:
    if connection is not None:
        await connection.close()
