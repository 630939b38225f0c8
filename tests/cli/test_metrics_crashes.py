"""`metrics --record` killed at every system call, and files that are damaged, cut short, newer or not to be written.

The kernel does the killing, as in the journal's own tests: every write, sync, rename and truncate of the whole command
is a crash point, and none is sampled.
"""

import contextlib
import io
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from metrics_desk import VECTOR, journal_of
from tracing import Strike, every_crash, mend

from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.metrics_file import MetricsFile, fold_all
from tpctl.adapters.outcomes import outcome_line
from tpctl.cli.main import run
from tpctl.exits.errors import ExitCode
from tpctl.exits.model import Attempt

OLD = [replace(VECTOR, id=f"old{number}", profit_usd=Decimal(number)) for number in range(3)]
NEW = [replace(VECTOR, id=f"new{number}", strategy_id="other", profit_usd=Decimal(number)) for number in range(3)]


def record(state: Path, lines: Path) -> int:
    return run(["metrics", "--state-dir", str(state), "-q", "--record", str(lines)])


def lines_of(path: Path, attempts: list[Attempt]) -> Path:
    path.write_text("".join(f"{outcome_line(attempt)}\n" for attempt in attempts))
    return path


def recorded(state: Path) -> list[Attempt]:
    """Return what the journal holds, after checking all of it; nothing where there is none yet."""
    if not (state / "journal.db").exists():
        return []
    with JournalReader.read_only(state / "journal.db") as journal:
        journal.integrity()
        return sorted(journal.attempts(), key=lambda attempt: attempt.id)


@pytest.mark.parametrize("first", [True, False], ids=["the first record", "a later record"])
def test_killed_at_any_system_call_a_record_is_as_before_or_as_after(
    tmp_path: Path, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TP_METRICS_PATH", raising=False)
    (tmp_path / "crashes").mkdir()
    lines, before = lines_of(tmp_path / "new.jsonl", NEW), tmp_path / "before"
    old = [] if first else OLD
    if not first:
        assert record(before, lines_of(tmp_path / "old.jsonl", OLD)) == ExitCode.OK
    whole = sorted([*old, *NEW], key=lambda attempt: attempt.id)

    def prepare(directory: Path) -> Callable[[], object]:
        if not first:
            shutil.copytree(before, directory / "sim")
        return lambda: record(directory / "sim", lines)

    seen = set()
    for directory, finished in every_crash(tmp_path / "crashes", prepare):
        state = directory / "sim"
        held, file = recorded(state), state / "tp_metrics.json"
        shown = MetricsFile(file).read() if file.exists() else {}
        # The journal has all of the batch or nothing, and the file never says more than it, nor half of it.
        assert held in (old, whole)
        assert shown in (fold_all(old), fold_all(whole))
        assert shown == fold_all(old) or held == whole
        assert not finished or shown == fold_all(whole)
        seen.add((len(held), len(shown or {})))
        assert record(state, lines) == ExitCode.OK
        assert recorded(state) == whole
        assert MetricsFile(file).read() == fold_all(whole)
        assert json.loads(file.read_bytes())

    groups = len(fold_all(old))
    assert seen == {(len(old), groups), (len(whole), groups), (len(whole), len(fold_all(whole)))}


@pytest.mark.parametrize("strike", [Strike.TORN, Strike.FULL, Strike.FAILED])
def test_on_a_disk_that_fails_at_any_call_a_record_says_so_and_counts_once(
    tmp_path: Path, strike: Strike, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TP_METRICS_PATH", raising=False)
    (tmp_path / "crashes").mkdir()
    lines, before = lines_of(tmp_path / "new.jsonl", NEW), tmp_path / "before"
    assert record(before, lines_of(tmp_path / "old.jsonl", OLD)) == ExitCode.OK
    whole = sorted([*OLD, *NEW], key=lambda attempt: attempt.id)

    def prepare(directory: Path) -> Callable[[], object]:
        shutil.copytree(before, directory / "sim")

        def act() -> None:
            with contextlib.redirect_stderr(io.StringIO()) as said:
                code = record(directory / "sim", lines)
            mend()
            (directory / "said").write_text(f"{int(code)}\n{said.getvalue()}")

        return act

    codes = set()
    for directory, finished in every_crash(tmp_path / "crashes", prepare, 2, strike):
        state, file = directory / "sim", directory / "sim" / "tp_metrics.json"
        held, shown = recorded(state), MetricsFile(file).read()
        assert held in (OLD, whole)
        assert shown in (fold_all(OLD), fold_all(whole))
        assert shown == fold_all(OLD) or held == whole
        if (directory / "said").exists():
            code, *said = (directory / "said").read_text().splitlines()
            codes.add(int(code))
            if int(code) == ExitCode.OK:
                assert (held, shown) == (whole, fold_all(whole))
            else:
                error, hint = said
                assert error.startswith("error: ")
                assert str(state) in error
                assert hint.startswith("hint: ")
                assert "disk" in hint
        assert not finished or ExitCode.OK in codes
        assert record(state, lines) == ExitCode.OK
        assert recorded(state) == whole
        assert MetricsFile(file).read() == fold_all(whole)

    assert codes == ({ExitCode.OK} if strike is Strike.TORN else {ExitCode.OK, ExitCode.STATE_FILE})


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


def flipped(path: Path) -> None:
    """Change one digit of a stored attempt, which SQLite itself does not notice."""
    data = path.read_bytes()
    at = data.index(b'"profit_usd":') + len(b'"profit_usd":"')
    path.write_bytes(data[:at] + (b"8" if data[at : at + 1] != b"8" else b"7") + data[at + 1 :])


def foreign(path: Path) -> None:
    path.write_text("a letter to somebody\n")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (cut, "is damaged"),
        (emptied, "is empty"),
        (newer, "has schema 99"),
        (flipped, "does not match its checksum"),
        (foreign, "is not a database"),
    ],
)
@pytest.mark.parametrize(
    "arguments",
    [(), ("--json",), ("--record", "LINES"), ("--verify",), ("--rebuild",), ("--settle", "--data", "LINES")],
)
def test_a_journal_in_doubt_is_named_and_nothing_is_overwritten(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[Path], None],
    words: str,
    arguments: tuple[str, ...],
) -> None:
    state, lines = tmp_path / "sim", lines_of(tmp_path / "new.jsonl", NEW)
    journal = journal_of(state, OLD)
    with closing(sqlite3.connect(journal)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    harm(journal)
    before = journal.read_bytes()
    named = [str(lines) if argument == "LINES" else argument for argument in arguments]

    code = run(["metrics", "--state-dir", str(state), *named])
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("{")]
    if harm is flipped and arguments == ("--record", "LINES"):
        # What is added is sound, and so is its own batch; reading it all finds the damage.
        assert code in {ExitCode.OK, ExitCode.STATE_FILE}
        return
    assert code == ExitCode.STATE_FILE
    if "--json" not in arguments:
        assert words in error[-2]
        assert str(journal) in error[-2]
        assert error[-1].startswith("hint: ")
    assert journal.read_bytes() == before
    assert not (state / "tp_metrics.json").exists()


