"""The stages of a plan in fractions of entry: policy, blend, risk, clamps, stop, liquidation (exit-rules 5).

Each stage takes the sketch, changes it, and appends a reason for what it changed, value before and after. Nothing here
touches the grid or builds an order; `planner` composes the stages and puts the result on the grid. Risk and blend act
once, on distances that are not placed yet; levels an operator gave are left as they are.
"""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.ladder import (
    LadderInputs,
    Levels,
    clamp_distances,
    dynamic_ladder,
    show_distances,
    show_split,
    signed_percent,
)
from tpctl.exits.model import Context, Policy, Reason, Suggestion, Trail
from tpctl.exits.profiles import choose_profile, profile_levels, profile_trail, settle_callback
from tpctl.exits.risk import RiskEffect
from tpctl.exits.rules import ExitRules
from tpctl.exits.stops import (
    LiquidationRoom,
    cap_margin_loss,
    clamp_to_liquidation,
    tighten_for_reward,
)
from tpctl.exits.target import blend_factor, hybrid, settle, target_distance
from tpctl.exits.units import ONE, ZERO, Ratio, trimmed

# The warning of a plan whose distance to liquidation could not be computed.
LIQUIDATION_BOUND = "liquidation_bound"


@dataclass(slots=True)
class Sketch:
    """A plan in the making. `given_levels` and `given_stop` are the operator's and are not reshaped."""

    policy: Policy
    stop: Ratio
    levels: Levels = ()
    trail: Trail | None = None
    stop_factor: Decimal = ONE
    given_levels: bool = False
    given_stop: bool = False
    reasons: list[Reason] = field(default_factory=list)
    warnings: list[Reason] = field(default_factory=list)

    @property
    def distances(self) -> tuple[Ratio, ...]:
        """The distances of the levels, near to far."""
        return tuple(distance for distance, _ in self.levels)

    @property
    def mean(self) -> Ratio:
        """The mean of the distances, each level counting once (exit-rules 2)."""
        return Ratio(sum((distance.fraction for distance in self.distances), ZERO) / len(self.levels))

    @property
    def weighted_mean(self) -> Ratio:
        """The mean of the distances, weighted by size (exit-rules 6)."""
        shares = sum((share for _, share in self.levels), ZERO)
        return Ratio(sum((distance.fraction * share for distance, share in self.levels), ZERO) / shares)

    def replace_distances(self, distances: tuple[Ratio, ...]) -> None:
        """Put new distances under the same shares."""
        self.levels = tuple((new, share) for new, (_, share) in zip(distances, self.levels, strict=True))

    def scale(self, factor: Decimal) -> tuple[str, str]:
        """Multiply every distance; return them as text, before and after."""
        before = show_distances(self.distances)
        self.replace_distances(tuple(distance.scaled(factor) for distance in self.distances))
        return before, show_distances(self.distances)


def default_trail(rules: ExitRules, share: Decimal = ZERO) -> Trail:
    """Return the trailing terms of the configuration (exit-rules 9)."""
    trail = rules.trail
    return Trail(trail.callback, trail.activation, trail.schedule, share)


def take_given(sketch: Sketch, levels: Levels, rules: ExitRules) -> None:
    """Take the levels an operator gave, leaving the rest to the trail; raises `InputsError` for a bad ladder."""
    shares = tuple(share for _, share in levels)
    if not levels or any(share <= 0 for share in shares) or sum(shares, ZERO) > ONE:
        raise InputsError(
            f"leg shares '{show_split(shares)}' are not a split", "give each leg a share above 0, at most 100% together"
        )
    distances = tuple(distance for distance, _ in levels)
    ascending = all(a < b for a, b in pairwise(distances))
    if distances[0].fraction <= 0 or not ascending:
        raise InputsError(
            f"leg distances '{show_distances(distances)}' are not ascending from above zero",
            "give the legs from near to far",
        )
    sketch.levels, sketch.given_levels = levels, True
    sketch.trail = default_trail(rules, ONE - sum(shares, ZERO))
    sketch.reasons.append(
        Reason("policy", "levels_given", "levels were given: no policy, blend, risk factor or clamp reshapes them")
    )


