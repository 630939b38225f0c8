"""A disk that tears a write, is full, or fails to sync, at every such call of a journal and a metrics file (D1, D2).

What was there before is there after, whole, or else what was being written is; the error names the file and a way out;
and once the disk works again, so does everything.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from test_durability import AFTER, ATTEMPT, BEFORE, CID, DECISION, KEY, MARK, open_journal
from tracing import Strike, every_crash, mend

from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.journal_reader import PositionRow
from tpctl.adapters.metrics_file import MetricsFile
from tpctl.adapters.standings import Standings
from tpctl.exits.errors import StateFileError

SECOND = replace(ATTEMPT, id="a2")
LATER = PositionRow(KEY, 1, "0123456789", '{"stop":"50000"}')
REFUSING = [Strike.FULL, Strike.FAILED]


def tried(directory: Path, action: Callable[[], object]) -> bool:
    """Do it; keep what the error says, and the files as a restart would find them. Return whether it was done."""
    try:
        action()
    except StateFileError as error:
        mend()
        (directory / "said").write_text(f"{error.message}\n{error.hint}\n")
        found = [entry for entry in directory.iterdir() if entry.is_file()]
        (directory / "found").mkdir()
        for entry in found:
            shutil.copy(entry, directory / "found")
        return False
    mend()
    return True


def check_said(directory: Path, strike: Strike, name: str) -> None:
    message, hint = (directory / "said").read_text().splitlines()
    assert str(directory / name) in message, message
    assert ("no space" if strike is Strike.FULL else "error") in message
    assert "disk" in hint, (message, hint)


def whole_decision(journal: Journal) -> bool:
    """Return whether the decision is there, after checking that all of it is or none."""
    journal.integrity()
    parts = (
        journal.states() == {KEY: AFTER},
        [each.intent.client_id for each in journal.intents()] == [CID],
        len(list(journal.events())) == 2,
        journal.attempts() == (ATTEMPT,),
    )
    assert len(set(parts)) == 1, "part of a decision"
    assert parts[0] or journal.states() == {KEY: BEFORE}
    return parts[0]


def test_a_decision_torn_at_any_write_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def prepare(directory: Path) -> Callable[[], object]:
        journal = open_journal(directory / "journal.db")
        journal.commit(Entry(1, MARK, (BEFORE,)))
        return lambda: journal.commit(DECISION)

    seen = set()
    for directory, finished in every_crash(tmp_path, prepare, strike=Strike.TORN):
        with open_journal(directory / "journal.db") as journal:
            seen.add((whole_decision(journal), finished))

    assert seen == {(False, False), (True, True)}


@pytest.mark.parametrize("strike", REFUSING)
def test_a_decision_the_disk_refused_is_not_there_and_the_next_one_is(tmp_path: Path, strike: Strike) -> None:
    def prepare(directory: Path) -> Callable[[], object]:
        journal = open_journal(directory / "journal.db")
        journal.commit(Entry(1, MARK, (BEFORE,)))

        def act() -> None:
            if tried(directory, lambda: journal.commit(DECISION)):
                (directory / "done").touch()
            journal.commit(Entry(3, MARK, (LATER,)))

        return act

    refused = 0
    for directory, finished in every_crash(tmp_path, prepare, 1, strike):
        done = (directory / "done").exists()
        if not done:
            refused += 1
            check_said(directory, strike, "journal.db")
            with open_journal(directory / "found" / "journal.db") as journal:
                # What a failed sync left is not known, and is as good as what a power cut leaves.
                assert not whole_decision(journal) or strike is Strike.FAILED
        with open_journal(directory / "journal.db") as journal:
            journal.integrity()
            assert journal.states() == {KEY: LATER}
        assert done or not finished

    assert refused


@pytest.mark.parametrize("strike", list(Strike))
def test_whatever_happens_while_the_log_is_emptied_nothing_committed_is_lost(tmp_path: Path, strike: Strike) -> None:
    def prepare(directory: Path) -> Callable[[], object]:
        journal = open_journal(directory / "journal.db")
        for at in range(60):
            journal.commit(Entry(at, MARK, (BEFORE,)))

        def act() -> None:
            journal.tidy()
            mend()
            journal.commit(Entry(60, MARK, (LATER,)))

        return act

    tried_at = 0
    for directory, finished in every_crash(tmp_path, prepare, 1, strike):
        tried_at += 1
        with open_journal(directory / "journal.db") as journal:
            journal.integrity()
            assert journal.states() in ({KEY: BEFORE}, {KEY: LATER})
            assert len(list(journal.events())) - 60 == (journal.states() == {KEY: LATER})
            assert journal.states() == {KEY: LATER} or not finished

    assert tried_at > 2


@pytest.mark.parametrize("strike", [Strike.TORN, *REFUSING])
def test_a_journal_whose_making_the_disk_spoilt_is_made_by_the_next_start(tmp_path: Path, strike: Strike) -> None:
    def prepare(directory: Path) -> Callable[[], object]:
        return lambda: tried(directory, lambda: open_journal(directory / "journal.db").close())

    for directory, _ in every_crash(tmp_path, prepare, 1, strike):
        if (directory / "said").exists():
            check_said(directory, strike, "journal.db")
        with open_journal(directory / "journal.db") as journal:
            journal.integrity()
            journal.commit(DECISION)
            assert journal.states() == {KEY: AFTER}


@pytest.mark.parametrize("strike", [Strike.TORN, *REFUSING])
def test_a_checkpoint_the_disk_spoilt_loses_nothing(tmp_path: Path, strike: Strike) -> None:
    def prepare(directory: Path) -> Callable[[], object]:
        journal = open_journal(directory / "journal.db")
        for at in range(5):
            journal.commit(Entry(at, MARK, (BEFORE,)))
        journal.commit(DECISION)
        return journal.close

    for directory, _ in every_crash(tmp_path, prepare, 1, strike):
        with open_journal(directory / "journal.db") as journal:
            journal.integrity()
            assert journal.states() == {KEY: AFTER}
            assert len(list(journal.events())) == 6


@pytest.mark.parametrize("strike", [Strike.TORN, *REFUSING])
def test_a_metrics_file_the_disk_spoilt_is_the_old_one_or_the_new(tmp_path: Path, strike: Strike) -> None:
    def prepare(directory: Path) -> Callable[[], object]:
        journal = open_journal(directory / "journal.db")
        standings, metrics = Standings(journal.path), MetricsFile(directory / "m.json")
        journal.record(1, [ATTEMPT])
        metrics.publish(standings.records)
        journal.record(2, [SECOND])

        def act() -> None:
            if not tried(directory, lambda: metrics.publish(standings.records)):
                metrics.publish(standings.records)

        return act

    seen = set()
    for directory, finished in every_crash(tmp_path, prepare, 1, strike):
        refused = (directory / "said").exists()
        if refused:
            check_said(directory, strike, "m.json")
        for place in (directory / "found", directory) if refused else (directory,):
            shown = json.loads((place / "m.json").read_bytes())["tp:BTCUSDT"]["tp_attempts"]
            seen.add((place is directory, shown))
            assert shown == 2 or not (finished or (refused and place is directory))
        with Standings(directory / "journal.db") as standings:
            assert MetricsFile(directory / "m.json").publish(standings.records)["tp:BTCUSDT"].tp_attempts == 2
        assert [entry.name for entry in directory.iterdir() if entry.name.endswith(".tmp")] == []

    assert (strike is Strike.TORN, 1) in seen
