"""Executes regular orders: what may enter the book, at which price it fills, and what a fill sets in motion.

Decides price, quantity and fee of every execution. Reducing orders never open or flip a position: they are checked
when they arrive, capped when they execute, and expire when the position no longer covers them (binance-usdm 4.1).
"""

from tpctl.exits.units import ZERO, Money, Price, Quantity
from tpctl.venue.account import Holding, settled
from tpctl.venue.core import Core
from tpctl.venue.filters import on_grid_down
from tpctl.venue.ledger import FillRow
from tpctl.venue.lifecycle import (
    EXPIRED_IOC,
    EXPIRED_MARKET_BOUND,
    EXPIRED_REDUCE_ONLY,
    accept_order,
    book_income,
    end_order,
    finish_origin,
    move_conditional,
)
from tpctl.venue.margin import balances
from tpctl.venue.orders import Order
from tpctl.venue.refusals import refusal
from tpctl.venue.rulebook import SymbolRules
from tpctl.venue.stream import push_account, push_order, push_trade

# What the exchange says to every order of a symbol in these states, and to one that would open in the other states.
_CLOSED_STATUSES = frozenset({"PENDING_TRADING", "TRADING_HALT", "TRADING_CANCEL_ONLY"})
_SETTLED_STATUSES = frozenset({"CLOSE", "SETTLING", "DELIVERING", "DELIVERED"})
_MILLION = 1_000_000


def is_reducing(hedge: bool, position_side: str, *, buy: bool, reduce_only: bool) -> bool:
    """Return whether an order can only reduce: the closing side in hedge mode, reduce-only in one-way mode."""
    return buy == (position_side == "SHORT") if hedge else reduce_only


def place(core: Core, rules: SymbolRules, order: Order) -> None:
    """Check an order against position, margin and book, then let it in and execute what executes at once.

    Raises `VenueError` (-1122, -2019, -2022, -2025, -2027, -4118, -4140, -4141, -5021, -5022) with nothing changed.
    """
    admit(core, rules, order)
    accept_order(core, order)
    execute(core, rules, order)


def admit(core: Core, rules: SymbolRules, order: Order) -> None:
    """Refuse what must not enter the book; caps a reducing market order to the position."""
    core.priced(order.symbol)
    if rules.status in _CLOSED_STATUSES:
        raise refusal(-1122)
    if rules.status == "CLOSE":
        raise refusal(-4141)
    if rules.max_orders and len(core.books.open_orders(order.symbol)) >= rules.max_orders:
        raise refusal(-2025)
    closable = core.account.holding(order.symbol, order.position_side).closable(buy=order.buy)
    if order.reducing:
        _admit_reducing(core, order, closable)
    elif order.quantity > closable:
        _admit_opening(core, rules, order, closable)
    _check_time_in_force(core, rules, order)


def _admit_reducing(core: Core, order: Order, closable: Quantity) -> None:
    if not closable:
        raise refusal(-2022)
    if order.kind == "LIMIT":
        committed = sum(
            (
                other.remaining
                for other in core.books.open_orders(order.symbol)
                if other.reducing and (other.buy, other.position_side) == (order.buy, order.position_side)
            ),
            ZERO,
        )
        if committed + order.quantity > closable:
            # Too large by itself, or only together with what rests already.
            raise refusal(-4118 if order.quantity <= closable else -2022)
    elif order.quantity > closable:
        # One-way reduce-only orders shrink to the position; hedge mode refuses to close more than there is.
        if core.account.hedge:
            raise refusal(-2022)
        order.quantity = closable


def _admit_opening(core: Core, rules: SymbolRules, order: Order, closable: Quantity) -> None:
    check_opening(rules)
    opening = order.quantity - closable
    price = order.price or core.touch(rules, buy=order.buy)
    leverage = core.account.leverage(order.symbol)
    held = ZERO if closable else abs(core.account.holding(order.symbol, order.position_side).amount)
    if (held + opening) * price > rules.max_notional(leverage):
        raise refusal(-2027)
    needed = opening * price / leverage + opening * price * core.terms.taker_fee
    if needed > balances(core).available:
        raise refusal(-2019)


def check_opening(rules: SymbolRules) -> None:
    """Refuse (-4140, -4141) an opening order of a symbol that is not trading."""
    if rules.status != "TRADING":
        raise refusal(-4141 if rules.status in _SETTLED_STATUSES else -4140)


def _check_time_in_force(core: Core, rules: SymbolRules, order: Order) -> None:
    if order.kind != "LIMIT":
        return
    marketable = _marketable(core, rules, order)
    if order.tif == "GTX" and marketable:
        raise refusal(-5022)
    if order.tif == "FOK" and (not marketable or _available(core, rules, order, order.quantity) < order.quantity):
        raise refusal(-5021)


def _marketable(core: Core, rules: SymbolRules, order: Order) -> bool:
    touch = core.touch(rules, buy=order.buy)
    return order.price >= touch if order.buy else order.price <= touch


def taker_price(core: Core, rules: SymbolRules, quantity: Quantity, *, buy: bool) -> Price:
    """Return the average price an order of this size takes: the touch, worsened by slippage and size impact."""
    touch = core.touch(rules, buy=buy)
    bps = core.terms.slippage_bps + core.terms.impact_bps * quantity * touch / _MILLION
    worse = on_grid_down(touch * bps / 10_000, rules.tick)
    return touch + worse if buy else max(touch - worse, rules.tick)


def _available(core: Core, rules: SymbolRules, order: Order, quantity: Quantity) -> Quantity:
    """Return how much of `quantity` this step's depth still gives."""
    if core.terms.depth is None:
        return quantity
    left = core.terms.depth - core.taken.get((order.symbol, order.buy), ZERO)
    return min(quantity, on_grid_down(max(left, ZERO) / core.last[order.symbol], rules.step))


