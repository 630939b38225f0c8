"""Trading rules as the exchange states them: exchangeInfo to `Instrument`, leverageBracket to `Bracket`.

Pure parsing. Decides what each field means and refuses what it cannot read, naming symbol and field; it never guesses a
rule from a symbol's name, and never skips a symbol: settling, halted and unknown contracts are kept with their status.
A filter the answer does not carry is a rule that is off (zero, binance-usdm 3.1); a filter that lacks one of its own
fields is malformed. Filters are found by `filterType`, their order means nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, TypeAlias

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Bracket, Instrument
from tpctl.exits.units import ONE, ZERO, trimmed

Payload: TypeAlias = Mapping[str, Any]

_FETCH_AGAIN = "fetch the rules again with --refresh, or name another file with --rules"
_BRACKETS_AGAIN = "fetch the brackets again with --refresh, or name another file with --brackets"

# Filters whose meaning is known and that no exit can violate: the first was retired on 2025-12-29 (its successor is the
# account-wide limit of 200 conditional orders), the second restricts opening only (binance-usdm 3.1).
_HARMLESS = frozenset({"MAX_NUM_ALGO_ORDERS", "POSITION_RISK_CONTROL"})
_CHECKED = frozenset({"PRICE_FILTER", "LOT_SIZE", "MARKET_LOT_SIZE", "MIN_NOTIONAL", "PERCENT_PRICE", "MAX_NUM_ORDERS"})

# Beyond this an exponent is no market rule but an attempt to fill memory when it is printed.
_MAX_EXPONENT = 30


def parse_instruments(exchange_info: Payload) -> dict[str, Instrument]:
    """Return the trading rules of every symbol of an exchangeInfo answer, plain or wrapped as `{"ts", "info"}`.

    Raises `InputsError` that names the symbol and the field where the answer cannot be read.
    """
    found: dict[str, Instrument] = {}
    for row in symbol_rows(exchange_info):
        instrument = parse_instrument(row)
        if instrument.symbol in found:
            raise InputsError(f"exchangeInfo lists {instrument.symbol!r} twice", _FETCH_AGAIN)
        found[instrument.symbol] = instrument
    return found


def symbol_rows(exchange_info: Payload) -> Sequence[Payload]:
    """Return the `symbols` rows of an exchangeInfo answer, plain or wrapped; raises `InputsError` for anything else."""
    if isinstance(exchange_info, Mapping):
        info = exchange_info.get("info", exchange_info)
        rows = info.get("symbols") if isinstance(info, Mapping) else None
        if isinstance(rows, list) and rows:
            return rows
    raise InputsError("the rules are no exchangeInfo answer: 'symbols' is missing or empty", _FETCH_AGAIN)


def row_symbol(row: object) -> str:
    """Return the name of one `symbols` or `leverageBracket` row; raises `InputsError` where it has none."""
    name = row.get("symbol") if isinstance(row, Mapping) else None
    if not isinstance(name, str) or not name or name.split() != [name] or not name.isprintable():
        raise InputsError(f"a row of the rules has no usable 'symbol': {name!r}", _FETCH_AGAIN)
    return name


def parse_instrument(row: Payload) -> Instrument:
    """Return the trading rules in one `symbols` row; raises `InputsError` that names the symbol and the field."""
    read = _Fields(row_symbol(row), _FETCH_AGAIN)
    filters: dict[str, Payload] = {}
    for entry in read.rows(row, "filters"):
        filters[read.text(entry, "filterType", "filters")] = entry

    def limit(kind: str, field: str) -> Decimal:
        return read.size(filters[kind], field, kind) if kind in filters else ZERO

    return Instrument(
        symbol=read.symbol,
        status=read.text(row, "status"),
        contract_type=read.optional_text(row, "contractType"),
        margin_asset=read.text(row, "marginAsset"),
        tick=limit("PRICE_FILTER", "tickSize"),
        min_price=limit("PRICE_FILTER", "minPrice"),
        max_price=limit("PRICE_FILTER", "maxPrice"),
        step=limit("LOT_SIZE", "stepSize"),
        min_quantity=limit("LOT_SIZE", "minQty"),
        max_quantity=limit("LOT_SIZE", "maxQty"),
        market_step=limit("MARKET_LOT_SIZE", "stepSize"),
        market_min_quantity=limit("MARKET_LOT_SIZE", "minQty"),
        market_max_quantity=limit("MARKET_LOT_SIZE", "maxQty"),
        min_notional=limit("MIN_NOTIONAL", "notional"),
        percent_up=limit("PERCENT_PRICE", "multiplierUp"),
        percent_down=limit("PERCENT_PRICE", "multiplierDown"),
        max_orders=read.count(filters["MAX_NUM_ORDERS"], "limit", "MAX_NUM_ORDERS")
        if "MAX_NUM_ORDERS" in filters
        else 0,
        trigger_protect=read.optional_size(row, "triggerProtect"),
        market_take_bound=read.optional_size(row, "marketTakeBound"),
        liquidation_fee=read.optional_size(row, "liquidationFee"),
        price_precision=read.count(row, "pricePrecision"),
        quantity_precision=read.count(row, "quantityPrecision"),
        unknown_filters=tuple(sorted(filters.keys() - _CHECKED - _HARMLESS)),
    )


def parse_brackets(payload: object) -> dict[str, tuple[Bracket, ...]]:
    """Return the leverage brackets by symbol, ascending by notional.

    Takes Binance's leverageBracket answer (a list, or the bare object it gives for one symbol) and the tiers file keyed
    `XRP/USDT:USDT`. `notionalCoef` multiplies floors, caps and the maintenance amount `cum`, so that the margin stays
    continuous at each floor (binance-usdm 4.9). Raises `InputsError` that names the symbol and the field.
    """
    found: dict[str, tuple[Bracket, ...]] = {}
    for row in bracket_rows(payload):
        symbol = row_symbol(row)
        if symbol in found:
            raise InputsError(f"the brackets list {symbol!r} twice", _BRACKETS_AGAIN)
        found[symbol] = parse_bracket_row(row)
    return found


def bracket_rows(payload: object) -> Sequence[Payload]:
    """Return the rows `{"symbol", "brackets"}` of any accepted form of brackets; raises `InputsError` otherwise."""
    if isinstance(payload, list):
        return payload
    if isinstance(payload, Mapping):
        if "brackets" in payload:
            return [payload]
        if payload and all(isinstance(key, str) and "/" in key for key in payload):
            return [_tiers_row(key, tiers) for key, tiers in payload.items()]
    raise InputsError("the brackets are neither a leverageBracket answer nor a tiers file", _BRACKETS_AGAIN)


def parse_bracket_row(row: Payload) -> tuple[Bracket, ...]:
    """Return the brackets of one row; raises `InputsError` where they are malformed or leave a gap."""
    read = _Fields(row_symbol(row), _BRACKETS_AGAIN)
    scale = read.size(row, "notionalCoef") if row.get("notionalCoef") is not None else ONE
    if not scale:
        raise read.refuse("notionalCoef", "is not above zero")
    brackets = sorted((_bracket(read, entry) for entry in read.rows(row, "brackets")), key=lambda one: one.floor)
    if not brackets:
        raise read.refuse("brackets", "is empty")
    if brackets[0].floor:
        raise read.refuse("notionalFloor", f"starts at {trimmed(brackets[0].floor)}, not at 0")
    for below, above in pairwise(brackets):
        if below.cap != above.floor:
            raise read.refuse("notionalFloor", f"{trimmed(above.floor)} does not continue {trimmed(below.cap)}")
    if scale == ONE:
        return tuple(brackets)
    return tuple(replace(one, floor=one.floor * scale, cap=one.cap * scale, cum=one.cum * scale) for one in brackets)


def _bracket(read: "_Fields", entry: Payload) -> Bracket:
    bracket = Bracket(
        floor=read.size(entry, "notionalFloor", "brackets"),
        cap=read.size(entry, "notionalCap", "brackets"),
        max_leverage=read.count(entry, "initialLeverage", "brackets"),
        maintenance_rate=read.size(entry, "maintMarginRatio", "brackets"),
        cum=read.size(entry, "cum", "brackets"),
    )
    if bracket.cap <= bracket.floor:
        raise read.refuse("brackets.notionalCap", f"{trimmed(bracket.cap)} is not above its floor")
    if bracket.max_leverage < 1:
        raise read.refuse("brackets.initialLeverage", "is below 1")
    if not 0 < bracket.maintenance_rate < 1:
        raise read.refuse("brackets.maintMarginRatio", f"{trimmed(bracket.maintenance_rate)} is not between 0 and 1")
    return bracket


def _tiers_row(unified: str, tiers: object) -> Payload:
    """Return a tiers-file entry as a leverageBracket row; the exchange's own figures are under `info`."""
    # XRP/USDT:USDT is XRPUSDT, BTC/USDT:USDT-250926 is BTCUSDT_250926.
    pair, _, settle = unified.partition(":")
    expiry = settle.partition("-")[2]
    symbol = pair.replace("/", "") + (f"_{expiry}" if expiry else "")
    if not isinstance(tiers, list) or not all(
        isinstance(t, Mapping) and isinstance(t.get("info"), Mapping) for t in tiers
    ):
        raise InputsError(f"tiers of {unified!r}: a tier has no 'info'", _BRACKETS_AGAIN)
    return {"symbol": symbol, "brackets": [tier["info"] for tier in tiers]}


