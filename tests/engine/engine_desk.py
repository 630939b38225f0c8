"""A watch on an exchange in the same process: no sockets, no waiting; the market moves when the watch is done.

`DeskExchange` is the twin's matching core behind the engine's ports, through the payload maps of the real adapter.
Tests break it: answers fail, reads fail, the stream goes silent.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from tpctl.adapters.binance_map import account, orders
from tpctl.adapters.binance_map.params import Operation, find_params, wire_order
from tpctl.adapters.binance_map.streams import FrameDecoder
from tpctl.adapters.journal import Journal
from tpctl.adapters.metrics_file import MetricsFile
from tpctl.adapters.policy_evidence import read_evidence
from tpctl.adapters.policy_use import PolicyUse
from tpctl.adapters.rules import parse_brackets, parse_instruments
from tpctl.engine.context import ContextSource, no_policy
from tpctl.engine.guard import Guard
from tpctl.engine.learned import LearnedExits
from tpctl.engine.memory import load_state
from tpctl.engine.scorekeeper import Scorekeeper
from tpctl.engine.watch import Summary, Watch, WatchTerms
from tpctl.exits.episode import Scope
from tpctl.exits.events import Accepted, Answer, Event, MarkPrice, Refused, StreamLost, Unknown
from tpctl.exits.instrument import Bracket, Instrument, PositionSide, Unavailable
from tpctl.exits.intents import OrderIntent
from tpctl.exits.model import Book, Fill, LiveOrder, Note, NoteKind, Position, PositionKey, PositionMode, Regime
from tpctl.exits.rules import ExitRules
from tpctl.exits.units import Ratio
from tpctl.ports import Admitted, Candle, Fees, Holdings, Premium, RiskMeter, SymbolConfig, Wallet
from tpctl.settings.schema import InputSettings
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.venue import Venue, VenueError

START = 1_767_571_200_000
ACCOUNT = "desk"
STEP_MS = 5_000
XRP = PositionKey("XRPUSDT", PositionSide.LONG)
GIVEN = InputSettings(confidence=Decimal("0.85"), volatility=Ratio.percent("2.5"), regime=Regime.NORMAL)

T = TypeVar("T")


class EventTime:
    """A clock that stands where the market put it."""

    def __init__(self, at: int = START) -> None:
        self.at = at

    def now(self) -> int:
        return self.at


@dataclass
class DeskExchange:
    """The ports of the engine over a twin in this process. `reads` and `sent` keep what was asked, in order."""

    venue: Venue
    clock: EventTime
    reads: list[tuple[str, int]] = field(default_factory=list)
    sent: list[OrderIntent] = field(default_factory=list)
    failing: Callable[[str], Exception | None] = lambda _: None
    before_submit: Callable[[OrderIntent], None] = lambda _: None
    lose_answer: Callable[[OrderIntent], bool] = lambda _: False
    candle_rows: dict[str, tuple[Candle, ...]] = field(default_factory=dict)
    rates: Fees | None = None

    def _read(self, name: str) -> None:
        self.reads.append((name, self.clock.now()))
        error = self.failing(name)
        if error is not None:
            raise error

    async def server_time(self) -> int:
        return self.clock.now()

    async def position_mode(self) -> PositionMode:
        self._read("position_mode")
        return account.position_mode(self.venue.account_config({}))

    async def positions(self, symbol: str | None = None) -> tuple[Position, ...]:
        self._read("positions")
        return account.positions(self.venue.position_risk_v3({}))

    async def holdings(self) -> Holdings:
        self._read("holdings")
        rows = self.venue.position_risk_v3({})
        shown = account.mode_shown(rows)
        return Holdings(await self.position_mode() if shown is None else shown, account.positions(rows))

    async def open_orders(self, symbol: str | None = None) -> tuple[LiveOrder, ...]:
        self._read("open_orders")
        return orders.AlgoList().orders(self.venue.open_algo_orders({}), whole=True) + orders.regular_orders(
            self.venue.open_orders({})
        )

    async def find_order(self, symbol: str, client_id: str, book: Book) -> LiveOrder | None:
        self._read("find_order")
        params = dict(find_params(symbol, client_id, book))
        try:
            if book is Book.ALGO:
                return orders.algo_order(self.venue.get_algo_order(params))
            return orders.regular_order(self.venue.get_order(params))
        except VenueError as error:
            if error.code == -2013:
                return None
            raise

    async def fills(self, symbol: str, since: int) -> tuple[Fill, ...]:
        self._read("fills")
        return orders.fills(self.venue.user_trades({"symbol": symbol, "startTime": str(since)}))

    async def symbol_config(self, symbol: str) -> SymbolConfig | Unavailable:
        self._read("symbol_config")
        return account.symbol_config(self.venue.symbol_config({"symbol": symbol}), symbol)

    async def wallet(self, asset: str) -> Wallet | Unavailable:
        self._read("wallet")
        return account.wallet(self.venue.account_v3({}), asset)

    async def fees(self, symbol: str) -> Fees | Unavailable:
        self._read("fees")
        if self.rates is not None:
            return self.rates
        return account.fees(self.venue.commission_rate({"symbol": symbol}), symbol)

    async def instruments(self) -> dict[str, Instrument]:
        self._read("instruments")
        return parse_instruments(self.venue.exchange_info({}))

    async def brackets(self, symbol: str) -> tuple[Bracket, ...] | Unavailable:
        self._read("brackets")
        return parse_brackets(self.venue.leverage_bracket({"symbol": symbol}))[symbol]

    async def candles(self, symbol: str, interval: str, limit: int) -> tuple[Candle, ...]:
        self._read(f"candles {interval}")
        return self.candle_rows.get(interval, ())[-limit:]

    async def quote_volume(self, symbol: str) -> Decimal | Unavailable:
        self._read("quote_volume")
        return Unavailable("no ticker on the desk")

    async def premium(self, symbol: str) -> Premium:
        raise NotImplementedError

    async def submit(self, admitted: Admitted) -> Answer:
        intent = admitted.intent
        self.before_submit(intent)
        self.sent.append(intent)
        wire = wire_order(intent, admitted.mode)
        calls = {
            Operation.PLACE_ALGO: self.venue.new_algo_order,
            Operation.PLACE_REGULAR: self.venue.new_order,
            Operation.CANCEL_ALGO: self.venue.cancel_algo_order,
            Operation.CANCEL_REGULAR: self.venue.cancel_order,
        }
        try:
            payload = calls[wire.operation](dict(wire.params))
        except VenueError as error:
            return Refused(error.code, error.msg)
        if self.lose_answer(intent):
            return Unknown("the answer was lost")
        if wire.operation is Operation.PLACE_ALGO:
            return Accepted(orders.algo_order(payload))
        if wire.operation is Operation.PLACE_REGULAR:
            return Accepted(orders.regular_order(payload))
        return Accepted(None)


Act = Callable[[], None]


class DeskFeed:
    """Plays a script: prices move the market, a callable does something, a list of events is heard as it stands.

    Account events flow on by themselves, save while `silent`, when they are lost.
    """

    def __init__(self, exchange: DeskExchange, script: Sequence["dict[str, str] | Act | list[Event]"]) -> None:
        self._exchange = exchange
        self._script = script
        self._decoder = FrameDecoder()
        self.silent = False
        self.closed = False

    async def events(self) -> AsyncIterator[Sequence[Event]]:
        yield [StreamLost(self._exchange.clock.now(), "connected")]
        for item in self._script:
            while caused := self._account_events():
                yield caused
            if callable(item):
                item()
                yield []
            elif isinstance(item, dict):
                yield self._move(item)
            else:
                yield item
        while caused := self._account_events():
            yield caused

    def _move(self, prices: dict[str, str]) -> list[Event]:
        clock = self._exchange.clock
        clock.at += STEP_MS
        quotes = tuple(Quote(symbol, Decimal(price), Decimal(price)) for symbol, price in prices.items())
        self._exchange.venue.step(MarketStep(clock.at, quotes))
        marks: list[Event] = [MarkPrice(clock.at, quote.symbol, quote.mark) for quote in quotes]
        return [*marks, *self._account_events()]

    def _account_events(self) -> list[Event]:
        payloads = self._exchange.venue.user_events()
        if self.silent:
            return []
        return [event for payload in payloads for event in self._decoder.decode(json.dumps(payload)).events]

    async def close(self) -> None:
        self.closed = True


class Desk:
    """One account with its files, and the watches run on it one after the other."""

    def __init__(self, folder: Path, **prices: str) -> None:
        self.folder = folder
        self.clock = EventTime()
        self.venue = Venue(builtin_rules(), start_ms=START)
        quotes = tuple(Quote(symbol, Decimal(price), Decimal(price)) for symbol, price in prices.items())
        self.venue.step(MarketStep(START, quotes))
        self.exchange = DeskExchange(self.venue, self.clock)
        self.notes: list[Note] = []
        self.suspended: list[tuple[str, str]] = []
        self.halt: str | None = None
        self.armed = True
        self.watch: Watch | None = None
        self.feed: DeskFeed | None = None

    @property
    def journal_path(self) -> Path:
        return self.folder / "journal.db"

    @property
    def metrics_path(self) -> Path:
        return self.folder / "tp_metrics.json"

    def open_long(self, symbol: str = "XRPUSDT", notional: str = "2000", leverage: int = 20) -> None:
        self.venue.open_position(symbol, "LONG", notional=Decimal(notional), leverage=leverage)

    def quantity(self, symbol: str = "XRPUSDT") -> Decimal:
        return sum((p.quantity for p in self.venue.positions() if p.symbol == symbol), Decimal(0))

    def resting(self, symbol: str = "XRPUSDT") -> list[Any]:
        return list(self.venue.resting_conditionals(symbol))

    def told(self, kind: NoteKind) -> list[Note]:
        return [note for note in self.notes if note.kind is kind]

    def run(
        self,
        *script: "dict[str, str] | Act | list[Event]",
        journal: Callable[[Journal], Journal] = lambda journal: journal,
        feed: Callable[[DeskFeed], Any] = lambda feed: feed,
        risk: RiskMeter | None = None,
        use: Callable[[], PolicyUse | Unavailable] | None = None,
        **terms: Any,
    ) -> Summary:
        """Watch through a script; what it raises is raised."""
        return asyncio.run(self._run(script, journal, feed, risk, use, terms))

    async def _run(  # noqa: PLR0917 - the parts of one run
        self,
        script: Sequence["dict[str, str] | Act | list[Event]"],
        journal: Callable[[Journal], Journal],
        feed: Callable[[DeskFeed], Any],
        risk: RiskMeter | None,
        use: Callable[[], PolicyUse | Unavailable] | None,
        terms: dict[str, Any],
    ) -> Summary:
        opened = Journal.open(self.journal_path, ACCOUNT, at=self.clock.at, code_version="test")
        try:
            writer = journal(opened)
            self.feed = DeskFeed(self.exchange, script)
            scores = Scorekeeper(writer, MetricsFile(self.metrics_path))
            scores.publish()
            learned = None if use is None else self._learned(use, opened)
            measured = (lambda: Unavailable("it is not measured here")) if risk is None else risk.current
            suggest = no_policy if learned is None else learned.suggestion
            self.watch = Watch(
                exchange=self.exchange,
                feed=feed(self.feed),
                journal=writer,
                guard=Guard(armed=self.armed, halted=lambda: self.halt),
                contexts=ContextSource(self.exchange, self.clock, GIVEN, measured, suggest),
                risk=risk,
                adviser=learned,
                clock=self.clock,
                scores=scores,
                tell=lambda note, _: self.notes.append(note),
                terms=WatchTerms(env="sim", mode="armed" if self.armed else "shadow", **{"lockstep": True, **terms}),
                state=load_state(opened, ACCOUNT, ExitRules(), Scope()),
                halted=lambda: self.halt,
            )
            async with asyncio.timeout(30):
                return await self.watch.run()
        finally:
            opened.close()

    def _learned(self, use: Callable[[], PolicyUse | Unavailable], journal: Journal) -> LearnedExits:
        def life(key: PositionKey) -> str | None:
            episode = None if self.watch is None else self.watch.state.episodes.get(key)
            return None if episode is None else episode.generation

        return LearnedExits(
            self.exchange,
            self.clock,
            use,
            rules=ExitRules,
            life=life,
            book=lambda used: read_evidence(journal, used.choice, used.symbols, used.policy.longest_ms),
            suspend=lambda used, why: self.suspended.append((used.name, why)),
        )


def still(price: str, steps: int, symbol: str = "XRPUSDT") -> list[dict[str, str]]:
    """Return steps of a market that stands still."""
    return [{symbol: price}] * steps


def bounded(work: Awaitable[T]) -> T:
    """Run a coroutine that may not take for ever."""

    async def timed() -> T:
        async with asyncio.timeout(10):
            return await work

    return asyncio.run(timed())
