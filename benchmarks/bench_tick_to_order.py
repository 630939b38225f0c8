"""Prints what lies between a tick and an order: frame received to order bytes handed to the socket.

Run: python -m benchmarks.bench_tick_to_order [ORDERS]. One account with 100 managed positions in a market of 600
streamed symbols; take-profits are triggered by the loop, so that every sample is one frame of 600 marks that makes
one position close a leg. As on an account, the last thing the process did before is a frame that led to nothing; what
the near exchange does with the market comes before both. Everything is what `watch` runs: the decoder, the reducer,
the journal on disk (synchronous), the guard and python-binance down to the transport's write. Only the exchange is
near: orders go to a socket of this machine that answers nothing of worth, and the twin's core in this process says
what became of them.

The client library's own cost, from the call to the write, is shown apart. Aims on an idle machine: 0.5 ms p50 and 2 ms
p99 without it. After that: CPU of the whole process for a second of the stream, and how memory grows.
"""

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from asyncio import selector_events
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tpctl.adapters.binance.client import BinanceExchange
from tpctl.adapters.binance.clock import ExchangeClock
from tpctl.adapters.binance.endpoints import twin
from tpctl.adapters.binance.wire import Session
from tpctl.adapters.journal import Committed, Entry, Journal
from tpctl.adapters.metrics_file import MetricsFile
from tpctl.adapters.secrets import Secret
from tpctl.adapters.streams.feed import MARKET_PATH, LiveFeed
from tpctl.engine.collector import settle_objects
from tpctl.engine.context import ContextSource
from tpctl.engine.guard import Guard
from tpctl.engine.memory import load_state
from tpctl.engine.scorekeeper import Scorekeeper
from tpctl.engine.watch import Watch, WatchTerms
from tpctl.exits.episode import Episode, LegStatus, Phase, Scope
from tpctl.exits.events import Answer
from tpctl.exits.instrument import PositionSide
from tpctl.exits.intents import ReduceAtMarket
from tpctl.exits.model import PositionKey, PositionMode, Regime
from tpctl.exits.rules import ExecutionRules, ExitRules
from tpctl.exits.units import Ratio
from tpctl.ports import Admitted
from tpctl.settings.schema import InputSettings
from tpctl.venue import api_algo
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.refusals import VenueError
from tpctl.venue.rulebook import RuleBook, builtin_rules, load_rules
from tpctl.venue.venue import Venue

SYMBOLS, POSITIONS = 600, 100
_ORDER_PATHS = ("algoOrder", "order")
_PLENTY = 10**9
# Between a frame that leads to nothing and the one that is measured.
_APART_S = 0.1


def main() -> None:
    """Measure and print."""
    if sys.argv[1:] == ["--sink"]:
        asyncio.run(_sink())
        return
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure(Path(folder), orders))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _sink() -> None:
    """Answer every request with an empty object, in a process of its own."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return writer.close()
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if lengths:
                await reader.readexactly(int(lengths[0].split(b":")[1]))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    _say(str(server.sockets[0].getsockname()[1]))
    async with server:
        await server.serve_forever()


@dataclass(slots=True)
class Marks:
    """When a frame came, when the engine let an order out, and when its bytes reached the transport; in seconds."""

    received: float = 0.0
    cpu: float = 0.0
    cpu_submitted: float = 0.0
    submitted: float = 0.0
    written: float = 0.0
    journal: float = 0.0
    committing: float = 0.0
    sent: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Sample:
    """One order: up to the exchange port, its CPU time, the journal's commits in it, then the client library; in ms."""

    ours: float
    cpu: float
    journal: float
    library: float


class Line:
    """A stream whose frames this benchmark puts in; notes when the reader gets each."""

    def __init__(self, marks: Marks) -> None:
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()
        self._marks = marks

    def put(self, frame: bytes) -> None:
        """Let a frame arrive."""
        self._frames.put_nowait(frame)

    async def recv(self) -> bytes:
        """Return the next frame."""
        frame = await self._frames.get()
        self._marks.received, self._marks.cpu, self._marks.journal = time.perf_counter(), time.thread_time(), 0.0
        return frame

    async def send(self, message: str) -> None:
        """Take a message nobody reads."""

    async def close(self) -> None:
        """Close nothing."""


