"""What a learned policy makes of one position: the zone it suggests at adoption, and what it asks for at a close.

Decides which positions a policy speaks for, and when it stays silent: outside its share, beyond the longest holding it
was trained on, and where a reading is missing. Words go with every answer: which features moved it, and by how much.
"""

from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2s

from tpctl.exits.instrument import PositionSide
from tpctl.market.policy.explain import Explanation, explain_action, explain_zone
from tpctl.market.policy.features import MarketReading, PositionReading, entry_features, step_features
from tpctl.market.policy.model import ALL_ALLOWED, Action, LearnedPolicy, Zone

# As many influences as a sentence holds.
_TOLD = 3
_WHOLE = 2**64


@dataclass(frozen=True, slots=True)
class ZoneAdvice:
    """A zone, and what moved its value over that of the plan as it is."""

    zone: Zone
    why: Explanation


@dataclass(frozen=True, slots=True)
class StepAdvice:
    """What is asked for, and what moved it. `stop` is the price to tighten to, None for any other action."""

    action: Action
    why: Explanation
    stop: float | None = None


def in_share(policy_hash: str, life: str, share: Decimal) -> bool:
    """Whether a policy is used for one life of a position: drawn by a hash before anything is known of its outcome."""
    drawn = int.from_bytes(blake2s(f"{policy_hash}|{life}".encode(), digest_size=8).digest())
    return drawn < share * _WHOLE


def advise_zone(
    policy: LearnedPolicy, side: PositionSide, market: MarketReading, volatility: float, stop_distance: float
) -> ZoneAdvice | None:
    """Return the zone to aim at; None where the policy was not taught any.

    `volatility` is the daily deviation of returns, `stop_distance` is R; both are fractions.
    """
    features = entry_features(side, market, volatility, stop_distance)
    zone = policy.zone(features)
    return None if zone is None else ZoneAdvice(zone, explain_zone(policy, features, zone))


def advise_step(
    policy: LearnedPolicy, position: PositionReading, market: MarketReading, *, partly: bool = True
) -> StepAdvice | None:
    """Return what to ask for at the close of a candle; None to hold, and beyond the policy's longest holding.

    `partly` says whether a part can be closed. A stop is only asked for where it is tighter and the close is short of
    it: `tighten_reach` average ranges behind the close.
    """
    if position.age > 1.0:
        return None
    features = step_features(position, market)
    sign = float(position.side.sign)
    tight = position.close - sign * policy.tighten_reach * position.close * market.reach
    allowed = list(ALL_ALLOWED)
    allowed[Action.CLOSE_QUARTER] = allowed[Action.CLOSE_HALF] = partly
    allowed[Action.TIGHTEN] = tight > 0.0 and sign * (tight - position.stop) > 0.0
    action = policy.choose(features, allowed)
    if action is Action.HOLD:
        return None
    why = explain_action(policy, features, action)
    return StepAdvice(action, why, tight if action is Action.TIGHTEN else None)


def words(why: Explanation) -> str:
    """Return the largest influences as a clause: `drift_slow +0.031 R, pnl -0.012 R`."""
    told = [one for one in why.influences if one.feature != "bias" and one.effect]
    unit = " R" if why.exact else ""
    return ", ".join(f"{one.feature} {one.effect:+.3f}{unit}" for one in told[:_TOLD])
