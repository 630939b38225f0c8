"""Candles as arrays, and which of them can be measured together.

Decides the basket: the symbols whose candles are sound, recent, moving and nearly complete; every other one is left
out with its reason. Nothing is filled or interpolated: a row exists where every symbol of the basket has a candle. A
return over a gap of at most a day is kept, because the move across a halt is risk; over a longer one there is none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import Millis
from tpctl.market.bars import DAY_MS, HOUR_MS, MINUTE_MS
from tpctl.market.series import STILL_BARS
from tpctl.ports import Candle

Floats: TypeAlias = npt.NDArray[np.float64]
Times: TypeAlias = npt.NDArray[np.int64]

QUARTER_MS = 15 * MINUTE_MS
# A symbol that lacks more than one candle in twenty would thin out everybody's rows.
COVERAGE = 0.95
LONGEST_GAP_MS = DAY_MS

# One candle as the disk cache keeps it: open time, open, high, low, close, quote volume.
RECORD = np.dtype(
    [("at", "<i8"), ("open", "<f8"), ("high", "<f8"), ("low", "<f8"), ("close", "<f8"), ("volume", "<f8")]
)


@dataclass(frozen=True, slots=True, eq=False)
class PriceSeries:
    """The closed candles of one symbol, ascending by open time."""

    symbol: str
    interval_ms: int
    at: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats

    def __len__(self) -> int:
        return len(self.at)

    def until(self, at: Millis) -> "PriceSeries":
        """Return the candles closed at `at`."""
        return self._cut(slice(0, int(np.searchsorted(self.at, at - self.interval_ms, side="right"))))

    def since(self, at: Millis) -> "PriceSeries":
        """Return the candles that open at `at` or later."""
        return self._cut(slice(int(np.searchsorted(self.at, at)), None))

    def _cut(self, part: slice) -> "PriceSeries":
        return PriceSeries(
            self.symbol,
            self.interval_ms,
            self.at[part],
            self.open[part],
            self.high[part],
            self.low[part],
            self.close[part],
        )


def from_candles(symbol: str, interval_ms: int, candles: Sequence[Candle]) -> PriceSeries:
    """Return candles as arrays."""
    rows = np.array([(c.at, c.open, c.high, c.low, c.close, c.quote_volume) for c in candles], dtype=RECORD)
    return from_records(symbol, interval_ms, rows.tobytes())


def from_records(symbol: str, interval_ms: int, data: bytes) -> PriceSeries:
    """Return the candles of a block of cache records."""
    rows = np.frombuffer(data, dtype=RECORD)
    return PriceSeries(symbol, interval_ms, rows["at"], *(rows[name] for name in ("open", "high", "low", "close")))


def fold(series: PriceSeries, interval_ms: int) -> PriceSeries:
    """Return the candles of length `interval_ms` these make up; a last one that is not complete is left out.

    Raises `ValueError` where the length is not a multiple.
    """
    if series.interval_ms == interval_ms or not len(series):
        return PriceSeries(series.symbol, interval_ms, series.at, series.open, series.high, series.low, series.close)
    if interval_ms % series.interval_ms:
        raise ValueError(f"bars of {series.interval_ms} ms do not make up bars of {interval_ms} ms")
    bucket = series.at - series.at % interval_ms
    if series.at[-1] + series.interval_ms < bucket[-1] + interval_ms:
        return fold(series.until(int(bucket[-1])), interval_ms)
    begins = np.flatnonzero(np.r_[True, bucket[1:] != bucket[:-1]])
    return PriceSeries(
        series.symbol,
        interval_ms,
        bucket[begins],
        series.open[begins],
        np.maximum.reduceat(series.high, begins),
        np.minimum.reduceat(series.low, begins),
        series.close[np.r_[begins[1:], len(bucket)] - 1],
    )


def join(earlier: PriceSeries, later: PriceSeries) -> PriceSeries:
    """Return both series as one; where both hold a candle, the later named one counts."""
    kept = ~np.isin(earlier.at, later.at)
    order = np.argsort(np.r_[earlier.at[kept], later.at], kind="stable")
    columns = (
        np.concatenate([getattr(earlier, name)[kept], getattr(later, name)])[order]
        for name in ("at", "open", "high", "low", "close")
    )
    return PriceSeries(earlier.symbol, earlier.interval_ms, *columns)


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Rows that every symbol of the basket has.

    `at` is when a row's candle closed. `returns` are log returns from row to row, `spans` log true ranges (Wilder's,
    with the gap from the close before), `closes` closing prices; all of shape (rows, symbols).
    """

    symbols: tuple[str, ...]
    interval_ms: int
    at: Times
    closes: Floats
    returns: Floats
    spans: Floats
    excluded: Mapping[str, str]

    def __len__(self) -> int:
        return len(self.at)

    @property
    def hour_rows(self) -> int:
        """How many rows make up an hour."""
        return HOUR_MS // self.interval_ms

    @property
    def newest(self) -> Millis:
        """When the newest candle closed."""
        return int(self.at[-1])

    def column(self, symbol: str) -> int | None:
        """Return the column of a symbol, or None where the basket lacks it."""
        return self.symbols.index(symbol) if symbol in self.symbols else None

    def tail(self, rows: int) -> "Panel":
        """Return the newest rows."""
        return self if rows >= len(self) else self._cut(slice(len(self) - rows, None))

    def until(self, at: Millis) -> "Panel":
        """Return the rows closed at `at`."""
        return self._cut(slice(0, int(np.searchsorted(self.at, at, side="right"))))

    def _cut(self, part: slice) -> "Panel":
        return Panel(
            self.symbols,
            self.interval_ms,
            self.at[part],
            self.closes[part],
            self.returns[part],
            self.spans[part],
            self.excluded,
        )


