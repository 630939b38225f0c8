"""Learned policies over arrays: the same answers as `tpctl.market.policy` gives one position, bit for bit if linear."""

import numpy as np
from numpy.typing import NDArray

from tpctl.learn.episodes import Episodes
from tpctl.learn.replay import Decide, Flags, Floats
from tpctl.market.policy.features import MOVE_CAP
from tpctl.market.policy.model import Action, LearnedPolicy, Linear, Network, Score


def batch(policy: LearnedPolicy) -> Decide:
    """Return what `replay` asks at each close."""
    body = policy.body
    if isinstance(body, Linear):
        return lambda features, allowed: _linear(body, features, allowed)
    return lambda features, allowed: _network(body, features, allowed)


def scored(score: Score, features: Floats) -> Floats:
    """Return the score of features (F, m), summed as one position's is."""
    total = np.zeros(features.shape[1])
    for weight, values in zip(score.weights, features, strict=True):
        total += weight * values
    result: Floats = score.bias + total
    return result


def _linear(body: Linear, features: Floats, allowed: Flags) -> NDArray[np.int64]:
    close, tighten = scored(body.close, features), scored(body.tighten, features)
    preferences = np.full((len(Action), features.shape[1]), -np.inf)
    preferences[Action.HOLD] = 0.0
    reached = np.full(features.shape[1], Action.HOLD, dtype=np.int64)
    for least, action in body.shares:
        reached[close > least] = action
    closing = np.flatnonzero((reached != Action.HOLD) & (close > 0.0))
    preferences[reached[closing], closing] = close[closing] + np.maximum(tighten[closing], 0.0)
    preferences[Action.TIGHTEN] = np.where(tighten > 0.0, tighten, -np.inf)
    return _best(preferences, allowed)


def _network(body: Network, features: Floats, allowed: Flags) -> NDArray[np.int64]:
    values = features
    for layer in body.layers[:-1]:
        values = np.tanh(np.array(layer.weights) @ values + np.array(layer.bias)[:, None])
    last = body.layers[-1]
    return _best(np.array(last.weights) @ values + np.array(last.bias)[:, None], allowed)


def _best(preferences: Floats, allowed: Flags) -> NDArray[np.int64]:
    taken = np.where(allowed, preferences, -np.inf)
    taken[Action.HOLD] = preferences[Action.HOLD]
    best: NDArray[np.int64] = taken.argmax(axis=0)
    return best


def entry_matrix(episodes: Episodes) -> Floats:
    """Return `ENTRY_FEATURES` (4, n) of episodes."""
    fast, slow, swell, _ = episodes.entry_market.T
    scaled = np.minimum(np.maximum(episodes.volatility / episodes.stop, -MOVE_CAP), MOVE_CAP)
    return np.stack([episodes.side * fast, episodes.side * slow, swell, scaled])


def zone_multiples(policy: LearnedPolicy, episodes: Episodes) -> Floats:
    """Return the multiple of the plan's mean take-profit the policy suggests for each position; 1 without zones."""
    if not policy.zones:
        return np.ones(len(episodes))
    features = entry_matrix(episodes)
    values = np.stack([scored(zone.value, features) for zone in policy.zones])
    multiples: Floats = np.array([zone.multiple for zone in policy.zones])[values.argmax(axis=0)]
    return multiples
