"""Reading a journal in pieces: nothing twice, nothing left out, damage never skipped."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from metrics_desk import LIFE, START, VECTOR, life, open_journal, random_attempts

from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.journal_reader import Hindsight, PositionRow
from tpctl.adapters.journal_scan import JournalScan, OpenAttempt
from tpctl.exits.errors import StateFileError
from tpctl.exits.events import MarkPrice, Snapshot
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import Note, NoteKind, Outcome, Position, PositionKey, PositionMode
from tpctl.exits.scoring import Verdict

STATE = (
    '{"phase":"guarded","opened_at":5,"plan":{"policy":"dynamic"},"legs":['
    '{"number":1,"status":"hit"},{"number":2,"status":"waiting"},{"number":3,"status":"waiting","recorded":true}]}'
)


def scan_of(path: Path) -> JournalScan:
    return JournalScan.open(path / "sim" / "journal.db")


def test_attempts_come_once_each_in_pieces_of_any_size(tmp_path: Path) -> None:
    attempts = random_attempts(3, 25)
    with open_journal(tmp_path / "sim") as journal:
        for attempt in attempts:
            journal.record(START, [replace(attempt, premature=None, missed_usd=None)])
            journal.record(START, [attempt])
    with scan_of(tmp_path) as scan:
        for size in (1, 7, 25, 100):
            row, found = 0, []
            while part := scan.attempts_after(row, size):
                found += [attempt.id for _, attempt in part]
                row = part[-1][0]
            assert found == [attempt.id for attempt in attempts]
        assert scan.count_attempts(10) == 10
        assert scan.last_rows()[0] == scan.count_attempts(10**9) == 25
        assert scan.attempt(1) == replace(attempts[0], premature=None, missed_usd=None)
        assert scan.attempt(26) is None
        assert set(scan.known([attempts[3].id, "nobody"])) == {attempts[3].id}


def test_a_verdict_names_its_attempt(tmp_path: Path) -> None:
    verdict = Verdict(True, Decimal(3))
    with open_journal(tmp_path / "sim") as journal:
        journal.record(START, [VECTOR, replace(VECTOR, id="m", outcome=Outcome.MISS)])
        journal.commit(Entry(START, hindsights=(Hindsight("m", verdict),)))
    with scan_of(tmp_path) as scan:
        assert scan.hindsights_after(0) == [(1, 2, "m", verdict)]
        assert scan.hindsights_after(1) == []


def test_notes_are_told_by_kind(tmp_path: Path) -> None:
    with open_journal(tmp_path / "sim") as journal:
        for entry in life(1, pnl="-4"):
            journal.commit(entry)
    with scan_of(tmp_path) as scan:
        assert [note.kind for _, note in scan.notes_after(0, (NoteKind.PLANNED, NoteKind.CLOSED))] == [
            NoteKind.PLANNED,
            NoteKind.PLANNED,
            NoteKind.CLOSED,
        ]


def test_open_attempts_are_the_legs_that_wait(tmp_path: Path) -> None:
    with open_journal(tmp_path / "sim") as journal:
        journal.commit(Entry(START, states=(PositionRow(LIFE, 1, "0000000001", STATE),)))
        flat = PositionKey("ETHUSDT", PositionSide.LONG)
        journal.commit(Entry(START, states=(PositionRow(flat, 1, None, None),)))
    with scan_of(tmp_path) as scan:
        assert scan.open_attempts() == (OpenAttempt("dynamic", "XRPUSDT", PositionSide.LONG, 2, 5, ""),)


@pytest.mark.parametrize("state", ["{}", '{"phase":"guarded","plan":{}}', "[]"])
def test_a_state_of_another_version_makes_open_attempts_unavailable_and_nothing_else(
    tmp_path: Path, state: str
) -> None:
    with open_journal(tmp_path / "sim") as journal:
        journal.commit(Entry(START, states=(PositionRow(LIFE, 1, "0000000001", state),)))
    with scan_of(tmp_path) as scan:
        assert isinstance(scan.open_attempts(), Unavailable)


def test_marks_are_those_on_record_between_two_times(tmp_path: Path) -> None:
    position = Position(LIFE, Decimal(1), Decimal(2), Decimal("2.05"), 0, None, Decimal(0), Decimal(1), Decimal(0))
    other = replace(position, key=PositionKey("XRPUSDT", PositionSide.SHORT), mark_price=Decimal(9))
    with open_journal(tmp_path / "sim") as journal:
        for number in range(300):
            journal.commit(Entry(START + number, MarkPrice(START + number, "ETHUSDT", Decimal(number))))
        for number in range(300):
            journal.commit(
                Entry(START + 1000 + number, MarkPrice(START + 1000 + number, "XRPUSDT", Decimal(number + 1)))
            )
        at = START + 2000
        journal.commit(Entry(at, Snapshot(at, PositionMode.ONE_WAY, (other, position), ())))
    with scan_of(tmp_path) as scan:
        assert scan.marks_between(LIFE, START + 1100, START + 1102) == [
            (START + 1100, 101),
            (START + 1101, 102),
            (START + 1102, 103),
        ]
        assert scan.marks_between(LIFE, START + 1299, START + 5000) == [(START + 1299, 300), (at, Decimal("2.05"))]
        assert scan.marks_between(LIFE, START + 9000, START + 9001) == []
        assert scan.newest_at() == at


def test_a_journal_without_events_has_no_present(tmp_path: Path) -> None:
    open_journal(tmp_path / "sim").close()
    with scan_of(tmp_path) as scan:
        assert scan.newest_at() is None
        assert scan.last_rows() == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("UPDATE attempts SET payload = replace(payload, '51000', '52000')", lambda scan: scan.attempts_after(0)),
        ("UPDATE hindsights SET at = at + 1", lambda scan: scan.hindsights_after(0)),
        (
            "UPDATE notes SET payload = replace(payload, '1.96', '1.95')",
            lambda s: s.notes_after(0, (NoteKind.PLANNED,)),
        ),
    ],
)
def test_a_row_that_changed_on_disk_is_damage(tmp_path: Path, statement: str, read: object) -> None:
    with open_journal(tmp_path / "sim") as journal:
        journal.record(START, [VECTOR, replace(VECTOR, id="m", outcome=Outcome.MISS)])
        journal.commit(Entry(START, hindsights=(Hindsight("m", Verdict(True, Decimal(3))),)))
        for entry in life(1, pnl="-4"):
            journal.commit(entry)
    with closing(sqlite3.connect(tmp_path / "sim" / "journal.db")) as db, db:
        db.execute(statement)
    with scan_of(tmp_path) as scan, pytest.raises(StateFileError, match="does not match its checksum"):
        read(scan)  # type: ignore[operator]  # a reader


def test_a_second_reader_in_the_writers_process_does_not_cost_its_log(tmp_path: Path) -> None:
    """SQLite's locks belong to the process: losing them, the next process to close would remove the log in use (I8)."""
    path = tmp_path / "journal.db"
    with Journal.open(path, "f", at=0, code_version="0") as journal:
        journal.commit(Entry(1))
        with JournalScan.open(path) as scan:
            scan.last_rows()
            program = (
                "import sys; from pathlib import Path; from tpctl.adapters.journal import Journal;"
                "Journal.open(Path(sys.argv[1]), 'f', at=0, code_version='0').close()"
            )
            subprocess.run([sys.executable, "-c", program, str(path)], check=True)
            journal.commit(Entry(2, notes=(Note(2, NoteKind.STARTED, None, "still here"),)))
        program = (
            "import sys; from pathlib import Path; from tpctl.adapters.journal_reader import JournalReader;"
            "print(len(list(JournalReader.read_only(Path(sys.argv[1])).notes())))"
        )
        seen = subprocess.run(
            [sys.executable, "-c", program, str(path)], check=True, capture_output=True, text=True
        ).stdout
    assert seen == "1\n"