def shape_dynamic(sketch: Sketch, inputs: LadderInputs, rules: ExitRules) -> str | None:
    """Take the dynamic ladder; return why there is none instead."""
    ladder = dynamic_ladder(inputs, rules.ladder)
    if isinstance(ladder, Unavailable):
        return ladder.reason
    sketch.levels = tuple(zip(ladder.distances, ladder.split, strict=True))
    sketch.trail = default_trail(rules)
    sketch.reasons.extend(ladder.reasons)
    return None


def shape_static(sketch: Sketch, symbol: str, strategy: str | None, context: Context, rules: ExitRules) -> None:
    """Take the static profile that applies, in multiples of the stop distance."""
    chosen = choose_profile(symbol, strategy, context.regime, rules.profiles)
    sketch.levels = profile_levels(chosen.profile, sketch.stop)
    sketch.trail, reasons = profile_trail(chosen.profile, sketch.stop, rules.trail)
    sketch.reasons.extend((*chosen.reasons, *reasons))


def shape_target(sketch: Sketch, context: Context, rules: ExitRules) -> None:
    """Take the single target; its floors, reward:risk and trail follow after blend and risk."""
    distance, reasons = target_distance(context.confidence, context.volatility, rules.target)
    sketch.levels = ((distance, ONE),)
    sketch.reasons.extend(reasons)


def shape_hybrid(sketch: Sketch, symbol: str, strategy: str | None, context: Context, rules: ExitRules) -> None:
    """Blend the static profile with the target by confidence."""
    shape_static(sketch, symbol, strategy, context, rules)
    share = sketch.trail.share if sketch.trail else ZERO
    distance, _ = target_distance(context.confidence, context.volatility, rules.target)
    goal = settle(distance, sketch.stop, rules.target)
    blended = hybrid(context.confidence, sketch.levels, goal, rules.target)
    sketch.levels, sketch.stop_factor = blended.levels, blended.stop_factor
    sketch.reasons.extend(blended.reasons)
    sketch.trail = None
    if blended.trail is not None:
        _trail_at(sketch, blended.trail, share, rules)


def _trail_at(sketch: Sketch, callback: Ratio, share: Decimal, rules: ExitRules) -> None:
    """Trail by `callback` from a profit of as much: the trail then starts at entry, never below."""
    settled, reasons = settle_callback(callback, rules.trail)
    sketch.trail = Trail(settled, settled, rules.trail.schedule, share)
    sketch.reasons.extend(reasons)


def beyond_training(policy: str, trained: tuple[Decimal, Decimal] | None, leverage: Decimal) -> str | None:
    """Return why a learned policy has no say at a leverage: it was trained for others."""
    if trained is None or trained[0] <= leverage <= trained[1]:
        return None
    low, high = map(trimmed, trained)
    return f"{policy} was trained for leverages of {low}x to {high}x, not for {trimmed(leverage)}x"


def blend(sketch: Sketch, suggestion: Suggestion | Unavailable, rules: ExitRules) -> None:
    """Scale all levels toward the mean TP distance the policy in use suggests (exit-rules 5)."""
    if sketch.given_levels:
        return
    if isinstance(suggestion, Unavailable):
        sketch.reasons.append(Reason("blend", "no_blend", f"no learned policy blended in: {suggestion.reason}"))
        return
    name, multiple = f"learned policy {suggestion.policy}", suggestion.multiple
    if not multiple.is_finite() or multiple <= 0:
        text = f"{name} suggests {multiple} x the plan's mean TP, which is no profit: not blended in"
        sketch.warnings.append(Reason("blend", "suggestion_refused", text))
        return
    factor = blend_factor(multiple, rules.target)
    because = f" ({suggestion.why})" if suggestion.why else ""
    if factor == ONE:
        sketch.reasons.append(Reason("blend", "blended", f"{name} suggests no other distance{because}"))
        return
    wanted = sketch.mean.scaled(multiple)
    before, after = sketch.scale(factor)
    text = f"{name} suggests a mean TP of {wanted.show()}{because} → {signed_percent(factor)} TP distance"
    sketch.reasons.append(Reason("blend", "blended", text, before, after))


