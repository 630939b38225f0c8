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
from tpctl.adapters.lives import Untold, life_of, unsettled
from tpctl.adapters.minutes import Minutes
from tpctl.exits.errors import StateFileError, TpctlError
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
    """What a settlement came to."""

    positions: int = 0
    misses: int = 0
    open: list[StaysOpen] = field(default_factory=list)


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
    two pieces of work.
    """

    def __init__(self, path: Path, minutes: Minutes, *, since: Millis = 0, pause: float = 0.0) -> None:
        self._path = path
        self._minutes = minutes
        self._since = since
        self._pause = pause
        self._waiting: list[tuple[Millis, Note]] = []

    def recover(self, now: Millis) -> None:
        """Take up what an earlier run left; raises `StateFileError` where the journal cannot be read."""
        with JournalScan.open(self._path) as scan:
            settled = scan.settled()
            for _, note in scan.notes_from(max(self._since, now - _BACK_MS), (NoteKind.CLOSED,)):
                if note.data.get("generation") not in settled:
                    self.closed(note)

    def closed(self, note: Note) -> None:
        """Hear of a position that has closed."""
        self._waiting.append((note.at + HORIZON_MS + 2 * MINUTE_MS, note))

    def due(self, now: Millis) -> bool:
        """Whether a position can be settled now."""
        return any(at <= now for at, _ in self._waiting)

    async def settle(self, now: Millis, rules: ExitRules, commit: Callable[[Settlement], object]) -> int:
        """Settle what is due and return how many positions were; what cannot be read is tried again later."""
        done = 0
        with JournalScan.open(self._path) as scan:
            for at, note in [one for one in self._waiting if one[0] <= now]:
                found = None if note.key is None else await self._settled(scan, note.key, note, rules)
                if isinstance(found, Settlement):
                    commit(found)
                    done += 1
                self._waiting.remove((at, note))
                if isinstance(found, StaysOpen) and now - note.at < _GIVE_UP_MS:
                    self._waiting.append((now + _AGAIN_MS, note))
        return done

    async def _settled(
        self, scan: JournalScan, key: PositionKey, note: Note, rules: ExitRules
    ) -> Settlement | StaysOpen | None:
        life = life_of(scan, key, note)
        if isinstance(life, Untold):
            return None
        return await settle_life(life, self._minutes, rules, self._breathe)

    async def _breathe(self) -> None:
        await asyncio.sleep(self._pause)
