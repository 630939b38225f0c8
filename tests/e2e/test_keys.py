"""Capital letters end to end: keys on a terminal, a typed word, the running watch, and the orders at the exchange."""

import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from ledger import Ledger, check_books, read_ledger
from processes import PATIENCE_S, served_twin
from terminals import Terminal, pulse_when
from test_ladder_vector import write_market

from tpctl.adapters.journal_reader import JournalReader
from tpctl.exits.errors import ExitCode
from tpctl.exits.ids import Role, parse_client_id
from tpctl.exits.model import NoteKind

D = Decimal
# Up by 0.8 % in three minutes, below the first take-profit, and ten hours of standing still.
WAY = (0, 0, 0.4, *[0.8] * 600)
TOP = D("2.519")


@pytest.fixture
def twin(tmp_path: Path) -> tuple[str, ...]:
    market, entries = tmp_path / "XRPUSDT-1m-2026-01-05.csv", tmp_path / "entries.csv"
    write_market(market, WAY)
    entries.write_text("time,symbol,side,leverage,notional\n2026-01-05T00:00:00Z,XRPUSDT,long,20,2000\n")
    return ("--market", str(market), "--from", "2026-01-05T00:00:00Z", "--entries", str(entries), "--speed", "60")


def stops_of(ledger: Ledger) -> list[tuple[Decimal, Decimal]]:
    """Return trigger and quantity of the working stops that rest: two while one replaces the other."""
    named = ((parse_client_id(row["clientAlgoId"]), row) for row in ledger.open_algo)
    return [(D(row["triggerPrice"]), D(row["quantity"])) for name, row in named if name and name.role is Role.STOP]


def stop_of(ledger: Ledger) -> tuple[Decimal, Decimal]:
    (stop,) = stops_of(ledger)
    return stop


def at_exchange(url: str, found: Callable[[Ledger], bool], read: Callable[[], None]) -> Ledger:
    """Return the books once they are as wanted; stops are replaced one after the other."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        ledger = read_ledger(url)
        if len(stops_of(ledger)) == 1 and found(ledger):
            return ledger
        read()
    raise AssertionError([(row["algoStatus"], row["triggerPrice"]) for _, row in read_ledger(url).ours()])


def test_keys_move_the_stop_trail_and_reduce(home: Path, state: Path, tmp_path: Path, twin: tuple[str, ...]) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[exits.trail]\ncallback = "0.5%"\n[watch]\nrisk = false\n')
    line = ["watch", "--state-dir", str(state), "-c", str(config), "--volatility", "2.5%", "--confidence", "0.85"]
    with (
        served_twin(home, *twin) as url,
        Terminal([*line, "--venue", url], home, columns=120, rows=40) as terminal,
    ):
        terminal.until("SIM ARMED", "ladder")
        pulse_when(state, lambda pulse: any((mark.mark or 0) >= TOP for mark in pulse.marks), terminal.read)
        before = read_ledger(url)

        terminal.type("B")
        terminal.until("move the stop to breakeven")
        terminal.type("break\r")
        terminal.until("nothing was done")
        assert stop_of(read_ledger(url)) == stop_of(before)

        terminal.type("B")
        terminal.until("move the stop to breakeven")
        terminal.type("breakeven\r")
        entry = D("2.5")
        moved = at_exchange(url, lambda ledger: entry < stop_of(ledger)[0] < entry * D("1.005"), terminal.read)

        terminal.type("T")
        terminal.until("trail now")
        terminal.type("trail\r")
        trailed = at_exchange(url, lambda ledger: stop_of(ledger)[0] >= TOP * D("0.994"), terminal.read)

        terminal.type("R")
        terminal.until("reduce at market by how much")
        terminal.type("50%\r")
        reduced = at_exchange(url, lambda ledger: ledger.sizes == {"XRPUSDT": D(400)}, terminal.read)
        reduced = at_exchange(url, lambda ledger: stop_of(ledger)[1] == D(400), terminal.read)
        terminal.type("\x03")
        assert terminal.wait() == ExitCode.INTERRUPTED

    assert before.sizes == moved.sizes == trailed.sizes == {"XRPUSDT": D(800)}
    assert stop_of(before)[0] < entry
    assert stop_of(trailed)[0] > stop_of(moved)[0]
    check_books(reduced)
    with JournalReader.read_only(state / "journal.db") as journal:
        answers = [note.data for _, note in journal.notes() if note.kind is NoteKind.ANSWERED]
    assert [(each["source"], each["request"], each["outcome"]) for each in answers] == [
        ("dashboard", "stop to breakeven", "done"),
        ("dashboard", "trail now", "done"),
        ("dashboard", "reduce by 50%", "done"),
    ]
