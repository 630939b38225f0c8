"""KA-6: when to sell what returns to its mean, without an end (Leung and Li, IJTAF 2015).

dX = mu (theta - X) dt + sigma dW, selling pays X - c, discounted at rate r. The best rule sells at a level b* where
F(b) = (b - c) F'(b), with F(x) the integral over u > 0 of u^(r/mu - 1) exp(sqrt(2 mu / sigma^2) (x - theta) u - u^2/2).
Here mu = 1, theta = 0, sigma = 1. The simulated problem sells at times 0.1 apart, whose best level is lower by
0.5826 sigma sqrt(dt) (Broadie, Glasserman and Kou 1997); `level` corrects for it.
"""

from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from tpctl.learn.known_answers import Problem
from tpctl.learn.replay import Trace
from tpctl.learn.stopping import StoppingRule

Floats = NDArray[np.float64]

STEP, SPAN = 0.1, 40.0
_CORRECTION = 0.5826
# Starts, spread around the levels of the known answers so that many paths come near them.
_FROM, _TO = 0.3, 1.5


def boundary(rate: float, cost: float) -> float:
    """Return b*, by bisection."""
    low, high = cost + 1e-6, 6.0
    while high - low > 1e-10:
        middle = (low + high) / 2
        value, slope = _waiting(middle, rate)
        low, high = (middle, high) if value > (middle - cost) * slope else (low, middle)
    return (low + high) / 2


def value_at_mean(rate: float, cost: float) -> float:
    """Return what the right to sell is worth where the price is at its mean."""
    level = boundary(rate, cost)
    return (level - cost) * _waiting(0.0, rate)[0] / _waiting(level, rate)[0]


def _waiting(level: float, rate: float) -> tuple[float, float]:
    """Return F and F' at a level; u = v^(1/rate) takes the pole at zero out of the integrals."""
    v = (np.arange(200_000) + 0.5) / 200_000 * 12.0**rate
    u = v ** (1.0 / rate)
    body = np.exp(sqrt(2.0) * level * u - u**2 / 2)
    return float(body.mean()), float((sqrt(2.0) * u * body).mean())


def perpetual_sale(rate: float, cost: float) -> Problem:
    """KA-6: paths that may be sold at any of many times; `value` is b*."""
    steps = round(SPAN / STEP)
    pull = exp(-STEP)
    noise = sqrt((1.0 - pull**2) / 2.0)

    def paths(count: int, seed: int) -> Trace:
        draw = np.random.default_rng(seed)
        price = np.empty((steps + 1, count))
        price[0] = draw.uniform(_FROM, _TO, count)
        for step in range(steps):
            price[step + 1] = pull * price[step] + noise * draw.standard_normal(count)
        worth = np.exp(-rate * STEP * np.arange(steps + 1))[:, None] * (price - cost)
        # Who has not sold by then waits on for less than this costs.
        end = np.maximum(worth[-1], 0.0)
        return Trace(price[None, :-1], np.ones((steps, count), dtype=bool), worth[:-1], end)

    return Problem(f"KA-6 sale, r {rate:g}, c {cost:g}", boundary(rate, cost), paths)


def level(rule: StoppingRule) -> float:
    """Return the level a rule sells from, as of selling at any time; raises `ValueError` for a rule without one."""
    if rule.weights[0] <= 0.0:
        raise ValueError("the rule does not sell above a level")
    return -rule.bias / float(rule.weights[0]) + _CORRECTION * sqrt(STEP)