class _Fields:
    """Reads the fields of one symbol's rows, and refuses with the symbol's and the field's name."""

    def __init__(self, symbol: str, hint: str) -> None:
        self.symbol = symbol
        self._hint = hint

    def refuse(self, field: str, fault: str) -> InputsError:
        return InputsError(f"rules of {self.symbol!r}: {field} {fault}", self._hint)

    def rows(self, row: Payload, field: str) -> Iterable[Payload]:
        value = row.get(field)
        if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
            raise self.refuse(field, "is missing or no list of objects")
        return value

    def text(self, row: Payload, field: str, within: str = "") -> str:
        value = row.get(field)
        if not isinstance(value, str) or not value:
            raise self.refuse(_path(within, field), f"{value!r} is no text")
        return value

    def optional_text(self, row: Payload, field: str) -> str:
        # Binance leaves contractType empty while a contract is pending.
        return self.text(row, field) if row.get(field) else ""

    def size(self, row: Payload, field: str, within: str = "") -> Decimal:
        value = row.get(field)
        number = _number(value)
        if number is None:
            raise self.refuse(_path(within, field), f"{value!r} is not a number")
        if not number.is_finite() or number < 0 or abs(number.adjusted()) > _MAX_EXPONENT:
            raise self.refuse(_path(within, field), f"{value!r} is out of range")
        # A tick of 0.0001000 would print prices with more decimals than the exchange takes (-1111).
        return Decimal(trimmed(number))

    def optional_size(self, row: Payload, field: str) -> Decimal:
        return ZERO if row.get(field) is None else self.size(row, field)

    def count(self, row: Payload, field: str, within: str = "") -> int:
        return self.whole(self.size(row, field, within), _path(within, field))

    def whole(self, number: Decimal, field: str) -> int:
        if number != number.to_integral_value():
            raise self.refuse(field, f"{trimmed(number)} is no whole number")
        return int(number)


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    try:
        # str gives a JSON number's own digits back: 0.004, not its binary neighbour.
        return Decimal(str(value))
    except InvalidOperation:
        return None


def _path(within: str, field: str) -> str:
    return f"{within}.{field}" if within else field
