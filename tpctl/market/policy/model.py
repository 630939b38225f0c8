"""Learned policies and their answers: scores to close or tighten, and the take-profit zone at adoption.

Decides what a policy may say: hold, close a share, tighten the stop, and at adoption which multiple of the plan's mean
take-profit distance to aim at. There is no answer that opens, grows or loosens (I3, I4), and `choose` masks what a
position does not allow. Plain Python in microseconds: no numpy, no clock, no I/O.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import isfinite, tanh
from typing import TypeAlias

from tpctl.market.policy.features import ENTRY_FEATURES, STEP_FEATURES


class Action(IntEnum):
    """What a policy may ask for at the close of a candle; the shares are of what is still held."""

    HOLD = 0
    CLOSE_QUARTER = 1
    CLOSE_HALF = 2
    CLOSE_ALL = 3
    TIGHTEN = 4


SHARES = {Action.CLOSE_QUARTER: 0.25, Action.CLOSE_HALF: 0.5, Action.CLOSE_ALL: 1.0}
ALL_ALLOWED = (True,) * len(Action)


@dataclass(frozen=True, slots=True)
class Score:
    """A linear score over named features: `bias` + sum of weight times feature."""

    bias: float
    weights: tuple[float, ...]

    def __call__(self, features: Sequence[float]) -> float:
        """Return the score; raises `ValueError` where the number of features differs."""
        return self.bias + sum(weight * value for weight, value in zip(self.weights, features, strict=True))


@dataclass(frozen=True, slots=True)
class Linear:
    """Closes where the close score is above zero, else tightens where the tighten score is.

    `shares` are (least close score, action), ascending: the last one reached says how much to close.
    """

    close: Score
    tighten: Score
    shares: tuple[tuple[float, Action], ...] = ((0.0, Action.CLOSE_ALL),)

    def preferences(self, features: Sequence[float]) -> tuple[float, ...]:
        """Return one preference for each action, larger is better; holding is at zero."""
        close, tighten = self.close(features), self.tighten(features)
        chosen = [float("-inf")] * len(Action)
        chosen[Action.HOLD] = 0.0
        reached = [action for least, action in self.shares if close > least]
        if reached and close > 0.0:
            # Above whatever tightening scores: closing comes first.
            chosen[reached[-1]] = close + max(tighten, 0.0)
        if tighten > 0.0:
            chosen[Action.TIGHTEN] = tighten
        return tuple(chosen)


@dataclass(frozen=True, slots=True)
class Layer:
    """One dense layer: `weights` has a row for each output."""

    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]

    def __call__(self, values: Sequence[float]) -> list[float]:
        """Return weights times values plus bias."""
        return [
            bias + sum(weight * value for weight, value in zip(row, values, strict=True))
            for row, bias in zip(self.weights, self.bias, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Network:
    """Dense layers with tanh between them; the outputs of the last are the preferences of the actions."""

    layers: tuple[Layer, ...]

    def preferences(self, features: Sequence[float]) -> tuple[float, ...]:
        """Return one preference for each action, larger is better."""
        values = list(features)
        for layer in self.layers[:-1]:
            values = [tanh(value) for value in layer(values)]
        return tuple(self.layers[-1](values))


Body: TypeAlias = Linear | Network


@dataclass(frozen=True, slots=True)
class Zone:
    """One choice at adoption: `multiple` of the plan's mean take-profit distance, and the value expected of it in R."""

    multiple: float
    value: Score


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a policy comes from: enough to train it again bit for bit."""

    learner: str
    seed: int
    episodes: int
    data_hash: str
    configuration: str


@dataclass(frozen=True, slots=True)
class LearnedPolicy:
    """A whole policy. `horizon` is the longest holding in candles of `interval_ms`; `tighten_reach` is in A.

    Construction refuses with `ValueError` whatever does not fit together or is not a finite number.
    """

    interval_ms: int
    horizon: int
    body: Body
    zones: tuple[Zone, ...]
    tighten_reach: float
    origin: Origin

    def __post_init__(self) -> None:
        if self.interval_ms <= 0 or self.horizon <= 0:
            raise ValueError("interval_ms and horizon must be above zero")
        if not 0.0 < self.tighten_reach < float("inf"):
            raise ValueError("tighten_reach must be above zero")
        _check_body(self.body)
        for zone in self.zones:
            _check_score(zone.value, len(ENTRY_FEATURES), "zone")
            if not 0.0 < zone.multiple <= 10.0:
                raise ValueError(f"zone multiple '{zone.multiple}' is not above 0 and at most 10")
        multiples = [zone.multiple for zone in self.zones]
        if multiples != sorted(set(multiples)):
            raise ValueError("zones are not ascending")

    @property
    def longest_ms(self) -> int:
        """The longest holding it was trained on."""
        return self.interval_ms * self.horizon

    def choose(self, features: Sequence[float], allowed: Sequence[bool] = ALL_ALLOWED) -> Action:
        """Return the allowed action with the largest preference, the first of equals; holding is always allowed.

        `allowed` says for each action whether the position takes it. Raises `ValueError` for a feature that is not a
        finite number or a wrong number of them.
        """
        if len(features) != len(STEP_FEATURES) or not all(map(isfinite, features)):
            raise ValueError(f"a policy needs {len(STEP_FEATURES)} finite features")
        found = self.body.preferences(features)
        best = Action.HOLD
        for action in Action:
            if allowed[action] and found[action] > found[best]:
                best = action
        return best

    def zone(self, features: Sequence[float]) -> Zone | None:
        """Return the zone expected to bring most; None where the policy was not taught any."""
        if len(features) != len(ENTRY_FEATURES) or not all(map(isfinite, features)):
            raise ValueError(f"a zone needs {len(ENTRY_FEATURES)} finite features")
        return max(self.zones, key=lambda zone: zone.value(features), default=None)


def _check_body(body: Body) -> None:
    if isinstance(body, Linear):
        _check_score(body.close, len(STEP_FEATURES), "close")
        _check_score(body.tighten, len(STEP_FEATURES), "tighten")
        leasts = [least for least, _ in body.shares]
        if not all(map(isfinite, leasts)) or leasts != sorted(leasts):
            raise ValueError("close shares are not ascending")
        if any(action not in SHARES for _, action in body.shares):
            raise ValueError("a close share names no share to close")
        return
    width = len(STEP_FEATURES)
    if not body.layers:
        raise ValueError("a network has no layers")
    for layer in body.layers:
        if not layer.weights or len(layer.weights) != len(layer.bias):
            raise ValueError("a layer's weights and bias differ in length")
        for row in layer.weights:
            if len(row) != width or not all(map(isfinite, row)):
                raise ValueError(f"a layer's row does not hold {width} finite weights")
        if not all(map(isfinite, layer.bias)):
            raise ValueError("a layer's bias is not finite")
        width = len(layer.bias)
    if width != len(Action):
        raise ValueError(f"the last layer has {width} outputs, not {len(Action)}")


def _check_score(score: Score, width: int, what: str) -> None:
    if len(score.weights) != width or not all(map(isfinite, (score.bias, *score.weights))):
        raise ValueError(f"the {what} score does not hold {width} finite weights and a bias")
