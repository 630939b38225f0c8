"""Bars as markets are recorded: the one record that candle readers produce and market sources consume.

Decides the shape of a bar and how bars of one length fold into longer ones. It never reads a file and never rounds:
prices are the recorded ones, on or off today's tick grid.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tpctl.exits.units import Millis, Price, Quantity

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: open time in ms UTC, prices in quote units, volume in base units (zero where none is recorded)."""

    at: Millis
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Quantity


@dataclass(frozen=True, slots=True)
class BarSeries:
    """Bars of one symbol and one length, ascending by open time, without duplicates; minutes may be missing."""

    interval_ms: int
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class Candles:
    """What a candle file held for the range asked: ascending bars by symbol, all of the same length."""

    interval_ms: int
    bars: Mapping[str, Sequence[Bar]]

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols with at least one bar, in the order asked for (or alphabetical)."""
        return tuple(self.bars)


def fold_bars(bars: Iterable[Bar], interval_ms: int) -> Iterator[Bar]:
    """Yield the bars of length `interval_ms` (aligned to the epoch) that ascending, shorter `bars` make up."""
    at: Millis | None = None
    first = Decimal(0)
    high = low = close = volume = first
    for bar in bars:
        bucket = bar.at - bar.at % interval_ms
        if bucket != at:
            if at is not None:
                yield Bar(at, first, high, low, close, volume)
            at, first, high, low, volume = bucket, bar.open, bar.high, bar.low, bar.volume
        else:
            high = max(high, bar.high)
            low = min(low, bar.low)
            volume += bar.volume
        close = bar.close
    if at is not None:
        yield Bar(at, first, high, low, close, volume)
