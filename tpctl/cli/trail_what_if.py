"""The what-if of `trail`: the schedule and the partial levels at a profit, from what the command line says alone.

Loads the trail's arithmetic and nothing else, because it is asked from shell loops. What is not given is unavailable,
with that as its reason; only an age that is not given counts as old enough, and says so.
"""

from typing import TYPE_CHECKING, Any

from tpctl.cli.trail_options import WhatIf
from tpctl.exits.errors import InputsError, UsageError
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.partials import PartialLevel, partial_levels
from tpctl.exits.trailing import (
    DEFAULT_SCHEDULE,
    Rearm,
    Schedule,
    callback_at,
    native_limit,
    peak_profit,
    reached_row,
    rearm,
)
from tpctl.exits.units import ONE, Price, Ratio
from tpctl.views.trail import ScheduleRow, TrailRow

if TYPE_CHECKING:
    from tpctl.exits.rules import TrailRules

# Longer than any limit on a young position.
_OLD_ENOUGH_MS = 10**15
_NOT_GIVEN = Unavailable("not given")


def what_if_row(asked: WhatIf, symbol: str | None, rules: "TrailRules | None") -> TrailRow:
    """Return where a trail would stand. `rules` None are the defaults of exit-rules 9.

    Raises `UsageError` where no profit can be told, or where two values contradict each other.
    """
    side = _side(asked)
    profit = _profit(asked, side)
    original = _original(asked, rules)
    current = original if asked.current is None else asked.current
    limits = rearm_limits(rules)
    change = rearm(
        original,
        current,
        profit,
        position_age_ms=_OLD_ENOUGH_MS if asked.age_ms is None else asked.age_ms,
        since_change_ms=asked.since_change_ms,
        **limits,
    )
    if asked.activation is not None and profit < asked.activation:
        change = asleep(current, asked.activation, profit, change.row)
    schedule = DEFAULT_SCHEDULE if rules is None else rules.schedule
    peak = _peak(asked, side, profit)
    trigger = _trigger(side, peak, change.callback)
    return TrailRow(
        symbol=Unavailable("no symbol was named") if symbol is None else symbol,
        side=side,
        peak_profit=profit,
        original=original,
        callback=current,
        next_callback=change.callback,
        scheduled=scheduled_callback(original, profit, rules),
        changed=change.changed,
        reason=change.reason,
        schedule=schedule_rows(original, profit, schedule, rules),
        levels=_levels(asked, side, profit),
        entry=_NOT_GIVEN if asked.entry is None else asked.entry,
        mark=_NOT_GIVEN if asked.mark is None else asked.mark,
        peak=peak,
        stop=Unavailable("a what-if has no stop on the exchange"),
        stop_rests=None,
        stop_cause=None,
        stop_reason=None,
        trigger=trigger,
        distance=distance_to(side, asked.mark, trigger),
        age_ms=Unavailable("not given: taken as old enough") if asked.age_ms is None else asked.age_ms,
        since_change_ms=Unavailable("not given: taken as never changed")
        if asked.since_change_ms is None
        else asked.since_change_ms,
        native_limit=native_limit(change.callback),
    )


def rearm_limits(rules: "TrailRules | None") -> dict[str, Any]:
    """Return what `rearm` takes beside its facts; nothing where its own defaults hold."""
    if rules is None:
        return {}
    return {
        "schedule": rules.schedule,
        "min_age_ms": rules.min_age_ms,
        "min_interval_ms": rules.min_interval_ms,
        "min_change": rules.min_change,
        "floor": rules.min_callback,
        "ceiling": rules.max_callback,
    }


def asleep(callback: Ratio, activation: Ratio, profit: Ratio, row: int | None) -> Rearm:
    """Return the decision of a trail that has not started yet."""
    why = f"the trail starts at a profit of {activation}, the best was {profit.show()}"
    return Rearm(callback, False, f"Callback stays {callback}: {why}", row)


