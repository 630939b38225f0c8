"""The account: `BinanceReader` reads it, `BinanceExchange` can also act on it (ports.AccountReader, ports.Exchange).

Decides which endpoint answers which question and what it costs (binance-usdm 1.2, 2.3). Never retries an order whose
answer may have been lost, and never turns a failed read into an empty one.

Invariants: I10 (an order's outcome is accepted, refused or unknown), I13 (a reader has no way to send an order: neither
a method nor a session that would carry one), I22 (every call is counted in its lane).
"""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Any

from tpctl.adapters.binance.budget import Budget, Lane
from tpctl.adapters.binance.clock import StampClock
from tpctl.adapters.binance.endpoints import Endpoints
from tpctl.adapters.binance.errors import (
    NO_SUCH_ORDER,
    TOO_MANY_ORDERS,
    TOO_MANY_REQUESTS,
    UNKNOWN_LISTEN_KEY,
    Failure,
    as_answer,
    as_error,
)
from tpctl.adapters.binance.wire import Connect, Send, Wire
from tpctl.adapters.binance_map import account, orders
from tpctl.adapters.binance_map.fields import Malformed, row, text
from tpctl.adapters.binance_map.params import Operation, Params, WireOrder, find_params, wire_order
from tpctl.adapters.rules import parse_brackets, parse_instruments
from tpctl.adapters.secrets import Secret
from tpctl.exits.errors import ExchangeRejected, RateLimitedError, TpctlError, UnavailableError
from tpctl.exits.events import Accepted, Answer, Refused, Unknown, Withheld
from tpctl.exits.instrument import Bracket, Instrument, Unavailable
from tpctl.exits.intents import CancelOrder, OrderIntent, PlaceTakeProfit
from tpctl.exits.mid import TopOfBook
from tpctl.exits.model import Book, Fill, LiveOrder, Position, PositionMode
from tpctl.exits.units import Millis
from tpctl.ports import Admitted, Candle, Fees, FundingFee, Holdings, KeyRights, Premium, SymbolConfig, Wallet

_DAY = 86_400_000
# userTrades answers at most a week and a thousand rows at a time.
_TRADES_WINDOW = 7 * _DAY
_TRADES_LIMIT = 1000
# income: the documented maximum of rows in one answer.
_INCOME_LIMIT = 1000
# klines: the documented maximum of rows in one answer (binance-usdm 5.1).
_KLINES_LIMIT = 1500


