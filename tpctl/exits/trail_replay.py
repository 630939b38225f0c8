"""Replays one position's trail over a price path: every re-arm, every move of the stop, and the exit.

It asks the functions the reducer asks (`follow`, `trail_stop`, `ratchet_stop`) in the reducer's order, so that a replay
shows what `watch` would have done at the same prices; a test holds the two equal. What take-profits close on the way is
not part of it: it follows what stays in the position. It looks at no price ahead of the one it decides on.

Invariants: I4 (the stop only tightens), exit-rules 7 (equality triggers, the stop is judged before targets).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tpctl.exits.instrument import Instrument, Unavailable
from tpctl.exits.model import PositionKey, Trail
from tpctl.exits.rules import ExecutionRules
from tpctl.exits.stops import Rungs, ratchet_stop
from tpctl.exits.trail_styles import StyleTerms, follow
from tpctl.exits.trailing import Rearm, peak_profit, trail_stop
from tpctl.exits.units import Millis, Price, Ratio

_NO_ATR = Unavailable("no average true range was given")


class Step(NamedTuple):
    """One price of the path; `atr` is the newest reading known at that time."""

    at: Millis
    price: Price
    atr: Price | Unavailable = _NO_ATR


class MoveKind(StrEnum):
    """What happened to a trail."""

    ACTIVATED = "activated"
    REARMED = "rearmed"
    FOLLOWED = "followed"
    TARGET = "target"
    RATCHETED = "ratcheted"
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class Move:
    """One thing that happened: at which price, with which peak profit, and the stop before and after.

    `callback` is the one in force from here on, None where no trail acts; `target` numbers the target concerned.
    """

    at: Millis
    kind: MoveKind
    price: Price
    peak: Price
    profit: Ratio
    before: Price
    stop: Price
    callback: Ratio | None
    target: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Setup:
    """The position to replay, from its opening on, and the stop that rests before the trail acts."""

    key: PositionKey
    instrument: Instrument
    entry: Price
    opened_at: Millis
    stop: Price
    terms: StyleTerms
    cause: str = "stop"


@dataclass(frozen=True, slots=True)
class Replay:
    """How it went. `exit` is None where the path ended first; `last` is the last price that was looked at.

    `decision` is what the trail last decided, None before it acts.
    """

    setup: Setup
    moves: tuple[Move, ...]
    peak: Price
    stop: Price
    cause: str
    callback: Ratio | None
    callback_at: Millis | None
    targets_done: int
    decision: Rearm | None
    last: Step

    @property
    def exit(self) -> Move | None:
        """The move that closed the position."""
        return self.moves[-1] if self.moves and self.moves[-1].kind is MoveKind.EXIT else None

    @property
    def profit(self) -> Ratio:
        """The price move in favour from entry to the exit, or to the last price."""
        return peak_profit(self.setup.key.side, self.setup.entry, self.last.price)


def replay_trail(setup: Setup, path: Iterable[Step]) -> Replay:
    """Follow the path until the stop is hit or the path ends; raises `ValueError` for an empty path.

    The exit is at the first price at or beyond the stop, as a market that jumped there would fill it.
    """
    run = _Run(setup, setup.entry, setup.stop, setup.cause)
    last: Step | None = None
    for step in path:
        last = step
        if run.see(step):
            break
    if last is None:
        raise ValueError("the path has no prices")
    return Replay(
        setup=setup,
        moves=tuple(run.moves),
        peak=run.peak,
        stop=run.stop,
        cause=run.cause,
        callback=run.callback,
        callback_at=run.callback_at,
        targets_done=run.done,
        decision=run.decision,
        last=last,
    )


@dataclass(slots=True)
class _Run:
    """The state of one replay."""

    setup: Setup
    peak: Price
    stop: Price
    cause: str
    callback: Ratio | None = None
    callback_at: Millis | None = None
    done: int = 0
    active: bool = False
    waiting: bool = False
    atr: Price | Unavailable = _NO_ATR
    decision: Rearm | None = None
    moves: list[Move] = field(default_factory=list)

    def see(self, step: Step) -> bool:
        """Take in one price; return whether the position is closed."""
        sign = self.setup.key.side.sign
        price = step.price
        if sign * (price - self.stop) <= 0:
            self._leave(step, f"the price reached the {self.cause} at {self.stop}")
            return True
        better = sign * (price - self.peak) > 0
        if better:
            self.peak = price
        rungs, trail = self.setup.terms.rungs, self.setup.terms.trail
        if better and rungs is not None and self.done and self._climb(step, rungs, self.done):
            return True
        if trail is not None and (better or self.waiting or step.atr is not self.atr):
            self.atr = step.atr
            if self._follow(step, trail):
                return True
        # A fill is heard of after the mark that caused it.
        return better and rungs is not None and self._reach(step, rungs)

    def _reach(self, step: Step, rungs: Rungs) -> bool:
        """Count the targets the price has reached, and climb past them."""
        before, sign = self.done, self.setup.key.side.sign
        while self.done < len(rungs.legs) and sign * (step.price - rungs.legs[self.done].trigger) >= 0:
            self.done += 1
            self._tell(step, MoveKind.TARGET, self.stop, f"target {self.done} reached", self.done)
        return self.done > before and self._climb(step, rungs, before)

    def _climb(self, step: Step, rungs: Rungs, before: int) -> bool:
        """Move the stop as the ratchet says, after `before` earlier targets; as the reducer's `_ratchet`."""
        setup, execution, limits = self.setup, self.setup.terms.execution, self.setup.terms.limits
        follows = execution.ratchet == "percent_below_highest"
        if self.done == before and not follows:
            return False
        level = ratchet_stop(rungs, self.done, setup.instrument, execution, peak=self.peak)
        if level is None:
            return False
        if follows:
            least = max(setup.instrument.tick, limits.min_step * execution.ratchet_percent.of(level))
            if setup.key.side.sign * (level - self.stop) < least:
                return False
        where = _rung_words(execution, self.done)
        cause = "breakeven" if where == "breakeven" else "ratchet"
        if self.done == before:
            return self._move(step, level, cause, MoveKind.FOLLOWED, f"stop to {where}, {self.peak}")
        return self._move(step, level, cause, MoveKind.RATCHETED, f"target {self.done} reached: stop to {where}")

    def _follow(self, step: Step, trail: Trail) -> bool:
        """Re-arm the callback and move the stop behind the peak; as the reducer's `_follow_trail`."""
        setup, limits = self.setup, self.setup.terms.limits
        profit = peak_profit(setup.key.side, setup.entry, self.peak)
        if profit < trail.activation:
            return False
        since = None if self.callback_at is None else step.at - self.callback_at
        change = self.decision = self._rearm(trail, profit, step.at - setup.opened_at, since)
        first = not self.active
        self.active = True
        if self.callback is None or change.changed:
            self.callback = change.callback
        if change.changed:
            self.callback_at = step.at
        # Whether another callback only waits for time to pass, so that every price has to be asked about it.
        self.waiting = not change.changed and self._rearm(trail, profit, limits.min_age_ms, None).changed
        level = trail_stop(setup.instrument, setup.key.side, self.peak, self.callback)
        gained = setup.key.side.sign * (level - self.stop)
        least = max(setup.instrument.tick, limits.min_step * self.callback.of(self.peak))
        if first:
            kind, reason = MoveKind.ACTIVATED, f"the trail starts at a profit of {trail.activation}: {change.reason}"
        elif change.changed:
            kind, reason = MoveKind.REARMED, change.reason
        else:
            kind, reason = MoveKind.FOLLOWED, f"trail {self.callback.show()} behind the best {self.peak}"
        if gained >= least or (change.changed and gained > 0):
            return self._move(step, level, "trail", kind, reason)
        if kind is not MoveKind.FOLLOWED:
            self._tell(step, kind, self.stop, reason)
        return False

    def _rearm(self, trail: Trail, profit: Ratio, age: Millis, since: Millis | None) -> Rearm:
        return follow(
            trail,
            trail.callback if self.callback is None else self.callback,
            self.peak,
            profit,
            self.atr,
            position_age_ms=age,
            since_change_ms=since,
            limits=self.setup.terms.limits,
        )

    def _move(self, step: Step, level: Price, cause: str, kind: MoveKind, reason: str) -> bool:
        """Tighten the stop, never loosen it (I4); close where the market is beyond the new level already."""
        sign = self.setup.key.side.sign
        if sign * (level - self.stop) <= 0:
            return False
        before, self.stop, self.cause = self.stop, level, cause
        self._tell(step, kind, before, reason, self.done if kind is MoveKind.RATCHETED else None)
        if sign * (step.price - level) > 0:
            return False
        self._leave(step, f"the {cause} level {level} is already passed")
        return True

    def _leave(self, step: Step, reason: str) -> None:
        self._tell(step, MoveKind.EXIT, self.stop, reason)

    def _tell(self, step: Step, kind: MoveKind, before: Price, reason: str, target: int | None = None) -> None:
        profit = peak_profit(self.setup.key.side, self.setup.entry, self.peak)
        callback = self.callback if self.active else None
        move = Move(step.at, kind, step.price, self.peak, profit, before, self.stop, callback, target, reason)
        self.moves.append(move)


def _rung_words(execution: ExecutionRules, done: int) -> str:
    match execution.ratchet:
        case "percent_below_trigger":
            return f"{execution.ratchet_percent} behind it"
        case "percent_below_highest":
            return f"{execution.ratchet_percent} behind the best price"
        case "breakeven":
            behind = 0
        case "moving_target":
            behind = done - execution.ratchet_targets_back
        case _:
            behind = done - 1
    return "breakeven" if behind == 0 else f"target {behind}"
