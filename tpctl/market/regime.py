"""Which regime a market is in: normal, trending, ranging, volatile or chop.

Decides by thresholds on five readings of the newest candles, each defined in `RegimeReadings`. It never guesses: too
few or broken candles are unavailable. All readings are taken on logarithms of prices, so they do not change when
prices are multiplied (scale) or inverted (a fall is judged as the rise it mirrors). The answer at a candle uses that
candle and at most `WINDOW - 1` earlier ones.

The rules, first match wins:

1. volatile: the mean true range of the newest day ranks at or above 0.90 among the window's, and is at least 1.5 times
   its median. The rank alone would call a tenth of any market volatile; the ratio alone would miss slow ones.
2. trending: efficiency at least 0.35 and directional strength at least 25.
3. chop: choppiness at least 61.8 and directional strength below 25.
4. ranging: at least 3 swings across the channel of 72 bars, and efficiency over them at most 0.15.
5. normal: none of these.

Volatile comes first because a wrong "trending" widens targets and a wrong "volatile" only tightens them.

Sources: efficiency ratio, Kaufman, Smarter Trading (1995). Directional strength (ADX) and its 25, Wilder, New Concepts
in Technical Trading Systems (1978). Choppiness index and its 61.8, Dreiss (1993); 50 is its value on a random walk.
The other thresholds are ours, chosen so that driftless random walks are mostly normal.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import log, log10
from statistics import median
from typing import TypeAlias

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Regime
from tpctl.market.series import newest_run
from tpctl.ports import Candle

# A week of history to rank one day of hourly candles in; at most three weeks, so that the answer does not depend on how
# much more the caller fetched.
MINIMUM_BARS = 168
WINDOW = 500

_SPAN = 24
_DIRECTIONAL_PERIOD = 14
_CHANNEL = 72

_VOLATILE_RANK = 0.90
_VOLATILE_RATIO = 1.5
_TREND_EFFICIENCY = 0.35
_TREND_STRENGTH = 25.0
_CHOP = 61.8
_RANGE_SWINGS = 3
_RANGE_EFFICIENCY = 0.15

_Bar: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class RegimeReadings:
    """What the regime is judged by, over the newest candles.

    `efficiency`: |net move| / sum of |moves| of the closes over 24 bars, 0 to 1; `channel_efficiency` over 72 bars.
    `strength`: Wilder's ADX of 14 bars, 0 to 100.
    `choppiness`: 100 log10(sum of true ranges / (highest - lowest)) / log10(24) over 24 bars.
    `swings`: how often the close crossed the channel of 72 bars from its lower to its upper quarter or back.
    `range_rank`: share of the window's rolling 24-bar mean true ranges below the newest, 0 to 1.
    `range_ratio`: the newest 24-bar mean true range over the window's median one.
    """

    efficiency: float
    channel_efficiency: float
    strength: float
    choppiness: float
    swings: int
    range_rank: float
    range_ratio: float


def regime(candles: Sequence[Candle]) -> Regime | Unavailable:
    """Return the regime of the newest candle, by the rules of this module; needs `MINIMUM_BARS` without a gap."""
    readings = read_regime(candles)
    return readings if isinstance(readings, Unavailable) else classify(readings)


def classify(readings: RegimeReadings) -> Regime:
    """Return the regime these readings stand for."""
    if readings.range_rank >= _VOLATILE_RANK and readings.range_ratio >= _VOLATILE_RATIO:
        return Regime.VOLATILE
    if readings.efficiency >= _TREND_EFFICIENCY and readings.strength >= _TREND_STRENGTH:
        return Regime.TRENDING
    if readings.choppiness >= _CHOP and readings.strength < _TREND_STRENGTH:
        return Regime.CHOP
    if readings.swings >= _RANGE_SWINGS and readings.channel_efficiency <= _RANGE_EFFICIENCY:
        return Regime.RANGING
    return Regime.NORMAL


def read_regime(candles: Sequence[Candle]) -> RegimeReadings | Unavailable:
    """Return the readings the regime is judged by, or why there are none."""
    run = newest_run(candles, MINIMUM_BARS, keep=WINDOW)
    if isinstance(run, Unavailable):
        return run
    bars = [(log(candle.high), log(candle.low), log(candle.close)) for candle in run]
    spans = [max(high, before[2]) - min(low, before[2]) for before, (high, low, _) in pairwise(bars)]
    totals = [0.0, *accumulate(spans)]
    means = [(after - before) / _SPAN for before, after in zip(totals, totals[_SPAN:], strict=False)]
    newest, typical = means[-1], median(means)
    if newest <= 0.0 or typical <= 0.0:
        return Unavailable("the price stood still for most of the window")
    channel = bars[-_CHANNEL:]
    return RegimeReadings(
        efficiency=_efficiency(bars[-_SPAN - 1 :]),
        channel_efficiency=_efficiency(bars[-_CHANNEL - 1 :]),
        strength=_directional_strength(bars),
        choppiness=_choppiness(bars[-_SPAN:], spans[-_SPAN:]),
        swings=_swings(channel),
        range_rank=bisect_left(sorted(means), newest) / (len(means) - 1),
        range_ratio=newest / typical,
    )


def _efficiency(bars: Sequence[_Bar]) -> float:
    path = sum(abs(after[2] - before[2]) for before, after in pairwise(bars))
    return abs(bars[-1][2] - bars[0][2]) / path if path > 0.0 else 0.0


def _choppiness(bars: Sequence[_Bar], spans: Sequence[float]) -> float:
    # The channel counts the close before the first bar, as the first true range does; without it a gap could make the
    # index negative.
    first = spans[0] - (bars[0][0] - bars[0][1])
    height = max(bar[0] for bar in bars) - min(bar[1] for bar in bars)
    height = max(height, first)
    return 100.0 * log10(sum(spans) / height) / log10(len(spans)) if height > 0.0 else 0.0


def _swings(bars: Sequence[_Bar]) -> int:
    top, bottom = max(bar[0] for bar in bars), min(bar[1] for bar in bars)
    quarter = (top - bottom) / 4.0
    side = swings = 0
    for _, _, close in bars:
        now = 1 if close >= top - quarter else -1 if close <= bottom + quarter else 0
        if now and now != side:
            swings += side != 0
            side = now
    return swings


def _directional_strength(bars: Sequence[_Bar]) -> float:
    """Return Wilder's ADX: the smoothed |+DI - -DI| / (+DI + -DI), in percent."""
    n = _DIRECTIONAL_PERIOD
    up = down = strength = 0.0
    for index, (before, bar) in enumerate(pairwise(bars)):
        rise, fall = bar[0] - before[0], before[1] - bar[1]
        up = up * (n - 1) / n + (rise if rise > fall and rise > 0.0 else 0.0)
        down = down * (n - 1) / n + (fall if fall > rise and fall > 0.0 else 0.0)
        both = up + down
        step = 100.0 * abs(up - down) / both if both > 0.0 else 0.0
        if index >= n:
            strength += (step - strength) / n if index > n else step
    return strength
