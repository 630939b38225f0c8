"""What a watch has measured of the policy in use, from the story its journal tells.

Decides which notes are evidence: those since the policy was first told to be in use after its promotion, of positions
it speaks for. A shadow changes no result, so only its readings and what it would ask first count. What ends a position
from outside, asked for by nobody here, says nothing of what a policy does with it. `watch` gathers note by note,
`retrain` reads them back; both come to the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.policy_pointer import Choice, Stage
from tpctl.exits.model import Note, NoteKind, PositionKey
from tpctl.exits.on_request import CLOSED_BY_REQUEST
from tpctl.exits.units import Millis
from tpctl.market.policy.advice import in_share
from tpctl.market.policy.drift import Evidence
from tpctl.market.policy.model import Action

KINDS = (NoteKind.POLICY, NoteKind.CLOSED, NoteKind.TP_HIT)
READING = "reading_"
# The chance of its next target, foretold where a position is met; the name of what is asked of one.
CHANCE, ACTION = "hit_chance", "action"
_OUTSIDE = frozenset({CLOSED_BY_REQUEST, "another order"})


@dataclass(slots=True)
class _Met:
    """An open position the policy has met: what was foretold of its next target, and what was asked of it first."""

    key: PositionKey
    at: Millis
    chance: float | None
    asked: Action = Action.HOLD


class EvidenceBook:
    """The evidence on one choice, which grows with each note; targets hit after `longest_ms` were not foretold."""

    def __init__(self, choice: Choice, symbols: frozenset[str], longest_ms: Millis | None = None) -> None:
        self.evidence = Evidence()
        self.met: set[str] = set()
        self._choice = choice
        self._symbols = symbols
        self._since: int | None = None
        self._longest_ms = longest_ms
        self._open: dict[str, _Met] = {}

    def see(self, notes: Iterable[Note]) -> bool:
        """Take notes in, oldest first; return whether they told anything."""
        return sum(map(self._see, notes)) > 0

    def _see(self, note: Note) -> bool:
        if note.kind is NoteKind.POLICY:
            return self._see_policy(note)
        if self._since is None or note.key is None or note.key.symbol not in self._symbols:
            return False
        ended = note.kind is NoteKind.CLOSED and self._see_end(note)
        if self._choice.stage is Stage.SHADOW:
            return ended
        if note.kind is NoteKind.TP_HIT:
            slip = slippage_of(note)
            self.evidence.slips += [] if slip is None else [slip]
            return self._see_hit(note) or slip is not None
        return (note.kind is NoteKind.CLOSED and self._see_result(note)) or ended

    def _see_policy(self, note: Note) -> bool:
        if (note.data.get("policy"), note.data.get("promoted_at")) != (self._choice.hash, self._choice.at):
            return False
        if note.key is None:
            self._since = note.at if self._since is None else self._since
            return False
        life, asked = note.data.get("generation"), note.data.get(ACTION)
        if isinstance(life, str) and isinstance(asked, str):
            met = self._open.get(life)
            if met is not None and met.asked is Action.HOLD and asked in Action.__members__:
                met.asked = Action[asked]
            return False
        readings = {
            name.removeprefix(READING): float(value)
            for name, value in note.data.items()
            if name.startswith(READING) and isinstance(value, Decimal)
        }
        if not isinstance(life, str) or not readings or life in self.met:
            return False
        chance = note.data.get(CHANCE)
        self.met.add(life)
        self._open[life] = _Met(note.key, note.at, float(chance) if isinstance(chance, Decimal) else None)
        for name, value in readings.items():
            self.evidence.readings.setdefault(name, []).append(value)
        return True

    def _see_hit(self, note: Note) -> bool:
        """Take in whether the target that was foretold came in time."""
        waiting = [one for one in self._open.values() if one.key == note.key and one.chance is not None]
        for met in waiting:
            assert met.chance is not None  # noqa: S101 - as they were chosen
            self.evidence.hits.append((met.chance, self._in_time(met, note.at)))
            met.chance = None
        return bool(waiting)

    def _in_time(self, met: _Met, at: Millis) -> bool:
        return self._longest_ms is None or at - met.at <= self._longest_ms

    def _see_end(self, note: Note) -> bool:
        """Take in what was asked of a position that is closed, and that its target did not come."""
        life = note.data.get("generation")
        met = self._open.pop(life, None) if isinstance(life, str) else None
        if met is None or (met.asked is Action.HOLD and note.reason in _OUTSIDE):
            return False
        self.evidence.actions.append(met.asked)
        if met.chance is not None and self._choice.stage is not Stage.SHADOW:
            self.evidence.hits.append((met.chance, False))
        return True

    def _see_result(self, note: Note) -> bool:
        """Take in the net R of a position that was opened under the policy and that it spoke for."""
        data, choice = note.data, self._choice
        life, opened_at = data.get("generation"), data.get("opened_at")
        if not isinstance(life, str) or not isinstance(opened_at, int) or opened_at < (self._since or 0):
            return False
        result = net_r(note)
        if result is None:
            return False
        mine = choice.stage is not Stage.CANARY or in_share(choice.hash, life, choice.share)
        if mine:
            self.evidence.results.append(result)
        if choice.stage is Stage.CANARY:
            self.evidence.others.append((int(mine), result))
        return True


def net_r(note: Note) -> float | None:
    """Return what a closed position came to, net of fees, over what its first stop risked; None where not known."""
    numbers = [note.data.get(name) for name in ("pnl", "entry", "stop_initial", "quantity")]
    known = [value for value in numbers if isinstance(value, Decimal)]
    if len(known) < len(numbers):
        return None
    pnl, entry, stop, quantity = known
    risked = abs(entry - stop) * quantity
    return float(pnl / risked) if risked > 0 else None


def slippage_of(note: Note) -> float | None:
    """Return how far behind its level an exit was filled, as a fraction of the level; adverse above zero."""
    price, trigger = note.data.get("price"), note.data.get("trigger")
    if note.key is None or not isinstance(price, Decimal) or not isinstance(trigger, Decimal) or trigger <= 0:
        return None
    return float(note.key.side.sign * (trigger - price) / trigger)


def read_evidence(
    journal: JournalReader, choice: Choice, symbols: frozenset[str], longest_ms: Millis | None = None
) -> EvidenceBook:
    """Return the evidence a journal holds on a choice."""
    book = EvidenceBook(choice, symbols, longest_ms)
    book.see(note for _, note in journal.notes(kinds=KINDS))
    return book