@pytest.mark.parametrize("arguments", [("--record", "LINES"), ("--rebuild",)])
def test_what_may_not_be_written_is_an_error_and_stays(
    tmp_path: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever is imported on the way is imported now: another user may not read where Python lies.
    warm = lines_of(tmp_path / "old.jsonl", OLD)
    assert record(tmp_path / "warm", warm) == ExitCode.OK
    assert run(["metrics", "--state-dir", str(tmp_path / "warm"), "-q"]) == ExitCode.OK
    # The shared part of the temporary folders belongs to whoever runs the tests: another user needs a place of his own.
    with tempfile.TemporaryDirectory() as own:
        Path(own).chmod(0o755)
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
            monkeypatch.setenv(name, own)
        state, lines = Path(own) / "sim", lines_of(Path(own) / "new.jsonl", NEW)
        journal = journal_of(state, OLD)
        with closing(sqlite3.connect(journal)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute("PRAGMA journal_mode = DELETE")
        before = journal.read_bytes()
        named = [str(lines) if argument == "LINES" else argument for argument in arguments]
        for path in (*state.iterdir(), lines):
            path.chmod(0o400)
            _give(path)
        state.chmod(0o500)
        _give(state)

        code, error = as_somebody(Path(own) / "said", ["metrics", "--state-dir", str(state), *named])
        shown, why = as_somebody(Path(own) / "shown", ["metrics", "--merge", str(journal), "-q"])
        state.chmod(0o700)

        assert (code, len(error)) == (ExitCode.STATE_FILE, 2), error
        assert error[0].startswith("error: ")
        assert error[1].startswith("hint: ")
        assert journal.read_bytes() == before
        assert not (state / "tp_metrics.json").exists()
        # A copy that may only be read can still be shown.
        assert shown == ExitCode.OK, why


def _give(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, _NOBODY, _NOBODY)


def as_somebody(said: Path, arguments: list[str]) -> tuple[int, list[str]]:
    """Run a command as a user for whom file modes hold; return its exit code and what it said on stderr."""
    said.touch(0o666)
    said.chmod(0o666)
    pid = os.fork()
    if pid == 0:
        code = 99
        with contextlib.suppress(BaseException):
            if os.geteuid() == 0:
                os.setgid(_NOBODY)
                os.setuid(_NOBODY)
            with said.open("w") as file, contextlib.redirect_stderr(file):
                code = run(arguments)
        os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), said.read_text().splitlines()


_NOBODY = 65534
