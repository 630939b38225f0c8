"""The reducer on the in-process twin: one thread, virtual time, no sockets.

A `Stage` carries the reducer's intents to the venue and the venue's events back, through the same payload maps the real
adapter uses, until nothing is left to do; then the market may move again.
"""

import json
from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from tpctl.adapters.binance_map.account import position_mode, positions
from tpctl.adapters.binance_map.orders import algo_order, algo_orders, regular_order, regular_orders
from tpctl.adapters.binance_map.params import Operation, find_params, wire_order
from tpctl.adapters.binance_map.streams import FrameDecoder
from tpctl.adapters.rules import parse_brackets, parse_instruments
from tpctl.engine.guard import Guard
from tpctl.exits.decide import step
from tpctl.exits.episode import Episode, Scope, State
from tpctl.exits.events import (
    Accepted,
    Answer,
    Answered,
    ContextRead,
    Event,
    MarkPrice,
    OrderLookedUp,
    Refused,
    Snapshot,
    StreamLost,
    Tick,
    Unknown,
    Withheld,
)
from tpctl.exits.intents import CancelOrder, Intent, LookUp, OrderIntent, ReadAccount, ReadContext
from tpctl.exits.model import Attempt, Book, Context, MarginMode, Note, NoteKind, PositionKey, PositionSide, Unavailable
from tpctl.exits.rules import ExitRules
from tpctl.exits.units import Ratio
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.rulebook import RuleBook, builtin_rules
from tpctl.venue.venue import Venue, VenueError

START = 1_767_571_200_000
XRP_LONG = PositionKey("XRPUSDT", PositionSide.LONG)


class Stage:
    """A venue, the reducer's state, and everything that was said and done between them."""

    def __init__(
        self, prices: dict[str, str], *, rules: ExitRules | None = None, hedge: bool = False, book: RuleBook | None = None
    ) -> None:
        self.venue = Venue(book or builtin_rules(), start_ms=START, hedge=hedge)
        self.state = State(account="stage", rules=rules or ExitRules(), scope=Scope())
        self.guard = Guard(armed=True, halted=lambda: None)
        self.notes: list[Note] = []
        self.attempts: list[Attempt] = []
        self.sent: list[OrderIntent] = []
        self.lost_answers: set[int] = set()
        self.context = Context(
            leverage=Decimal(20),
            margin=MarginMode.CROSS,
            volatility=Ratio.percent("2.5"),
            regime=Unavailable("not measured here"),
            confidence=Decimal("0.85"),
            quote_volume=Unavailable("not measured here"),
            atr=Unavailable("not measured here"),
            taker_fee=Ratio.percent("0.05"),
            maker_fee=Ratio.percent("0.02"),
            brackets=Unavailable("not read here"),
            wallet=Decimal(100_000),
            risk=Unavailable("not measured here"),
        )
        self.instruments = parse_instruments(self.venue.exchange_info({}))
        self.brackets = parse_brackets(self.venue.leverage_bracket({}))
        self.now = START
        self._inbox: deque[Event] = deque()
        self._decoder = FrameDecoder()
        self.move(prices)

    # what tests do

    def move(self, prices: dict[str, str], *, after_ms: int = 5_000, marks: dict[str, str] | None = None) -> None:
        """Let the market go on to these prices, and everybody act on it."""
        self.now += after_ms
        quotes = tuple(
            Quote(symbol, Decimal(price), Decimal((marks or prices).get(symbol, price)))
            for symbol, price in prices.items()
        )
        self.venue.step(MarketStep(self.now, quotes))
        self._inbox.extend(MarkPrice(self.now, quote.symbol, quote.mark) for quote in quotes)
        self._inbox.append(Tick(self.now))
        self.settle()

    def wait(self, ms: int) -> None:
        """Let time pass with the market standing still."""
        prices = {quote.symbol: quote for key in self.state.episodes if (quote := self.venue.quotes(key.symbol))}
        self.move(
            {symbol: str(quote.last) for symbol, quote in prices.items()},
            after_ms=ms,
            marks={symbol: str(quote.mark) for symbol, quote in prices.items()},
        )

    def start(self) -> None:
        """Begin as a start does: by reading the account."""
        self.hear(StreamLost(self.now, "start"))

    def hear(self, *events: Event) -> None:
        """Give the reducer events, and let everybody act on them."""
        self._inbox.extend(events)
        self.settle()

    def settle(self) -> None:
        """Carry intents and events until nothing is left to do."""
        for _ in range(10_000):
            self._inbox.extend(self._user_events())
            if not self._inbox:
                return
            self._apply(self._inbox.popleft())
        raise AssertionError("it never settles")

    # what tests ask

    def episode(self, key: PositionKey = XRP_LONG) -> Episode:
        return self.state.episodes[key]

    def told(self, kind: NoteKind) -> list[Note]:
        return [note for note in self.notes if note.kind is kind]

    def resting(self, symbol: str = "XRPUSDT") -> list[Any]:
        return list(self.venue.resting_conditionals(symbol))

    def quantity(self, symbol: str = "XRPUSDT") -> Decimal:
        return sum((p.quantity for p in self.venue.positions() if p.symbol == symbol), Decimal(0))

    # the carrying

    def _apply(self, event: Event) -> None:
        decision = step(self.state, event)
        self.state = decision.state
        self.notes += decision.notes
        self.attempts += decision.attempts
        for intent in decision.intents:
            self._carry_out(intent)

    def _user_events(self) -> Iterable[Event]:
        for payload in self.venue.user_events():
            yield from self._decoder.decode(json.dumps(payload)).events

    def _carry_out(self, intent: Intent) -> None:
        if isinstance(intent, ReadAccount):
            self._inbox.append(self._snapshot())
        elif isinstance(intent, ReadContext):
            instrument = self.instruments[intent.key.symbol]
            context = self.context_of(intent.key)
            self._inbox.append(ContextRead(self.now, intent.key, instrument, context))
        elif isinstance(intent, LookUp):
            self._inbox.append(OrderLookedUp(self.now, intent.key, intent.client_id, self._find(intent)))
        else:
            answer = self._send(intent)
            cancel = isinstance(intent, CancelOrder)
            self._inbox.append(Answered(self.now, intent.key, intent.client_id, answer, cancel))

    def context_of(self, key: PositionKey) -> Context:
        """Return the planning inputs of a position; tests replace it."""
        return self.context

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            self.now,
            position_mode(self.venue.account_config({})),
            positions(self.venue.position_risk_v3({})),
            regular_orders(self.venue.open_orders({})) + algo_orders(self.venue.open_algo_orders({})),
        )

    def _find(self, intent: LookUp) -> Any:
        params = dict(find_params(intent.key.symbol, intent.client_id, intent.book))
        try:
            if intent.book is Book.ALGO:
                return algo_order(self.venue.get_algo_order(params))
            return regular_order(self.venue.get_order(params))
        except VenueError as error:
            assert error.code == -2013
            return None

    def _send(self, intent: OrderIntent) -> Answer:
        admitted = self.guard.admit(intent, self.state)
        if isinstance(admitted, Withheld):
            return admitted
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
        if len(self.sent) - 1 in self.lost_answers:
            return Unknown("the answer was lost")
        if wire.operation is Operation.PLACE_ALGO:
            return Accepted(algo_order(payload))
        if wire.operation is Operation.PLACE_REGULAR:
            return Accepted(regular_order(payload))
        return Accepted(None)