def tighter_trail(trail: Trail | None, own: Trail | None) -> Trail | None:
    """Return a trail that begins no later and follows no farther than the plan's own, without the suggestion."""
    if trail is None or own is None or trail.callback <= own.callback:
        return trail
    return replace(trail, callback=own.callback, activation=own.activation, schedule=own.schedule)


def apply_risk(sketch: Sketch, effect: RiskEffect) -> None:
    """Scale all levels by the measured risk, once (exit-rules 11)."""
    if sketch.given_levels:
        return
    sketch.reasons.extend(effect.reasons)
    if effect.tp_factor == ONE:
        return
    before, after = sketch.scale(effect.tp_factor)
    text = f"TP distances x {trimmed(effect.tp_factor, 4)} for measured risk, once"
    sketch.reasons.append(Reason("risk", "risk_factor", text, before, after))


def clamp(sketch: Sketch, rules: ExitRules) -> None:
    """Hold the policy's floors and clamps again, after blend and risk."""
    if sketch.given_levels:
        return
    if sketch.policy is Policy.DYNAMIC:
        before = sketch.distances
        sketch.replace_distances(clamp_distances(before, rules.ladder))
        if sketch.distances != before:
            text = f"TP distances clamped to {rules.ladder.min_distance} to {rules.ladder.max_distance}"
            after = show_distances(sketch.distances)
            sketch.reasons.append(Reason("clamp", "clamped", text, show_distances(before), after))
    elif sketch.policy is Policy.TARGET:
        settled = settle(sketch.levels[0][0], sketch.stop, rules.target, fixed_stop=sketch.given_stop)
        sketch.levels, sketch.stop = ((settled.take_profit, ONE),), settled.stop
        sketch.reasons.extend(settled.reasons)
        _trail_at(sketch, settled.trail, ZERO, rules)


def settle_stop(sketch: Sketch, leverage: Decimal, rules: ExitRules) -> None:
    """Apply the policy's factor on the stop and the cap on margin lost; both only tighten."""
    if sketch.stop_factor != ONE and not sketch.given_stop:
        before, sketch.stop = sketch.stop, sketch.stop.scaled(sketch.stop_factor)
        text = f"{sketch.policy.value} policy → {signed_percent(sketch.stop_factor)} stop distance"
        sketch.reasons.append(Reason("stop", "policy_stop", text, str(before), str(sketch.stop)))
    sketch.stop, reasons = cap_margin_loss(sketch.stop, leverage, rules.stop)
    sketch.reasons.extend(reasons)


def reach_reward(sketch: Sketch, reward_risk: Decimal, rules: ExitRules) -> None:
    """Tighten the stop until reward:risk is reached; a stop the operator gave stays."""
    if sketch.given_stop:
        return
    sketch.stop, reasons = tighten_for_reward(sketch.stop, sketch.weighted_mean, reward_risk, rules.stop)
    sketch.reasons.extend(reasons)


def clear_liquidation(sketch: Sketch, room: LiquidationRoom, leverage: Decimal, rules: ExitRules) -> None:
    """Keep the stop short of liquidation, and say where that distance is only a bound."""
    if room.bound is not None and room.distance is not None:
        text = f"{room.bound}: liquidation is taken to be at most {room.distance} from entry"
        sketch.warnings.append(Reason("liquidation", LIQUIDATION_BOUND, text))
    sketch.stop, reasons = clamp_to_liquidation(sketch.stop, room, leverage, rules.stop)
    sketch.reasons.extend(reasons)
