"""The twin: an exchange that behaves and refuses as Binance USD-M futures does, as pure state.

No I/O, no clock, no randomness: time comes with the market steps, one story always gives the same answers and ids. REST
methods take decoded string parameters and answer in the exchange's shapes, or raise `VenueError`; what happened is
drained from `user_events`. Not thread-safe; one caller at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, TypeVar

from tpctl.exits.errors import InputsError
from tpctl.exits.units import ONE, ZERO, Millis, Money, Price, Quantity
from tpctl.venue import api_account, api_algo, api_market, api_orders, trader
from tpctl.venue.account import Account
from tpctl.venue.core import Core, Terms
from tpctl.venue.exchange_acts import resume_due
from tpctl.venue.ledger import Ledger, Rejection
from tpctl.venue.lifecycle import move_conditional
from tpctl.venue.margin import liquidation_price
from tpctl.venue.matching import fill_resting
from tpctl.venue.orders import Conditional, Order
from tpctl.venue.params import Params
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.refusals import VenueError
from tpctl.venue.routes import ROUTES, Route
from tpctl.venue.rulebook import RuleBook
from tpctl.venue.settlement import charge_funding, liquidate_due, next_funding_after
from tpctl.venue.triggers import trigger_due

__all__ = ["ROUTES", "PositionView", "Route", "Terms", "Venue", "VenueError"]

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class PositionView:
    """An open position as the exchange holds it; `side` is LONG or SHORT, `quantity` above zero."""

    symbol: str
    side: str
    quantity: Quantity
    entry: Price
    mark: Price
    unrealised: Money
    liquidation: Price | None
    leverage: int
    isolated: bool
    isolated_wallet: Money


def _endpoint(path: str, handler: Callable[[Core, Params], R]) -> Callable[["Venue", Params], R]:
    """Make a REST method of a handler: the same answer, every refusal recorded."""

    def answer(self: "Venue", params: Params) -> R:
        try:
            return handler(self.core, params)
        except VenueError as refused:
            self.rejected.append(Rejection(self.core.now, refused.code, path, dict(params)))
            raise

    answer.__name__ = handler.__name__
    answer.__doc__ = handler.__doc__
    return answer


class Venue:
    """One account at the twin.

    `funding_rate` is the default rate per eight hours; `terms` replaces `taker_fee`, `maker_fee` and `slippage_bps`
    where more of the market's depth is to be set. `core` is the state itself, for checkers; `rejected` lists every
    refused request.
    """

    def __init__(
        self,
        rules: RuleBook,
        *,
        start_ms: Millis,
        wallet: Money = Decimal(100_000),
        taker_fee: Decimal = Decimal("0.0005"),
        maker_fee: Decimal = Decimal("0.0002"),
        funding_rate: Decimal = Decimal("0.0001"),
        slippage_bps: Decimal = ZERO,
        hedge: bool = False,
        terms: Terms | None = None,
    ) -> None:
        self.core = Core(
            rules=rules,
            terms=terms or Terms(taker_fee=taker_fee, maker_fee=maker_fee, slippage_bps=slippage_bps),
            now=start_ms,
            account=Account(wallet=wallet, hedge=hedge, updated=start_ms),
            ledger=Ledger(opening_wallet=wallet),
            default_funding_rate=funding_rate,
            next_funding=next_funding_after(start_ms),
        )
        self.rejected: list[Rejection] = []

    @property
    def now(self) -> Millis:
        """The exchange's time: that of the newest step."""
        return self.core.now

    @property
    def ledger(self) -> Ledger:
        """What really happened, for checkers; not to be changed."""
        return self.core.ledger

    @property
    def hedge(self) -> bool:
        """Whether the account is in hedge mode."""
        return self.core.account.hedge

    @property
    def wallet(self) -> Money:
        """The wallet balance."""
        return self.core.account.wallet

    def step(self, step: MarketStep) -> None:
        """Move the market: funding, then per symbol triggers (stops first) and resting orders, then liquidation.

        Raises `ValueError` where time runs backwards, `InputsError` for an impossible price or a symbol without
        rules.
        """
        core = self.core
        if step.at < core.now:
            raise ValueError(f"time runs backwards: {step.at} after {core.now}")
        moved = []
        for quote in step.quotes:
            rules = core.rules.symbols.get(quote.symbol)
            if rules is None:
                raise InputsError(f"no trading rules for {quote.symbol!r}", "load a rule book that has the symbol")
            if not (quote.last > 0 and quote.mark > 0):
                raise InputsError(f"price of {quote.symbol!r} is not above zero", "check the market source")
            moved.append(rules)
        core.now = step.at
        core.taken.clear()
        core.funding_rates.update(step.funding_rates)
        for quote in step.quotes:
            core.last[quote.symbol] = quote.last
            core.mark[quote.symbol] = quote.mark
        if core.halts or core.thin is not None:
            resume_due(core)
        charge_funding(core)
        for rules in moved:
            trigger_due(core, rules)
            fill_resting(core, rules)
        if core.countdowns:
            self._count_down()
        liquidate_due(core)

    def _count_down(self) -> None:
        for symbol, deadline in list(self.core.countdowns.items()):
            if self.core.now >= deadline:
                del self.core.countdowns[symbol]
                api_orders.cancel_symbol(self.core, symbol)

    def user_events(self) -> list[dict[str, Any]]:
        """Return the user-stream payloads since the last call, in the order they happened."""
        events, self.core.events = self.core.events, []
        return events

    def call(self, method: str, path: str, params: Params, *, lag_ms: Millis = 0) -> Any:
        """Answer a request by method and path (without `/fapi/`); raises `KeyError` for one that is not in ROUTES.

        Orders are shown as they were `lag_ms` ago.
        """
        self.core.lag_ms = lag_ms
        try:
            return getattr(self, ROUTES[method, path].name)(params)
        finally:
            self.core.lag_ms = 0

    # REST, public
    exchange_info = _endpoint("v1/exchangeInfo", api_market.exchange_info)
    leverage_bracket = _endpoint("v1/leverageBracket", api_market.leverage_bracket)
    premium_index = _endpoint("v1/premiumIndex", api_market.premium_index)
    ticker_price = _endpoint("v2/ticker/price", api_market.ticker_price)
    book_ticker = _endpoint("v1/ticker/bookTicker", api_market.book_ticker)
    funding_info = _endpoint("v1/fundingInfo", api_market.funding_info)
    rate_limit_order = _endpoint("v1/rateLimit/order", api_market.rate_limit_order)

    # REST, account
    position_risk_v3 = _endpoint("v3/positionRisk", api_account.position_risk_v3)
    position_risk_v2 = _endpoint("v2/positionRisk", api_account.position_risk_v2)
    account_v3 = _endpoint("v3/account", api_account.account_v3)
    account_v2 = _endpoint("v2/account", api_account.account_v2)
    balance_v3 = _endpoint("v3/balance", api_account.balance_v3)
    account_config = _endpoint("v1/accountConfig", api_account.account_config)
    symbol_config = _endpoint("v1/symbolConfig", api_account.symbol_config)
    position_mode = _endpoint("v1/positionSide/dual", api_account.position_mode)
    commission_rate = _endpoint("v1/commissionRate", api_account.commission_rate)
    change_leverage = _endpoint("v1/leverage", api_account.change_leverage)
    change_margin_type = _endpoint("v1/marginType", api_account.change_margin_type)
    change_position_mode = _endpoint("v1/positionSide/dual", api_account.change_position_mode)

    # REST, regular book
    new_order = _endpoint("v1/order", api_orders.new_order)
    cancel_order = _endpoint("v1/order", api_orders.cancel_order)
    get_order = _endpoint("v1/order", api_orders.get_order)
    modify_order = _endpoint("v1/order", api_orders.modify_order)
    open_orders = _endpoint("v1/openOrders", api_orders.open_orders)
    all_orders = _endpoint("v1/allOrders", api_orders.all_orders)
    cancel_all_orders = _endpoint("v1/allOpenOrders", api_orders.cancel_all_orders)
    batch_orders = _endpoint("v1/batchOrders", api_orders.batch_orders)
    user_trades = _endpoint("v1/userTrades", api_orders.user_trades)
    income = _endpoint("v1/income", api_orders.income)
    countdown_cancel_all = _endpoint("v1/countdownCancelAll", api_orders.countdown_cancel_all)

    # REST, algo book
    new_algo_order = _endpoint("v1/algoOrder", api_algo.new_algo_order)
    cancel_algo_order = _endpoint("v1/algoOrder", api_algo.cancel_algo_order)
    get_algo_order = _endpoint("v1/algoOrder", api_algo.get_algo_order)
    open_algo_orders = _endpoint("v1/openAlgoOrders", api_algo.open_algo_orders)
    all_algo_orders = _endpoint("v1/allAlgoOrders", api_algo.all_algo_orders)
    cancel_all_algo_orders = _endpoint("v1/algoOpenOrders", api_algo.cancel_all_algo_orders)

    def open_position(
        self,
        symbol: str,
        side: str,
        *,
        quantity: Quantity | None = None,
        notional: Money | None = None,
        leverage: int | None = None,
        margin: str = "CROSSED",
    ) -> None:
        """Open at market by the operator's hand; `side` is LONG or SHORT, `margin` CROSSED or ISOLATED."""
        trader.open_position(
            self.core, symbol, side, quantity=quantity, notional=notional, leverage=leverage, margin=margin
        )

    def add_position(
        self, symbol: str, side: str, *, quantity: Quantity | None = None, notional: Money | None = None
    ) -> None:
        """Enlarge a position by the operator's hand, settings unchanged."""
        margin = "ISOLATED" if self.core.account.isolated(symbol) else "CROSSED"
        trader.open_position(self.core, symbol, side, quantity=quantity, notional=notional, margin=margin)

    def close_position(self, symbol: str, side: str, fraction: Decimal = ONE) -> None:
        """Close a fraction of a position by the operator's hand."""
        trader.close_position(self.core, symbol, side, fraction)

    def flip_position(self, symbol: str) -> None:
        """Turn a one-way position round by the operator's hand."""
        trader.flip_position(self.core, symbol)

    def jam(self, client_id: str) -> None:
        """Make a resting conditional order stay TRIGGERING for ever once it triggers (reliability F3)."""
        self._resting(client_id).stuck = True

    def drop(self, client_id: str) -> None:
        """Expire a resting conditional order as the exchange sometimes does by itself (reliability O11)."""
        move_conditional(self.core, self._resting(client_id), "EXPIRED")

    def reject(self, client_id: str) -> None:
        """Reject a resting conditional order that was accepted (reliability O11)."""
        move_conditional(self.core, self._resting(client_id), "REJECTED", "Order rejected by the matching engine")

    def _resting(self, client_id: str) -> Conditional:
        order = self.core.books.resting_by_client(client_id)
        if order is None:
            raise KeyError(client_id)
        return order

    def positions(self) -> tuple[PositionView, ...]:
        """Return the open positions as the exchange holds them."""
        core = self.core
        return tuple(
            PositionView(
                symbol=holding.symbol,
                side="LONG" if holding.amount > 0 else "SHORT",
                quantity=abs(holding.amount),
                entry=holding.entry,
                mark=core.mark_of(holding.symbol),
                unrealised=holding.unrealised(core.mark_of(holding.symbol)),
                liquidation=liquidation_price(core, holding),
                leverage=core.account.leverage(holding.symbol),
                isolated=core.account.isolated(holding.symbol),
                isolated_wallet=holding.isolated_wallet,
            )
            for holding in core.account.open_holdings()
        )

    def resting_orders(self, symbol: str | None = None) -> Sequence[Order]:
        """Return copies of the open regular orders, oldest first."""
        return [replace(order) for order in self.core.books.open_orders(symbol)]

    def resting_conditionals(self, symbol: str | None = None) -> Sequence[Conditional]:
        """Return copies of the conditional orders that wait for their trigger, oldest first."""
        return [replace(order) for order in self.core.books.resting(symbol)]

    def quotes(self, symbol: str) -> Quote | None:
        """Return the newest prices of a symbol, None before its first step."""
        last = self.core.last.get(symbol)
        return None if last is None else Quote(symbol, last, self.core.mark[symbol])
