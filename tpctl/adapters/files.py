"""The state directory and its plain files: who may own them, and how they are replaced.

Decides whether a path may be trusted (ours, private, no symbolic link) and how bytes become durable: written beside the
target, synced, renamed, and the directory synced (I17), so that every reader at every instant sees the old file or the
new one, never a mixture (I18). It never repairs, truncates or removes a file it did not write itself.

All calls are synchronous and take well under a millisecond on a local disk.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2s
from pathlib import Path

from tpctl.exits.errors import StateFileError

_PRIVATE_DIR = 0o700
_PRIVATE_FILE = 0o600
_SHARED_WRITE = stat.S_IWGRP | stat.S_IWOTH
_ACCOUNT_SCHEMA = "tpctl.account/1"
# No state file but the journal comes near this; a larger one is not ours, and reading it would fill memory.
_MAX_BYTES = 64 * 1024 * 1024

_HINTS: dict[int, str] = {
    errno.ENOSPC: "free some disk space and try again",
    errno.EDQUOT: "free some disk space or raise the quota, and try again",
    errno.EFBIG: "raise the file size limit (ulimit -f) and try again",
    errno.EROFS: "the file system is read-only: remount it, or name another directory with --state-dir",
    errno.EACCES: "check the permissions of the file and its directory, or name another with --state-dir",
    errno.EPERM: "check the permissions of the file and its directory, or name another with --state-dir",
    errno.EIO: "the disk reports errors: check it before going on",
    errno.ELOOP: "replace the symbolic link by the file itself",
    errno.ENOTDIR: "a part of the path is not a directory: check it, or name another with --state-dir",
}


@dataclass(frozen=True, slots=True)
class StateDir:
    """A checked state directory and the places inside it. Build it with `open_state_dir` or `find_state_dir`."""

    path: Path

    @property
    def journal(self) -> Path:
        """The SQLite journal."""
        return self.path / "journal.db"

    @property
    def lock(self) -> Path:
        """The lock of the one watch of the account; never replaced, never removed."""
        return self.path / "watch.lock"

    @property
    def metrics(self) -> Path:
        """The metrics file, unless another is named (exit-rules 12)."""
        return self.path / "tp_metrics.json"

    @property
    def halt(self) -> Path:
        """The HALT file."""
        return self.path / "HALT"

    @property
    def pulse(self) -> Path:
        """The pulse of the running watch, for views."""
        return self.path / "watch.pulse"

    @property
    def snapshot(self) -> Path:
        """How everything stood when the running watch was last asked (SIGUSR1)."""
        return self.path / "snapshot.json"

    @property
    def account(self) -> Path:
        """The fingerprint of the account this directory belongs to."""
        return self.path / "account.json"


def account_fingerprint(env: str, key_id: str) -> str:
    """Return a hash that tells accounts apart and tells nothing about the key."""
    return blake2s(f"{env}\0{key_id}".encode(), digest_size=16, person=b"tpctl").hexdigest()


def open_state_dir(path: Path, fingerprint: str | None = None) -> StateDir:
    """Return the state directory at `path`, created private (0700) where there is none.

    `fingerprint` (see `account_fingerprint`) is stored on first use and compared ever after; None skips the comparison,
    for commands that need no account.

    Raises `StateFileError` when the directory cannot be created, is a symbolic link, no directory, another user's,
    writable by others, not readable or writable, or belongs to another account.
    """
    path = path.absolute()
    _create_private(path)
    _check_directory(path)
    found = StateDir(path)
    if fingerprint is not None:
        _bind_account(found, fingerprint)
    return found


def find_state_dir(path: Path) -> StateDir | None:
    """Return the state directory at `path`, or None where there is none; creates nothing.

    Raises `StateFileError` as `open_state_dir` does.
    """
    path = path.absolute()
    if not os.path.lexists(path):
        return None
    _check_directory(path)
    return StateDir(path)


def check_private_file(path: Path) -> bool:
    """Return whether `path` exists, having made sure that it is a regular file only we can write.

    Raises `StateFileError` when it is a symbolic link, no regular file, another user's or writable by others.
    """
    try:
        info = path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise file_error("read", path, error) from error
    _check_info(path, info, regular=True)
    return True


def read_file(path: Path) -> bytes | None:
    """Return the bytes of a regular file, or None where there is none.

    Raises `StateFileError` when it is a symbolic link, no regular file, absurdly large or not readable.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO somebody put there would hang the monitor.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise file_error("read", path, error) from error
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            raise StateFileError(f"{str(path)!r} is not a regular file", "move it aside and try again")
        if info.st_size > _MAX_BYTES:
            raise StateFileError(f"{str(path)!r} is too large: {info.st_size} bytes", "move it aside and try again")
        chunks = []
        while chunk := os.read(handle, 1 << 20):
            chunks.append(chunk)
        return b"".join(chunks)
    except OSError as error:
        raise file_error("read", path, error) from error
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace `path` by `data` (mode 0600), durably: when this returns, the new bytes survive a power cut.

    A crash at any point leaves the old file or the new one. Writers of one path must hold a lock of their own if an
    update must not be lost. Raises `StateFileError` when it cannot be written; the old file is then untouched.
    """
    with _staged(path, data) as staged:
        staged.rename(path)
        sync_directory(path.parent)


def create_atomic(path: Path, data: bytes) -> bool:
    """Create `path` with `data` as `write_atomic` does; return False, changing nothing, where it already exists."""
    with _staged(path, data) as staged:
        return link_new(staged, path)


def link_new(staged: Path, path: Path) -> bool:
    """Give the finished file `staged` its real name `path`, durably, unless that name is taken (then False)."""
    try:
        # A rename would overwrite silently; a link refuses.
        path.hardlink_to(staged)
    except FileExistsError:
        return False
    staged.unlink()
    sync_directory(path.parent)
    return True


def stage_path(path: Path) -> Path:
    """Return the name to build the next content of `path` under, after removing what killed writers left behind.

    Raises `StateFileError` when the directory cannot be read or written.
    """
    pattern = re.compile(re.escape(f".{path.name}.") + r"(\d+)\.tmp(-wal|-shm|-journal)?")
    try:
        for entry in path.parent.iterdir():
            match = pattern.fullmatch(entry.name)
            if match is not None and (int(match[1]) == os.getpid() or not _alive(int(match[1]))):
                entry.unlink(missing_ok=True)
    except OSError as error:
        raise file_error("use", path.parent, error) from error
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def sync_directory(path: Path) -> None:
    """Make renames, links and removals inside `path` durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_error(verb: str, path: Path, error: OSError) -> StateFileError:
    """Return the error that says `path` could not be read, written or locked, and what to do about it."""
    # O_NOFOLLOW reports ELOOP; anything else keeps the system's own words.
    reason = "it is a symbolic link" if error.errno == errno.ELOOP else os.strerror(error.errno or 0).lower()
    hint = _HINTS.get(error.errno or 0, "check the path and its permissions, or name another with --state-dir")
    return StateFileError(f"cannot {verb} {str(path)!r}: {reason}", hint)


