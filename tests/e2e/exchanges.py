"""A twin in this process, served from a thread of its own, so that a test can look into the exchange's books."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tpctl.venue.entries import SeededEntries
from tpctl.venue.faults import FaultPlan
from tpctl.venue.market.synthetic import SyntheticMarket
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.server import serve
from tpctl.venue.venue import Venue

SYMBOLS = ("XRPUSDT", "BTCUSDT")
R = TypeVar("R")


class Exchange:
    """The served twin: its address, and a way into its books."""

    def __init__(self, url: str, venue: Venue, loop: asyncio.AbstractEventLoop) -> None:
        self.url = url
        self._venue = venue
        self._loop = loop

    def ask(self, look: Callable[[Venue], R]) -> R:
        """Return what `look` finds, between two steps of the market; it may act as the operator, too."""

        async def looking() -> R:
            return look(self._venue)

        return asyncio.run_coroutine_threadsafe(looking(), self._loop).result(30)


@contextmanager
def exchange(speed: float = 1.0, key: str = "sim", secret: str = "sim", **rates: float) -> Iterator[Exchange]:  # noqa: S107 - the fake account's
    """Serve a twin with two positions that knows one key; `rates` are faults by name."""
    ready: list[Exchange] = []
    started, loop, end = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serving() -> None:
        market = SyntheticMarket(4, SYMBOLS)
        venue = Venue(builtin_rules(), start_ms=market.start_ms)
        plan = FaultPlan(rates, 1, start_ms=market.start_ms)
        entries = SeededEntries(4, SYMBOLS, rate=0)
        async with serve(venue, market, entries, speed=speed, key=key, secret=secret, faults=plan) as served:
            ready.append(Exchange(served.url, venue, loop))
            started.set()
            await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serving()))
    thread.start()
    assert started.wait(30)
    try:
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(30)
        loop.close()
