"""The journal keeps decisions whole, refuses what it cannot trust, and never touches what it refused."""

import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.journal_reader import EpisodeRow, Hindsight, JournalReader, PositionRow
from tpctl.adapters.journal_schema import APPLICATION_ID, SCHEMA, checksum
from tpctl.exits.errors import ExitCode, InputsError, LockedError, StateFileError
from tpctl.exits.events import MarkPrice, Tick
from tpctl.exits.ids import ClientId, Role
from tpctl.exits.instrument import OrderKind, OrderSide, PositionSide
from tpctl.exits.intents import CancelOrder, PlaceStop, PlaceTakeProfit
from tpctl.exits.model import Attempt, Book, LiveOrder, Note, NoteKind, OrderStatus, Outcome, PositionKey, WorkingType
from tpctl.exits.scoring import Aftermath, Verdict

FINGERPRINT = "0123456789abcdef"
KEY = PositionKey("BTCUSDT", PositionSide.LONG)
OTHER = PositionKey("BTCUSDT", PositionSide.SHORT)
MARK = MarkPrice(1_000, "BTCUSDT", Decimal("50000.10"))
STATE = PositionRow(KEY, 1, "0123456789", '{"stop":"49000"}')


def cid(role: Role = Role.STOP, leg: int = 0, revision: int = 1) -> str:
    return str(ClientId("0123456789", role, leg, revision))


def stop(revision: int = 1) -> PlaceStop:
    return PlaceStop(KEY, cid(revision=revision), Decimal("0.5"), Decimal(49_000), WorkingType.MARK, "stop")


def cancel(revision: int = 1) -> CancelOrder:
    return CancelOrder(KEY, cid(revision=revision), Book.ALGO, "replaced")


def attempt(number: int, outcome: Outcome = Outcome.HIT) -> Attempt:
    return Attempt(
        id=f"a{number}",
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
        outcome=outcome,
        reason="take_profit",
    )


ORDER = LiveOrder(
    symbol="BTCUSDT",
    client_id=cid(),
    exchange_id="77",
    book=Book.ALGO,
    kind=OrderKind.STOP_MARKET,
    order_side=OrderSide.SELL,
    position_side=None,
    status=OrderStatus.NEW,
    quantity=Decimal("0.5"),
    trigger=Decimal(49_000),
    price=None,
    working=WorkingType.MARK,
    close_position=False,
    reduce_only=True,
    executed=Decimal(0),
    average_price=None,
    child_id=None,
    updated_at=1_000,
)