@contextmanager
def _staged(path: Path, data: bytes) -> Iterator[Path]:
    staged = path
    try:
        staged = stage_path(path)
        handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _PRIVATE_FILE)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        yield staged
    except OSError as error:
        raise file_error("write", path, error) from error
    finally:
        if staged != path:
            # Gone already after a rename; and what cannot be removed now is swept by the next writer.
            with suppress(OSError):
                staged.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _create_private(path: Path) -> None:
    missing = []
    while not os.path.lexists(path):
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        try:
            directory.mkdir(mode=_PRIVATE_DIR, exist_ok=True)
            sync_directory(directory.parent)
        except OSError as error:
            raise file_error("create", directory, error) from error


def _check_directory(path: Path) -> None:
    try:
        info = path.lstat()
    except OSError as error:
        raise file_error("read", path, error) from error
    _check_info(path, info, regular=False)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise StateFileError(
            f"state directory {str(path)!r} is not readable and writable",
            f"run chmod 700 {path}, check that its file system is not read-only, or name another with --state-dir",
        )


def _check_info(path: Path, info: os.stat_result, *, regular: bool) -> None:
    what = "state file" if regular else "state directory"
    if stat.S_ISLNK(info.st_mode):
        raise StateFileError(f"{what} {str(path)!r} is a symbolic link", "name the place it points to itself")
    if not (stat.S_ISREG if regular else stat.S_ISDIR)(info.st_mode):
        kind = "regular file" if regular else "directory"
        raise StateFileError(f"{what} {str(path)!r} is not a {kind}", "move it aside, or name another with --state-dir")
    if info.st_uid != os.geteuid():
        raise StateFileError(
            f"{what} {str(path)!r} belongs to another user (uid {info.st_uid}, ours is {os.geteuid()})",
            "run tpctl as that user, or name another directory with --state-dir",
        )
    if info.st_mode & _SHARED_WRITE:
        mode = "600" if regular else "700"
        raise StateFileError(
            f"{what} {str(path)!r} is writable by others (mode {stat.S_IMODE(info.st_mode):04o})",
            f"make sure nobody changed it, then run chmod {mode} {path}",
        )


def _bind_account(state_dir: StateDir, fingerprint: str) -> None:
    path = state_dir.account
    if not check_private_file(path):
        text = json.dumps({"schema": _ACCOUNT_SCHEMA, "fingerprint": fingerprint}) + "\n"
        create_atomic(path, text.encode())
    stored = _stored_fingerprint(path)
    if stored != fingerprint:
        raise StateFileError(
            f"state directory {str(state_dir.path)!r} belongs to another account "
            f"(fingerprint {stored[:8]!r}, ours is {fingerprint[:8]!r})",
            "use the profile or the key it was made with, or name another directory with --state-dir",
        )


def _stored_fingerprint(path: Path) -> str:
    data = read_file(path) or b""
    way_out = "check which account the directory belongs to, then move the file aside: it is written anew"
    try:
        content = json.loads(data)
    except ValueError:
        raise StateFileError(f"{str(path)!r} is damaged", way_out) from None
    if not isinstance(content, dict) or not isinstance(content.get("fingerprint"), str):
        raise StateFileError(f"{str(path)!r} is damaged", way_out)
    if content.get("schema") != _ACCOUNT_SCHEMA:
        raise StateFileError(
            f"{str(path)!r} has schema {content.get('schema')!r}, this tpctl reads {_ACCOUNT_SCHEMA!r}",
            "use the tpctl version that wrote it, or a newer one",
        )
    return str(content["fingerprint"])
