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
from tpctl.exits.trailing import Rearm, callback_at, reached_row, rearm
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

    Both mechanisms may be present, as they are in `watch`; the tighter level counts.
    """

    trail: Trail | None
    rungs: Rungs | None
    execution: ExecutionRules
    limits: TrailRules


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
    chandelier: Ratio | None = None,
) -> StyleTerms:
    """Return what a style is made of.

    `distance` is the callback, for the two percent-below styles the distance they keep, and for the chandelier a
    multiple of the ATR, which begins with the callback `chandelier`, or where there is none the limits' own; breakeven
    and the moving targets have none and ignore it. Raises `InputsError` where the
    distance is of the wrong kind or outside the callback's limits, and where a climbing style has no targets.
    """
    if style.climbs:
        if rungs is None:
            raise InputsError(f"style '{style.value}' has no targets to climb", "give targets such as 1.5%,2.5%,4%")
        return StyleTerms(None, rungs, _ratchet(style, distance, execution), limits)
    if style is Style.ATR:
        if not isinstance(distance, AtrMultiple):
            raise InputsError(f"style 'atr' cannot keep a distance of '{distance}'", "give a multiple such as 3atr")
        trail = Trail(chandelier or limits.callback, activation, limits.schedule, ONE, distance.multiple)
        return StyleTerms(trail, None, execution, limits)
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
            return replace(execution, ratchet="breakeven")
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


def follow(
    trail: Trail,
    current: Ratio,
    peak: Price,
    profit: Ratio,
    atr: Price | Unavailable,
    *,
    position_age_ms: Millis,
    since_change_ms: Millis | None,
    limits: TrailRules,
) -> Rearm:
    """Decide whether the `current` callback of a trail changes now; `profit` is that of the peak.

    By the schedule it only tightens (`trailing.rearm`). By the average true range it follows that, wider too, below
    the bound the schedule sets; the stop it already gave stays (I4). Either way changes keep the spacing and the least
    size of exit-rules 9, and asking again at the same peak and range changes nothing.
    """
    if trail.atr_multiple is None:
        return rearm(
            trail.callback,
            current,
            profit,
            position_age_ms=position_age_ms,
            since_change_ms=since_change_ms,
            schedule=trail.schedule,
            min_age_ms=limits.min_age_ms,
            min_interval_ms=limits.min_interval_ms,
            min_change=limits.min_change,
            floor=limits.min_callback,
            ceiling=limits.max_callback,
        )
    row = reached_row(profit, trail.schedule)

    def keep(reason: str) -> Rearm:
        return Rearm(current, False, f"Callback stays {current.show()}: {reason}", row)

    widest = widest_callback(trail, profit, limits)
    if isinstance(atr, Unavailable):
        wanted, words = min(current, widest), f"the ATR is unavailable ({atr.reason})"
        if wanted == current:
            return keep(words)
    else:
        multiple = AtrMultiple(trail.atr_multiple)
        wanted = chandelier_callback(peak, atr, multiple, limits, widest)
        words = f"{multiple} at an ATR of {trimmed(atr, _places(atr))} behind {trimmed(peak)}"
    if wanted == widest:
        words = f"{words}, at most {widest.show()} at a profit of {profit.show()}"
    if wanted == current:
        return keep(f"{words} asks for it")
    early = _too_early(position_age_ms, since_change_ms, limits)
    if early is not None:
        return keep(early)
    if abs(wanted.fraction - current.fraction) <= limits.min_change * current.fraction:
        return keep(f"{words} asks for {wanted.show()}, not more than {trimmed(limits.min_change * 100)}% of it away")
    return Rearm(wanted, True, f"Callback {current.show()} → {wanted.show()}: {words}", row)


def schedule_base(trail: Trail, limits: TrailRules) -> Ratio:
    """Return what the schedule scales: the original callback, or the widest one where the callback follows the ATR."""
    return trail.callback if trail.atr_multiple is None else limits.max_callback


def widest_callback(trail: Trail, profit: Ratio, limits: TrailRules) -> Ratio:
    """Return what the schedule allows at a profit."""
    base = schedule_base(trail, limits)
    return callback_at(base, profit, trail.schedule, floor=limits.min_callback, ceiling=limits.max_callback)


def chandelier_callback(
    peak: Price, atr: Price, multiple: AtrMultiple, limits: TrailRules, widest: Ratio | None = None
) -> Ratio:
    """Return the callback that hangs a stop `multiple` ATRs off the peak, within the callback's limits.

    The chandelier exit of LeBeau, as a share of the peak so that the bounds of exit-rules 9 hold for it too.
    """
    wanted = Ratio(multiple.multiple * atr / peak)
    return min(limits.max_callback if widest is None else widest, max(limits.min_callback, wanted))


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
