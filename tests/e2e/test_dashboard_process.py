"""The dashboard on a real terminal: whatever becomes of the view, the engine keeps guarding (issue: show 4)."""

import os
import re
import signal
from pathlib import Path

import pytest
from ledger import check_books, held_market, read_ledger
from processes import served_twin
from terminals import Terminal, pulse_when, rest

from tpctl.adapters.journal_reader import JournalReader
from tpctl.exits.errors import ExitCode
from tpctl.exits.model import NoteKind

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")

TWIN = ("--speed", "300", "--seed", "4")
TEN_MINUTES = 600_000
MAIN_SCREEN = "\x1b[?1049l"


def args(url: str, state: Path, *more: str) -> list[str]:
    return ["watch", "--venue", url, "--state-dir", str(state), *more]


def test_a_killed_view_leaves_lines_and_the_terminal_as_it_was(home: Path, state: Path) -> None:
    with served_twin(home, *TWIN) as url, Terminal(args(url, state), home) as terminal:
        terminal.until("SIM ARMED", "protected", "ladder")
        os.kill(terminal.view(), signal.SIGKILL)
        terminal.until("the dashboard ended (signal 9); positions stay guarded", "TP1 hit")
        before = pulse_when(state, lambda pulse: True, terminal.read)
        pulse_when(state, lambda pulse: pulse.at > before.at + TEN_MINUTES, terminal.read)
        with held_market(url):
            terminal.process.send_signal(signal.SIGINT)
            code = terminal.wait()
            ledger = read_ledger(url)

    assert code == ExitCode.INTERRUPTED
    assert "on the exchange" in terminal.shown
    check_books(ledger)


def test_a_terminal_that_does_not_read_keeps_nobody_waiting(home: Path, state: Path) -> None:
    with served_twin(home, *TWIN) as url, Terminal(args(url, state), home, columns=200, rows=60) as terminal:
        terminal.until("SIM ARMED", "ladder")
        before = pulse_when(state, lambda pulse: True, rest)
        pulse_when(state, lambda pulse: pulse.at > before.at + 2 * TEN_MINUTES, rest)
        os.kill(terminal.view(), signal.SIGKILL)  # now lines go to a terminal that does not read
        before = pulse_when(state, lambda pulse: True, rest)
        pulse_when(state, lambda pulse: pulse.at > before.at + TEN_MINUTES, rest)
        terminal.process.terminate()
        code = terminal.wait(reading=False)

    assert code == ExitCode.TERMINATED
    with JournalReader.read_only(state / "journal.db") as journal:
        *_, (_, last) = journal.notes()
    assert last.kind is NoteKind.STOPPED
    assert last.data["positions"] == last.data["protected"] != 0


def test_a_stopped_view_does_not_stop_the_engine(home: Path, state: Path) -> None:
    with served_twin(home, *TWIN) as url, Terminal(args(url, state), home) as terminal:
        terminal.until("SIM ARMED", "ladder")
        os.kill(terminal.view(), signal.SIGSTOP)
        before = pulse_when(state, lambda pulse: True, terminal.read)
        pulse_when(state, lambda pulse: pulse.at > before.at + TEN_MINUTES, terminal.read)
        terminal.process.send_signal(signal.SIGINT)
        code = terminal.wait()

    assert code == ExitCode.INTERRUPTED
    assert MAIN_SCREEN in terminal.shown


def test_a_resize_storm_and_the_keys_after_it(home: Path, state: Path) -> None:
    with served_twin(home, *TWIN) as url, Terminal(args(url, state), home) as terminal:
        terminal.until("SIM ARMED", "ladder")
        for number in range(200):
            terminal.resize(20 + number * 7 % 181, 1 + number * 5 % 60)
            if number % 10 == 0:
                terminal.read(0.01)
        terminal.resize(120, 40)
        terminal.until("breakeven")
        terminal.type("p")
        terminal.until("PAUSED")
        assert pulse_when(state, lambda pulse: True, terminal.read).paused
        terminal.type("p")
        pulse_when(state, lambda pulse: not pulse.paused, terminal.read)
        terminal.type("q")
        terminal.until("stops stay on the exchange")
        terminal.type("quit\r")
        code = terminal.wait()

    assert code == ExitCode.OK
    assert "quit from the dashboard" in re.sub(r"\x1b\[[0-9;]*m", "", terminal.shown)
    assert MAIN_SCREEN in terminal.shown


def test_ctrl_c_ends_the_watch_as_everywhere(home: Path, state: Path) -> None:
    with served_twin(home, *TWIN) as url, Terminal(args(url, state), home) as terminal:
        terminal.until("SIM ARMED", "ladder")
        terminal.type("\x03")
        code = terminal.wait()

    assert code == ExitCode.INTERRUPTED


def test_a_second_terminal_looks_on_without_a_lock(home: Path, state: Path) -> None:
    look = ["watch", "--attach", "--state-dir", str(state)]
    with served_twin(home, *TWIN) as url, Terminal(args(url, state), home) as terminal:
        terminal.until("SIM ARMED", "ladder")
        with Terminal(look, home) as second:
            second.until("read-only view", "protected")
            second.type("H")
            second.until("read-only: act in the terminal")
            terminal.process.terminate()
            assert terminal.wait() == ExitCode.TERMINATED
            second.until("NOT RUNNING: terminated")
            second.type("q")
            assert second.wait() == ExitCode.OK


def test_a_view_that_cannot_start_leaves_lines(home: Path, state: Path) -> None:
    with (
        served_twin(home, *TWIN) as url,
        Terminal(args(url, state), home, PYTHONPATH=str(Path(__file__).parent / "broken")) as terminal,
    ):
        terminal.until("the dashboard ended (exit 1); positions stay guarded", "TP1 hit")
