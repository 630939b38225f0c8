"""Exclusive locks between processes: one watch per account (I19), one publisher of the metrics file.

A lock is a kernel lock (flock) on a file of its own that is never replaced and never removed: locking a file that gets
renamed over would let two holders in. The kernel frees it when the holder dies, however it dies, so there is nothing
stale to clean up; the pid inside the file only serves the message and is never trusted.
"""

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tpctl.adapters.files import check_private_file, file_error
from tpctl.exits.errors import LockedError

_POLL_SECONDS = 0.005


class FileLock:
    """A held lock. Build it with `acquire`; leaving the `with` block, or dying, frees it."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle: int | None = handle

    def release(self) -> None:
        """Free the lock; doing so twice is harmless."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.ftruncate(handle, 0)
            os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def acquire(path: Path, purpose: str = "the account", patience_ms: int = 0) -> FileLock:
    """Take the lock at `path`, or raise `LockedError` naming the pid that holds it.

    `purpose` says in the message what is locked. `patience_ms` is how long to wait for a holder that is expected to be
    done soon; it blocks the caller, so the watch takes its own lock without any. Raises `StateFileError` when the lock
    file is not ours or cannot be opened.
    """
    check_private_file(path)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise file_error("open", path, error) from error
    try:
        _take(handle, path, purpose, patience_ms)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        os.close(handle)
        raise file_error("lock", path, error) from error
    except LockedError:
        os.close(handle)
        raise
    return FileLock(path, handle)


def _take(handle: int, path: Path, purpose: str, patience_ms: int) -> None:
    deadline = time.monotonic() + patience_ms / 1000
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"{purpose} is held by {_holder(handle)} (lock file {str(path)!r})",
                    "stop that process first, or use another profile",
                ) from None
            time.sleep(_POLL_SECONDS)
        else:
            return


def _holder(handle: int) -> str:
    text = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
    # Empty for the instant between taking the lock and writing the pid.
    return f"another process, pid {text}" if text.isdigit() else "another process"
