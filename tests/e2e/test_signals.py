"""Signals to a running watch, real processes on the twin: it leaves, reloads, tells how things stand, and outlives
its terminal (issue: operations)."""

import json
import os
import signal
from pathlib import Path

import pytest
from ledger import check_books, held_market, read_ledger
from processes import Event, Process, of, served_twin, watch_args
from terminals import Terminal, pulse_when, rest

from tpctl.adapters.codec import decode
from tpctl.adapters.journal_reader import JournalReader
from tpctl.adapters.pulse import read_pulse
from tpctl.exits.errors import ExitCode
from tpctl.exits.model import Note, NoteKind
from tpctl.exits.rules import TrailRules
from tpctl.exits.units import Ratio

TWIN = ("--speed", "60", "--seed", "4")
TEN_MINUTES = 600_000
XRP = "time,symbol,side,leverage,notional\n2026-01-05T00:00:00Z,XRPUSDT,long,20,2000\n"


@pytest.fixture
def one(tmp_path: Path) -> tuple[str, ...]:
    file = tmp_path / "entries.csv"
    file.write_text(XRP)
    return ("--entries", str(file), "--speed", "60", "--seed", "4")


def settle(process: Process, orders: int) -> None:
    """Read until so many orders were accepted."""
    for _ in range(orders):
        assert process.until(lambda event: event["type"] == "accepted") is not None


def of_kind(state: Path, kind: NoteKind) -> list[Note]:
    with JournalReader.read_only(state / "journal.db") as journal:
        return [note for _, note in journal.notes() if note.kind is kind]


def test_an_interrupt_is_announced_and_says_what_stays(home: Path, state: Path, one: tuple[str, ...]) -> None:
    with served_twin(home, *one) as url, Process(watch_args("--venue", url, state=state), home) as process:
        settle(process, 5)
        with held_market(url):
            process.interrupt()
            done = process.finish()
            ledger = read_ledger(url)

    assert done.code == ExitCode.INTERRUPTED
    (stopping,) = of("stopping", done.events)
    assert stopping["reason"].startswith("interrupted; ")
    (standing,) = of("standing", done.events)
    assert (standing["symbol"], standing["protected"]) == ("XRPUSDT", True)
    assert standing["stops"] + standing["take_profits"] == len(ledger.open_algo)
    for order in ledger.open_algo:
        assert f"{float(order['triggerPrice'])}" in standing["reason"]
    kinds = [event["type"] for event in done.events]
    assert kinds[-2:] == ["standing", "stopped"]
    check_books(ledger)


def test_a_second_interrupt_quits_at_once_even_where_the_first_one_waits(
    home: Path, state: Path, one: tuple[str, ...]
) -> None:
    """The exchange is stopped, so that what is in flight would be waited for."""
    with Process(["venue", "--json", *one], home) as twin:
        first = twin.line()
        assert first is not None
        url = json.loads(first)["data"]["rest"].removesuffix("/fapi")
        with Process(watch_args("--venue", url, state=state), home) as process:
            settle(process, 1)
            twin.send(signal.SIGSTOP)
            process.interrupt()
            assert process.until(lambda event: event["type"] == "stopping") is not None
            process.interrupt()
            done = process.finish()
            twin.send(signal.SIGCONT)

    assert done.code == ExitCode.INTERRUPTED
    assert of("stopped", done.events) == []


def config(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text)
    return file


def test_hup_reads_the_configuration_again(home: Path, state: Path, tmp_path: Path, one: tuple[str, ...]) -> None:
    file = config(tmp_path, '[exits.trail]\ncallback = "2%"\n')
    args = [*watch_args("--venue", "", state=state), "-c", str(file)]

    def told(event: Event | None) -> str:
        assert event is not None
        return str(event["reason"])

    with served_twin(home, *one) as url:
        args[args.index("")] = url
        with Process(args, home) as process:
            settle(process, 5)
            reloaded = lambda: told(process.until(lambda event: event["type"] == "reloaded"))  # noqa: E731

            process.send(signal.SIGHUP)
            assert reloaded() == "read again: nothing changed"

            file.write_text('[exits.trail]\ncallback = "1%"\n[watch]\nrisk = false\nreconcile_interval = "20s"\n')
            process.send(signal.SIGHUP)
            assert reloaded() == "read again: 2 of 3 changes taken"
            assert [reloaded() for _ in range(3)] == [
                "exits.trail.callback 2% → 1%",
                "watch.reconcile_interval 30s → 20s",
                "watch.risk true → false (needs a restart)",
            ]

            file.write_text('[exits.trail]\ncallback = "1"\n')
            process.send(signal.SIGHUP)
            assert "the old one stays in force" in reloaded()

            # What was taken is not said again; what needs a restart is.
            file.write_text('[exits.trail]\ncallback = "1%"\n[watch]\nrisk = false\nreconcile_interval = "20s"\n')
            process.send(signal.SIGHUP)
            assert reloaded() == "read again: 0 of 1 changes taken"
            process.terminate()
            assert process.finish().code == ExitCode.TERMINATED

    # A view that was open all along explains trails by what is in force now.
    pulse = read_pulse(state / "watch.pulse")
    assert pulse is not None
    assert decode(pulse.trail, TrailRules).callback == Ratio.percent("1")


