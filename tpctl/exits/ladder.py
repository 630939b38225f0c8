"""Decides the distances and split of the dynamic take-profit ladder, and says why (exit-rules 1).

The ladder knows neither entry nor side: it answers in fractions of entry and shares of the initial size. It never
invents an input: an optional one that is unavailable skips its factor with a reason, and without leverage or notional
there is no ladder. Each factor acts once; nothing downstream may scale the levels by the regime again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Leg, Reason, Regime
from tpctl.exits.rules import LadderRules
from tpctl.exits.units import ONE, Money, Ratio, trimmed

# Distance from entry and share of the initial size, level by level, near to far.
Levels: TypeAlias = tuple[tuple[Ratio, Decimal], ...]

_STAGE = "policy"
_SIDEWAYS = frozenset({Regime.VOLATILE, Regime.RANGING})


@dataclass(frozen=True, slots=True)
class LadderInputs:
    """What the seven factors read. `notional` and `quote_volume` are in USD, `pnl` is a fraction of notional."""

    leverage: Decimal | Unavailable
    notional: Money | Unavailable
    volatility: Ratio | Unavailable
    regime: Regime | Unavailable
    confidence: Decimal | Unavailable
    quote_volume: Money | Unavailable
    pnl: Ratio | Unavailable


@dataclass(frozen=True, slots=True)
class Ladder:
    """Clamped distances from entry, near to far, with the share of the initial size each closes."""

    distances: tuple[Ratio, ...]
    split: tuple[Decimal, ...]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class _Factor:
    """One factor that fired: the sentence up to its effect, the multiplier, the split it asks for."""

    code: str
    cause: str
    factor: Decimal
    split: tuple[Decimal, ...] | None = None
    split_words: str = "front-load exits"


def dynamic_ladder(inputs: LadderInputs, rules: LadderRules) -> Ladder | Unavailable:
    """Return the ladder of exit-rules 1, or why it cannot be computed: leverage or notional is unavailable."""
    for name, required in (("leverage", inputs.leverage), ("notional", inputs.notional)):
        if isinstance(required, Unavailable):
            return Unavailable(f"{name} unavailable ({required.reason})")
    distances, split = rules.distances, rules.split
    reasons: list[Reason] = []
    for name, judge in _FACTORS:
        fired = judge(inputs, rules)
        if fired is None:
            continue
        if isinstance(fired, Unavailable):
            text = f"{name} unavailable ({fired.reason}): factor skipped"
            reasons.append(Reason(_STAGE, f"{name.lower().replace(' ', '_')}_unavailable", text))
            continue
        before = distances
        distances = tuple(distance.scaled(fired.factor) for distance in distances)
        text = f"{fired.cause} → {signed_percent(fired.factor)} TP distance"
        if fired.split is not None:
            split = fired.split
            text += f", {fired.split_words} ({show_split(split)})"
        reasons.append(Reason(_STAGE, fired.code, text, show_distances(before), show_distances(distances)))
    clamped = clamp_distances(distances, rules)
    if clamped != distances:
        bounds = f"{rules.min_distance} to {rules.max_distance}"
        text = f"TP distances clamped to {bounds}"
        reasons.append(Reason(_STAGE, "clamped", text, show_distances(distances), show_distances(clamped)))
    return Ladder(clamped, split, tuple(reasons))


def adjust_live(
    distances: Sequence[Ratio], pnl: Ratio | Unavailable, regime: Regime | Unavailable, rules: LadderRules
) -> tuple[tuple[Ratio, ...], Reason | None]:
    """Return the distances of the levels not yet hit, pulled in when a sideways market has paid well (exit-rules 1).

    Give the plan's own distances, not adjusted ones: then calling twice changes nothing.
    """
    before = tuple(distances)
    if isinstance(pnl, Unavailable) or isinstance(regime, Unavailable):
        return before, None
    if pnl < rules.live_pnl or regime not in _SIDEWAYS:
        return before, None
    after = clamp_distances([distance.scaled(rules.live_factor) for distance in before], rules)
    # A level below the clamp's floor by another rule's choice is never pushed back out.
    after = tuple(min(old, new) for old, new in zip(before, after, strict=True))
    if after == before:
        return before, None
    text = (
        f"Unrealised PnL {pnl.show(1)} in a {regime.value.upper()} regime → "
        f"{signed_percent(rules.live_factor)} on the levels not yet hit"
    )
    return after, Reason("live", "live_adjustment", text, show_distances(before), show_distances(after))


def one_line(symbol: str, legs: Sequence[Leg]) -> str:
    """Return the ladder as operators quote it: `XRPUSDT: TP1=1.09%(40%), TP2=1.82%(35%), TP3=2.91%(25%)`."""
    levels = (f"TP{leg.number}={leg.distance.show()}({trimmed(leg.fraction * 100, 2)}%)" for leg in legs)
    return f"{symbol}: {', '.join(levels)}"


def clamp_distances(distances: Sequence[Ratio], rules: LadderRules) -> tuple[Ratio, ...]:
    """Return the distances within the ladder's smallest and largest."""
    return tuple(min(max(distance, rules.min_distance), rules.max_distance) for distance in distances)


