"""Killed at any system call, the state is as before or as after, and what was acknowledged is there (I8, I9, I17, D1).

Each write, sync, rename and truncate inside Python and SQLite is a crash point, and none is sampled (`tracing`). Full
disks are real too: a file size limit and, where namespaces allow, a tmpfs.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from test_requests import ACCOUNT, make_first_schema
from tracing import every_crash

from tpctl.adapters.files import StateDir, create_atomic, read_file, write_atomic
from tpctl.adapters.halt import set_halt
from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.journal_reader import JournalReader, PositionRow
from tpctl.adapters.journal_schema import SCHEMA
from tpctl.adapters.lock import acquire
from tpctl.adapters.metrics_file import MetricsFile
from tpctl.adapters.requests import RequestDesk
from tpctl.adapters.standings import Standings
from tpctl.exits.errors import StateFileError
from tpctl.exits.events import MarkPrice, Requested
from tpctl.exits.instrument import PositionSide
from tpctl.exits.intents import PlaceStop
from tpctl.exits.model import Attempt, Note, NoteKind, Outcome, PositionKey, WorkingType
from tpctl.exits.requests import CloseAll, RequestAnswer
from tpctl.exits.requests import Outcome as RequestOutcome

KEY = PositionKey("BTCUSDT", PositionSide.LONG)
BEFORE = PositionRow(KEY, 1, "0123456789", '{"stop":"48000"}')
AFTER = PositionRow(KEY, 1, "0123456789", '{"stop":"49000"}')
CID = "tp1-0123456789-s-1"
STOP = PlaceStop(KEY, CID, Decimal("0.5"), Decimal(49_000), WorkingType.MARK, "stop")
MARK = MarkPrice(1, "BTCUSDT", Decimal(50_000))
ATTEMPT = Attempt(
    id="a1",
    strategy_id="tp",
    symbol="BTCUSDT",
    position_side=PositionSide.LONG,
    leg=1,
    entry_time=0,
    entry_price=Decimal(50_000),
    target_price=Decimal(51_000),
    exit_time=7_200_000,
    exit_price=Decimal(50_950),
    quantity=Decimal("0.1"),
    profit_usd=Decimal(100),
    outcome=Outcome.HIT,
    reason="take_profit",
)
DECISION = Entry(2, MARK, (AFTER,), (STOP,), (Note(2, NoteKind.PLACED, KEY, "stop"),), (ATTEMPT,))


def open_journal(path: Path) -> Journal:
    return Journal.open(path, "f", at=0, code_version="0")


def test_a_replaced_file_is_the_old_or_the_new_one_at_every_crash(tmp_path: Path) -> None:
    old, new = b"old" * 1000, b"newer" * 1000
    seen = set()

    def prepare(directory: Path) -> Callable[[], None]:
        write_atomic(directory / "f", old)
        return lambda: write_atomic(directory / "f", new)

    for directory, finished in every_crash(tmp_path, prepare):
        content = read_file(directory / "f")
        seen.add(content)
        assert content in {old, new}
        assert content == new or not finished
        write_atomic(directory / "f", b"next")
        assert [entry.name for entry in directory.iterdir()] == ["f"]

    assert seen == {old, new}


def test_a_created_file_is_absent_or_whole_at_every_crash(tmp_path: Path) -> None:
    seen = set()
    for directory, finished in every_crash(
        tmp_path, lambda directory: lambda: create_atomic(directory / "f", b"new" * 1000)
    ):
        content = read_file(directory / "f")
        seen.add(content)
        assert content in {None, b"new" * 1000}
        assert content is not None or not finished
        assert create_atomic(directory / "f", b"next") is (content is None)

    assert seen == {None, b"new" * 1000}


def test_halt_is_never_half_set(tmp_path: Path) -> None:
    for directory, _ in every_crash(tmp_path, lambda directory: lambda: set_halt(StateDir(directory), "x")):
        assert read_file(directory / "HALT") in {None, b"x\n"}


def test_a_journal_killed_while_it_is_created_is_created_by_the_next_start(tmp_path: Path) -> None:
    for directory, _ in every_crash(tmp_path, lambda directory: lambda: open_journal(directory / "journal.db").close()):
        with open_journal(directory / "journal.db") as journal:
            journal.integrity()
            journal.commit(DECISION)
            assert journal.states() == {KEY: AFTER}


def test_a_decision_is_there_whole_or_not_at_all_at_every_crash(tmp_path: Path) -> None:
    seen = set()

    def prepare(directory: Path) -> Callable[[], None]:
        journal = open_journal(directory / "journal.db")
        journal.commit(Entry(1, MARK, (BEFORE,)))

        def act() -> None:
            journal.commit(DECISION)
            (directory / "sent").touch()

        return act

    for directory, finished in every_crash(tmp_path, prepare):
        sent = (directory / "sent").exists()
        with open_journal(directory / "journal.db") as journal:
            journal.integrity()
            parts = (
                journal.states() == {KEY: AFTER},
                [each.intent for each in journal.intents()] == [STOP],
                len(list(journal.events())) == 2,
                len(list(journal.notes())) == 1,
                journal.attempts() == (ATTEMPT,),
            )
            assert len(set(parts)) == 1, "part of a decision"
            assert parts[0] or journal.states() == {KEY: BEFORE}
        assert parts[0] or not sent, "sent before it was journalled (I8)"
        seen.add((parts[0], sent, finished))

    assert {(False, False, False), (True, False, False), (True, True, True)} <= seen


def test_a_checkpoint_loses_nothing_at_any_crash(tmp_path: Path) -> None:
    def prepare(directory: Path) -> Callable[[], None]:
        journal = open_journal(directory / "journal.db")
        for at in range(5):
            journal.commit(Entry(at, MARK, (BEFORE,)))
        journal.commit(DECISION)
        return journal.close

    for directory, _ in every_crash(tmp_path, prepare):
        with open_journal(directory / "journal.db") as journal:
            journal.integrity()
            assert journal.states() == {KEY: AFTER}
            assert len(list(journal.events())) == 6


def test_an_outcome_counts_once_in_the_metrics_file_whatever_crash_and_retry(tmp_path: Path) -> None:
    """Record, publish, be killed anywhere, start again, record the same outcome again, publish (I17, I18)."""
    first, again = ATTEMPT, [ATTEMPT, Attempt(**{**_fields(ATTEMPT), "id": "a2"})]
    counted = set()

    def prepare(directory: Path) -> Callable[[], None]:
        journal = open_journal(directory / "journal.db")
        metrics = MetricsFile(directory / "m.json")
        journal.record(1, [first])
        metrics.publish(Standings(journal.path).records)

        def act() -> None:
            journal.record(2, again)
            metrics.publish(Standings(journal.path).records)

        return act

    for directory, finished in every_crash(tmp_path, prepare):
        published = MetricsFile(directory / "m.json").read() or {}
        counted.add(published["tp:BTCUSDT"].tp_attempts)
        assert published["tp:BTCUSDT"].tp_attempts in ({2} if finished else {1, 2})
        with open_journal(directory / "journal.db") as journal:
            journal.record(3, again)
            assert (
                MetricsFile(directory / "m.json").publish(Standings(journal.path).records)["tp:BTCUSDT"].tp_attempts
                == 2
            )
        assert json.loads((directory / "m.json").read_bytes())["tp:BTCUSDT"]["total_tp_profit_usd"] == 200

    assert counted == {1, 2}


def _fields(attempt: Attempt) -> dict[str, object]:
    return {name: getattr(attempt, name) for name in Attempt.__slots__}


def test_a_lock_is_free_after_every_crash_of_its_holder(tmp_path: Path) -> None:
    def prepare(directory: Path) -> Callable[[], None]:
        return lambda: acquire(directory / "watch.lock").release()

    for directory, _ in every_crash(tmp_path, prepare, fewest=3):
        acquire(directory / "watch.lock").release()


def in_child(action: Callable[[], str]) -> str:
    """Return what `action` says, run in a child whose limits die with it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, action().encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as pipe:
        return pipe.read()