def test_usr1_tells_and_writes_how_everything_stands(home: Path, state: Path, one: tuple[str, ...]) -> None:
    with served_twin(home, *one) as url, Process(watch_args("--venue", url, state=state), home) as process:
        settle(process, 5)
        process.send(signal.SIGUSR1)
        head = process.until(lambda event: event["type"] == "standing")
        each = process.until(lambda event: event["type"] == "standing")
        process.terminate()
        process.finish()

    file = state / "snapshot.json"
    assert head is not None
    assert head["reason"] == f"1 open, 1 protected, 5 orders resting; written to '{file}'"
    assert each is not None
    assert each["symbol"] == "XRPUSDT"
    assert file.stat().st_mode & 0o777 == 0o600
    document = json.loads(file.read_text())
    assert (document["schema"], document["env"], document["mode"]) == ("tpctl.snapshot/1", "sim", "armed")
    (position,) = document["data"]["positions"]
    assert (position["symbol"], position["protected"], position["quantity"]) == ("XRPUSDT", True, "826.5")
    assert [order["order"] for order in position["orders"]] == ["backstop", "stop", *["take_profit"] * 3]
    assert document["data"]["watch"]["halt"] is None


def test_signals_that_come_too_early_do_not_kill(home: Path, state: Path, one: tuple[str, ...]) -> None:
    """HUP and USR1 while the watch still connects: they are kept until there is something to act on."""
    with Process(["venue", "--json", *one], home) as twin:
        first = twin.line()
        assert first is not None
        url = json.loads(first)["data"]["rest"].removesuffix("/fapi")
        twin.send(signal.SIGSTOP)
        with Process(watch_args("--venue", url, state=state), home) as process:
            while not (state / "watch.lock").exists():
                rest()
            process.send(signal.SIGUSR1)
            process.send(signal.SIGHUP)
            twin.send(signal.SIGCONT)
            found = {"standing", "reloaded"}
            while found:
                event = process.until(lambda event: event["type"] in {"standing", "reloaded"})
                assert event is not None
                found.discard(event["type"])
            process.terminate()
            assert process.finish().code == ExitCode.TERMINATED


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
@pytest.mark.parametrize("more", [(), ("--lines",)], ids=["dashboard", "lines"])
def test_a_closed_terminal_does_not_end_the_guarding(
    home: Path, state: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    file = config(tmp_path, '[exits.trail]\ncallback = "2%"\n')
    args = ["watch", "--state-dir", str(state), "-c", str(file), *more]
    with served_twin(home, "--speed", "300", "--seed", "4") as url, Terminal([*args, "--venue", url], home) as terminal:
        terminal.until("XRP", "TP1")
        before = pulse_when(state, lambda pulse: bool(pulse.marks), terminal.read)
        file.write_text('[exits.trail]\ncallback = "1%"\n')  # half an edit: nobody asked for it to be read
        terminal.hang_up()
        pulse_when(state, lambda pulse: pulse.at > before.at + 2 * TEN_MINUTES, rest)
        assert terminal.process.poll() is None
        os.kill(terminal.process.pid, signal.SIGUSR1)
        while not (state / "snapshot.json").exists():
            rest()
        with held_market(url):
            terminal.process.terminate()
            code = terminal.wait(reading=False)
            ledger = read_ledger(url)

    assert code == ExitCode.TERMINATED
    assert ["the terminal is gone" in note.reason for note in of_kind(state, NoteKind.DEGRADED)] == [True]
    assert of_kind(state, NoteKind.RELOADED) == []
    (stopped,) = of_kind(state, NoteKind.STOPPED)
    assert stopped.data["protected"] == stopped.data["positions"] == len(ledger.sizes)
    check_books(ledger)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_hup_reloads_on_a_terminal_that_is_there_and_where_it_was(home: Path, state: Path, tmp_path: Path) -> None:
    file = config(tmp_path, '[exits.trail]\ncallback = "2%"\n')
    args = ["watch", "--lines", "--state-dir", str(state), "-c", str(file)]
    with served_twin(home, "--speed", "300", "--seed", "4") as url, Terminal([*args, "--venue", url], home) as terminal:
        terminal.until("place stop")
        file.write_text('[exits.trail]\ncallback = "1%"\n')
        os.kill(terminal.process.pid, signal.SIGHUP)
        terminal.until("exits.trail.callback 2% → 1%")
        terminal.process.terminate()
        assert terminal.wait() == ExitCode.TERMINATED
