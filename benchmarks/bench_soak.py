"""Prints how `tpctl watch` bears an hour of a busy market: memory over time, missed triggers, tick to order.

Run: python -m benchmarks.bench_soak [MINUTES] [SPEED]. The market is the served twin in this process: 600 symbols whose
marks are sent every second, 50 positions that are opened anew as they close. `watch` is a process of its own, as an
operator starts it; its take-profits are triggered by the loop, so that every one of them depends on a tick that was
seen. MINUTES (60) are of market time, SPEED (10) is how much faster than the clock it runs; `max` is lockstep.

A trigger is missed where a mark that was sent reached a level of the plan, the position stayed open, and the exchange's
own ledger shows no execution of the leg within 30 s of market time. Tick to order is the time of the wall from the
moment a frame of marks is built to the arrival of the market order at the exchange, both clocks this process's.
Aims: no missed trigger, memory flat after the first quarter.
"""

import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random
from statistics import quantiles
from typing import Any

from tpctl.exits.units import Millis
from tpctl.market.bars import BarSeries
from tpctl.venue.entries import Entries, Entry, Tradable
from tpctl.venue.faults import Delivery, Fate, FaultPlan
from tpctl.venue.market.synthetic import START_MS, SyntheticMarket
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.rulebook import RuleBook, builtin_rules, load_rules
from tpctl.venue.server import Served, serve
from tpctl.venue.venue import Venue

SYMBOLS, POSITIONS = 600, 50
_PATTERN = "XRPUSDT"
_START_PRICE = 2.42
# A day's standard deviation of about 12 %: the first level of most plans is reached within the hour.
_STEP_SIGMA = 0.0004
_GRACE_MS = 30_000
# A level is read from the plan's text, which rounds to a hundredth of a percent.
_BEYOND = Decimal("0.0002")
_SAMPLE_S = 2.0
_START_MS = 3_600_000


@dataclass(frozen=True)
class Crowd:
    """A market of many symbols with the rules and the past of one, moving on their own."""

    minutes: int
    symbols: tuple[str, ...] = tuple(f"S{number:03}USDT" for number in range(SYMBOLS))
    start_ms: Millis = START_MS
    step_ms: int = 1_000

    @property
    def end_ms(self) -> Millis:
        """The end, which watch leaves before: it comes a little later than the market."""
        return self.start_ms + self.minutes * 60_000 + _START_MS

    def steps(self) -> Iterator[MarketStep]:
        """Yield a random walk per symbol, in steps of a second."""
        draw = Random(11)  # noqa: S311 - a market that can be told again
        prices = [_START_PRICE] * len(self.symbols)
        for at in range(self.start_ms, self.end_ms + 1, self.step_ms):
            prices = [price * (1 + _STEP_SIGMA * draw.gauss(0, 1)) for price in prices]
            yield MarketStep(at, tuple(_quote(name, price) for name, price in zip(self.symbols, prices, strict=True)))

    def history(self, symbol: str) -> tuple[BarSeries, ...]:  # noqa: ARG002 - the past is the same for all
        """Return the bars before the start."""
        return _past()


def _quote(symbol: str, price: float) -> Quote:
    return Quote(symbol, Decimal(round(price * 1e4)).scaleb(-4), Decimal(round(price * 1e8)).scaleb(-8), Decimal(10))


@cache
def _past() -> tuple[BarSeries, ...]:
    return SyntheticMarket(1, (_PATTERN,)).history(_PATTERN)


class Full(Entries):
    """Keeps so many positions open, by turns long and short."""

    def __init__(self, symbols: Iterable[str]) -> None:
        super().__init__()
        self._waiting = list(symbols)
        self._opened = 0

    def _due(self, venue: Tradable, at: Millis) -> Iterable[Entry]:
        held = {position.symbol for position in venue.positions()}
        for _ in range(POSITIONS - len(held)):
            symbol = next(name for name in self._waiting if name not in held)
            self._waiting.remove(symbol)
            self._waiting.append(symbol)
            held.add(symbol)
            self._opened += 1
            yield Entry(at, symbol, "LONG" if self._opened % 2 else "SHORT", 10, Decimal(1000))


