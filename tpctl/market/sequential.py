"""A comparison that may be looked at after every outcome: the mixture sequential probability ratio test (mSPRT).

Decides whether the means of two arms differ, with a false-positive rate that holds over all looks together (Robbins
1970; Johari, Pekelis, Walsh 2015; learning 8). With D the difference of the means and w = v_a/n_a + v_b/n_b its
variance, the likelihood ratio mixed over N(0, t²) is

    ln L = ½ ln(w / (w + t²)) + t² D² / (2 w (w + t²)),

which for two arms of n outcomes each is learning 8's ½ ln(v/(v+nτ²)) + τ²S²/(2v(v+nτ²)) with S = n·D, v = n·w. Under
"no difference" L reaches 1/alpha at any time with probability alpha at most.

Variances are estimated as the outcomes come, so nothing is concluded before each arm has `BURN_IN` of them. Outcomes
are taken for independent: positions that move together make it too confident, which the block bootstrap beside it does
not. Floats live here, as everywhere in `market`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, inf, log, sqrt

# learning 8: tau = 0.1 sigma.
TAU_SIGMAS = 0.1
ALPHA = 0.05
# Before that a variance estimate is too rough for the ratio to keep its promise.
BURN_IN = 30


@dataclass(frozen=True, slots=True)
class Sequential:
    """Where the test stands. `difference` is mean of B less mean of A; `low` and `high` hold at all times together.

    `p` is the always-valid p-value, `decided_after` the number of outcomes after which it first fell to alpha, None
    while it has not. `None` in the figures: too few outcomes.
    """

    count_a: int
    count_b: int
    difference: float | None
    low: float | None
    high: float | None
    p: float
    decided_after: int | None

    @property
    def decided(self) -> bool:
        """Whether the arms differ, at alpha."""
        return self.decided_after is not None


class Msprt:
    """One running test; `see` takes the outcomes in the order they came."""

    def __init__(self, *, tau_sigmas: float = TAU_SIGMAS, alpha: float = ALPHA, burn_in: int = BURN_IN) -> None:
        self._tau = tau_sigmas
        self._alpha = alpha
        self._burn_in = max(2, burn_in)
        self._arms = (_Moments(), _Moments())
        self._p = 1.0
        self._decided_after: int | None = None
        self._low, self._high = -inf, inf

    def see(self, arm: int, value: float) -> None:
        """Take one outcome of arm 0 (A) or 1 (B)."""
        self._arms[arm].add(value)
        a, b = self._arms
        if min(a.count, b.count) < self._burn_in:
            return
        found = self._spread()
        if found is None:
            return
        difference, w, t = found
        ratio = 0.5 * log(w / (w + t)) + t * difference * difference / (2 * w * (w + t))
        self._p = min(self._p, exp(min(0.0, -ratio)))
        if self._decided_after is None and self._p <= self._alpha:
            self._decided_after = a.count + b.count
        half = sqrt(2 * w * (w + t) / t * (log(1 / self._alpha) + 0.5 * log((w + t) / w)))
        # The bounds of all looks hold together, so the narrowest of each side holds.
        self._low, self._high = max(self._low, difference - half), min(self._high, difference + half)

    def result(self) -> Sequential:
        """Return where the test stands."""
        a, b = self._arms
        difference = b.mean - a.mean if a.count and b.count else None
        known = self._low > -inf and self._low <= self._high
        low, high = (self._low, self._high) if known else (None, None)
        return Sequential(a.count, b.count, difference, low, high, self._p, self._decided_after)

    def _spread(self) -> tuple[float, float, float] | None:
        """Return the difference, its variance and the mixture's; None where every outcome was the same."""
        a, b = self._arms
        pooled = (a.squares + b.squares) / (a.count + b.count - 2)
        if pooled <= 0.0:
            return None
        w = a.squares / (a.count - 1) / a.count + b.squares / (b.count - 1) / b.count
        # tau is of one paired difference, whose variance is twice an outcome's.
        t = self._tau**2 * 2 * pooled
        return (b.mean - a.mean, w, t) if w > 0.0 else None


def compare_streams(outcomes: Iterable[tuple[int, float]], *, alpha: float = ALPHA) -> Sequential:
    """Return where the test stands after all (arm, value) outcomes, in the order they came."""
    test = Msprt(alpha=alpha)
    for arm, value in outcomes:
        test.see(arm, value)
    return test.result()


class _Moments:
    """Count, mean and sum of squared deviations (Welford)."""

    __slots__ = ("count", "mean", "squares")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.squares = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self.squares += delta * (value - self.mean)
