"""Why a policy answered as it did: which features moved the answer, and by how much.

A linear score is explained exactly: each feature's part is its weight times its value, and the parts with the bias sum
to the score. A network is explained by putting zero in the place of one feature at a time, which tells only roughly;
`exact` says which of the two it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tpctl.market.policy.features import ENTRY_FEATURES, STEP_FEATURES
from tpctl.market.policy.model import Action, LearnedPolicy, Linear, Score, Zone


@dataclass(frozen=True, slots=True)
class Influence:
    """One feature, its value, and what it added to the answer: in R for zones and linear close scores."""

    feature: str
    value: float
    effect: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer's score over its alternative, and its influences, the largest first."""

    answer: str
    score: float
    influences: tuple[Influence, ...]
    exact: bool


def explain_action(policy: LearnedPolicy, features: Sequence[float], action: Action) -> Explanation:
    """Return what moved the preference of `action` over holding."""
    answer = action.name.lower().replace("_", " ")
    if isinstance(policy.body, Linear):
        score = policy.body.tighten if action is Action.TIGHTEN else policy.body.close
        return Explanation(answer, score(features), _parts(score, STEP_FEATURES, features), exact=True)

    def over_holding(values: Sequence[float]) -> float:
        found = policy.body.preferences(values)
        return found[action] - found[Action.HOLD]

    whole = over_holding(features)
    influences = []
    for index, name in enumerate(STEP_FEATURES):
        without = (*features[:index], 0.0, *features[index + 1 :])
        influences.append(Influence(name, features[index], whole - over_holding(without)))
    return Explanation(answer, whole, _largest_first(influences), exact=False)


def explain_zone(policy: LearnedPolicy, features: Sequence[float], zone: Zone) -> Explanation:
    """Return what moved the value of `zone` over that of leaving the plan as it is (the multiple nearest to one)."""
    plain = min(policy.zones, key=lambda other: abs(other.multiple - 1.0))
    weights = tuple(a - b for a, b in zip(zone.value.weights, plain.value.weights, strict=True))
    edge = Score(zone.value.bias - plain.value.bias, weights)
    return Explanation(
        f"{zone.multiple:g} x the plan's mean take-profit",
        edge(features),
        _parts(edge, ENTRY_FEATURES, features),
        exact=True,
    )


def _parts(score: Score, names: Sequence[str], features: Sequence[float]) -> tuple[Influence, ...]:
    rows = [
        Influence(name, value, weight * value)
        for name, value, weight in zip(names, features, score.weights, strict=True)
    ]
    return _largest_first([Influence("bias", 1.0, score.bias), *rows])


def _largest_first(rows: Sequence[Influence]) -> tuple[Influence, ...]:
    return tuple(sorted(rows, key=lambda row: -abs(row.effect)))
