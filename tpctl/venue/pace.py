"""When the market moves: with the wall clock, N times as fast, or only when a client asks.

Decides the exchange's time between steps. At speed N a step is due when its event time is; where the machine is late
the steps follow one by one and none is skipped. In lockstep (`max`) time stands still until the next advance. A market
at speed N that a client drives stands still between its steps too, and each step is due one interval after the last:
what happens then depends on the market, not on how fast the machine is.
"""

import time
from collections.abc import Callable

from tpctl.exits.errors import UsageError
from tpctl.exits.units import Millis
from tpctl.venue.auth import Tolerance

_FASTEST = 1_000_000.0


def parse_speed(text: str) -> float | None:
    """Return the speed that `text` names: a number of times the wall clock, or None for `max`, lockstep.

    Raises `UsageError` for anything else.
    """
    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed <= _FASTEST:
        raise UsageError(f"speed {text!r} is not a speed", "give 1, 60, 600 ... times real time, or max")
    return speed


class Pace:
    """The clock of the served exchange. `wall` returns seconds and never runs backwards."""

    def __init__(self, speed: float | None, start_ms: Millis, wall: Callable[[], float] = time.monotonic) -> None:
        if speed is not None and not 0 < speed <= _FASTEST:
            raise UsageError(f"speed {speed!r} is not a speed", "give 1, 60, 600 ... times real time, or max")
        self.speed = speed
        self._wall = wall
        self._start_ms = start_ms
        self._start_s = wall()
        self._moved_s = self._start_s
        self._driven = False

    @property
    def lockstep(self) -> bool:
        """Whether the market moves only when a client asks."""
        return self.speed is None

    @property
    def standing(self) -> bool:
        """Whether event time stands still between steps."""
        return self.speed is None or self._driven

    @property
    def driven(self) -> bool:
        """Whether a client asks for the steps of a market that else moves by itself."""
        return self._driven

    def drive(self, driven: bool, newest: Millis) -> None:
        """Hand the market to a client, or back to the wall clock, from the newest step on."""
        self._driven = driven
        self._start_ms, self._start_s = newest, self._wall()

    def moved(self) -> None:
        """Take note that the market has just moved."""
        self._moved_s = self._wall()

    def now(self, newest: Millis, upcoming: Millis | None) -> Millis:
        """Return event time: never before the newest step, never at or after the upcoming one."""
        if self.speed is None or self._driven or upcoming is None:
            return newest
        due = self._start_ms + int((self._wall() - self._start_s) * 1000 * self.speed)
        return max(newest, min(due, upcoming - 1))

    def wait_s(self, newest: Millis, upcoming: Millis) -> float:
        """Return how long to wait until a step is due, zero where it is overdue or the market runs in lockstep."""
        if self.speed is None:
            return 0.0
        since_ms, since_s = (newest, self._moved_s) if self._driven else (self._start_ms, self._start_s)
        return max(0.0, since_s + (upcoming - since_ms) / 1000 / self.speed - self._wall())

    def span_s(self, span_ms: Millis) -> float:
        """Return how long a span of event time lasts by the wall clock, zero in lockstep."""
        return 0.0 if self.speed is None else span_ms / 1000 / self.speed

    def tolerance(self) -> Tolerance:
        """Return how far off a client's timestamp may be."""
        if self.speed is None or self._driven:
            return Tolerance(standing_ms=(self._wall() - self._moved_s) * 1000)
        return Tolerance(scale=max(1.0, self.speed))