def scheduled_callback(
    original: Ratio, profit: Ratio, rules: "TrailRules | None", schedule: Schedule | None = None
) -> Ratio:
    """Return what the schedule asks for at a profit, within the limits of the callback."""
    if rules is None:
        return callback_at(original, profit, schedule or DEFAULT_SCHEDULE)
    return callback_at(
        original, profit, schedule or rules.schedule, floor=rules.min_callback, ceiling=rules.max_callback
    )


def schedule_rows(
    original: Ratio, profit: Ratio, schedule: Schedule, rules: "TrailRules | None"
) -> tuple[ScheduleRow, ...]:
    """Return the schedule as it applies to an original callback, and which row a profit stands on."""
    current = reached_row(profit, schedule)
    return tuple(
        ScheduleRow(threshold, factor, scheduled_callback(original, threshold, rules, schedule), row == current)
        for row, (threshold, factor) in enumerate(schedule)
    )


def distance_to(
    side: PositionSide | Unavailable, mark: Price | None, trigger: Price | Unavailable
) -> Ratio | Unavailable:
    """Return how far the mark is from a trigger below it (above it, for a short), as a share of the mark."""
    if isinstance(trigger, Unavailable):
        return trigger
    if mark is None:
        return Unavailable("no mark was given")
    if isinstance(side, Unavailable):
        return side
    return Ratio(side.sign * (mark - trigger) / mark)


def _side(asked: WhatIf) -> PositionSide | Unavailable:
    """Return the side given, or the one on which the target is in profit."""
    if asked.side is not None:
        return asked.side
    if asked.entry is None or asked.target is None:
        return Unavailable("neither a side nor a target was given")
    return PositionSide.LONG if asked.target > asked.entry else PositionSide.SHORT


def _profit(asked: WhatIf, side: PositionSide | Unavailable) -> Ratio:
    for name, value in (("--peak", asked.peak), ("--target", asked.target), ("--mark", asked.mark)):
        if value is not None and asked.entry is None:
            raise UsageError(f"{name} does nothing without --entry", "add the entry price")
    if asked.profit is not None:
        if asked.peak is not None:
            raise UsageError("--profit and --peak contradict each other", "give one of them")
        return asked.profit
    if asked.entry is None or asked.peak is None:
        raise UsageError("there is no profit to judge", "give --profit 8%, or --entry with --peak")
    if isinstance(side, Unavailable):
        raise UsageError("--peak needs a side", "add --side long or --side short")
    return peak_profit(side, asked.entry, asked.peak)


def _original(asked: WhatIf, rules: "TrailRules | None") -> Ratio:
    if asked.callback is None:
        if rules is None:
            from tpctl.exits.rules import TrailRules

            rules = TrailRules()
        return rules.callback
    if not isinstance(asked.callback, Ratio):
        raise UsageError(
            f"callback '{asked.callback}' needs candles to be measured on", "give a percentage, or add --simulate FILE"
        )
    return asked.callback


def _peak(asked: WhatIf, side: PositionSide | Unavailable, profit: Ratio) -> Price | Unavailable:
    if asked.peak is not None:
        return asked.peak
    if asked.entry is None:
        return Unavailable("no entry was given")
    if isinstance(side, Unavailable):
        return side
    return asked.entry * (ONE + side.sign * profit.fraction)


def _trigger(side: PositionSide | Unavailable, peak: Price | Unavailable, callback: Ratio) -> Price | Unavailable:
    """Return where the trail triggers, off the grid: a what-if knows no tick."""
    if isinstance(peak, Unavailable):
        return peak
    if isinstance(side, Unavailable):
        return side
    return peak * (ONE - side.sign * callback.fraction)


def _levels(asked: WhatIf, side: PositionSide | Unavailable, profit: Ratio) -> tuple[PartialLevel, ...] | Unavailable:
    if asked.entry is None or asked.target is None:
        return Unavailable("partial levels need an entry and a target")
    if isinstance(side, Unavailable):
        return side
    try:
        return partial_levels(side, asked.entry, asked.target, profit)
    except InputsError as error:
        raise UsageError(error.message, error.hint) from None
