"""Candles of a market that walks at random, with gaps between candles, for the learning tests."""

import numpy as np

from tpctl.market.risk.prices import QUARTER_MS, PriceSeries

START = 1_700_000_100_000 - 1_700_000_100_000 % QUARTER_MS


def walk(symbol: str, count: int, seed: int = 0, level: float = 100.0) -> PriceSeries:
    """Return `count` quarter-hour candles."""
    draw = np.random.default_rng(seed)
    close = level * np.exp(np.cumsum(draw.normal(0, 0.004, count)))
    opening = np.r_[level, close[:-1]] * np.exp(draw.normal(0, 0.0005, count))
    high = np.maximum(opening, close) * np.exp(np.abs(draw.normal(0, 0.002, count)))
    low = np.minimum(opening, close) * np.exp(-np.abs(draw.normal(0, 0.002, count)))
    at = START + QUARTER_MS * np.arange(count, dtype=np.int64)
    return PriceSeries(symbol, QUARTER_MS, at, *(np.round(one, 4) for one in (opening, high, low, close)))
