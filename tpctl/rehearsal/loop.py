"""An asyncio loop whose time is virtual: where nothing is ready, time jumps to the next timer.

Decides when things run, and nothing else. Callbacks run in the order they were asked for and timers by their time, so
one story always unfolds in one way (I21). There is no I/O to wait for: a loop with nothing ready and no timer set would
wait for ever; that is an error.
"""

import asyncio
from asyncio import base_events
from heapq import heappop
from typing import Any

# Two timers closer than this are due together.
_RESOLUTION_S = 1e-6


class StuckError(RuntimeError):
    """Nothing is ready and nothing will ever be."""


class _Clockwork:
    """What the loop takes for a selector: waiting is a jump in time."""

    def __init__(self) -> None:
        self.at = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise StuckError("nothing is left to happen, and somebody still waits")
        if timeout > 0:
            self.at += timeout
        return []


class VirtualLoop(base_events.BaseEventLoop):
    """A loop that begins at time zero; `time` is seconds of the story."""

    def __init__(self) -> None:
        super().__init__()
        self._clockwork = _Clockwork()
        # The seams of the base class; the standard library's own test loops use the same ones.
        self._selector = self._clockwork
        self._clock_resolution = _RESOLUTION_S

    def time(self) -> float:
        """Return the time of the story in seconds."""
        return self._clockwork.at

    def _run_once(self) -> None:
        """Run what is ready, after a jump to the next timer where nothing is.

        As the base class does, without what only I/O, threads and a debugger need, which is most of it.
        """
        ready, timers = self._ready, self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
            heappop(timers)._scheduled = False
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if not timers:
                raise StuckError("nothing is left to happen, and somebody still waits")
            self._clockwork.at = max(self._clockwork.at, timers[0].when())
        due = self._clockwork.at + _RESOLUTION_S
        while timers and timers[0].when() < due:
            timer = heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _process_events(self, event_list: list[Any]) -> None:
        """Take what a selector found: never anything."""

    def _write_to_self(self) -> None:
        """Wake the loop: it never sleeps."""


def run(work: "asyncio.Future[Any] | Any", loop: VirtualLoop) -> Any:
    """Run a coroutine to its end on a virtual loop and close the loop."""
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(work)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
