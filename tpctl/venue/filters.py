"""Judges prices and quantities by a symbol's filters and refuses as the exchange does (binance-usdm 3.1, 3.3).

Checks only; never rounds. Independent of `exits.quantize` on purpose: the twin must not share a bug with the tool.
Grid rules are checked from zero: in every rule book seen minPrice and minQty are themselves on the grid.
"""

from decimal import Decimal

from tpctl.exits.units import Price, Quantity, trimmed
from tpctl.venue.refusals import refusal
from tpctl.venue.rulebook import SymbolRules


def _places(value: Decimal) -> int:
    """Return the decimals `value` needs; trailing zeros are free."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def check_quantity(rules: SymbolRules, quantity: Quantity, *, market: bool) -> None:
    """Refuse a quantity outside LOT_SIZE, or MARKET_LOT_SIZE for orders that execute at market."""
    low = rules.market_min_quantity if market else rules.min_quantity
    high = rules.market_max_quantity if market else rules.max_quantity
    step = rules.market_step if market else rules.step
    if quantity <= 0:
        raise refusal(-4003)
    if _places(quantity) > rules.quantity_precision:
        raise refusal(-1111)
    if quantity < low:
        raise refusal(-4004)
    if high and quantity > high:
        raise refusal(-4005)
    if step and quantity % step:
        raise refusal(-4023)


def check_price(rules: SymbolRules, price: Price) -> None:
    """Refuse a limit price outside PRICE_FILTER."""
    if price <= 0:
        raise refusal(-4001)
    if _places(price) > rules.price_precision:
        raise refusal(-1111)
    if rules.max_price and price > rules.max_price:
        raise refusal(-4002)
    if price < rules.min_price:
        raise refusal(-4013)
    if rules.tick and price % rules.tick:
        raise refusal(-4014)


def check_trigger(rules: SymbolRules, price: Price) -> None:
    """Refuse a trigger or activation price outside PRICE_FILTER."""
    if price <= 0:
        raise refusal(-4006)
    if _places(price) > rules.price_precision:
        raise refusal(-1111)
    if rules.max_price and price > rules.max_price:
        raise refusal(-4007)
    if price < rules.min_price:
        raise refusal(-4013)
    if rules.tick and price % rules.tick:
        raise refusal(-4014)


def check_percent_price(rules: SymbolRules, price: Price, mark: Price, *, buy: bool) -> None:
    """Refuse a limit price too aggressive against the mark: a buy above it (-4016), a sell below it (-4024)."""
    cap, floor = mark * rules.percent_up, mark * rules.percent_down
    if buy and rules.percent_up and price > cap:
        raise refusal(-4016, trimmed(cap, rules.price_precision))
    if not buy and rules.percent_down and price < floor:
        raise refusal(-4024, trimmed(floor, rules.price_precision))


def check_stop_limit(rules: SymbolRules, price: Price, trigger: Price, *, buy: bool) -> None:
    """Refuse the limit price of a stop order too aggressive against its trigger: -4183 for a buy, -4184 for a sell."""
    cap, floor = trigger * rules.percent_up, trigger * rules.percent_down
    if buy and rules.percent_up and price > cap:
        raise refusal(-4183, trimmed(rules.percent_up))
    if not buy and rules.percent_down and price < floor:
        raise refusal(-4184, trimmed(rules.percent_down))


def check_market_price(rules: SymbolRules, best: Price, mark: Price, *, buy: bool) -> None:
    """Refuse (-4131) a market order whose counterparty's best price lies outside PERCENT_PRICE."""
    if (buy and rules.percent_up and best > mark * rules.percent_up) or (
        not buy and rules.percent_down and best < mark * rules.percent_down
    ):
        raise refusal(-4131)


def check_notional(rules: SymbolRules, quantity: Quantity, price: Price) -> None:
    """Refuse (-4164) an order worth less than MIN_NOTIONAL; the caller exempts reducing orders."""
    if quantity * price < rules.min_notional:
        raise refusal(-4164, trimmed(rules.min_notional))


def on_grid_down(value: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of `step` not above `value` (>= 0), with the decimals of the step."""
    return value // step * step if step else value


def on_grid_up(value: Decimal, step: Decimal) -> Decimal:
    """Return the smallest multiple of `step` not below `value` (>= 0), with the decimals of the step."""
    low = on_grid_down(value, step)
    return low + step if low < value else low
