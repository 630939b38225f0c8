"""The state directory refuses what it cannot trust; files are whole before and after, at every failing step."""

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tpctl.adapters.files import (
    StateDir,
    account_fingerprint,
    check_private_file,
    create_atomic,
    find_state_dir,
    open_state_dir,
    read_file,
    write_atomic,
)
from tpctl.adapters.halt import clear_halt, halted, set_halt
from tpctl.exits.errors import ExitCode, StateFileError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_missing_state_directory_is_created_private_with_its_parents(tmp_path: Path) -> None:
    state = open_state_dir(tmp_path / "a" / "b")

    assert mode(state.path) == 0o700
    assert mode(tmp_path / "a") == 0o700


def test_an_existing_state_directory_is_opened_again(tmp_path: Path) -> None:
    assert open_state_dir(tmp_path / "s") == open_state_dir(tmp_path / "s")


def test_looking_for_a_state_directory_creates_nothing(tmp_path: Path) -> None:
    assert find_state_dir(tmp_path / "s") is None
    assert list(tmp_path.iterdir()) == []


def make_link(path: Path) -> None:
    path.with_name("real").mkdir(mode=0o700)
    path.symlink_to("real")


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def make_file(path: Path) -> None:
    path.touch()


def make_group_writable(path: Path) -> None:
    path.mkdir()
    path.chmod(0o770)


def make_world_writable(path: Path) -> None:
    path.mkdir()
    path.chmod(0o702)


UNTRUSTED = [
    (make_link, "is a symbolic link"),
    (make_dangling_link, "is a symbolic link"),
    (make_file, "is not a directory"),
    (make_group_writable, "is writable by others (mode 0770)"),
    (make_world_writable, "is writable by others (mode 0702)"),
]


@pytest.mark.parametrize(("make", "message"), UNTRUSTED)
@pytest.mark.parametrize("opener", [open_state_dir, find_state_dir])
def test_an_untrusted_state_directory_is_refused(
    tmp_path: Path, make: Callable[[Path], None], message: str, opener: Callable[[Path], object]
) -> None:
    path = tmp_path / "s"
    make(path)

    with pytest.raises(StateFileError) as caught:
        opener(path)

    assert message in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.exit_code == ExitCode.STATE_FILE


def test_another_users_state_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = tmp_path.stat().st_uid
    (tmp_path / "s").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    with pytest.raises(StateFileError, match=f"belongs to another user \\(uid {owner}, ours is {owner + 1}\\)"):
        open_state_dir(tmp_path / "s")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write any directory")
@pytest.mark.parametrize("bits", [0o500, 0o300, 0o600])
def test_a_state_directory_without_access_is_refused(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "s"
    path.mkdir()
    path.chmod(bits)
    try:
        with pytest.raises(StateFileError, match="is not readable and writable"):
            open_state_dir(path)
    finally:
        path.chmod(0o700)


def test_a_state_directory_on_a_read_only_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, bits, **_: not bits & os.W_OK)

    with pytest.raises(StateFileError, match="is not readable and writable"):
        open_state_dir(tmp_path / "s")


def test_a_state_directory_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StateFileError, match="cannot create"):
        open_state_dir(tmp_path / "file" / "s")


def test_the_directory_belongs_to_the_account_it_was_made_with(tmp_path: Path) -> None:
    ours, theirs = account_fingerprint("live", "key-1"), account_fingerprint("live", "key-2")
    open_state_dir(tmp_path / "s", ours)

    assert open_state_dir(tmp_path / "s", ours).path == tmp_path / "s"
    assert open_state_dir(tmp_path / "s").path == tmp_path / "s"
    with pytest.raises(StateFileError, match="belongs to another account") as caught:
        open_state_dir(tmp_path / "s", theirs)
    assert "profile" in caught.value.hint


def test_a_fingerprint_tells_environments_apart_and_holds_nothing_of_the_key() -> None:
    key = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"

    assert account_fingerprint("live", key) != account_fingerprint("demo", key)
    assert account_fingerprint("live", key) == account_fingerprint("live", key)
    assert not any(key[i : i + 6] in account_fingerprint("live", key) for i in range(len(key) - 6))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": "tpctl.account/1"}', b"\xff"])
def test_a_damaged_account_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    state = open_state_dir(tmp_path / "s")
    state.account.write_bytes(content)
    state.account.chmod(0o600)

    with pytest.raises(StateFileError, match=r"account\.json' is damaged"):
        open_state_dir(tmp_path / "s", "f")

    assert state.account.read_bytes() == content


def test_a_newer_account_file_is_refused(tmp_path: Path) -> None:
    state = open_state_dir(tmp_path / "s")
    write_atomic(state.account, json.dumps({"schema": "tpctl.account/2", "fingerprint": "f"}).encode())

    with pytest.raises(StateFileError, match=r"has schema 'tpctl\.account/2'"):
        open_state_dir(tmp_path / "s", "f")


