"""What order requests of both books have in common: symbol, side, position side, reduce-only, client id, lifetime.

Reads and refuses; changes nothing.
"""

from dataclasses import dataclass

from tpctl.exits.units import Millis, Quantity
from tpctl.venue import params as read
from tpctl.venue.core import Core
from tpctl.venue.matching import is_reducing
from tpctl.venue.params import Params
from tpctl.venue.refusals import refusal
from tpctl.venue.rulebook import SymbolRules

CONDITIONAL_KINDS = frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"})
REGULAR_KINDS = frozenset({"LIMIT", "MARKET"})
LIFETIMES = frozenset({"GTC", "IOC", "FOK", "GTX", "GTD"})

# Without OPPONENT_10 and OPPONENT_20, which went on 2025-10-23 (binance-usdm 2.1).
_PRICE_MATCHES = frozenset({"OPPONENT", "OPPONENT_5", "QUEUE", "QUEUE_5", "QUEUE_10", "QUEUE_20"})
_PRICED_KINDS = frozenset({"LIMIT", "STOP", "TAKE_PROFIT"})

_GTD_LEAD_MS = 600_000
_GTD_LIMIT_MS = 253_402_300_799_000


@dataclass(frozen=True, slots=True)
class Head:
    """The common part of an order request. `reducing` tells that the order can only reduce."""

    rules: SymbolRules
    buy: bool
    position_side: str
    reduce_only: bool
    reducing: bool


def read_symbol(core: Core, params: Params) -> SymbolRules:
    """Return the rules of the mandatory `symbol`; -1102, -1121."""
    return core.symbol(read.required(params, "symbol"))


def read_head(core: Core, params: Params) -> Head:
    """Read symbol, side, position side and reduce-only; -1102, -1106, -1117, -1121, -4060, -4061, -4062."""
    rules = read_symbol(core, params)
    buy = read.choice(params, "side", {"BUY", "SELL"}, -1117) == "BUY"
    position_side = read.choice(params, "positionSide", {"BOTH", "LONG", "SHORT"}, -4060, "BOTH")
    if position_side not in core.account.sides():
        raise refusal(-4061)
    if core.account.hedge:
        read.absent(params, "reduceOnly")
    reduce_only = read.flag(params, "reduceOnly", -4062)
    reducing = is_reducing(core.account.hedge, position_side, buy=buy, reduce_only=reduce_only)
    return Head(rules, buy, position_side, reduce_only, reducing)


def read_lifetime(core: Core, params: Params, default: str = "") -> tuple[str, Millis]:
    """Return timeInForce and goodTillDate (0 unless GTD); -1102, -1115, -5040."""
    lifetime = read.choice(params, "timeInForce", LIFETIMES, -1115, default)
    if lifetime != "GTD":
        return lifetime, 0
    until = read.integer(params, "goodTillDate") // 1000 * 1000
    if not core.now + _GTD_LEAD_MS < until < _GTD_LIMIT_MS:
        raise refusal(-5040)
    return lifetime, until


def read_quantity(params: Params) -> Quantity:
    """Return the mandatory `quantity`."""
    return read.number(params, "quantity")


def refuse_price_match(params: Params, kind: str) -> None:
    """Refuse a price match: unknown (-5037), of a type without price (-5038), with a price (-1128).

    Any other is refused too (-5041): the twin has no depth to match against, as the exchange says of a thin book.
    """
    match = params.get("priceMatch", "")
    if match in {"", "NONE"}:
        return
    if match not in _PRICE_MATCHES:
        raise refusal(-5037)
    if kind not in _PRICED_KINDS:
        raise refusal(-5038)
    raise refusal(-1128 if params.get("price") else -5041)


def new_client_id(core: Core) -> str:
    """Return an id for a request that brought none."""
    return f"twin{next(core.ids.client):018d}"


def within(at: Millis, params: Params) -> bool:
    """Return whether a time lies between the optional startTime and endTime."""
    start, end = read.integer(params, "startTime", 0), read.integer(params, "endTime", 0)
    return at >= start and (not end or at <= end)
