"""Decides whether one price, trigger or quantity can be placed: rounds it by its role and judges the result.

It never rounds a quantity up: an exit must not exceed the position (binance-usdm 3.2). It never answers for an order as
a whole; what two values mean together is the planner's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tpctl.exits.instrument import Instrument, OrderKind, PositionSide
from tpctl.exits.quantize import (
    Direction,
    FilterCheck,
    check_price,
    check_quantity,
    check_status,
    market_step,
    round_quantity,
    round_stop,
    round_tp,
    snap,
    would_trigger,
)
from tpctl.exits.units import Price, plain


class Field(StrEnum):
    """What a value is, by the names of the JSON contract."""

    PRICE = "price"
    STOP_PRICE = "stop_price"
    QUANTITY = "qty"


class Role(StrEnum):
    """The exit a value is for."""

    TP = "tp"
    STOP = "stop"
    LIMIT = "limit"
    MARKET = "market"


@dataclass(frozen=True, slots=True)
class Terms:
    """How values are rounded and judged.

    With `side` and `role` prices go toward entry (exit-rules 6): a stop loses no more, any other exit fills no later
    than planned. Without them `direction` decides. `mark`, where known, allows the checks that need a market.
    """

    direction: Direction = Direction.DOWN
    side: PositionSide | None = None
    role: Role | None = None
    mark: Price | None = None

    @property
    def market(self) -> bool:
        """Whether the order is, or becomes when triggered, a market order."""
        return self.role in {Role.TP, Role.STOP, Role.MARKET}


@dataclass(frozen=True, slots=True)
class Placement:
    """A value as given and as it would be sent, with each rule it was judged by. `steps` counts ticks or steps."""

    field: Field
    given: Decimal
    value: Decimal
    steps: int | None
    checks: tuple[FilterCheck, ...]

    @property
    def changed(self) -> bool:
        """Whether rounding changed the number."""
        return self.value != self.given

    @property
    def placeable(self) -> bool:
        """Whether the exchange would accept it."""
        return all(check.ok for check in self.checks)

    @property
    def codes(self) -> tuple[int, ...]:
        """The errors the exchange would have answered, in its order, each once."""
        return tuple(dict.fromkeys(check.code for check in self.checks if check.code is not None))


def rounded(instrument: Instrument, field: Field, given: Decimal, terms: Terms) -> Decimal:
    """Return the value on the instrument's grid; raises `InputsError` as `snap` does."""
    if field is Field.QUANTITY:
        return round_quantity(instrument, given, terms.market)
    if terms.side is None or terms.role is None:
        return snap(given, instrument.tick, terms.direction)
    toward_entry = round_stop if terms.role is Role.STOP else round_tp
    return toward_entry(instrument, terms.side, given)


def place(
    instrument: Instrument, field: Field, given: Decimal, terms: Terms, *, price: Price | None = None
) -> Placement:
    """Round a value and judge it by every rule that applies to a reducing order.

    `price` is the price or trigger the quantity goes with; it values the quantity where the mark is not known.
    """
    value = rounded(instrument, field, given, terms)
    status = check_status(instrument)
    if field is Field.QUANTITY:
        step = market_step(instrument) if terms.market else instrument.step
        worth = terms.mark if terms.market and terms.mark is not None else price
        checks = check_quantity(instrument, value, market=terms.market, price=worth, reduce_only=True)
    else:
        step = instrument.tick
        checks = check_price(
            instrument,
            value,
            mark=terms.mark,
            order_side=None if terms.side is None else terms.side.closing,
            limit_order=terms.role is Role.LIMIT and field is Field.PRICE,
            trigger=field is Field.STOP_PRICE,
        )
        if field is Field.STOP_PRICE:
            checks += _check_trigger(value, terms)
    return Placement(field, given, value, int(value / step) if step else None, (status, *checks))


def quick_check(instrument: Instrument, field: Field, terms: Terms) -> Callable[[Decimal], bool] | None:
    """Return a test that is true only for rounded values `place` finds placeable, or None where there is no quick one.

    For streams of values: a value that fails the test is judged by `place`, which knows why.
    """
    if not instrument.tradable or terms.mark is not None:
        return None
    if field is Field.QUANTITY:
        step, places = market_step(instrument) if terms.market else instrument.step, instrument.quantity_precision
        lows = [instrument.min_quantity, instrument.market_min_quantity if terms.market else instrument.min_quantity]
        highs = [instrument.max_quantity, instrument.market_max_quantity if terms.market else instrument.max_quantity]
    else:
        step, places = instrument.tick, instrument.price_precision
        lows, highs = [instrument.min_price], [instrument.max_price]
    if not step or -int(step.normalize().as_tuple().exponent) > places:
        return None
    # Every positive multiple of the step is at least the step, so the lower bound also excludes zero.
    low = max(*lows, step)
    high = min((bound for bound in highs if bound), default=None)
    if high is None:
        return lambda value: value >= low
    return lambda value: low <= value <= high


def _check_trigger(trigger: Price, terms: Terms) -> tuple[FilterCheck, ...]:
    kind = {Role.TP: OrderKind.TAKE_PROFIT_MARKET, Role.STOP: OrderKind.STOP_MARKET}.get(terms.role or Role.LIMIT)
    if kind is None or terms.mark is None or terms.side is None:
        return ()
    crossed = would_trigger(kind, terms.side.closing, trigger, terms.mark)
    return (FilterCheck("TRIGGER", not crossed, f"not met at mark {plain(terms.mark)}", -2021 if crossed else None),)
