"""What a watch has measured of the policy in use, from the story its journal tells.

Decides which notes are evidence: those since the policy was first told to be in use after its promotion, of positions
it speaks for. A shadow changes no result, so only its readings count. `watch` gathers note by note, `retrain` reads
them back; both come to the same.
"""

from collections.abc import Iterable
from decimal import Decimal

from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.policy_pointer import Choice, Stage
from tpctl.exits.model import Note, NoteKind
from tpctl.market.policy.advice import in_share
from tpctl.market.policy.drift import Evidence

KINDS = (NoteKind.POLICY, NoteKind.CLOSED, NoteKind.TP_HIT)
READING = "reading_"


class EvidenceBook:
    """The evidence on one choice, which grows with each note."""

    def __init__(self, choice: Choice, symbols: frozenset[str]) -> None:
        self.evidence = Evidence()
        self.met: set[str] = set()
        self._choice = choice
        self._symbols = symbols
        self._since: int | None = None

    def see(self, notes: Iterable[Note]) -> bool:
        """Take notes in, oldest first; return whether they told anything."""
        return sum(map(self._see, notes)) > 0

    def _see(self, note: Note) -> bool:
        if note.kind is NoteKind.POLICY:
            return self._see_policy(note)
        if self._since is None or note.key is None or note.key.symbol not in self._symbols:
            return False
        if self._choice.stage is Stage.SHADOW:
            return False
        if note.kind is NoteKind.TP_HIT:
            slip = slippage_of(note)
            self.evidence.slips += [] if slip is None else [slip]
            return slip is not None
        return note.kind is NoteKind.CLOSED and self._see_result(note)

    def _see_policy(self, note: Note) -> bool:
        if (note.data.get("policy"), note.data.get("promoted_at")) != (self._choice.hash, self._choice.at):
            return False
        if note.key is None:
            self._since = note.at if self._since is None else self._since
            return False
        life = note.data.get("generation")
        readings = {
            name.removeprefix(READING): float(value)
            for name, value in note.data.items()
            if name.startswith(READING) and isinstance(value, Decimal)
        }
        if not isinstance(life, str) or not readings or life in self.met:
            return False
        self.met.add(life)
        for name, value in readings.items():
            self.evidence.readings.setdefault(name, []).append(value)
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


def read_evidence(journal: JournalReader, choice: Choice, symbols: frozenset[str]) -> EvidenceBook:
    """Return the evidence a journal holds on a choice."""
    book = EvidenceBook(choice, symbols)
    book.see(note for _, note in journal.notes(kinds=KINDS))
    return book
