"""Decides where stop and backstop of a plan lie, and where a filled take-profit moves the stop (exit-rules 6, 8).

Distances are fractions of entry. This file never loosens a stop that rests: what it returns for a ratchet is a level,
and the caller keeps the tighter of it and the one in force (I4). A stop never lies beyond its share of the distance to
liquidation; where that leaves nothing to work with, the plan is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, TypeAlias

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Bracket, Instrument, PositionSide, Unavailable
from tpctl.exits.ladder import signed_percent
from tpctl.exits.liquidation import liquidation_price
from tpctl.exits.model import PositionKey, Reason
from tpctl.exits.quantize import round_stop
from tpctl.exits.rules import ExecutionRules, StopRules, TargetRules
from tpctl.exits.units import ONE, ZERO, Money, Price, Quantity, Ratio, parse_positive, trimmed

_STAGE = "stop"


@dataclass(frozen=True, slots=True)
class AtrMultiple:
    """A distance in average true ranges: `AtrMultiple(Decimal(2))` is `2atr`."""

    multiple: Decimal

    def __post_init__(self) -> None:
        if not self.multiple.is_finite() or self.multiple <= 0:
            raise InputsError(f"ATR multiple '{self.multiple}' is not above zero", "write a distance such as 2atr")

    def __str__(self) -> str:
        return f"{trimmed(self.multiple)}atr"


StopSpec: TypeAlias = Ratio | AtrMultiple


def parse_distance(text: str, what: str) -> StopSpec:
    """Return the distance that `text` spells: `2.5%`, `150bps` or `2atr`; raises `InputsError` for anything else."""
    lowered = text.strip().lower()
    if lowered.endswith("atr"):
        return AtrMultiple(parse_positive(lowered.removesuffix("atr"), what))
    ratio = Ratio.parse(text, what)
    if ratio.fraction <= 0:
        raise InputsError(f"{what} {text!r} is not above zero", "give a positive distance such as 2.5% or 2atr")
    return ratio


def spec_distance(spec: StopSpec, atr: Price | Unavailable, entry: Price, what: str) -> Ratio:
    """Return the distance a spec means at this entry; raises `InputsError` where it needs an ATR and there is none."""
    if isinstance(spec, Ratio):
        if spec.fraction <= 0:
            raise InputsError(f"{what} '{spec}' is not above zero", "give a positive distance such as 2.5% or 2atr")
        return spec
    if isinstance(atr, Unavailable):
        raise InputsError(f"{what} '{spec}' needs an ATR, which is unavailable ({atr.reason})", "give it in percent")
    if atr <= 0:
        raise InputsError(f"{what} '{spec}' needs an ATR above zero, was '{atr}'", "give it in percent")
    return Ratio(spec.multiple * atr / entry)


def confidence_scale(confidence: Decimal, rules: TargetRules) -> Decimal:
    """Return 0.5 + c, c rising from 0 at confidence 0.40 to 1 at 0.95 (exit-rules 3)."""
    rising = (confidence - rules.confidence_floor) / rules.confidence_span
    return rules.confidence_base + min(max(rising, ZERO), ONE)


def volatility_scale(volatility: Ratio, rules: TargetRules) -> Decimal:
    """Return 0.8 + 0.4 · volatility/0.03, within 0.8 to 1.5 (exit-rules 3)."""
    scale = rules.volatility_base + rules.volatility_slope * (volatility / rules.volatility_reference)
    return min(max(scale, rules.volatility_min), rules.volatility_max)


def stop_distance(
    confidence: Decimal | Unavailable,
    volatility: Ratio | Unavailable,
    systemic_factor: Decimal,
    rules: StopRules,
    target: TargetRules,
) -> tuple[Ratio, tuple[Reason, ...]]:
    """Return the stop distance of a plan that is not placed yet, and a reason for each scale (exit-rules 6).

    `systemic_factor` is what `risk.stop_factor` returns.
    """
    distance = rules.distance
    reasons: list[Reason] = []

    def scale(code: str, cause: str, factor: Decimal) -> None:
        nonlocal distance
        if factor == ONE:
            return
        before, distance = distance, distance.scaled(factor)
        text = f"{cause} → {signed_percent(factor)} stop distance"
        reasons.append(Reason(_STAGE, code, text, str(before), str(distance)))

    if isinstance(confidence, Unavailable):
        text = f"confidence unavailable ({confidence.reason}): stop not scaled by it"
        reasons.append(Reason(_STAGE, "confidence_unavailable", text))
    else:
        factor = 2 - confidence_scale(confidence, target)
        scale("confidence_stop", f"Confidence {trimmed(confidence * 100, 1)}%", factor)
    if isinstance(volatility, Unavailable):
        text = f"volatility unavailable ({volatility.reason}): stop not scaled by it"
        reasons.append(Reason(_STAGE, "volatility_unavailable", text))
    else:
        scale("volatility_stop", f"Volatility {volatility.show(1)}", volatility_scale(volatility, target))
    scale("mode_stop", f"Mode {target.mode}", target.factors.stop)
    scale("systemic_stop", "High systemic risk", systemic_factor)
    return distance, tuple(reasons)


def cap_margin_loss(stop: Ratio, leverage: Decimal, rules: StopRules) -> tuple[Ratio, tuple[Reason, ...]]:
    """Return the stop within `max_margin_loss` of margin, where that cap is on."""
    if rules.max_margin_loss is None:
        return stop, ()
    cap = Ratio(rules.max_margin_loss / leverage)
    if stop <= cap:
        return stop, ()
    text = (
        f"stop tightened to {cap}: at most {trimmed(rules.max_margin_loss * 100, 2)}% of margin at {trimmed(leverage)}x"
    )
    return cap, (Reason(_STAGE, "max_margin_loss", text, str(stop), str(cap)),)


def tighten_for_reward(
    stop: Ratio, mean_tp: Ratio, reward_risk: Decimal, rules: StopRules
) -> tuple[Ratio, tuple[Reason, ...]]:
    """Return the stop tightened until mean TP ÷ stop reaches `reward_risk`, not below the floor (exit-rules 6)."""
    if mean_tp.fraction >= reward_risk * stop.fraction:
        return stop, ()
    wanted = Ratio(mean_tp.fraction / reward_risk)
    tightened = min(stop, max(wanted, rules.floor))
    if tightened == stop:
        return stop, ()
    text = f"stop tightened for reward:risk {trimmed(mean_tp / stop, 2)} → {trimmed(mean_tp / tightened, 2)}"
    if tightened > wanted:
        text += f", held at the {rules.floor} floor"
    return tightened, (Reason("reward_risk", "reward_risk", text, str(stop), str(tightened)),)


@dataclass(frozen=True, slots=True)
class LiquidationRoom:
    """How far entry is from liquidation. `price` is None where none is computed or the position cannot be liquidated.

    `bound` is why the distance is only an upper bound; None where it was computed from wallet and brackets.
    """

    price: Price | None
    distance: Ratio | None
    bound: str | None = None


def liquidation_room(
    side: PositionSide,
    quantity: Quantity,
    entry: Price,
    *,
    leverage: Decimal,
    wallet: Money | Unavailable,
    brackets: tuple[Bracket, ...] | Unavailable,
) -> LiquidationRoom:
    """Return the distance from entry to liquidation (exit-rules 6, 15).

    Without brackets 1 ÷ leverage bounds it from above. With brackets but no wallet, so does what the initial margin
    alone would bear, which is nearer by the maintenance margin; the smaller of the two is taken. Raises `InputsError`
    where the price of liquidation is not on the losing side of entry.
    """
    bound = Ratio(ONE / leverage)
    if isinstance(brackets, Unavailable):
        return LiquidationRoom(None, bound, f"leverage brackets unavailable ({brackets.reason})")
    margin = entry * quantity / leverage if isinstance(wallet, Unavailable) else wallet
    price = liquidation_price(side, quantity, entry, margin, brackets)
    distance = None if price is None else Ratio(side.sign * (entry - price) / entry)
    if distance is not None and distance.fraction <= 0:
        raise InputsError(
            f"over-leveraged: liquidation at '{trimmed(price or ZERO, 8)}' is not beyond the entry '{trimmed(entry)}'",
            "add margin or reduce the position",
        )
    if not isinstance(wallet, Unavailable):
        # A long without a liquidation price can still lose everything, and no stop lies below a price of zero.
        whole = Ratio(ONE) if side is PositionSide.LONG else None
        return LiquidationRoom(price, whole if distance is None else distance)
    nearest = bound if distance is None else min(bound, distance)
    return LiquidationRoom(None, nearest, f"wallet unavailable ({wallet.reason})")


def clamp_to_liquidation(
    stop: Ratio, room: LiquidationRoom, leverage: Decimal, rules: StopRules
) -> tuple[Ratio, tuple[Reason, ...]]:
    """Return the stop within its share of the distance to liquidation.

    Raises `InputsError` where that share is below the smallest stop: over-leveraged (exit-rules 6).
    """
    if room.distance is None:
        return stop, ()
    limit = room.distance.scaled(rules.liquidation_share)
    share = f"{trimmed(rules.liquidation_share * 100, 2)}%"
    if limit < rules.min_distance:
        raise InputsError(
            f"over-leveraged: at {trimmed(leverage)}x liquidation is {room.distance} from entry, "
            f"and {share} of that, {limit}, is below the smallest stop of {rules.min_distance}",
            "lower the leverage, add margin or reduce the position",
        )
    if stop <= limit:
        return stop, ()
    text = f"stop tightened to lie within {share} of the distance to liquidation ({room.distance})"
    return limit, (Reason("liquidation", "liquidation_clamp", text, str(stop), str(limit)),)


def backstop_distance(stop: Ratio, room: LiquidationRoom, rules: StopRules) -> Ratio:
    """Return 1.25 stops, within 90 % of the distance to liquidation, never tighter than the stop (exit-rules 6)."""
    distance = stop.scaled(rules.backstop_factor)
    if room.distance is not None:
        distance = min(distance, room.distance.scaled(rules.backstop_share))
    return max(distance, stop)


def breakeven(side: PositionSide, entry: Price, fee_in: Ratio, fee_out: Ratio) -> Price:
    """Return the exit price that nets zero after both fees, off the grid (binance-usdm 4.8)."""
    sign = side.sign
    return entry * (ONE + sign * fee_in.fraction) / (ONE - sign * fee_out.fraction)


class Rung(Protocol):
    """One take-profit level, as far as a ratchet needs it."""

    @property
    def trigger(self) -> Price:
        """The level's price."""
        ...


