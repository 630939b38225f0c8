"""What a learned policy sees, as numbers without a scale, mirrored by side.

Decides the definition of every feature, once: training computes them over arrays with the same weights and the same
formulas, and a test holds both equal. Every value at the close of a candle uses that candle and earlier ones only. A
short in a market that is turned upside down sees what a long sees. Nothing is filled in: too few or broken candles are
unavailable.

Market features, of closed candles, with r the return from close to close and w_N exponential weights of a span of N
candles over a window of 4 N, normalised:

- `drift_fast`, `drift_slow`: sum of w_8 r, and of w_32 r, over the sum of w_32 |r|. Times the side.
- `swell`: the range of w_16 over the range of w_96, less one; the range is the true range over the close before.

Position features, with R the distance of the first stop as a fraction of entry, and A the range of w_16 as a price:

- `age`: candles held over the longest holding, 0 to 1.
- `pnl`, `best`: the move in favour of the close, and of the best price, over R.
- `drawdown`: from the best price back to the close, in A.
- `stop_gap`, `target_gap`: from the close to the stop, and to the next target, in A; at its cap where no target waits.
- `remaining`: the share of the first size that is still held. `hits`: the share of targets that have filled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.market.series import newest_run
from tpctl.ports import Candle

FAST, SLOW, RANGE, LONG_RANGE = 8, 32, 16, 96
WINDOW_SPANS = 4
# Candles needed before a reading: the longest window of returns, and the close before it.
HISTORY = WINDOW_SPANS * LONG_RANGE + 1

STEP_FEATURES = (
    "age",
    "pnl",
    "best",
    "drawdown",
    "stop_gap",
    "target_gap",
    "drift_fast",
    "drift_slow",
    "swell",
    "remaining",
    "hits",
)
ENTRY_FEATURES = ("drift_fast", "drift_slow", "swell", "volatility")

# Caps, so that no value the training never saw can outweigh all others.
MOVE_CAP = 8.0
GAP_CAP = 12.0
DRIFT_CAP = 4.0
SWELL_CAP = 4.0


@dataclass(frozen=True, slots=True)
class MarketReading:
    """The market at the close of a candle. Drifts are of the price, not yet of a side; `reach` is A over the close."""

    drift_fast: float
    drift_slow: float
    swell: float
    reach: float


@dataclass(frozen=True, slots=True)
class PositionReading:
    """A guarded position at the close of a candle. Prices in quote units; `target` is None where no target waits.

    `stop_distance` is R, the distance of the first stop as a fraction of entry. `best` is the best price so far.
    `age` is candles held over the policy's horizon.
    """

    side: PositionSide
    entry: float
    close: float
    best: float
    stop: float
    target: float | None
    stop_distance: float
    age: float
    remaining: float
    hits: float


def weights(span: int) -> tuple[float, ...]:
    """Return normalised exponential weights of a span over `WINDOW_SPANS` spans, newest first."""
    decay = 1.0 - 2.0 / (span + 1.0)
    raw = [decay**age for age in range(WINDOW_SPANS * span)]
    total = sum(raw)
    return tuple(value / total for value in raw)


_WEIGHTS = {span: weights(span) for span in (FAST, SLOW, RANGE, LONG_RANGE)}


def read_market(candles: Sequence[Candle], interval_ms: int) -> MarketReading | Unavailable:
    """Return the reading at the newest candle; needs `HISTORY` candles without a gap."""
    run = newest_run(candles, HISTORY, keep=HISTORY, interval_ms=interval_ms)
    if isinstance(run, Unavailable):
        return run
    moves: list[float] = []
    ranges: list[float] = []
    for index in range(len(run) - 1, 0, -1):
        bar, before = run[index], run[index - 1].close
        moves.append(bar.close / before - 1.0)
        ranges.append((max(bar.high, before) - min(bar.low, before)) / before)
    scale = _weighted([abs(move) for move in moves], SLOW)
    reach, typical = _weighted(ranges, RANGE), _weighted(ranges, LONG_RANGE)
    if scale <= 0.0 or reach <= 0.0 or typical <= 0.0:
        return Unavailable("the price stood still")
    return MarketReading(
        drift_fast=capped(_weighted(moves, FAST) / scale, DRIFT_CAP),
        drift_slow=capped(_weighted(moves, SLOW) / scale, DRIFT_CAP),
        swell=capped(reach / typical - 1.0, SWELL_CAP),
        reach=reach,
    )


def _weighted(values: Sequence[float], span: int) -> float:
    return sum(weight * value for weight, value in zip(_WEIGHTS[span], values, strict=False))


def capped(value: float, cap: float) -> float:
    """Return the value within -cap to cap."""
    return min(max(value, -cap), cap)


def step_features(position: PositionReading, market: MarketReading) -> tuple[float, ...]:
    """Return `STEP_FEATURES` in their order; raises `ValueError` for a price or distance that is not above zero."""
    if min(position.entry, position.stop_distance, market.reach, position.close) <= 0.0:
        raise ValueError("entry, close, stop distance and reach must be above zero")
    sign = float(position.side.sign)
    risk = position.entry * position.stop_distance
    span = position.close * market.reach
    target = GAP_CAP if position.target is None else capped(sign * (position.target - position.close) / span, GAP_CAP)
    return (
        position.age,
        capped(sign * (position.close - position.entry) / risk, MOVE_CAP),
        capped(sign * (position.best - position.entry) / risk, MOVE_CAP),
        capped(sign * (position.best - position.close) / span, GAP_CAP),
        capped(sign * (position.close - position.stop) / span, GAP_CAP),
        target,
        sign * market.drift_fast,
        sign * market.drift_slow,
        market.swell,
        position.remaining,
        position.hits,
    )


def entry_features(
    side: PositionSide, market: MarketReading, volatility: float, stop_distance: float
) -> tuple[float, ...]:
    """Return `ENTRY_FEATURES`; `volatility` is the daily deviation of returns as a fraction, given in units of R."""
    if stop_distance <= 0.0:
        raise ValueError("the stop distance must be above zero")
    sign = float(side.sign)
    scaled = capped(volatility / stop_distance, MOVE_CAP)
    return (sign * market.drift_fast, sign * market.drift_slow, market.swell, scaled)
