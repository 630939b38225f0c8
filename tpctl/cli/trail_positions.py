"""Where the trails of a profile's positions stand, from the state its journal keeps, beside a running watch.

Decides nothing a watch would decide differently: the callback and the stop's level come from the functions the reducer
asks, with the plan and the marks of the journal. The state lags a running watch by its checkpoint, a few seconds.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches

from tpctl.adapters.codec import CodecError, decode
from tpctl.adapters.files import find_state_dir
from tpctl.adapters.journal_reader import JournalReader
from tpctl.cli.trail_options import TrailOptions
from tpctl.cli.trail_what_if import (
    asleep,
    distance_to,
    schedule_rows,
    scheduled_callback,
)
from tpctl.exits.episode import Episode, OrderState, Phase
from tpctl.exits.errors import EmptyError, StateFileError
from tpctl.exits.ids import Role
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import PositionKey, Trail
from tpctl.exits.partials import PartialLevel, partial_levels
from tpctl.exits.rules import TrailRules
from tpctl.exits.trail_styles import follow, schedule_base
from tpctl.exits.trailing import Rearm, native_limit, peak_profit, reached_row, trail_stop
from tpctl.exits.units import Millis, Price, Ratio
from tpctl.settings.load import load
from tpctl.settings.schema import Env, Settings
from tpctl.views.trail import ScheduleRow, TrailRow, price_words

_NO_PLAN = Unavailable("the position has no plan yet")
_NO_TRAIL = Unavailable("the plan has no trail")
_NO_MARK = Unavailable("no mark has come yet")
_NEVER = Unavailable("it never changed")


def position_rows(options: TrailOptions, now: Millis) -> tuple[TrailRow, ...]:
    """Return where each open position's trail stands; `now` is the wall clock, in ms UTC.

    Raises `EmptyError` where there is no journal, no open position, or none of the symbols named.
    """
    shared = options.shared
    settings = load(shared.config, shared.profile, shared.state_dir)
    with open_journal(settings) as reader:
        episodes = read_episodes(reader)
    chosen = chosen_episodes(episodes, options.symbols, settings)
    if settings.profile.env is Env.SIM:
        # A simulated account has a time of its own, which stands still while nobody runs it.
        now = max(newest(episode) for episode in chosen)
    return tuple(trail_row(episode, max(now, newest(episode)), settings.exits.trail) for episode in chosen)


@contextmanager
def open_journal(settings: Settings) -> Iterator[JournalReader]:
    """Open the profile's journal for reading; raises `EmptyError` where there is none yet."""
    state_dir = find_state_dir(settings.state_dir)
    if state_dir is None or not state_dir.journal.exists():
        raise EmptyError(
            f"profile {settings.name!r} has no journal in '{settings.state_dir}'",
            "start 'tpctl watch', name its directory with --state-dir, or ask a what-if such as --profit 8%",
        )
    with JournalReader.read_only(state_dir.journal) as reader:
        yield reader


def read_episodes(reader: JournalReader) -> list[Episode]:
    """Return the present life of every position the journal remembers, by symbol and side."""
    episodes = []
    for key, row in sorted(reader.states().items(), key=lambda item: str(item[0])):
        if row.state is None:
            continue
        try:
            episodes.append(decode(row.state, Episode))
        except CodecError as error:
            raise StateFileError(
                f"the journal's state of {key} does not fit this version: {error}",
                "use the version that wrote it, or move the journal aside: tpctl rebuilds from the exchange",
            ) from error
    return episodes


