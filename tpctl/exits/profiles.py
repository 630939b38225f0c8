"""Decides which static profile applies and what it means in distances (exit-rules 2).

A profile speaks in R, the stop distance; here it becomes fractions of entry. An unknown regime is never taken for a
known one silently: the normal profile serves, and a reason says so.
"""

from dataclasses import dataclass

from tpctl.exits.instrument import Unavailable
from tpctl.exits.ladder import Levels
from tpctl.exits.model import Reason, Regime, Trail
from tpctl.exits.rules import Profile, ProfileRules, TrailRules
from tpctl.exits.units import ONE, Ratio, trimmed

_STAGE = "policy"


@dataclass(frozen=True, slots=True)
class ChosenProfile:
    """A profile, its name, and why it was chosen."""

    name: str
    profile: Profile
    reasons: tuple[Reason, ...]


def choose_profile(
    symbol: str, strategy: str | None, regime: Regime | Unavailable, rules: ProfileRules
) -> ChosenProfile:
    """Return the most specific profile: the symbol's, then the strategy's, then the regime's (exit-rules 2)."""
    by_strategy = rules.by_strategy.get(strategy) if strategy is not None else None
    if (name := rules.by_symbol.get(symbol)) is not None:
        reason = Reason(_STAGE, "profile_by_symbol", f"static profile {name}: set for {symbol}")
    elif (name := by_strategy) is not None:
        reason = Reason(_STAGE, "profile_by_strategy", f"static profile {name}: set for strategy {strategy}")
    elif isinstance(regime, Unavailable):
        name = Regime.NORMAL.value
        text = f"regime unavailable ({regime.reason}): static profile {name}"
        reason = Reason(_STAGE, "regime_unavailable", text)
    else:
        name = regime.value
        reason = Reason(_STAGE, "profile_by_regime", f"static profile {name}: {regime.value.upper()} regime")
    return ChosenProfile(name, rules.profiles[name], (reason,))


def profile_levels(profile: Profile, r: Ratio) -> Levels:
    """Return (distance, share of the initial size) of each leg, where `r` is the stop distance."""
    return tuple((r.scaled(leg.r), leg.share) for leg in profile.legs)


def profile_trail(profile: Profile, r: Ratio, rules: TrailRules) -> tuple[Trail | None, tuple[Reason, ...]]:
    """Return the profile's trailing terms for the stop distance `r`; None where the profile trails nothing."""
    terms = profile.trail
    if terms is None:
        return None, ()
    callback, reasons = settle_callback(terms.callback, rules)
    schedule = [(r.scaled(terms.from_r), ONE)]
    schedule += [(r.scaled(from_r), tighter / terms.callback) for from_r, tighter in terms.tighter]
    trail = Trail(callback, r.scaled(terms.from_r), tuple(schedule), profile.left)
    if profile.left:
        text = f"the legs leave {trimmed(profile.left * 100, 2)}% of the size to the trail"
        reasons = (*reasons, Reason(_STAGE, "trail_share", text))
    return trail, reasons


def settle_callback(callback: Ratio, rules: TrailRules) -> tuple[Ratio, tuple[Reason, ...]]:
    """Return the callback within the smallest and largest one (exit-rules 9), with a reason where that changed it."""
    settled = min(max(callback, rules.min_callback), rules.max_callback)
    if settled == callback:
        return callback, ()
    text = f"trail callback clamped to {rules.min_callback} to {rules.max_callback}"
    return settled, (Reason(_STAGE, "callback_clamped", text, str(callback), str(settled)),)