def limit_file_size(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_disk_that_refuses_writes_leaves_the_previous_state_and_the_journal_recovers(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"

    def act() -> str:
        journal = open_journal(path)
        journal.commit(Entry(1, MARK, (BEFORE,)))
        limit_file_size(64 * 1024)
        big = Entry(2, MARK, (PositionRow(KEY, 2, None, "x" * 200_000),), (STOP,))
        with pytest.raises(StateFileError) as caught:
            journal.commit(big)
        failed = journal._db
        intact = journal.states() == {KEY: BEFORE} and list(journal.intents()) == []
        limit_file_size(resource.RLIM_INFINITY)
        journal.commit(DECISION)
        journal.integrity()
        # What a failed sync left behind is unknown to that handle for good (D2).
        assert journal._db is not failed
        return f"{caught.value.message} | intact {intact} | recovered {journal.states() == {KEY: AFTER}}"

    assert in_child(act) == (
        f"cannot read or write journal {str(path)!r}: disk i/o error (SQLITE_IOERR_WRITE)"
        " | intact True | recovered True"
    )


def test_a_file_that_cannot_grow_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_atomic(path, b"old")

    def act() -> str:
        limit_file_size(1024)
        with pytest.raises(StateFileError) as caught:
            write_atomic(path, b"x" * 10_000)
        return f"{caught.value.message} | {caught.value.hint}"

    assert (
        in_child(act)
        == f"cannot write {str(path)!r}: file too large | raise the file size limit (ulimit -f) and try again"
    )
    assert read_file(path) == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


FULL_DISK = """
import sys
from decimal import Decimal
from pathlib import Path
from tpctl.adapters.files import read_file, write_atomic
from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.journal_reader import JournalReader, PositionRow
from tpctl.adapters.journal_schema import SCHEMA
from tpctl.exits.errors import StateFileError
from tpctl.exits.events import MarkPrice, Requested
from tpctl.exits.instrument import (PositionSide)
from tpctl.exits.model import (PositionKey)

disk = Path(sys.argv[1])
key = PositionKey("BTCUSDT", PositionSide.LONG)
mark = MarkPrice(1, "BTCUSDT", Decimal(1))
journal = Journal.open(disk / "journal.db", "f", at=0, code_version="0", reserve_bytes=256 * 1024)
write_atomic(disk / "f", b"old")
stored = None
for at in range(10_000):
    row = PositionRow(key, at, None, "x" * 20_000)
    try:
        journal.commit(Entry(at, mark, (row,)))
    except StateFileError as error:
        print(error.message.rpartition(": ")[2])
        break
    stored = row
try:
    write_atomic(disk / "f", b"new" * 400_000)
except StateFileError as error:
    print(error.message.rpartition(": ")[2])
print(journal.states() == {key: stored}, read_file(disk / "f") == b"old")
print(journal.release_reserve())
journal.commit(Entry(at, mark, (row,)))
journal.integrity()
print(journal.states() == {key: row})
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_a_full_disk_stops_new_decisions_and_the_reserve_lets_the_last_ones_through(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    tiny = f"mount -t tmpfs -o size=2m none {disk}"
    if subprocess.run([*mount, tiny], capture_output=True, check=False).returncode:
        pytest.skip("this system does not let a user mount a tmpfs")

    script = [*mount, f'{tiny} && exec "$0" -c "$1" {disk}', sys.executable, FULL_DISK]
    answer = subprocess.run(script, capture_output=True, text=True, check=False)

    assert answer.stderr == ""
    assert answer.stdout.splitlines() == [
        "no space left",
        "no space left on device",
        "True True",
        "True",
        "True",
    ]


def test_a_request_is_taken_exactly_once_at_every_crash(tmp_path: Path) -> None:
    seen = set()
    done = RequestAnswer(RequestOutcome.DONE, "closing 0.5 at market")

    def prepare(directory: Path) -> Callable[[], object]:
        journal = open_journal(directory / "journal.db")
        with RequestDesk.open(directory / "journal.db", "f") as desk:
            name = desk.file(KEY, CloseAll(), "test", 60_000)
        taken = Requested(2, KEY, name, "test", CloseAll())
        return lambda: journal.commit(Entry(2, taken, (AFTER,), answers=((name, done),)))

    for directory, finished in every_crash(tmp_path, prepare):
        with open_journal(directory / "journal.db") as journal:
            journal.integrity()
            (filed,) = journal.requests()
            events = [event for _, event in journal.events()]
            seen.add(filed.answer)
            # Waiting and nothing decided, or decided and answered: never between.
            assert (filed.answer is None) is (events == []) is (journal.states() == {})
            assert filed.answer == done or not finished
            assert len(events) <= 1

    assert seen == {None, done}


def test_a_journal_killed_while_its_schema_is_brought_up_to_date_is_whole(tmp_path: Path) -> None:
    seen = set()

    def prepare(directory: Path) -> Callable[[], object]:
        make_first_schema(directory / "journal.db")
        return lambda: Journal.open(directory / "journal.db", ACCOUNT, at=0, code_version="0").close()

    for directory, _ in every_crash(tmp_path, prepare):
        with JournalReader.read_only(directory / "journal.db") as reader:
            reader.integrity()
            seen.add(reader.meta.schema)
        with Journal.open(directory / "journal.db", ACCOUNT, at=0, code_version="0") as journal:
            journal.integrity()
            assert [note.reason for _, note in journal.notes()] == ["x"]

    assert seen == {1, SCHEMA}
