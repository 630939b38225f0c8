"""The orders a plan amounts to: which are sent and under which ids, what the exchange would refuse, what rests already.

It asks for the same orders in the same order as the reducer does (`reconcile`), for a position nobody has touched yet:
backstop, working stop, take-profits, and a market order for what the mark has passed. It sends nothing and knows no
wire format. Serves I1 (a stop first), I2 (within the position), I6 (ids are functions of the decision).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tpctl.exits.allocate import slices
from tpctl.exits.ids import ClientId, Role, is_ours
from tpctl.exits.instrument import Instrument, OrderKind
from tpctl.exits.intents import PlaceIntent, PlaceStop, PlaceTakeProfit, ReduceAtMarket
from tpctl.exits.model import LiveOrder, OrderStatus, Plan, PositionKey, WorkingType
from tpctl.exits.quantize import FilterCheck, check_price, check_quantity, check_status, would_trigger
from tpctl.exits.rules import ExecutionRules
from tpctl.exits.units import ZERO, Price, Quantity, plain

# Open conditional orders of one account, over all symbols (binance-usdm 2.1, 2025-12-29).
MAX_CONDITIONALS = 200

_KINDS: dict[Role, OrderKind] = {
    Role.BACKSTOP: OrderKind.STOP_MARKET,
    Role.STOP: OrderKind.STOP_MARKET,
    Role.TAKE_PROFIT: OrderKind.TAKE_PROFIT_MARKET,
    Role.REDUCE: OrderKind.MARKET,
}


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """One order of a plan: the intent, what it is for, and each rule the exchange would judge it by."""

    role: Role
    legs: tuple[int, ...]
    intent: PlaceIntent
    checks: tuple[FilterCheck, ...] = ()

    @property
    def kind(self) -> OrderKind:
        """The order's type at the exchange."""
        return _KINDS[self.role]

    @property
    def client_id(self) -> str:
        """The id it is sent under."""
        return self.intent.client_id

    @property
    def trigger(self) -> Price | None:
        """The price that triggers it; None for a market order."""
        return None if isinstance(self.intent, ReduceAtMarket) else self.intent.trigger

    @property
    def quantity(self) -> Quantity | None:
        """What it closes; None is closePosition, all of it."""
        return self.intent.quantity

    @property
    def refusals(self) -> tuple[FilterCheck, ...]:
        """The rules that refuse it."""
        return tuple(check for check in self.checks if not check.ok)


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the moment a plan is made for. `mark` and `last` are None where they are not known.

    `live` are the open orders of both books, of the whole account or (`whole` False) of the plans' symbols; None where
    they were not read.
    """

    mark: Price | None = None
    last: Price | None = None
    live: tuple[LiveOrder, ...] | None = None
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Wanted:
    """The levels orders are to rest at: those of a plan, or of a plan that is under way.

    `legs` are (number, trigger, quantity) of the take-profits still to be reached.
    """

    key: PositionKey
    quantity: Quantity
    stop: Price
    backstop: Price | None
    legs: tuple[tuple[int, Price, Quantity], ...]


def wanted_by(plan: Plan) -> Wanted:
    """Return the levels of a plan nothing of which is placed yet."""
    legs = tuple((leg.number, leg.trigger, leg.quantity) for leg in plan.legs)
    return Wanted(plan.key, plan.quantity, plan.stop, plan.backstop, legs)


@dataclass(slots=True)
class _Writer:
    """Collects the orders of one plan, each under the next revision."""

    wanted: Wanted
    generation: str
    execution: ExecutionRules
    orders: list[PlannedOrder] = field(default_factory=list)

    def stop(self, role: Role, quantity: Quantity | None, trigger: Price) -> None:
        name = self._name(role, ())
        working, key = self.execution.working, self.wanted.key
        self._add(role, (), PlaceStop(key, name, quantity, trigger, working, role.label))

    def take_profit(self, leg: int, trigger: Price, quantity: Quantity) -> None:
        name = self._name(Role.TAKE_PROFIT, (leg,))
        working, key = self.execution.working, self.wanted.key
        intent = PlaceTakeProfit(key, name, leg, quantity, trigger, working, f"take-profit {leg}")
        self._add(Role.TAKE_PROFIT, (leg,), intent)

    def reduce(self, legs: tuple[int, ...], quantity: Quantity, reason: str) -> None:
        self._add(Role.REDUCE, legs, ReduceAtMarket(self.wanted.key, self._name(Role.REDUCE, legs), quantity, reason))

    def _add(self, role: Role, legs: tuple[int, ...], intent: PlaceIntent) -> None:
        self.orders.append(PlannedOrder(role, legs, intent))

    def _name(self, role: Role, legs: tuple[int, ...]) -> str:
        leg = legs[0] if len(legs) == 1 else 0
        return str(ClientId(self.generation, role, leg, len(self.orders) + 1))


def planned_orders(
    wanted: Wanted, instrument: Instrument, generation: str, execution: ExecutionRules, standing: Standing
) -> tuple[PlannedOrder, ...]:
    """Return the orders that make the levels rest, in the order they are sent, each judged by the exchange's rules.

    A level the mark has passed is not sent as a trigger: a passed stop closes at market, a passed take-profit is taken
    or skipped as `if_crossed` says (exit-rules 7). Where take-profits are software only the stops rest.
    """
    writer = _Writer(wanted, generation, execution)
    foreign = any(order.close_position and order.kind.protective for order in _foreign(wanted.key, standing.live or ()))
    _write(writer, instrument, standing.mark, backstop=None if foreign else wanted.backstop)
    return _judged(tuple(writer.orders), instrument, execution, standing)


def _write(writer: _Writer, instrument: Instrument, mark: Price | None, *, backstop: Price | None) -> None:
    wanted = writer.wanted
    if backstop is not None:
        if _stopped(writer, backstop, mark):
            _close(writer, instrument, "the disaster level is already passed")
            return
        writer.stop(Role.BACKSTOP, None, backstop)
    if _stopped(writer, wanted.stop, mark):
        _close(writer, instrument, "the stop level is already passed")
        return
    for part in slices(wanted.quantity, instrument):
        writer.stop(Role.STOP, part, wanted.stop)
    _write_targets(writer, instrument, mark)


def _write_targets(writer: _Writer, instrument: Instrument, mark: Price | None) -> None:
    wanted, execution = writer.wanted, writer.execution
    crossed: list[int] = []
    carried = ZERO
    for number, trigger, quantity in wanted.legs:
        if mark is not None and wanted.key.side.sign * (mark - trigger) >= 0:
            crossed.append(number)
            carried += quantity
        elif execution.take_profit == "resident":
            extra = carried if execution.if_crossed == "skip" else ZERO
            if execution.if_crossed == "skip":
                carried = ZERO
            for part in slices(quantity + extra, instrument):
                writer.take_profit(number, trigger, part)
    if crossed and execution.if_crossed == "take":
        names = " and ".join(f"TP{number}" for number in crossed)
        for part in slices(carried, instrument):
            writer.reduce(tuple(crossed), part, f"mark passed take-profit {names}")


def _close(writer: _Writer, instrument: Instrument, reason: str) -> None:
    for part in slices(writer.wanted.quantity, instrument):
        writer.reduce((), part, reason)


def _stopped(writer: _Writer, level: Price, mark: Price | None) -> bool:
    """Whether the mark has passed a stop; where last prices trigger, only the exchange can tell."""
    if mark is None or writer.execution.working is not WorkingType.MARK:
        return False
    return writer.wanted.key.side.sign * (mark - level) <= 0


def _judged(
    orders: tuple[PlannedOrder, ...], instrument: Instrument, execution: ExecutionRules, standing: Standing
) -> tuple[PlannedOrder, ...]:
    reference = standing.mark if execution.working is WorkingType.MARK else standing.last
    others = [o for o in standing.live or () if not is_ours(o.client_id) or o.symbol != instrument.symbol]
    conditionals = sum(order.kind.conditional for order in others)
    of_symbol = sum(order.symbol == instrument.symbol for order in others)
    judged = []
    for order in orders:
        checks = _checks(order, instrument, reference, standing.mark)
        if order.trigger is not None and standing.live is not None:
            conditionals, of_symbol = conditionals + 1, of_symbol + 1
            checks += _room_checks(instrument, conditionals if standing.whole else None, of_symbol)
        judged.append(PlannedOrder(order.role, order.legs, order.intent, checks))
    return tuple(judged)


def _checks(
    order: PlannedOrder, instrument: Instrument, reference: Price | None, mark: Price | None
) -> tuple[FilterCheck, ...]:
    checks: tuple[FilterCheck, ...] = (check_status(instrument),)
    trigger, quantity = order.trigger, order.quantity
    if trigger is not None:
        checks += check_price(instrument, trigger, trigger=True)
    if quantity is not None:
        worth = trigger if trigger is not None else mark
        checks += check_quantity(instrument, quantity, market=True, price=worth, reduce_only=True)
    if trigger is not None and reference is not None:
        crossed = would_trigger(order.kind, order.intent.key.side.closing, trigger, reference)
        limit = f"not yet met at {plain(reference)}"
        checks += (FilterCheck("TRIGGER", not crossed, limit, -2021 if crossed else None),)
    return checks


def _room_checks(instrument: Instrument, conditionals: int | None, of_symbol: int) -> tuple[FilterCheck, ...]:
    """Check the order counts with this order resting too (binance-usdm 3.1); None for a count that is not known."""
    checks: tuple[FilterCheck, ...] = ()
    if conditionals is not None:
        ok = conditionals <= MAX_CONDITIONALS
        limit = f"at most {MAX_CONDITIONALS} conditional orders an account, this is number {conditionals}"
        checks = (FilterCheck("MAX_CONDITIONAL_ORDERS", ok, limit, None if ok else -4045),)
    if instrument.max_orders:
        ok = of_symbol <= instrument.max_orders
        limit = f"limit {instrument.max_orders}, this is number {of_symbol}"
        checks += (FilterCheck("MAX_NUM_ORDERS", ok, limit, None if ok else -2025),)
    return checks


@dataclass(frozen=True, slots=True)
class Diff:
    """A plan's orders against the live ones: what rests, what is due, ours beside the plan, and everybody else's.

    `running` says that the orders compared are those of the plan under way, not of the one shown.
    """

    wanted: tuple[PlannedOrder, ...]
    rests: tuple[tuple[PlannedOrder, LiveOrder], ...]
    due: tuple[PlannedOrder, ...]
    extra: tuple[LiveOrder, ...]
    foreign: tuple[LiveOrder, ...]
    running: bool = False


def compare(
    key: PositionKey, orders: Sequence[PlannedOrder], live: Iterable[LiveOrder], *, running: bool = False
) -> Diff:
    """Return what separates a plan from what rests, matching by what orders do, not by their ids.

    A stop of ours that rests at the plan's level or tighter stands for the planned one: it is never loosened (I4). A
    backstop of ours stands wherever it lies: it is left alone.
    """
    listed = tuple(live)
    ours = [o for o in listed if _closes(o, key) and is_ours(o.client_id) and o.status is OrderStatus.NEW]
    rests: list[tuple[PlannedOrder, LiveOrder]] = []
    due: list[PlannedOrder] = []
    for order in orders:
        found = next((candidate for candidate in ours if _stands_for(order, candidate)), None)
        if found is None:
            due.append(order)
        else:
            ours.remove(found)
            rests.append((order, found))
    return Diff(tuple(orders), tuple(rests), tuple(due), tuple(ours), tuple(_foreign(key, listed)), running)


def _stands_for(order: PlannedOrder, live: LiveOrder) -> bool:
    if order.kind is not live.kind or order.trigger is None or live.trigger is None:
        return False
    if order.role is Role.BACKSTOP:
        return live.close_position
    if live.close_position or live.quantity != order.quantity:
        return False
    if order.role is Role.STOP:
        return order.intent.key.side.sign * (live.trigger - order.trigger) >= 0
    return live.trigger == order.trigger


def _foreign(key: PositionKey, live: Iterable[LiveOrder]) -> list[LiveOrder]:
    return [
        o for o in live if _closes(o, key) and o.reduces and not is_ours(o.client_id) and o.status is OrderStatus.NEW
    ]


def _closes(order: LiveOrder, key: PositionKey) -> bool:
    return order.symbol == key.symbol and order.closes is key.side
