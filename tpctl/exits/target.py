"""Decides the single take-profit and stop of the target policy, and how hybrid blends them (exit-rules 3, 4).

Confidence and volatility shape both; an unavailable one leaves its scale at 1 and says so. Hybrid never widens a stop.
"""

from dataclasses import dataclass
from decimal import Decimal

from tpctl.exits.instrument import Unavailable
from tpctl.exits.ladder import Levels, show_distances, show_split, signed_percent
from tpctl.exits.model import Reason
from tpctl.exits.rules import StopRules, TargetRules
from tpctl.exits.stops import confidence_scale, stop_distance, volatility_scale
from tpctl.exits.units import ONE, ZERO, Ratio, trimmed

_STAGE = "policy"


@dataclass(frozen=True, slots=True)
class Target:
    """One take-profit, one stop and the trail's callback, as fractions of entry."""

    take_profit: Ratio
    stop: Ratio
    trail: Ratio
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Hybrid:
    """The blend: levels, the factor on the stop (at most 1), and the trail's callback (None: no trailing)."""

    levels: Levels
    stop_factor: Decimal
    trail: Ratio | None
    reasons: tuple[Reason, ...] = ()


def target_distance(
    confidence: Decimal | Unavailable, volatility: Ratio | Unavailable, rules: TargetRules
) -> tuple[Ratio, tuple[Reason, ...]]:
    """Return the base scaled by confidence, volatility and mode, before blend, floors and reward:risk."""
    distance = rules.take_profit
    reasons: list[Reason] = []

    def scale(code: str, cause: str, factor: Decimal) -> None:
        nonlocal distance
        if factor == ONE:
            return
        before, distance = distance, distance.scaled(factor)
        text = f"{cause} → {signed_percent(factor)} TP distance"
        reasons.append(Reason(_STAGE, code, text, str(before), str(distance)))

    if isinstance(confidence, Unavailable):
        text = f"confidence unavailable ({confidence.reason}): factor skipped"
        reasons.append(Reason(_STAGE, "confidence_unavailable", text))
    else:
        cause = f"Confidence {trimmed(confidence * 100, 1)}%"
        scale("confidence_target", cause, confidence_scale(confidence, rules))
    if isinstance(volatility, Unavailable):
        text = f"volatility unavailable ({volatility.reason}): factor skipped"
        reasons.append(Reason(_STAGE, "volatility_unavailable", text))
    else:
        scale("volatility_target", f"Volatility {volatility.show(1)}", volatility_scale(volatility, rules))
    scale("mode_target", f"Mode {rules.mode}", rules.factors.take_profit)
    return distance, tuple(reasons)


def blend_factor(multiple: Decimal, rules: TargetRules) -> Decimal:
    """Return 0.6 + 0.4 · `multiple`, suggested over mean: what every leg scales by (exit-rules 5)."""
    return rules.blend_own + rules.blend_suggested * multiple


def settle(take_profit: Ratio, stop: Ratio, rules: TargetRules, *, fixed_stop: bool = False) -> Target:
    """Apply the floors and keep reward:risk in bounds: too low lifts the take-profit, too high widens the stop.

    A `fixed_stop` is the operator's: then only the take-profit moves.
    """
    reasons: list[Reason] = []

    def change(stage: str, code: str, text: str, before: Ratio, after: Ratio) -> Ratio:
        if before != after:
            reasons.append(Reason(stage, code, text, str(before), str(after)))
        return after

    floor, stop_floor = rules.min_take_profit, rules.min_stop
    take_profit = change(
        "clamp", "target_floor", f"TP lifted to the {floor} floor", take_profit, max(take_profit, floor)
    )
    if not fixed_stop:
        stop = change("clamp", "stop_floor", f"stop widened to the {stop_floor} floor", stop, max(stop, stop_floor))
    least, most = stop.scaled(rules.min_reward_risk), Ratio(take_profit.fraction / rules.max_reward_risk)
    text = f"TP lifted to reward:risk {trimmed(rules.min_reward_risk)}"
    lifted = change("reward_risk", "reward_risk_low", text, take_profit, max(take_profit, least))
    text = f"stop widened to reward:risk {trimmed(rules.max_reward_risk)}"
    if not fixed_stop:
        stop = change("reward_risk", "reward_risk_high", text, stop, max(stop, most))
    return Target(lifted, stop, lifted.scaled(rules.trail_share), tuple(reasons))


