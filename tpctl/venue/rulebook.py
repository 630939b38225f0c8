"""The rules symbols are traded under: filters from exchangeInfo, tiers from leverageBracket.

Parses, never judges an order (filters.py does). The raw answers are kept, so that they are given back verbatim. This
parser is independent of the one in `adapters` on purpose: the twin must not share a bug with the tool.

The built-in book holds facts as of mainnet 2025-08-11 (brackets 2025-08-14) for the symbols of the recorded markets
and the synthetic one. Left out: MAX_NUM_ALGO_ORDERS, which Binance removed on 2025-12-29, and MATICUSDT and EOSUSDT,
which were delisted before that day.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any, TypeAlias

from tpctl.exits.errors import InputsError
from tpctl.exits.units import ZERO, Money, Price, Quantity

Json: TypeAlias = dict[str, Any]

_ENDLESS = Decimal(10) ** 18


@dataclass(frozen=True, slots=True)
class Tier:
    """One leverage tier: notional above `floor` up to and including `cap`."""

    floor: Money
    cap: Money
    leverage: int
    rate: Decimal
    cum: Money


@dataclass(frozen=True, slots=True)
class SymbolRules:
    """What the matching core needs to know of one symbol (binance-usdm 3.1). A zero switches a rule off."""

    symbol: str
    status: str
    base_asset: str
    margin_asset: str
    price_precision: int
    quantity_precision: int
    tick: Price
    min_price: Price
    max_price: Price
    step: Quantity
    min_quantity: Quantity
    max_quantity: Quantity
    market_step: Quantity
    market_min_quantity: Quantity
    market_max_quantity: Quantity
    min_notional: Money
    percent_up: Decimal
    percent_down: Decimal
    max_orders: int
    trigger_protect: Decimal
    market_take_bound: Decimal
    liquidation_fee: Decimal
    tiers: tuple[Tier, ...]

    def tier(self, notional: Money) -> Tier:
        """Return the tier a position of this notional is in; beyond the last cap the last one holds."""
        for tier in self.tiers:
            if notional <= tier.cap:
                return tier
        return self.tiers[-1]

    def max_notional(self, leverage: int) -> Money:
        """Return the largest position allowed at `leverage`; zero where the leverage itself is not allowed."""
        return max((tier.cap for tier in self.tiers if tier.leverage >= leverage), default=ZERO)


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All symbols, and the two raw answers they were read from."""

    symbols: Mapping[str, SymbolRules]
    exchange_info: Json
    brackets: Mapping[str, Json]


def _dec(value: object) -> Decimal:
    return Decimal(str(value))


def _parse_tiers(row: Json) -> tuple[Tier, ...]:
    coefficient = _dec(row.get("notionalCoef", 1))
    tiers = [
        Tier(
            floor=_dec(entry["notionalFloor"]) * coefficient,
            cap=_dec(entry["notionalCap"]) * coefficient,
            leverage=int(_dec(entry["initialLeverage"])),
            rate=_dec(entry["maintMarginRatio"]),
            cum=_dec(entry["cum"]) * coefficient,
        )
        for entry in row["brackets"]
    ]
    tiers.sort(key=lambda tier: tier.floor)
    if any(low.cap != high.floor for low, high in pairwise(tiers)):
        raise InputsError(f"brackets of {row['symbol']!r} leave a gap", "load the leverageBracket answer again")
    return tuple(tiers)


def _parse_symbol(raw: Json, tiers: tuple[Tier, ...]) -> SymbolRules:
    filters: dict[str, Json] = {entry["filterType"]: entry for entry in raw["filters"]}

    def read(kind: str, key: str, default: str = "0") -> Decimal:
        return _dec(filters.get(kind, {}).get(key, default))

    if not tiers:
        # Without brackets the exchange's coarse per-symbol percentages are all there is to go by.
        tiers = (
            Tier(
                floor=ZERO,
                cap=_ENDLESS,
                leverage=int(100 / _dec(raw["requiredMarginPercent"])),
                rate=_dec(raw["maintMarginPercent"]) / 100,
                cum=ZERO,
            ),
        )
    return SymbolRules(
        symbol=raw["symbol"],
        status=raw["status"],
        base_asset=raw["baseAsset"],
        margin_asset=raw["marginAsset"],
        price_precision=raw["pricePrecision"],
        quantity_precision=raw["quantityPrecision"],
        tick=read("PRICE_FILTER", "tickSize"),
        min_price=read("PRICE_FILTER", "minPrice"),
        max_price=read("PRICE_FILTER", "maxPrice"),
        step=read("LOT_SIZE", "stepSize"),
        min_quantity=read("LOT_SIZE", "minQty"),
        max_quantity=read("LOT_SIZE", "maxQty"),
        market_step=read("MARKET_LOT_SIZE", "stepSize"),
        market_min_quantity=read("MARKET_LOT_SIZE", "minQty"),
        market_max_quantity=read("MARKET_LOT_SIZE", "maxQty"),
        min_notional=read("MIN_NOTIONAL", "notional"),
        percent_up=read("PERCENT_PRICE", "multiplierUp"),
        percent_down=read("PERCENT_PRICE", "multiplierDown"),
        max_orders=int(read("MAX_NUM_ORDERS", "limit")),
        trigger_protect=_dec(raw.get("triggerProtect", "0")),
        market_take_bound=_dec(raw.get("marketTakeBound", "0")),
        liquidation_fee=_dec(raw.get("liquidationFee", "0")),
        tiers=tiers,
    )


def _exchange_symbol(unified: str) -> str:
    """Return the exchange's name: `XRP/USDT:USDT` is XRPUSDT, `BTC/USDT:USDT-250926` is BTCUSDT_250926."""
    pair, _, settle = unified.partition(":")
    _, dash, expiry = settle.partition("-")
    return pair.replace("/", "") + (f"_{expiry}" if dash else "")


def _bracket_rows(brackets: Sequence[Json] | Json) -> list[Json]:
    if not isinstance(brackets, dict):
        return list(brackets)
    if "brackets" in brackets:
        return [brackets]
    # The exchange answers with bare numbers; the tiers file spells the same figures as strings.
    return [
        {
            "symbol": _exchange_symbol(unified),
            "brackets": [{key: json.loads(str(value)) for key, value in tier["info"].items()} for tier in tiers],
        }
        for unified, tiers in brackets.items()
    ]


def load_rules(exchange_info: Json, brackets: Sequence[Json] | Json) -> RuleBook:
    """Return the rule book of an exchangeInfo answer (plain, or wrapped as `{"ts", "info"}`) and its brackets.

    `brackets` is a leverageBracket answer (a list, or one bare object) or a tiers file keyed `XRP/USDT:USDT`.
    Raises `InputsError` where either does not have that shape.
    """
    info = exchange_info.get("info", exchange_info)
    try:
        rows = {row["symbol"]: row for row in _bracket_rows(brackets)}
        symbols = {
            raw["symbol"]: _parse_symbol(raw, _parse_tiers(rows[raw["symbol"]]) if raw["symbol"] in rows else ())
            for raw in info["symbols"]
        }
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        hint = "load exchangeInfo and leverageBracket again"
        raise InputsError(f"rule book is malformed: {error!r}", hint) from error
    return RuleBook(symbols=symbols, exchange_info=info, brackets=rows)


@cache
def builtin_rules() -> RuleBook:
    """Return the built-in rule book, facts as of mainnet 2025-08-11; read on first use."""
    text = resources.files("tpctl.venue").joinpath("builtin_rules.json").read_text(encoding="utf-8")
    document = json.loads(text)
    return load_rules(document["exchange_info"], document["brackets"])
