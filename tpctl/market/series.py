"""Which candles a reading may be computed from.

Decides what is usable: the newest unbroken run of sane, moving candles. It never repairs, fills or interpolates: a
reading over invented candles would be an invented reading. Nothing here looks at a candle newer than the last given.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

from tpctl.exits.instrument import Unavailable
from tpctl.ports import Candle

# A contract that printed one single price for this many bars is halted or dead; its volatility is not small, it is
# unknown.
STILL_BARS = 24


def newest_run(
    candles: Sequence[Candle], minimum: int, *, keep: int | None = None, interval_ms: int | None = None
) -> Sequence[Candle] | Unavailable:
    """Return the newest candles without a gap between them, oldest first, at least `minimum` and at most `keep`.

    `interval_ms` is the length of a bar; where it is not given the shortest step between two candles is taken for it.
    Unavailable where candles are too few, disordered, not numbers, impossible (a high below the close), interrupted
    too recently, or where the price stood still for `STILL_BARS`.
    """
    window = candles if keep is None else candles[-keep:]
    if len(window) < minimum:
        return Unavailable(f"{len(window)} candles, at least {minimum} are needed")
    steps = [after.at - before.at for before, after in pairwise(window)]
    interval = interval_ms if interval_ms is not None else min(steps, default=1)
    if any(step <= 0 or step < interval for step in steps):
        return Unavailable("candles are out of order, repeated or shorter than their interval")
    start = max((index + 1 for index, step in enumerate(steps) if step != interval), default=0)
    run = window[start:]
    if len(run) < minimum:
        return Unavailable(
            f"candles are missing before {len(run)} newest ones, at least {minimum} without a gap are needed"
        )
    for candle in run:
        fault = _fault(candle)
        if fault is not None:
            return Unavailable(f"the candle at {candle.at} {fault}")
    still = run[-STILL_BARS:]
    if len(still) > 1 and max(candle.high for candle in still) == min(candle.low for candle in still):
        return Unavailable(f"the price did not move in the last {len(still)} candles")
    return run


def _fault(candle: Candle) -> str | None:
    prices = (candle.open, candle.high, candle.low, candle.close)
    if not all(isfinite(price) for price in prices):
        return "holds a price that is not a number"
    if min(prices) <= 0:
        return "holds a price that is not above zero"
    if candle.high < max(prices) or candle.low > min(prices):
        return "has a high or low that its own prices exceed"
    return None
