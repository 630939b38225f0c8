"""What judging a policy came to, as records: figures, intervals, slices, and the gate's verdict with its checks.

Decides nothing; `tpctl.learn` fills them in and `tpctl.views` shows them. Floats in R, the distance of the first stop,
never money.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, its two-sided 95 % interval, the one-sided 95 % lower bound, and the mean block length in days."""

    mean: float
    low: float
    high: float
    lower_bound: float
    block_days: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a policy: means in R and minutes, `cvar` the mean of the worst 5 %, `drawdown` in R.

    `closes` is how many orders it took to get out, `cost` fees, funding and slippage. `holding_minutes` is None for a
    bound that is no rule.
    """

    positions: int
    mean: float
    deviation: float
    cvar: float
    drawdown: float
    hit_rate: float
    holding_minutes: float | None
    closes: float
    cost: float


@dataclass(frozen=True, slots=True)
class Overfitting:
    """PBO over `splits` splits of `configurations`, with the logits it was counted from."""

    probability: float
    splits: int
    configurations: int
    logits: Floats


@dataclass(frozen=True, slots=True)
class Deflated:
    """A Sharpe ratio per step, the one luck would show over `trials`, and the probability to be above that."""

    sharpe: float
    benchmark: float
    trials: int
    probability: float


class Verdict(StrEnum):
    """What the gate says: `passed` may be promoted, `refused` stays a candidate."""

    PASSED = "passed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Check:
    """One check: whether it holds, its value (None where it could not be made), and the limit in words."""

    name: str
    ok: bool
    value: float | None
    limit: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict with every check, and the interval of the gain."""

    verdict: Verdict
    checks: tuple[Check, ...]
    interval: Interval | None = field(default=None)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was refused: the checks that do not hold."""
        return tuple(
            f"{one.name} is {'not known' if one.value is None else format(one.value, '.4g')}, must be {one.limit}"
            for one in self.checks
            if not one.ok
        )


@dataclass(frozen=True, slots=True)
class Proof:
    """One known answer: what is known, what was found, twice its standard error, and whether it holds."""

    name: str
    known: float
    found: float
    error: float
    ok: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One policy: its figures, its gain over the incumbent, and its share of what could be had over holding."""

    name: str
    figures: Figures
    gain: Interval | None
    capture: float | None


@dataclass(frozen=True, slots=True)
class Slice:
    """Some of the positions: means in R and the paired gain; `apart` is the gain where they taught nothing."""

    name: str
    positions: int
    incumbent: float
    candidate: float
    gain: Interval
    apart: float | None = None


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One configuration that was tried: true net R and hit rate out of sample, and what its bonus was."""

    name: str
    bonus: float
    scale: float
    mean: float
    hit_rate: float
    gain: Interval
    sharpe: float


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The running sum of R of one policy, `at` in ms UTC."""

    name: str
    at: NDArray[np.int64]
    total: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Everything a report shows. `single` are the distances in R the tuned target took, fold by fold."""

    configuration: str
    data_hash: str
    positions: int
    symbols: tuple[str, ...]
    first: int
    last: int
    horizon_ms: int
    incumbent: str
    rows: tuple[Row, ...]
    folds: tuple[Slice, ...]
    by_symbol: tuple[Slice, ...]
    by_regime: tuple[Slice, ...]
    stress: tuple[Slice, ...]
    trials: tuple[TrialRow, ...]
    seeds: tuple[float, ...]
    seeds_middle: tuple[float, float, float]
    overfitting: Overfitting | None
    deflated: Deflated
    judgement: Judgement
    curves: tuple[Curve, ...]
    outcomes: Mapping[str, Floats]
    single: tuple[float, ...]
    reproducible: bool
    proofs: tuple[Proof, ...]
