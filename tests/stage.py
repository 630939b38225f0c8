"""The reducer on the in-process twin: one thread, virtual time, no sockets, and faults where a test wants them.

A `Stage` carries the reducer's intents to the venue and the venue's events back, through the same payload maps the real
adapter uses, until nothing is left to do; then the market may move again. It restarts as the engine does: what is not
in the encoded episodes is lost.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from tpctl.adapters.binance_map.account import position_mode, positions
from tpctl.adapters.binance_map.orders import AlgoList, algo_order, fills, regular_order, regular_orders
from tpctl.adapters.binance_map.params import Operation, find_params, wire_order
from tpctl.adapters.binance_map.streams import FrameDecoder
from tpctl.adapters.codec import decode, encode
from tpctl.adapters.rules import parse_brackets, parse_instruments
from tpctl.engine.guard import Guard
from tpctl.exits.decide import recover, step
from tpctl.exits.episode import Episode, OrderState, OwnOrder, Phase, Scope, State
from tpctl.exits.events import (
    Accepted,
    Answer,
    Answered,
    ContextRead,
    Event,
    Filled,
    MarkPrice,
    OrderLookedUp,
    Refused,
    Released,
    Snapshot,
    StreamLost,
    Tick,
    Unknown,
    Withheld,
)
from tpctl.exits.ids import Role
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.intents import CancelOrder, Intent, LookUp, OrderIntent, ReadAccount, ReadContext
from tpctl.exits.model import Attempt, Book, Context, MarginMode, Note, NoteKind, PositionKey, PositionMode
from tpctl.exits.rules import ExitRules
from tpctl.exits.units import Ratio
from tpctl.ports import Admitted
from tpctl.venue.orders import Conditional
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.rulebook import RuleBook, builtin_rules
from tpctl.venue.venue import Terms, Venue, VenueError

START = 1_767_571_200_000
XRP_LONG = PositionKey("XRPUSDT", PositionSide.LONG)
XRP_SHORT = PositionKey("XRPUSDT", PositionSide.SHORT)

# What becomes of a request: lost on the way there, lost on the way back, or refused with a code.
LOST_BEFORE = "lost before"
LOST_AFTER = "lost after"
Outcome = str | int

# Reads of the account are at least this far apart, as in the engine.
_READ_SPACING_MS = 1_000
_READ_EVERY_MS = 30_000


class CrashError(Exception):
    """The process dies here."""


@dataclass
class Fault:
    """What happens to the next requests that `matches`, `times` often."""

    matches: Callable[[OrderIntent], bool]
    outcome: Outcome
    times: int


def of_kind(*kinds: type) -> Callable[[OrderIntent], bool]:
    """Return a test for intents of some kinds."""
    return lambda intent: isinstance(intent, kinds)


class Stage:
    """A venue, the reducer's state, and everything that was said and done between them."""

    def __init__(
        self,
        prices: dict[str, str],
        *,
        rules: ExitRules | None = None,
        hedge: bool = False,
        book: RuleBook | None = None,
        terms: Terms | None = None,
        armed: bool = True,
    ) -> None:
        self.venue = Venue(book or builtin_rules(), start_ms=START, hedge=hedge, terms=terms)
        mode = PositionMode.HEDGE if hedge else PositionMode.ONE_WAY
        self.state = State(account="stage", rules=rules or ExitRules(), mode=mode, scope=Scope())
        self.halt: str | None = None
        self.guard = Guard(armed=armed, halted=lambda: self.halt)
        self.notes: list[Note] = []
        self.attempts: list[Attempt] = []
        self.sent: list[OrderIntent] = []
        self.heard: list[Event] = []
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
        self.faults: list[Fault] = []
        self.distort: Callable[[list[Event]], list[Event]] = lambda events: events
        self.empty_reads = 0
        self.lost_contexts = 0
        self.crash_after: int | None = None
        self.before_send: Callable[[OrderIntent], None] = lambda intent: None
        self.after_step: Callable[[State, Event, Any], None] = lambda before, event, decision: None
        self._inbox: deque[Event] = deque()
        self._decoder = FrameDecoder(mode)
        self._read_wanted = False
        self._read_at = 0
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
        if self._read_at and self.now - self._read_at >= _READ_EVERY_MS:
            self._read_wanted = True
        self.settle()

    def go(self, *prices: str, symbol: str = "XRPUSDT") -> None:
        """Let one symbol go through prices, one after the other."""
        for price in prices:
            self.move({symbol: price})

    def wait(self, ms: int) -> None:
        """Let time pass with the market standing still, a second at a time."""
        left = ms
        while left > 0:
            part = min(left, 1_000)
            left -= part
            known = [quote for symbol in self._symbols() if (quote := self.venue.quotes(symbol)) is not None]
            self.move(
                {quote.symbol: str(quote.last) for quote in known},
                after_ms=part,
                marks={quote.symbol: str(quote.mark) for quote in known},
            )

    def act(self, what: Callable[[Venue], object]) -> None:
        """Let the operator do something by hand, a millisecond later."""
        self.now += 1
        self.venue.step(MarketStep(self.now, ()))
        what(self.venue)
        self.settle()

    def open(self, side: str = "LONG", *, notional: int = 2_000, symbol: str = "XRPUSDT", **more: Any) -> None:
        """Open a position by hand; more arguments go to the venue."""
        size: dict[str, Any] = {} if "quantity" in more else {"notional": Decimal(notional)}
        self.act(lambda venue: venue.open_position(symbol, side, leverage=20, **size, **more))

    def start(self) -> None:
        """Begin as a start does: by reading the account."""
        self.hear(StreamLost(self.now, "start"))

    def release(self) -> None:
        """Lift HALT."""
        self.halt = None
        self.hear(Released(self.now))

    def restart(self, *, forget: bool = False) -> None:
        """Die and start again from what is stored; with `forget` the state directory is lost."""
        self.crash_after = None
        self._inbox.clear()
        self.venue.user_events()
        self._read_wanted, self._read_at = False, 0
        stored = {key: decode(encode(episode), Episode) for key, episode in self.state.episodes.items()}
        fresh = replace(self.state, quiet={}, orphans={}, episodes={}, lives={})
        self.state = recover(fresh if forget else replace(fresh, episodes=stored, lives=dict(self.state.lives)))
        for key, episode in tuple(self.state.episodes.items()):
            trades = self.venue.user_trades({"symbol": key.symbol, "startTime": str(episode.opened_at)})
            self._inbox.extend(Filled(self.now, fill) for fill in fills(trades))
            for order in episode.orders:
                if order.open:
                    book = Book.REGULAR if order.role is Role.REDUCE or order.child_id else Book.ALGO
                    self._inbox.append(self._look_up(LookUp(key, order.client_id, book)))
        self._inbox.append(StreamLost(self.now, "start"))
        self.settle()

    def hear(self, *events: Event) -> None:
        """Give the reducer events, and let everybody act on them."""
        self._inbox.extend(events)
        self.settle()

    def fault(self, outcome: Outcome, *kinds: type, times: int = 1, role: Role | None = None) -> None:
        """Let something happen to the next requests of some kinds."""

        def matches(intent: OrderIntent) -> bool:
            if kinds and not isinstance(intent, kinds):
                return False
            return role is None or f"-{role.value}" in intent.client_id[14:16]

        self.faults.append(Fault(matches, outcome, times))

    def lose_user_events(self) -> None:
        """Drop all user events from now on."""
        self.distort = lambda events: []

    def settle(self) -> None:
        """Carry intents and events until nothing is left to do."""
        for _ in range(5_000):
            self._inbox.extend(self.distort(list(self._user_events())))
            if not self._inbox and self._read_wanted and self.now - self._read_at >= _READ_SPACING_MS:
                self._read_wanted, self._read_at = False, self.now
                self._inbox.append(self._snapshot())
            if not self._inbox:
                return
            try:
                self._apply(self._inbox.popleft())
            except CrashError:
                self.restart()
        raise AssertionError("it never settles")

    # what tests ask

    def episode(self, key: PositionKey = XRP_LONG) -> Episode:
        return self.state.episodes[key]

    def told(self, kind: NoteKind) -> list[Note]:
        return [note for note in self.notes if note.kind is kind]

    def resting(self, symbol: str = "XRPUSDT") -> list[Conditional]:
        return [order for order in self.venue.resting_conditionals(symbol) if order.status == "NEW"]

    def stops(self, symbol: str = "XRPUSDT") -> list[Decimal]:
        """Return the triggers of our resting working stops."""
        return [o.trigger for o in self.resting(symbol) if "-s-" in o.client_id]

    def backstops(self, symbol: str = "XRPUSDT") -> list[Decimal]:
        return [o.trigger for o in self.resting(symbol) if "-b-" in o.client_id]

    def targets(self, symbol: str = "XRPUSDT") -> list[tuple[Decimal, Decimal]]:
        """Return trigger and quantity of our resting take-profits."""
        return [(o.trigger, o.quantity) for o in self.resting(symbol) if "-t" in o.client_id]

    def orders(self, role: Role, key: PositionKey = XRP_LONG) -> list[OwnOrder]:
        return list(self.episode(key).of_role(role))

    def quantity(self, symbol: str = "XRPUSDT") -> Decimal:
        return sum((p.quantity for p in self.venue.positions() if p.symbol == symbol), Decimal(0))

    def flat(self, key: PositionKey = XRP_LONG) -> bool:
        """Whether the reducer takes the position for closed."""
        episode = self.state.episodes.get(key)
        return episode is None or episode.phase is Phase.FLAT

    def undecided(self) -> list[OwnOrder]:
        """Return our orders whose fate is not known."""
        return [o for e in self.state.episodes.values() for o in e.orders if o.state is OrderState.UNKNOWN]

    # the carrying

    def _symbols(self) -> set[str]:
        return set(self.venue.core.last)

    def _apply(self, event: Event) -> None:
        before = self.state
        decision = step(before, event)
        self.heard.append(event)
        self.after_step(before, event, decision)
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
            self._read_wanted = True
        elif isinstance(intent, ReadContext):
            if self.lost_contexts:
                self.lost_contexts -= 1
                return
            quote = self.venue.quotes(intent.key.symbol)
            instrument, context = self.instruments[intent.key.symbol], self.context_of(intent.key)
            mark = None if quote is None else quote.mark
            self._inbox.append(ContextRead(self.now, intent.key, instrument, context, mark))
        elif isinstance(intent, LookUp):
            self._inbox.append(self._look_up(intent))
        else:
            answer = self._send(intent)
            cancel = isinstance(intent, CancelOrder)
            self._inbox.append(Answered(self.now, intent.key, intent.client_id, answer, cancel))

    def context_of(self, key: PositionKey) -> Context:
        """Return the planning inputs of a position; tests replace it."""
        return self.context

    def _snapshot(self) -> Snapshot:
        held = positions(self.venue.position_risk_v3({}))
        if self.empty_reads:
            self.empty_reads -= 1
            held = ()
        return Snapshot(
            self.now,
            position_mode(self.venue.account_config({})),
            held,
            regular_orders(self.venue.open_orders({})) + AlgoList().orders(self.venue.open_algo_orders({}), whole=True),
        )

    def _look_up(self, intent: LookUp) -> OrderLookedUp:
        params = dict(find_params(intent.key.symbol, intent.client_id, intent.book))
        try:
            if intent.book is Book.ALGO:
                found = algo_order(self.venue.get_algo_order(params))
            else:
                found = regular_order(self.venue.get_order(params))
        except VenueError as error:
            if error.code != -2013:
                raise
            self.venue.rejected.pop()
            return OrderLookedUp(self.now, intent.key, intent.client_id, None)
        return OrderLookedUp(self.now, intent.key, intent.client_id, found)

    def _send(self, intent: OrderIntent) -> Answer:
        admitted = self.guard.admit(intent, self.state)
        if isinstance(admitted, Withheld):
            return admitted
        if self.crash_after is not None:
            if self.crash_after == 0:
                raise CrashError
            self.crash_after -= 1
        self.before_send(intent)
        outcome = self._fate(intent)
        self.sent.append(intent)
        if outcome == LOST_BEFORE:
            return Unknown("the request was lost")
        if isinstance(outcome, int):
            return Refused(outcome, "refused for the test")
        answer = self._place(admitted)
        return Unknown("the answer was lost") if outcome == LOST_AFTER else answer

    def _place(self, admitted: Admitted) -> Answer:
        wire = wire_order(admitted.intent, admitted.mode)
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
        read = {Operation.PLACE_ALGO: algo_order, Operation.PLACE_REGULAR: regular_order}.get(wire.operation)
        return Accepted(None if read is None else read(payload))

    def _fate(self, intent: OrderIntent) -> Outcome | None:
        for fault in self.faults:
            if fault.times > 0 and fault.matches(intent):
                fault.times -= 1
                return fault.outcome
        return None
