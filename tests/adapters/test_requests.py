"""Requests between processes: filed in the journal of the running watch, taken exactly once, answered or expired."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from tpctl.adapters import journal_schema
from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.journal_schema import APPLICATION_ID, SCHEMA, checksum
from tpctl.adapters.requests import RequestDesk
from tpctl.exits.errors import StateFileError
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import PositionKey
from tpctl.exits.requests import CloseAll, Outcome, RequestAnswer, TightenStop

ACCOUNT = "0123456789abcdef"
KEY = PositionKey("BTCUSDT", PositionSide.LONG)
STOP = TightenStop(Decimal("49000.5"))
DONE = RequestAnswer(Outcome.DONE, "stop 48000 → 49000.5")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal.open(path, ACCOUNT, at=42, code_version="0") as opened:
        yield opened


@pytest.fixture
def desk(journal: Journal, path: Path) -> Iterator[RequestDesk]:
    with RequestDesk.open(path, ACCOUNT) as opened:
        yield opened


def test_requests_come_in_their_order_with_what_was_asked(journal: Journal, desk: RequestDesk) -> None:
    first = desk.file(KEY, STOP, "trail", 5_000)
    second = desk.file(KEY, CloseAll(), "watch", 5_000)
    waiting = journal.requests(waiting=True)
    assert [(r.id, r.key, r.request, r.source, r.answer) for r in waiting] == [
        (first, KEY, STOP, "trail", None),
        (second, KEY, CloseAll(), "watch", None),
    ]
    assert {r.expires_at - r.at for r in waiting} == {5_000}


def test_an_answer_is_given_once_and_seen_by_the_sender(journal: Journal, desk: RequestDesk) -> None:
    name = desk.file(KEY, STOP, "trail", 5_000)
    assert desk.answer(name) is None
    journal.commit(Entry(1, answers=((name, DONE),)))
    journal.commit(Entry(2, answers=((name, RequestAnswer(Outcome.REFUSED, "late")),)))
    assert desk.wait(name, 1_000) == DONE
    assert journal.requests(waiting=True) == ()
    assert [r.answer for r in journal.requests()] == [DONE]
    journal.integrity()


def test_an_answer_to_nothing_filed_changes_nothing(journal: Journal) -> None:
    journal.commit(Entry(1, answers=(("dashboard-1-1", DONE),)))
    assert journal.requests() == ()


def test_a_sender_that_gives_up_takes_its_request_back(journal: Journal, desk: RequestDesk) -> None:
    name = desk.file(KEY, STOP, "trail", 5_000)
    answer = desk.wait(name, 0)
    assert (answer.outcome, answer.text) == (Outcome.WITHDRAWN, "no answer within 0 s")
    assert journal.requests(waiting=True) == ()


def test_a_request_taken_in_the_last_moment_is_not_taken_back(journal: Journal, desk: RequestDesk) -> None:
    name = desk.file(KEY, STOP, "trail", 5_000)
    journal.commit(Entry(1, answers=((name, DONE),)))
    assert desk.withdraw(name, "too late") == DONE


def test_what_a_newer_version_asks_is_not_damage(journal: Journal, desk: RequestDesk, path: Path) -> None:
    name = desk.file(KEY, STOP, "trail", 5_000)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        payload = '{"$kind":"Hedge","share":"0.5"}'
        row = raw.execute("SELECT seq, id, at, expires_at, source, symbol, side FROM requests").fetchone()
        crc = checksum("requests", (*row, payload, None, None))
        raw.execute("UPDATE requests SET payload = ?, crc = ?", (payload, crc))
    (filed,) = journal.requests(waiting=True)
    assert (filed.id, filed.request) == (name, None)


def test_a_changed_row_is_damage(journal: Journal, desk: RequestDesk, path: Path) -> None:
    desk.file(KEY, STOP, "trail", 5_000)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("UPDATE requests SET side = 'short'")
    with pytest.raises(StateFileError, match="a row of requests does not match its checksum"):
        journal.requests(waiting=True)


def test_there_is_nobody_to_ask_without_a_journal(path: Path) -> None:
    with pytest.raises(StateFileError, match="does not exist"):
        RequestDesk.open(path, ACCOUNT)


def make_first_schema(path: Path) -> None:
    """Write a journal as the first version of tpctl left it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode = WAL")
        raw.executescript(
            f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1; {journal_schema._TABLES[0]}"
        )
        row = (1, 1, "0.1.0", ACCOUNT, 42)
        raw.execute("INSERT INTO meta VALUES (?, ?, ?, ?, ?, ?)", (*row, checksum("meta", row)))
        note = (1, 7, "halted", None, None, '{"at":7,"kind":"halted","key":null,"reason":"x","data":{}}')
        raw.execute("INSERT INTO notes VALUES (?, ?, ?, ?, ?, ?, ?)", (*note, checksum("notes", note)))
        raw.execute("COMMIT")
    for file in path.parent.iterdir():
        file.chmod(0o600)


def test_a_journal_of_the_first_schema_is_read_as_it_stands(path: Path) -> None:
    make_first_schema(path)
    before = path.read_bytes()
    with JournalReader.read_only(path, ACCOUNT) as reader:
        reader.integrity()
        assert [note.reason for _, note in reader.notes()] == ["x"]
        assert reader.requests() == ()
        assert (reader.settlements(), reader.costs(), reader.mids()) == ((), (), ())
        assert reader.meta.schema == 1
    assert path.read_bytes() == before


def test_the_writer_brings_a_journal_of_the_first_schema_up_to_date(path: Path) -> None:
    make_first_schema(path)
    for _ in range(2):
        with Journal.open(path, ACCOUNT, at=99, code_version="0.2.0") as journal:
            journal.integrity()
            meta = journal.meta
            assert (meta.schema, meta.code_version, meta.created_at) == (SCHEMA, "0.1.0", 42)
            assert [note.reason for _, note in journal.notes()] == ["x"]
    with RequestDesk.open(path, ACCOUNT) as desk:
        desk.file(KEY, STOP, "trail", 1)
    with JournalReader.read_only(path, ACCOUNT) as reader:
        assert len(reader.requests()) == 1


def test_an_old_reader_goes_on_when_the_writer_brings_the_file_up_to_date(path: Path) -> None:
    make_first_schema(path)
    with JournalReader.read_only(path, ACCOUNT) as reader:
        assert reader.requests() == ()
        with Journal.open(path, ACCOUNT, at=99, code_version="0.2.0"), RequestDesk.open(path, ACCOUNT) as desk:
            desk.file(KEY, STOP, "trail", 1)
        assert len(reader.requests()) == 1
