"""REST semantics of the account: positions, balances, settings (binance-usdm 5.2).

Answers in the exchange's shapes with its field traps (4.10); changes leverage, margin type and position mode under the
exchange's conditions.
"""

from collections.abc import Iterable
from decimal import Decimal

from tpctl.exits.units import ZERO, trimmed
from tpctl.venue import params as read
from tpctl.venue import wire
from tpctl.venue.account import Holding
from tpctl.venue.core import Core
from tpctl.venue.margin import Balances, balances, holding_maintenance, initial_margin, liquidation_price, order_margin
from tpctl.venue.params import Params
from tpctl.venue.refusals import refusal
from tpctl.venue.requests import read_symbol
from tpctl.venue.rulebook import SymbolRules
from tpctl.venue.stream import push_account, push_leverage
from tpctl.venue.wire import Payload, fixed, money

_PRICE_PLACES = 8
_DONE: Payload = {"code": 200, "msg": "success"}


def _symbols(core: Core, params: Params) -> Iterable[SymbolRules]:
    return [read_symbol(core, params)] if params.get("symbol") else core.rules.symbols.values()


def _liquidation_text(core: Core, holding: Holding) -> str:
    price = liquidation_price(core, holding)
    return "0" if price is None else trimmed(price, _PRICE_PLACES)


def _sides_shown(core: Core, rules: SymbolRules, *, busy: bool) -> list[Holding]:
    """Return the positions of a symbol to show: all, or for a `busy` listing those with a position or open orders."""
    holdings = core.account.holdings(rules.symbol)
    if not busy:
        return holdings
    orders = core.books.open_orders(rules.symbol)
    return [
        holding
        for holding in holdings
        if holding.amount or any(order.position_side == holding.side for order in orders)
    ]


def position_risk_v3(core: Core, params: Params) -> list[Payload]:
    """GET v3/positionRisk: only symbols with a position or open orders; no leverage, no margin type."""
    return [
        _position_v3(core, rules, holding)
        for rules in _symbols(core, params)
        for holding in _sides_shown(core, rules, busy=True)
    ]


def _position_v3(core: Core, rules: SymbolRules, holding: Holding) -> Payload:
    mark = core.mark_of(rules.symbol)
    unrealised = holding.unrealised(mark)
    isolated = core.account.isolated(rules.symbol) and bool(holding.amount)
    margin = initial_margin(core, holding)
    held = order_margin(core, rules.symbol)
    return {
        "symbol": rules.symbol,
        "positionSide": holding.side,
        "positionAmt": fixed(holding.amount, rules.quantity_precision),
        "entryPrice": trimmed(holding.entry, _PRICE_PLACES) if holding.amount else "0.0",
        "breakEvenPrice": trimmed(holding.breakeven, _PRICE_PLACES) if holding.amount else "0.0",
        "markPrice": fixed(mark),
        "unRealizedProfit": fixed(unrealised),
        "liquidationPrice": _liquidation_text(core, holding),
        "isolatedMargin": money(holding.isolated_wallet + unrealised) if isolated else "0",
        "notional": money(holding.amount * mark),
        "marginAsset": rules.margin_asset,
        "isolatedWallet": money(holding.isolated_wallet),
        "initialMargin": money(margin + held),
        "maintMargin": money(holding_maintenance(core, holding)),
        "positionInitialMargin": money(margin),
        "openOrderInitialMargin": money(held),
        "adl": 2 if holding.amount else 0,
        "bidNotional": money(_resting_notional(core, rules.symbol, buy=True)),
        "askNotional": money(_resting_notional(core, rules.symbol, buy=False)),
        "updateTime": holding.updated,
    }


def _resting_notional(core: Core, symbol: str, *, buy: bool) -> Decimal:
    return sum((o.remaining * o.price for o in core.books.open_orders(symbol) if o.buy == buy), ZERO)


def position_risk_v2(core: Core, params: Params) -> list[Payload]:
    """GET v2/positionRisk: every symbol, with leverage and margin type."""
    return [
        _position_v2(core, rules, holding)
        for rules in _symbols(core, params)
        for holding in _sides_shown(core, rules, busy=False)
    ]


def _position_v2(core: Core, rules: SymbolRules, holding: Holding) -> Payload:
    account, mark = core.account, core.mark_of(rules.symbol)
    isolated = account.isolated(rules.symbol)
    leverage = account.leverage(rules.symbol)
    margin = holding.isolated_wallet + holding.unrealised(mark) if isolated and holding.amount else ZERO
    return {
        "symbol": rules.symbol,
        "positionAmt": fixed(holding.amount, rules.quantity_precision),
        "entryPrice": trimmed(holding.entry, _PRICE_PLACES) if holding.amount else "0.0",
        "breakEvenPrice": trimmed(holding.breakeven, _PRICE_PLACES) if holding.amount else "0.0",
        "markPrice": fixed(mark),
        "unRealizedProfit": fixed(holding.unrealised(mark)),
        "liquidationPrice": _liquidation_text(core, holding),
        "leverage": str(leverage),
        "maxNotionalValue": trimmed(rules.max_notional(leverage)),
        "marginType": "isolated" if isolated else "cross",
        "isolatedMargin": fixed(margin),
        "isAutoAddMargin": "false",
        "positionSide": holding.side,
        "notional": money(holding.amount * mark),
        "isolatedWallet": money(holding.isolated_wallet),
        "updateTime": holding.updated,
    }


