"""Fitted optimal stopping: when to close, learned from paths whose every other ending is known.

A position's exit does not move the price, so the value of closing at any other time is on the path. The learner fits a
linear score to what closing now brought over going on with the rule found so far, and repeats: policy iteration by
least squares (after Longstaff and Schwartz 2001, with one rule for all times). What counts is where the score changes
its sign, so each round weighs positions by how near to that they are; of all rounds the best one on the training paths
is kept. Nothing is random: equal paths give equal weights.

Works on any `Trace`: the known problems of `known_answers` and the replayed market alike.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tpctl.learn.replay import Trace

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class StoppingRules:
    """`rounds` of policy iteration; `nearness` is the width of the weights in deviations of the score.

    `ridge` is relative to the deviation of the (standardised) features. `margin` in R must be won by closing.
    """

    rounds: int = 4
    nearness: float = 0.3
    ridge: float = 1e-4
    margin: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class StoppingRule:
    """Closes where `bias` + sum of `weights` (F) times feature is above zero; the score is in units of the value."""

    bias: float
    weights: Floats
    value: float

    def scores(self, features: Floats) -> Floats:
        """Return the score of features (F, ...), summed in the order of the features."""
        total = np.zeros(features.shape[1:])
        for weight, values in zip(self.weights, features, strict=True):
            total += weight * values
        return total + self.bias


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """Centre and deviation of each feature over the positions held, so that no unit weighs more than another."""

    centre: Floats
    deviation: Floats

    def raw(self, fitted: Floats) -> tuple[float, Floats]:
        """Return bias and weights on raw features for ones on standardised features, the bias first."""
        weights = fitted[1:] / self.deviation
        return float(fitted[0] - (weights * self.centre).sum()), weights


def scaling_of(samples: Floats) -> Scaling:
    """Return the scaling of samples (F, m); a feature that never changes keeps its unit."""
    deviation = samples.std(axis=1)
    return Scaling(samples.mean(axis=1), np.where(deviation > 1e-12, deviation, 1.0))


def fit_stopping(
    trace: Trace, rules: StoppingRules | None = None, told: Callable[[int, StoppingRule], None] | None = None
) -> StoppingRule:
    """Return the best rule found; `told` hears each round's number from 1 and its rule.

    Holding to the end is the rule to begin with, and stays the answer where nothing beats it.
    """
    rules = rules or StoppingRules()
    features, held = trace.features, trace.held
    flat = features.reshape(len(features), -1)
    samples = np.ascontiguousarray(flat[:, held.ravel()])
    scaling = scaling_of(samples)
    samples -= scaling.centre[:, None]
    samples /= scaling.deviation[:, None]
    best = StoppingRule(-1.0, np.zeros(len(features)), float(trace.end.mean()))
    gains, _ = gains_of(trace, None)
    inside: Floats | None = None
    for number in range(1, rules.rounds + 1):
        fitted = _solve(samples, gains[held], inside, rules)
        inside = fitted[1:] @ samples + (fitted[0] - rules.margin)
        scores = np.zeros(held.shape)
        scores[held] = inside
        gains, value = gains_of(trace, scores)
        if value > best.value:
            bias, weights = scaling.raw(fitted)
            best = StoppingRule(bias - rules.margin, weights, value)
        if told is not None:
            told(number, best)
    return best


def _solve(samples: Floats, gains: Floats, scores: Floats | None, rules: StoppingRules) -> Floats:
    """Return the weighted least squares fit of gains to samples, the bias first."""
    weights: Floats
    if scores is None:
        # Far from any boundary every fourth sample says enough.
        chosen, wanted = samples[:, ::4], gains[::4]
        weights = np.ones(len(wanted))
    else:
        width = rules.nearness * max(float(scores.std()), 1e-12)
        near = np.flatnonzero(np.abs(scores) < 2.0 * width)
        if len(near) < 50 * len(samples):
            near = np.arange(len(scores))
        chosen, wanted = samples[:, near], gains[near]
        weights = np.asarray(1.0 / (1.0 + (scores[near] / width) ** 2) ** 2, dtype=np.float64)
    weighted = chosen * weights
    total = weights.sum()
    size = len(samples) + 1
    gram = np.empty((size, size))
    gram[0, 0], gram[0, 1:] = total, weighted.sum(axis=1)
    gram[1:, 0] = gram[0, 1:]
    gram[1:, 1:] = weighted @ chosen.T
    moment = np.r_[(weights * wanted).sum(), weighted @ wanted]
    gram[np.arange(1, size), np.arange(1, size)] += rules.ridge * total
    return np.asarray(np.linalg.solve(gram, moment), dtype=np.float64)


def gains_of(trace: Trace, scores: Floats | None) -> tuple[Floats, float]:
    """Return what closing brings over going on (H, n) when the rule of `scores` (H, n) is followed afterwards.

    Without scores nothing closes. Beside it the mean value of the rule from the entry on.
    """
    worth = trace.end.copy()
    gains = np.empty_like(trace.now)
    for step in range(len(trace.now) - 1, -1, -1):
        gains[step] = trace.now[step] - worth
        if scores is not None:
            np.copyto(worth, trace.now[step], where=trace.held[step] & (scores[step] > 0.0))
    return gains, float(worth.mean())


def value_of(trace: Trace, scores: Floats | None) -> float:
    """Return the mean value of closing at the first score (H, n) above zero."""
    return float(values_of(trace, scores).mean())


def values_of(trace: Trace, scores: Floats | None) -> Floats:
    """Return the value of each position (n) under a rule."""
    worth = trace.end.copy()
    if scores is not None:
        for step in range(len(trace.now) - 1, -1, -1):
            np.copyto(worth, trace.now[step], where=trace.held[step] & (scores[step] > 0.0))
    return worth
