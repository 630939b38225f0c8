"""The cross-entropy method: direct search for a linear score, by value on the paths themselves.

Each round draws weights around the best so far, keeps the best fifth and moves to their mean and deviation (Rubinstein
1999; as in learning 5: 64 candidates, 30 rounds). All candidates of a round meet the same paths, so that only
weights differ. A seed fixes every draw, round by round, so that a run that was stopped goes on to the same weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tpctl.learn.replay import Trace
from tpctl.learn.stopping import Scaling, StoppingRule, scaling_of

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CemRules:
    """Candidates a round, rounds, the share kept, the least deviation of a weight, and how many paths a round looks at.

    The least deviation keeps the search alive; the paths of each round are another part of the whole.
    """

    candidates: int = 64
    rounds: int = 30
    elite: float = 0.2
    floor: float = 0.02
    paths: int = 2_500


@dataclass(frozen=True, slots=True, eq=False)
class CemState:
    """Where a search is: rounds done, mean and deviation of the standardised weights, bias first.

    `value` is the mean value of the elite on the paths of the last round.
    """

    round: int
    mean: Floats
    deviation: Floats
    value: float


def fit_cem(
    trace: Trace,
    seed: int,
    rules: CemRules | None = None,
    *,
    state: CemState | None = None,
    told: Callable[[CemState], None] | None = None,
) -> StoppingRule:
    """Return the rule the search ends at, or to hold where that is better on all the paths.

    `state` goes on where an earlier run stopped, `told` hears each round's state.
    """
    rules = rules or CemRules()
    count = len(trace.features)
    scaling = scaling_of(np.ascontiguousarray(trace.features.reshape(count, -1)[:, trace.held.ravel()]))
    hold = np.r_[-1.0, np.zeros(count)]
    if state is None:
        # Begin with holding: a rule that closes half of everything at once never sees the future.
        state = CemState(0, hold, np.ones(count + 1), float(trace.end.mean()))
    values = _evaluator(trace, scaling)
    parts = max(1, len(trace.end) // rules.paths)
    keep = max(2, round(rules.elite * rules.candidates))
    while state.round < rules.rounds:
        draw = np.random.default_rng((seed, state.round))
        tried = state.mean + state.deviation * draw.standard_normal((rules.candidates, count + 1))
        tried[0] = state.mean
        found = values(tried, state.round % parts, parts)
        order = np.argsort(-found, kind="stable")[:keep]
        elite = tried[order]
        deviation = np.maximum(elite.std(axis=0), rules.floor)
        state = CemState(state.round + 1, elite.mean(axis=0), deviation, float(found[order].mean()))
        if told is not None:
            told(state)
    reached, held = values(np.stack([state.mean, hold]), 0, 1)
    bias, weights = scaling.raw(state.mean if reached > held else hold)
    return StoppingRule(bias, weights, float(max(reached, held)))


def warm_search(trace: Trace) -> None:
    """Ask for the values a search asks for, of every path and of every other one: each is compiled apart."""
    count = len(trace.features)
    values = _evaluator(trace, Scaling(np.zeros(count), np.ones(count)))
    for every in (1, 2):
        values(np.zeros((2, count + 1)), 0, every)


# Mean values of standardised weights (candidates, F + 1) on every so manieth path, from a first one on.
_Values = Callable[[Floats, int, int], Floats]


def _evaluator(trace: Trace, scaling: Scaling) -> _Values:
    features, held, now, end = trace.features, trace.held, trace.now, trace.end
    try:
        from tpctl.learn.compiled import mean_values  # noqa: PLC0415 - the compiled extra
    except ImportError:
        return lambda tried, first, every: mean_values_of(
            features[:, :, first::every],
            held[:, first::every],
            now[:, first::every],
            end[first::every],
            *_unscaled(tried, scaling),
        )
    laid = np.ascontiguousarray(features.transpose(2, 1, 0))
    held, now = np.ascontiguousarray(held.T), np.ascontiguousarray(now.T)
    return lambda tried, first, every: mean_values(
        laid[first::every], held[first::every], now[first::every], end[first::every], *_unscaled(tried, scaling)
    )


def _unscaled(tried: Floats, scaling: Scaling) -> tuple[Floats, Floats]:
    weights = tried[:, 1:] / scaling.deviation
    return tried[:, 0] - (weights * scaling.centre).sum(axis=1), weights


def mean_values_of(  # noqa: PLR0917 - the parts of a trace
    features: Floats, held: Flags, now: Floats, end: Floats, bias: Floats, weights: Floats
) -> Floats:
    """Return the mean value of each rule; features (F, H, n), held and now (H, n), weights (candidates, F)."""
    worth = np.tile(end, (len(bias), 1))
    undecided = np.ones(worth.shape, dtype=bool)
    for step in range(len(now)):
        scores = np.zeros(worth.shape)
        for feature in range(len(features)):
            scores += weights[:, feature, None] * features[feature, step]
        closing = undecided & held[step] & (scores + bias[:, None] > 0.0)
        np.copyto(worth, now[step], where=closing)
        undecided &= ~closing
    # One by one, as the compiled twin sums: the order of a sum is part of its result.
    means: Floats = np.add.accumulate(worth, axis=1)[:, -1] / worth.shape[1]
    return means
