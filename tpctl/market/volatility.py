"""How much a market moves in a day.

Decides the daily standard deviation of returns from closed candles. It never substitutes a typical value: too little
or broken data is unavailable with the reason. The value at a candle uses that candle and earlier ones only.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from math import log, sqrt

from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import Ratio
from tpctl.market.series import newest_run
from tpctl.ports import Candle

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

# Two days of hourly bars: the hourly memory below has forgotten 77 % of what came before that.
MINIMUM_BARS = 48
MINIMUM_SPAN_MS = 48 * HOUR_MS

# RiskMetrics 1996; the two rates learning 9 gives.
_DECAY_HOURLY = 0.97
_DECAY_DAILY = 0.94


def daily_volatility(candles: Sequence[Candle], interval_ms: int) -> Ratio | Unavailable:
    """Return the daily standard deviation of log returns, exponentially weighted (learning 9).

    sigma^2 = sum(w_k r_k^2) / sum(w_k) with w_k = decay^k and k the age in bars, mean return taken as zero; the day's
    value is sigma * sqrt(day / interval). The decay is 0.97 per hour for bars shorter than a day, so that bars of any
    length remember the same time, and 0.94 per day for longer ones.

    Needs `MINIMUM_BARS` candles that span `MINIMUM_SPAN_MS` without a gap. Raises `ValueError` for an interval that
    is not above zero.
    """
    if interval_ms <= 0:
        raise ValueError(f"interval_ms must be above zero, was {interval_ms}")
    minimum = max(MINIMUM_BARS, -(-MINIMUM_SPAN_MS // interval_ms))
    run = newest_run(candles, minimum, interval_ms=interval_ms)
    if isinstance(run, Unavailable):
        return run
    decay = _DECAY_HOURLY ** (interval_ms / HOUR_MS) if interval_ms < DAY_MS else _DECAY_DAILY ** (interval_ms / DAY_MS)
    squares = weights = 0.0
    for before, after in pairwise(run):
        squares = decay * squares + log(after.close / before.close) ** 2
        weights = decay * weights + 1.0
    if squares == 0.0:
        return Unavailable(f"the close did not change in {len(run)} candles")
    return Ratio(Decimal(f"{sqrt(squares / weights * DAY_MS / interval_ms):.9g}"))
