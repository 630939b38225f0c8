"""Planning inputs: what a plan may know beside the position, read from the exchange or set by the operator.

Each reading fails on its own: what cannot be read is `Unavailable` with its reason, and the plan says so. Values the
configuration gives win over measured ones. Market readings are kept for a while, so that ten positions in one symbol's
neighbourhood do not cost ten reads; leverage, wallet and position are read fresh.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from tpctl.engine.elapsed import passed
from tpctl.engine.plan_request import BASE_FEES, without_given
from tpctl.exits.errors import InputsError, TpctlError
from tpctl.exits.events import ContextRead
from tpctl.exits.instrument import Bracket, Instrument, Unavailable
from tpctl.exits.liquidation import maintenance
from tpctl.exits.model import Context, MarginMode, Position, PositionKey, RiskReadings, Suggestion
from tpctl.exits.units import ZERO, Millis, Money
from tpctl.market.timeframes import FAST, FAST_CANDLES, SLOW, SLOW_CANDLES, Choice, choose, views_of
from tpctl.ports import AccountReader, Clock, Fees, SymbolConfig
from tpctl.settings.schema import InputSettings

T = TypeVar("T")

_MARKET_AGE_MS = 600_000
_RULES_AGE_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class _Market:
    at: Millis
    choice: Choice
    quote_volume: Money | Unavailable


async def no_policy(_: PositionKey) -> Suggestion | Unavailable:
    """Say that no learned policy has a say."""
    return Unavailable("no policy is promoted")


class ContextSource:
    """Reads `ContextRead` events for positions. `risk` tells the newest measurement, in no time.

    `suggest` tells what the learned policy in use makes of a position.
    """

    def __init__(
        self,
        reader: AccountReader,
        clock: Clock,
        given: InputSettings,
        risk: Callable[[], RiskReadings | Unavailable] = lambda: Unavailable("it is not measured here"),
        suggest: Callable[[PositionKey], Awaitable[Suggestion | Unavailable]] = no_policy,
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._given = given
        self._risk = risk
        self._suggest = suggest
        self._instruments: dict[str, Instrument] = {}
        self._instruments_at: Millis | None = None
        self._market: dict[str, _Market] = {}
        self._brackets: dict[str, tuple[Bracket, ...] | Unavailable] = {}
        self._fees: dict[str, Fees | Unavailable] = {}

    def give(self, given: InputSettings) -> None:
        """Take other values of the operator from now on."""
        self._given = given

    async def read(self, key: PositionKey) -> ContextRead:
        """Return rules and inputs for one position.

        Raises `TpctlError` where the trading rules cannot be read: without them no order can be formed.
        """
        instrument = await self.instrument(key.symbol)
        market, config, brackets, positions, fees, suggestion = await asyncio.gather(
            self._market_of(key.symbol),
            _reading(lambda: self._reader.symbol_config(key.symbol)),
            self._brackets_of(key.symbol),
            _reading(self._reader.positions),
            self._fees_of(key.symbol),
            self._suggest(key),
        )
        position = _find(positions, key)
        margin = config.margin if isinstance(config, SymbolConfig) else MarginMode.CROSS
        given = self._given.values_for(key.symbol)
        rates = BASE_FEES if isinstance(fees, Unavailable) else fees
        context = Context(
            leverage=_leverage(config, position),
            margin=margin,
            volatility=market.choice.volatility if given.volatility is None else given.volatility,
            regime=market.choice.regime if given.regime is None else given.regime,
            confidence=Unavailable("no confidence is set") if given.confidence is None else given.confidence,
            quote_volume=market.quote_volume,
            atr=market.choice.atr,
            taker_fee=rates.taker,
            maker_fee=rates.maker,
            brackets=brackets,
            wallet=await self._wallet(instrument, margin, key, position, positions),
            risk=self._risk(),
            fees_assumed=fees if isinstance(fees, Unavailable) else None,
            views=without_given(market.choice.reasons, given.volatility, given.regime),
            suggestion=suggestion,
        )
        mark = position.mark_price if isinstance(position, Position) and position.mark_price > 0 else None
        return ContextRead(self._clock.now(), key, instrument, context, mark)

    async def instrument(self, symbol: str) -> Instrument:
        """Return a symbol's trading rules, at most an hour old; an unknown symbol forces a fresh read first."""
        read_at = self._instruments_at
        old = read_at is None or passed(self._clock.now(), read_at, _RULES_AGE_MS)
        if old or symbol not in self._instruments:
            self._instruments = await self._reader.instruments()
            self._instruments_at = self._clock.now()
        found = self._instruments.get(symbol)
        if found is None:
            raise InputsError(f"the exchange lists no symbol {symbol!r}", "check the symbol and the profile's env")
        return found

    def forget_rules(self) -> None:
        """Read the trading rules again at the next use: the exchange refused a price or a quantity (reliability O4)."""
        self._instruments_at = None

    async def _market_of(self, symbol: str) -> _Market:
        known = self._market.get(symbol)
        now = self._clock.now()
        if known is not None and not passed(now, known.at, _MARKET_AGE_MS):
            return known
        fast, slow, volume = await asyncio.gather(
            _reading(lambda: self._reader.candles(symbol, FAST, FAST_CANDLES)),
            _reading(lambda: self._reader.candles(symbol, SLOW, SLOW_CANDLES)),
            _reading(lambda: self._reader.quote_volume(symbol)),
        )
        market = _Market(now, choose(views_of(fast, slow)), volume)
        self._market[symbol] = market
        return market

    async def _brackets_of(self, symbol: str) -> tuple[Bracket, ...] | Unavailable:
        if not isinstance(self._brackets.get(symbol), tuple):
            self._brackets[symbol] = await _reading(lambda: self._reader.brackets(symbol))
        return self._brackets[symbol]

    async def _fees_of(self, symbol: str) -> Fees | Unavailable:
        if not isinstance(self._fees.get(symbol), Fees):
            self._fees[symbol] = await _reading(lambda: self._reader.fees(symbol))
        return self._fees[symbol]

    async def _wallet(
        self,
        instrument: Instrument,
        margin: MarginMode,
        key: PositionKey,
        position: Position | Unavailable,
        positions: tuple[Position, ...] | Unavailable,
    ) -> Money | Unavailable:
        """Return WB - TMM + UPNL of exit-rules 15: TMM and UPNL are of the other cross positions."""
        if isinstance(positions, Unavailable):
            return Unavailable("the positions could not be read")
        if margin is MarginMode.ISOLATED:
            return position if isinstance(position, Unavailable) else position.isolated_wallet
        wallet = await _reading(lambda: self._reader.wallet(instrument.margin_asset))
        if isinstance(wallet, Unavailable):
            return wallet
        total = wallet.cross_wallet
        for other in positions:
            if other.key == key or other.isolated_wallet > 0:
                continue
            brackets = await self._brackets_of(other.key.symbol)
            if isinstance(brackets, Unavailable):
                return Unavailable(f"leverage brackets of {other.key.symbol}: {brackets.reason}")
            total += other.unrealised - maintenance(other.notional, brackets)
        return total if total > ZERO else Unavailable("the wallet is below the other positions' needs")


async def _reading(read: Callable[[], Awaitable[T]]) -> T | Unavailable:
    try:
        return await read()
    except TpctlError as error:
        return Unavailable(error.message)


def _find(positions: tuple[Position, ...] | Unavailable, key: PositionKey) -> Position | Unavailable:
    if isinstance(positions, Unavailable):
        return positions
    for position in positions:
        if position.key == key:
            return position
    return Unavailable("the position is not in the account")


def _leverage(config: SymbolConfig | Unavailable, position: Position | Unavailable) -> Decimal | Unavailable:
    """Return the leverage from the symbol's configuration, or notional over initial margin; never assumed."""
    if isinstance(config, SymbolConfig):
        return config.leverage
    if isinstance(position, Position) and position.initial_margin > 0:
        return (position.notional / position.initial_margin).quantize(Decimal("0.1"))
    return Unavailable(config.reason)
