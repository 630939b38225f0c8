"""What the outcomes of one policy on many positions say of it: mean and risk, in R.

Floats in R (multiples of the initial risk of each position), never money. Every measure is of net outcomes, without the
training's bonus.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tpctl.learn.episodes import Episodes
from tpctl.learn.replay import Outcomes

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

TAIL = 0.05


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a policy: means in R and minutes, `cvar` the mean of the worst 5 %, `drawdown` in R.

    `closes` is how many orders it took to get out, `cost` fees, funding and slippage.
    """

    positions: int
    mean: float
    deviation: float
    cvar: float
    drawdown: float
    hit_rate: float
    holding_minutes: float
    closes: float
    cost: float


def figures(episodes: Episodes, outcomes: Outcomes) -> Figures:
    """Return the figures of what became of episodes; raises `ValueError` for none."""
    if not len(outcomes):
        raise ValueError("no outcomes")
    return Figures(
        positions=len(outcomes),
        mean=float(outcomes.r.mean()),
        deviation=float(outcomes.r.std()),
        cvar=tail_mean(outcomes.r),
        drawdown=max_drawdown(episodes.started_at + outcomes.holding_ms, outcomes.r),
        hit_rate=float(outcomes.hit.mean()),
        holding_minutes=float(outcomes.holding_ms.mean() / 60_000),
        closes=float(outcomes.closes.mean()),
        cost=float((outcomes.fees + outcomes.funding + outcomes.slippage).mean()),
    )


def tail_mean(values: Floats, share: float = TAIL) -> float:
    """Return the mean of the worst `share` of values, at least one of them (CVaR, a loss is negative)."""
    count = max(1, int(np.ceil(share * len(values))))
    return float(np.partition(values, count - 1)[:count].mean())


def max_drawdown(at: Times, values: Floats) -> float:
    """Return the deepest fall of the running sum of outcomes, taken in order of `at`; 0 where it never falls."""
    running = np.cumsum(values[np.argsort(at, kind="stable")])
    peak = np.maximum(np.maximum.accumulate(running), 0.0)
    return float((peak - running).max(initial=0.0))


def capture(mean: float, hold: float, clairvoyant: float) -> float | None:
    """Return the share of what could be had over holding that was had; None where nothing could be."""
    room = clairvoyant - hold
    return (mean - hold) / room if room > 0 else None
