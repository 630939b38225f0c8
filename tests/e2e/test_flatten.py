"""`tpctl watch --flatten` on the served twin: alone and beside a watch, confirmed or not; twice is once."""

import signal
from pathlib import Path

import pytest
from ledger import Ledger, check_books, read_ledger
from processes import Done, Process, of, run, served_twin, watch_args
from terminals import Terminal, pulse_when, rest

from tpctl.exits.errors import ExitCode

FOUR = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]
WORTH = {"BTCUSDT": 5000, "ETHUSDT": 4000, "XRPUSDT": 3000, "SOLUSDT": 2000}


@pytest.fixture
def twin(tmp_path: Path) -> tuple[str, ...]:
    """Return a market with four longs and no entry after them, slow enough that none of their exits is reached."""
    file = tmp_path / "entries.csv"
    rows = [f"2026-01-05T00:00:00Z,{symbol},long,10,{worth}" for symbol, worth in WORTH.items()]
    file.write_text("\n".join(["time,symbol,side,leverage,notional", *rows]) + "\n")
    return ("--entries", str(file), "--speed", "10", "--seed", "4")


def flatten(url: str, state: Path, home: Path, *options: str) -> Done:
    return run(["watch", "--flatten", "--jsonl", "--venue", url, "--state-dir", str(state), *options], home)


def held(ledger: Ledger) -> list[str]:
    return sorted(ledger.sizes)


def test_alone_it_closes_what_a_watch_would_guard_and_a_second_time_nothing(
    home: Path, state: Path, twin: tuple[str, ...]
) -> None:
    with served_twin(home, *twin) as url:
        done = flatten(url, state, home, "--yes")
        after = read_ledger(url)
        again = flatten(url, state, home, "--yes")
        last = read_ledger(url)

    assert (done.code, again.code) == (ExitCode.OK, ExitCode.OK)
    assert sorted(event["symbol"] for event in of("closed", done.events)) == FOUR
    assert done.errors[0] == "to close at market in profile 'sim' (sim):"
    assert [line.split()[0] for line in done.errors[1:5]] == [*WORTH]
    assert (held(after), after.open_algo) == ([], [])
    assert again.err == "nothing to close in profile 'sim' (sim)\n"
    assert of("placed", again.events) == []
    assert [row["clientAlgoId"] for row in last.algo] == [row["clientAlgoId"] for row in after.algo]
    check_books(last)


def test_beside_a_watch_it_asks_and_follows_and_the_watch_goes_on(
    home: Path, state: Path, twin: tuple[str, ...]
) -> None:
    with served_twin(home, *twin) as url, Process(watch_args("--venue", url, state=state), home) as running:
        for _ in range(20):
            assert running.until(lambda event: event["type"] == "accepted")
        (state / "HALT").write_text("maintenance\n")  # stops no reduction
        some = flatten(url, state, home, "--yes", "XRPUSDT", "SOLUSDT", "--exclude", "BTCUSDT")
        between = read_ledger(url)
        done = flatten(url, state, home, "--yes")
        after = read_ledger(url)
        assert running.until(lambda event: event["type"] == "closed")
        running.terminate()
        ended = running.finish()

    assert (some.code, done.code) == (ExitCode.OK, ExitCode.OK)
    assert {event["symbol"] for event in of("closed", some.events)} == {"SOLUSDT", "XRPUSDT"}
    assert held(between) == ["BTCUSDT", "ETHUSDT"]
    assert {event["source"] for event in of("answered", done.events)} == {"flatten"}
    assert held(after) == []
    assert ended.code == ExitCode.TERMINATED
    assert ended.events[-1]["positions"] == 0
    check_books(after)


def test_a_watch_that_does_not_answer_closes_nothing_later(home: Path, state: Path, twin: tuple[str, ...]) -> None:
    with served_twin(home, *twin) as url, Process(watch_args("--venue", url, state=state), home) as running:
        for _ in range(20):
            assert running.until(lambda event: event["type"] == "accepted")
        running.send(signal.SIGSTOP)
        done = flatten(url, state, home, "--yes", "XRPUSDT")
        running.send(signal.SIGCONT)
        before = pulse_when(state, lambda pulse: True, rest)
        pulse_when(state, lambda pulse: pulse.at > before.at + 10_000, rest)
        running.terminate()
        ended = running.finish()

    assert done.code == ExitCode.UNAVAILABLE
    assert "did not answer" in done.errors[-3] + done.errors[-2]
    assert of("answered", ended.events) == []


def test_nothing_is_closed_unless_it_was_confirmed(home: Path, state: Path, twin: tuple[str, ...]) -> None:
    line = ["watch", "--flatten", "--state-dir", str(state)]
    with served_twin(home, *twin) as url:
        silent = flatten(url, state, home)
        with Terminal([*line, "--venue", url], home) as terminal:
            terminal.until("XRPUSDT LONG", "Type 'flatten' to close 4 at market: ")
            terminal.type("flat\r")
            assert terminal.wait() == ExitCode.NOT_ARMED
        with Terminal([*line, "--venue", url], home) as terminal:
            terminal.until("to close 4 at market: ")
            terminal.type("\x03")
            assert terminal.wait() == ExitCode.INTERRUPTED
        before = read_ledger(url)
        with Terminal([*line, "--venue", url], home) as terminal:
            terminal.until("to close 4 at market: ")
            terminal.type("flatten\r")
            terminal.until("closed 4 of 4")
            assert terminal.wait() == ExitCode.OK
        after = read_ledger(url)

    assert silent.code == ExitCode.NOT_ARMED
    assert "closing everything was not confirmed" in silent.err
    assert (held(before), before.algo) == (FOUR, [])
    assert (held(after), after.open_algo) == ([], [])


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--flatten", "--yes"), ExitCode.USAGE, "embedded twin ended with the last one"),
        (("--yes",), ExitCode.USAGE, "--yes does nothing without --flatten"),
        (("--flatten", "--for", "1h"), ExitCode.USAGE, "--for does not go with --flatten"),
        (("--flatten", "--speed", "60"), ExitCode.USAGE, "--speed does not go with --flatten"),
        (("--flatten", "--attach"), ExitCode.USAGE, "--flatten does not go with --attach"),
    ],
)
def test_what_cannot_be_flattened(home: Path, state: Path, options: tuple[str, ...], code: int, words: str) -> None:
    done = run(["watch", "--state-dir", str(state), *options], home)

    assert (done.code, done.out) == (code, "")
    assert words in done.errors[0]
