"""The account's measured risk, kept ready for whoever decides: read in no time, refreshed beside the loop.

Decides how old a measurement may be. It is due again ten seconds after the last one and at every candle's close, and
unavailable after a minute: risk that cannot be measured must not look like the risk of a minute ago. `current` reads a
field and never waits; `refresh` does all the work, the arithmetic in a thread of its own. No failure of a read gets
out: what could not be read is unavailable, with its reason. Nothing here can block, delay or shrink a reduce. numpy is
imported by the first measurement, not with this module.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from tpctl.adapters.candle_cache import CandleCache, Progress
from tpctl.engine.elapsed import passed
from tpctl.exits.errors import InputsError, TpctlError
from tpctl.exits.instrument import Instrument, Unavailable
from tpctl.exits.model import LiveOrder, OrderStatus, Position, PositionKey, RiskReadings
from tpctl.exits.rules import LadderRules
from tpctl.exits.units import ZERO, Millis, Money, Price
from tpctl.market.bars import DAY_MS
from tpctl.market.risk.account import Account, Exposure
from tpctl.market.risk.readings import RiskReport, nothing_measured
from tpctl.ports import AccountReader, Clock

if TYPE_CHECKING:
    from tpctl.market.risk.measurement import Measurement
    from tpctl.market.risk.prices import PriceSeries

T = TypeVar("T")

# The market is measured on these, as far as the exchange lists them, and on the symbols of open positions.
USUAL_BASKET = (
    "BTCUSDT",
    "ETHUSDT",
    "BNBUSDT",
    "SOLUSDT",
    "XRPUSDT",
    "DOGEUSDT",
    "ADAUSDT",
    "TRXUSDT",
    "LINKUSDT",
    "AVAXUSDT",
    "LTCUSDT",
    "DOTUSDT",
)
TTL_MS = 10_000
MAX_AGE_MS = 60_000

# What the market's readings look back, and what value at risk needs before its first day.
LOOKBACK_DAYS, _WARM_DAYS = 45, 4
NO_NUMERICS = "measuring risk needs the risk extra"
_FUNDING_AGE_MS = 600_000
_RULES_AGE_MS = 3_600_000
_DEFAULT_ASSET = "USDT"

Funding = Mapping[str, Decimal]


class RiskContext:
    """Measures the account of `reader` over the candles of `cache`.

    `funding` reads what a long pays over a day, by symbol. `stops` tells the stop that rests for a position, as far as
    the caller knows; without it no stop is known. `basket` stands in for the usual one; `extra` is added to it. It is
    due again `ttl_ms` after a measurement, which counts for `max_age_ms`.
    """

    def __init__(
        self,
        reader: AccountReader,
        cache: CandleCache,
        clock: Clock,
        *,
        funding: Callable[[], Awaitable[Funding]] | None = None,
        stops: Callable[[PositionKey], Price | None] = lambda _: None,
        basket: Sequence[str] = USUAL_BASKET,
        extra: Sequence[str] = (),
        window_days: int = 90,
        level: Decimal = Decimal("0.95"),
        ttl_ms: int = TTL_MS,
        max_age_ms: int = MAX_AGE_MS,
    ) -> None:
        self.report: RiskReport | None = None
        self._reader = reader
        self._cache = cache
        self._clock = clock
        self._read_funding = funding
        self._stops = stops
        self._basket = tuple(dict.fromkeys((*basket, *extra)))
        self._window_days = window_days
        self._level = level
        self._ttl_ms = ttl_ms
        self._max_age_ms = max_age_ms
        self._readings: RiskReadings = nothing_measured("risk has not been measured yet")
        self._measured_at: Millis | None = None
        self._funding: Funding | Unavailable = Unavailable("funding rates were not read")
        self._funding_at: Millis | None = None
        self._instruments: dict[str, Instrument] | Unavailable = Unavailable("the trading rules were not read")
        self._instruments_at: Millis | None = None
        self._series: dict[str, tuple[bytes, PriceSeries]] = {}

    def current(self) -> RiskReadings:
        """Return the newest readings; unavailable before the first and a minute after the last measurement."""
        if self._measured_at is not None:
            age = self._clock.now() - self._measured_at
            if age > self._max_age_ms:
                return nothing_measured(f"risk was last measured {age // 1000} s ago")
        return self._readings

    def due(self) -> bool:
        """Whether it is time to measure again: ten seconds have passed, or a candle has closed since."""
        if self._measured_at is None:
            return True
        now, interval = self._clock.now(), self._cache.interval_ms
        return passed(now, self._measured_at, self._ttl_ms) or now // interval != self._measured_at // interval

    async def refresh(self) -> RiskReport:
        """Measure now. What cannot be read is unavailable in the report.

        Raises `InputsError` where the `risk` extra is not installed.
        """
        asked = await self.gather()
        report = await asyncio.to_thread(_measured, asked)
        self.report, self._readings, self._measured_at = report, report.exit_readings(), asked.at
        return report

    async def gather(self, progress: Progress | None = None) -> "Measurement":
        """Read what a measurement takes, without measuring; raises as `refresh` does."""
        require_numerics()
        positions = await _reading(self._reader.positions)
        await self._renew()
        held = () if isinstance(positions, Unavailable) else positions
        symbols = self._measurable(tuple(position.key.symbol for position in held))
        account = await self._account(positions)
        now = self._clock.now()
        since = now - (max(self._window_days, LOOKBACK_DAYS) + _WARM_DAYS) * DAY_MS
        records = await self._cache.load_all(symbols, since, now, progress)
        return await asyncio.to_thread(self._asked, records, positions, account, now)

    async def keep_fresh(self, pause_s: float = 1.0) -> None:
        """Measure whenever it is due, until cancelled: run it as a task beside the loop.

        Without the `risk` extra it ends at once, and every reading stays unavailable with that reason.
        """
        if not numerics_installed():
            self._readings = nothing_measured(NO_NUMERICS)
            return
        while True:
            if self.due():
                await self.refresh()
            await asyncio.sleep(pause_s)

    async def _renew(self) -> None:
        now = self._clock.now()
        if self._read_funding is not None and _older(self._funding_at, now, _FUNDING_AGE_MS):
            self._funding, self._funding_at = await _reading(self._read_funding), now
        if _older(self._instruments_at, now, _RULES_AGE_MS):
            self._instruments = await _reading(self._reader.instruments)
            self._instruments_at = None if isinstance(self._instruments, Unavailable) else now

    def _measurable(self, held: Sequence[str]) -> tuple[str, ...]:
        """Return the basket the exchange quotes, and the symbols of the book whether it does or not."""
        basket: Sequence[str] = self._basket
        if not isinstance(self._funding, Unavailable):
            basket = [symbol for symbol in basket if symbol in self._funding]
        return tuple(dict.fromkeys((*basket, *held)))

    async def _account(self, positions: tuple[Position, ...] | Unavailable) -> Account | Unavailable:
        if isinstance(positions, Unavailable):
            return positions
        assets = margin_assets(positions, self._instruments)
        if isinstance(assets, Unavailable):
            return assets
        total = ZERO
        for asset in assets:
            wallet = await _reading(partial(self._reader.wallet, asset))
            if isinstance(wallet, Unavailable):
                return wallet
            total += wallet.cross_wallet
        return account_of(positions, total)

    def _asked(
        self,
        records: Mapping[str, bytes | Unavailable],
        positions: tuple[Position, ...] | Unavailable,
        account: Account | Unavailable,
        now: Millis,
    ) -> "Measurement":
        from tpctl.market.risk.measurement import Measurement  # noqa: PLC0415 - numpy is an extra
        from tpctl.market.risk.prices import build_panel, from_records  # noqa: PLC0415 - numpy is an extra

        series: dict[str, PriceSeries] = {}
        unread: dict[str, str] = {}
        for symbol, block in records.items():
            if isinstance(block, Unavailable):
                unread[symbol] = block.reason
                continue
            known = self._series.get(symbol)
            if known is None or known[0] != block:
                known = (block, from_records(symbol, self._cache.interval_ms, block))
                self._series[symbol] = known
            series[symbol] = known[1]
        self._series = {symbol: self._series[symbol] for symbol in series}
        return Measurement(
            panel=build_panel(series, unread),
            exposures=exposures_of(positions, self._stops),
            account=account,
            at=now,
            level=self._level,
            funding=self._funding,
            source="exchange candles",
            window_days=self._window_days,
        )


def numerics_installed() -> bool:
    """Whether risk can be measured here: the `risk` extra brings numpy."""
    return find_spec("numpy") is not None


def require_numerics() -> None:
    """Raise `InputsError` where the `risk` extra is not installed."""
    if not numerics_installed():
        raise InputsError(NO_NUMERICS, "install it: pip install 'tpctl[risk]'")


def _measured(asked: "Measurement") -> RiskReport:
    from tpctl.market.risk.measure import measure  # noqa: PLC0415 - numpy is an extra

    return measure(asked)


def exposures_of(
    positions: tuple[Position, ...] | Unavailable, stops: Callable[[PositionKey], Price | None]
) -> tuple[Exposure, ...] | Unavailable:
    """Return positions as exposures; unavailable where one has no mark price."""
    if isinstance(positions, Unavailable):
        return positions
    unmarked = next((position for position in positions if position.mark_price <= ZERO), None)
    if unmarked is not None:
        return Unavailable(f"{unmarked.key} has no mark price")
    return tuple(
        Exposure(
            key=position.key,
            quantity=position.quantity,
            mark=position.mark_price,
            entry=position.entry_price,
            stop=stops(position.key),
            liquidation=position.liquidation_price,
        )
        for position in positions
    )


def resting_stops(orders: Sequence[LiveOrder]) -> dict[PositionKey, Price]:
    """Return the stop nearest to the market for each position, ours or foreign; only NEW orders protect."""
    found: dict[PositionKey, Price] = {}
    for order in orders:
        if order.trigger is None or not order.kind.protective or not order.reduces or order.status != OrderStatus.NEW:
            continue
        key = PositionKey(order.symbol, order.closes)
        nearest = max if key.side.sign > 0 else min
        found[key] = nearest(found.get(key, order.trigger), order.trigger)
    return found


def margin_assets(
    positions: Sequence[Position], instruments: Mapping[str, Instrument] | Unavailable
) -> tuple[str, ...] | Unavailable:
    """Return the margin assets of the positions, USDT for none; unavailable where one is not worth a dollar."""
    if not positions:
        return (_DEFAULT_ASSET,)
    if isinstance(instruments, Unavailable):
        return instruments
    dollars = LadderRules().dollar_assets
    found: dict[str, None] = {}
    for position in positions:
        rules = instruments.get(position.key.symbol)
        if rules is None:
            return Unavailable(f"the exchange lists no rules of {position.key.symbol}")
        if rules.margin_asset not in dollars:
            return Unavailable(f"{position.key.symbol} is margined in {rules.margin_asset}, not in dollars")
        found[rules.margin_asset] = None
    return tuple(found)


def account_of(positions: Sequence[Position], cross_wallets: Money) -> Account:
    """Return what the account part of stress takes; `cross_wallets` is the balance of the margin assets."""
    unrealised = sum((position.unrealised for position in positions), ZERO)
    isolated = sum((position.isolated_wallet for position in positions), ZERO)
    return Account(
        equity=cross_wallets + isolated + unrealised,
        unrealised=unrealised,
        initial_margin=sum((position.initial_margin for position in positions), ZERO),
        gross_notional=sum((position.notional for position in positions), ZERO),
    )


def _older(at: Millis | None, now: Millis, age_ms: int) -> bool:
    return at is None or now - at >= age_ms


async def _reading(read: Callable[[], Awaitable[T]]) -> T | Unavailable:
    try:
        return await read()
    except TpctlError as error:
        return Unavailable(error.message)
