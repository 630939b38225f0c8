"""Decides how tight a trail is: the callback for a peak profit, whether a change is due now, and the stop it gives.

A callback is always computed from the original one and the peak, so repeating a call changes nothing and nothing
compounds. A trail never loosens (I4). Source: exit-rules 9.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Instrument, PositionSide
from tpctl.exits.quantize import round_stop
from tpctl.exits.units import ONE, Millis, Price, Ratio, trimmed

Schedule = Sequence[tuple[Ratio, Decimal]]

# exit-rules 9: from this peak profit on, the callback is this factor of the original.
DEFAULT_SCHEDULE: tuple[tuple[Ratio, Decimal], ...] = (
    (Ratio.percent("2"), Decimal("1.00")),
    (Ratio.percent("5"), Decimal("0.75")),
    (Ratio.percent("10"), Decimal("0.50")),
    (Ratio.percent("15"), Decimal("0.30")),
    (Ratio.percent("20"), Decimal("0.20")),
)
MIN_CALLBACK = Ratio.percent("0.05")
MAX_CALLBACK = Ratio.percent("5.0")

# What TRAILING_STOP_MARKET accepts as callbackRate (binance-usdm 2.2).
_NATIVE_MIN = Ratio.percent("0.1")
_NATIVE_MAX = Ratio.percent("20")


@dataclass(frozen=True, slots=True)
class Rearm:
    """The callback to trail with from now on, and why. `row` indexes the schedule row in force, None below the first.

    Where nothing changes, `callback` is the current one.
    """

    callback: Ratio
    changed: bool
    reason: str
    row: int | None


def reached_row(peak_profit: Ratio, schedule: Schedule) -> int | None:
    """Return the index of the highest schedule row a peak profit has reached, equality included; None below all."""
    reached = [row for row, (profit, _) in enumerate(schedule) if peak_profit >= profit]
    return max(reached, key=lambda row: schedule[row][0], default=None)


def callback_at(
    original: Ratio,
    peak_profit: Ratio,
    schedule: Schedule = DEFAULT_SCHEDULE,
    *,
    floor: Ratio = MIN_CALLBACK,
    ceiling: Ratio = MAX_CALLBACK,
) -> Ratio:
    """Return the callback for a peak profit: the original times the factor of the highest row reached.

    Below the first row it is the original. Clamped to `floor` and `ceiling`, and never looser than the clamped
    original. Raises `InputsError` for an original callback not above zero.
    """
    if original.fraction <= 0:
        raise InputsError(f"callback '{original}' is not above zero", "give a callback such as 1.5%")
    row = reached_row(peak_profit, schedule)
    factor = ONE if row is None else min(ONE, schedule[row][1])
    return min(ceiling, max(floor, original.scaled(factor)))


def rearm(
    original: Ratio,
    current: Ratio,
    peak_profit: Ratio,
    *,
    position_age_ms: Millis,
    since_change_ms: Millis | None,
    schedule: Schedule = DEFAULT_SCHEDULE,
    min_age_ms: Millis = 300_000,
    min_interval_ms: Millis = 30_000,
    min_change: Decimal = Decimal("0.10"),
    floor: Ratio = MIN_CALLBACK,
    ceiling: Ratio = MAX_CALLBACK,
) -> Rearm:
    """Decide whether the `current` callback tightens now, from the `original` one and the peak profit.

    Nothing changes below the first row, on a position younger than `min_age_ms`, within `min_interval_ms` of the last
    change (`since_change_ms`, None where there was none), or where the change is `min_change` of the current callback
    or less. A looser answer is never taken.
    """
    row = reached_row(peak_profit, schedule)
    target = callback_at(original, peak_profit, schedule, floor=floor, ceiling=ceiling)

    def keep(reason: str) -> Rearm:
        return Rearm(current, False, f"Callback stays {current}: {reason}", row)

    if row is None:
        return keep(_below_first(peak_profit, schedule))
    reached = f"peak profit {peak_profit.show()} reached the {schedule[row][0]} row"
    if target >= current:
        follows = "it already follows" if target == current else f"asks for {target}, and a trail never loosens"
        return keep(f"{reached}, which {follows}")
    if position_age_ms < min_age_ms:
        return keep(f"the position is {_seconds(position_age_ms)} old, changes start at {_seconds(min_age_ms)}")
    if since_change_ms is not None and since_change_ms < min_interval_ms:
        return keep(f"it changed {_seconds(since_change_ms)} ago, changes are {_seconds(min_interval_ms)} apart")
    if (current - target).fraction <= min_change * current.fraction:
        return keep(f"a change to {target} is not more than {trimmed(min_change * 100)}% of it")
    return Rearm(target, True, f"Callback {current} → {target}: {reached} (x{trimmed(schedule[row][1])})", row)


def _below_first(peak_profit: Ratio, schedule: Schedule) -> str:
    if not schedule:
        return "the schedule has no rows"
    return f"peak profit {peak_profit.show()} is below the first row at {min(schedule)[0]}"


def _seconds(millis: Millis) -> str:
    return f"{trimmed(Decimal(millis) / 1000)} s"


def peak_profit(side: PositionSide, entry: Price, peak: Price) -> Ratio:
    """Return the price move in favour from entry to the peak (the lowest price, for a short)."""
    if entry <= 0:
        raise InputsError(f"entry '{trimmed(entry)}' is not above zero", "give the price the position was entered at")
    return Ratio(side.sign * (peak - entry) / entry)


def trail_stop(instrument: Instrument, side: PositionSide, peak_price: Price, callback: Ratio) -> Price:
    """Return the stop a trail holds for its peak, on the tick toward the peak.

    Where the callback is finer than a tick the stop stays one tick off the peak: on it, it would close at once.
    """
    stop = round_stop(instrument, side, peak_price * (1 - side.sign * callback.fraction))
    if side.sign * (peak_price - stop) > 0:
        return stop
    return stop - side.sign * instrument.tick


def native_callback_ok(callback: Ratio) -> bool:
    """Whether the exchange's own trailing order takes this callback: 0.1 to 20 % (binance-usdm 2.2)."""
    return _NATIVE_MIN <= callback <= _NATIVE_MAX


def native_limit(callback: Ratio) -> str | None:
    """Return why the exchange's own trailing order would not take this callback, or None where it would."""
    if native_callback_ok(callback):
        return None
    return f"the exchange's own trailing order takes {_NATIVE_MIN} to {_NATIVE_MAX}, not {callback}"
