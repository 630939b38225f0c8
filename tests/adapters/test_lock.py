"""One holder at a time, between real processes; a killed holder frees the lock at once (C1, C2, I19)."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tpctl.adapters.lock import acquire
from tpctl.exits.errors import ExitCode, LockedError, StateFileError

HOLD = """
import sys
from pathlib import Path
from tpctl.adapters.lock import acquire
with acquire(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
print("freed", flush=True)
sys.stdin.readline()
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "watch.lock"


def test_a_second_holder_is_refused_and_told_the_pid_of_the_first(path: Path) -> None:
    with holder(path) as process:
        with pytest.raises(LockedError) as caught:
            acquire(path)

        assert f"pid {process.pid} " in caught.value.message
        assert str(path) in caught.value.message
        assert caught.value.exit_code == ExitCode.LOCKED


def test_patience_ends_in_the_same_refusal(path: Path) -> None:
    with holder(path), pytest.raises(LockedError):
        acquire(path, patience_ms=20)


def test_a_lock_is_taken_over_after_its_holder_was_killed(path: Path) -> None:
    with holder(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()

        with acquire(path) as lock:
            assert lock.path.read_text().strip().isdigit()
            assert str(process.pid) != lock.path.read_text().strip()


def test_a_released_lock_is_free_while_its_holder_lives_on(path: Path) -> None:
    with holder(path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "freed\n"

        acquire(path).release()


def test_within_one_process_a_second_lock_is_refused_too(path: Path) -> None:
    with acquire(path), pytest.raises(LockedError):
        acquire(path)


def test_the_lock_file_stays_and_is_private(path: Path) -> None:
    with acquire(path):
        pass

    assert path.exists()
    assert path.stat().st_mode & 0o777 == 0o600


def test_releasing_twice_does_not_free_somebody_elses_lock(path: Path) -> None:
    first = acquire(path)
    first.release()
    with acquire(path):
        first.release()

        with pytest.raises(LockedError):
            acquire(path)


def test_a_symbolic_link_in_place_of_the_lock_is_refused(path: Path) -> None:
    path.symlink_to("elsewhere")

    with pytest.raises(StateFileError, match="is a symbolic link"):
        acquire(path)
    assert not path.with_name("elsewhere").exists()


def test_a_lock_in_a_missing_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match="cannot open"):
        acquire(tmp_path / "missing" / "watch.lock")
