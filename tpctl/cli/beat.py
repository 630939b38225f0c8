"""The heartbeat of a watch for views in other processes: marks and vital signs, a few times a second."""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tpctl.adapters.binance.clock import ExchangeClock
from tpctl.adapters.codec import encode
from tpctl.adapters.pulse import MarkPulse, Pulse, PulseWriter
from tpctl.adapters.streams.feed import LiveFeed
from tpctl.exits.episode import Phase, State
from tpctl.exits.quiet import best_price
from tpctl.exits.rules import TrailRules
from tpctl.exits.units import Millis
from tpctl.ports import Clock, Feed

if TYPE_CHECKING:
    from tpctl.adapters.binance.client import BinanceReader
    from tpctl.engine.watch import Watch

BEAT_S = 0.25


class Beat:
    """Writes one run's pulse."""

    def __init__(
        self,
        writer: PulseWriter,
        watch: "Watch",
        exchange: "BinanceReader",
        *,
        profile: str,
        mode: str,
        feed: Feed,
        clock: Clock,
        paused: Callable[[], bool],
        recording: str | None,
        also: Callable[[Pulse], None],
    ) -> None:
        self._writer = writer
        self._watch = watch
        self._exchange = exchange
        self._profile = profile
        self._mode = mode
        self._feed = feed
        self._clock = clock
        self._moved = (0, time.monotonic())
        self._paused = paused
        self._recording = recording
        self._also = also
        self._started_at = _wall()
        self._host = socket.gethostname().partition(".")[0]
        self._place = urlsplit(exchange.endpoints.rest).netloc
        self._trail = TrailText()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self.write()
            await asyncio.sleep(BEAT_S)

    def end(self, reason: str) -> None:
        """Write the last pulse: it says that, and why, the watch is over."""
        self.write(reason)
        self._writer.close()

    def write(self, ended: str = "") -> None:
        """Write one pulse."""
        pulse = self.signs(ended)
        self._writer.write(pulse)
        self._also(pulse)

    def signs(self, ended: str = "") -> Pulse:
        """Return the vital signs at this moment."""
        budget = self._exchange.budget
        return Pulse(
            at=self._watch.now,
            written_at=_wall(),
            started_at=self._started_at,
            pid=os.getpid(),
            profile=self._profile,
            env=self._exchange.endpoints.env,
            mode=self._mode,
            host=self._host,
            exchange=self._place,
            skew_ms=self._clock.now() - _wall() if isinstance(self._clock, ExchangeClock) else None,
            feed_age_ms=self._feed_age(),
            budget=(budget.used_weight, budget.weight_limit),
            blocked=budget.blocked,
            halt=self._watch.halt,
            paused=self._paused(),
            rejected=self._watch.rejected,
            recording=self._recording,
            ended=ended,
            marks=marks_of(self._watch.state),
            trail=self._trail.of(self._watch.state),
        )

    def _feed_age(self) -> Millis | None:
        """Return the real time since the last market data; a twin's is that of the last step."""
        if isinstance(self._feed, LiveFeed):
            return self._feed.status.market.age_ms
        now, real = self._clock.now(), time.monotonic()
        if now != self._moved[0]:
            self._moved = (now, real)
        return int((real - self._moved[1]) * 1000)


class TrailText:
    """The trail's rules of a state as a pulse tells them, written anew only when they changed."""

    def __init__(self) -> None:
        self._rules: TrailRules | None = None
        self._text = ""

    def of(self, state: State) -> str:
        """Return the text."""
        if self._rules is not state.rules.trail:
            self._rules = state.rules.trail
            self._text = encode(self._rules)
        return self._text


def marks_of(state: State) -> tuple[MarkPulse, ...]:
    """Return the newest mark and best price of every open position, quiet ones included."""
    found = []
    for key, episode in state.episodes.items():
        if episode.phase is Phase.FLAT:
            continue
        quiet = state.quiet.get(key.symbol)
        mark, at = (episode.mark, episode.mark_at) if quiet is None else (quiet.price, quiet.at)
        found.append(MarkPulse(key.symbol, key.side.value, mark, at, best_price(state, episode)))
    return tuple(found)


def _wall() -> Millis:
    return time.time_ns() // 1_000_000