class Rungs(Protocol):
    """What a stop climbs: the take-profit levels from the nearest on, and the breakeven below them. A `Plan` is one."""

    @property
    def key(self) -> PositionKey:
        """The position."""
        ...

    @property
    def legs(self) -> Sequence[Rung]:
        """The levels, nearest first."""
        ...

    @property
    def breakeven(self) -> Price:
        """The price that nets zero, or entry."""
        ...


def ratchet_stop(
    plan: Rungs, legs_done: int, instrument: Instrument, rules: ExecutionRules, *, peak: Price | None = None
) -> Price | None:
    """Return the level the stop moves to once `legs_done` take-profits have filled, or None where it stays.

    By default breakeven after TP1 and the price of TP(n-1) after TPn (exit-rules 8). `peak` is the best price seen; the
    style `percent_below_highest` measures from it. Rounded tighter, and at least a tick short of the price it follows,
    so that it does not trigger at once. The caller keeps the tighter of this and the stop in force.
    """
    done = min(legs_done, len(plan.legs))
    if done <= 0:
        return None
    side = plan.key.side
    sign = side.sign
    reached = plan.legs[done - 1].trigger
    if rules.ratchet == "percent_below_highest" and peak is not None and sign * (peak - reached) > 0:
        reached = peak
    level: Price
    if rules.ratchet in {"percent_below_trigger", "percent_below_highest"}:
        level = reached * (ONE - sign * rules.ratchet_percent.fraction)
    else:
        behind = _targets_behind(done, rules)
        if behind < 0:
            return None
        level = plan.breakeven if behind == 0 else plan.legs[behind - 1].trigger
    level = round_stop(instrument, side, level)
    if sign * (reached - level) < instrument.tick:
        level = round_stop(instrument, side, reached - sign * instrument.tick)
        if sign * (reached - level) < instrument.tick:
            level -= sign * instrument.tick
    return level


def _targets_behind(done: int, rules: ExecutionRules) -> int:
    """Return after which target the stop stands once `done` are: 0 is breakeven, below that it stays."""
    match rules.ratchet:
        case "breakeven":
            return 0
        case "moving_target":
            return done - rules.ratchet_targets_back
        case _:
            return done - 1
