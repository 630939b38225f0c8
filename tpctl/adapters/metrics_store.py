"""Where the metrics index lies, when it may be used, and what happens when it cannot be kept.

An index that is damaged, of another version, of another journal, or holds other rows than it says is thrown away and
built again; a place that cannot be written costs time, never the answer.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from tpctl.adapters.files import check_private_file
from tpctl.adapters.journal_scan import JournalScan
from tpctl.adapters.lock import FileLock, acquire
from tpctl.adapters.metrics_index import APPLICATION_ID, VERSION, MetricsIndex, connect
from tpctl.exits.errors import LockedError, StateFileError

_PATIENCE_MS = 2000


def open_index(
    path: Path, scan: JournalScan, told: Callable[[int, int], None] | None = None
) -> tuple[MetricsIndex, str | None]:
    """Return the up-to-date index of a journal, kept at `path`, and a warning where it could not be kept.

    Where the place cannot be written, the index is built for this run alone. Where another process is writing it for
    long, its last state is read. Raises `StateFileError` where the journal is damaged.
    """
    try:
        lock = _lock(path)
    except LockedError:
        if path.exists():
            index = MetricsIndex(path)
            index.db.execute("BEGIN")
            return index, "another process brings the metrics index up to date: the newest attempts may be missing"
        return _for_this_run(scan, told), f"metrics index {str(path)!r} is being made by another process"
    except StateFileError as error:
        return _for_this_run(scan, told), f"the metrics index cannot be kept: {error.message}"
    with lock:
        try:
            return _kept(path, scan, told), None
        except (sqlite3.DatabaseError, OSError) as error:
            # The journal's failures have names of their own; only the index's own file fails like this.
            return _for_this_run(scan, told), f"metrics index {str(path)!r} cannot be kept: {error}"


def _lock(path: Path) -> FileLock:
    return acquire(path.with_name(f"{path.name}.lock"), f"metrics index {str(path)!r}", _PATIENCE_MS)


def _for_this_run(scan: JournalScan, told: Callable[[int, int], None] | None) -> MetricsIndex:
    index = MetricsIndex.temporary()
    try:
        index.update(scan, told=told)
    except BaseException:
        index.close()
        raise
    return index


def drop_index(path: Path) -> None:
    """Throw the index away; the next answer builds it anew from the journal."""
    with _lock(path):
        _remove(path)


def _kept(path: Path, scan: JournalScan, told: Callable[[int, int], None] | None) -> MetricsIndex:
    if not _usable(path, scan):
        _remove(path)
    try:
        return _updated(path, scan, told)
    except sqlite3.DatabaseError:
        # Damaged where nobody looked before: once more from the start.
        _remove(path)
        return _updated(path, scan, told)


def _updated(path: Path, scan: JournalScan, told: Callable[[int, int], None] | None) -> MetricsIndex:
    index = _opened(path)
    try:
        index.update(scan, told=told)
    except BaseException:
        index.close()
        raise
    return index


def _opened(path: Path) -> MetricsIndex:
    fresh = not path.exists()
    if fresh:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    index = MetricsIndex(path)
    if fresh:
        index.create()
    else:
        index.db.execute("BEGIN")
    return index


def _usable(path: Path, scan: JournalScan) -> bool:
    """Whether the file is an index of this version, of this journal, and of no other rows than it holds."""
    if not check_private_file(path):
        return False
    try:
        with closing(connect(path)) as db:
            marks = tuple(db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
            return marks == (APPLICATION_ID, VERSION) and _of_journal(db, scan)
    except sqlite3.DatabaseError:
        return False


def _of_journal(db: sqlite3.Connection, scan: JournalScan) -> bool:
    sources = db.execute("SELECT identity, attempt, note, mark FROM sources").fetchall()
    if len(sources) != 1:
        return False
    identity, attempt, note, mark = sources[0]
    if identity != scan.identity or scan.mark(attempt, note) != mark:
        return False
    return bool(db.execute("SELECT count(*) FROM rows").fetchone()[0] == scan.count_attempts(attempt))


def _remove(path: Path) -> None:
    for name in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + name).unlink()
