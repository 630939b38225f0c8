"""When the market moves: with the wall clock, N times as fast, or only when a client asks.

Decides the exchange's time between steps. At speed N a step is due when its event time is; where the machine is late
the steps follow one by one and none is skipped. In lockstep (`max`) time stands still until the next advance.
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

    @property
    def lockstep(self) -> bool:
        """Whether the market moves only when a client asks."""
        return self.speed is None

    def moved(self) -> None:
        """Take note that the market has just moved."""
        self._moved_s = self._wall()

    def now(self, newest: Millis, upcoming: Millis | None) -> Millis:
        """Return event time: never before the newest step, never at or after the upcoming one."""
        if self.speed is None or upcoming is None:
            return newest
        due = self._start_ms + int((self._wall() - self._start_s) * 1000 * self.speed)
        return max(newest, min(due, upcoming - 1))

    def wait_s(self, upcoming: Millis) -> float:
        """Return how long to wait until a step is due, zero where it is overdue or the market runs in lockstep."""
        if self.speed is None:
            return 0.0
        due_s = self._start_s + (upcoming - self._start_ms) / 1000 / self.speed
        return max(0.0, due_s - self._wall())

    def tolerance(self) -> Tolerance:
        """Return how far off a client's timestamp may be."""
        if self.speed is None:
            return Tolerance(standing_ms=(self._wall() - self._moved_s) * 1000)
        return Tolerance(scale=max(1.0, self.speed))
