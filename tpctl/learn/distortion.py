"""KA-7: what the take-profit bonus does to profit, solved exactly (learning 1 and 4).

The problem is KA-3, a price in R that returns to zero: x <- 0.97 x + 0.2 z from -0.75, stop at -1.75, 60 steps, fee
0.05. Whoever maximises `scale` times net R plus 5 for an exit that takes 95 % of a target gets the hit rate that was
asked for and pays for it with profit. Dynamic programming over cells of the price; nothing is drawn at random.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

from tpctl.learn.replay import SUCCESS
from tpctl.learn.reward import BONUS

Floats = NDArray[np.float64]

_PULL, _NOISE, _START, _STOP, _STEPS, _FEE = 0.97, 0.2, -0.75, -1.75, 60, 0.05
# Cells of which one has the start at its centre.
_CELLS, _WIDTH = 1000, 1.0 / 220.5

# Learning 1, computed: share of the optimum's net R (percent) and hit rate (percent) by target in R and scale.
TARGETS = (0.6, 1.0, 1.5, 2.0)
SCALES = (1.0, 10.0, 100.0, 10_000.0)
PUBLISHED = {
    (0.6, 1.0): (66.4, 83.0),
    (0.6, 10.0): (97.2, 73.0),
    (0.6, 100.0): (99.8, 66.0),
    (0.6, 10_000.0): (99.9, 64.0),
    (1.0, 1.0): (92.0, 69.0),
    (1.0, 10.0): (97.5, 66.0),
    (1.0, 100.0): (99.9, 60.0),
    (1.0, 10_000.0): (99.9, 58.0),
    (1.5, 1.0): (97.8, 44.0),
    (1.5, 10.0): (97.8, 43.0),
    (1.5, 100.0): (99.2, 34.0),
    (1.5, 10_000.0): (99.9, 19.0),
    (2.0, 1.0): (86.2, 20.0),
    (2.0, 10.0): (90.8, 16.0),
    (2.0, 100.0): (99.9, 0.1),
    (2.0, 10_000.0): (99.9, 0.1),
}


@dataclass(frozen=True, slots=True)
class Distortion:
    """What the best rule for the bonus comes to: mean net R, and the share of exits that take the target."""

    mean_r: float
    hit_rate: float


def optimum() -> float:
    """Return the most net R there is to have (KA-3: 0.57727)."""
    return _solved(0.0, 1.0, 1.0).mean_r


def distorted(target: float, scale: float, bonus: float = BONUS) -> Distortion:
    """Return what maximising `scale` times net R plus `bonus` for a hit of `target` (R) comes to."""
    return _solved(bonus, scale, target)


@lru_cache(maxsize=64)
def _solved(bonus: float, scale: float, target: float) -> Distortion:
    centres, moves, falls, below = _chain()
    worth = centres - _START - _FEE
    hit = centres - _START >= SUCCESS * target - 1e-12
    stopped = _stop_worth() * falls
    stop_now = np.asarray(scale * worth + bonus * hit, dtype=np.float64)
    value: Floats = stop_now
    closing = np.ones((_STEPS + 1, len(centres)), dtype=bool)
    for step in range(_STEPS - 1, -1, -1):
        going_on = moves @ value + scale * stopped
        closing[step] = stop_now > going_on
        value = np.asarray(np.maximum(stop_now, going_on), dtype=np.float64)
    # Forward: how much of the mass is still held, where, and what the rest came to.
    held = np.zeros(len(centres))
    held[below] = 1.0
    mean = hits = 0.0
    for step in range(_STEPS + 1):
        out = held * closing[step]
        mean, hits = mean + float(out @ worth), hits + float(out @ hit)
        held = held * ~closing[step]
        mean += float(held @ stopped)
        held = held @ moves
    return Distortion(mean, hits)


def _stop_worth() -> Floats:
    """Return the mean net R of a step that ends beyond the stop, from each cell."""
    centres = _centres()
    drift = _PULL * centres
    depth = (_STOP - drift) / _NOISE
    density = np.exp(-(depth**2) / 2) / sqrt(2 * np.pi)
    share = np.maximum(_normal(depth), 1e-300)
    met = np.asarray(np.where(share > 1e-12, drift - _NOISE * density / share, _STOP), dtype=np.float64)
    return met - _START - _FEE


def _centres() -> Floats:
    return np.asarray(_STOP + _WIDTH * (np.arange(_CELLS) + 0.5), dtype=np.float64)


@lru_cache(maxsize=1)
def _chain() -> tuple[Floats, Floats, Floats, int]:
    """Return the cells' centres, the chance to move between them, to fall below the stop, and the first cell."""
    edges = _STOP + _WIDTH * np.arange(_CELLS + 1)
    centres = _centres()
    reached = _normal((edges[None, :] - _PULL * centres[:, None]) / _NOISE)
    moves = np.diff(reached, axis=1)
    moves[:, -1] += 1.0 - reached[:, -1]
    return centres, moves, reached[:, 0], int(np.argmin(np.abs(centres - _START)))


def _normal(values: Floats) -> Floats:
    flat = np.array([erf(value / sqrt(2.0)) for value in np.ravel(np.clip(values, -40, 40))])
    return np.asarray((1.0 + flat.reshape(np.shape(values))) / 2.0, dtype=np.float64)
