"""How sure a mean of positions is: the stationary bootstrap over days, and means over seeds.

Positions of one day share the market, whatever their symbol, and days follow each other in regimes. So whole days are
drawn, all symbols of a day at once, in blocks of random length that may start anywhere (Politis and Romano 1994). The
mean length of a block is chosen from the data (Politis and White 2004, corrected by Patton, Politis and White 2009).
Draws are seeded: same outcomes, same interval.

`market.bootstrap` draws single days for two arms that do not share positions; here both policies are replayed on the
same positions, and only their difference is drawn.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tpctl.market.evaluation import Interval

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

DAY_MS = 86_400_000
REPLICATIONS = 2000
_LONGEST_SHARE = 1 / 3
# Bounds the memory of one batch of draws to some ten megabytes.
_BATCH_CELLS = 1_000_000


@dataclass(frozen=True, slots=True)
class Daily:
    """Outcomes summed by UTC day, from the first day with one to the last; days between without any count zero."""

    first_day: int
    sums: Floats
    counts: Floats

    @property
    def active_days(self) -> int:
        """On how many days there was an outcome."""
        return int(np.count_nonzero(self.counts))

    @property
    def mean(self) -> float:
        """The mean of all outcomes."""
        return float(self.sums.sum() / self.counts.sum())


def by_day(at: Times, values: Floats) -> Daily:
    """Sum outcomes by the UTC day of `at` (ms); raises `ValueError` for none."""
    if not len(at):
        raise ValueError("no outcomes")
    days = at // DAY_MS
    first = int(days.min())
    length = int(days.max()) - first + 1
    return Daily(
        first,
        np.bincount(days - first, weights=values, minlength=length).astype(np.float64),
        np.bincount(days - first, minlength=length).astype(np.float64),
    )


def mean_interval(
    daily: Daily, *, seed: int = 0, replications: int = REPLICATIONS, least_block: float = 1.0
) -> Interval:
    """Return the mean outcome with its interval; `least_block` is the shortest mean block in days (the horizon)."""
    block = max(least_block, block_length(daily.sums))
    draws = np.sort(_draw_means(daily, block, np.random.default_rng(seed), replications))
    low, lower, high = (draws[min(len(draws) - 1, int(q * len(draws)))] for q in (0.025, 0.05, 0.975))
    return Interval(daily.mean, float(low), float(high), float(lower), block)


def block_length(series: Floats) -> float:
    """Return the mean block length, in steps, that suits the dependence of a series: between 1 and a third of it."""
    n = len(series)
    if n < 10:
        return 1.0
    centred = series - series.mean()
    variance = float(centred @ centred) / n
    if variance <= 0.0:
        return 1.0
    quiet = max(5, int(np.sqrt(np.log10(n))))
    most = min(n - 1, int(np.ceil(np.sqrt(n))) + quiet)
    covariance = np.array([float(centred[: n - lag] @ centred[lag:]) / n for lag in range(most + 1)])
    small = np.abs(covariance[1:] / variance) < 2 * np.sqrt(np.log10(n) / n)
    # The first lag after which `quiet` correlations in a row are noise.
    significant = next((lag for lag in range(len(small) - quiet + 1) if small[lag : lag + quiet].all()), None)
    if significant is None:
        lags = np.flatnonzero(~small)
        significant = int(lags[-1]) + 1 if len(lags) else 0
    width = min(2 * max(significant, 1), most)
    lags = np.arange(1, width + 1)
    taper = np.where(lags / width <= 0.5, 1.0, 2 * (1 - lags / width))
    spread = 2 * float((taper * lags * covariance[1 : width + 1]).sum())
    spectrum = float(covariance[0] + 2 * (taper * covariance[1 : width + 1]).sum())
    if spectrum <= 0.0:
        return 1.0
    length = (spread**2 / spectrum**2) ** (1 / 3) * n ** (1 / 3)
    return float(min(max(length, 1.0), max(1.0, n * _LONGEST_SHARE)))


def interquartile_mean(values: Floats) -> float:
    """Return the mean of the middle half (Agarwal et al. 2021); the outermost kept values count by their share."""
    ordered = np.sort(np.ravel(values))
    n = len(ordered)
    edges = np.arange(n + 1) / n
    weights = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0.0, None)
    return float((ordered * weights).sum() / weights.sum())


def seeds_interval(scores: Floats, *, seed: int = 0, replications: int = REPLICATIONS) -> tuple[float, float, float]:
    """Return the interquartile mean of scores [seed, fold] with its 95 % interval, seeds redrawn within each fold."""
    random = np.random.default_rng(seed)
    seeds, folds = scores.shape
    rows = random.integers(0, seeds, (replications, seeds, folds))
    draws = np.sort([interquartile_mean(np.take_along_axis(scores, chosen, axis=0)) for chosen in rows])
    return interquartile_mean(scores), float(draws[int(0.025 * replications)]), float(draws[int(0.975 * replications)])


def _draw_means(daily: Daily, block: float, random: np.random.Generator, replications: int) -> Floats:
    n = len(daily.sums)
    means: list[Floats] = []
    batch = max(1, _BATCH_CELLS // n)
    for begin in range(0, replications, batch):
        rows = min(batch, replications - begin)
        restart = random.random((rows, n)) < 1 / block
        restart[:, 0] = True
        steps = np.arange(n)
        last = np.maximum.accumulate(np.where(restart, steps, 0), axis=1)
        starts = random.integers(0, n, (rows, n))
        chosen = (np.take_along_axis(starts, last, axis=1) + steps - last) % n
        counts = daily.counts[chosen].sum(axis=1)
        sums = daily.sums[chosen].sum(axis=1)
        means.append(sums[counts > 0] / counts[counts > 0])
    return np.concatenate(means)