def check_named(symbols: Sequence[str], keys: Sequence[PositionKey], what: str) -> None:
    """Raise `EmptyError` for a named symbol that is not among the keys, with the nearest that is."""
    held = sorted({key.symbol for key in keys})
    for symbol in symbols:
        if symbol not in held:
            near = get_close_matches(symbol, held, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has: {', '.join(held)}"
            raise EmptyError(f"the journal has no {what} of {symbol!r}", hint)


def chosen_episodes(episodes: list[Episode], symbols: Sequence[str], settings: Settings) -> list[Episode]:
    """Return the open positions of the symbols named, or all; raises `EmptyError` where there is none."""
    episodes = [episode for episode in episodes if episode.phase is not Phase.FLAT]
    if not episodes:
        raise EmptyError(
            f"profile {settings.name!r} has no open position",
            "a running watch adopts positions by itself; 'tpctl trail --explain' tells about past ones",
        )
    check_named(symbols, [episode.key for episode in episodes], "open position")
    return [episode for episode in episodes if not symbols or episode.key.symbol in symbols]


def newest(episode: Episode) -> Millis:
    """Return the time of the newest fact about a position."""
    return max(episode.mark_at, episode.position_at, episode.opened_at)


def trail_row(episode: Episode, now: Millis, rules: TrailRules) -> TrailRow:
    """Return where one position's trail stands at `now`; `rules` are the limits of the profile."""
    plan, side, peak = episode.plan, episode.key.side, episode.peak
    trail = episode.trail_terms
    no_trail = _NO_PLAN if plan is None else _NO_TRAIL
    profit: Ratio | Unavailable = _NO_MARK if peak is None else peak_profit(side, episode.entry, peak)
    callback: Ratio | Unavailable = no_trail if trail is None else episode.callback or trail.callback
    reason = episode.complaint or no_trail.reason if trail is None else _NO_MARK.reason
    scheduled: Ratio | Unavailable = no_trail if trail is None else _NO_MARK
    trigger: Price | Unavailable = no_trail if trail is None else _NO_MARK
    schedule: tuple[ScheduleRow, ...] = ()
    next_callback, changed = callback, False
    stop_reason = limit = None
    if trail is not None and peak is not None and isinstance(profit, Ratio):
        change = _decide(episode, trail, profit, now, rules)
        next_callback, changed, reason = change.callback, change.changed, change.reason
        base = schedule_base(trail, rules)
        schedule = schedule_rows(base, profit, trail.schedule, rules)
        scheduled = scheduled_callback(base, profit, rules, trail.schedule)
        limit = native_limit(change.callback)
        trigger = Unavailable("the trail has not started")
        if profit >= trail.activation and episode.instrument is not None:
            trigger = trail_stop(episode.instrument, side, peak, change.callback)
            stop_reason = _stop_reason(episode, trigger, change, rules.min_step * change.callback.of(peak))
    stop: Price | Unavailable = Unavailable("no stop is set yet") if episode.stop is None else episode.stop
    absent = _not_resting(episode)
    return TrailRow(
        symbol=episode.key.symbol,
        side=side,
        peak_profit=profit,
        original=no_trail if trail is None else trail.callback,
        callback=callback,
        next_callback=next_callback,
        scheduled=scheduled,
        changed=changed,
        reason=reason,
        schedule=schedule,
        levels=_levels(episode),
        entry=episode.entry,
        mark=_NO_MARK if episode.mark is None else episode.mark,
        peak=_NO_MARK if peak is None else peak,
        stop=stop,
        stop_rests=None if episode.stop is None else absent is None,
        stop_cause=None if episode.stop is None else episode.stop_cause,
        stop_reason=absent or stop_reason,
        trigger=trigger,
        distance=distance_to(side, episode.mark, stop),
        age_ms=now - episode.opened_at,
        since_change_ms=_NEVER if episode.callback_at is None else now - episode.callback_at,
        native_limit=limit,
        as_of=newest(episode),
    )


def _decide(episode: Episode, trail: Trail, profit: Ratio, now: Millis, rules: TrailRules) -> Rearm:
    """Return what the reducer would decide about the callback at `now`."""
    callback = episode.callback or trail.callback
    row = reached_row(profit, trail.schedule)
    if episode.phase is Phase.CLOSING:
        return Rearm(callback, False, f"Callback stays {callback}: the position is being closed", row)
    if profit < trail.activation:
        return asleep(callback, trail.activation, profit, row)
    assert episode.peak is not None  # noqa: S101 - there is a profit
    return follow(
        trail,
        callback,
        episode.peak,
        profit,
        Unavailable("it was not read") if episode.context is None else episode.context.atr,
        position_age_ms=now - episode.opened_at,
        since_change_ms=None if episode.callback_at is None else now - episode.callback_at,
        limits=rules,
    )


def _not_resting(episode: Episode) -> str | None:
    """Return why the working stop does not rest where it belongs, or None where it does or there is none."""
    if episode.stop is None:
        return None
    orders = [order for order in episode.of_role(Role.STOP) if order.trigger == episode.stop]
    if any(order.resting for order in orders):
        return None
    stop = price_words(episode.stop)
    if any(order.state is OrderState.WITHHELD for order in orders):
        return f"Stop {stop} does not rest on the exchange: it was withheld (shadow mode, HALT or the guard)"
    return f"Stop {stop} does not rest on the exchange as far as the journal knows"


def _stop_reason(episode: Episode, trigger: Price, change: Rearm, least: Price) -> str | None:
    """Return why the resting stop is not where the trail would have it, or None where it is.

    `least` is how far it may lie behind before it is moved.
    """
    if episode.stop is None or trigger == episode.stop:
        return None
    behind = episode.key.side.sign * (trigger - episode.stop)
    stop, level = price_words(episode.stop), price_words(trigger)
    if behind < 0:
        return f"Stop stays at {stop}, set by the {episode.stop_cause}: the trail's {level} is looser"
    if change.changed:
        return f"Stop {stop} → {level}: the callback is due to change"
    if behind < least:
        return f"Stop stays at {stop}: the trail's {level} is less than {price_words(least)} better, not worth an order"
    return f"Stop {stop} → {level}: due with the next mark"


def _levels(episode: Episode) -> tuple[PartialLevel, ...] | Unavailable:
    """Return the partial levels on the way to the plan's last take-profit, at the profit of the newest mark."""
    if episode.plan is None:
        return _NO_PLAN
    if not episode.plan.legs:
        return Unavailable("the plan has no take-profit")
    if episode.mark is None:
        return _NO_MARK
    side = episode.key.side
    profit = peak_profit(side, episode.entry, episode.mark)
    return partial_levels(side, episode.entry, episode.plan.legs[-1].trigger, profit)