def _totals(figures: Balances) -> Payload:
    margin_balance = figures.wallet + figures.unrealised
    return {
        "totalInitialMargin": fixed(figures.position_margin + figures.order_margin),
        "totalMaintMargin": fixed(figures.maintenance),
        "totalWalletBalance": fixed(figures.wallet),
        "totalUnrealizedProfit": fixed(figures.unrealised),
        "totalMarginBalance": fixed(margin_balance),
        "totalPositionInitialMargin": fixed(figures.position_margin),
        "totalOpenOrderInitialMargin": fixed(figures.order_margin),
        "totalCrossWalletBalance": fixed(figures.cross_wallet),
        "totalCrossUnPnl": fixed(figures.cross_unrealised),
        "availableBalance": fixed(figures.available),
        "maxWithdrawAmount": fixed(min(figures.available, figures.cross_wallet)),
    }


def _asset(core: Core, figures: Balances) -> Payload:
    return {
        "asset": wire.QUOTE_ASSET,
        "walletBalance": fixed(figures.wallet),
        "unrealizedProfit": fixed(figures.unrealised),
        "marginBalance": fixed(figures.wallet + figures.unrealised),
        "maintMargin": fixed(figures.maintenance),
        "initialMargin": fixed(figures.position_margin + figures.order_margin),
        "positionInitialMargin": fixed(figures.position_margin),
        "openOrderInitialMargin": fixed(figures.order_margin),
        "crossWalletBalance": fixed(figures.cross_wallet),
        "crossUnPnl": fixed(figures.cross_unrealised),
        "availableBalance": fixed(figures.available),
        "maxWithdrawAmount": fixed(min(figures.available, figures.cross_wallet)),
        "updateTime": core.account.updated,
    }


def account_v3(core: Core, _params: Params) -> Payload:
    """GET v3/account."""
    figures = balances(core)
    return _totals(figures) | {
        "assets": [_asset(core, figures)],
        "positions": [
            _account_position(core, rules, holding)
            for rules in core.rules.symbols.values()
            for holding in _sides_shown(core, rules, busy=True)
        ],
    }


def _account_position(core: Core, rules: SymbolRules, holding: Holding) -> Payload:
    mark = core.mark_of(rules.symbol)
    isolated = core.account.isolated(rules.symbol) and bool(holding.amount)
    return {
        "symbol": rules.symbol,
        "positionSide": holding.side,
        "positionAmt": fixed(holding.amount, rules.quantity_precision),
        "unrealizedProfit": fixed(holding.unrealised(mark)),
        "isolatedMargin": fixed(holding.isolated_wallet + holding.unrealised(mark) if isolated else ZERO),
        "notional": money(holding.amount * mark),
        "isolatedWallet": money(holding.isolated_wallet),
        "initialMargin": money(initial_margin(core, holding) + order_margin(core, rules.symbol)),
        "maintMargin": money(holding_maintenance(core, holding)),
        "updateTime": holding.updated,
    }


def account_v2(core: Core, _params: Params) -> Payload:
    """GET v2/account: every symbol, with leverage and margin type."""
    figures = balances(core)
    positions = [
        _account_position_v2(core, rules, holding)
        for rules in core.rules.symbols.values()
        for holding in core.account.holdings(rules.symbol)
    ]
    return {
        "feeTier": 0,
        "feeBurn": False,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": False,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
        **_totals(figures),
        "assets": [_asset(core, figures) | {"marginAvailable": True}],
        "positions": positions,
    }


def _account_position_v2(core: Core, rules: SymbolRules, holding: Holding) -> Payload:
    margin, held = initial_margin(core, holding), order_margin(core, rules.symbol)
    leverage = core.account.leverage(rules.symbol)
    return {
        "symbol": rules.symbol,
        "initialMargin": money(margin + held),
        "maintMargin": money(holding_maintenance(core, holding)),
        "unrealizedProfit": fixed(holding.unrealised(core.mark_of(rules.symbol))),
        "positionInitialMargin": money(margin),
        "openOrderInitialMargin": money(held),
        "leverage": str(leverage),
        "isolated": core.account.isolated(rules.symbol),
        "entryPrice": trimmed(holding.entry, _PRICE_PLACES) if holding.amount else "0.0",
        "breakEvenPrice": trimmed(holding.breakeven, _PRICE_PLACES) if holding.amount else "0.0",
        "maxNotional": trimmed(rules.max_notional(leverage)),
        "bidNotional": money(_resting_notional(core, rules.symbol, buy=True)),
        "askNotional": money(_resting_notional(core, rules.symbol, buy=False)),
        "positionSide": holding.side,
        "positionAmt": fixed(holding.amount, rules.quantity_precision),
        "updateTime": holding.updated,
    }


