"""How far a market travels within one bar.

Decides true range and its average. It never returns zero for a market that stood still: that is unavailable.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import Price
from tpctl.market.series import newest_run
from tpctl.ports import Candle

# Wilder's average has forgotten all but 1/1000 of its first value after seven periods; older candles change nothing,
# and leaving them out makes the reading independent of how many the caller happened to fetch.
_MEMORY_PERIODS = 10


def true_range(before: Candle, candle: Candle) -> float:
    """Return the span of `candle` including the gap from the close `before` it, in price units (Wilder 1978)."""
    return max(candle.high, before.close) - min(candle.low, before.close)


def atr(candles: Sequence[Candle], n: int = 14) -> Price | Unavailable:
    """Return Wilder's average true range over `n` bars, in price units.

    The mean of the first `n` true ranges, then (previous * (n - 1) + range) / n. Needs n + 1 candles without a gap;
    uses the newest ten times `n`. Raises `ValueError` for `n` below one.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, was {n}")
    run = newest_run(candles, n + 1, keep=_MEMORY_PERIODS * n + 1)
    if isinstance(run, Unavailable):
        return run
    spans = [true_range(before, candle) for before, candle in pairwise(run)]
    average = sum(spans[:n]) / n
    for span in spans[n:]:
        average = (average * (n - 1) + span) / n
    if average == 0.0:
        return Unavailable(f"the price did not move in {len(run)} candles")
    return Decimal(f"{average:.9g}")
