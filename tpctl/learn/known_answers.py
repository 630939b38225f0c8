"""Stopping problems whose answer is known, to try learners on (learning 4): what they find is held against the truth.

Each is a `Trace`: raw features of what may be known at a time, the value of stopping there, and the value of holding to
the end. The known values are from the sources named at each; nothing here is a market.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tpctl.learn.replay import Trace

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its id of learning 4, the value of the best rule, and paths of it by number and seed."""

    name: str
    value: float
    paths: Callable[[int, int], Trace]


def moser(draws: int) -> float:
    """Return the value of the best of n uniform draws, seen one by one: v <- (1 + v^2) / 2 (KA-0; Moser 1956)."""
    value = 0.5
    for _ in range(draws - 1):
        value = (1.0 + value * value) / 2.0
    return value


def uniform_draws(draws: int) -> Problem:
    """KA-0: independent uniform draws; the last one has to be taken."""

    def paths(count: int, seed: int) -> Trace:
        seen = np.random.default_rng(seed).random((draws, count))
        left = np.arange(draws - 1, 0, -1)[:, None] * np.ones(count)
        features = np.stack([seen[:-1], 1.0 / (left + 1.0), 1.0 / (left + 1.0) ** 2])
        return Trace(features, np.ones((draws - 1, count), dtype=bool), seen[:-1], seen[-1])

    return Problem(f"KA-0 uniform, {draws} draws", moser(draws), paths)


def driftless_walk() -> Problem:
    """KA-1, the negative control: sigma 0.2 R a step, stop at -1 R, 100 steps, fee 0.05 R. Nothing beats the fee."""

    def paths(count: int, seed: int) -> Trace:
        draw = np.random.default_rng(seed)
        moves = 0.2 * draw.standard_normal((100, count))
        return _stopped(np.r_[np.zeros((1, count)), np.cumsum(moves, axis=0)], -1.0, 0.05)

    return Problem("KA-1 driftless walk", -0.05, paths)


def ornstein_uhlenbeck() -> Problem:
    """KA-3: x <- 0.97 x + 0.2 z from -0.75, stop at -1.75, 60 steps, fee 0.05. Value by dynamic programming."""

    def paths(count: int, seed: int) -> Trace:
        draw = np.random.default_rng(seed)
        level = np.full((61, count), -0.75)
        for step in range(60):
            level[step + 1] = 0.97 * level[step] + 0.2 * draw.standard_normal(count)
        return _stopped(level, -1.75, 0.05)

    return Problem("KA-3 Ornstein-Uhlenbeck", 0.57727, paths)


def hidden_trend() -> Problem:
    """KA-4: a drift of +-0.06 that switches unseen with probability 0.03 a step, up with 0.9 at first; sigma 0.2.

    Stop at -1, 100 steps, fee 0.05. The value is that of dynamic programming over the Bayes filter; the features are
    raw: price, its best, averages of moves, time.
    """

    def paths(count: int, seed: int) -> Trace:
        draw = np.random.default_rng(seed)
        up = draw.random(count) < 0.9
        level = np.zeros((101, count))
        for step in range(100):
            up ^= draw.random(count) < 0.03
            level[step + 1] = level[step] + np.where(up, 0.06, -0.06) + 0.2 * draw.standard_normal(count)
        return _stopped(level, -1.0, 0.05)

    return Problem("KA-4 hidden trend", 1.2567, paths)


def bermudan_put(spot: float, volatility: float, years: int, value: float) -> Problem:
    """KA-2: a Bermudan put of strike 40 at a rate of 6 %, fifty dates a year (Longstaff and Schwartz 2001, table 1)."""
    dates, rate, strike = 50 * years, 0.06, 40.0

    def paths(count: int, seed: int) -> Trace:
        draw = np.random.default_rng(seed)
        span = 1.0 / 50.0
        moves = (rate - volatility**2 / 2) * span + volatility * np.sqrt(span) * draw.standard_normal((dates, count))
        price = spot * np.exp(np.cumsum(moves, axis=0))
        discount = np.exp(-rate * span * np.arange(1, dates + 1))[:, None]
        worth = discount * np.maximum(strike - price, 0.0)
        scaled = price[:-1] / strike
        left = np.sqrt(1.0 - np.arange(1, dates)[:, None] / dates) * np.ones(count)
        features = np.stack([scaled, left, left**2, scaled * left, np.exp(-4.0 * left)])
        return Trace(features, worth[:-1] > 0.0, worth[:-1], worth[-1])

    return Problem(f"KA-2 put {spot:g}, {volatility:g}, {years} y", value, paths)


