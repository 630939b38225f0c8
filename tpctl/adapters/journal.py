"""The journal: the durable memory of one account's watch (SQLite, WAL, synchronous FULL).

Decides what one decision makes durable and that it does so as a whole: event, new states, intents, notes and attempts
are one transaction, on disk before `commit` returns, so an intent is durable before it is sent (I8), nothing is
forgotten (I9) and an attempt counts once (I17). It reads no clock and draws no id: both arrive in the records.

The caller holds the watch lock (I19). A command that only adds attempts may write beside a running watch; SQLite
serialises the two. All calls are synchronous: a commit takes about 0.2 ms on a server's disk and up to 10 ms on a
laptop's, which the event loop affords because nothing may be sent before it anyway.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection, Error
from typing import Any, Self

from tpctl.adapters.codec import encode
from tpctl.adapters.files import check_private_file, file_error, sync_directory, write_atomic
from tpctl.adapters.journal_reader import EpisodeRow, Hindsight, JournalReader, PositionRow
from tpctl.adapters.journal_schema import SCHEMA, Meta, checksum, create, guarded, is_io_failure, open_writer
from tpctl.adapters.requests import settle_request
from tpctl.exits.costs import Costs
from tpctl.exits.errors import StateFileError
from tpctl.exits.events import Event
from tpctl.exits.ids import parse_client_id
from tpctl.exits.intents import CancelOrder, OrderIntent
from tpctl.exits.mid import MidRead
from tpctl.exits.model import Attempt, Note, PositionKey
from tpctl.exits.requests import RequestAnswer
from tpctl.exits.scoring import Aftermath, fold
from tpctl.exits.settlement import Settlement
from tpctl.exits.units import Millis

# What the journal may still need for protective orders once the disk is full (reliability D2).
RESERVE_BYTES = 8 * 1024 * 1024

_INSERT = {
    "events": "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)",
    "positions": "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    "episodes": "INSERT OR REPLACE INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?)",
    "intents": "INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "notes": "INSERT INTO notes VALUES (?, ?, ?, ?, ?, ?, ?)",
    # What is known by an id counts once: the first to arrive stays (I17).
    "attempts": "INSERT INTO attempts VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
    "aftermaths": "INSERT INTO aftermaths VALUES (?, ?, ?, ?) ON CONFLICT (attempt_id) DO NOTHING",
    "settlements": "INSERT INTO settlements VALUES (?, ?, ?, ?) ON CONFLICT (generation) DO NOTHING",
    "mids": "INSERT INTO mids VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
    "costs": "INSERT INTO costs VALUES (?, ?, ?, ?) ON CONFLICT (generation) DO NOTHING",
    "hindsights": "INSERT INTO hindsights VALUES (?, ?, ?, ?) ON CONFLICT (attempt_id) DO NOTHING",
}
# Commits (of some ten pages) that make emptying the log worth its syncs.
_WORTH_TIDYING = 50
_NEXT = {
    "events": "SELECT coalesce(max(seq), 0) + 1 FROM events",
    "intents": "SELECT coalesce(max(seq), 0) + 1 FROM intents",
    "notes": "SELECT coalesce(max(seq), 0) + 1 FROM notes",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What one decision makes durable, as one transaction. `at` is event time, `answers` are by request id."""

    at: Millis
    event: Event | None = None
    states: tuple[PositionRow, ...] = ()
    intents: tuple[OrderIntent, ...] = ()
    notes: tuple[Note, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    episodes: tuple[EpisodeRow, ...] = ()
    aftermaths: tuple[Aftermath, ...] = ()
    hindsights: tuple[Hindsight, ...] = ()
    settlements: tuple[Settlement, ...] = ()
    costs: tuple[Costs, ...] = ()
    mids: tuple[MidRead, ...] = ()
    answers: tuple[tuple[str, RequestAnswer], ...] = ()


@dataclass(frozen=True, slots=True)
class Committed:
    """The numbers an entry was given; `new_attempts` are the ids that were not known before."""

    event_seq: int | None
    note_seqs: tuple[int, ...]
    new_attempts: tuple[str, ...]


class Journal(JournalReader):
    """A journal opened for writing. Build it with `Journal.open`."""

    def __init__(self, path: Path, connection: Connection, fingerprint: str) -> None:
        super().__init__(path, connection)
        self._fingerprint = fingerprint
        self._failed = False
        # Commits since the log was last emptied.
        self._untidy = 0

    @classmethod
    def open(cls, path: Path, fingerprint: str, *, at: Millis, code_version: str, reserve_bytes: int = 0) -> Self:
        """Open the journal at `path` for writing, creating it only where there is none.

        `at` and `code_version` describe a journal that is created. `reserve_bytes` sets that much disk space aside for
        `release_reserve`, as far as there is any.

        Raises `StateFileError` when the file is empty, foreign, damaged, newer, another account's or not writable;
        it is then left as it is.
        """
        with guarded(path):
            if not check_private_file(path):
                create(path, Meta(SCHEMA, code_version, fingerprint, at))
            journal = cls(path, open_writer(path, fingerprint), fingerprint)
        if reserve_bytes:
            journal._reserve(reserve_bytes)
        return journal

    def commit(self, entry: Entry) -> Committed:
        """Make one decision durable; when this returns, it survives kill -9 and a power cut.

        Raises `StateFileError` when the disk is full or failing; the stored state is then the previous one. After an
        i/o error the file is opened and checked anew before the next write, because what the failed one left on disk
        is unknown: its intents, never sent, may then be in it after all, which looking their orders up settles.
        """
        with self._transaction() as db:
            event_seq = self._add_event(db, entry.at, entry.event)
            for row in entry.states:
                self._put_state(db, entry.at, event_seq, row)
            for episode in entry.episodes:
                self._put_episode(db, episode)
            for intent in entry.intents:
                self._add_intent(db, entry.at, event_seq, intent)
            note_seqs = tuple(self._add_note(db, note) for note in entry.notes)
            new = tuple(
                attempt.id
                for attempt in entry.attempts
                if self._insert(db, "attempts", (attempt.id, entry.at, encode(attempt)))
            )
            for aftermath in entry.aftermaths:
                self._insert(db, "aftermaths", (aftermath.attempt_id, entry.at, encode(aftermath)))
            for hindsight in entry.hindsights:
                self._insert(db, "hindsights", (hindsight.attempt_id, entry.at, encode(hindsight)))
            for settlement in entry.settlements:
                self._insert(db, "settlements", (settlement.generation, entry.at, encode(settlement)))
            for cost in entry.costs:
                self._insert(db, "costs", (cost.generation, entry.at, encode(cost)))
            for mid in entry.mids:
                self._insert(db, "mids", (f"{mid.key.symbol}-{mid.trade_id}", entry.at, encode(mid)))
            for name, answer in entry.answers:
                settle_request(db, name, entry.at, answer)
        self._untidy += 1
        return Committed(event_seq, note_seqs, new)

    def tidy(self) -> None:
        """Move what was committed from the log into the database, where that is worth its syncs.

        For a moment in which nobody waits for a commit. Where it fails the log keeps what it has.
        """
        if self._failed or self._untidy < _WORTH_TIDYING:
            return
        self._untidy = 0
        try:
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except Error:
            # Nothing is lost, and the next write finds out on a fresh file handle what the disk can still do.
            self._failed = True

    def record(self, at: Millis, attempts: Sequence[Attempt]) -> tuple[str, ...]:
        """Add attempts measured elsewhere (`metrics --record`), all or none; return the ids that were new.

        Raises `InputsError` for one that cannot be scored, before anything is written, and `StateFileError` as
        `commit`.
        """
        for attempt in attempts:
            fold(None, attempt)
        return self.commit(Entry(at, attempts=tuple(attempts))).new_attempts

    def release_reserve(self) -> bool:
        """Give the reserved disk space back, for protective orders on a full disk; return whether there was any."""
        try:
            self._reserve_path.unlink()
            sync_directory(self.path.parent)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise file_error("release", self._reserve_path, error) from error
        return True

    @property
    def _reserve_path(self) -> Path:
        return self.path.with_suffix(".reserve")

    def _reserve(self, size: int) -> None:
        if check_private_file(self._reserve_path) and self._reserve_path.stat().st_size >= size:
            return
        try:
            # Written out, because a file that is merely made long holds no space.
            write_atomic(self._reserve_path, bytes(size))
        except StateFileError:
            # No room for a reserve is no reason to leave a position unguarded; `release_reserve` says there is none.
            return

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if self._failed:
            self._reopen()
        try:
            with guarded(self.path):
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    self._roll_back()
                    raise
        except StateFileError as error:
            self._failed = self._failed or is_io_failure(error.__cause__)
            raise

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself after some failures.
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except Error:
                # The error that brought us here is the one to report; the connection is replaced before the next write.
                self._failed = True

    def _reopen(self) -> None:
        with suppress(Error):
            # It failed already; only a fresh file handle tells the truth about what reached the disk.
            self._db.close()
        self._db = open_writer(self.path, self._fingerprint)
        self._failed = False

    def _insert(self, db: Connection, table: str, row: tuple[Any, ...], seq: int = 0) -> int:
        """Insert a row with its checksum; return how many were new. `seq` is 0 in tables with a key of their own."""
        values = (*row, checksum(table, (seq, *row)))
        return db.execute(_INSERT[table], (seq, *values) if seq else values).rowcount

    def _add(self, db: Connection, table: str, row: tuple[Any, ...]) -> int:
        """Insert a row under the next number and return that number."""
        seq = int(db.execute(_NEXT[table]).fetchone()[0])
        self._insert(db, table, row, seq)
        return seq

    def _add_event(self, db: Connection, at: Millis, event: Event | None) -> int | None:
        if event is None:
            return None
        symbol, side = _subject(event)
        return self._add(db, "events", (at, type(event).__name__, symbol, side, encode(event)))

    def _put_state(self, db: Connection, at: Millis, event_seq: int | None, state: PositionRow) -> None:
        key = state.key
        row = (key.symbol, key.side.value, state.lives, state.generation, state.state, at, event_seq)
        self._insert(db, "positions", row)

    def _put_episode(self, db: Connection, episode: EpisodeRow) -> None:
        key = episode.key
        row = (episode.generation, key.symbol, key.side.value, episode.opened_at, episode.closed_at, encode(episode))
        self._insert(db, "episodes", row)

    def _add_intent(self, db: Connection, at: Millis, event_seq: int | None, intent: OrderIntent) -> None:
        parts = parse_client_id(intent.client_id)
        generation, role, leg = (parts.generation, parts.role.label, parts.leg) if parts else (None, None, None)
        key = intent.key
        row = (
            *(intent.client_id, int(isinstance(intent, CancelOrder)), generation, role, leg),
            *(key.symbol, key.side.value, type(intent).__name__, encode(intent), at, event_seq),
        )
        self._add(db, "intents", row)

    def _add_note(self, db: Connection, note: Note) -> int:
        symbol, side = (note.key.symbol, note.key.side.value) if note.key else (None, None)
        return self._add(db, "notes", (note.at, note.kind.value, symbol, side, encode(note)))


def _subject(event: Event) -> tuple[str | None, str | None]:
    key = getattr(event, "key", None)
    if isinstance(key, PositionKey):
        return key.symbol, key.side.value
    for part in (event, getattr(event, "order", None), getattr(event, "fill", None)):
        symbol = getattr(part, "symbol", None)
        if isinstance(symbol, str):
            return symbol, None
    return None, None
