"""`tpctl metrics --settle` from the command line: recorded candles in, verdicts and counterfactuals out."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from metrics_desk import VECTOR, open_journal
from stage import START, XRP_LONG, Stage

from tpctl.adapters.journal import Entry
from tpctl.cli.main import run
from tpctl.exits.errors import ExitCode
from tpctl.exits.events import ContextRead
from tpctl.exits.model import Note, NoteKind
from tpctl.exits.settlement import ALTERNATIVES

MINUTE = 60_000


def closed_position(state: Path) -> None:
    """Journal one long of 1000 at 2.00 that was stopped at 1.96 after half an hour."""
    stage, closed = Stage({"XRPUSDT": "2"}), START + 30 * MINUTE
    data: dict[str, Any] = {
        "average_exit": Decimal("1.96"),
        "entry": Decimal(2),
        "quantity": Decimal(1000),
        "pnl": Decimal(-41),
        "generation": "0123456789",
        "opened_at": START,
        "policy": "dynamic",
        "stop_initial": Decimal("1.96"),
        "plans": 1,
        "quantity_planned": Decimal(1000),
        "duration_ms": 30 * MINUTE,
        "naked_ms": 0,
        "best_mark": Decimal("2.01"),
        "worst_mark": Decimal("1.96"),
        "fees": Decimal(1),
    }
    planned = {"policy": "dynamic", "stop": Decimal("1.96"), "leverage": Decimal(20)}
    with open_journal(state) as journal:
        inputs = ContextRead(START + 5, XRP_LONG, stage.instruments["XRPUSDT"], stage.context, Decimal(2))
        note = Note(START + 5, NoteKind.PLANNED, XRP_LONG, "first plan", planned)
        journal.commit(Entry(START + 5, event=inputs, notes=(note,)))
        journal.commit(Entry(closed, notes=(Note(closed, NoteKind.CLOSED, XRP_LONG, "stop", data),)))
        journal.record(closed, [replace(VECTOR, symbol="XRPUSDT")])


def klines(path: Path, without: int | None = None) -> Path:
    """Write candles in the exchange's own files: down through the stop in minute 20, far up in minute 60."""
    rows = []
    for number in range(320):
        at = START + number * MINUTE
        low, high = ("1.95" if number == 20 else "2"), ("2.5" if number == 60 else "2")
        if number != without:
            rows.append(f"{at},2,{high},{low},2,10,{at + MINUTE - 1},20,1,5,10,0\n")
    file = path / "XRPUSDT-1m-2026-01.csv"
    file.write_text("".join(rows))
    return file


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("TP_METRICS_PATH", raising=False)
    closed_position(tmp_path / "sim")
    return tmp_path / "sim"


def metrics(state: Path, *arguments: str | Path) -> int:
    return run(["metrics", "--state-dir", str(state), *map(str, arguments)])


def test_a_closed_position_is_settled_on_recorded_candles_and_shown(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = klines(tmp_path)

    assert metrics(state, "--settle", "--data", file) == ExitCode.OK
    no_costs = "costs not read: recorded candles tell no fees and no funding\n"
    assert capsys.readouterr().out == f"1 positions settled, 0 misses judged, 0 stay open\n{no_costs}"
    assert metrics(state, "--settle", "--data", file) == ExitCode.OK
    assert capsys.readouterr().out == f"0 positions settled, 0 misses judged, 0 stay open\n{no_costs}"

    metrics(state, "--json")
    data = json.loads(capsys.readouterr().out)["data"]
    assert [(row["minutes"], row["p50"]) for row in data["after_exit"]] == [
        (5, "0.020408163265"),
        (30, "0.275510204082"),
        (240, "0.275510204082"),
    ]
    others = {row["name"]: row["difference_usd"]["total"] for row in data["counterfactuals"]}
    assert tuple(others) == ALTERNATIVES
    # Held to the end it is worth 2.00 less the fee of 0.05 %; the best was 2.50.
    assert (others["no_exit"], others["clairvoyant"]) == ("40", "539.75")
    assert data["regret"]["total"] == "539.75"
    assert data["capture_ratio"]["p50"] == "-4"
    assert data["capture_total"]["ratio"] == "-4"
    metrics(state)
    out = capsys.readouterr().out
    assert "instead      no exit        +40.00 USD, mean +1.00 R, of 1 positions" in out
    assert "regret       539.75 USD, mean 13.49 R behind the best price there was" in out


def test_what_lacks_a_candle_stays_open_and_the_exit_code_says_so(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = klines(tmp_path, without=100)

    assert metrics(state, "--settle", "--data", file) == ExitCode.PARTIAL
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "0 positions settled, 0 misses judged, 1 stay open"
    assert "1 of 270 one-minute candles are missing" in out
    assert err.splitlines() == [
        "error: 1 could not be settled",
        "hint: give the missing candles and settle again: it goes on",
    ]
    metrics(state, "--settle", "--data", file, "--json")
    settled = json.loads(capsys.readouterr().out)["data"]["settled"]
    assert (settled["positions"], settled["open"][0]["symbol"], settled["open"][0]["due"]) == (0, "XRPUSDT", True)
    assert metrics(state, "--settle", "--data", klines(tmp_path)) == ExitCode.OK


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--settle",), ExitCode.INPUTS, "the market of an embedded twin ended with its watch"),
        (("--settle", "--venue", "http://127.0.0.1:9"), ExitCode.UNAVAILABLE, "no twin answers"),
        (("--data", "x.csv"), ExitCode.USAGE, "--data and --venue say where --settle has its candles from"),
        (("--settle", "--verify"), ExitCode.USAGE, "contradict each other"),
        (("--settle", "--data", "x.csv", "--venue", "http://127.0.0.1:9"), ExitCode.USAGE, "contradict each other"),
        (("--settle", "--data", "missing.csv"), ExitCode.PARTIAL, "1 could not be settled"),
    ],
)
def test_bad_input_is_refused(
    state: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: ExitCode, words: str
) -> None:
    assert metrics(state, *arguments) == code
    assert words in capsys.readouterr().err


def test_without_a_journal_there_is_nothing_to_settle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert metrics(tmp_path / "none", "--settle", "--data", tmp_path) == ExitCode.INPUTS
    assert "there is no journal" in capsys.readouterr().err
