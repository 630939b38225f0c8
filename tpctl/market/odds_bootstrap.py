"""Estimates how likely levels are reached before a stop, by replaying the market's own recent bars in random order.

Like `exits.odds`, for a reader and never an input of a decision. The model: a path is a sequence of blocks of
consecutive bars drawn with replacement (moving-block bootstrap, Künsch 1989), so that calm and wild hours stay
together; the mean return is taken out, because a month's drift says nothing about the next day. Within a bar the stop
is judged before the levels (exit-rules 7), which errs on the safe side. The draw is seeded by the candles and the
levels: same inputs, same answer.

Floats live here, as everywhere in `market`; the results are decimals.
"""

from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from math import log
from random import Random

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.odds import Odds
from tpctl.exits.units import Price
from tpctl.market.series import newest_run
from tpctl.ports import Candle

# A week of hours: fewer would replay the same few days over and over.
MINIMUM_BARS = 168
PATHS = 2000
BLOCK_BARS = 12
HORIZON_BARS = 720

_Move = tuple[float, float, float]


def bootstrap_odds(
    price: Price, targets: Sequence[Price], stop: Price, candles: Sequence[Candle], interval_ms: int
) -> tuple[Odds, ...]:
    """Return the odds of each target against `stop` from `price`, from candles of one length.

    `reach_before_stop` is the share of paths that reach the target before the stop, within `HORIZON_BARS`;
    `expected_minutes` their mean time to it, unavailable where none does. All targets lie on the side of `price` that
    the stop is not on; raises `InputsError` otherwise and for prices not above zero.
    """
    if not targets:
        return ()
    sign = 1 if price > stop else -1
    if min(price, stop, *targets) <= 0 or price == stop or any(sign * (target - stop) <= 0 for target in targets):
        raise InputsError("targets and stop do not lie on two sides of the price", "give targets beyond the price")
    run = newest_run(candles, MINIMUM_BARS + 1, interval_ms=interval_ms)
    if isinstance(run, Unavailable):
        missing = Unavailable(f"candles: {run.reason}")
        return tuple(Odds(missing, missing, _model(0)) for _ in targets)
    moves = _moves(run, sign)
    floor = -abs(log(stop / price))
    levels = sorted({max(0.0, sign * log(target / price)) for target in targets})
    seed = f"{run[0].at}:{run[-1].at}:{run[-1].close}:{price}:{stop}:{','.join(map(str, targets))}"
    counts, bars = _replay(moves, levels, floor, Random(seed))  # noqa: S311 - a reproducible draw, not a secret
    minutes = Decimal(interval_ms) / 60_000
    found = {}
    for level, count, total in zip(levels, counts, bars, strict=True):
        share = (Decimal(count) / PATHS).quantize(Decimal("0.001"))
        when = (minutes * total / count).quantize(Decimal("0.1")) if count else Unavailable("no path reached it")
        found[level] = Odds(share, when, _model(len(moves)))
    return tuple(found[max(0.0, sign * log(target / price))] for target in targets)


def _model(bars: int) -> str:
    return f"block bootstrap of {bars} recent bars, {PATHS} paths, drift removed"


def _moves(run: Sequence[Candle], sign: int) -> list[_Move]:
    """Return each bar's best, worst and last log move from the close before it, in the position's favour."""
    raw = []
    for before, bar in pairwise(run):
        base = log(before.close)
        best, worst = (bar.high, bar.low) if sign > 0 else (bar.low, bar.high)
        raw.append((sign * (log(best) - base), sign * (log(worst) - base), sign * (log(bar.close) - base)))
    drift = sum(last for _, _, last in raw) / len(raw)
    return [(best - drift, worst - drift, last - drift) for best, worst, last in raw]


def _replay(
    moves: Sequence[_Move], levels: Sequence[float], floor: float, random: Random
) -> tuple[list[int], list[int]]:
    """Return by level how many paths reached it, and in how many bars altogether."""
    counts, bars = [0] * len(levels), [0] * len(levels)
    starts = len(moves) - BLOCK_BARS + 1
    top = levels[-1]
    for _ in range(PATHS):
        at, reached, passed = 0.0, bisect_right(levels, 0.0), 0
        for level in range(reached):
            counts[level] += 1
        while passed < HORIZON_BARS and reached < len(levels):
            start = random.randrange(starts)
            for best, worst, last in moves[start : start + BLOCK_BARS]:
                passed += 1
                if at + worst <= floor:
                    reached = len(levels)
                    break
                high = at + best
                while reached < len(levels) and high >= levels[reached]:
                    counts[reached] += 1
                    bars[reached] += passed
                    reached += 1
                if high >= top:
                    break
                at += last
    return counts, bars
