"""What the outcomes of one policy on many positions say of it: mean and risk, in R.

Floats in R (multiples of the initial risk of each position), never money. Every measure is of net outcomes, without the
training's bonus.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tpctl.learn.replay import Outcomes
from tpctl.market.evaluation import Figures

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

TAIL = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """What exits came to on n positions: net R, whether the zone was taken (0 or 1), holding in ms, closes, costs in R.

    NaN where a bound that is no rule has none.
    """

    r: Floats
    hit: Floats
    holding_ms: Floats
    closes: Floats
    cost: Floats

    @classmethod
    def of(cls, outcomes: Outcomes) -> "Played":
        """Keep of outcomes what is reported."""
        return cls(
            outcomes.r,
            outcomes.hit.astype(np.float64),
            outcomes.holding_ms.astype(np.float64),
            outcomes.closes.astype(np.float64),
            outcomes.fees + outcomes.funding + outcomes.slippage,
        )

    @classmethod
    def join(cls, parts: Sequence["Played"]) -> "Played":
        """Return the positions of all parts in their order."""
        return cls(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(cls)))

    def __len__(self) -> int:
        return len(self.r)


def figures(started_at: Times, played: Played) -> Figures:
    """Return the figures of positions that began at `started_at` (ms); raises `ValueError` for none."""
    if not len(played):
        raise ValueError("no outcomes")
    timed = bool(np.isfinite(played.holding_ms).all())
    closed_at = started_at + (played.holding_ms.astype(np.int64) if timed else 0)
    return Figures(
        positions=len(played),
        mean=float(played.r.mean()),
        deviation=float(played.r.std()),
        cvar=tail_mean(played.r),
        drawdown=max_drawdown(closed_at, played.r),
        hit_rate=float(played.hit.mean()),
        holding_minutes=float(played.holding_ms.mean() / 60_000) if timed else None,
        closes=float(played.closes.mean()),
        cost=float(played.cost.mean()),
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
