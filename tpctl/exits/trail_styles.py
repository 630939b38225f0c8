"""Decides what each trailing style is made of: which trail follows the price, and how the stop climbs past targets.

Eight styles are two mechanisms the reducer already has, plus one reading: a callback behind the best price (tiered,
percent, ATR chandelier) and a ratchet past the targets reached (`stops.ratchet_stop`). Nothing here moves a stop; who
does keeps the tighter of a level and the one in force, so no style ever loosens one (I4). Every style trails by moving
tpctl's own stop, which rests on the exchange, because the exchange's trailing order cannot tighten with profit
(`trailing.native_limit` says where it would not even take the callback). Source: exit-rules 8 and 9, binance-usdm 4.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Instrument, Unavailable
from tpctl.exits.model import PositionKey, Trail
from tpctl.exits.quantize import round_stop, round_tp
from tpctl.exits.rules import ExecutionRules, TrailRules
from tpctl.exits.stops import AtrMultiple, Rungs, StopSpec, breakeven
from tpctl.exits.trailing import Rearm
from tpctl.exits.units import ONE, Millis, Price, Ratio, trimmed


class Style(StrEnum):
    """How a stop follows a position in profit."""

    TIERED = "tiered"
    PERCENT = "percent"
    ATR = "atr"
    BREAKEVEN = "breakeven"
    MOVING_TARGET = "moving_target"
    MOVING_TWO_TARGET = "moving_two_target"
    BELOW_TRIGGER = "percent_below_trigger"
    BELOW_HIGHEST = "percent_below_highest"

    @property
    def climbs(self) -> bool:
        """Whether the stop moves at targets; else it follows the best price by a callback."""
        return self not in {Style.TIERED, Style.PERCENT, Style.ATR}


@dataclass(frozen=True, slots=True)
class Target:
    """A level whose reaching moves the stop; nothing is closed there."""

    trigger: Price


@dataclass(frozen=True, slots=True)
class Targets:
    """The levels a stop climbs past, nearest first, and the breakeven below them; `stops.ratchet_stop` takes them."""

    key: PositionKey
    legs: tuple[Target, ...]
    breakeven: Price


@dataclass(frozen=True, slots=True)
class StyleTerms:
    """One style, ready to be followed. `trail` is None where the style only climbs `rungs`, and the other way round.

    `atr` sets the callback from the average true range instead of a schedule. Both mechanisms may be present, as they
    are in `watch`; the tighter level counts.
    """

    trail: Trail | None
    rungs: Rungs | None
    execution: ExecutionRules
    limits: TrailRules
    atr: AtrMultiple | None = None


def targets_at(
    instrument: Instrument, key: PositionKey, entry: Price, distances: Sequence[Ratio], *, fee: Ratio | None
) -> Targets:
    """Return the targets at these distances from entry, on the tick toward it.

    `fee` is paid on both sides and lifts the breakeven off entry; None leaves it at entry (exit-rules 8). Raises
    `InputsError` for distances that do not rise from above zero, a tick apart.
    """
    sign = key.side.sign
    triggers = [round_tp(instrument, key.side, entry * (ONE + sign * distance.fraction)) for distance in distances]
    levels = [entry, *triggers]
    if not distances or any(sign * (after - before) < instrument.tick for before, after in pairwise(levels)):
        shown = ",".join(map(str, distances))
        raise InputsError(
            f"targets '{shown}' do not rise from entry, a tick of {trimmed(instrument.tick)} apart",
            "give distances from entry, nearest first, such as 1.5%,2.5%,4%",
        )
    net = entry if fee is None else breakeven(key.side, entry, fee, fee)
    return Targets(key, tuple(map(Target, triggers)), round_stop(instrument, key.side, net))


def style_terms(
    style: Style,
    distance: StopSpec,
    *,
    activation: Ratio,
    rungs: Targets | None,
    limits: TrailRules,
    execution: ExecutionRules,
) -> StyleTerms:
    """Return what a style is made of.

    `distance` is the callback, for the two percent-below styles the distance they keep, and for the chandelier a
    multiple of the ATR; breakeven and the moving targets have none and ignore it. Raises `InputsError` where the
    distance is of the wrong kind or outside the callback's limits, and where a climbing style has no targets.
    """
    if style.climbs:
        if rungs is None:
            raise InputsError(f"style '{style.value}' has no targets to climb", "give targets such as 1.5%,2.5%,4%")
        if style is Style.BREAKEVEN:
            rungs = replace(rungs, legs=rungs.legs[:1])
        return StyleTerms(None, rungs, _ratchet(style, distance, execution), limits)
    if style is Style.ATR:
        if not isinstance(distance, AtrMultiple):
            raise InputsError(f"style 'atr' cannot keep a distance of '{distance}'", "give a multiple such as 3atr")
        trail = Trail(limits.max_callback, activation, ((activation, ONE),), ONE)
        return StyleTerms(trail, None, execution, limits, distance)
    callback = _percent(style, distance)
    if not limits.min_callback <= callback <= limits.max_callback:
        raise InputsError(
            f"callback '{callback}' is outside {limits.min_callback} to {limits.max_callback}",
            "give a callback in that range",
        )
    schedule = limits.schedule if style is Style.TIERED else ((activation, ONE),)
    return StyleTerms(Trail(callback, activation, schedule, ONE), None, execution, limits)


def _ratchet(style: Style, distance: StopSpec, execution: ExecutionRules) -> ExecutionRules:
    match style:
        case Style.BREAKEVEN:
            return replace(execution, ratchet="previous_tp")
        case Style.MOVING_TARGET:
            return replace(execution, ratchet="moving_target", ratchet_targets_back=1)
        case Style.MOVING_TWO_TARGET:
            return replace(execution, ratchet="moving_target", ratchet_targets_back=2)
        case Style.BELOW_TRIGGER:
            return replace(execution, ratchet="percent_below_trigger", ratchet_percent=_percent(style, distance))
        case _:
            return replace(execution, ratchet="percent_below_highest", ratchet_percent=_percent(style, distance))


def _percent(style: Style, distance: StopSpec) -> Ratio:
    if isinstance(distance, AtrMultiple):
        raise InputsError(f"style '{style.value}' cannot keep a distance of '{distance}'", "give a percentage: 1.5%")
    if not 0 < distance.fraction < ONE:
        raise InputsError(f"distance '{distance}' is not between 0 and 100%", "give a percentage such as 1.5%")
    return distance


def chandelier_callback(peak: Price, atr: Price, multiple: AtrMultiple, limits: TrailRules) -> Ratio:
    """Return the callback that hangs a stop `multiple` ATRs off the peak, within the callback's limits.

    The chandelier exit of LeBeau, as a share of the peak so that the bounds of exit-rules 9 hold for it too.
    """
    wanted = Ratio(multiple.multiple * atr / peak)
    return min(limits.max_callback, max(limits.min_callback, wanted))


def chandelier_rearm(
    multiple: AtrMultiple,
    current: Ratio | None,
    peak: Price,
    atr: Price | Unavailable,
    *,
    position_age_ms: Millis,
    since_change_ms: Millis | None,
    limits: TrailRules,
) -> Rearm:
    """Decide whether the callback follows the ATR now; it may widen again, the stop it already gave stays (I4).

    `current` is None before the first reading. Changes keep the spacing and the least size of exit-rules 9. Where the
    ATR is unavailable nothing changes; without any reading yet the callback is the widest allowed.
    """
    held = limits.max_callback if current is None else current

    def keep(reason: str) -> Rearm:
        return Rearm(held, False, f"Callback stays {held.show()}: {reason}", None)

    if isinstance(atr, Unavailable):
        return keep(f"the ATR is unavailable ({atr.reason})")
    wanted = chandelier_callback(peak, atr, multiple, limits)
    words = f"{multiple} at an ATR of {trimmed(atr, _places(atr))} behind {trimmed(peak)}"
    if current is None:
        return Rearm(wanted, True, f"Callback {wanted.show()}: {words}", None)
    if wanted == current:
        return keep(f"{words} asks for it")
    early = _too_early(position_age_ms, since_change_ms, limits)
    if early is not None:
        return keep(early)
    if abs(wanted.fraction - current.fraction) <= limits.min_change * current.fraction:
        return keep(f"a change to {wanted.show()} is not more than {trimmed(limits.min_change * 100)}% of it")
    return Rearm(wanted, True, f"Callback {current.show()} → {wanted.show()}: {words}", None)


def _too_early(age_ms: Millis, since_ms: Millis | None, limits: TrailRules) -> str | None:
    """Return why a change has to wait, or None where it need not (exit-rules 9)."""
    if age_ms < limits.min_age_ms:
        return f"the position is {_seconds(age_ms)} old, changes start at {_seconds(limits.min_age_ms)}"
    if since_ms is not None and since_ms < limits.min_interval_ms:
        return f"it changed {_seconds(since_ms)} ago, changes are {_seconds(limits.min_interval_ms)} apart"
    return None


def _places(value: Decimal) -> int:
    """Return how many decimal places keep four significant digits."""
    return max(3 - value.adjusted(), 0)


def _seconds(millis: Millis) -> str:
    return f"{trimmed(Decimal(millis) / 1000)} s"
