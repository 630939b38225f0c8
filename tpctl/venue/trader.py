"""The other hand on the account: a person who opens, adds, closes and flips at market, from a web terminal.

Not reachable through the API. Every action goes through the same matching and tells the same user events as any order;
only the client id (`web_…`) is foreign. Raises `VenueError` as the exchange would.
"""

from decimal import Decimal

from tpctl.exits.units import ONE, ZERO, Money, Quantity
from tpctl.venue import api_account
from tpctl.venue.core import Core
from tpctl.venue.filters import check_market_price, check_notional, check_quantity, on_grid_down, on_grid_up
from tpctl.venue.matching import is_reducing, place
from tpctl.venue.orders import Order
from tpctl.venue.refusals import refusal
from tpctl.venue.rulebook import SymbolRules


def open_position(
    core: Core,
    symbol: str,
    side: str,
    *,
    quantity: Quantity | None = None,
    notional: Money | None = None,
    leverage: int | None = None,
    margin: str = "CROSSED",
) -> Order:
    """Set margin type and leverage, then open at market; `notional` is valued at the mark and filled up to the step."""
    rules = core.symbol(symbol)
    if (margin == "ISOLATED") != core.account.isolated(symbol):
        api_account.change_margin_type(core, {"symbol": symbol, "marginType": margin})
    if leverage is not None and leverage != core.account.leverage(symbol):
        api_account.change_leverage(core, {"symbol": symbol, "leverage": str(leverage)})
    if quantity is None:
        if notional is None:
            raise ValueError("an opening needs a quantity or a notional")
        _, mark = core.priced(symbol)
        quantity = on_grid_up(notional / mark, rules.market_step)
    return _send(core, rules, side, quantity, buy=side == "LONG", reduce_only=False)


def close_position(core: Core, symbol: str, side: str, fraction: Decimal = ONE) -> Order:
    """Close a fraction of a position at market; -2022 where there is none on that side."""
    rules = core.symbol(symbol)
    buy = side == "SHORT"
    closable = core.account.holding(symbol, _position_side(core, side)).closable(buy=buy)
    if not closable:
        raise refusal(-2022)
    return _send(core, rules, side, on_grid_down(closable * fraction, rules.market_step), buy=buy, reduce_only=True)


def flip_position(core: Core, symbol: str) -> Order:
    """Turn a one-way position into its opposite of the same size, in one order."""
    amount = core.account.holding(symbol, "BOTH").amount
    if not amount:
        raise refusal(-2022)
    side = "SHORT" if amount > ZERO else "LONG"
    return _send(core, core.symbol(symbol), side, abs(amount) * 2, buy=amount < 0, reduce_only=False)


def _position_side(core: Core, side: str) -> str:
    return side if core.account.hedge else "BOTH"


def _send(core: Core, rules: SymbolRules, side: str, quantity: Quantity, *, buy: bool, reduce_only: bool) -> Order:
    if side not in {"LONG", "SHORT"}:
        raise ValueError(f"a position side is LONG or SHORT, was {side!r}")
    position_side = _position_side(core, side)
    reducing = is_reducing(core.account.hedge, position_side, buy=buy, reduce_only=reduce_only)
    check_quantity(rules, quantity, market=True)
    _, mark = core.priced(rules.symbol)
    check_market_price(rules, core.touch(rules, buy=buy), mark, buy=buy)
    if not reducing:
        check_notional(rules, quantity, mark)
    order = Order(
        order_id=next(core.ids.order),
        client_id=f"web_{next(core.ids.client):020d}",
        symbol=rules.symbol,
        buy=buy,
        position_side=position_side,
        kind="MARKET",
        tif="GTC",
        quantity=quantity,
        price=ZERO,
        reduce_only=reduce_only and not core.account.hedge,
        created=core.now,
        updated=core.now,
        reducing=reducing,
    )
    place(core, rules, order)
    return order
