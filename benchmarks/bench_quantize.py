"""Prints what `tpctl quantize` costs: whole-process start-up against a minimal Typer app, and calls a second.

Run: python benchmarks/bench_quantize.py [RUNS]. Processes are interleaved, so that a busy machine slows both alike;
figures are CPU milliseconds, user and system, of the whole process. The aim is a ratio of at most 1.3. Nothing leaves
this machine: the rule cache is written from the twin's rules into a directory of the benchmark's own.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from tpctl.adapters.rulebook import Fetched, RuleCache
from tpctl.cli.quantize import built_in_rules
from tpctl.exits.instrument import Instrument
from tpctl.exits.placeable import Field, Terms, place, rounded
from tpctl.exits.units import plain

MINIMAL = Path(__file__).with_name("minimal_typer.py")
VALUES = ["quantize", "XRPUSDT", "--price", "1.23456789", "--qty", "742.891234"]
LIBRARY_CALLS = 50_000


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        env |= {f"XDG_{kind}_HOME": folder for kind in ("CACHE", "CONFIG", "STATE")}
        # Compiled as an installed program is, whatever this environment forbids.
        env["PYTHONPYCACHEPREFIX"] = str(home / "compiled")
        _fill_cache(home / "tpctl" / "rules-live.cache")
        tpctl = [sys.executable, "-m", "tpctl", *VALUES]
        cases = {
            "minimal Typer app, same options": [sys.executable, str(MINIMAL), *VALUES],
            "tpctl quantize, warm rule cache": [*tpctl, "-p", "live", "--offline"],
            "tpctl quantize, warm rule cache, --json": [*tpctl, "-p", "live", "--offline", "--json"],
            "tpctl quantize, profile sim": tpctl,
        }
        costs: dict[str, list[float]] = {name: [] for name in cases}
        for command in cases.values():
            _cpu_ms(command, env)
        for _ in range(runs):
            for name, command in cases.items():
                costs[name].append(_cpu_ms(command, env))
    base = min(costs["minimal Typer app, same options"])
    _say(f"start-up, CPU ms of the whole process, {runs} runs: least, median, ratio of the least to the minimal app")
    for name, spent in costs.items():
        _say(f"  {name:<42} {min(spent):6.1f} {statistics.median(spent):6.1f}  {min(spent) / base:.2f} x")
    _library()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _fill_cache(path: Path) -> None:
    # As large as the real one: every symbol of the twin under fifty names.
    book = built_in_rules()
    rows = []
    for copy in range(50):
        for symbol in book.symbols():
            row = json.loads(json.dumps(book.rule_payload(symbol)))
            rows.append({**row, "symbol": symbol if not copy else f"{copy}{symbol}"})
    RuleCache(path, "live").store(Fetched({"symbols": rows}, book.bracket_payload(), time.time_ns() // 1_000_000))


def _cpu_ms(command: list[str], env: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def _library() -> None:
    instrument = built_in_rules().instrument("XRPUSDT")
    terms = Terms()
    value = Decimal("742.891234")
    calls: dict[str, Callable[[], object]] = {
        "round, text to text": lambda: plain(rounded(instrument, Field.QUANTITY, Decimal("742.891234"), terms)),
        "round, decimal to decimal": lambda: rounded(instrument, Field.QUANTITY, value, terms),
        "round and judge by every filter": lambda: place(instrument, Field.QUANTITY, value, terms),
    }
    _say("library, calls a second, best of five")
    for name, call in calls.items():
        _say(f"  {name:<42} {_rate(call):10,.0f}")
    _show_cache(instrument)


def _rate(call: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(LIBRARY_CALLS):
            call()
        best = min(best, time.perf_counter() - started)
    return LIBRARY_CALLS / best


def _show_cache(instrument: Instrument) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules-live.cache"
        _fill_cache(path)
        cache = RuleCache(path, "live")
        spent = []
        for _ in range(20):
            started = time.perf_counter()
            book = cache.fresh(time.time_ns() // 1_000_000)
            if book is None or book.instrument(instrument.symbol) != instrument:
                raise SystemExit("the cache gave other rules than it was given")
            spent.append((time.perf_counter() - started) * 1000)
        size = path.stat().st_size
    _say(f"rule cache of {size / 1e6:.1f} MB: open and look one symbol up in {min(spent):.2f} ms")


if __name__ == "__main__":
    main()
