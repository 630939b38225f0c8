"""Whether the world has left a learned policy behind: pure tests on what was measured since it was promoted.

Decides the tests and their limits (learning 8). Each alarm is a sentence with its figures. Too little measured is no
alarm and no all-clear: the test is left out. Plain Python, so that `watch` can ask without numpy.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import log, sqrt
from statistics import fmean

from tpctl.exits.instrument import Unavailable
from tpctl.exits.scoring import wilson
from tpctl.market.policy.hits import HitOdds
from tpctl.market.policy.model import Action
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
# What is asked of a position first, by the newest positions: divergence in nats from the shares in training. By chance
# it exceeds the limit less than once in a thousand positions.
MIX_POSITIONS, MIX_LIMIT = 60, 0.25
# Learning 8: a Brier score this much above what the chances foretold promise. It and the share of hits are believed at
# so many standard errors, by the newest positions, from so many on.
BRIER_LIMIT = 1.25
HIT_POSITIONS, HITS_LEAST, SURE = 60, 40, 4.0
_ASKED = {action: action.name.lower().replace("_", " ") for action in Action} | {Action.HOLD: "nothing"}


@dataclass(frozen=True, slots=True)
class Expected:
    """What a policy promised: mean net R a position, mean slippage at take-profits, the deciles of each feature.

    `actions` are the shares of positions it asks each `Action` of first, holding to the end where it asks for nothing;
    empty where that was not measured. `hits` foretells targets. `leverage` is the range it was trained for; None where
    its training did not depend on it.
    """

    mean_r: float
    slippage: float
    features: Mapping[str, Sequence[float]] = field(default_factory=dict)
    actions: Sequence[float] = ()
    hits: HitOdds | None = None
    leverage: tuple[Decimal, Decimal] | None = None


@dataclass(slots=True)
class Evidence:
    """What was measured since it was promoted, oldest first: net R of its positions, slippage, features at entry.

    `others` are a canary's comparison: (1, net R) of its own positions, (0, net R) of those left to the ladder.
    `actions` are what was asked of each position first, `hits` (chance foretold, whether it came) of its next target.
    """

    results: list[float] = field(default_factory=list)
    others: list[tuple[int, float]] = field(default_factory=list)
    slips: list[float] = field(default_factory=list)
    readings: dict[str, list[float]] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    hits: list[tuple[float, bool]] = field(default_factory=list)


def alarms(evidence: Evidence, expected: Expected) -> tuple[str, ...]:
    """Return what speaks against going on with a policy."""
    found = [
        falls_short(evidence.results, expected.mean_r),
        does_harm(evidence.others),
        slips_more(evidence.slips, expected.slippage),
        asks_otherwise(evidence.actions, expected.actions),
        hits_otherwise(evidence.hits),
    ]
    # The newest: what was seen long ago must not hide what has changed.
    found += [
        has_moved(name, edges, evidence.readings.get(name, [])[-STABILITY_READINGS:])
        for name, edges in expected.features.items()
    ]
    return tuple(text for text in found if text is not None)


def waiting(evidence: Evidence, expected: Expected) -> tuple[str, ...]:
    """Return which tests cannot be made yet, and why: they are no all-clear."""
    met = min((len(evidence.readings.get(name, ())) for name in expected.features), default=0)
    counts = (
        (len(evidence.slips), SLIPPAGE_FILLS, "slippage", "fills"),
        (met, STABILITY_READINGS if expected.features else 0, "whether the market has moved", "positions"),
        (len(evidence.actions), MIX_POSITIONS if expected.actions else 0, "what is asked first", "closed positions"),
        (len(evidence.hits), HITS_LEAST if expected.hits else 0, "how often targets are hit", "positions"),
    )
    found = [
        f"{what} is judged from {need} {unit} on, {seen} so far" for seen, need, what, unit in counts if seen < need
    ]
    if not expected.actions:
        found.append("what is asked first is not judged: this policy's training did not record it")
    if expected.hits is None:
        found.append("how often targets are hit is not judged: this policy's training did not record it")
    return tuple(found)


def divergence(expected: Sequence[float], counts: Sequence[int]) -> float:
    """Return the Kullback-Leibler divergence in nats of what was counted from the shares expected, all above zero."""
    total = sum(counts)
    shares = [count / total for count in counts]
    return sum(one * log(one / other) for one, other in zip(shares, expected, strict=True) if one > 0.0)


def asks_otherwise(actions: Sequence[Action], expected: Sequence[float]) -> str | None:
    """Return the alarm where what is asked of positions first is not shared out as in training."""
    newest = actions[-MIX_POSITIONS:]
    if len(newest) < MIX_POSITIONS or not expected:
        return None
    counts = [newest.count(action) for action in Action]
    found = divergence(expected, counts)
    if found <= MIX_LIMIT:
        return None
    most = max(Action, key=lambda action: abs(counts[action] / len(newest) - expected[action]))
    return (
        f"it asks otherwise than in training: first for {_ASKED[most]} at {counts[most] / len(newest):.0%} of the last "
        f"{len(newest)} positions, {expected[most]:.0%} expected (divergence {found:.2f}, limit {MIX_LIMIT})"
    )


def hits_otherwise(foretold: Sequence[tuple[float, bool]]) -> str | None:
    """Return the alarm where targets are hit more or less often than foretold, or other ones are (Brier 1950).

    More hits than foretold are one too: the training's market is not this one. The standard errors are those of hits
    that come with the chances foretold (Spiegelhalter 1986).
    """
    newest = foretold[-HIT_POSITIONS:]
    if len(newest) < HITS_LEAST:
        return None
    count = len(newest)
    doubt = sum(chance * (1.0 - chance) for chance, _ in newest)
    surplus = sum(came - chance for chance, came in newest)
    if abs(surplus) > SURE * sqrt(doubt):
        hit, expected = fmean(came for _, came in newest), fmean(chance for chance, _ in newest)
        return f"targets were hit by {hit:.0%} of the last {count} positions, {expected:.0%} expected"
    score = sum((came - chance) ** 2 for chance, came in newest)
    error = sqrt(sum((1.0 - 2.0 * chance) ** 2 * chance * (1.0 - chance) for chance, _ in newest))
    if score <= BRIER_LIMIT * doubt or score - doubt <= SURE * error:
        return None
    return (
        f"targets are foretold badly: Brier score {score / count:.3f} over the last {count} positions, "
        f"{doubt / count:.3f} promised"
    )


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
