"""Leaving: signals, a reader that goes away, `--once`. Whatever the way out, the stops stay on the exchange (I25)."""

import subprocess
import sys
from pathlib import Path

import pytest
from ledger import check_books, held_market, read_ledger
from processes import PATIENCE_S, Process, environment, of, served_twin, watch, watch_args

from tpctl.exits.errors import ExitCode

TWIN = ("--speed", "60", "--seed", "4")


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [("interrupt", ExitCode.INTERRUPTED, "interrupted"), ("terminate", ExitCode.TERMINATED, "terminated")],
)
def test_a_signal_ends_the_watch_and_leaves_the_stops(
    home: Path, state: Path, name: str, code: ExitCode, reason: str
) -> None:
    with served_twin(home, *TWIN) as url, Process(watch_args("--venue", url, state=state), home) as process:
        placed = 0
        while placed < 20:  # four positions: backstop, stop and three take-profits each
            assert process.until(lambda event: event["type"] == "accepted") is not None
            placed += 1
        with held_market(url):
            getattr(process, name)()
            done = process.finish()
            ledger = read_ledger(url)

    assert (done.code, done.err) == (code, "")
    last = done.events[-1]
    assert (last["type"], last["reason"]) == ("stopped", reason)
    assert last["positions"] == last["protected"] == len(ledger.sizes)
    assert last["orders_resting"] == len(ledger.open_algo)
    check_books(ledger)


def test_the_last_line_says_what_stays_on_the_exchange(home: Path, state: Path) -> None:
    with (
        served_twin(home, *TWIN) as url,
        Process(["watch", "--venue", url, "--state-dir", str(state)], home) as process,
    ):
        while "SOLUSDT" not in (process.line() or "SOLUSDT"):
            pass
        process.interrupt()
        done = process.finish()

    assert done.code == ExitCode.INTERRUPTED
    last = done.out.splitlines()[-1]
    assert "interrupted" in last
    assert "on the exchange" in last


def test_a_signal_before_anything_began_ends_quietly(home: Path) -> None:
    with Process(["venue", "--json"], home) as process:
        assert process.line() is not None
        process.terminate()
        done = process.finish()

    assert (done.code, done.err) == (ExitCode.TERMINATED, "")


def test_a_closed_pipe_is_no_crash(home: Path, state: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tpctl", *watch_args("--speed", "max", "--for", "10m", state=state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        for _ in range(3):
            assert process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
        code = process.wait(PATIENCE_S)

    assert (code, told) == (ExitCode.PIPE_CLOSED, "")


def test_once_places_everything_and_a_second_time_nothing(home: Path, state: Path) -> None:
    with served_twin(home, "--speed", "max", "--seed", "4") as url:
        first = watch("--venue", url, "--once", state=state, home=home)
        between = read_ledger(url)
        second = watch("--venue", url, "--once", state=state, home=home)
        after = read_ledger(url)

    for done in (first, second):
        assert (done.code, done.err) == (ExitCode.OK, "")
        assert done.events[-1]["reason"] == "everything wanted is in place"
    check_books(between)
    assert len(between.open_algo) == 20
    assert len(of("placed", first.events)) == 20
    assert of("placed", second.events) == []
    ids = [{row["clientAlgoId"] for row in ledger.algo} for ledger in (between, after)]
    assert ids[0] == ids[1]
