"""The exchange's clock, kept by ourselves: the client library never refreshes its own (binance-usdm 1.4).

`ExchangeClock` is monotonic time plus a measured offset, so that a jump of the wall clock moves nothing (reliability
T2).
`EventClock` stands where the last event put it: in a twin run step by step no time passes between events.
"""

import time
from collections.abc import Callable
from typing import Protocol

from tpctl.exits.units import Millis

_REFRESH_MS = 180_000
# A monotonic clock stands still while the machine sleeps; the wall clock does not.
_JUMP_MS = 1_000


class StampClock(Protocol):
    """Event time that can also stamp requests and be corrected by a measurement."""

    @property
    def speed(self) -> float:
        """How many event ms pass in one real ms."""
        ...

    def now(self) -> Millis:
        """Return the current event time."""
        ...

    def stamp(self) -> Millis:
        """Return the time a request is signed with."""
        ...

    def due(self) -> bool:
        """Tell whether the clock should be measured again."""
        ...

    def tick(self) -> float:
        """Return local monotonic time in ms, for `measured`."""
        ...

    def measured(self, server: Millis, sent: float, received: float) -> None:
        """Take a reading of the exchange's clock, and when by `tick` it was asked for and answered."""
        ...


class ExchangeClock:
    """Monotonic time plus the offset to the exchange. Only a twin runs at another `speed` than 1."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        speed: float = 1.0,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self.speed = speed
        # Until the first measurement the wall clock is the best guess there is.
        self._offset = wall() * 1000 - speed * self.tick()
        self._gap = self._wall_gap()
        self._measured_at: float | None = None

    def now(self) -> Millis:
        """Return the exchange's time in ms UTC as far as the last measurement tells."""
        return int(self.speed * self.tick() + self._offset)

    def stamp(self) -> Millis:
        """Return the time a request is signed with: the same."""
        return self.now()

    def tick(self) -> float:
        """Return local monotonic time in ms."""
        return self._monotonic() * 1000

    def due(self) -> bool:
        """Tell whether to measure: never done, some minutes ago, or the machine slept since."""
        if self._measured_at is None or self.tick() - self._measured_at > _REFRESH_MS:
            return True
        return abs(self._wall_gap() - self._gap) > _JUMP_MS

    def measured(self, server: Millis, sent: float, received: float) -> None:
        """Set the offset from a reading, assumed taken midway between request and answer."""
        self._offset = server - self.speed * (sent + received) / 2
        self._measured_at = received
        self._gap = self._wall_gap()

    def _wall_gap(self) -> float:
        return self._wall() * 1000 - self.tick()


class EventClock:
    """The time of the last event. A measurement corrects what requests are signed with, never event time itself."""

    speed = 1.0

    def __init__(self, at: Millis = 0, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._at = at
        self._skew = 0
        self._monotonic = monotonic

    def now(self) -> Millis:
        """Return the time of the last event."""
        return self._at

    def stamp(self) -> Millis:
        """Return the time a request is signed with: event time, corrected if the exchange's clock was read apart."""
        return self._at + self._skew

    def advance(self, at: Millis) -> None:
        """Move on to the time of an event; an earlier one changes nothing."""
        self._at = max(self._at, at)

    def due(self) -> bool:
        """Tell whether to measure: only where no event has set the clock yet."""
        return self._at == 0

    def tick(self) -> float:
        """Return local monotonic time in ms."""
        return self._monotonic() * 1000

    def measured(self, server: Millis, sent: float, received: float) -> None:  # noqa: ARG002 - part of the protocol
        """Start the clock with a first reading; correct the stamp with a later one."""
        if self._at == 0:
            self._at = server
        self._skew = server - self._at
