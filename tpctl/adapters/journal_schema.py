"""How the journal database looks, how it is opened, and what counts as damage.

Decides the tables, the pragmas and the meaning of every SQLite failure. A file that is empty, foreign, damaged, newer
or another account's is refused with its name and the way out; it is never overwritten, repaired or removed (D3).

SQLite guards its pages' structure but not their content, so every row carries a checksum: a bit that flips inside a
stored price is damage, not a new stop level.
"""

import json
import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from json.encoder import encode_basestring_ascii as _quoted
from pathlib import Path

from tpctl.adapters.files import check_private_file, file_error, link_new, stage_path
from tpctl.exits.errors import LockedError, StateFileError, TpctlError
from tpctl.exits.units import Millis

APPLICATION_ID = 0x7470_6374  # "tpct", the database header's owner field
# How long a writer waits for another one (`metrics --record` beside `watch`), who is done within milliseconds (C1).
BUSY_MS = 2000
_SIDECARS = ("-wal", "-shm")

# Rows are only ever added, but for `positions` and `episodes`, which hold the newest state of each, and `requests`,
# which are answered once. An intent may be
# journalled more than once under one client id (a retry of something that never reached a book, several cancels of one
# order), so its key is its own sequence number. `attempts` and `hindsights` keep SQLite's row numbers, which grow with
# every row: readers go on from the last one they saw.
_TABLES = (
    """
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    schema INTEGER NOT NULL,
    code_version TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    crc INTEGER NOT NULL
);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    symbol TEXT,
    side TEXT,
    payload TEXT NOT NULL,
    crc INTEGER NOT NULL
);
CREATE TABLE positions (
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    lives INTEGER NOT NULL,
    generation TEXT,
    state TEXT,
    at INTEGER NOT NULL,
    updated_seq INTEGER REFERENCES events (seq),
    crc INTEGER NOT NULL,
    PRIMARY KEY (symbol, side)
) WITHOUT ROWID;
CREATE TABLE episodes (
    generation TEXT PRIMARY KEY,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    closed_at INTEGER,
    payload TEXT NOT NULL,
    crc INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE intents (
    seq INTEGER PRIMARY KEY,
    client_id TEXT NOT NULL,
    cancel INTEGER NOT NULL CHECK (cancel IN (0, 1)),
    generation TEXT,
    role TEXT,
    leg INTEGER,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    at INTEGER NOT NULL,
    event_seq INTEGER REFERENCES events (seq),
    crc INTEGER NOT NULL
);
CREATE INDEX intents_by_client_id ON intents (client_id, cancel);
CREATE TABLE notes (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    symbol TEXT,
    side TEXT,
    payload TEXT NOT NULL,
    crc INTEGER NOT NULL
);
CREATE TABLE attempts (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    payload TEXT NOT NULL,
    crc INTEGER NOT NULL
);
CREATE TABLE aftermaths (
    attempt_id TEXT PRIMARY KEY REFERENCES attempts (id),
    at INTEGER NOT NULL,
    payload TEXT NOT NULL,
    crc INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE hindsights (
    attempt_id TEXT PRIMARY KEY REFERENCES attempts (id),
    at INTEGER NOT NULL,
    payload TEXT NOT NULL,
    crc INTEGER NOT NULL
);
""",
    # Written by other processes beside the running watch, which takes them in the order of their numbers.
    """
CREATE TABLE requests (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    source TEXT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    payload TEXT NOT NULL,
    taken_at INTEGER,
    answer TEXT,
    crc INTEGER NOT NULL
);
CREATE INDEX requests_open ON requests (seq) WHERE taken_at IS NULL;
""",
    # What the path after its exit says of a position, hours later.
    """
CREATE TABLE settlements (
    generation TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    payload TEXT NOT NULL,
    crc INTEGER NOT NULL
);
""",
    # What the account's history says a position cost beside the fees of its exits.
    """
CREATE TABLE costs (
    generation TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    payload TEXT NOT NULL,
    crc INTEGER NOT NULL
);
""",
    # The book as it was read after an execution of ours.
    """
CREATE TABLE mids (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL,
    payload TEXT NOT NULL,
    crc INTEGER NOT NULL
);
""",
)
"""What each schema number added to the one before; a journal of an older one is brought up to date by its writer."""
SCHEMA = len(_TABLES)
# The schema a table came with, where that was not the first.
SINCE = {"requests": 2, "settlements": 3, "costs": 4, "mids": 5}


