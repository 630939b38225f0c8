"""Reading the journal: what any command may ask of it, in this process or another, without delaying the writer.

Decides how rows become records again. It never writes; every row is checked against its checksum on the way out, and a
row that fails is damage (`StateFileError`), never skipped.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from tpctl.adapters.codec import CodecError, decode, kinds
from tpctl.adapters.journal_schema import (
    SINCE,
    Meta,
    check_pages,
    checksum,
    damaged,
    guarded,
    open_reader,
    read_meta,
    schema_of,
)
from tpctl.exits.costs import Costs
from tpctl.exits.events import Event
from tpctl.exits.instrument import PositionSide
from tpctl.exits.intents import OrderIntent
from tpctl.exits.mid import MidRead
from tpctl.exits.model import Attempt, Note, NoteKind, PositionKey
from tpctl.exits.requests import Request, RequestAnswer
from tpctl.exits.scoring import Aftermath, Verdict
from tpctl.exits.settlement import Settlement
from tpctl.exits.units import Millis, Money, Price, Quantity

EVENT_KINDS = kinds(Event)
INTENT_KINDS = kinds(OrderIntent)

_SELECT = {
    "events": "SELECT seq, at, kind, symbol, side, payload, crc FROM events ",
    "positions": "SELECT 0, symbol, side, lives, generation, state, at, updated_seq, crc FROM positions ",
    "episodes": "SELECT 0, generation, symbol, side, opened_at, closed_at, payload, crc FROM episodes ",
    "intents": "SELECT seq, client_id, cancel, generation, role, leg, symbol, side, kind, payload, at, event_seq, crc"
    " FROM intents ",
    "notes": "SELECT seq, at, kind, symbol, side, payload, crc FROM notes ",
    "attempts": "SELECT 0, id, at, payload, crc FROM attempts ",
    "aftermaths": "SELECT 0, attempt_id, at, payload, crc FROM aftermaths ",
    "hindsights": "SELECT 0, attempt_id, at, payload, crc FROM hindsights ",
    "settlements": "SELECT 0, generation, at, payload, crc FROM settlements ",
    "costs": "SELECT 0, generation, at, payload, crc FROM costs ",
    "mids": "SELECT 0, id, at, payload, crc FROM mids ",
    "requests": "SELECT seq, id, at, expires_at, source, symbol, side, payload, taken_at, answer, crc FROM requests ",
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PositionRow:
    """What is stored of one position: how many lives it has had, and the reducer's state of the present one.

    `state` is JSON text, whose type is the reducer's business (`codec.decode(row.state, Episode)`); None when the
    position is flat and forgotten, which keeps the count of lives. `at` is when it was stored, set by reading.
    """

    key: PositionKey
    lives: int
    generation: str | None
    state: str | None
    at: Millis = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """One life of one position, for the record: written at adoption and again when it goes flat."""

    generation: str
    key: PositionKey
    opened_at: Millis
    entry: Price
    quantity: Quantity
    closed_at: Millis | None = None
    average_exit: Price | None = None
    realised: Money | None = None
    fees: Money | None = None
    naked_ms: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Hindsight:
    """The verdict on a missed attempt, reached up to hours after the attempt itself (exit-rules 12)."""

    attempt_id: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class FiledRequest:
    """A request another process filed. Times are wall-clock milliseconds; `answer` is None until it was taken.

    `request` is None where another version of tpctl filed what this one does not know.
    """

    seq: int
    id: str
    at: Millis
    expires_at: Millis
    source: str
    key: PositionKey
    request: Request | None
    answer: RequestAnswer | None


@dataclass(frozen=True, slots=True)
class JournalledIntent:
    """An intent as it was made durable before sending; `seq` orders them."""

    seq: int
    at: Millis
    intent: OrderIntent


class JournalReader:
    """A journal opened for reading. Writers are never blocked by it, nor it by them."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection

    @classmethod
    def read_only(cls, path: Path, fingerprint: str | None = None) -> "JournalReader":
        """Open the journal at `path` read-only; `fingerprint` None reads any account's.

        Raises `StateFileError` when it does not exist or is empty, foreign, damaged, newer or another account's.
        """
        return JournalReader(path, open_reader(path, fingerprint))

    def close(self) -> None:
        """Close the file; doing so twice is harmless."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def meta(self) -> Meta:
        """What the journal says of itself."""
        with guarded(self.path):
            return read_meta(self._db, self.path)

    def states(self, since: Millis | None = None) -> dict[PositionKey, PositionRow]:
        """Return the newest state of every position that was ever managed, or of those stored at `since` or later."""
        tail, parameters = ("", ()) if since is None else ("WHERE at >= ?", (since,))
        result = {}
        for symbol, side, lives, generation, state, at, *_ in self._rows("positions", tail, *parameters):
            key = self._key(symbol, side)
            result[key] = PositionRow(key, lives, generation, state, at)
        return result

    def version(self) -> int:
        """Return a number that differs from the last one where another connection has committed since."""
        with guarded(self.path):
            return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def episodes(self, closed_since: Millis | None = None) -> tuple[EpisodeRow, ...]:
        """Return every life of every position, oldest first, or those that went flat at `closed_since` or later."""
        tail, parameters = ("", ()) if closed_since is None else ("WHERE closed_at >= ? ", (closed_since,))
        rows = self._rows("episodes", tail + "ORDER BY opened_at, generation", *parameters)
        return tuple(self._decode("episodes", row[5], EpisodeRow) for row in rows)

    def intents(self, since_seq: int = 0) -> Iterator[JournalledIntent]:
        """Yield the intents after `since_seq`, oldest first."""
        return self._intents("WHERE seq > ? ORDER BY seq", since_seq)

    def events(self, since_seq: int = 0) -> Iterator[tuple[int, Event]]:
        """Yield the events after `since_seq` with their numbers, in the order they were decided on (I21)."""
        for seq, row in self._numbered("events", "WHERE seq > ? ORDER BY seq", since_seq):
            yield seq, self._record("events", EVENT_KINDS, row[1], row[4])

    def notes(self, since_seq: int = 0, kinds: Sequence[NoteKind] = ()) -> Iterator[tuple[int, Note]]:
        """Yield the story after `since_seq`, or its notes of some kinds, with the numbers `watch --jsonl` prints."""
        only = f"AND kind IN ({', '.join('?' * len(kinds))}) " if kinds else ""
        named = (kind.value for kind in kinds)
        for seq, row in self._numbered("notes", f"WHERE seq > ? {only}ORDER BY seq", since_seq, *named):
            yield seq, self._decode("notes", row[4], Note)

    def last_note_seq(self) -> int:
        """Return the number of the newest note, 0 when there is none: where following the story starts."""
        with guarded(self.path):
            return int(self._db.execute("SELECT coalesce(max(seq), 0) FROM notes").fetchone()[0])

    def attempts(self) -> tuple[Attempt, ...]:
        """Return every finished attempt once, with what hindsight has added, in the order they ended."""
        rows = self._rows("hindsights")
        known = {row[0]: self._decode("hindsights", row[2], Hindsight) for row in rows}
        result = []
        for row in self._rows("attempts", "ORDER BY at, id"):
            attempt = self._decode("attempts", row[2], Attempt)
            hindsight = known.get(attempt.id)
            if hindsight is not None:
                verdict = hindsight.verdict
                attempt = replace(attempt, premature=verdict.premature, missed_usd=verdict.missed_usd)
            result.append(attempt)
        return tuple(result)

    def aftermaths(self) -> tuple[Aftermath, ...]:
        """Return the missed attempts whose price path is still to be judged, oldest first."""
        rows = self._rows("aftermaths", "WHERE attempt_id NOT IN (SELECT attempt_id FROM hindsights) ORDER BY at, 2")
        return tuple(self._decode("aftermaths", row[2], Aftermath) for row in rows)

    def settlements(self) -> tuple[Settlement, ...]:
        """Return what is known in hindsight of every position that was settled, in the order they closed."""
        found = (self._decode("settlements", row[2], Settlement) for row in self._rows("settlements"))
        return tuple(sorted(found, key=lambda one: (one.closed_at, one.generation)))

    def costs(self) -> tuple[Costs, ...]:
        """Return what positions cost beside the fees of their exits, in the order they closed."""
        found = (self._decode("costs", row[2], Costs) for row in self._rows("costs"))
        return tuple(sorted(found, key=lambda one: (one.closed_at, one.generation)))

    def mids(self) -> tuple[MidRead, ...]:
        """Return the books that were read after executions, in the order of those."""
        found = (self._decode("mids", row[2], MidRead) for row in self._rows("mids"))
        return tuple(sorted(found, key=lambda one: (one.at, one.trade_id)))

    def requests(self, *, waiting: bool = False) -> tuple[FiledRequest, ...]:
        """Return the requests that were filed, oldest first; only those `waiting` for an answer where asked."""
        tail = "WHERE taken_at IS NULL ORDER BY seq" if waiting else "ORDER BY seq"
        return tuple(self._filed(seq, row) for seq, row in self._numbered("requests", tail))

    def request(self, name: str) -> FiledRequest | None:
        """Return one request by its id."""
        found = [self._filed(seq, row) for seq, row in self._numbered("requests", "WHERE id = ?", name)]
        return found[0] if found else None

    def _filed(self, seq: int, row: tuple[Any, ...]) -> FiledRequest:
        name, at, expires_at, source, symbol, side, payload, _, answer = row
        return FiledRequest(
            *(seq, name, at, expires_at, source, self._key(symbol, side)),
            request=_known_request(payload),
            answer=None if answer is None else self._decode("requests", answer, RequestAnswer),
        )

    def integrity(self) -> None:
        """Check the structure of the file and the checksum of every row; raises `StateFileError` on damage."""
        with guarded(self.path):
            check_pages(self._db, self.path)
        for table in _SELECT:
            for _ in self._rows(table):
                pass

    def _rows(self, table: str, tail: str = "", *parameters: object) -> Iterator[tuple[Any, ...]]:
        for _, row in self._numbered(table, tail, *parameters):
            yield row

    def _numbered(self, table: str, tail: str, *parameters: object) -> Iterator[tuple[int, tuple[Any, ...]]]:
        # Fetched at once: an open cursor would keep an old snapshot alive and the log from being reset.
        with guarded(self.path):
            if schema_of(self._db) < SINCE.get(table, 1):
                return
            rows = self._db.execute(_SELECT[table] + tail, parameters).fetchall()
        for *values, crc in rows:
            if checksum(table, tuple(values)) != crc:
                raise damaged(self.path, f"is damaged: a row of {table} does not match its checksum")
            yield values[0], tuple(values[1:])

    def _intents(self, tail: str, *parameters: object) -> Iterator[JournalledIntent]:
        for seq, row in self._numbered("intents", tail, *parameters):
            yield JournalledIntent(seq, row[9], self._record("intents", INTENT_KINDS, row[7], row[8]))

    def _record(self, table: str, types: dict[str, type[Any]], kind: str, payload: str) -> Any:
        if kind not in types:
            raise damaged(self.path, f"holds {kind!r} in {table}, which this tpctl does not know")
        return self._decode(table, payload, types[kind])

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


def _known_request(payload: str) -> Request | None:
    # The row's checksum holds, so it is not damaged: whoever wrote it knows more than we do.
    try:
        return decode(payload, cast("type[Request]", Request))
    except CodecError:
        return None
