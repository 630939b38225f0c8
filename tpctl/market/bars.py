"""Bars as markets are recorded: the one record that candle readers produce and market sources consume.

Decides the shape of a bar and how bars of one length fold into longer ones. It never reads a file and never rounds:
prices are the recorded ones, on or off today's tick grid.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tpctl.exits.units import Millis, Price, Quantity

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

# How far back minutes and five minutes are of use: what planning and settling read of them. Older is for long candles.
MINUTES_KEPT_MS = 26 * HOUR_MS
FIVES_KEPT_MS = 62 * HOUR_MS


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


def thinned(bars: Sequence[Bar], interval_ms: int, before_ms: Millis) -> tuple[BarSeries, ...]:
    """Return the bars of the time before `before_ms`, the older the longer: quarter hours, five minutes, then as given.

    Bars that do not make up a longer one stay as they are.
    """
    found, begin = [], 0
    for kept_ms, longer_ms in ((FIVES_KEPT_MS, 15 * MINUTE_MS), (MINUTES_KEPT_MS, 5 * MINUTE_MS)):
        if longer_ms % interval_ms == 0 and longer_ms > interval_ms:
            # Whole quarters, so that no candle is made of two parts.
            cut = (before_ms - kept_ms) // (15 * MINUTE_MS) * (15 * MINUTE_MS)
            end = bisect_left(bars, cut, begin, key=lambda bar: bar.at)
            found.append(BarSeries(longer_ms, tuple(fold_bars(bars[begin:end], longer_ms))))
            begin = end
    return (*found, BarSeries(interval_ms, tuple(bars[begin:])))