def target(
    confidence: Decimal | Unavailable,
    volatility: Ratio | Unavailable,
    suggestion: Ratio | Unavailable,
    rules: TargetRules,
    stop_rules: StopRules,
) -> Target:
    """Return the whole of exit-rules 3 in one call; a plan runs the same steps with risk between blend and floors."""
    take_profit, reasons = target_distance(confidence, volatility, rules)
    if not isinstance(suggestion, Unavailable):
        take_profit = take_profit.scaled(blend_factor(suggestion / take_profit, rules))
    stop, stop_reasons = stop_distance(confidence, volatility, ONE, stop_rules, rules)
    settled = settle(take_profit, stop, rules)
    return Target(settled.take_profit, settled.stop, settled.trail, (*reasons, *stop_reasons, *settled.reasons))


def hybrid(confidence: Decimal | Unavailable, static: Levels, goal: Target, rules: TargetRules) -> Hybrid:
    """Blend a static profile's levels with the target by confidence (exit-rules 4).

    At high confidence every static level keeps half its share, and the other half aims at the target where that is
    farther. An unavailable confidence gets the cautious end: static levels, no trailing. Without trailing the last
    level takes what the profile would have left to it.
    """
    if isinstance(confidence, Unavailable):
        text = f"confidence unavailable ({confidence.reason}): static TP and stop, no trailing"
        return Hybrid(_whole(static), ONE, None, (Reason(_STAGE, "confidence_unavailable", text),))
    shown = f"Confidence {trimmed(confidence * 100, 1)}%"
    if confidence < rules.hybrid_low:
        reason = Reason(_STAGE, "hybrid_low", f"{shown} → static TP and stop, no trailing")
        return Hybrid(_whole(static), ONE, None, (reason,))
    if confidence < rules.hybrid_high:
        callback = goal.trail.scaled(rules.hybrid_trail)
        reason = Reason(_STAGE, "hybrid_middle", f"{shown} → static TP, trailing at {callback}")
        return Hybrid(static, ONE, callback, (reason,))
    levels = _aim(static, goal.take_profit, rules.hybrid_target_share)
    text = (
        f"{shown} → {trimmed(rules.hybrid_target_share * 100, 2)}% of each nearer level aims at the target "
        f"{goal.take_profit}, trailing at {goal.trail}, {signed_percent(rules.hybrid_stop_factor)} stop distance"
    )
    before = f"{show_distances([d for d, _ in static])} ({show_split([s for _, s in static])})"
    after = f"{show_distances([d for d, _ in levels])} ({show_split([s for _, s in levels])})"
    reason = Reason(_STAGE, "hybrid_high", text, before, after)
    return Hybrid(levels, rules.hybrid_stop_factor, goal.trail, (reason,))


def _whole(levels: Levels) -> Levels:
    distance, _ = levels[-1]
    return (*levels[:-1], (distance, ONE - sum((share for _, share in levels[:-1]), ZERO)))


def _aim(static: Levels, goal: Ratio, share: Decimal) -> Levels:
    nearer = [(distance, size) for distance, size in static if distance < goal]
    farther = [(distance, size) for distance, size in static if distance >= goal]
    moved = sum((size * share for _, size in nearer), ZERO)
    levels = [(distance, size * (ONE - share)) for distance, size in nearer]
    if moved and not (farther and farther[0][0] == goal):
        return (*levels, (goal, moved), *farther)
    if moved:
        farther[0] = (goal, farther[0][1] + moved)
    return (*levels, *farther)
