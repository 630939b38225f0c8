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
from tpctl.exits.model import Instrument
from tpctl.exits.placeable import Field, Terms, place, rounded
from tpctl.exits.units import plain

MINIMAL = '''
from enum import Enum
from typing import Annotated, Optional
import typer
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
class Side(str, Enum):
    long = "long"; short = "short"
class Role(str, Enum):
    tp = "tp"; stop = "stop"; limit = "limit"; market = "market"
class Round(str, Enum):
    down = "down"; up = "up"; nearest = "nearest"
class Format(str, Enum):
    table = "table"; json = "json"; jsonl = "jsonl"; csv = "csv"; plain = "plain"
class Color(str, Enum):
    auto = "auto"; always = "always"; never = "never"
def opt(*names): return typer.Option(*names)
@app.callback()
def root(version: Annotated[bool, opt("--version")] = False): pass
@app.command("quantize")
def quantize(symbol: Annotated[Optional[str], typer.Argument()] = None,
    price: Annotated[Optional[list[str]], opt("--price")] = None, stop: Annotated[Optional[list[str]], opt("--stop-price")] = None,
    qty: Annotated[Optional[list[str]], opt("--qty")] = None, side: Annotated[Optional[Side], opt("--side")] = None,
    role: Annotated[Optional[Role], opt("--for")] = None, round_: Annotated[Optional[Round], opt("--round")] = None,
    mark: Annotated[Optional[str], opt("--mark")] = None, rules: Annotated[Optional[str], opt("--rules")] = None,
    refresh: Annotated[bool, opt("--refresh")] = False, offline: Annotated[bool, opt("--offline")] = False,
    max_age: Annotated[Optional[str], opt("--max-age")] = None, show: Annotated[bool, opt("--show-rules")] = False,
    stdin: Annotated[bool, opt("--stdin")] = False, raw: Annotated[bool, opt("--raw")] = False,
    strict: Annotated[bool, opt("--strict")] = False, fmt: Annotated[Optional[Format], opt("--format")] = None,
    json: Annotated[bool, opt("--json")] = False, fields: Annotated[Optional[str], opt("--fields")] = None,
    profile: Annotated[Optional[str], opt("-p", "--profile")] = None, config: Annotated[Optional[str], opt("-c", "--config")] = None,
    state: Annotated[Optional[str], opt("--state-dir")] = None, quiet: Annotated[bool, opt("-q", "--quiet")] = False,
    verbose: Annotated[bool, opt("-v", "--verbose")] = False, color: Annotated[Color, opt("--color")] = Color.auto,
    no_input: Annotated[bool, opt("--no-input")] = False):
    print(price, qty)
app()
'''
VALUES = ["quantize", "XRPUSDT", "--price", "1.23456789", "--qty", "742.891234"]
LIBRARY_CALLS = 50_000


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        env = {**os.environ, "XDG_CACHE_HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_STATE_HOME": folder}
        _fill_cache(home / "tpctl" / "rules-live.cache")
        (home / "minimal.py").write_text(MINIMAL)
        tpctl = [sys.executable, "-m", "tpctl", *VALUES]
        cases = {
            "minimal Typer app, same options": [sys.executable, str(home / "minimal.py"), *VALUES],
            "tpctl quantize, warm rule cache": [*tpctl, "-p", "live", "--offline"],
            "tpctl quantize, warm rule cache, --json": [*tpctl, "-p", "live", "--offline", "--json"],
            "tpctl quantize, profile sim": tpctl,
        }
        costs: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(runs):
            for name, command in cases.items():
                costs[name].append(_cpu_ms(command, env))
    base = min(costs["minimal Typer app, same options"])
    print(f"start-up, CPU ms of the whole process, {runs} runs: least, median, ratio of the least to the minimal app")
    for name, spent in costs.items():
        print(f"  {name:<42} {min(spent):6.1f} {statistics.median(spent):6.1f}  {min(spent) / base:.2f} x")
    _library()


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
    print("library, calls a second, best of five")
    for name, call in calls.items():
        print(f"  {name:<42} {_rate(call):10,.0f}")
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
            found = None if book is None else book.instrument(instrument.symbol)
            spent.append((time.perf_counter() - started) * 1000)
        assert found == instrument
        size = path.stat().st_size
    print(f"rule cache of {size / 1e6:.1f} MB: open and look one symbol up in {min(spent):.2f} ms")


if __name__ == "__main__":
    main()
