"""Requests from other processes to the watch that guards an account: filed in its journal, taken by it exactly once.

One process owns a position. Whoever else wants something of it files a row; the watch takes the rows in their order and
makes its decision and the answer durable in one transaction, so that a kill at any instant leaves a request either
waiting or answered. A sender that gives up takes its request back first; one that died leaves a row that expires.

Times of rows are wall-clock milliseconds, because the sender does not know the watch's event time.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import Self

from tpctl.adapters.codec import encode
from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.journal_schema import checksum, guarded, open_writer
from tpctl.exits.model import PositionKey
from tpctl.exits.requests import Outcome, Request, RequestAnswer
from tpctl.exits.units import Millis

_POLL_S = 0.02


def wall_ms() -> Millis:
    """Return the wall-clock time in milliseconds UTC."""
    return time.time_ns() // 1_000_000


class RequestDesk(JournalReader):
    """The journal of a running watch, opened to file requests. Build it with `RequestDesk.open`."""

    @classmethod
    def open(cls, path: Path, fingerprint: str | None = None) -> Self:
        """Open the journal at `path`, of any account without `fingerprint`; raises `StateFileError` as a reader."""
        return cls(path, open_writer(path, fingerprint, whole=False))

    def file(self, key: PositionKey, request: Request, source: str, patience_ms: Millis) -> str:
        """File a request and return its id; it expires after `patience_ms`. Raises `StateFileError`, `LockedError`."""
        name, at = secrets.token_hex(8), wall_ms()
        row = (
            *(name, at, at + patience_ms, source, key.symbol, key.side.value),
            *(encode(request, Request), None, None),
        )
        with self._writing() as db:
            seq = int(db.execute("SELECT coalesce(max(seq), 0) + 1 FROM requests").fetchone()[0])
            values = (seq, *row, checksum("requests", (seq, *row)))
            db.execute("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        return name

    def answer(self, name: str) -> RequestAnswer | None:
        """Return the answer to a request, None while there is none."""
        filed = self.request(name)
        return None if filed is None else filed.answer

    def withdraw(self, name: str, why: str) -> RequestAnswer:
        """Take a request back, and return the answer it has then: of the watch, where that was first."""
        answer = RequestAnswer(Outcome.WITHDRAWN, why)
        with self._writing() as db:
            settle_request(db, name, wall_ms(), answer)
        found = self.answer(name)
        return answer if found is None else found

    def wait(self, name: str, timeout_ms: Millis) -> RequestAnswer:
        """Wait for the answer to a request, and take it back where none comes in time."""
        deadline = time.monotonic() + timeout_ms / 1000
        while time.monotonic() < deadline:
            found = self.answer(name)
            if found is not None:
                return found
            time.sleep(_POLL_S)
        return self.withdraw(name, f"no answer within {timeout_ms / 1000:g} s")

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with guarded(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def settle_request(db: Connection, name: str, at: Millis, answer: RequestAnswer) -> bool:
    """Answer a request that waits, within the caller's transaction; return whether it was waiting."""
    row = db.execute(
        "SELECT seq, id, at, expires_at, source, symbol, side, payload FROM requests WHERE id = ? AND taken_at IS NULL",
        (name,),
    ).fetchone()
    if row is None:
        return False
    settled = (*row, at, encode(answer))
    db.execute(
        "UPDATE requests SET taken_at = ?, answer = ?, crc = ? WHERE seq = ?",
        (at, settled[-1], checksum("requests", settled), row[0]),
    )
    return True