def show_distances(distances: Sequence[Ratio]) -> str:
    """Return distances for a reason: `1.5% / 2.5% / 4%`."""
    return " / ".join(str(distance) for distance in distances)


def show_split(split: Sequence[Decimal]) -> str:
    """Return a split as operators write it: `40/35/25`."""
    return "/".join(trimmed(share * 100, 2) for share in split)


def signed_percent(factor: Decimal) -> str:
    """Return what a multiplier does, in percent with its sign: 0.7 is `-30%`."""
    change = (factor - ONE) * 100
    return f"{'+' if change >= 0 else ''}{trimmed(change, 2)}%"


def _leverage(inputs: LadderInputs, rules: LadderRules) -> _Factor | Unavailable | None:
    leverage = inputs.leverage
    if isinstance(leverage, Unavailable):
        return leverage
    if leverage >= rules.high_leverage:
        return _Factor("high_leverage", f"High leverage ({leverage:.1f}x)", rules.high_leverage_factor)
    if leverage <= rules.low_leverage:
        return _Factor("low_leverage", f"Low leverage ({leverage:.1f}x)", rules.low_leverage_factor)
    return None


def _notional(inputs: LadderInputs, rules: LadderRules) -> _Factor | Unavailable | None:
    notional = inputs.notional
    if isinstance(notional, Unavailable):
        return notional
    if notional < rules.large_notional:
        return None
    cause = f"Large position (${trimmed(notional, 2)})"
    return _Factor("large_position", cause, rules.large_notional_factor, rules.large_notional_split)


def _volatility(inputs: LadderInputs, rules: LadderRules) -> _Factor | Unavailable | None:
    volatility = inputs.volatility
    if isinstance(volatility, Unavailable):
        return volatility
    if volatility >= rules.high_volatility:
        return _Factor("high_volatility", f"High volatility ({volatility.show(1)})", rules.high_volatility_factor)
    if volatility <= rules.low_volatility:
        return _Factor("low_volatility", f"Low volatility ({volatility.show(1)})", rules.low_volatility_factor)
    return None


def _regime(inputs: LadderInputs, rules: LadderRules) -> _Factor | Unavailable | None:
    regime = inputs.regime
    if isinstance(regime, Unavailable):
        return regime
    if regime is Regime.TRENDING:
        return _Factor("trending", "TRENDING regime", rules.trending_factor, rules.trending_split, "back-load")
    if regime in _SIDEWAYS:
        return _Factor("sideways", f"{regime.value.upper()} regime", rules.sideways_factor)
    return None


def _confidence(inputs: LadderInputs, rules: LadderRules) -> _Factor | Unavailable | None:
    confidence = inputs.confidence
    if isinstance(confidence, Unavailable):
        return confidence
    shown = f"({trimmed(confidence * 100, 1)}%)"
    if confidence >= rules.high_confidence:
        return _Factor("high_confidence", f"High confidence {shown}", rules.high_confidence_factor)
    if confidence <= rules.low_confidence:
        return _Factor("low_confidence", f"Low confidence {shown}", rules.low_confidence_factor)
    return None


def _quote_volume(inputs: LadderInputs, rules: LadderRules) -> _Factor | Unavailable | None:
    volume = inputs.quote_volume
    if isinstance(volume, Unavailable):
        return volume
    if volume >= rules.low_volume:
        return None
    cause = f"Low liquidity (${trimmed(volume, 0)} in 24 h)"
    return _Factor("low_liquidity", cause, rules.low_volume_factor, rules.low_volume_split)


def _pnl(inputs: LadderInputs, rules: LadderRules) -> _Factor | Unavailable | None:
    pnl = inputs.pnl
    if isinstance(pnl, Unavailable):
        return pnl
    if pnl < rules.high_pnl:
        return None
    return _Factor("high_pnl", f"High unrealised PnL ({pnl.show(1)})", rules.high_pnl_factor)


# The order of exit-rules 1: a later split replaces an earlier one, so liquidity outranks trending, which outranks size.
_FACTORS: tuple[tuple[str, Callable[[LadderInputs, LadderRules], _Factor | Unavailable | None]], ...] = (
    ("leverage", _leverage),
    ("notional", _notional),
    ("volatility", _volatility),
    ("regime", _regime),
    ("confidence", _confidence),
    ("quote volume", _quote_volume),
    ("unrealised PnL", _pnl),
)
