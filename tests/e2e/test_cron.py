"""Cron one-shots: run a hundred times, the exchange's orders are the same; what is due is done in the first run only.

The commands run in this process, against a twin that stands still between them and is moved on by the test.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ledger import Ledger, check_books, read_ledger
from processes import environment, served_twin
from websockets.sync.client import connect

from tpctl.adapters.journal_reader import JournalReader
from tpctl.cli.main import run
from tpctl.exits.errors import ExitCode
from tpctl.exits.model import NoteKind

TIMES = 100
START = 1_767_571_200_000
STEP_MS = 5_000
VENUE = "VENUE"
# Steps between two runs: a minute and a bit, so that no run finds its share of the request budget spent.
APART = 14


def candles(folder: Path) -> Path:
    """Write three hours of minutes: seven flat, five that rise by 8 %, the rest flat."""
    closes = [2.4] * 7 + [2.44, 2.48, 2.52, 2.56, 2.6] + [2.6] * 260
    rows, before = [], closes[0]
    for index, close in enumerate(closes):
        at = START + index * 60_000
        high, low = max(before, close), min(before, close)
        rows.append(f"{at},{before},{high},{low},{close},1000,{at + 59_999},2400,10,500,1200,0")
        before = close
    file = folder / "XRPUSDT-1m-2026-01-05.csv"
    file.write_text("\n".join(rows) + "\n")
    return file


@dataclass
class Cron:
    """An account at a served twin, a state directory, and a command line that is run again and again."""

    url: str
    state: Path
    config: Path
    capsys: pytest.CaptureFixture[str]
    control: Any
    codes: Counter[int] = field(default_factory=Counter)
    err: str = ""

    def pass_time(self, steps: int = APART) -> None:
        """Move the market on."""
        for _ in range(steps):
            self.control.send('{"op":"advance"}')
            json.loads(self.control.recv())

    def run(self, *args: str) -> str:
        """Run a command of this account."""
        self.codes[run([*args, "--state-dir", str(self.state), "--config", str(self.config)])] += 1
        out, self.err = self.capsys.readouterr()
        return out

    def watch(self, *options: str) -> str:
        return self.run("watch", "--jsonl", "--venue", self.url, *options)

    def ledger(self) -> Ledger:
        return read_ledger(self.url)

    def orders(self) -> list[tuple[str, str, str]]:
        """Return what rests: id, trigger and quantity."""
        return sorted((row["clientAlgoId"], row["triggerPrice"], row["quantity"]) for row in self.ledger().open_algo)

    def intents(self) -> int:
        """Return how many requests were ever to be sent."""
        with closing(sqlite3.connect(f"file:{self.state / 'journal.db'}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT count(*) FROM intents").fetchone()[0])

    def moves(self) -> list[str]:
        """Return why the trail moved the stop, each time it did."""
        with JournalReader.read_only(self.state / "journal.db") as journal:
            return [note.reason for _, note in journal.notes() if note.kind is NoteKind.TRAIL_MOVED]


@pytest.fixture
def cron(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Cron]:
    for name, value in environment(home).items():
        monkeypatch.setenv(name, value)
    entries = tmp_path / "entries.csv"
    # Its take-profits lie out of the way of the rise.
    entries.write_text("time,symbol,side,leverage,notional\n2026-01-05T00:00:00Z,XRPUSDT,long,2,500\n")
    config = tmp_path / "config.toml"
    config.write_text('[exits.ladder]\ndistances = ["20%", "25%", "30%"]\nmax_distance = "60%"\n')
    with ExitStack() as stack:
        market = ("--market", str(candles(tmp_path)), "--entries", str(entries), "--speed", "max")
        url = stack.enter_context(served_twin(home, *market))
        control = stack.enter_context(connect(f"{url.replace('http', 'ws')}/twin/v1/pace"))
        yield Cron(url, tmp_path / "state", config, capsys, control)


def test_a_trail_that_is_due_changes_its_callback_in_the_first_of_a_hundred_runs(cron: Cron) -> None:
    """Between the runs the market stands at its best price, so from the first on there is nothing left to do."""
    cron.watch("--for", "5m30s")
    cron.pass_time(140)
    seen = []
    for _ in range(TIMES):
        cron.run("trail", "--apply", "--arm", "--json", "--venue", cron.url)
        seen.append((cron.moves(), cron.intents()))
        cron.pass_time()

    assert cron.codes == {ExitCode.OK: TIMES + 1}, cron.err
    assert seen == [seen[0]] * TIMES
    (reason,) = seen[0][0]
    assert "Callback 2% → 1.5%" in reason
    check_books(cron.ledger())


def test_a_watch_run_once_a_hundred_times_leaves_the_same_orders(cron: Cron) -> None:
    cron.watch("--for", "15m")
    before, sent = cron.orders(), cron.intents()
    for _ in range(TIMES):
        cron.pass_time()
        cron.watch("--once")

    assert cron.codes == {ExitCode.OK: TIMES + 1}, cron.err
    assert (cron.orders(), cron.intents()) == (before, sent)


READING: dict[str, tuple[str, ...]] = {
    "trail --check": ("trail", "--check"),
    "risk --check": ("risk", "--check", "--venue", VENUE),
    "plan --check": ("plan", "XRPUSDT", "--check", "--venue", VENUE),
    "metrics": ("metrics",),
}


@pytest.mark.parametrize("command", READING)
def test_what_only_reads_sends_nothing_a_hundred_times(cron: Cron, command: str) -> None:
    cron.watch("--once")
    before, sent = cron.orders(), cron.intents()
    cron.codes.clear()
    for _ in range(TIMES):
        cron.run(*(cron.url if word == VENUE else word for word in READING[command]))
        cron.pass_time()

    assert cron.codes == {ExitCode.OK: TIMES}, cron.err
    assert (cron.orders(), cron.intents()) == (before, sent)
