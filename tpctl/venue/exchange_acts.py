"""What the exchange does to a market and an account on its own: deleveraging, halts, settlement, filters, thin books.

Decides nothing about when. Every act is told to the user stream and recorded as any other, with the exchange's own
client ids (binance-usdm 4.6).
"""

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from tpctl.exits.units import Millis, Money, plain
from tpctl.venue.account import Holding
from tpctl.venue.core import Core
from tpctl.venue.filters import on_grid_down, on_grid_up
from tpctl.venue.lifecycle import accept_order, end_order, move_conditional
from tpctl.venue.matching import fill
from tpctl.venue.orders import Order
from tpctl.venue.refusals import refusal
from tpctl.venue.rulebook import RuleBook, SymbolRules

EXPIRED_DELISTED: Final = 7
_WIDER: Final = 10
# A tick stays below this share of the price, a step below this share of the smallest order that is worth trading.
_COARSEST_TICK: Final = Decimal("0.001")


def deleverage(core: Core, symbol: str, side: str, part: Decimal) -> None:
    """Close a part of a position against a profitable counterparty; -2022 where there is none."""
    holding = core.account.holding(symbol, side if core.account.hedge else "BOTH")
    closable = holding.closable(buy=side == "SHORT")
    rules = core.symbol(symbol)
    quantity = closable if part == 1 else on_grid_down(closable * part, rules.step)
    if not quantity:
        raise refusal(-2022)
    _force(core, rules, holding, quantity, "adl_autoclose_")


def settle_symbol(core: Core, symbol: str) -> None:
    """Settle a symbol: its orders expire, its positions are closed at the mark, and it takes no more orders."""
    rules = core.symbol(symbol)
    _drop_orders(core, symbol)
    for holding in core.account.holdings(symbol):
        if holding.amount:
            _force(core, rules, holding, abs(holding.amount), "settlement_autoclose-")
    _change(core, symbol, status="SETTLING")


def halt(core: Core, symbol: str, until: Millis) -> None:
    """Stop trading of a symbol until a time; resting orders stay."""
    if core.symbol(symbol).status == "TRADING":
        _change(core, symbol, status="TRADING_HALT")
        core.halts[symbol] = until


def resume_due(core: Core) -> None:
    """Resume what was halted or thinned until now."""
    for symbol, until in list(core.halts.items()):
        if core.now >= until:
            del core.halts[symbol]
            _change(core, symbol, status="TRADING")
    if core.thin is not None and core.now >= core.thin[0]:
        core.terms = replace(core.terms, depth=core.thin[1])
        core.thin = None


def thin_book(core: Core, depth: Money, until: Millis) -> None:
    """Let each step give only `depth` of notional, per symbol and side, until a time."""
    before = core.terms.depth if core.thin is None else core.thin[1]
    core.thin = (until, before)
    core.terms = replace(core.terms, depth=depth)


def widen_filters(core: Core, symbol: str) -> None:
    """Make tick and step of a symbol ten times as wide where that still lets it trade; resting orders keep theirs."""
    rules = core.symbol(symbol)
    last, _ = core.priced(symbol)
    tick, step = rules.tick * _WIDER, rules.step * _WIDER
    changes: dict[str, Decimal] = {}
    if tick <= last * _COARSEST_TICK:
        changes["tick"] = tick
        # The smallest price has to lie on the new grid.
        changes["min_price"] = on_grid_up(rules.min_price, tick)
    if step * last <= max(rules.min_notional, Decimal(5)) and step <= rules.market_max_quantity:
        changes |= {"step": step, "market_step": step, "min_quantity": step, "market_min_quantity": step}
    if changes:
        _change(core, symbol, **changes)


_WIRE: Final = {
    "tick": ("PRICE_FILTER", "tickSize"),
    "min_price": ("PRICE_FILTER", "minPrice"),
    "step": ("LOT_SIZE", "stepSize"),
    "min_quantity": ("LOT_SIZE", "minQty"),
    "market_step": ("MARKET_LOT_SIZE", "stepSize"),
    "market_min_quantity": ("MARKET_LOT_SIZE", "minQty"),
}


def _change(core: Core, symbol: str, **changes: Any) -> None:
    """Change a symbol's rules, and the exchangeInfo row they are read from, alike."""
    book = core.rules
    symbols = {**book.symbols, symbol: replace(book.symbols[symbol], **changes)}
    rows = [_changed_row(row, changes) if row["symbol"] == symbol else row for row in book.exchange_info["symbols"]]
    core.rules = RuleBook(symbols, {**book.exchange_info, "symbols": rows}, book.brackets)


def _changed_row(row: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    filters = [dict(entry) for entry in row["filters"]]
    for name, value in changes.items():
        if name in _WIRE:
            kind, key = _WIRE[name]
            for entry in filters:
                if entry["filterType"] == kind:
                    entry[key] = plain(value)
    return {**row, "filters": filters, "status": changes.get("status", row["status"])}


def _drop_orders(core: Core, symbol: str) -> None:
    for order in core.books.open_orders(symbol):
        end_order(core, order, "EXPIRED", EXPIRED_DELISTED)
    for conditional in core.books.resting(symbol):
        move_conditional(core, conditional, "EXPIRED")


def _force(core: Core, rules: SymbolRules, holding: Holding, quantity: Decimal, prefix: str) -> None:
    mark = core.mark_of(holding.symbol)
    buy = holding.amount < 0
    order = Order(
        order_id=next(core.ids.order),
        client_id=f"{prefix}{core.now}{next(core.ids.client):06d}",
        symbol=holding.symbol,
        buy=buy,
        position_side=holding.side,
        kind="LIMIT",
        tif="IOC",
        quantity=quantity,
        price=max(on_grid_down(mark, rules.tick), rules.tick),
        reduce_only=True,
        created=core.now,
        updated=core.now,
        reducing=True,
        liquidation=True,
    )
    accept_order(core, order)
    fill(core, order, quantity, order.price, maker=False, fee=Decimal(0))
