"""Prints what `tpctl metrics` costs: start-up, a long journal's first reading, and every answer after it.

Run: python -m benchmarks.bench_metrics [RECORDS] [RUNS] [positions]. A million records are the aim's own number: an
answer takes under a second and memory does not grow with the journal. With `positions` the journal also holds what a
watch says of the positions, three attempts to each: plan, stop, close, book, costs and settlement. It is written
straight into its tables, with the checksums a watch would write; every process is a whole `tpctl` run of its own, its
peak memory as the kernel counts it.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random

from tpctl.adapters.codec import encode
from tpctl.adapters.files import account_fingerprint, open_state_dir
from tpctl.adapters.journal import Journal
from tpctl.adapters.journal_schema import checksum, open_writer
from tpctl.exits.costs import Costs
from tpctl.exits.instrument import PositionSide
from tpctl.exits.mid import MidRead
from tpctl.exits.model import Note, NoteKind, PositionKey
from tpctl.exits.settlement import ALTERNATIVES, HORIZONS, After, Alternative, Settlement

MINIMAL = Path(__file__).with_name("minimal_typer.py")
_COINS = ("BTC", "ETH", "XRP", "SOL", "ADA", "DOGE", "BNB", "LTC", "LINK", "DOT", "AVAX", "TRX", "ATOM", "NEAR", "APT")
SYMBOLS = [f"{name}USDT" for name in _COINS]
START = 1_704_067_200_000
# Two years of exits.
SPAN = 730 * 86_400_000
QUESTIONS = {
    "metrics": [],
    "metrics --by leg": ["--by", "leg"],
    "metrics --by hour": ["--by", "hour"],
    "metrics --by weekday --symbol BTCUSDT": ["--by", "weekday", "--symbol", "BTCUSDT"],
    "metrics --since (in the middle of a month)": ["--since", "2025-06-17"],
    "metrics --heatmap hour": ["--heatmap", "hour"],
    "metrics --json": ["--json"],
    "metrics --check -q": ["--check", "-q"],
    "metrics --trend": ["--trend"],
    "metrics --by hour,leg (walks the rows)": ["--by", "hour,leg"],
    "metrics --compare static dynamic (walks the rows)": ["--compare", "static", "dynamic"],
}


def main() -> None:
    """Measure and print."""
    records = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    positions = "positions" in sys.argv[3:]
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "sim"
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        # Compiled as an installed program is, whatever this environment forbids.
        env |= {"PYTHONPYCACHEPREFIX": f"{folder}/compiled", "XDG_CONFIG_HOME": folder}
        tpctl = [sys.executable, "-m", "tpctl"]
        _start_up(tpctl, Path(folder) / "small", env, runs * 4)
        _fill(state, records, positions=positions)
        size = (state / "journal.db").stat().st_size / 1e6
        of = f" of {records // 3:,} settled positions" if positions else ""
        _say(f"journal of {records:,} attempts{of}, {size:,.0f} MB")
        seconds, _, peak = _cost([*tpctl, "metrics", "--state-dir", str(state), "-q"], env)
        index = (state / "metrics-index.db").stat().st_size / 1e6
        rate = f"{records / seconds:,.0f} attempts a second"
        _say(f"  first reading, once: {seconds:.1f} s, {rate}, peak {peak:.0f} MB, index {index:.0f} MB")
        for words, question in QUESTIONS.items():
            costs = [_cost([*tpctl, "metrics", "--state-dir", str(state), *question], env) for _ in range(runs)]
            wall, cpu = (statistics.median(cost[place] for cost in costs) for place in (0, 1))
            _say(f"  {words:<52} {wall * 1000:7.0f} ms, CPU {cpu * 1000:7.0f} ms, peak {costs[0][2]:4.0f} MB")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _start_up(tpctl: list[str], state: Path, env: dict[str, str], runs: int) -> None:
    _fill(state, 30)
    command = [*tpctl, "metrics", "--state-dir", str(state)]
    minimal = [sys.executable, str(MINIMAL), "quantize", "XRPUSDT", "--price", "1.2", "--qty", "742.8"]
    _cost(command, env)
    least = min(_cost(minimal, env)[1] for _ in range(runs)) * 1000
    own = min(_cost(command, env)[1] for _ in range(runs)) * 1000
    _say(f"start-up, least of {runs}: {own:.0f} ms CPU, {own / least:.2f} x a minimal Typer app ({least:.0f} ms)")


def _cost(command: list[str], env: dict[str, str]) -> tuple[float, float, float]:
    """Run a command; return wall seconds, CPU seconds and peak memory in MB of its process."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)  # noqa: S603
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in {0, 20, 21}:
        raise SystemExit(f"{command} exited with {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu, usage.ru_maxrss / 1024


def _fill(path: Path, records: int, *, positions: bool = False) -> None:
    fingerprint = account_fingerprint("sim", "sim")
    state = open_state_dir(path, fingerprint)
    Journal.open(state.journal, fingerprint, at=START, code_version="0").close()
    connection = open_writer(state.journal, fingerprint)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO attempts VALUES (?, ?, ?, ?)", _rows(records))
    if positions:
        for table, rows in _POSITIONS.items():
            marks = ", ".join("?" * (7 if table == "notes" else 4))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows(records // 3))  # noqa: S608 - own names
    connection.execute("COMMIT")
    connection.close()


def _lives(count: int) -> Iterator[tuple[str, PositionKey, int, int, Random]]:
    """Yield what is told of every position: generation, key, when it began and ended, and its own chance."""
    for number in range(count):
        random = Random(number)  # noqa: S311 - a reproducible journal, not a secret
        key = PositionKey(SYMBOLS[number % len(SYMBOLS)], random.choice(list(PositionSide)))
        began = START + number * SPAN // count
        yield f"{number:010x}", key, began, began + random.randrange(60_000, 86_400_000), random


def _notes(count: int) -> Iterator[tuple[object, ...]]:
    seq = 0
    for generation, key, began, ended, random in _lives(count):
        left, stop = _price(random), Decimal(98)
        close = {
            "average_exit": left,
            "entry": Decimal(100),
            "quantity": Decimal("4.5"),
            "pnl": (left - 100) * 4,
            "fees": Decimal("0.4"),
            "naked_ms": random.randrange(200),
            "duration_ms": ended - began,
            "generation": generation,
            "opened_at": began,
            "stop_initial": stop,
            "best_mark": left + 1,
            "worst_mark": left - 1,
            "filled_ms": random.randrange(500),
        }
        plan = {"policy": "dynamic", "stop": stop, "leverage": Decimal(10)}
        hit = {"price": left, "trigger": _price(random), "filled_ms": random.randrange(500)}
        for note in (
            Note(began, NoteKind.PLANNED, key, "first plan", plan),
            Note(ended, NoteKind.STOP_HIT, key, random.choice(("stop", "trail", "ratchet")), hit),
            Note(ended, NoteKind.CLOSED, key, "stop", close),
        ):
            seq += 1
            row = (seq, note.at, note.kind.value, key.symbol, key.side.value, encode(note))
            yield (*row, checksum("notes", row))


def _settlements(count: int) -> Iterator[tuple[object, ...]]:
    for generation, key, _, ended, random in _lives(count):
        after = tuple(After(minutes, *(_price(random) for _ in range(3))) for minutes in HORIZONS)
        others = tuple(Alternative(name, _price(random) - 100, ended, "") for name in ALTERNATIVES)
        money = (Decimal(100), _price(random), Decimal("4.5"), _price(random) - 100, Decimal(9))
        found = Settlement(generation, key, ended, "dynamic", None, *money, after, others, _price(random) - 90)
        yield _named(("settlements", generation, ended), found)


def _costs(count: int) -> Iterator[tuple[object, ...]]:
    for generation, key, _, ended, random in _lives(count):
        money = (_price(random) - 100, _price(random) / 500, (_price(random) - 100) / 500)
        yield _named(("costs", generation, ended), Costs(generation, key, ended, "dynamic", *money))


def _mids(count: int) -> Iterator[tuple[object, ...]]:
    for number, (_, key, _, ended, random) in enumerate(_lives(count)):
        bid = _price(random)
        book = (bid + Decimal("0.01"), Decimal("4.5"), ended, bid, bid + Decimal("0.03"), random.randrange(300))
        order = random.choice(("stop", "take_profit", "close"))
        yield _named(("mids", f"{key.symbol}-{number}", ended), MidRead(number, key, order, *book))


def _named(place: tuple[str, str, int], value: object) -> tuple[object, ...]:
    table, *named = place
    row = (*named, encode(value))
    return (*row, checksum(table, (0, *row)))


def _price(random: Random) -> Decimal:
    return Decimal(f"{random.gauss(100, 1):.4f}")


_POSITIONS = {"notes": _notes, "settlements": _settlements, "costs": _costs, "mids": _mids}


def _rows(records: int) -> Iterator[tuple[str, int, str, int]]:
    random = Random(1)  # noqa: S311 - a reproducible journal, not a secret
    for number in range(records):
        position, leg = divmod(number, 3)
        began = START + position * SPAN * 3 // records
        ended = began + random.randrange(60_000, 86_400_000)
        sign, hit = random.choice((1, -1)), random.random() < 0.6
        target = 100 * (1 + sign * 0.01 * (leg + 1))
        left = target * (1 + random.gauss(0, 0.001)) if hit else 100 * (1 - sign * 0.02)
        judged = None if hit else random.random() < 0.1
        payload = {
            "id": f"{position:010x}-1-{leg + 1}",
            "strategy_id": ("static", "dynamic")[position % 2],
            "symbol": SYMBOLS[position % len(SYMBOLS)],
            "position_side": "long" if sign > 0 else "short",
            "leg": leg + 1,
            "entry_time": began,
            "entry_price": "100",
            "target_price": f"{target:.4f}",
            "exit_time": ended,
            "exit_price": f"{left:.4f}",
            "quantity": "1.5",
            "profit_usd": f"{sign * (left - 100) * 1.5:.8f}",
            "outcome": "hit" if hit else "miss",
            "reason": "take_profit" if hit else random.choice(("stop", "ratchet", "trail", "breakeven")),
            "premature": judged,
            "missed_usd": "1.25" if judged else "0" if judged is False else None,
        }
        row = (str(payload["id"]), ended, json.dumps(payload, separators=(",", ":")))
        yield (*row, checksum("attempts", (0, *row)))


if __name__ == "__main__":
    main()
