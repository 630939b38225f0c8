"""The market features of `tpctl.market.policy.features` over whole series at once.

The same weights and formulas as the reading of one candle; a test holds both equal. A reading is NaN where its window
is not complete, or reaches over a candle that is missing or not sane.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tpctl.market.bars import HOUR_MS
from tpctl.market.policy.features import DRIFT_CAP, FAST, HISTORY, LONG_RANGE, RANGE, SLOW, SWELL_CAP, weights
from tpctl.market.risk.prices import Floats, PriceSeries

_DAY_HOURS = 24
# learning 9: the memory of hourly returns; a week of it leaves less than one percent out.
_DECAY_HOURLY = 0.97
_VOLATILITY_HOURS = 168
# How much of the past has to be known before the first reading, whatever the length of the candles below an hour.
HISTORY_MS = (_VOLATILITY_HOURS + _DAY_HOURS) * HOUR_MS


@dataclass(frozen=True, slots=True, eq=False)
class MarketArrays:
    """One value at the close of each candle of a series; `volatility` is the daily deviation of returns."""

    drift_fast: Floats
    drift_slow: Floats
    swell: Floats
    reach: Floats
    volatility: Floats


def market_arrays(series: PriceSeries) -> MarketArrays:
    """Return the readings of a series, candle by candle."""
    count = len(series)
    if count < 2:
        empty = np.full(count, np.nan)
        return MarketArrays(empty, empty, empty, empty, empty)
    before = series.close[:-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        move = series.close[1:] / before - 1.0
        span = (np.maximum(series.high[1:], before) - np.minimum(series.low[1:], before)) / before
    joined = np.diff(series.at) == series.interval_ms
    good = joined & np.isfinite(move) & np.isfinite(span) & (span >= 0.0)
    move, span = np.where(good, move, 0.0), np.where(good, span, 0.0)
    scale = _weighted(np.abs(move), np.array(weights(SLOW)))
    reach, typical = _weighted(span, np.array(weights(RANGE))), _weighted(span, np.array(weights(LONG_RANGE)))
    whole = _unbroken(good, HISTORY - 1) & (scale > 0.0) & (reach > 0.0) & (typical > 0.0)
    # Rounding can push a scale of nothing below zero; such rows are unknown anyway.
    scale, typical = np.where(whole, scale, 1.0), np.where(whole, typical, 1.0)
    fast = np.clip(_weighted(move, np.array(weights(FAST))) / scale, -DRIFT_CAP, DRIFT_CAP)
    slow = np.clip(_weighted(move, np.array(weights(SLOW))) / scale, -DRIFT_CAP, DRIFT_CAP)
    swell = np.clip(reach / typical - 1.0, -SWELL_CAP, SWELL_CAP)
    volatility, remembered = _volatility(move, series.interval_ms)
    seen = _unbroken(good, remembered) & (volatility > 0.0)
    fast, slow, swell, reach = (np.r_[np.nan, np.where(whole, one, np.nan)] for one in (fast, slow, swell, reach))
    return MarketArrays(fast, slow, swell, reach, np.r_[np.nan, np.where(seen, volatility, np.nan)])


def _weighted(values: Floats, newest_first: Floats) -> Floats:
    """Return the weighted sum of each value and those before it; zeros stand before the first."""
    summed: Floats = np.convolve(values, newest_first)[: len(values)]
    return summed


def _unbroken(good: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Return where the last `length` values are all good."""
    counted = np.r_[0, np.cumsum(good)]
    found = np.zeros(len(good), dtype=bool)
    found[length - 1 :] = counted[length:] - counted[:-length] == length
    return found


def _volatility(move: Floats, interval_ms: int) -> tuple[Floats, int]:
    """Return the daily deviation of returns, and how many returns it looks at."""
    hours = interval_ms / HOUR_MS
    length = max(2, round(_VOLATILITY_HOURS / hours))
    decayed = _DECAY_HOURLY ** (hours * np.arange(length))
    daily = np.sqrt(np.maximum(_weighted(move**2, decayed / decayed.sum()), 0.0) * _DAY_HOURS / hours)
    return daily, length
