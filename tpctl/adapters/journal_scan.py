"""Reading a journal in pieces, from where the last reading ended: what `metrics` needs to stay fast on a long record.

Decides only how rows are found: by their number, a bounded handful at a time, so that memory does not grow with the
journal and no snapshot is held open while they are worked on. It never writes, and never delays the writer. Every row
is checked against its checksum; one that fails is damage (`StateFileError`), never skipped.

It stands beside `JournalReader`, which knows every event and intent and takes longer to load than an answer may.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Self, TypeVar

from tpctl.adapters.codec import CodecError, decode
from tpctl.adapters.journal_schema import SINCE, checksum, damaged, guarded, open_reader, read_meta, schema_of
from tpctl.exits.costs import Costs
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.mid import MidRead
from tpctl.exits.model import Attempt, Note, NoteKind, PositionKey
from tpctl.exits.scoring import Verdict
from tpctl.exits.settlement import Settlement
from tpctl.exits.units import Millis, Price

CHUNK = 2000
# The schema of the journal that brought them.
_MARKED = ("MarkPrice", "Snapshot")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hindsight:
    """The verdict on a missed attempt, as it is stored."""

    attempt_id: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """A take-profit that is still waited for: it has no outcome, which is not the same as a miss.

    `arm` is `experiment/arm`, empty where its policy was not drawn.
    """

    strategy_id: str
    symbol: str
    side: PositionSide
    leg: int
    since: Millis
    arm: str


@dataclass(frozen=True, slots=True)
class RegimeRead:
    """The market regime a position was planned under; None where the reading was unavailable."""

    seq: int
    at: Millis
    key: PositionKey
    regime: str | None


class JournalScan:
    """A journal opened for reading in pieces. Build it with `JournalScan.open`."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self.path = path
        self._db = connection

    @classmethod
    def open(cls, path: Path, fingerprint: str | None = None) -> Self:
        """Open the journal at `path` read-only; raises `StateFileError` as `JournalReader.read_only`."""
        return cls(path, open_reader(path, fingerprint))

    def close(self) -> None:
        """Close the file; doing so twice is harmless."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def last_rows(self) -> tuple[int, int, int, int]:
        """Return the numbers of the newest attempt, hindsight, note and event, 0 where there is none."""
        with guarded(self.path):
            tables = ("attempts", "hindsights", "notes", "events")
            attempts, hindsights, notes, events = (
                self._db.execute(f"SELECT coalesce(max(rowid), 0) FROM {table}").fetchone()[0]  # noqa: S608 - own names
                for table in tables
            )
        return attempts, hindsights, notes, events

    def count_attempts(self, through: int) -> int:
        """Return how many attempts have a number up to `through`; not what they are, so nothing is decoded."""
        with guarded(self.path):
            newest, count = self._db.execute("SELECT coalesce(max(rowid), 0), count(*) FROM attempts").fetchone()
            if newest <= through:
                return int(count)
            return int(self._db.execute("SELECT count(*) FROM attempts WHERE rowid <= ?", (through,)).fetchone()[0])

    def attempts_after(self, row: int, limit: int = CHUNK) -> list[tuple[int, Attempt]]:
        """Return attempts with numbers above `row`, as they arrived, without what hindsight says of them."""
        rows = self._fetch(
            "SELECT rowid, id, at, payload, crc FROM attempts WHERE rowid > ? ORDER BY rowid LIMIT ?", row, limit
        )
        return [
            (number, self._decode("attempts", payload, Attempt))
            for number, (_, _, payload) in self._checked("attempts", rows)
        ]

    def attempt(self, row: int) -> Attempt | None:
        """Return one attempt by its number, without hindsight."""
        found = self.attempts_after(row - 1, 1)
        return found[0][1] if found and found[0][0] == row else None

    def known(self, ids: list[str]) -> dict[str, Attempt]:
        """Return those of the attempts named that are on record, as they were recorded."""
        found: dict[str, Attempt] = {}
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            marks = ",".join("?" * len(part))
            rows = self._fetch(f"SELECT rowid, id, at, payload, crc FROM attempts WHERE id IN ({marks})", *part)  # noqa: S608 - question marks only
            for _, (name, _, payload) in self._checked("attempts", rows):
                found[name] = self._decode("attempts", payload, Attempt)
        return found

    def hindsights_after(self, row: int, limit: int = CHUNK) -> list[tuple[int, int, str, Verdict]]:
        """Return verdicts with numbers above `row`: their number, that of their attempt, its id, the verdict."""
        rows = self._fetch(
            "SELECT h.rowid, a.rowid, h.attempt_id, h.at, h.payload, h.crc FROM hindsights h"
            " JOIN attempts a ON a.id = h.attempt_id WHERE h.rowid > ? ORDER BY h.rowid LIMIT ?",
            *(row, limit),
        )
        result = []
        for number, attempt, name, at, payload, crc in rows:
            ((_, (_, _, text)),) = self._checked("hindsights", [(number, name, at, payload, crc)])
            result.append((number, attempt, name, self._decode("hindsights", text, Hindsight).verdict))
        return result

    def notes_after(self, seq: int, kinds: tuple[NoteKind, ...], limit: int = CHUNK) -> list[tuple[int, Note]]:
        """Return notes of some kinds with numbers above `seq`, in order."""
        marks = ",".join("?" * len(kinds))
        rows = self._fetch(
            f"SELECT seq, at, kind, symbol, side, payload, crc FROM notes"  # noqa: S608 - question marks only
            f" WHERE seq > ? AND kind IN ({marks}) ORDER BY seq LIMIT ?",
            *(seq, *(kind.value for kind in kinds), limit),
        )
        return [
            (number, self._decode("notes", row[4], Note)) for number, row in self._checked("notes", rows, numbered=True)
        ]

    def notes_from(self, at: Millis, kinds: tuple[NoteKind, ...]) -> Iterator[tuple[int, Note]]:
        """Yield the notes of some kinds told at a time or later, with their numbers."""
        seq = self._first("notes", at) - 1
        while found := self.notes_after(seq, kinds):
            yield from ((number, note) for number, note in found if note.at >= at)
            seq = found[-1][0]

    def events_from(self, at: Millis, kind: str) -> Iterator[tuple[Millis, PositionKey, str]]:
        """Yield the events of one kind from a time on: their time, the position they are of, and their payload."""
        seq = self._first("events", at) - 1
        while rows := self._fetch(
            "SELECT seq, at, kind, symbol, side, payload, crc FROM events WHERE seq > ? AND kind = ?"
            " ORDER BY seq LIMIT 50",
            *(seq, kind),
        ):
            for number, (when, _, symbol, side, payload) in self._checked("events", rows, numbered=True):
                seq = number
                if when >= at:
                    yield when, self._key(symbol, side), payload

    def settled(self) -> frozenset[str]:
        """Return the generations of the positions that were settled."""
        return self._generations("settlements")

    def settlements_after(self, row: int, limit: int = CHUNK) -> list[tuple[int, Settlement]]:
        """Return settlements with numbers above `row`, in order."""
        return [
            (number, self._decode("settlements", payload, Settlement))
            for number, payload in self._named("settlements", row, limit)
        ]

    def mids_after(self, row: int, limit: int = CHUNK) -> list[tuple[int, MidRead]]:
        """Return the books that were read after executions with numbers above `row`, in order."""
        return [(number, self._decode("mids", payload, MidRead)) for number, payload in self._named("mids", row, limit)]

    def costed(self) -> frozenset[str]:
        """Return the generations of the positions whose costs were read."""
        return self._generations("costs")

    def costs_after(self, row: int, limit: int = CHUNK) -> list[tuple[int, Costs]]:
        """Return what positions cost with numbers above `row`, in order."""
        return [(number, self._decode("costs", payload, Costs)) for number, payload in self._named("costs", row, limit)]

    def _generations(self, table: str) -> frozenset[str]:
        if not self._holds(table):
            return frozenset()
        return frozenset(row[0] for row in self._fetch(f"SELECT generation FROM {table}"))  # noqa: S608 - own names

    def _named(self, table: str, row: int, limit: int) -> list[tuple[int, str]]:
        if not self._holds(table):
            return []
        key = "id" if table == "mids" else "generation"
        rows = self._fetch(
            f"SELECT rowid, {key}, at, payload, crc FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT ?",  # noqa: S608 - own names
            *(row, limit),
        )
        return [(number, payload) for number, (_, _, payload) in self._checked(table, rows)]

    def settlement(self, generation: str) -> Settlement | None:
        """Return what is known of one position in hindsight, None where it was not settled."""
        if not self._holds("settlements"):
            return None
        rows = self._fetch(
            "SELECT rowid, generation, at, payload, crc FROM settlements WHERE generation = ?", generation
        )
        found = [
            self._decode("settlements", payload, Settlement) for _, (*_, payload) in self._checked("settlements", rows)
        ]
        return found[0] if found else None

    def _holds(self, table: str) -> bool:
        with guarded(self.path):
            return schema_of(self._db) >= SINCE[table]

    def mark(self, attempt: int, note: int) -> str:
        """Return the checksums of one attempt and one note: journals that agree in both are copies up to there."""
        found = self._fetch("SELECT crc FROM attempts WHERE rowid = ?", attempt)
        told = self._fetch("SELECT crc FROM notes WHERE seq = ?", note)
        return ":".join(str(rows[0][0]) if rows else "" for rows in (found, told))

    @property
    def identity(self) -> str:
        """Whose journal this is and since when; in sim others may have the same."""
        with guarded(self.path):
            meta = read_meta(self._db, self.path)
        return f"{meta.fingerprint}:{meta.created_at}"

    @property
    def fingerprint(self) -> str:
        """Whose account this is the journal of."""
        return self.identity.partition(":")[0]

    def holds(self, other: "JournalScan") -> bool:
        """Whether the other journal is an earlier copy of this one, or the same."""
        attempt, _, note, _ = other.last_rows()
        return self.identity == other.identity and self.mark(attempt, note) == other.mark(attempt, note)

    def regimes_after(self, seq: int, through: int, limit: int = CHUNK) -> list[RegimeRead]:
        """Return the regimes positions were planned under, from the events numbered above `seq` up to `through`."""
        rows = self._fetch(
            "SELECT seq, at, kind, symbol, side, payload, crc FROM events"
            " WHERE seq > ? AND seq <= ? AND kind = 'ContextRead' ORDER BY seq LIMIT ?",
            *(seq, through, limit),
        )
        result = []
        for number, (at, _, symbol, side, payload) in self._checked("events", rows, numbered=True):
            regime = json.loads(payload).get("context", {}).get("regime")
            key = self._key(symbol, side)
            result.append(RegimeRead(number, at, key, regime if isinstance(regime, str) else None))
        return result

    def open_attempts(self) -> tuple[OpenAttempt, ...] | Unavailable:
        """Return the take-profits of open positions that wait for their target."""
        found: list[OpenAttempt] = []
        rows = self._fetch("SELECT 0, symbol, side, lives, generation, state, at, updated_seq, crc FROM positions")
        for _, (symbol, side, _, _, state, *_) in self._checked("positions", rows):
            if state is None:
                continue
            key = self._key(symbol, side)
            try:
                found += _waiting(key, json.loads(state))
            except (KeyError, TypeError, ValueError):
                return Unavailable(f"the journal's state of {key} is of another version")
        return tuple(found)

    def newest_at(self) -> Millis | None:
        """Return the time of the newest event or note on record: the journal's own present."""
        rows = [
            row
            for table in ("events", "notes")
            for row in self._fetch(f"SELECT at FROM {table} ORDER BY seq DESC LIMIT 1")  # noqa: S608 - own names
        ]
        return max((at for (at,) in rows), default=None)

    def marks_between(self, key: PositionKey, start: Millis, end: Millis) -> list[tuple[Millis, Price]]:
        """Return the mark prices on record for a position between two times, in order.

        A journal keeps no price stream: these are the marks decisions were made on and the ones each read of the
        account brought, about two a minute.
        """
        marks: list[tuple[Millis, Price]] = []
        kinds = ",".join(f"'{kind}'" for kind in _MARKED)
        first = self._first("events", start)
        while True:
            rows = self._fetch(
                f"SELECT seq, at, kind, symbol, side, payload, crc FROM events"  # noqa: S608 - own names
                f" WHERE seq >= ? AND kind IN ({kinds}) ORDER BY seq LIMIT 200",
                first,
            )
            for number, (at, kind, symbol, _, payload) in self._checked("events", rows, numbered=True):
                first = number + 1
                if at > end:
                    return marks
                if at >= start and (kind == "Snapshot" or symbol == key.symbol):
                    marks += ((at, price) for price in self._prices(kind, json.loads(payload), key))
            if len(rows) < 200:
                return marks

    def _prices(self, kind: str, event: dict[str, Any], key: PositionKey) -> Iterator[Price]:
        try:
            if kind == "MarkPrice":
                yield Decimal(event["price"])
                return
            for position in event["positions"]:
                if position["key"] == {"symbol": key.symbol, "side": key.side.value}:
                    yield Decimal(position["mark_price"])
        except (KeyError, TypeError, InvalidOperation) as error:
            raise damaged(self.path, f"is damaged: an event has no readable mark ({error!r})") from error

    def _first(self, table: str, at: Millis) -> int:
        """Return the number of the first event or note at or after a time, by bisection: they are numbered in order."""
        low, high = 1, self.last_rows()[3 if table == "events" else 2] + 1
        while low < high:
            middle = (low + high) // 2
            rows = self._fetch(f"SELECT at FROM {table} WHERE seq >= ? ORDER BY seq LIMIT 1", middle)  # noqa: S608 - own names
            if rows and rows[0][0] < at:
                low = middle + 1
            else:
                high = middle
        # Events carry the exchange's time, which may step back a little between neighbours.
        return max(1, low - 50)

    def _fetch(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with guarded(self.path):
            return self._db.execute(statement, parameters).fetchall()

    def _checked(
        self, table: str, rows: list[tuple[Any, ...]], *, numbered: bool = False
    ) -> Iterator[tuple[int, tuple[Any, ...]]]:
        for number, *values, crc in rows:
            if checksum(table, (number if numbered else 0, *values)) != crc:
                raise damaged(self.path, f"is damaged: a row of {table} does not match its checksum")
            yield number, tuple(values)

    def _decode(self, table: str, payload: str, hint: type[T]) -> T:
        try:
            return decode(payload, hint)
        except CodecError as error:
            raise damaged(self.path, f"is damaged: a row of {table} {error}") from error

    def _key(self, symbol: str, side: str) -> PositionKey:
        try:
            return PositionKey(symbol, PositionSide(side))
        except ValueError as error:
            raise damaged(self.path, f"is damaged: {error}") from error


def _waiting(key: PositionKey, state: dict[str, Any]) -> list[OpenAttempt]:
    """Return the legs of a stored position that wait for their target."""
    if state["phase"] == "flat" or state["plan"] is None:
        return []
    policy, since, arm = state["plan"]["policy"], state["opened_at"], state.get("arm") or ""
    return [
        OpenAttempt(policy, key.symbol, key.side, leg["number"], since, arm)
        for leg in state["legs"]
        if leg["status"] == "waiting" and not leg.get("recorded", False)
    ]
