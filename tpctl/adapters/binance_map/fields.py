"""Reading single fields of a payload: numbers, flags, times and the enumerations of the wire.

Decides what a field may look like (binance-usdm 4.10, 5): numbers are strings, sometimes bare, sometimes "7.0E-4" or
empty. Anything else raises `Malformed`; nothing is ever guessed.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from tpctl.exits.instrument import OrderKind, OrderSide, PositionSide
from tpctl.exits.model import OrderStatus, WorkingType
from tpctl.exits.units import ZERO, Millis

Row: TypeAlias = Mapping[str, Any]

# The exchange prints far fewer digits; the bound keeps `1e999999` from filling memory when formatted.
_MAX_EXPONENT = 30
# The year 5138: a time beyond it is damage, and would push event time out of reach for good.
MAX_MILLIS = 10**14


class Malformed(ValueError):  # noqa: N818 - reads as the fact it states
    """A payload is not shaped as the exchange documents it."""


def rows(payload: object, what: str) -> list[Row]:
    """Return the payload as a list of objects; raises `Malformed`."""
    if not isinstance(payload, list) or not all(isinstance(row, Mapping) for row in payload):
        raise Malformed(f"{what} is not a list of objects")
    return payload


def row(payload: object, what: str) -> Row:
    """Return the payload as one object; raises `Malformed`."""
    if not isinstance(payload, Mapping):
        raise Malformed(f"{what} is not an object")
    return payload


def decimal(value: object, what: str) -> Decimal:
    """Return a finite decimal from a string or a bare number; raises `Malformed`."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise Malformed(f"{what} is not a number")
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except (InvalidOperation, ValueError):
        raise Malformed(f"{what} is not a number") from None
    if not number.is_finite() or abs(number.adjusted()) > _MAX_EXPONENT:
        raise Malformed(f"{what} is out of range")
    return number


def number(source: Row, name: str) -> Decimal:
    """Return a numeric field that must be there."""
    if name not in source:
        raise Malformed(f"{name} is missing")
    return decimal(source[name], name)


def number_or_zero(source: Row, name: str) -> Decimal:
    """Return a numeric field that the exchange leaves out, empty or null where it means zero."""
    value = source.get(name)
    return ZERO if value is None or value == "" else decimal(value, name)


def number_or_none(source: Row, name: str) -> Decimal | None:
    """Return a numeric field that must be there, None for the zero or empty text by which the exchange says "none"."""
    if name not in source:
        raise Malformed(f"{name} is missing")
    return positive_or_none(number_or_zero(source, name))


def positive_or_none(value: Decimal) -> Decimal | None:
    """Return the price, or None for the zero by which the exchange says "none"."""
    return value if value > 0 else None


def text(source: Row, name: str) -> str:
    """Return a text field that must be there and not be empty."""
    value = source.get(name)
    if not isinstance(value, str) or not value:
        raise Malformed(f"{name} is missing")
    return value


def identifier(source: Row, name: str) -> str:
    """Return an id, which is an integer on the wire and a text in some recordings."""
    value = source.get(name)
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise Malformed(f"{name} is missing")
    return str(value)


def whole(source: Row, name: str) -> int:
    """Return a non-negative integer field, bare or spelled as text."""
    value = source.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Malformed(f"{name} is not a whole number")
    return value


def millis(source: Row, name: str) -> Millis:
    """Return a time in ms UTC."""
    value = whole(source, name)
    if value > MAX_MILLIS:
        raise Malformed(f"{name} is no time")
    return value


def flag(source: Row, name: str) -> bool:
    """Return a flag, bare or spelled; absent is false."""
    value = source.get(name, False)
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in {"true", "false"}:
        return value == "true"
    raise Malformed(f"{name} is not a flag")


def order_side(value: str) -> OrderSide:
    """Return BUY or SELL as the model's side."""
    try:
        return OrderSide(value.lower())
    except ValueError:
        raise Malformed(f"side {value!r} is unknown") from None


def position_side(value: str) -> PositionSide | None:
    """Return LONG or SHORT as the model's side, None for BOTH (one-way mode)."""
    if value == "BOTH":
        return None
    try:
        return PositionSide(value.lower())
    except ValueError:
        raise Malformed(f"position side {value!r} is unknown") from None


def working_type(value: str) -> WorkingType:
    """Return which price triggers; the exchange's default is the last price (binance-usdm 4.4)."""
    return WorkingType.MARK if value == "MARK_PRICE" else WorkingType.LAST


def regular_kind(value: str, price: Decimal) -> OrderKind:
    """Return the type of an order of the regular book.

    The venue's own closing orders carry types of their own (LIQUIDATION); they act as limit or market orders.
    """
    try:
        return OrderKind(value.lower())
    except ValueError:
        return OrderKind.LIMIT if price > 0 else OrderKind.MARKET


def algo_kind(value: str) -> OrderKind:
    """Return the type of a conditional order.

    A type not known here becomes a take-profit: shown, never counted as protection, never a reason to go blind.
    """
    try:
        kind = OrderKind(value.lower())
    except ValueError:
        return OrderKind.TAKE_PROFIT
    return kind if kind.conditional else OrderKind.TAKE_PROFIT


_STATUS_ALIASES = {"EXPIRED_IN_MATCH": OrderStatus.EXPIRED}


def status(value: str, executed: Decimal, quantity: Decimal) -> OrderStatus:
    """Return the state of an order.

    The venue's closing orders are "NEW_ADL" or "NEW_INSURANCE" whatever they filled: their fills decide. Any other
    state not known here becomes TRIGGERING, which is neither protection nor the end of the order (reliability F3).
    """
    if value in _STATUS_ALIASES:
        return _STATUS_ALIASES[value]
    try:
        return OrderStatus(value.lower())
    except ValueError:
        if executed > 0:
            return OrderStatus.FILLED if executed >= quantity > 0 else OrderStatus.PARTIALLY_FILLED
        return OrderStatus.NEW if value.startswith("NEW") else OrderStatus.TRIGGERING