class BinanceReader:
    """Reads of one account. Without keys only the public reads work, the others raise `CredentialsError`."""

    _read_only = True

    def __init__(
        self,
        endpoints: Endpoints,
        clock: StampClock,
        *,
        key: Secret | None = None,
        secret: Secret | None = None,
        budget: Budget | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        connect: Connect | None = None,
    ) -> None:
        self.endpoints = endpoints
        self.budget = budget or Budget(clock)
        self._clock = clock
        self._algo_list = orders.AlgoList()
        self._wire = Wire(
            endpoints,
            clock,
            self.budget,
            key=key,
            secret=secret,
            read_only=self._read_only,
            sleep=sleep,
            connect=connect,
        )

    async def close(self) -> None:
        """Close the connections. Orders stay where they are (I25)."""
        await self._wire.close()

    async def server_time(self) -> Millis:
        """Return the exchange's clock, and set ours by it."""
        return await self._wire.synchronise()

    async def position_mode(self) -> PositionMode:
        """Return one-way or hedge (accountConfig, weight 5; positionSide/dual would cost 30)."""
        payload = await self._account(lambda client: client.futures_account_config(), "the position mode", 5)
        mode: PositionMode = self._wire.parsed("the position mode", account.position_mode, payload)
        return mode

    async def positions(self, symbol: str | None = None) -> tuple[Position, ...]:
        """Return the open positions; flat ones are left out."""
        return self._positions(await self._position_rows(symbol))

    async def holdings(self) -> Holdings:
        """Return the open positions and the position mode, which is asked for only where no row shows it."""
        payload = await self._position_rows(None)
        found = self._positions(payload)
        shown: PositionMode | None = self._wire.parsed("the positions", account.mode_shown, payload)
        return Holdings(await self.position_mode() if shown is None else shown, found)

    async def _position_rows(self, symbol: str | None) -> object:
        params = _for(symbol)
        return await self._account(lambda client: client.futures_position_information(**params), "the positions", 5)

    def _positions(self, payload: object) -> tuple[Position, ...]:
        found: tuple[Position, ...] = self._wire.parsed("the positions", account.positions, payload)
        return found

    async def open_orders(self, symbol: str | None = None) -> tuple[LiveOrder, ...]:
        """Return the open orders of both books; weight 1 + 1 with a symbol, 40 + 40 without.

        The conditional book is read first: an order that triggers between the two reads is then seen twice, once in
        each book, where the other way round it would be seen in neither.
        """
        params = _for(symbol)
        weight = 1 if symbol else 40
        what = "the conditional orders"
        payload = await self._account(lambda client: client.futures_get_open_algo_orders(**params), what, weight)
        parse = partial(self._algo_list.orders, whole=symbol is None)
        algo: tuple[LiveOrder, ...] = self._wire.parsed(what, parse, payload)
        what = "the open orders"
        payload = await self._account(lambda client: client.futures_get_open_orders(**params), what, weight)
        regular: tuple[LiveOrder, ...] = self._wire.parsed(what, orders.regular_orders, payload)
        return algo + regular

    async def find_order(self, symbol: str, client_id: str, book: Book) -> LiveOrder | None:
        """Return the order with this client id, or None where the exchange knows of none.

        None is no proof: reads lag by a second or two, and old orders vanish (reliability F7).
        """
        what = f"the order {client_id}"
        params = find_params(symbol, client_id, book)
        if book is Book.ALGO:
            outcome = await self._protect(lambda client: client.futures_get_algo_order(**params))
        else:
            outcome = await self._protect(lambda client: client.futures_get_order(**params))
        if isinstance(outcome, Failure):
            if outcome.code == NO_SUCH_ORDER:
                return None
            raise as_error(outcome, what)
        parse = orders.algo_order if book is Book.ALGO else orders.regular_order
        found: LiveOrder = self._wire.parsed(what, parse, outcome)
        return found

    async def fills(self, symbol: str, since: Millis) -> tuple[Fill, ...]:
        """Return the account's executions of a symbol since a time, oldest first.

        They name orders by exchange id only; `client_id` is empty. The exchange keeps three months.
        """
        if self._clock.due():
            await self._wire.synchronise()
        found: dict[int, Fill] = {}
        start = since
        while True:
            now = self._clock.now()
            end = min(start + _TRADES_WINDOW - 1, max(now, start))
            page = await self._trades(symbol, start, end)
            found.update((fill.trade_id, fill) for fill in page)
            if len(page) >= _TRADES_LIMIT:
                last = page[-1].at
                if last <= start:
                    raise UnavailableError(
                        f"the fills of {symbol}: more in one millisecond than the exchange lists", "read a shorter time"
                    )
                start = last
            elif end >= now:
                return tuple(sorted(found.values(), key=lambda fill: (fill.at, fill.trade_id)))
            else:
                start = end + 1

    async def symbol_config(self, symbol: str) -> SymbolConfig | Unavailable:
        """Return leverage and margin mode (v3 positionRisk has neither)."""
        what = f"the settings of {symbol}"
        payload = await self._routine(lambda client: client.futures_symbol_config(symbol=symbol), what, 5)
        config: SymbolConfig | Unavailable = self._wire.parsed(what, account.symbol_config, payload, symbol)
        return config

    async def wallet(self, asset: str) -> Wallet | Unavailable:
        """Return the balances of a margin asset (v3 account)."""
        payload = await self._routine(lambda client: client.futures_account(version=3), "the account", 5)
        found: Wallet | Unavailable = self._wire.parsed("the account", account.wallet, payload, asset)
        return found

    async def fees(self, symbol: str) -> Fees | Unavailable:
        """Return the account's commission rates."""
        what = f"the fees of {symbol}"
        payload = await self._routine(lambda client: client.futures_commission_rate(symbol=symbol), what, 20)
        rates: Fees | Unavailable = self._wire.parsed(what, account.fees, payload, symbol)
        return rates

    async def instruments(self) -> dict[str, Instrument]:
        """Return the trading rules of every symbol, and take the rate limits stated with them."""
        what = "the trading rules"
        payload = await self._wire.read(
            lambda client: client.futures_exchange_info(), what, weight=1, lane=Lane.ROUTINE, signed=False
        )
        self.budget.set_limits(*self._wire.parsed(what, account.weight_limits, payload))
        rules: dict[str, Instrument] = self._rules(what, parse_instruments, payload)
        return rules

    async def brackets(self, symbol: str) -> tuple[Bracket, ...] | Unavailable:
        """Return the leverage brackets of a symbol, lowest first."""
        what = f"the leverage brackets of {symbol}"
        payload = await self._routine(lambda client: client.futures_leverage_bracket(symbol=symbol), what, 1)
        tables: dict[str, tuple[Bracket, ...]] = self._rules(what, parse_brackets, payload)
        return tables.get(symbol) or Unavailable(f"the exchange gave no leverage brackets of {symbol}")

    async def candles(self, symbol: str, interval: str, limit: int) -> tuple[Candle, ...]:
        """Return the newest closed candles, oldest first; the open candle, always the last row, is left out."""
        what = f"the candles of {symbol}"
        found: tuple[Candle, ...] = ()
        wanted, until = limit + 1, None
        while wanted > 0:
            count = min(wanted, _KLINES_LIMIT)
            params = {"symbol": symbol, "interval": interval, "limit": str(count)}
            if until is not None:
                params["endTime"] = str(until)
            payload = await self._klines(params, what, count)
            page: tuple[Candle, ...] = self._wire.parsed(what, account.candles, payload)
            found = page + found
            wanted -= count
            if len(page) < count:
                break
            until = page[0].at - 1
        return found[:-1][-limit:] if limit > 0 else ()

    async def quote_volume(self, symbol: str) -> Decimal | Unavailable:
        """Return the 24 h quote volume."""
        what = f"the ticker of {symbol}"
        payload = await self._wire.read(
            lambda client: client.futures_ticker(symbol=symbol), what, weight=1, lane=Lane.ROUTINE, signed=False
        )
        volume: Decimal | Unavailable = self._wire.parsed(what, account.quote_volume, payload)
        return volume

    async def premium(self, symbol: str) -> Premium:
        """Return mark price and next funding (premiumIndex, public)."""
        what = f"the mark price of {symbol}"
        payload = await self._wire.read(
            lambda client: client.futures_mark_price(symbol=symbol), what, weight=1, lane=Lane.ROUTINE, signed=False
        )
        found: Premium = self._wire.parsed(what, account.premium, payload)
        return found

    async def last_price(self, symbol: str) -> Decimal:
        """Return the newest trade's price (public)."""
        what = f"the price of {symbol}"
        payload = await self._wire.read(
            lambda client: client.futures_symbol_ticker(symbol=symbol), what, weight=1, lane=Lane.ROUTINE, signed=False
        )
        price: Decimal = self._wire.parsed(what, account.last_price, payload)
        return price

    async def top_of_book(self, symbol: str) -> TopOfBook:
        """Return the best prices of the book (public)."""
        what = f"the book of {symbol}"
        payload = await self._wire.read(
            lambda client: client.futures_orderbook_ticker(symbol=symbol),
            what,
            weight=2,
            lane=Lane.ROUTINE,
            signed=False,
        )
        found: TopOfBook = self._wire.parsed(what, account.top_of_book, payload)
        return found

    async def funding_fees(self, since: Millis) -> tuple[FundingFee, ...]:
        """Return the account's funding payments since a time, oldest first (income, weight 30 a page)."""
        what = "the funding payments"
        found: list[FundingFee] = []
        start = since
        while True:
            params = {"incomeType": "FUNDING_FEE", "startTime": str(start), "limit": str(_INCOME_LIMIT)}
            payload = await self._income(params, what)
            page: tuple[FundingFee, ...] = self._wire.parsed(what, account.funding_fees, payload)
            if len(page) < _INCOME_LIMIT:
                return (*found, *page)
            # The next page starts with the newest millisecond again, so that none of its payments is missed or doubled.
            last = max(fee.at for fee in page)
            if last <= start:
                raise UnavailableError(f"{what}: more in one millisecond than the exchange lists", "read fewer symbols")
            found += [fee for fee in page if fee.at < last]
            start = last

    async def key_rights(self) -> KeyRights | Unavailable:
        """Return what the key may do; unavailable where the exchange has no such answer (demo, the twin)."""
        if self.endpoints.rights is None:
            return Unavailable(f"{self.endpoints.env} does not tell the rights of a key")
        what = "the rights of the key"
        payload = await self._account(lambda client: client.get_account_api_permissions(), what, 1)
        rights: KeyRights = self._wire.parsed(what, account.key_rights, payload)
        return rights

    async def start_listen_key(self) -> str:
        """Return the key of the account's user stream, new or the one still valid, extended by an hour."""
        what = "the listen key"
        # The client's own method indexes the answer unchecked; this is the same call with the answer left whole.
        payload = await self._wire.read(_post_listen_key, what, weight=1, lane=Lane.ACCOUNT, signed=False)
        return str(self._wire.parsed(what, lambda answer: text(row(answer, what), "listenKey"), payload))

    async def keep_listen_key(self, key: str) -> None:
        """Extend the key by an hour; raises `ExchangeRejected` with code -1125 where the exchange forgot it."""
        outcome = await self._wire.attempt(
            lambda client: client.futures_stream_keepalive(key), weight=1, lane=Lane.ACCOUNT, signed=False
        )
        if not isinstance(outcome, Failure):
            return
        if outcome.code == UNKNOWN_LISTEN_KEY:
            raise ExchangeRejected("the exchange forgot the listen key", "ask for a new one", outcome.code)
        raise as_error(outcome, "the listen key")

    async def _account(self, send: Send, what: str, weight: int) -> Any:
        return await self._wire.read(send, what, weight=weight, lane=Lane.ACCOUNT)

    async def _routine(self, send: Send, what: str, weight: int) -> Any:
        return await self._wire.read(send, what, weight=weight, lane=Lane.ROUTINE)

    async def _protect(self, send: Send) -> Any:
        return await self._wire.attempt(send, weight=1, lane=Lane.PROTECT)

    async def _trades(self, symbol: str, start: Millis, end: Millis) -> tuple[Fill, ...]:
        what = f"the fills of {symbol}"
        params = {"symbol": symbol, "startTime": str(start), "endTime": str(end), "limit": str(_TRADES_LIMIT)}
        payload = await self._account(lambda client: client.futures_account_trades(**params), what, 5)
        page: tuple[Fill, ...] = self._wire.parsed(what, orders.fills, payload)
        return tuple(sorted(page, key=lambda fill: (fill.at, fill.trade_id)))

    async def _income(self, params: Params, what: str) -> Any:
        return await self._routine(lambda client: client.futures_income_history(**params), what, 30)

    async def _klines(self, params: Params, what: str, count: int) -> Any:
        weight = 1 if count < 100 else 2 if count < 500 else 5 if count <= 1000 else 10
        return await self._wire.read(
            lambda client: client.futures_klines(**params), what, weight=weight, lane=Lane.ROUTINE, signed=False
        )

    def _rules(self, what: str, parse: Callable[[Any], Any], payload: Any) -> Any:
        """Parse rules, whose reader speaks of a wrong shape with errors of its own."""
        try:
            return parse(payload)
        except TpctlError as error:
            reason = error.message
        except (Malformed, ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            reason = type(error).__name__
        raise UnavailableError(f"{what}: the answer is malformed: {reason}", "the exchange may have changed its format")


class ShadowExchange(BinanceReader):
    """An account that decides as an armed one does and sends nothing: its session cannot carry an order (I13)."""

    async def submit(self, admitted: Admitted) -> Answer:  # noqa: ARG002 - ports.Exchange
        """Withhold the order."""
        return Withheld("shadow mode")


class BinanceExchange(BinanceReader):
    """The account with the power to act, through the guard only."""

    _read_only = False

    async def submit(self, admitted: Admitted) -> Answer:
        """Send one admitted intent and return its outcome; raises only `CredentialsError`, after which nothing is sent.

        Sent again with the same id only where the exchange says it never reached a book: an overload, a refused clock.
        """
        order = wire_order(admitted.intent, admitted.mode)
        placing = not isinstance(admitted.intent, CancelOrder)
        try:
            outcome = await self._wire.attempt(
                _sender(order), weight=0 if placing else 1, lane=_lane(admitted.intent), orders=1 if placing else 0
            )
        except RateLimitedError as error:
            # A ban, a request to wait, or our own share kept it from being sent.
            return Refused(TOO_MANY_REQUESTS if self.budget.blocked else TOO_MANY_ORDERS, error.message)
        if isinstance(outcome, Failure):
            return as_answer(outcome)
        return _accepted(order.operation, outcome)


def _lane(intent: OrderIntent) -> Lane:
    # Stops, cancels and reductions never wait for the budget; a take-profit may: the stop guards its position.
    return Lane.ROUTINE if isinstance(intent, PlaceTakeProfit) else Lane.PROTECT


def _sender(order: WireOrder) -> Send:
    params = order.params
    match order.operation:
        case Operation.PLACE_ALGO:
            return lambda client: client.futures_create_algo_order(**params)
        case Operation.PLACE_REGULAR:
            return lambda client: client.futures_create_order(**params)
        case Operation.CANCEL_ALGO:
            return lambda client: client.futures_cancel_algo_order(**params)
        case Operation.CANCEL_REGULAR:
            return lambda client: client.futures_cancel_order(**params)


def _accepted(operation: Operation, payload: Any) -> Accepted | Unknown:
    """Read a success. One that cannot be read proves nothing: the order must be looked up."""
    try:
        match operation:
            case Operation.PLACE_ALGO:
                return Accepted(orders.algo_order(payload))
            case Operation.PLACE_REGULAR:
                return Accepted(orders.regular_order(payload))
            case Operation.CANCEL_ALGO:
                orders.cancelled_algo(payload)
            case Operation.CANCEL_REGULAR:
                orders.regular_order(payload)
    except Malformed as error:
        return Unknown(f"the answer cannot be read: {error}")
    return Accepted(None)


def _for(symbol: str | None) -> dict[str, str]:
    return {} if symbol is None else {"symbol": symbol}


async def _post_listen_key(client: Any) -> Any:
    return await client._request_futures_api("post", "listenKey", signed=False, data={})