class NearSession(Session):
    """python-binance's client: orders really leave through its socket, everything else is answered by the venue."""

    venue: Venue

    async def carry(self, method: str, uri: str, signed: bool, force_params: bool, **kwargs: Any) -> Any:
        """Send an order, then let the venue say what became of it; or ask the venue alone."""
        path = uri.split("/fapi/")[1]
        params = {name: _text(value) for name, value in (kwargs.get("data") or kwargs.get("params") or {}).items()}
        if path == "v1/listenKey":
            return {"listenKey": "near"}
        if path == "v1/time":
            return {"serverTime": time.time_ns() // 1_000_000}
        if path == "v1/klines":
            return []
        if path == "v1/ticker/24hr":
            return {"quoteVolume": "1000000000"}
        if method == "post" and path.endswith(_ORDER_PATHS):
            await super().carry(method, uri, signed, force_params, **kwargs)
        self.venue.core.now = time.time_ns() // 1_000_000
        try:
            return self.venue.call(method.upper(), path, params)
        except VenueError as refused:
            return self.judge(refused.http_status, {}, json.dumps({"code": refused.code, "msg": refused.msg}).encode())


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class TimedJournal(Journal):
    """Notes how long commits take, syncs included."""

    marks: Marks

    def commit(self, entry: Entry) -> Committed:
        """Make one decision durable."""
        began = time.perf_counter()
        try:
            return super().commit(entry)
        finally:
            self.marks.journal += time.perf_counter() - began


class TimedExchange(BinanceExchange):
    """Notes when the engine lets a reduction out."""

    marks: Marks

    async def submit(self, admitted: Admitted) -> Answer:
        """Send one admitted intent."""
        if isinstance(admitted.intent, ReduceAtMarket):
            self.marks.submitted, self.marks.committing = time.perf_counter(), self.marks.journal
            self.marks.cpu_submitted = time.thread_time()
        return await super().submit(admitted)


def _watch_transport(marks: Marks) -> None:
    """Note when a request's bytes are handed to the socket's transport."""
    kind = selector_events._SelectorSocketTransport
    write, write_lines = kind.write, kind.writelines

    def noted(data: bytes) -> None:
        if bytes(data[:5]) == b"POST ":
            marks.written = time.perf_counter()
            marks.sent.set()

    def timed_write(self: Any, data: Any) -> None:
        noted(data)
        write(self, data)

    def timed_lines(self: Any, parts: Any) -> None:
        parts = list(parts)
        noted(parts[0])
        write_lines(self, parts)

    kind.write, kind.writelines = timed_write, timed_lines


def _rules() -> RuleBook:
    """Return the twin's rules of one symbol under six hundred names."""
    book = builtin_rules()
    rows, brackets = [], []
    info = dict(book.exchange_info)
    name = "XRPUSDT"
    row = next(each for each in info["symbols"] if each["symbol"] == name)
    for number in range(SYMBOLS):
        symbol = f"S{number:03d}USDT"
        rows.append({**row, "symbol": symbol, "pair": symbol})
        brackets.append({**book.brackets[name], "symbol": symbol})
    limits = [{**limit, "limit": _PLENTY} for limit in info["rateLimits"]]
    return load_rules({**info, "symbols": rows, "rateLimits": limits}, brackets)


def _frame(prices: dict[str, Decimal], at: int) -> bytes:
    rows = [
        {"e": "markPriceUpdate", "E": at, "s": symbol, "p": f"{price:f}", "i": f"{price:f}", "P": f"{price:f}",
         "r": "0.00010000", "T": at + 3_600_000, "st": 1}
        for symbol, price in prices.items()
    ]  # fmt: skip
    return json.dumps({"stream": "!markPrice@arr@1s", "data": rows}, separators=(",", ":")).encode()


class Bench:
    """One watch on one near exchange."""

    def __init__(self, folder: Path, port: int) -> None:
        # A hundred two-stop positions use up the exchange's 200, with no room to move a stop; not measured here.
        api_algo.MAX_CONDITIONALS = _PLENTY  # type: ignore[misc]
        self.marks = Marks()
        self.venue = Venue(_rules(), start_ms=time.time_ns() // 1_000_000)
        self.prices = {f"S{number:03d}USDT": Decimal("2.5") for number in range(SYMBOLS)}
        self.market, self.user = Line(self.marks), Line(Marks())
        self._step()
        for number in range(POSITIONS):
            side = "LONG" if number % 2 == 0 else "SHORT"
            self.venue.open_position(f"S{number:03d}USDT", side, notional=Decimal(3000), leverage=20)
        clock = ExchangeClock()
        venue = self.venue

        class Own(NearSession):
            pass

        Own.venue = venue
        endpoints = twin(f"http://127.0.0.1:{port}")
        self.exchange = TimedExchange(endpoints, clock, key=Secret("near"), secret=Secret("near"), connect=Own)
        self.exchange.marks = self.marks
        self.exchange.budget.set_limits(_PLENTY, _PLENTY, _PLENTY)
        journal = TimedJournal.open(folder / "journal.db", "near", at=clock.now(), code_version="bench")
        assert isinstance(journal, TimedJournal)  # noqa: S101 - the class it was opened as
        journal.marks = self.marks
        rules = ExitRules(execution=ExecutionRules(take_profit="software"))
        scores = Scorekeeper(journal, MetricsFile(folder / "tp_metrics.json"))
        # The file is published after each outcome, which is not what is measured.
        scores.publish = lambda: None  # type: ignore[method-assign]

        async def dial(url: str) -> Line:
            return self.market if MARKET_PATH in url else self.user

        self.watch = Watch(
            exchange=self.exchange,
            feed=LiveFeed(
                endpoints.stream,
                clock,
                self.exchange,
                mode=PositionMode.ONE_WAY,
                wanted=lambda: self.watch.symbols,
                dial=dial,
            ),
            journal=journal,
            guard=Guard(armed=True, halted=lambda: None),
            contexts=ContextSource(
                self.exchange,
                clock,
                InputSettings(confidence=Decimal("0.85"), volatility=Ratio.percent("2.5"), regime=Regime.NORMAL),
            ),
            clock=clock,
            scores=scores,
            tell=lambda *_: None,
            terms=WatchTerms(env="sim", mode="armed", lockstep=False, mark_max_age_ms=None),
            state=load_state(journal, "near", rules, Scope()),
            halted=lambda: None,
        )

    def _step(self) -> None:
        at = time.time_ns() // 1_000_000
        quotes = tuple(Quote(symbol, price, price) for symbol, price in self.prices.items())
        self.venue.step(MarketStep(at, quotes))

    def frame(self) -> bytes:
        """Return the frame of the market as it is."""
        return _frame(self.prices, time.time_ns() // 1_000_000)

    def step_to_frame(self) -> bytes:
        """Let the market step on; return its frame, which nobody has seen yet."""
        self._step()
        return _frame(self.prices, time.time_ns() // 1_000_000 + 1)

    def tick(self) -> None:
        """Let the market step on, and its frame reach the stream."""
        self.market.put(self.step_to_frame())

    def tell(self) -> None:
        """Let the account's events reach their stream."""
        for payload in self.venue.user_events():
            self.user.put(json.dumps(payload).encode())

    @property
    def guarded(self) -> list[Episode]:
        """The positions that are guarded and have a leg to wait for."""
        episodes = self.watch.state.episodes.values()
        return [e for e in episodes if e.phase is Phase.GUARDED and e.protected and self._leg(e) is not None]

    @staticmethod
    def _leg(episode: Episode) -> Decimal | None:
        waiting = [leg for leg in episode.legs if leg.status is LegStatus.WAITING and leg.remaining > 0]
        return waiting[0].trigger if len(waiting) > 1 else None

    def cross(self, key: PositionKey) -> None:
        """Move one symbol just past the next leg of its position."""
        trigger = self._leg(self.watch.state.episodes[key])
        assert trigger is not None  # noqa: S101 - chosen among those that have one
        step = Decimal("0.0005") if key.side is PositionSide.LONG else Decimal("-0.0005")
        self.prices[key.symbol] = trigger * (1 + step)


@asynccontextmanager
async def _socket() -> AsyncIterator[int]:
    sink = subprocess.Popen(  # noqa: ASYNC220 - this very module
        [sys.executable, "-m", "benchmarks.bench_tick_to_order", "--sink"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert sink.stdout is not None  # noqa: S101 - it was asked for
        yield int(sink.stdout.readline())
    finally:
        sink.terminate()
        sink.wait()


async def _measure(folder: Path, orders: int) -> None:
    async with _socket() as port:
        bench = Bench(folder, port)
        _watch_transport(bench.marks)
        running = asyncio.ensure_future(bench.watch.run())
        await _begin(bench, running)
        samples = await _orders(bench, orders)
        _say(f"{len(samples)} orders, {SYMBOLS} streamed symbols, {POSITIONS} positions; ms, p50 and p99")
        _tell("frame received to order let out", [sample.ours for sample in samples])
        _tell("  CPU of it", [sample.cpu for sample in samples])
        _tell("  of that committing to the journal", [sample.journal for sample in samples])
        _tell("  without it", [sample.ours - sample.journal for sample in samples])
        _tell("client library: call to socket", [sample.library for sample in samples])
        _tell("together", [sample.ours + sample.library for sample in samples])
        await _load(bench)
        bench.watch.stop("measured")
        await running
        await bench.exchange.close()


async def _begin(bench: Bench, running: "asyncio.Future[Any]") -> None:
    """Wait until every position is guarded."""
    for _ in range(600):
        bench.tick()
        bench.tell()
        await asyncio.sleep(0.1)
        if running.done():
            await running
        if len(bench.guarded) == POSITIONS == len(bench.watch.state.quiet):
            return
    raise SystemExit(f"only {len(bench.guarded)} of {POSITIONS} positions are guarded")


async def _orders(bench: Bench, count: int) -> list[Sample]:
    samples: list[Sample] = []
    settle_objects()
    for number in range(count):
        ready = bench.guarded
        if not ready:
            break
        quiet = bench.frame()
        bench.cross(ready[number % len(ready)].key)
        loud = bench.step_to_frame()
        bench.market.put(quiet)
        await asyncio.sleep(_APART_S)
        bench.marks.sent.clear()
        bench.marks.submitted = 0.0
        bench.market.put(loud)
        async with asyncio.timeout(10):
            await bench.marks.sent.wait()
            written, submitted, received = bench.marks.written, bench.marks.submitted, bench.marks.received
            ours, journal, library = submitted - received, bench.marks.committing, written - submitted
            cpu = bench.marks.cpu_submitted - bench.marks.cpu
            samples.append(Sample(ours * 1000, cpu * 1000, journal * 1000, library * 1000))
        # What follows the fill, and a smaller stop, before the next tick.
        for _ in range(40):
            await asyncio.sleep(0.01)
            bench.tell()
            if not bench.watch.busy and len(bench.watch.state.quiet) == POSITIONS:
                break
    return samples


async def _load(bench: Bench) -> None:
    """Print what a second of the stream costs, and how memory grows over ten minutes of it."""
    for _ in range(50):
        await _wiggle(bench)
    rss, frames = _rss(), 600
    spent = 0.0
    for _ in range(frames):
        spent += await _wiggle(bench)
    _say(f"a second of the stream: {spent / frames * 1000:.2f} ms CPU of the whole process, aim below 50")
    _say(f"memory: {_rss():.0f} MB, {_rss() - rss:+.1f} MB over {frames} frames")


async def _wiggle(bench: Bench) -> float:
    """Let every price move a little; return the CPU seconds it cost, without making the frame."""
    for number, symbol in enumerate(bench.prices):
        bench.prices[symbol] *= Decimal("1.0001") if (number + int(time.time() * 50)) % 2 else Decimal("0.9999")
    frame = _frame(bench.prices, time.time_ns() // 1_000_000)
    began = time.process_time()
    bench.market.put(frame)
    await asyncio.sleep(0.004)
    return time.process_time() - began


def _rss() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def _tell(name: str, values: list[float]) -> None:
    points = quantiles(values, n=100)
    _say(f"  {name:<34} {median(values):6.3f} {points[98]:6.3f}")


if __name__ == "__main__":
    main()
