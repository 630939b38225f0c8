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


class VirtualLoop(base_events.BaseEventLoop):
    """A loop that begins at time zero; `time` is seconds of the story."""

    def __init__(self) -> None:
        super().__init__()
        self._at = 0.0
        # What the base class keeps: callbacks that are ready, and a heap of timers.
        self._ready: Any
        self._scheduled: Any
        self._stopping: bool

    def time(self) -> float:
        """Return the time of the story in seconds."""
        return self._at

    def _run_once(self) -> None:
        """Run what is ready, after a jump to the next timer where nothing is.

        As the base class does, without what only I/O, threads and a debugger need, which is most of it.
        """
        ready, timers = self._ready, self._scheduled
        while timers and timers[0]._cancelled:
            heappop(timers)._scheduled = False
        if not ready and not self._stopping:
            if not timers:
                raise StuckError("nothing is left to happen, and somebody still waits")
            self._at = max(self._at, timers[0].when())
        due = self._at + _RESOLUTION_S
        while timers and timers[0].when() < due:
            timer = heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

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
