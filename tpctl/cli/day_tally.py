"""The day so far in counts: all that a view remembers of positions that are over.

What a day holds does not grow with the positions it closed, and of the days only the newest two are kept: events
around midnight may come in either order.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from tpctl.exits.model import Attempt, Note, NoteKind, Outcome
from tpctl.exits.units import ZERO, Millis, Money

_DAY = 86_400_000
_KEPT = 2
# Neighbours in the journal may step back a little; by this much only a simulated account that began anew does.
_BEGAN_ANEW = 3_600_000


@dataclass(frozen=True, slots=True)
class Day:
    """One day (UTC, event time): closed positions, how many won, what they came to, and finished take-profits.

    `unprotected_ms` is the time the closed positions spent without a stop.
    """

    closed: int = 0
    won: int = 0
    realised: Money = ZERO
    unprotected_ms: Millis = 0
    hits: int = 0
    attempts: int = 0


class DayTally:
    """Counts notes and attempts as they come, each once."""

    def __init__(self) -> None:
        self._days: dict[int, Day] = {}
        self._newest: Millis = 0

    def __len__(self) -> int:
        return len(self._days)

    def note(self, note: Note) -> bool:
        """Count what a note closes; return whether it begins a new account, before which nothing counts."""
        anew = note.kind is NoteKind.STARTED and note.at < self._newest - _BEGAN_ANEW
        if anew:
            self._days.clear()
            self._newest = note.at
        self._newest = max(self._newest, note.at)
        pnl, bare = note.data.get("pnl"), note.data.get("naked_ms")
        if note.kind is NoteKind.CLOSED and isinstance(pnl, Decimal):
            day = self._of(note.at)
            self._put(
                note.at,
                replace(
                    day,
                    closed=day.closed + 1,
                    won=day.won + (pnl > 0),
                    realised=day.realised + pnl,
                    unprotected_ms=day.unprotected_ms + (bare if isinstance(bare, int) else 0),
                ),
            )
        return anew

    def attempt(self, attempt: Attempt) -> None:
        """Count a finished take-profit."""
        day = self._of(attempt.exit_time)
        hit = attempt.outcome is Outcome.HIT
        self._put(attempt.exit_time, replace(day, hits=day.hits + hit, attempts=day.attempts + 1))

    def day(self, now: Millis) -> Day:
        """Return the day of a time; nothing has happened yet where all that is known is of later."""
        return Day() if self._newest > now + _BEGAN_ANEW else self._of(now)

    def _of(self, at: Millis) -> Day:
        return self._days.get(at // _DAY, Day())

    def _put(self, at: Millis, day: Day) -> None:
        self._days[at // _DAY] = day
        while len(self._days) > _KEPT:
            del self._days[min(self._days)]
