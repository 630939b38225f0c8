"""How much of a result is the search for it: the probability of backtest overfitting, and the deflated Sharpe ratio.

Decides two figures. PBO (Bailey, Borwein, López de Prado, Zhu 2015) asks how often the best of all configurations in
one half of the days is below the median in the other half, over every way to halve them in `S` blocks. DSR (Bailey and
López de Prado 2014) is the probability that a Sharpe ratio is above what the best of N worthless trials would show,
given the skew and the tails of its returns.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations, pairwise
from math import e, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tpctl.market.evaluation import Deflated, Overfitting

Floats = NDArray[np.float64]

BLOCKS = 16
_EULER = 0.5772156649015329
_NORMAL = NormalDist()


def backtest_overfitting(performance: Floats, blocks: int = BLOCKS) -> Overfitting:
    """Return PBO of daily performance [day, configuration], judged by Sharpe ratio.

    Raises `ValueError` for fewer than two configurations, fewer than two days to a block, or an odd number of blocks.
    """
    days, configurations = performance.shape
    if configurations < 2 or days < 2 * blocks or blocks % 2:
        raise ValueError(f"{days} days of {configurations} configurations do not make {blocks} blocks")
    edges = np.linspace(0, days, blocks + 1).astype(int)
    parts = [performance[begin:end] for begin, end in pairwise(edges)]
    counts = np.array([len(part) for part in parts], dtype=np.float64)
    sums = np.array([part.sum(axis=0) for part in parts])
    squares = np.array([(part**2).sum(axis=0) for part in parts])
    chosen = _halves(blocks)
    inside = _sharpes(chosen @ counts, chosen @ sums, chosen @ squares)
    other = 1.0 - chosen
    outside = _sharpes(other @ counts, other @ sums, other @ squares)
    best = inside.argmax(axis=1)
    winner = np.take_along_axis(outside, best[:, None], axis=1)
    # Equal ones share their rank, so that copies of one configuration are neither good nor bad.
    rank = (outside < winner).sum(axis=1) + ((outside == winner).sum(axis=1) + 1) / 2
    relative = rank / (configurations + 1)
    logits = np.log(relative / (1 - relative))
    return Overfitting(float((logits <= 0).mean()), len(logits), configurations, logits)


def expected_maximum(trials: int) -> float:
    """Return the expected best of N independent standard normal draws (0 for one)."""
    if trials < 1:
        raise ValueError(f"{trials} trials")
    if trials == 1:
        return 0.0
    return (1 - _EULER) * _NORMAL.inv_cdf(1 - 1 / trials) + _EULER * _NORMAL.inv_cdf(1 - 1 / (trials * e))


def benchmark_sharpe(variance: float, trials: int) -> float:
    """Return SR0: what the best of `trials` worthless ones shows, whose Sharpe ratios vary by `variance`."""
    return sqrt(variance) * expected_maximum(trials)


def deflated_sharpe(sharpe: float, benchmark: float, length: int, skew: float, kurtosis: float) -> float:
    """Return the probability that a Sharpe ratio (per step, over `length` steps) is above `benchmark`.

    `kurtosis` is the plain fourth moment, 3 for a normal distribution.
    """
    spread = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if length < 2 or spread <= 0:
        return 0.0
    return _NORMAL.cdf((sharpe - benchmark) * sqrt(length - 1) / sqrt(spread))


def moments(returns: Floats) -> tuple[float, float, float]:
    """Return Sharpe ratio, skew and kurtosis of a series; (0, 0, 3) where it does not vary."""
    centred = returns - returns.mean()
    deviation = float(np.sqrt((centred**2).mean()))
    if deviation <= 0.0:
        return 0.0, 0.0, 3.0
    scaled = centred / deviation
    return float(returns.mean()) / deviation, float((scaled**3).mean()), float((scaled**4).mean())


def deflate(returns: Floats, trials: Sequence[float], unmeasured: int = 0) -> Deflated:
    """Return how a series stands against the Sharpe ratios of everything that was tried; raises `ValueError` for none.

    The variance of the trials' ratios is taken from them; of one alone it is zero. `unmeasured` more count as tried.
    """
    sharpe, skew, kurtosis = moments(returns)
    variance = float(np.var(trials)) if len(trials) > 1 else 0.0
    count = len(trials) + unmeasured
    benchmark = benchmark_sharpe(variance, count)
    return Deflated(sharpe, benchmark, count, deflated_sharpe(sharpe, benchmark, len(returns), skew, kurtosis))


@lru_cache(maxsize=4)
def _halves(blocks: int) -> Floats:
    rows = list(combinations(range(blocks), blocks // 2))
    chosen = np.zeros((len(rows), blocks))
    chosen[np.arange(len(rows))[:, None], np.array(rows)] = 1.0
    return chosen


def _sharpes(count: Floats, total: Floats, squares: Floats) -> Floats:
    mean = total / count[:, None]
    variance = np.maximum(squares / count[:, None] - mean**2, 0.0)
    # What never moves has no Sharpe ratio: it stands in the middle, neither won nor lost.
    return np.divide(mean, np.sqrt(variance), out=np.zeros_like(mean), where=variance > 1e-18)