class Probe(FaultPlan):
    """Goes wrong nowhere, and notes at its seams which marks were sent and when an order arrived."""

    def __init__(self) -> None:
        super().__init__({}, 1, start_ms=START_MS)
        self.sent: dict[str, list[tuple[Millis, Decimal]]] = {}
        self.latencies: list[float] = []
        self.built = 0.0

    def on_frame(self, at: Millis, payload: dict[str, Any] | list[dict[str, Any]]) -> tuple[Delivery, ...]:
        """Note the marks, and the moment they leave."""
        if isinstance(payload, list):
            self.built = time.perf_counter()
            for row in payload:
                self.sent.setdefault(row["s"], []).append((at, Decimal(row["p"])))
        return super().on_frame(at, payload)

    def on_request(self, at: Millis, method: str, path: str, params: Mapping[str, str]) -> Fate:
        """Note when a market order arrives."""
        if (method, path) == ("POST", "v1/order") and params.get("type") == "MARKET":
            self.latencies.append((time.perf_counter() - self.built) * 1000)
        return super().on_request(at, method, path, params)


@dataclass
class Watched:
    """What the process printed and how much memory it held, by minutes of market time; CPU seconds at the end."""

    events: list[dict[str, Any]] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    cpu: float = 0.0


def main() -> None:
    """Measure and print."""
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    speed = sys.argv[2] if len(sys.argv) > 2 else "10"
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_soak(Path(folder), minutes, None if speed == "max" else float(speed)))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _rules() -> RuleBook:
    info = json.loads(json.dumps(builtin_rules().exchange_info))
    model = next(row for row in info["symbols"] if row["symbol"] == _PATTERN)
    names = Crowd(1).symbols
    info["symbols"] = [
        {**model, "symbol": name, "pair": name, "baseAsset": name.removesuffix("USDT")} for name in names
    ]
    brackets = builtin_rules().brackets[_PATTERN]
    return load_rules(info, [{**brackets, "symbol": name} for name in names])


async def _soak(folder: Path, minutes: int, speed: float | None) -> None:
    market = Crowd(minutes)
    venue = Venue(_rules(), start_ms=market.start_ms, wallet=Decimal(10_000_000))
    probe = Probe()
    config = folder / "config.toml"
    config.write_text('[exits.execution]\ntake_profit = "software"\n')
    began = time.perf_counter()
    async with serve(venue, market, Full(market.symbols), speed=speed, faults=probe) as served:
        watched = await _watch(served, folder, minutes)
    took = time.perf_counter() - began
    _say(f"{minutes} minutes of market, {SYMBOLS} symbols, {POSITIONS} positions, in {took:.0f} s of the wall")
    _tell_memory(watched, minutes)
    _tell_triggers(watched, venue, probe)
    _tell_latency(probe.latencies)


async def _watch(served: Served, folder: Path, minutes: int) -> Watched:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tpctl", "watch", "--venue", served.url, "--jsonl", "--for", f"{minutes}m",
        "--config", str(folder / "config.toml"), "--state-dir", str(folder / "state"), "--no-input",
        stdout=asyncio.subprocess.PIPE, limit=2**22,
    )  # fmt: skip
    watched = Watched()
    sampling = asyncio.create_task(_sample(process.pid, served, watched))
    assert process.stdout is not None  # noqa: S101 - asked for above
    async for line in process.stdout:
        watched.events.append(json.loads(line))
    sampling.cancel()
    code = await process.wait()
    if code:
        _say(f"watch ended with {code}")
    return watched


async def _sample(pid: int, served: Served, watched: Watched) -> None:
    while True:
        resident, cpu = _usage(pid)
        if resident is not None:
            watched.memory.append(((served.venue.now - START_MS) / 60_000, resident))
        watched.cpu = cpu
        await asyncio.sleep(_SAMPLE_S)