def balance_v3(core: Core, _params: Params) -> list[Payload]:
    """GET v3/balance."""
    figures = balances(core)
    return [
        {
            "accountAlias": "TwinSgsR",
            "asset": wire.QUOTE_ASSET,
            "balance": fixed(figures.wallet),
            "crossWalletBalance": fixed(figures.cross_wallet),
            "crossUnPnl": fixed(figures.cross_unrealised),
            "availableBalance": fixed(figures.available),
            "maxWithdrawAmount": fixed(min(figures.available, figures.cross_wallet)),
            "marginAvailable": True,
            "updateTime": core.account.updated,
        }
    ]


def account_config(core: Core, _params: Params) -> Payload:
    """GET accountConfig. The twin's keys cannot withdraw."""
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": False,
        "dualSidePosition": core.account.hedge,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def symbol_config(core: Core, params: Params) -> list[Payload]:
    """GET symbolConfig."""
    return [
        {
            "symbol": rules.symbol,
            "marginType": "ISOLATED" if core.account.isolated(rules.symbol) else "CROSSED",
            "isAutoAddMargin": False,
            "leverage": core.account.leverage(rules.symbol),
            "maxNotionalValue": trimmed(rules.max_notional(core.account.leverage(rules.symbol))),
        }
        for rules in _symbols(core, params)
    ]


def position_mode(core: Core, _params: Params) -> Payload:
    """GET positionSide/dual."""
    return {"dualSidePosition": core.account.hedge}


def commission_rate(core: Core, params: Params) -> Payload:
    """GET commissionRate of a symbol."""
    return {
        "symbol": read_symbol(core, params).symbol,
        "makerCommissionRate": trimmed(core.terms.maker_fee),
        "takerCommissionRate": trimmed(core.terms.taker_fee),
        "rpiCommissionRate": "0.00005",
    }


def change_leverage(core: Core, params: Params) -> Payload:
    """POST leverage; -4028 above the symbol's maximum, -2027 and -2028 where the position stands against it."""
    rules = read_symbol(core, params)
    leverage = read.integer(params, "leverage")
    if not 1 <= leverage <= rules.tiers[0].leverage:
        raise refusal(-4028, leverage)
    before = core.account.leverage(rules.symbol)
    largest = max(abs(h.amount) * core.mark_of(rules.symbol) for h in core.account.holdings(rules.symbol))
    if largest > rules.max_notional(leverage):
        raise refusal(-2027)
    if largest and leverage < before:
        if core.account.isolated(rules.symbol):
            raise refusal(-4161)
        if largest / leverage - largest / before > balances(core).available:
            raise refusal(-2028)
    core.account.set_leverage(rules.symbol, leverage)
    if leverage != before:
        push_leverage(core, rules.symbol)
    return {
        "leverage": leverage,
        "maxNotionalValue": trimmed(rules.max_notional(leverage)),
        "symbol": rules.symbol,
    }


def change_margin_type(core: Core, params: Params) -> Payload:
    """POST marginType; -4046 without a change, -4047 with open orders, -4048 with a position."""
    symbol = read_symbol(core, params).symbol
    isolated = read.choice(params, "marginType", {"ISOLATED", "CROSSED"}, -1130) == "ISOLATED"
    if isolated == core.account.isolated(symbol):
        raise refusal(-4046)
    if core.books.open_orders(symbol) or core.books.resting(symbol):
        raise refusal(-4047)
    holdings = core.account.holdings(symbol)
    if any(holding.amount for holding in holdings):
        raise refusal(-4048)
    core.account.set_isolated(symbol, isolated)
    push_account(core, "MARGIN_TYPE_CHANGE", holdings)
    return dict(_DONE)


def change_position_mode(core: Core, params: Params) -> Payload:
    """POST positionSide/dual; -4059 without a change, -4067 with open orders, -4068 with a position."""
    hedge = read.required(params, "dualSidePosition")
    if hedge not in {"true", "false"}:
        raise refusal(-1130, "dualSidePosition")
    if (hedge == "true") == core.account.hedge:
        raise refusal(-4059)
    if core.books.open_orders() or core.books.resting():
        raise refusal(-4067)
    if core.account.open_holdings():
        raise refusal(-4068)
    core.account.hedge = hedge == "true"
    return dict(_DONE)
