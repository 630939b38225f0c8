"""Synthetic prices for risk: correlated Gaussian markets, each a function of its seed."""

import numpy as np

from tpctl.market.risk.prices import Panel, PriceSeries, build_panel

QUARTER = 900_000
HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_700_000_000_000 // DAY * DAY


def prices(
    names: str | list[str],
    days: float,
    *,
    interval: int = HOUR,
    seed: int = 1,
    sigma: float = 0.006,
    correlation: float = 0.6,
    start: int = START,
) -> dict[str, PriceSeries]:
    """Correlated walks, `sigma` an hour; a candle's range is the move and a little beyond."""
    symbols = list(names) if isinstance(names, list) else names.split()
    rows = int(days * DAY / interval)
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((rows, 1))
    own = rng.standard_normal((rows, len(symbols)))
    moves = (np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own) * sigma * np.sqrt(interval / HOUR)
    return {symbol: from_moves(symbol, moves[:, column], interval, start) for column, symbol in enumerate(symbols)}


def from_moves(symbol: str, moves: np.ndarray, interval: int = HOUR, start: int = START) -> PriceSeries:
    """Candles that open where the last one closed."""
    close = 100.0 * np.exp(np.cumsum(moves))
    opened = np.r_[100.0, close[:-1]]
    edge = 1.0 + 0.1 * np.abs(moves)
    at = start + interval * np.arange(len(moves), dtype=np.int64)
    return PriceSeries(
        symbol, interval, at, opened, np.maximum(opened, close) * edge, np.minimum(opened, close) / edge, close
    )


def without(series: PriceSeries, *, first: int, count: int) -> PriceSeries:
    """The same candles with a hole."""
    kept = np.r_[0:first, first + count : len(series)]
    return PriceSeries(
        series.symbol,
        series.interval_ms,
        series.at[kept],
        series.open[kept],
        series.high[kept],
        series.low[kept],
        series.close[kept],
    )


def panel(names: str | list[str], days: float, **shape: object) -> Panel:
    """A panel of such prices."""
    found = build_panel(prices(names, days, **shape))  # type: ignore[arg-type]  # passed on as they came
    assert isinstance(found, Panel), found
    return found
