"""One market on the move: source, exchange, trader, candles and streams, step by step.

Decides the order of things within a step: the market moves, candles grow, the trader acts, faults strike the account
and the connections, then market frames go out, then user events. It never waits and never reads a clock but the pace's.
Where event time stands still between steps, what a fault delays arrives with the step that reaches its time.
"""

import asyncio
from collections.abc import Callable, Iterator

from tpctl.exits.units import Millis
from tpctl.venue.entries import Entries
from tpctl.venue.faults import Delivery, FaultPlan
from tpctl.venue.frames import MarketFrames
from tpctl.venue.limits import Gate, Limits, ListenKeys
from tpctl.venue.market import Market
from tpctl.venue.market.history import KlineStore
from tpctl.venue.outbox import Outbox
from tpctl.venue.pace import Pace
from tpctl.venue.quotes import MarketStep
from tpctl.venue.streams import Hub, encoded
from tpctl.venue.venue import Venue


class Twin:
    """The state behind the served addresses. The first step is taken at once, so that there are prices to ask for."""

    def __init__(
        self, venue: Venue, market: Market, entries: Entries, pace: Pace, *, limits: Limits, faults: FaultPlan
    ) -> None:
        self.venue = venue
        self.symbols = market.symbols
        self.pace = pace
        self.faults = faults
        self.gate = Gate(limits)
        self.keys = ListenKeys(limits.listen_key_ms)
        self.candles = KlineStore(venue.core.rules, market.history)
        self.hub = Hub(MarketFrames(venue, self.candles, market.symbols), self.keys, limits, faults)
        self.taken = 0
        self.free = asyncio.Event()
        self.free.set()
        self._drivers = 0
        self._entries = entries
        self._outbox = Outbox()
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
        step = self.faults.on_step(step, self.venue)
        self.venue.step(step)
        self.candles.add(step)
        self._entries.on_step(self.venue, step.at)
        for act in self.faults.on_account(step.at, self.venue):
            act.apply(self.venue)
        self._upcoming = next(self._steps, None)
        self.taken += 1
        self.pace.moved()
        self._outbox.release(step.at)
        for fault in self.faults.on_links(step.at):
            self.hub.strike(fault)
        self.hub.publish_step(step.at)
        self.flush()
        return True

    def flush(self) -> None:
        """Send the user events that are waiting."""
        now = self.now
        for event in self.venue.user_events():
            for delivery in self.faults.on_user_event(now, event):
                self._deliver(event["e"], delivery, now)

    def _deliver(self, kind: str, delivery: Delivery, now: Millis) -> None:
        raw = encoded(delivery.payload)
        if delivery.delay_ms:
            self.later(now + delivery.delay_ms, lambda: self.hub.publish_user(kind, raw))
        else:
            self.hub.publish_user(kind, raw)

    def later(self, due: Millis, action: Callable[[], None]) -> None:
        """Do something once the event time has come."""
        self._outbox.put(due, action)
        if not self.pace.standing:
            # A millisecond more: the clock must not be read just before it.
            wait_s = self.pace.span_s(due - self.now + 1)
            asyncio.get_running_loop().call_later(wait_s, lambda: self._outbox.release(self.now))

    async def pause(self, span_ms: Millis) -> None:
        """Let a span of event time pass, none where it stands still."""
        if span_ms and not self.pace.standing:
            await asyncio.sleep(self.pace.span_s(span_ms))
