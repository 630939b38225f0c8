"""`tpctl trail --apply`, as cron runs it: beside a watch through its journal, beside none by itself; never twice."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from processes import Done, Process, run, served_twin, watch, watch_args

from tpctl.exits.errors import ExitCode


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    file = tmp_path / "entries.csv"
    file.write_text("time,symbol,side,leverage,notional\n2026-01-05T00:00:00Z,XRPUSDT,long,20,2000\n")
    return file


def apply(state: Path, home: Path, *options: str) -> Done:
    return run(["trail", "--apply", "--json", "--state-dir", str(state), *options], home)


def outcomes(done: Done) -> list[str]:
    return [each["outcome"] for each in json.loads(done.out)["data"]["applied"]]


def intents(state: Path) -> int:
    with closing(sqlite3.connect(f"file:{state / 'journal.db'}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM intents").fetchone()[0])


def test_a_running_watch_is_asked_and_its_answer_waited_for(state: Path, home: Path, entries: Path) -> None:
    options = ("--speed", "5", "--entries", str(entries))
    with Process(watch_args(*options, state=state), home) as running:
        assert running.until(lambda event: event["type"] == "accepted" and event["order"] == "stop")
        done = apply(state, home)
        assert (done.code, outcomes(done)) == (ExitCode.OK, ["unchanged"])
        answered = running.until(lambda event: event["type"] == "answered")
        assert answered is not None
        assert (answered["source"], answered["outcome"]) == ("trail", "unchanged")
        running.send(signal.SIGSTOP)
        late = apply(state, home, "--timeout", "1s")
        running.send(signal.SIGCONT)
        running.interrupt()
        ended = running.finish()
    assert late.code == ExitCode.UNAVAILABLE
    assert "did not answer within 1 s" in late.errors[0]
    # It was taken back: nobody heard of it afterwards.
    assert [event for event in ended.events if event["type"] == "answered"] == [answered]


def test_beside_no_watch_it_acts_by_itself_and_only_where_something_is_due(
    state: Path, home: Path, entries: Path
) -> None:
    with served_twin(home, "--entries", str(entries), "--speed", "max") as url:
        assert watch("--venue", url, "--once", state=state, home=home).code == ExitCode.OK
        sent = intents(state)
        for _ in range(2):
            done = apply(state, home, "--venue", url)
            assert (done.code, outcomes(done)) == (ExitCode.OK, ["unchanged"])
        assert intents(state) == sent


def test_an_account_that_ended_with_its_watch_is_refused(state: Path, home: Path, entries: Path) -> None:
    watch("--entries", str(entries), "--for", "1m", "--speed", "max", state=state, home=home)
    done = apply(state, home)
    assert done.code == ExitCode.USAGE
    assert "embedded twin ended with the last one" in done.errors[0]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--apply",), ExitCode.EMPTY, "has no journal"),
        (("--arm",), ExitCode.USAGE, "--arm does nothing without --apply"),
        (("--timeout", "3s"), ExitCode.USAGE, "--timeout does nothing without --apply"),
        (("--apply", "--check"), ExitCode.USAGE, "--apply and --check contradict each other"),
        (("--apply", "--profit", "3%"), ExitCode.USAGE, "--apply and a what-if contradict each other"),
        (("--apply", "--format", "csv"), ExitCode.USAGE, "--format csv has no form"),
        (("--apply", "--confirm", "sim"), ExitCode.USAGE, "--confirm does nothing without --arm"),
    ],
)
def test_what_makes_no_sense_is_refused(
    state: Path, home: Path, options: tuple[str, ...], code: ExitCode, words: str
) -> None:
    done = run(["trail", "--state-dir", str(state), *options], home)
    assert done.code == code
    assert words in done.errors[0]
