"""How likely a position's next target is hit, as the training of a policy found it: what its calibration is held to.

Decides what the chance is read from, at the first close a position is seen: how far stop and target are, and how the
market moves. Plain Python, for `watch` asks it without numpy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

from tpctl.market.policy.features import STEP_FEATURES

HIT_FEATURES = ("odds", "way", "drift_fast", "drift_slow", "swell")
_STOP, _TARGET = STEP_FEATURES.index("stop_gap"), STEP_FEATURES.index("target_gap")
_MARKET = STEP_FEATURES.index("drift_fast")
# In average ranges: nearer than this, stop and target are as good as reached.
NEAREST = 0.05
# Nobody is surer than this of a target.
LEAST = 0.02


@dataclass(frozen=True, slots=True)
class HitOdds:
    """A logistic model: `bias` + sum of weight times `HIT_FEATURES` is the log odds of a hit."""

    bias: float
    weights: tuple[float, ...]

    def chance(self, seen: Sequence[float]) -> float:
        """Return the chance of a hit, from `STEP_FEATURES`; raises `ValueError` where the number of weights differs."""
        total = self.bias + sum(w * value for w, value in zip(self.weights, hit_features(seen), strict=True))
        # The exponential of what lies beyond is out of range.
        chance = 1.0 / (1.0 + exp(-min(max(total, -30.0), 30.0)))
        return min(max(chance, LEAST), 1.0 - LEAST)


def hit_features(seen: Sequence[float]) -> tuple[float, ...]:
    """Return `HIT_FEATURES` of `STEP_FEATURES`: without a drift the odds are those of the distances alone."""
    stop, target = max(seen[_STOP], NEAREST), max(seen[_TARGET], NEAREST)
    return (log(stop / target), log(target), *seen[_MARKET : _MARKET + 3])
