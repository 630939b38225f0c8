"""Plays the exits of one position over a price path: the reducer itself, against a paper account that answers at once.

What other exits would have come to is told by the same `step` that guards real positions, so a counterfactual follows
every rule, ratchet and trail. The paper account is a plain one: every request is accepted, an order fills whole and at
its level where the price moves through it, and at the price after a jump. It knows no slippage, no lost answer and no
other trader; the fee of every exit is the taker's.

Invariants: I2, I3 (nothing closes more than there is), exit-rules 7 (a stop is judged before targets).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from tpctl.exits.decide import step
from tpctl.exits.episode import Episode, Phase, State
from tpctl.exits.events import (
    Accepted,
    Answered,
    ContextRead,
    Event,
    Filled,
    MarkPrice,
    OrderLookedUp,
    OrderSeen,
    PositionSeen,
    Refused,
    Snapshot,
    Tick,
)
from tpctl.exits.instrument import Instrument, OrderKind
from tpctl.exits.intents import CancelOrder, Intent, LookUp, PlaceStop, PlaceTakeProfit, ReadContext, ReduceAtMarket
from tpctl.exits.model import (
    Book,
    Context,
    Fill,
    LiveOrder,
    OrderStatus,
    Position,
    PositionKey,
    PositionMode,
    WorkingType,
)
from tpctl.exits.quiet import awake
from tpctl.exits.rules import ExitRules
from tpctl.exits.units import ZERO, Millis, Money, Price, Quantity

# The exchange's refusal of an order that would trigger at once.
_WOULD_TRIGGER = -2021
# More requests than this at one price are no story but a loop.
_PATIENCE = 2_000


class Point(NamedTuple):
    """One price of a path; `jump` says that the price was not between this one and the one before."""

    at: Millis
    price: Price
    jump: bool = False


@dataclass(frozen=True, slots=True)
class Opening:
    """A position as it was found, with what was known then; `mark` is where its path begins."""

    key: PositionKey
    quantity: Quantity
    entry: Price
    at: Millis
    mark: Price
    instrument: Instrument
    context: Context


@dataclass(frozen=True, slots=True)
class Played:
    """What became of it. `profit` is after the fees of the exits; what was `left` is valued at the last price less fee.

    `ended_at` is when it was closed, or the end of the path.
    """

    profit: Money
    fees: Money
    average_exit: Price
    ended_at: Millis
    left: Quantity
    reason: str


class Play:
    """One position on its path, point by point. `changed` may alter the episode once its first plan is made."""

    def __init__(self, opening: Opening, rules: ExitRules, changed: Callable[[Episode], Episode] | None = None) -> None:
        self._opening = opening
        self._key = opening.key
        self._state = State(account="replay", rules=rules)
        self._price, self._now = opening.mark, opening.at
        self._held = opening.quantity
        self._resting: dict[str, LiveOrder] = {}
        self._known: dict[str, LiveOrder] = {}
        self._spent = self._fees = ZERO
        self._numbers = 0
        self._read_at: Millis | None = None
        self._ended_at: Millis | None = None
        self._reason = ""
        self._inbox: deque[Event] = deque([self._snapshot()])
        self._settle()
        if changed is not None and self._key in self._state.episodes:
            # Awake first: the band in which marks lead to nothing was found under the terms that change.
            self._state = awake(self._state, {self._key.symbol})
            episode = changed(self._state.episodes[self._key])
            self._state = replace(self._state, episodes={**self._state.episodes, self._key: episode})

    @property
    def episode(self) -> Episode | None:
        """How things stand; None once it is forgotten."""
        return self._state.episodes.get(self._key)

    @property
    def over(self) -> bool:
        """Whether the position is closed."""
        return self._held <= 0

    def see(self, point: Point) -> None:
        """Let the price go on to a point, and everybody act on it."""
        self._now = point.at
        if point.jump:
            self._price = point.price
            self._mark()
            while not self.over and (order := self._reached(point.price)) is not None:
                self._fill(order, point.price)
            return
        while not self.over and (order := self._next_to(point.price)) is not None:
            assert order.trigger is not None  # noqa: S101 - only conditional orders rest
            self._price = order.trigger
            self._mark()
            if order.client_id in self._resting:
                self._fill(order, order.trigger)
        self._price = point.price
        self._mark()

    def tick(self, at: Millis) -> None:
        """Let time pass."""
        self._now = at
        self._hear(Tick(at))

    def result(self) -> Played:
        """Return what it has come to."""
        opening, fee = self._opening, self._opening.context.taker_fee.fraction
        spent = self._spent + self._held * self._price
        fees = self._fees + self._held * self._price * fee
        return Played(
            profit=self._key.side.sign * (spent - opening.quantity * opening.entry) - fees,
            fees=fees,
            average_exit=spent / opening.quantity,
            ended_at=self._now if self._ended_at is None else self._ended_at,
            left=self._held,
            reason=self._reason or "still open",
        )

    def _mark(self) -> None:
        self._hear(MarkPrice(self._now, self._key.symbol, self._price))
        episode = self.episode
        if episode is not None and episode.suspect_mark is not None:
            # A far jump is believed when it is seen twice (I15).
            self._hear(MarkPrice(self._now + 1, self._key.symbol, self._price))

    def _hear(self, *events: Event) -> None:
        self._inbox.extend(events)
        self._settle()

    def _settle(self) -> None:
        for _ in range(_PATIENCE):
            if not self._inbox:
                return
            decision = step(self._state, self._inbox.popleft())
            self._state = decision.state
            for intent in decision.intents:
                self._inbox.extend(self._carry_out(intent))
        raise RuntimeError(f"the replay of {self._key} never settles at {self._price}")

    def _carry_out(self, intent: Intent) -> Iterator[Event]:
        match intent:
            case PlaceStop() | PlaceTakeProfit():
                yield from self._place(intent)
            case ReduceAtMarket(client_id=name, quantity=quantity):
                filled = min(quantity, self._held)
                if filled <= 0:
                    yield Answered(self._now, self._key, name, Refused(-2022, "nothing is left to reduce"))
                    return
                order = self._order(name, OrderKind.MARKET, filled, None)
                yield from self._executed(order, filled, self._price)
            case CancelOrder(client_id=name):
                yield Answered(self._now, self._key, name, Accepted(None), cancel=True)
                order_there = self._resting.pop(name, None)
                if order_there is not None:
                    yield OrderSeen(self._now, self._remember(replace(order_there, status=OrderStatus.CANCELED)))
            case LookUp(client_id=name):
                yield OrderLookedUp(self._now, self._key, name, self._known.get(name))
            case ReadContext():
                opening = self._opening
                yield ContextRead(self._now, self._key, opening.instrument, opening.context, self._price)
            case _ if self._read_at != self._now:
                self._read_at = self._now
                yield self._snapshot()

    def _place(self, intent: PlaceStop | PlaceTakeProfit) -> Iterator[Event]:
        kind = OrderKind.STOP_MARKET if isinstance(intent, PlaceStop) else OrderKind.TAKE_PROFIT_MARKET
        order = self._order(intent.client_id, kind, intent.quantity, intent.trigger)
        if self._passed(order, self._price):
            refused = Refused(_WOULD_TRIGGER, "Order would immediately trigger.")
            yield Answered(self._now, self._key, order.client_id, refused)
            return
        self._resting[order.client_id] = self._remember(order)
        yield Answered(self._now, self._key, order.client_id, Accepted(order))
        yield OrderSeen(self._now, order)

    def _fill(self, order: LiveOrder, price: Price) -> None:
        del self._resting[order.client_id]
        quantity = self._held if order.close_position else min(order.quantity, self._held)
        self._hear(*self._executed(order, quantity, price))

    def _executed(self, order: LiveOrder, quantity: Quantity, price: Price) -> Iterable[Event]:
        """Book an execution and return the news of it: the regular order, the trade, the size."""
        self._numbers += 1
        fee = quantity * price * self._opening.context.taker_fee.fraction
        self._held -= quantity
        self._spent += quantity * price
        self._fees += fee
        entry, sign, side = self._opening.entry, self._key.side.sign, self._key.side
        done = replace(
            order,
            exchange_id=f"c{order.exchange_id}",
            book=Book.REGULAR,
            status=OrderStatus.FILLED,
            quantity=quantity,
            executed=quantity,
            average_price=price,
            updated_at=self._now,
        )
        self._remember(done)
        if self._held <= 0:
            self._ended_at, self._reason = self._now, self._word(order)
        fill = Fill(
            symbol=order.symbol,
            trade_id=self._numbers,
            order_id=done.exchange_id,
            client_id=order.client_id,
            order_side=side.closing,
            position_side=None,
            quantity=quantity,
            price=price,
            fee=fee,
            fee_asset="",
            realised=sign * (price - entry) * quantity,
            maker=False,
            at=self._now,
        )
        return (
            *((Answered(self._now, self._key, order.client_id, Accepted(done)),) if order.trigger is None else ()),
            OrderSeen(self._now, done),
            Filled(self._now, fill),
            PositionSeen(self._now, self._key, self._held, entry if self._held > 0 else ZERO),
        )

    def _word(self, order: LiveOrder) -> str:
        episode = self.episode
        if order.kind is OrderKind.TAKE_PROFIT_MARKET:
            return "take_profit"
        if episode is None:
            return "closed"
        if order.close_position:
            return "backstop"
        if order.kind is OrderKind.STOP_MARKET:
            return episode.stop_cause
        return (episode.close_reason or "closed") if episode.phase is Phase.CLOSING else "take_profit"

    def _passed(self, order: LiveOrder, price: Price) -> bool:
        """Whether a price is at or past the level of a conditional order."""
        assert order.trigger is not None  # noqa: S101 - only conditional orders are asked about
        gap = self._key.side.sign * (price - order.trigger)
        return gap <= 0 if order.kind is OrderKind.STOP_MARKET else gap >= 0

    def _reached(self, price: Price) -> LiveOrder | None:
        """Return an order that a price has passed, stops first."""
        passed = [order for order in self._resting.values() if self._passed(order, price)]
        return min(passed, key=self._turn, default=None)

    def _next_to(self, price: Price) -> LiveOrder | None:
        """Return the first order on the way to a price."""
        start = self._price
        passed = [order for order in self._resting.values() if self._passed(order, price)]
        return min(passed, key=lambda o: (abs((o.trigger or ZERO) - start), *self._turn(o)), default=None)

    def _turn(self, order: LiveOrder) -> tuple[bool, bool, Price]:
        # The working stop before the backstop at the same level, nearer targets before farther ones.
        level = self._key.side.sign * (order.trigger or ZERO)
        return order.kind is not OrderKind.STOP_MARKET, order.close_position, level

    def _remember(self, order: LiveOrder) -> LiveOrder:
        self._known[order.client_id] = order
        return order

    def _order(self, name: str, kind: OrderKind, quantity: Quantity | None, trigger: Price | None) -> LiveOrder:
        self._numbers += 1
        return LiveOrder(
            symbol=self._key.symbol,
            client_id=name,
            exchange_id=str(self._numbers),
            book=Book.REGULAR if trigger is None else Book.ALGO,
            kind=kind,
            order_side=self._key.side.closing,
            position_side=None,
            status=OrderStatus.NEW,
            quantity=quantity or ZERO,
            trigger=trigger,
            price=None,
            working=WorkingType.MARK,
            close_position=quantity is None,
            reduce_only=quantity is not None,
            executed=ZERO,
            average_price=None,
            child_id=None,
            updated_at=self._now,
        )

    def _snapshot(self) -> Snapshot:
        opening = self._opening
        held = Position(
            key=self._key,
            quantity=self._held,
            entry_price=opening.entry,
            mark_price=self._price,
            updated_at=self._now,
            liquidation_price=None,
            isolated_wallet=ZERO,
            initial_margin=ZERO,
            unrealised=ZERO,
        )
        positions = (held,) if self._held > 0 else ()
        return Snapshot(self._now, PositionMode.ONE_WAY, positions, tuple(self._resting.values()))
