"""One market on the move: source, exchange, trader, candles and streams, step by step.

Decides the order of things within a step: the market moves, candles grow, the trader acts, then market frames go out,
then user events. It never waits and never reads a clock but the pace's.
"""

import asyncio
from collections.abc import Iterator

from tpctl.exits.units import Millis
from tpctl.venue.entries import Entries
from tpctl.venue.frames import MarketFrames
from tpctl.venue.limits import Gate, Limits, ListenKeys
from tpctl.venue.market import Market
from tpctl.venue.market.history import KlineStore
from tpctl.venue.pace import Pace
from tpctl.venue.quotes import MarketStep
from tpctl.venue.streams import Hub
from tpctl.venue.venue import Venue


class Twin:
    """The state behind the served addresses. The first step is taken at once, so that there are prices to ask for."""

    def __init__(self, venue: Venue, market: Market, entries: Entries, pace: Pace, limits: Limits) -> None:
        self.venue = venue
        self.symbols = market.symbols
        self.pace = pace
        self.gate = Gate(limits)
        self.keys = ListenKeys(limits.listen_key_ms)
        self.candles = KlineStore(venue.core.rules, market.history)
        self.hub = Hub(MarketFrames(venue, self.candles, market.symbols), self.keys, limits)
        self.taken = 0
        self.free = asyncio.Event()
        self.free.set()
        self._drivers = 0
        self._entries = entries
        self._steps: Iterator[MarketStep] = market.steps()
        self._upcoming: MarketStep | None = next(self._steps, None)
        self.advance()

    @property
    def now(self) -> Millis:
        """The exchange's time."""
        return self.pace.now(self.venue.now, self.due)

    @property
    def due(self) -> Millis | None:
        """The time of the upcoming step, None at the market's end."""
        return None if self._upcoming is None else self._upcoming.at

    @property
    def wait_s(self) -> float:
        """How long until the upcoming step is due, in seconds of the wall clock."""
        return 0.0 if self._upcoming is None else self.pace.wait_s(self.venue.now, self._upcoming.at)

    def take_wheel(self) -> None:
        """Let a client ask for the steps; `free` is not set until the last such client is gone."""
        self._drivers += 1
        if self._drivers == 1:
            self.free.clear()
            self.pace.drive(True, self.venue.now)

    def leave_wheel(self) -> None:
        """Take note that such a client is gone; the last one hands the market back to the wall clock."""
        self._drivers -= 1
        if self._drivers == 0:
            self.pace.drive(False, self.venue.now)
            self.free.set()

    @property
    def done(self) -> bool:
        """Whether the market has ended."""
        return self._upcoming is None

    def advance(self) -> bool:
        """Take the upcoming step and send what it brings; False at the market's end, where nothing moves."""
        step = self._upcoming
        if step is None:
            return False
        self.venue.step(step)
        self.candles.add(step)
        self._entries.on_step(self.venue, step.at)
        self._upcoming = next(self._steps, None)
        self.taken += 1
        self.pace.moved()
        self.hub.publish_step(step.at)
        self.flush()
        return True

    def flush(self) -> None:
        """Send the user events that are waiting."""
        self.hub.publish_user(self.venue.user_events())