def build_panel(series: Mapping[str, PriceSeries], unread: Mapping[str, str] | None = None) -> Panel | Unavailable:
    """Return what the series have in common, up to the time at least half of them reach.

    `unread` are symbols whose candles could not be read, and why; they stand among the excluded.

    All series have candles of one length, of at most an hour. Unavailable where no symbol is left.
    """
    excluded = dict(unread or {})
    excluded |= {symbol: reason for symbol, one in series.items() if (reason := _fault(one)) is not None}
    sound = {symbol: one for symbol, one in series.items() if symbol not in excluded}
    if not sound:
        return Unavailable(_told(excluded) if excluded else "there are no candles")
    interval = next(iter(sound.values())).interval_ms
    if any(one.interval_ms != interval for one in sound.values()) or not 0 < interval <= HOUR_MS:
        raise ValueError("candles must be of one length of at most an hour")
    lasts = sorted((int(one.at[-1]) for one in sound.values()), reverse=True)
    end = lasts[(len(lasts) - 1) // 2]
    cut = {symbol: one.until(end + interval) for symbol, one in sound.items()}
    for symbol, one in cut.items():
        reason = _stale(one, end)
        if reason is not None:
            excluded[symbol] = reason
    return _aligned({symbol: one for symbol, one in cut.items() if symbol not in excluded}, interval, excluded)


def _told(excluded: Mapping[str, str]) -> str:
    return "; ".join(f"{symbol}: {reason}" for symbol, reason in excluded.items()) or "too few candles"


def _fault(one: PriceSeries) -> str | None:
    if len(one) < 2:
        return f"{len(one)} candles"
    prices = np.stack([one.open, one.high, one.low, one.close])
    if not np.isfinite(prices).all():
        return "a price is not a number"
    if (prices <= 0).any():
        return "a price is not above zero"
    if (one.high < prices.max(axis=0)).any() or (one.low > prices.min(axis=0)).any():
        return "a candle has a high or low that its own prices exceed"
    if (np.diff(one.at) < one.interval_ms).any() or (one.at % one.interval_ms).any():
        return "candles are out of order, repeated or shorter than their interval"
    return None


def _stale(one: PriceSeries, end: Millis) -> str | None:
    if len(one) < 2:
        return f"{len(one)} candles"
    behind = end - int(one.at[-1])
    if behind > one.interval_ms:
        return f"no candle for {behind // MINUTE_MS} min: halted or delisted"
    if one.high[-STILL_BARS:].max() == one.low[-STILL_BARS:].min():
        return f"the price did not move in the last {min(STILL_BARS, len(one))} candles"
    return None


def _aligned(kept: Mapping[str, PriceSeries], interval: int, excluded: dict[str, str]) -> Panel | Unavailable:
    """Return the rows all symbols have, after excluding those that lack too many of the candles most have."""
    if not kept:
        return Unavailable(_told(excluded))
    origin = min(int(one.at[0]) for one in kept.values())
    slots = {symbol: (one.at - origin) // interval for symbol, one in kept.items()}
    count = max(int(slot[-1]) for slot in slots.values()) + 1
    held = np.zeros((len(slots), count), dtype=bool)
    for row, slot in enumerate(slots.values()):
        held[row, slot] = True
    usual = held.sum(axis=0) * 2 >= len(slots)
    here = held[:, usual].sum(axis=1)
    enough = here >= COVERAGE * usual.sum()
    for symbol, found, good in zip(slots, here, enough, strict=True):
        if not good:
            excluded[symbol] = f"{found} of {usual.sum()} candles"
    common = np.flatnonzero(held[enough].all(axis=0))
    chosen = [symbol for symbol in slots if symbol not in excluded]
    if not chosen or len(common) < 2:
        return Unavailable(_told(excluded) if excluded else "the symbols have no candles in common")
    prices = np.full((3, len(chosen), count), np.nan)
    for column, symbol in enumerate(chosen):
        one, slot = kept[symbol], slots[symbol]
        prices[0, column, slot], prices[1, column, slot], prices[2, column, slot] = one.close, one.high, one.low
    close, high, low = (np.ascontiguousarray((part if len(common) == count else part[:, common]).T) for part in prices)
    near = np.diff(common) * interval <= LONGEST_GAP_MS
    before = close[:-1][near]
    return Panel(
        symbols=tuple(chosen),
        interval_ms=interval,
        at=origin + interval * (common[1:][near] + 1),
        closes=close[1:][near],
        returns=np.log(close[1:][near] / before),
        spans=np.log(np.maximum(high[1:][near], before) / np.minimum(low[1:][near], before)),
        excluded=dict(excluded),
    )