@dataclass(frozen=True, slots=True)
class Meta:
    """What the journal says of itself: schema number, the tpctl that created it, the account, and when."""

    schema: int
    code_version: str
    fingerprint: str
    created_at: Millis


def checksum(table: str, values: tuple[object, ...]) -> int:
    """Return the checksum stored with a row: over the table's name and every other column, in order."""
    return zlib.crc32(f"[{', '.join([_quoted(table), *map(_written, values)])}]".encode())


def _written(value: object) -> str:
    """Write as JSON: by hand what most columns hold, because every decision is summed."""
    if value is None:
        return "null"
    if type(value) is str:
        return _quoted(value)
    return repr(value) if type(value) is int else json.dumps(value, default=repr)


def damaged(path: Path, what: str) -> StateFileError:
    """Return the error for a journal that cannot be trusted; nothing is changed on disk."""
    return StateFileError(
        f"journal {str(path)!r} {what}",
        f"move {path.name}, {path.name}-wal and {path.name}-shm aside together and start again: "
        "tpctl rebuilds from the exchange",
    )


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn SQLite's failures on `path` into `StateFileError`, or `LockedError` where another writer was slow.

    Broken constraints and misuse are bugs of ours and pass through.
    """
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.InterfaceError):
        raise
    except sqlite3.Error as error:
        raise _translate(path, error) from error
    except UnicodeDecodeError as error:
        # A message of SQLite's that quotes the damaged bytes, which the binding cannot decode.
        raise damaged(path, "is damaged: it holds text that is not utf-8") from error


def is_io_failure(error: BaseException | None) -> bool:
    """Whether SQLite reported the disk failing, after which its open files must not be trusted (D2)."""
    return isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_IOERR


def create(path: Path, meta: Meta) -> None:
    """Create the journal: complete under another name first, so that a crash never leaves half of one."""
    log = path.with_name(path.name + "-wal")
    # SQLite would replay the log of a database that was moved away into the new one.
    if check_private_file(log) and log.stat().st_size > 0:
        raise damaged(path, f"is gone, but its log {log.name!r} is still there")
    try:
        staged = stage_path(path)
        os.close(os.open(staged, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        with closing(_connect(staged, "rw")) as connection:
            _configure_writer(connection, staged)
            row = (1, meta.schema, meta.code_version, meta.fingerprint, meta.created_at)
            connection.executescript(
                f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA};{''.join(_TABLES)}"
            )
            connection.execute("INSERT INTO meta VALUES (?, ?, ?, ?, ?, ?)", (*row, checksum("meta", row)))
            connection.execute("COMMIT")
            # Closing does it too, but says nothing where the disk fails: the name would be given to half a journal.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        link_new(staged, path)
    except OSError as error:
        raise file_error("create", path, error) from error


def open_writer(path: Path, fingerprint: str | None, *, whole: bool = True) -> sqlite3.Connection:
    """Return a connection for a writing process, after checking the `whole` file and bringing its schema up to date.

    The check runs on a read-only connection, so that a file that is refused is not even checkpointed. A process that
    only adds a row beside the one that has checked it may leave the pages out: their check takes as long as the file is
    large.
    """
    with guarded(path):
        stage_path(path)
        with closing(open_reader(path, fingerprint)) as reader:
            if whole:
                check_pages(reader, path)
        connection = _connect(path, "rw")
        try:
            _configure_writer(connection, path)
            _bring_up_to_date(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def open_reader(path: Path, fingerprint: str | None) -> sqlite3.Connection:
    """Return a read-only connection after checking who wrote the file and for whom."""
    _check_file(path)
    with guarded(path):
        connection = _connect(path, "ro")
        try:
            _check_identity(connection, path, fingerprint)
        except BaseException:
            connection.close()
            raise
    return connection


def read_meta(connection: sqlite3.Connection, path: Path) -> Meta:
    """Return what the journal says of itself."""
    row = connection.execute("SELECT id, schema, code_version, fingerprint, created_at, crc FROM meta").fetchone()
    if row is None or checksum("meta", row[:-1]) != row[-1]:
        raise damaged(path, "is damaged: its description does not match its checksum")
    return Meta(*row[1:-1])


def check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """Check pages, order and indexes of the whole database; raises `StateFileError` with the first finding."""
    # Not quick_check, which does not compare the indexes, by which open intents are found, with their tables.
    finding = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if finding != "ok":
        raise damaged(path, f"is damaged: {' '.join(finding.split())[:200]}")


def _check_file(path: Path) -> None:
    for name in ("", *_SIDECARS):
        check_private_file(path.with_name(path.name + name))
    # By its size and, later, by SQLite itself: opening and closing the file beside SQLite would give up this process's
    # locks, and whoever closes the journal next would throw away the log a connection of ours still writes to.
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise StateFileError(f"journal {str(path)!r} does not exist", "run tpctl watch once to create it") from None
    except OSError as error:
        raise file_error("read", path, error) from error
    if not size:
        raise damaged(path, "is empty")


def _check_identity(connection: sqlite3.Connection, path: Path, fingerprint: str | None) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise damaged(path, "is a database, but not a tpctl journal")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA:
        raise StateFileError(
            f"journal {str(path)!r} has schema {version}, this tpctl reads up to {SCHEMA}",
            "use the tpctl version that wrote it, or a newer one",
        )
    if version < 1:
        raise damaged(path, f"has the impossible schema {version}")
    if _definitions(connection) != _expected_definitions(version):
        raise damaged(path, "is damaged: its tables are not the ones it was made with")
    meta = read_meta(connection, path)
    if fingerprint is not None and meta.fingerprint != fingerprint:
        raise StateFileError(
            f"journal {str(path)!r} belongs to another account "
            f"(fingerprint {meta.fingerprint[:8]!r}, ours is {fingerprint[:8]!r})",
            "use the profile or the key it was made with, or name another directory with --state-dir",
        )


def _definitions(connection: sqlite3.Connection) -> list[tuple[str, str, str | None]]:
    return connection.execute("SELECT name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


@cache
def _expected_definitions(version: int) -> list[tuple[str, str, str | None]]:
    with closing(sqlite3.connect(":memory:")) as blank:
        blank.executescript("".join(_TABLES[:version]))
        return _definitions(blank)


def schema_of(connection: sqlite3.Connection) -> int:
    """Return the schema number of an open journal; an older one lacks the tables that came later."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    """Add what a journal of an older schema lacks, as one transaction."""
    if schema_of(connection) == SCHEMA:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked again under the lock: another writer may have been first.
        for added in _TABLES[schema_of(connection) :]:
            for statement in filter(str.strip, added.split(";")):
                connection.execute(statement.strip())
        meta = read_meta(connection, path)
        row = (1, SCHEMA, meta.code_version, meta.fingerprint, meta.created_at)
        connection.execute("UPDATE meta SET schema = ?, crc = ?", (SCHEMA, checksum("meta", row)))
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # The mode in the address keeps SQLite from creating a file that went missing.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=BUSY_MS / 1000
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def _configure_writer(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise StateFileError(
            f"journal {str(path)!r} cannot use a write-ahead log on this file system",
            "name a directory on a local disk with --state-dir",
        )
    # FULL syncs the log at every commit: an intent is durable before it is sent (I8).
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    # Pages (16 MB). Emptying the log costs several syncs, which the commit that fills it pays; `Journal.tidy` does it
    # before, at a better moment.
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute("PRAGMA foreign_keys = ON")
    # A file without write permission opens all the same; this finds out now, not at the first intent.
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    finally:
        connection.execute("ROLLBACK")


def _code(error: sqlite3.Error) -> int:
    # Extended codes keep the primary one in their low byte.
    return _extended_code(error) & 0xFF


def _extended_code(error: sqlite3.Error) -> int:
    # Errors of the Python layer carry none.
    return getattr(error, "sqlite_errorcode", 0)


def _translate(path: Path, error: sqlite3.Error) -> TpctlError:
    code = _code(error)
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return LockedError(f"journal {str(path)!r} is being written by another process", "try again in a moment")
    # The index of the log could not grow, which takes space and nothing else.
    if code == sqlite3.SQLITE_FULL or _extended_code(error) == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StateFileError(
            f"cannot write journal {str(path)!r}: no space left", "free some disk space and try again"
        )
    if code == sqlite3.SQLITE_IOERR:
        name = getattr(error, "sqlite_errorname", "SQLITE_IOERR")
        return StateFileError(
            f"cannot read or write journal {str(path)!r}: disk i/o error ({name})",
            "check the disk, its space and the file size limit (ulimit -f), then start again",
        )
    if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}:
        return StateFileError(
            f"cannot write journal {str(path)!r}: {error}",
            "check the permissions of the file and its directory, or name another with --state-dir",
        )
    if code == sqlite3.SQLITE_NOTADB:
        return damaged(path, "is not a database")
    return damaged(path, f"is damaged: {error}")
