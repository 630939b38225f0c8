"""Decides which prices and quantities the exchange accepts: snapping to ticks and steps, and the filters one by one.

It never places anything, and never repairs a value silently: snapping has a named direction, and a check says which
filter refuses, at which limit, with which error code. Holds I16 (wire-valid) for numbers. Sources: exit-rules 6 and 14,
binance-usdm 3.1 to 3.3.
"""

import math
from dataclasses import dataclass
from decimal import (
    MAX_EMAX,
    MIN_EMIN,
    ROUND_CEILING,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from enum import StrEnum
from functools import lru_cache

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Instrument, OrderKind, OrderSide, PositionSide
from tpctl.exits.units import ZERO, Money, Price, Quantity, plain, trimmed

# Own contexts, so that no caller's precision can round a value; what they cannot hold exactly raises instead.
_EXACT = Context(
    prec=400,
    rounding=ROUND_HALF_EVEN,
    Emin=MIN_EMIN,
    Emax=MAX_EMAX,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[InvalidOperation, DivisionByZero, Overflow, Inexact],
)
_divide_int = _EXACT.divide_int
_multiply = _EXACT.multiply
_ABOVE = Context(prec=28, rounding=ROUND_CEILING)

_SETTLED = frozenset({"CLOSE", "SETTLING", "DELIVERED"})


class Direction(StrEnum):
    """Where a value off the grid goes: toward minus infinity, plus infinity, or the nearest (a tie to the even one)."""

    DOWN = "down"
    UP = "up"
    NEAREST = "nearest"


def snap(value: Decimal, step: Decimal, direction: Direction) -> Decimal:
    """Return the multiple of `step`, counted from 0, that `value` goes to; a zero step returns `value` unchanged.

    Exact for any step (0.05, 5, 25, 1e-7), whatever decimal context is active. The result carries the exponent of
    `step`, so `plain` prints the step's decimals. Raises `InputsError` for a value or step that is not finite, or of
    more than 400 digits of steps.
    """
    if not step:
        return value
    try:
        on_grid = _multiply(_divide_int(value, step), step)
        if value > 0:
            if on_grid < value:
                if direction is Direction.DOWN:
                    return on_grid
                if step > 0:
                    return _away(value, step, on_grid, direction)
            elif value.is_finite():
                return on_grid
        return _snap_signed(value, step, direction)
    except (InvalidOperation, Inexact):
        raise InputsError(f"'{value}' cannot be put on a grid of '{step}'", "give a plain decimal") from None


def _away(value: Decimal, step: Decimal, below: Decimal, direction: Direction) -> Decimal:
    above = _EXACT.add(below, step)
    if direction is Direction.UP:
        return above
    to_below, to_above = _EXACT.subtract(value, below), _EXACT.subtract(above, value)
    if to_below == to_above:
        return above if _divide_int(below, step) % 2 else below
    return below if to_below < to_above else above


def _snap_signed(value: Decimal, step: Decimal, direction: Direction) -> Decimal:
    """Snap zero and negative values, which no order carries but profit arithmetic may."""
    if step < 0 or not value.is_finite() or not step.is_finite():
        raise InvalidOperation
    if not value:
        return _multiply(ZERO, step)
    mirrored = {Direction.DOWN: Direction.UP, Direction.UP: Direction.DOWN}.get(direction, direction)
    return _EXACT.minus(snap(_EXACT.minus(value), step, mirrored))


def whole_steps(value: Decimal, step: Decimal) -> int:
    """Return how many whole steps fit into `value`, exactly."""
    return int(_divide_int(value, step))


@lru_cache(maxsize=1024)
def common_step(one: Quantity, other: Quantity) -> Quantity:
    """Return the smallest quantity that is a multiple of both steps; a zero step asks for nothing."""
    if not one or not other or one == other:
        return one or other
    # Both steps as whole numbers of one unit, so that the least common multiple is exact.
    unit = Decimal(1).scaleb(min(int(one.as_tuple().exponent), int(other.as_tuple().exponent)))
    return _multiply(Decimal(math.lcm(int(_divide_int(one, unit)), int(_divide_int(other, unit)))), unit)


def market_step(instrument: Instrument) -> Quantity:
    """Return the step a quantity must keep to pass both LOT_SIZE and MARKET_LOT_SIZE."""
    return common_step(instrument.step, instrument.market_step)


def market_limits(instrument: Instrument) -> tuple[Quantity, Quantity]:
    """Return smallest and largest quantity of one market order; zero means no limit.

    The smallest satisfies LOT_SIZE too; the largest is MARKET_LOT_SIZE's where the instrument has one.
    """
    return (
        max(instrument.min_quantity, instrument.market_min_quantity),
        instrument.market_max_quantity or instrument.max_quantity,
    )


def round_tp(instrument: Instrument, side: PositionSide, price: Price) -> Price:
    """Put a take-profit on the tick toward entry: it fills no later than planned (exit-rules 6)."""
    return snap(price, instrument.tick, Direction.DOWN if side is PositionSide.LONG else Direction.UP)


def round_stop(instrument: Instrument, side: PositionSide, price: Price) -> Price:
    """Put a stop on the tick toward entry: it loses no more than planned (exit-rules 6)."""
    return snap(price, instrument.tick, Direction.UP if side is PositionSide.LONG else Direction.DOWN)


def round_quantity(instrument: Instrument, quantity: Quantity, market: bool = False) -> Quantity:
    """Put a quantity on the step, always down: an exit must not exceed the position. Zero means not placeable."""
    return snap(quantity, market_step(instrument) if market else instrument.step, Direction.DOWN)


@dataclass(frozen=True, slots=True)
class FilterCheck:
    """One rule of one filter applied to one value.

    `filter` is the exchange's name, `limit` the field and its value, and `code` what the exchange would have answered,
    None where the rule passes.
    """

    filter: str
    ok: bool
    limit: str
    code: int | None


def _check(name: str, ok: bool, limit: str, code: int) -> FilterCheck:
    return FilterCheck(name, ok, limit, None if ok else code)


def _decimals(value: Decimal) -> int:
    text = trimmed(value)
    return len(text.partition(".")[2])


def _on_grid(value: Decimal, step: Decimal) -> bool:
    return snap(value, step, Direction.DOWN) == value


def check_price(
    instrument: Instrument,
    price: Price,
    *,
    mark: Price | None = None,
    order_side: OrderSide | None = None,
    limit_order: bool = False,
    trigger: bool = False,
) -> tuple[FilterCheck, ...]:
    """Check a price, or with `trigger` a trigger price, against each rule that is switched on.

    Rows come in the order the exchange refuses in, so the first that fails names the error it would have answered.
    PERCENT_PRICE binds limit orders only, and only on the aggressive side (BUY at most mark times up, SELL at least
    mark times down); without `mark` and `order_side` it cannot be judged and has no row. Codes: binance-usdm 3.3.
    """
    below_zero, above_max = (-4006, -4007) if trigger else (-4001, -4002)
    places = instrument.price_precision
    rows = [
        _check("PRICE_PRECISION", _decimals(price) <= places, f"pricePrecision {places}", -1111),
        _check("PRICE_FILTER", price > 0, "above 0", below_zero),
    ]
    if instrument.max_price:
        limit = f"maxPrice {plain(instrument.max_price)}"
        rows.append(_check("PRICE_FILTER", price <= instrument.max_price, limit, above_max))
    if instrument.min_price:
        limit = f"minPrice {plain(instrument.min_price)}"
        rows.append(_check("PRICE_FILTER", price >= instrument.min_price, limit, -4013))
    if instrument.tick:
        limit = f"tickSize {plain(instrument.tick)}"
        rows.append(_check("PRICE_FILTER", _on_grid(price, instrument.tick), limit, -4014))
    if limit_order and mark is not None and order_side is not None:
        rows.extend(_check_percent(instrument, price, mark, order_side))
    return tuple(rows)


def _check_percent(instrument: Instrument, price: Price, mark: Price, order_side: OrderSide) -> list[FilterCheck]:
    if order_side is OrderSide.BUY:
        if not instrument.percent_up:
            return []
        cap = _multiply(mark, instrument.percent_up)
        limit = f"multiplierUp {plain(instrument.percent_up)}: at most {trimmed(cap)}"
        return [_check("PERCENT_PRICE", price <= cap, limit, -4016)]
    if not instrument.percent_down:
        return []
    floor = _multiply(mark, instrument.percent_down)
    limit = f"multiplierDown {plain(instrument.percent_down)}: at least {trimmed(floor)}"
    return [_check("PERCENT_PRICE", price >= floor, limit, -4024)]


def check_quantity(
    instrument: Instrument, quantity: Quantity, *, market: bool, price: Price | None, reduce_only: bool
) -> tuple[FilterCheck, ...]:
    """Check a quantity against each rule that is switched on, in the order the exchange refuses in.

    `market` is for market orders and those born from a trigger: MARKET_LOT_SIZE decides, LOT_SIZE where it is off.
    MIN_NOTIONAL exempts reduce-only orders; for others it needs `price` (the mark, for a market order), and without one
    it cannot be judged and has no row.
    """
    name, low, high, step = "LOT_SIZE", instrument.min_quantity, instrument.max_quantity, instrument.step
    if market and (instrument.market_step or instrument.market_max_quantity):
        name, step = "MARKET_LOT_SIZE", instrument.market_step
        low, high = instrument.market_min_quantity, instrument.market_max_quantity
    places = instrument.quantity_precision
    rows = [
        _check("QUANTITY_PRECISION", _decimals(quantity) <= places, f"quantityPrecision {places}", -1111),
        _check(name, quantity > 0, "above 0", -4003),
    ]
    if low:
        rows.append(_check(name, quantity >= low, f"minQty {plain(low)}", -4004))
    if high:
        rows.append(_check(name, quantity <= high, f"maxQty {plain(high)}", -4005))
    if step:
        rows.append(_check(name, _on_grid(quantity, step), f"stepSize {plain(step)}", -4023))
    if instrument.min_notional:
        limit = f"notional {plain(instrument.min_notional)}"
        if reduce_only:
            rows.append(_check("MIN_NOTIONAL", True, f"{limit}, exempt: reduce-only", -4164))
        elif price is not None:
            rows.append(_check("MIN_NOTIONAL", _multiply(quantity, price) >= instrument.min_notional, limit, -4164))
    return tuple(rows)


def check_status(instrument: Instrument) -> FilterCheck:
    """Check that the symbol takes new orders: -4141 once it is closed or settling, -4140 in any other state."""
    code = -4141 if instrument.status in _SETTLED else -4140
    return _check("STATUS", instrument.tradable, f"status TRADING, is {instrument.status}", code)


def quantity_for_notional(notional: Money, price: Price, step: Quantity) -> Quantity:
    """Return the smallest multiple of `step` worth at least `notional` at `price`."""
    return snap(_ABOVE.divide(notional, price), step, Direction.UP)


def would_trigger(kind: OrderKind, order_side: OrderSide, trigger: Price, reference: Price) -> bool:
    """Whether the exchange would answer -2021 now: the price `reference` of the working type already meets the trigger.

    For a trailing stop `trigger` is the activation price. Equality triggers (binance-usdm 2.2). Orders without a
    trigger never would.
    """
    if not kind.conditional:
        return False
    stop = kind in {OrderKind.STOP, OrderKind.STOP_MARKET}
    if stop is (order_side is OrderSide.BUY):
        return reference >= trigger
    return reference <= trigger
