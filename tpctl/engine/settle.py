"""Settles what a closed position left open: what came after its exits, and what other exits had given.

Decides when that is possible (the path is known minute by minute for four hours after the exit) and keeps it apart from
everything that guards: it runs in small pieces beside the loop, sends nothing, and what it cannot know stays open with
the reason. Each position and each miss is made durable by itself and once, so a settlement that was interrupted goes on
where it stopped.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.journal_reader import Hindsight
from tpctl.adapters.journal_scan import JournalScan
from tpctl.adapters.lives import Untold, closing_of, life_of, uncosted, unsettled
from tpctl.adapters.minutes import Minutes
from tpctl.engine.costs import BOOKED_MS, CostReader
from tpctl.exits.costs import Closing
from tpctl.exits.errors import LockedError, StateFileError, TpctlError
from tpctl.exits.hindsight import MINUTE_MS, Bar, Life, missing_minutes, settle
from tpctl.exits.model import Attempt, Note, NoteKind, Outcome, PositionKey
from tpctl.exits.rules import ExitRules
from tpctl.exits.scoring import HORIZON_MS, Aftermath, Verdict, judge_bar, watch_after
from tpctl.exits.settlement import Settlement
from tpctl.exits.units import ZERO, Millis

# A position whose path could not be read is tried again after this, and for this long.
_AGAIN_MS = 600_000
_GIVE_UP_MS = 3 * 86_400_000
# What was closed in an earlier run is looked for this far back; older ones are for `metrics --settle`.
_BACK_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class StaysOpen:
    """What could not be settled, and why; `due` says that it could be, were its candles there."""

    key: PositionKey
    closed_at: Millis
    reason: str
    due: bool


@dataclass(slots=True)
class Report:
    """What a settlement came to. `no_costs` is why no costs were read, None where they were asked for."""

    positions: int = 0
    misses: int = 0
    open: list[StaysOpen] = field(default_factory=list)
    costs: int = 0
    costs_open: list[StaysOpen] = field(default_factory=list)
    no_costs: str | None = None


async def settle_life(
    life: Life, minutes: Minutes, rules: ExitRules, breathe: Callable[[], Awaitable[None]]
) -> Settlement | StaysOpen:
    """Return what is known of a closed position in hindsight, or why it stays open."""
    try:
        bars = await minutes.minutes(life.key.symbol, life.path_from, life.path_until)
    except StateFileError:
        raise
    except TpctlError as error:
        return StaysOpen(life.key, life.closed_at, error.message, due=True)
    gap = missing_minutes(bars, life.path_from, life.path_until)
    if gap is not None:
        return StaysOpen(life.key, life.closed_at, gap.reason, due=True)
    for found in settle(life, bars, rules):
        if found is not None:
            return found
        await breathe()
    raise AssertionError("a settlement ends with its result")


async def settle_all(
    journal: Journal, minutes: Minutes, rules: ExitRules, now: Millis, breathe: Callable[[], Awaitable[None]]
) -> Report:
    """Settle every closed position and every miss on record; `now` is when the path known so far ends."""
    report = Report()
    with JournalScan.open(journal.path) as scan:
        lives = list(unsettled(scan))
    for life in lives:
        if isinstance(life, Untold):
            report.open.append(StaysOpen(life.key, life.closed_at, life.reason, due=False))
            continue
        if life.path_until > now:
            report.open.append(_too_soon(life.key, life.closed_at))
            continue
        found = await settle_life(life, minutes, rules, breathe)
        if isinstance(found, StaysOpen):
            report.open.append(found)
            continue
        journal.commit(Entry(at=life.path_until, settlements=(found,)))
        report.positions += 1
    for attempt, aftermath in _unjudged(journal):
        judged = await _judge(attempt, aftermath, minutes, now)
        if isinstance(judged, StaysOpen):
            report.open.append(judged)
            continue
        verdict, at = judged
        journal.commit(Entry(at=at, hindsights=(Hindsight(attempt.id, verdict),)))
        report.misses += 1
    return report


async def read_all_costs(journal: Journal, reader: CostReader, now: Millis, report: Report) -> None:
    """Read what every closed position on record cost, each once, and add to the report what came of it."""
    with JournalScan.open(journal.path) as scan:
        closings = list(uncosted(scan))
    for closing in closings:
        if closing.closed_at + BOOKED_MS > now:
            report.costs_open.append(
                StaysOpen(closing.key, closing.closed_at, "it closed too short a time ago", due=False)
            )
            continue
        try:
            found = await reader.costs(closing)
        except StateFileError:
            raise
        except TpctlError as error:
            report.costs_open.append(StaysOpen(closing.key, closing.closed_at, error.message, due=True))
            continue
        journal.commit(Entry(at=now, costs=(found,)))
        report.costs += 1


def _too_soon(key: PositionKey, closed_at: Millis) -> StaysOpen:
    return StaysOpen(key, closed_at, f"{HORIZON_MS // 60_000} minutes are not over yet", due=False)


def _unjudged(journal: Journal) -> Iterator[tuple[Attempt, Aftermath | Verdict | None]]:
    """Yield the misses nobody has judged: as they are watched, or from the stop an outcome from elsewhere came with."""
    watched = {aftermath.attempt_id: aftermath for aftermath in journal.aftermaths()}
    for attempt in journal.attempts():
        if attempt.outcome is not Outcome.MISS or attempt.premature is not None:
            continue
        known = watched.get(attempt.id)
        if known is None and attempt.stop_initial is not None:
            yield attempt, watch_after(attempt, attempt.stop_initial)
        else:
            yield attempt, known


async def _judge(
    attempt: Attempt, aftermath: Aftermath | Verdict | None, minutes: Minutes, now: Millis
) -> tuple[Verdict, Millis] | StaysOpen:
    """Return the verdict on a miss and when it was clear, or why there is none."""
    key = PositionKey(attempt.symbol, attempt.position_side)
    if aftermath is None:
        return StaysOpen(key, attempt.exit_time, "the stop it had is not on record", due=False)
    if isinstance(aftermath, Verdict):
        return aftermath, attempt.exit_time
    since = attempt.exit_time - attempt.exit_time % MINUTE_MS + MINUTE_MS
    until = aftermath.until - aftermath.until % MINUTE_MS + MINUTE_MS
    try:
        bars = await minutes.minutes(attempt.symbol, since, min(until, now))
    except StateFileError:
        raise
    except TpctlError as error:
        return StaysOpen(key, attempt.exit_time, error.message, due=True)
    judged = _walk(aftermath, bars, since)
    if judged is not None:
        return judged
    gap = None if until > now else missing_minutes(bars, since, until)
    if gap is not None:
        return StaysOpen(key, attempt.exit_time, gap.reason, due=True)
    return _too_soon(key, attempt.exit_time) if until > now else (Verdict(False, ZERO), until)


def _walk(aftermath: Aftermath, bars: Sequence[Bar], since: Millis) -> tuple[Verdict, Millis] | None:
    """Return the verdict the candles give and when it was clear, None where they end or have a gap before."""
    for number, bar in enumerate(bars):
        if bar.at != since + number * MINUTE_MS:
            return None
        judged = judge_bar(aftermath, bar.at, bar.low, bar.high, lasting=MINUTE_MS)
        if isinstance(judged, Verdict):
            return judged, bar.at + MINUTE_MS
    return None


class Settler:
    """Settles positions of a running watch when their time has come. Hearing of a close costs the loop nothing.

    `since` is when its world began: what closed before is another market's. `pause` is how long it steps aside between
    two pieces of work. With `costs` it also reads what each position cost, soon after its close.
    """

    def __init__(
        self,
        path: Path,
        minutes: Minutes,
        *,
        since: Millis = 0,
        pause: float = 0.0,
        costs: CostReader | None = None,
    ) -> None:
        self._path = path
        self._minutes = minutes
        self._since = since
        self._pause = pause
        self._costs = costs
        self._waiting: list[tuple[Millis, Note]] = []
        self._uncosted: list[tuple[Millis, Closing]] = []

    def recover(self, now: Millis) -> None:
        """Take up what an earlier run left; raises `StateFileError` where the journal cannot be read."""
        with JournalScan.open(self._path) as scan:
            settled, costed = scan.settled(), scan.costed()
            for _, note in scan.notes_from(max(self._since, now - _BACK_MS), (NoteKind.CLOSED,)):
                generation = note.data.get("generation")
                if generation not in settled:
                    self._await_path(note)
                if generation not in costed:
                    self._await_costs(note)

    def closed(self, note: Note) -> None:
        """Hear of a position that has closed."""
        self._await_path(note)
        self._await_costs(note)

    def _await_path(self, note: Note) -> None:
        self._waiting.append((note.at + HORIZON_MS + 2 * MINUTE_MS, note))

    def _await_costs(self, note: Note) -> None:
        closing = closing_of(note)
        if closing is not None and self._costs is not None:
            self._uncosted.append((note.at + BOOKED_MS, closing))

    def due(self, now: Millis) -> bool:
        """Whether a position can be settled now, or its costs be read."""
        return any(at <= now for at, _ in self._waiting) or any(at <= now for at, _ in self._uncosted)

    async def settle(self, now: Millis, rules: ExitRules, commit: Callable[[Entry], object]) -> int:
        """Settle what is due and return how many positions were; what cannot be read is tried again later."""
        if self._costs is not None:
            await self._read_costs(self._costs, now, commit)
        done = 0
        with JournalScan.open(self._path) as scan:
            for at, note in [one for one in self._waiting if one[0] <= now]:
                found = None if note.key is None else await self._settled(scan, note.key, note, rules)
                if isinstance(found, Settlement):
                    commit(Entry(at=now, settlements=(found,)))
                    done += 1
                self._waiting.remove((at, note))
                if isinstance(found, StaysOpen) and now - note.at < _GIVE_UP_MS:
                    self._waiting.append((now + _AGAIN_MS, note))
        return done

    async def _read_costs(self, reader: CostReader, now: Millis, commit: Callable[[Entry], object]) -> None:
        for at, closing in [one for one in self._uncosted if one[0] <= now]:
            again: tuple[tuple[Millis, Closing], ...] = ()
            try:
                commit(Entry(at=now, costs=(await reader.costs(closing),)))
            except (StateFileError, LockedError):
                raise
            except TpctlError:
                if now - closing.closed_at < _GIVE_UP_MS:
                    again = ((now + _AGAIN_MS, closing),)
            self._uncosted.remove((at, closing))
            self._uncosted += again
            await self._breathe()

    async def _settled(
        self, scan: JournalScan, key: PositionKey, note: Note, rules: ExitRules
    ) -> Settlement | StaysOpen | None:
        life = life_of(scan, key, note)
        if isinstance(life, Untold):
            return None
        return await settle_life(life, self._minutes, rules, self._breathe)

    async def _breathe(self) -> None:
        await asyncio.sleep(self._pause)