def test_a_state_file_others_may_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.touch()
    path.chmod(0o660)

    with pytest.raises(StateFileError, match=r"writable by others \(mode 0660\)"):
        check_private_file(path)


def test_a_symbolic_link_is_not_followed_when_reading(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")

    with pytest.raises(StateFileError, match="it is a symbolic link"):
        read_file(tmp_path / "link")


def test_reading_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(StateFileError, match="is not a regular file"):
        read_file(tmp_path / "fifo")


def test_reading_nothing_is_none_and_an_empty_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    assert read_file(tmp_path / "missing") is None
    assert read_file(tmp_path / "empty") == b""


def test_a_written_file_is_private_and_whole_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_atomic(tmp_path / "f", b"x" * 3_000_000)
    finally:
        os.umask(before)

    assert mode(tmp_path / "f") == 0o600
    assert read_file(tmp_path / "f") == b"x" * 3_000_000
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_a_write_replaces_a_symbolic_link_instead_of_writing_through_it(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"theirs")
    (tmp_path / "f").symlink_to("target")

    write_atomic(tmp_path / "f", b"ours")

    assert (tmp_path / "target").read_bytes() == b"theirs"
    assert not (tmp_path / "f").is_symlink()


def test_creating_never_replaces(tmp_path: Path) -> None:
    assert create_atomic(tmp_path / "f", b"first")
    assert not create_atomic(tmp_path / "f", b"second")

    assert read_file(tmp_path / "f") == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_builds_is_not(tmp_path: Path) -> None:
    dead = tmp_path / ".f.4194999.tmp"  # beyond the largest pid Linux hands out
    living = tmp_path / f".f.{os.getppid()}.tmp"
    other = tmp_path / ".g.4194999.tmp"
    for path in (dead, living, other):
        path.touch()

    write_atomic(tmp_path / "f", b"x")

    assert {entry.name for entry in tmp_path.iterdir()} == {"f", living.name, other.name}


SYSTEM_CALLS = ("open", "write", "fsync", "rename", "link", "close", "unlink")


class Calls:
    """Records the system calls made through `os`, and fails the `fail_at`-th with `error`."""

    def __init__(self, patch: pytest.MonkeyPatch, fail_at: int = -1, error: int = 0) -> None:
        self.made: list[str] = []
        for name in SYSTEM_CALLS:
            patch.setattr(os, name, self._counted(name, getattr(os, name), fail_at, error))

    def _counted(self, name: str, call: Callable[..., Any], fail_at: int, error: int) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.made.append(name)
            if len(self.made) - 1 == fail_at:
                raise OSError(error, os.strerror(error))
            return call(*arguments, **options)

        return counted


def test_the_bytes_are_synced_before_the_name_changes_and_the_directory_after(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    with pytest.MonkeyPatch.context() as patch:
        calls = Calls(patch)
        write_atomic(tmp_path / "f", b"new")

    assert calls.made[:8] == ["open", "write", "fsync", "close", "rename", "open", "fsync", "close"]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("step", range(7))
def test_a_failing_step_leaves_the_old_file_or_the_new_and_says_so(tmp_path: Path, step: int, error: int) -> None:
    path = tmp_path / "f"
    write_atomic(path, b"old")
    with pytest.MonkeyPatch.context() as patch:
        Calls(patch, step, error)
        with pytest.raises(StateFileError) as caught:
            write_atomic(path, b"new")

    renamed = step > 4  # the directory's own sync failed: the name has changed already
    assert read_file(path) == (b"new" if renamed else b"old")
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]
    assert str(path) in caught.value.message
    assert os.strerror(error).lower() in caught.value.message


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    return open_state_dir(tmp_path / "s")


def test_halt_is_off_without_the_file(state: StateDir) -> None:
    assert halted(state) is None


def test_halt_is_set_with_its_reason_and_cleared(state: StateDir) -> None:
    set_halt(state, "exchange\nmaintenance")

    assert halted(state) == "exchange"
    assert clear_halt(state)
    assert halted(state) is None
    assert not clear_halt(state)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no reason given"),
        (b"\n\n  \n", "no reason given"),
        (b"\n by hand \nmore", "by hand"),
        (b"\x1b[31mred\xff", "[31mred�"),
        (b"x" * 500, "x" * 200),
    ],
)
def test_a_halt_file_made_by_hand_counts_whatever_is_in_it(state: StateDir, content: bytes, reason: str) -> None:
    state.halt.write_bytes(content)

    assert halted(state) == reason


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, make_dangling_link])
def test_a_halt_that_cannot_be_read_is_set(state: StateDir, make: Callable[[Path], None]) -> None:
    make(state.halt)

    assert (halted(state) or "").startswith("HALT is set, but its reason cannot be read")
