"""Whether the world has left a learned policy behind: pure tests on what was measured since it was promoted.

Decides the tests and their limits (learning 8). Each alarm is a sentence with its figures. Too little measured is no
alarm and no all-clear: the test is left out. Plain Python, so that `watch` can ask without numpy.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from statistics import fmean

from tpctl.exits.instrument import Unavailable
from tpctl.exits.scoring import wilson
from tpctl.market.sequential import compare_streams

# Learning 8: a population stability index above this, slippage above this multiple of what was trained with.
STABILITY_LIMIT = 0.2
SLIPPAGE_LIMIT = 2.0
SLIPPAGE_FILLS = 20
# The stability index of small samples is high by itself: about (deciles - 1) x (1/n + 1/m).
STABILITY_READINGS = 200
# Learning 8: a canary that is this far behind the ladder after so many positions goes.
HARM_R = -0.10
HARM_POSITIONS = 50
# exit-rules 12: more premature exits than this are too many.
PREMATURE_LIMIT = 0.15
# Page-Hinkley in R: what a mean may fall short by, and the sum of shortfalls beyond it that raises the alarm. With a
# deviation of 1 R about one false alarm in ten thousand positions; a fall of 0.6 R is told after some forty.
TOLERANCE_R = 0.25
THRESHOLD_R = 15.0


@dataclass(frozen=True, slots=True)
class Expected:
    """What a policy promised: mean net R a position, mean slippage at take-profits, the deciles of each feature."""

    mean_r: float
    slippage: float
    features: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(slots=True)
class Evidence:
    """What was measured since it was promoted, oldest first: net R of its positions, slippage, features at entry.

    `others` are a canary's comparison: (1, net R) of its own positions, (0, net R) of those left to the ladder.
    """

    results: list[float] = field(default_factory=list)
    others: list[tuple[int, float]] = field(default_factory=list)
    slips: list[float] = field(default_factory=list)
    readings: dict[str, list[float]] = field(default_factory=dict)


def alarms(evidence: Evidence, expected: Expected) -> tuple[str, ...]:
    """Return what speaks against going on with a policy."""
    found = [
        falls_short(evidence.results, expected.mean_r),
        does_harm(evidence.others),
        slips_more(evidence.slips, expected.slippage),
    ]
    # The newest: what was seen long ago must not hide what has changed.
    found += [
        has_moved(name, edges, evidence.readings.get(name, [])[-STABILITY_READINGS:])
        for name, edges in expected.features.items()
    ]
    return tuple(text for text in found if text is not None)


def falls_short(realised: Sequence[float], predicted: float) -> str | None:
    """Return the alarm where results (R, oldest first) fall short of what was predicted (Page 1954, Hinkley 1971)."""
    total = lowest = 0.0
    for number, value in enumerate(realised, 1):
        total += predicted - value - TOLERANCE_R
        lowest = min(lowest, total)
        if total - lowest > THRESHOLD_R:
            mean = fmean(realised[:number])
            return f"results fall short: {mean:+.2f} R a position over {number}, {predicted:+.2f} R expected"
    return None


def does_harm(outcomes: Sequence[tuple[int, float]]) -> str | None:
    """Return the alarm where positions of a canary (1, net R) end worse than those left to the ladder (0, net R).

    That is where the difference is below zero at 95 % whenever one looks, or far below it after fifty of each. The
    latter errs toward the ladder: it costs a canary that was unlucky, and no money.
    """
    found = compare_streams(outcomes)
    if found.difference is None:
        return None
    surely = found.high is not None and found.high < 0.0
    far = found.difference < HARM_R and min(found.count_a, found.count_b) >= HARM_POSITIONS
    if not (surely or far):
        return None
    return f"{found.difference:+.2f} R a position against the ladder, {found.count_b} positions against {found.count_a}"


def slips_more(fractions: Sequence[float], expected: float) -> str | None:
    """Return the alarm where the newest fills (fractions of price, adverse above zero) slip far more than expected."""
    if len(fractions) < SLIPPAGE_FILLS or expected <= 0.0:
        return None
    newest = fmean(fractions[-SLIPPAGE_FILLS:])
    if newest <= SLIPPAGE_LIMIT * expected:
        return None
    return (
        f"slippage of the last {SLIPPAGE_FILLS} fills is {newest:.4%}, {newest / expected:.1f} x what was trained with"
    )


def leaves_early(premature: int, judged: int) -> str | None:
    """Return the alarm where more exits were premature than a target of 15 % and chance allow (exit-rules 12)."""
    interval = wilson(premature, judged)
    if isinstance(interval, Unavailable) or interval[0] <= PREMATURE_LIMIT:
        return None
    return f"{premature} of {judged} take-profits were left too early, {PREMATURE_LIMIT:.0%} are the limit"


def stability_index(edges: Sequence[float], values: Sequence[float]) -> float:
    """Return the population stability index of `values` against equally likely bins between `edges`, ascending."""
    bins = len(edges) + 1
    counts = [0] * bins
    for value in values:
        counts[bisect_right(edges, value)] += 1
    share = 1.0 / bins
    # Half a reading in an empty bin keeps the logarithm finite.
    found = [max(count, 0.5) / len(values) for count in counts]
    return sum((one - share) * log(one / share) for one in found)


def has_moved(name: str, edges: Sequence[float], values: Sequence[float]) -> str | None:
    """Return the alarm where a feature is not distributed as it was in training."""
    if len(values) < STABILITY_READINGS or not edges:
        return None
    index = stability_index(edges, values)
    return (
        None if index <= STABILITY_LIMIT else f"{name} has moved: stability index {index:.2f}, limit {STABILITY_LIMIT}"
    )