def _coverable(core: Core, order: Order) -> Quantity:
    """Return how much of an open order may execute now: all that is left, for a reducing one at most the position."""
    if not order.reducing:
        return order.remaining
    return min(order.remaining, core.account.holding(order.symbol, order.position_side).closable(buy=order.buy))


def execute(core: Core, rules: SymbolRules, order: Order) -> None:
    """Execute an order as taker: a market order, or a limit order as far as it crosses the book."""
    wanted = _coverable(core, order)
    if not wanted:
        end_order(core, order, "EXPIRED", EXPIRED_REDUCE_ONLY)
        return
    quantity = _available(core, rules, order, wanted)
    price = taker_price(core, rules, quantity, buy=order.buy)
    if order.kind == "MARKET":
        mark = core.mark[order.symbol]
        bound = mark * rules.market_take_bound
        if bound and (price > mark + bound if order.buy else price < mark - bound):
            end_order(core, order, "EXPIRED", EXPIRED_MARKET_BOUND)
            return
    elif _marketable(core, rules, order):
        price = min(price, order.price) if order.buy else max(price, order.price)
    else:
        quantity = ZERO
    if quantity:
        fill(core, order, quantity, price, maker=False)
    if order.open and order.tif == "IOC":
        end_order(core, order, "EXPIRED", EXPIRED_IOC)


def fill_resting(core: Core, rules: SymbolRules) -> None:
    """Go on with the open orders of a symbol: limits the price has reached, market orders that lacked depth."""
    last = core.last[rules.symbol]
    for order in core.books.open_orders(rules.symbol):
        if not order.open:
            continue
        if order.good_till and core.now >= order.good_till:
            end_order(core, order, "EXPIRED")
        elif order.kind == "MARKET":
            execute(core, rules, order)
        elif last <= order.price if order.buy else last >= order.price:
            quantity = _available(core, rules, order, _coverable(core, order))
            if quantity:
                fill(core, order, quantity, order.price, maker=True)


def fill(core: Core, order: Order, quantity: Quantity, price: Price, *, maker: bool, fee: Money | None = None) -> None:
    """Execute `quantity` of an open order at `price`, book it and tell it; `fee` overrides the commission."""
    account = core.account
    holding = account.holding(order.symbol, order.position_side)
    before = holding.amount
    leverage = account.leverage(order.symbol) if account.isolated(order.symbol) else None
    realised = holding.apply(quantity if order.buy else -quantity, price, leverage)
    if fee is None:
        fee = settled(quantity * price * (core.terms.maker_fee if maker else core.terms.taker_fee))
    if holding.amount:
        holding.charges += fee
    account.wallet += realised - fee
    holding.updated = account.updated = order.updated = core.now
    order.executed += quantity
    order.quote += quantity * price
    order.status = "PARTIALLY_FILLED" if order.remaining else "FILLED"
    if core.terms.depth is not None:
        side = (order.symbol, order.buy)
        core.taken[side] = core.taken.get(side, ZERO) + quantity * price
    if not order.open:
        core.books.settle(order)
    trade_id = next(core.ids.trade)
    core.note(order)
    core.ledger.fills.append(
        FillRow(
            at=core.now,
            trade_id=trade_id,
            order_id=order.order_id,
            client_id=order.client_id,
            symbol=order.symbol,
            position_side=order.position_side,
            side=order.side,
            kind=order.origin.kind if order.origin else order.kind,
            quantity=quantity,
            price=price,
            fee=fee,
            realised=realised,
            maker=maker,
            capped=order.reducing,
            before=before,
            after=holding.amount,
        )
    )
    book_income(core, order.symbol, "REALIZED_PNL", realised, trade_id=str(trade_id))
    book_income(core, order.symbol, "COMMISSION", -fee, trade_id=str(trade_id))
    if not order.liquidation:
        push_trade(core, order, quantity, price, trade_id, maker=maker)
    push_order(
        core,
        order,
        "CALCULATED" if order.liquidation else "TRADE",
        quantity=quantity,
        price=price,
        fee=fee,
        realised=realised,
        trade_id=trade_id,
        maker=maker,
    )
    push_account(core, "ORDER", [holding])
    finish_origin(core, order)
    release_uncovered(core, holding)


def release_uncovered(core: Core, holding: Holding) -> None:
    """Expire what the position no longer covers: reducing limits beyond its size, closePosition orders without one.

    The best priced reducing orders stay. Conditional orders with a quantity stay too: they survive the position
    (binance-usdm 4.1) and are only judged when they trigger.
    """
    left = abs(holding.amount)
    closing_buy = holding.amount < 0
    reducing = [
        order
        for order in core.books.open_orders(holding.symbol)
        if order.reducing and order.position_side == holding.side and not order.liquidation
    ]
    reducing.sort(key=lambda order: (-order.price if order.buy else order.price, order.order_id))
    for order in reducing:
        if not holding.amount or order.buy != closing_buy:
            end_order(core, order, "EXPIRED", EXPIRED_REDUCE_ONLY)
        elif order.kind == "LIMIT":
            if order.remaining > left:
                end_order(core, order, "EXPIRED", EXPIRED_REDUCE_ONLY)
            else:
                left -= order.remaining
    for conditional in core.books.resting(holding.symbol):
        if (
            conditional.close_position
            and conditional.position_side == holding.side
            and conditional.status == "NEW"
            and (not holding.amount or conditional.buy != closing_buy)
        ):
            move_conditional(core, conditional, "EXPIRED")