def max_call(assets: int, spot: float, value: float) -> Problem:
    """KA-5: a Bermudan call on the largest of d assets, nine dates in three years, strike 100, rate 5 %, dividend 10 %.

    Volatility 20 %, independent (Becker, Cheridito and Jentzen, JMLR 20, 2019, table 1).
    """
    dates, strike, rate, span = 9, 100.0, 0.05, 1.0 / 3.0

    def paths(count: int, seed: int) -> Trace:
        draw = np.random.default_rng(seed)
        moves = (rate - 0.10 - 0.02) * span + 0.2 * np.sqrt(span) * draw.standard_normal((dates, assets, count))
        price = np.concatenate([np.full((1, assets, count), spot), spot * np.exp(np.cumsum(moves, axis=0))])
        discount = np.exp(-rate * span * np.arange(dates + 1))[:, None]
        worth = discount * np.maximum(price.max(axis=1) - strike, 0.0)
        ranked = np.sort(price[:-1], axis=1)[:, ::-1] / strike
        left = (1.0 - np.arange(dates)[:, None] / dates) * np.ones(count)
        first, second = ranked[:, 0], ranked[:, 1]
        columns = [first, second, first * second, first**2, second**2, left, left**2, left * first, left * second]
        columns += [left**2 * first, left**2 * second, np.exp(-6.0 * left), first - second, (first - second) ** 2]
        columns += [ranked[:, asset] for asset in range(2, assets)]
        return Trace(np.stack(columns), worth[:-1] > 0.0, worth[:-1], worth[-1])

    return Problem(f"KA-5 max-call, {assets} assets, {spot:g}", value, paths)


def _stopped(level: Floats, stop: float, fee: float) -> Trace:
    """Return the trace of paths (N + 1, n) that begin at `level[0]` and end at the first value at or below the stop."""
    start, steps = level[0], len(level) - 1
    crossed = np.logical_or.accumulate(level <= stop, axis=0)
    last = np.where(crossed.any(axis=0), crossed.argmax(axis=0), steps)
    end = level[last, np.arange(level.shape[1])] - start - fee
    features = np.stack(_raw(level[:-1], np.r_[np.zeros((1, level.shape[1])), np.diff(level[:-1], axis=0)]))
    return Trace(features, ~crossed[:-1], level[:-1] - start - fee, end)


def _raw(level: Floats, moves: Floats) -> Sequence[Floats]:
    """Return what may be known without a model: time, price, best and distance from it, averages of moves."""
    time = np.arange(len(level))[:, None] / len(level) * np.ones(level.shape[1])
    best = np.maximum.accumulate(level, axis=0)
    averages = []
    for decay in (0.7, 0.85, 0.94):
        average = np.zeros_like(level)
        for step in range(1, len(level)):
            average[step] = decay * average[step - 1] + (1.0 - decay) * moves[step]
        averages.append(average)
    return [time, time**2, np.exp(12.0 * (time - 1.0)), level, best - level, *averages]


EXACT: tuple[Problem, ...] = (
    *(uniform_draws(draws) for draws in (2, 3, 5, 10, 20)),
    bermudan_put(36.0, 0.2, 1, 4.478),
    bermudan_put(36.0, 0.2, 2, 4.840),
    bermudan_put(36.0, 0.4, 1, 7.101),
    bermudan_put(38.0, 0.2, 1, 3.250),
    bermudan_put(40.0, 0.2, 1, 2.314),
    bermudan_put(44.0, 0.2, 1, 1.110),
    ornstein_uhlenbeck(),
    hidden_trend(),
    max_call(2, 90.0, 8.075),
    max_call(2, 100.0, 13.902),
    max_call(2, 110.0, 21.345),
    max_call(5, 90.0, 16.644),
    max_call(5, 100.0, 26.159),
    max_call(5, 110.0, 36.772),
)