def open_journal(path: Path, fingerprint: str = FINGERPRINT, reserve_bytes: int = 0) -> Journal:
    return Journal.open(path, fingerprint, at=42, code_version="0.1.0", reserve_bytes=reserve_bytes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with open_journal(path) as opened:
        yield opened


@given(st.lists(st.none() | st.integers() | st.text() | st.booleans() | st.sampled_from(PositionSide)))
def test_a_checksum_is_the_one_of_the_row_as_json_which_older_journals_hold(values: list[object]) -> None:
    assert checksum("events", tuple(values)) == zlib.crc32(json.dumps(["events", *values]).encode())


def test_a_tidied_log_is_written_from_its_start_again(journal: Journal, path: Path) -> None:
    log = path.with_name("journal.db-wal")

    def fill() -> int:
        for at in range(60):
            journal.commit(Entry(at, MARK, (STATE,)))
        return log.stat().st_size

    first = fill()
    journal.tidy()

    assert fill() == first
    assert fill() > first
    assert journal.states() == {KEY: STATE}


def test_a_new_journal_says_what_it_is_and_is_private(journal: Journal, path: Path) -> None:
    meta = journal.meta

    assert (meta.schema, meta.code_version, meta.fingerprint, meta.created_at) == (SCHEMA, "0.1.0", FINGERPRINT, 42)
    assert {entry.stat().st_mode & 0o777 for entry in path.parent.iterdir()} == {0o600}
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert raw.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_writer_syncs_every_commit(journal: Journal) -> None:
    # 2 is FULL: in WAL mode, NORMAL would lose acknowledged intents to a power cut (I8).
    assert journal._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._db.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_everything_of_a_decision_is_there_after_reopening(path: Path) -> None:
    notes = (
        Note(1_000, NoteKind.PLACED, KEY, "stop", {"trigger": Decimal("49000.0"), "leg": None}),
        Note(1_001, NoteKind.DEGRADED, None, "stream silent"),
    )
    episode = EpisodeRow("0123456789", KEY, 900, Decimal(50_000), Decimal("0.5"))
    with open_journal(path) as journal:
        done = journal.commit(Entry(1_000, MARK, (STATE,), (stop(), cancel()), notes, (attempt(1),), (episode,)))

    assert done.event_seq == 1
    assert done.note_seqs == (1, 2)
    assert done.new_attempts == ("a1",)
    with open_journal(path) as journal:
        assert journal.states() == {KEY: STATE}
        assert list(journal.events()) == [(1, MARK)]
        assert [(each.at, each.intent) for each in journal.intents()] == [(1_000, stop()), (1_000, cancel())]
        assert list(journal.notes()) == [(1, notes[0]), (2, notes[1])]
        assert journal.attempts() == (attempt(1),)
        assert journal.episodes() == (episode,)
        journal.integrity()


def test_intents_are_found_by_what_they_are_for(journal: Journal) -> None:
    profit = PlaceTakeProfit(
        KEY, cid(Role.TAKE_PROFIT, 2), 2, Decimal("0.1"), Decimal(51_000), WorkingType.MARK, "leg 2"
    )
    foreign_id = CancelOrder(KEY, "tp1-odd", Book.REGULAR, "sweep")
    journal.commit(Entry(1, intents=(profit, cancel(), foreign_id)))

    rows = journal._db.execute("SELECT kind, generation, role, leg, cancel, event_seq FROM intents ORDER BY seq")

    assert rows.fetchall() == [
        ("PlaceTakeProfit", "0123456789", "take_profit", 2, 0, None),
        ("CancelOrder", "0123456789", "stop", 0, 1, None),
        ("CancelOrder", None, None, None, 1, None),
    ]


def test_a_state_replaces_the_one_before_and_a_forgotten_position_keeps_its_lives(journal: Journal) -> None:
    other = PositionRow(OTHER, 1, "aaaaaaaaaa", "{}")
    journal.commit(Entry(1, states=(STATE, other)))
    journal.commit(Entry(2, states=(PositionRow(KEY, 2, None, None),)))

    assert journal.states() == {KEY: PositionRow(KEY, 2, None, None), OTHER: other}


def test_an_episode_is_completed_when_it_closes(journal: Journal) -> None:
    opened = EpisodeRow("0123456789", KEY, 900, Decimal(50_000), Decimal("0.5"))
    closed = EpisodeRow(
        "0123456789",
        KEY,
        900,
        Decimal(50_000),
        Decimal("0.5"),
        2_000,
        Decimal(51_000),
        Decimal(500),
        Decimal(1),
        0,
        "tp",
    )
    journal.commit(Entry(1, episodes=(opened,)))
    journal.commit(Entry(2, episodes=(closed,)))

    assert journal.episodes() == (closed,)


def test_an_attempt_counts_once_however_often_it_arrives(journal: Journal) -> None:
    assert journal.commit(Entry(1, attempts=(attempt(1), attempt(1)))).new_attempts == ("a1",)
    assert journal.commit(Entry(2, attempts=(attempt(1), attempt(2)))).new_attempts == ("a2",)
    assert journal.record(3, [attempt(2), attempt(3)]) == ("a3",)

    assert [each.id for each in journal.attempts()] == ["a1", "a2", "a3"]


def test_outcomes_from_elsewhere_are_recorded_all_or_none(journal: Journal) -> None:
    broken = Attempt(**{**{name: getattr(attempt(2), name) for name in Attempt.__slots__}, "target_price": Decimal(0)})

    with pytest.raises(InputsError):
        journal.record(1, [attempt(1), broken])

    assert journal.attempts() == ()


def test_a_miss_is_watched_until_its_verdict_which_then_shows_in_the_attempt(journal: Journal) -> None:
    aftermath = Aftermath("a1", KEY.side, Decimal(51_000), Decimal(49_000), 9, Decimal("0.1"), Decimal(50_000))
    journal.commit(Entry(1, attempts=(attempt(1, Outcome.MISS),), aftermaths=(aftermath,)))

    assert journal.aftermaths() == (aftermath,)

    journal.commit(Entry(2, hindsights=(Hindsight("a1", Verdict(True, Decimal(5))),)))
    journal.commit(Entry(3, hindsights=(Hindsight("a1", Verdict(False, Decimal(0))),)))

    assert journal.aftermaths() == ()
    assert [(each.premature, each.missed_usd) for each in journal.attempts()] == [(True, Decimal(5))]


def test_the_story_is_read_on_from_a_number(journal: Journal) -> None:
    assert journal.last_note_seq() == 0
    for at in range(5):
        journal.commit(Entry(at, notes=(Note(at, NoteKind.PLACED, KEY, "x"),)))

    assert [seq for seq, _ in journal.notes(since_seq=3)] == [4, 5]
    assert journal.last_note_seq() == 5


def test_nothing_of_a_decision_stays_when_a_part_cannot_be_written(journal: Journal) -> None:
    journal.commit(Entry(1, states=(STATE,)))
    orphan = Hindsight("never attempted", Verdict(False, Decimal(0)))
    with pytest.raises(sqlite3.IntegrityError):
        journal.commit(
            Entry(2, MARK, (PositionRow(KEY, 2, None, "{}"),), (stop(),), attempts=(attempt(1),), hindsights=(orphan,))
        )

    assert journal.states() == {KEY: STATE}
    assert list(journal.events()) == []
    assert list(journal.intents()) == []
    assert journal.attempts() == ()
    assert journal.commit(Entry(3, MARK)).event_seq == 1


def test_a_reader_sees_whole_decisions_and_does_not_delay_the_writer(journal: Journal, path: Path) -> None:
    journal.commit(Entry(1, MARK, (STATE,)))
    with JournalReader.read_only(path, FINGERPRINT) as reader, closing(sqlite3.connect(path)) as raw:
        raw.execute("BEGIN")
        raw.execute("SELECT * FROM events").fetchall()  # an old snapshot, held open
        journal.commit(Entry(2, Tick(2), (PositionRow(KEY, 2, None, None),)))

        assert len(raw.execute("SELECT * FROM events").fetchall()) == 1
        assert [event for _, event in reader.events()] == [MARK, Tick(2)]
        assert reader.states()[KEY].lives == 2


def test_a_reader_is_not_delayed_by_a_writer_in_the_middle(journal: Journal, path: Path) -> None:
    journal.commit(Entry(1, MARK))
    with closing(sqlite3.connect(path, isolation_level=None)) as raw, JournalReader.read_only(path) as reader:
        raw.execute("BEGIN IMMEDIATE")
        raw.execute("DELETE FROM events")

        assert [event for _, event in reader.events()] == [MARK]


def test_a_reader_cannot_write(journal: Journal, path: Path) -> None:
    with JournalReader.read_only(path) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("DELETE FROM events")


def test_a_command_may_record_beside_a_running_watch(journal: Journal, path: Path) -> None:
    with open_journal(path) as beside:
        beside.record(1, [attempt(1)])
        journal.commit(Entry(2, attempts=(attempt(1), attempt(2))))

        assert [each.id for each in beside.attempts()] == ["a1", "a2"]


def test_a_writer_that_does_not_finish_is_a_lock_not_damage(journal: Journal, path: Path) -> None:
    journal._db.execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        with pytest.raises(LockedError, match="being written by another process"):
            journal.commit(Entry(1, MARK))
        raw.execute("ROLLBACK")

    assert journal.commit(Entry(1, MARK)).event_seq == 1


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


def make_text(path: Path) -> None:
    path.write_text("not a database at all, but long enough to be looked at closely by somebody who might mistake it")


def make_truncated(path: Path) -> None:
    make_journal(path)
    os.truncate(path, path.stat().st_size // 2)


def make_truncated_within_a_page(path: Path) -> None:
    make_journal(path)
    os.truncate(path, path.stat().st_size - 1000)


def make_headless(path: Path) -> None:
    make_journal(path)
    content = bytearray(path.read_bytes())
    content[100:400] = b"\xff" * 300
    path.write_bytes(content)


def make_foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE events (seq INTEGER)")


def make_newer(path: Path) -> None:
    alter(path, f"PRAGMA user_version = {SCHEMA + 1}")


def make_versionless(path: Path) -> None:
    alter(path, "PRAGMA user_version = 0")


def make_nameless(path: Path) -> None:
    alter(path, "DELETE FROM meta")


def make_misattributed(path: Path) -> None:
    alter(path, "UPDATE meta SET fingerprint = '0123456789abcdee'")


def make_indexless(path: Path) -> None:
    alter(path, "DROP INDEX intents_by_client_id")


def make_unreadable_definition(path: Path) -> None:
    make_journal(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"CREATE TABLE aftermaths") + 2] |= 0x80
    path.write_bytes(content)


def make_disagreeing_index(path: Path) -> None:
    """Change an id in the index only: order holds, but the intent would not be found by its id."""
    with open_journal(path) as journal:
        journal.commit(Entry(1, intents=(stop(),)))
    content = bytearray(path.read_bytes())
    entries = [
        position
        for page in range(0, len(content), 4096)
        if content[page] == 10 and (position := content.find(cid().encode(), page, page + 4096)) >= 0
    ]
    assert len(entries) == 1
    content[entries[0]] ^= 1
    path.write_bytes(content)


def make_directory(path: Path) -> None:
    path.mkdir()


def make_link(path: Path) -> None:
    make_journal(path.with_name("real.db"))
    path.symlink_to("real.db")


def make_shared(path: Path) -> None:
    make_journal(path)
    path.chmod(0o666)


def make_orphaned_log(path: Path) -> None:
    path.with_name("journal.db-wal").write_bytes(b"x" * 4096)
    path.with_name("journal.db-wal").chmod(0o600)


def make_journal(path: Path) -> None:
    with open_journal(path) as journal:
        for number in range(200):
            journal.commit(Entry(number, MARK, (STATE,), (stop(number + 1),), attempts=(attempt(number),)))


def alter(path: Path, statement: str) -> None:
    make_journal(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute(statement)


DAMAGE = [
    (make_empty, "is empty"),
    (make_text, "is not a database"),
    (make_truncated, "is damaged"),
    (make_truncated_within_a_page, "is damaged"),
    (make_headless, "is damaged"),
    (make_foreign, "is a database, but not a tpctl journal"),
    (make_newer, f"has schema {SCHEMA + 1}, this tpctl reads up to {SCHEMA}"),
    (make_versionless, "has the impossible schema 0"),
    (make_nameless, "its description does not match its checksum"),
    (make_misattributed, "its description does not match its checksum"),
    (make_indexless, "its tables are not the ones it was made with"),
    (make_unreadable_definition, "it holds text that is not utf-8"),
    (make_disagreeing_index, "missing from index intents_by_client_id"),
    (make_directory, "is not a regular file"),
    (make_link, "is a symbolic link"),
    (make_shared, "is writable by others"),
    (make_orphaned_log, "is gone, but its log 'journal.db-wal' is still there"),
]


def contents(directory: Path) -> dict[str, bytes]:
    # The -shm file is an index SQLite rebuilds for any reader; it holds no data.
    return {
        entry.name: entry.read_bytes()
        for entry in directory.iterdir()
        if entry.is_file() and not entry.name.endswith("-shm") and entry.stat().st_size
    }


@pytest.mark.parametrize(("make", "message"), DAMAGE)
def test_what_cannot_be_trusted_is_refused_by_name_and_left_as_it_is(
    path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(path)
    before = contents(path.parent)

    with pytest.raises(StateFileError) as caught:
        open_journal(path)

    assert message in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == ExitCode.STATE_FILE
    assert "\n" not in caught.value.message + caught.value.hint
    assert contents(path.parent) == before


@pytest.mark.parametrize(("make", "message"), [each for each in DAMAGE if each[0] is not make_orphaned_log])
def test_a_reader_refuses_what_the_writer_refuses(path: Path, make: Callable[[Path], None], message: str) -> None:
    make(path)

    with pytest.raises(StateFileError), JournalReader.read_only(path) as reader:
        reader.integrity()


def test_the_hint_after_damage_is_a_way_out(path: Path) -> None:
    make_truncated(path)
    with pytest.raises(StateFileError) as caught:
        open_journal(path)
    assert caught.value.hint.startswith("move journal.db, journal.db-wal and journal.db-shm aside together")

    for entry in list(path.parent.glob("journal.db*")):
        entry.rename(entry.with_name(f"aside-{entry.name}"))

    with open_journal(path) as journal:
        assert journal.states() == {}


def test_another_accounts_journal_is_refused_to_both_and_read_by_who_does_not_ask(path: Path) -> None:
    make_journal(path)

    with pytest.raises(StateFileError, match="belongs to another account"):
        open_journal(path, "ffffffffffffffff")
    with pytest.raises(StateFileError, match="belongs to another account"):
        JournalReader.read_only(path, "ffffffffffffffff")
    with JournalReader.read_only(path) as reader:
        assert len(reader.attempts()) == 200


def test_reading_a_journal_that_is_not_there_says_what_makes_one(path: Path) -> None:
    with pytest.raises(StateFileError, match="does not exist") as caught:
        JournalReader.read_only(path)

    assert "tpctl watch" in caught.value.hint
    assert not path.exists()


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ('UPDATE positions SET state = \'{"stop":"39000"}\'', Journal.states),
        ("UPDATE positions SET lives = 3", Journal.states),
        ("UPDATE intents SET payload = replace(payload, '49000', '48000')", lambda journal: list(journal.intents())),
        ("UPDATE attempts SET payload = replace(payload, '50950', '50951')", Journal.attempts),
        ("UPDATE events SET at = at + 1", lambda journal: list(journal.events())),
        ("UPDATE notes SET kind = 'closed'", lambda journal: list(journal.notes())),
        ("UPDATE episodes SET opened_at = 1", Journal.episodes),
        ("UPDATE aftermaths SET at = 7", Journal.aftermaths),
    ],
)
def test_a_value_that_changed_on_disk_is_damage(path: Path, statement: str, read: Callable[[Journal], object]) -> None:
    with open_journal(path) as journal:
        journal.commit(
            Entry(
                1,
                MARK,
                (STATE,),
                (stop(),),
                (Note(1, NoteKind.PLACED, KEY, "x"),),
                (attempt(1, Outcome.MISS),),
                (EpisodeRow("0123456789", KEY, 900, Decimal(50_000), Decimal("0.5")),),
                (Aftermath("a1", KEY.side, Decimal(51_000), Decimal(49_000), 9, Decimal("0.1"), Decimal(50_000)),),
            )
        )
        read(journal)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute(statement)

    with open_journal(path) as journal, pytest.raises(StateFileError, match="does not match its checksum"):
        read(journal)


def test_every_flipped_byte_is_noticed_or_harmless(path: Path) -> None:
    """Flip one byte at a time over the whole file: what is read afterwards is what was written, or an error."""
    with open_journal(path) as journal:
        journal.commit(Entry(1, MARK, (STATE,), (stop(),), attempts=(attempt(1),)))
    whole = path.read_bytes()

    def everything() -> tuple[object, ...]:
        with open_journal(path) as journal:
            journal.integrity()
            return journal.states(), list(journal.events()), list(journal.intents()), journal.attempts()

    expected = everything()
    noticed = 0
    for position in range(0, len(whole), 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        try:
            assert everything() == expected
        except StateFileError:
            noticed += 1
        for name in ("journal.db-wal", "journal.db-shm"):
            path.with_name(name).unlink(missing_ok=True)

    assert noticed > 10


def test_a_full_disk_leaves_the_previous_state_and_writing_goes_on_when_there_is_room(journal: Journal) -> None:
    journal.commit(Entry(1, MARK, (STATE,)))
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    big = PositionRow(KEY, 2, "0123456789", "x" * 100_000)

    with pytest.raises(StateFileError, match="no space left") as caught:
        journal.commit(Entry(2, MARK, (big,), (stop(),)))

    assert caught.value.hint == "free some disk space and try again"
    assert journal.states() == {KEY: STATE}
    assert list(journal.intents()) == []
    journal._db.execute("PRAGMA max_page_count = 100000")
    journal.commit(Entry(3, MARK, (big,), (stop(),)))
    assert journal.states() == {KEY: big}


def test_a_journal_opens_where_there_is_no_room_for_a_reserve(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise StateFileError(f"cannot write {path}", "free some disk space")

    monkeypatch.setattr("tpctl.adapters.journal.write_atomic", refuse)

    with open_journal(path, reserve_bytes=1 << 20) as journal:
        assert not journal.release_reserve()
        journal.commit(Entry(1, MARK))


def test_the_reserve_is_real_space_and_given_back_once(path: Path) -> None:
    with open_journal(path, reserve_bytes=1 << 20) as journal:
        assert path.with_name("journal.reserve").stat().st_blocks * 512 >= 1 << 20
        assert journal.release_reserve()
        assert not journal.release_reserve()
        assert not path.with_name("journal.reserve").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write any file")
def test_a_read_only_journal_is_refused_when_it_is_opened(path: Path) -> None:
    make_journal(path)
    path.chmod(0o400)

    with pytest.raises(StateFileError, match="cannot write journal"):
        open_journal(path)


def test_what_a_crash_during_creation_left_does_not_matter(path: Path) -> None:
    leftovers = [path.with_name(f".journal.db.4194999.tmp{suffix}") for suffix in ("", "-wal", "-shm")]
    for leftover in leftovers:
        leftover.write_bytes(b"x" * 100)

    with open_journal(path) as journal:
        assert journal.states() == {}
    assert not any(leftover.exists() for leftover in leftovers)


def test_the_same_entries_make_the_same_journal(tmp_path: Path) -> None:
    dumps = []
    for name in ("a.db", "b.db"):
        with open_journal(tmp_path / name) as journal:
            journal.commit(Entry(1, MARK, (STATE,), (stop(),), (Note(1, NoteKind.PLACED, KEY, "x"),), (attempt(1),)))
            dumps.append(list(journal._db.iterdump()))

    assert dumps[0] == dumps[1]