def _usage(pid: int) -> tuple[float | None, float]:
    """Return resident memory in MiB, None for a process that is ending, and CPU seconds."""
    resident = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    ticks = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(resident[1]) / 1024 if resident else None, (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")


def _tell_memory(watched: Watched, minutes: int) -> None:
    rows = watched.memory
    _say("minute  RSS MiB")
    for quarter in range(9):
        wanted = minutes * quarter / 8
        minute, held = min(rows, key=lambda row: abs(row[0] - wanted))
        _say(f"{minute:6.1f}  {held:7.1f}")
    settled = [row for row in rows if row[0] >= minutes / 4]
    if len(settled) > 2:
        _say(f"slope after the first quarter: {_slope(settled) * 60:+.2f} MiB per hour of market")
    _say(f"CPU of watch: {watched.cpu / (minutes * 60) * 1000:.2f} ms per second of market")


def _slope(rows: list[tuple[float, float]]) -> float:
    """Return the least-squares slope, per unit of the first column."""
    across = sum(x for x, _ in rows) / len(rows)
    up = sum(y for _, y in rows) / len(rows)
    spread = sum((x - across) ** 2 for x, _ in rows)
    return sum((x - across) * (y - up) for x, y in rows) / spread if spread else 0.0


def _tell_triggers(watched: Watched, venue: Venue, probe: Probe) -> None:
    executed = {fill.client_id for fill in venue.ledger.fills}
    ended = {
        (fill.symbol, "long" if fill.before > 0 else "short"): fill.at for fill in venue.ledger.fills if not fill.after
    }
    hits = {
        (event["client_id"].split("-")[1], int(event["leg"])): _millis(event["ts"])
        for event in watched.events
        if event["type"] == "tp_hit" and event["client_id"] in executed
    }
    due = missed = 0
    for generation, symbol, side, leg, level, since in _levels(watched.events):
        crossed = _crossing(probe.sent[symbol], side, level, since)
        over = min(
            (at for (name, way), at in ended.items() if (name, way) == (symbol, side) and at >= since),
            default=venue.now,
        )
        if crossed is None or crossed + _GRACE_MS > over:
            continue
        due += 1
        hit = hits.get((generation, leg))
        if hit is None or hit > crossed + _GRACE_MS:
            missed += 1
            _say(f"missed: {symbol} {side} take-profit {leg} at {level}, crossed at {crossed}")
    naked = [position.symbol for position in venue.positions() if not any(venue.resting_conditionals(position.symbol))]
    adopted = sum(event["type"] == "adopted" for event in watched.events)
    _say(f"positions guarded: {adopted}; take-profits executed: {len(hits)}")
    _say(f"triggers due: {due}; missed: {missed}; positions without a stop at the end: {len(naked)}")
    lost = sum(event["type"] in {"degraded", "rejected"} for event in watched.events)
    _say(f"degraded or rejected: {lost}")


def _levels(events: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, int, Decimal, Millis]]:
    """Yield generation, symbol, side, leg, level and since when, of every plan that was made."""
    entries: dict[tuple[str, str], Decimal] = {}
    for event in events:
        where = (event["symbol"], event["position_side"])
        if event["type"] == "adopted":
            entries[where] = Decimal(event["entry"])
        elif event["type"] == "planned" and "ladder" in event and where in entries:
            way = 1 if where[1] == "long" else -1
            for leg, percent in re.findall(r"TP(\d+)=([\d.]+)%", event["ladder"]):
                level = entries[where] * (1 + way * Decimal(percent) / 100)
                yield event["generation"], *where, int(leg), level, _millis(event["ts"])


def _crossing(sent: Iterable[tuple[Millis, Decimal]], side: str, level: Decimal, since: Millis) -> Millis | None:
    bound = level * (1 + _BEYOND) if side == "long" else level * (1 - _BEYOND)
    return next((at for at, mark in sent if at > since and (mark >= bound if side == "long" else mark <= bound)), None)


def _millis(text: str) -> Millis:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _tell_latency(samples: list[float]) -> None:
    if len(samples) < 10:
        _say(f"tick to order: {len(samples)} market orders, too few to tell")
        return
    cut = quantiles(samples, n=100)
    _say(f"tick to order, {len(samples)} market orders: p50 {cut[49]:.1f}, p90 {cut[89]:.1f}, p99 {cut[98]:.1f} ms")


if __name__ == "__main__":
    main()
