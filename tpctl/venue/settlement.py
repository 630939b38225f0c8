"""What the exchange does to an account by itself: funding, margin calls, liquidation (binance-usdm 4.8, 4.9).

Liquidation closes at the mark and charges the liquidation fee as far as margin is left; a loss beyond the margin is the
insurance fund's. Isolated positions fall alone; cross positions fall one by one, the largest first, until the account
stands again.
"""

from decimal import Decimal

from tpctl.exits.units import ZERO, Millis, Money
from tpctl.venue.account import Holding, settled
from tpctl.venue.core import FUNDING_INTERVAL_MS, Core
from tpctl.venue.filters import on_grid_down, on_grid_up
from tpctl.venue.ledger import FundingRow, InsuranceRow, LiquidationRow
from tpctl.venue.lifecycle import EXPIRED_LIQUIDATION, accept_order, book_income, end_order
from tpctl.venue.margin import holding_maintenance
from tpctl.venue.matching import fill
from tpctl.venue.orders import Order
from tpctl.venue.stream import push_account, push_margin_call

# The exchange warns when maintenance has come this close to equity; its own threshold is not published.
_MARGIN_CALL_SHARE = Decimal("0.8")


def charge_funding(core: Core) -> None:
    """Charge the funding of every settlement time passed: 00, 08 and 16 h UTC."""
    while core.next_funding <= core.now:
        for holding in core.account.open_holdings():
            _charge(core, holding)
        core.next_funding += FUNDING_INTERVAL_MS


def _charge(core: Core, holding: Holding) -> None:
    rate = core.funding_rate(holding.symbol)
    amount = settled(-holding.amount * core.mark_of(holding.symbol) * rate)
    core.account.wallet += amount
    holding.charges -= amount
    isolated = core.account.isolated(holding.symbol)
    if isolated:
        holding.isolated_wallet += amount
    core.ledger.funding.append(FundingRow(core.now, holding.symbol, holding.side, rate, amount))
    book_income(core, holding.symbol, "FUNDING_FEE", amount)
    push_account(core, "FUNDING_FEE", [holding] if isolated else [], funding_of=holding.symbol)


def next_funding_after(now: Millis) -> Millis:
    """Return the first settlement time after `now`."""
    return (now // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS


def liquidate_due(core: Core) -> None:
    """Liquidate what can no longer be maintained, and warn of what soon cannot."""
    holdings = core.account.open_holdings()
    if not holdings:
        return
    cross: list[Holding] = []
    for holding in holdings:
        if not core.account.isolated(holding.symbol):
            cross.append(holding)
            continue
        needed = holding_maintenance(core, holding)
        equity = holding.isolated_wallet + holding.unrealised(core.mark_of(holding.symbol))
        if equity <= needed:
            liquidate(core, holding)
        else:
            _warn(core, [holding], equity, needed)
    if cross:
        equity, needed = _cross_standing(core, cross)
        if equity <= needed:
            _liquidate_cross(core, cross)
        else:
            _warn(core, cross, equity, needed)


def _cross_standing(core: Core, cross: list[Holding]) -> tuple[Money, Money]:
    equity, needed = core.account.cross_wallet(), ZERO
    for holding in cross:
        equity += holding.unrealised(core.mark[holding.symbol])
        needed += holding_maintenance(core, holding)
    return equity, needed


def _warn(core: Core, holdings: list[Holding], equity: Money, needed: Money) -> None:
    close = needed >= equity * _MARGIN_CALL_SHARE
    if close and not all(holding.warned for holding in holdings):
        push_margin_call(core, holdings, core.account.cross_wallet())
    for holding in holdings:
        holding.warned = close


def _liquidate_cross(core: Core, cross: list[Holding]) -> None:
    for symbol in dict.fromkeys(holding.symbol for holding in cross):
        _cancel_orders(core, symbol)
    left = sorted(cross, key=lambda holding: -holding_maintenance(core, holding))
    while left:
        equity, needed = _cross_standing(core, left)
        if equity > needed:
            return
        liquidate(core, left.pop(0))
    _insure(core, "", -core.account.cross_wallet())


def _cancel_orders(core: Core, symbol: str) -> None:
    for order in core.books.open_orders(symbol):
        end_order(core, order, "EXPIRED", EXPIRED_LIQUIDATION)


def liquidate(core: Core, holding: Holding) -> None:
    """Close a position by force."""
    rules = core.rules.symbols[holding.symbol]
    isolated = core.account.isolated(holding.symbol)
    _cancel_orders(core, holding.symbol)
    mark = core.mark_of(holding.symbol)
    buy = holding.amount < 0
    price = on_grid_up(mark, rules.tick) if buy else max(on_grid_down(mark, rules.tick), rules.tick)
    quantity = abs(holding.amount)
    funds = holding.isolated_wallet if isolated else core.account.cross_wallet()
    left = funds + settled(holding.amount * price - holding.cost)
    order = Order(
        order_id=next(core.ids.order),
        client_id=f"autoclose-{core.now}{next(core.ids.client):06d}",
        symbol=holding.symbol,
        buy=buy,
        position_side=holding.side,
        kind="LIMIT",
        tif="IOC",
        quantity=quantity,
        price=price,
        reduce_only=True,
        created=core.now,
        updated=core.now,
        reducing=True,
        liquidation=True,
    )
    accept_order(core, order)
    fee = min(settled(quantity * price * rules.liquidation_fee), max(left, ZERO))
    fill(core, order, quantity, price, maker=False, fee=fee)
    core.ledger.liquidations.append(LiquidationRow(core.now, holding.symbol, holding.side, quantity, price))
    if isolated:
        _insure(core, holding.symbol, -left)


def _insure(core: Core, symbol: str, amount: Money) -> None:
    if amount <= 0:
        return
    core.account.wallet += amount
    core.ledger.insurance.append(InsuranceRow(core.now, symbol, amount))
    book_income(core, symbol, "INSURANCE_CLEAR", amount)
    push_account(core, "INSURANCE_CLEAR", [])
