"""How `plan` reaches an exchange, and the readers it looks through. Nothing here can send an order."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from tpctl.adapters.binance.client import BinanceReader
from tpctl.adapters.binance.clock import EventClock, ExchangeClock, StampClock
from tpctl.adapters.binance.endpoints import DEMO, LIVE, Endpoints, twin
from tpctl.adapters.binance.rule_fetch import fetch_rules
from tpctl.adapters.binance.wire import Send
from tpctl.adapters.binance_map.params import Params
from tpctl.adapters.credentials import load_credentials
from tpctl.adapters.files import account_fingerprint
from tpctl.adapters.rulebook import RuleBook
from tpctl.adapters.secrets import Secret
from tpctl.adapters.streams.discover import discover
from tpctl.cli.options import Entries, Speed
from tpctl.cli.plan_options import PlanOptions
from tpctl.cli.rule_sources import built_in_rules, rule_cache
from tpctl.engine.context import ContextSource
from tpctl.exits.errors import CredentialsError, RateLimitedError
from tpctl.exits.instrument import Instrument, Unavailable
from tpctl.exits.model import PositionKey, RiskReadings, Suggestion
from tpctl.exits.units import Millis
from tpctl.ports import Candle
from tpctl.settings.schema import Env, InputSettings, Settings

_TWIN_KEY = "sim"
_REAL_TIME = Decimal(1)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a run; without them only what is public can be read."""

    key: Secret | None
    secret: Secret | None


class Reader(BinanceReader):
    """One look at an account: candles are read once for all who ask.

    A plan made while the exchange limits us would lack inputs that are there: `limited` is why it is not made at all.
    """

    def __init__(self, endpoints: Endpoints, clock: StampClock, keys: Keys) -> None:
        super().__init__(endpoints, clock, key=keys.key, secret=keys.secret)
        self.limited: RateLimitedError | None = None
        self._seen: dict[tuple[str, str, int], tuple[Candle, ...]] = {}

    async def candles(self, symbol: str, interval: str, limit: int) -> tuple[Candle, ...]:
        """Return the newest closed candles, oldest first."""
        look = (symbol, interval, limit)
        if look not in self._seen:
            self._seen[look] = await super().candles(symbol, interval, limit)
        return self._seen[look]

    async def _routine(self, send: Send, what: str, weight: int) -> Any:
        return await self._noted(super()._routine(send, what, weight))

    async def _account(self, send: Send, what: str, weight: int) -> Any:
        return await self._noted(super()._account(send, what, weight))

    async def _klines(self, params: Params, what: str, count: int) -> Any:
        return await self._noted(super()._klines(params, what, count))

    async def _noted(self, read: Awaitable[Any]) -> Any:
        try:
            return await read
        except RateLimitedError as error:
            self.limited = error
            raise


class Contexts(ContextSource):
    """Planning inputs by the run's rule book, with the risk measured once for all plans of the run."""

    def __init__(
        self,
        reader: BinanceReader,
        clock: StampClock,
        given: InputSettings,
        book: RuleBook,
        risk: RiskReadings | Unavailable,
        suggest: Callable[[PositionKey], Awaitable[Suggestion | Unavailable]],
    ) -> None:
        super().__init__(reader, clock, given, lambda: risk, suggest)
        self._book = book

    async def instrument(self, symbol: str) -> Instrument:
        """Return a symbol's trading rules; raises `InputsError` with the nearest names where there are none."""
        return self._book.instrument(symbol)


def account_of(env: Env, keys: Keys) -> str:
    """Return what seeds the ids of an account's orders; without keys any account of the environment."""
    return env.value if keys.key is None else account_fingerprint(env.value, keys.key.reveal())


def keys_of(settings: Settings, *, required: bool) -> Keys:
    """Return the profile's keys; without any, none where they are not required."""
    if settings.profile.env is Env.SIM:
        return Keys(Secret(_TWIN_KEY), Secret(_TWIN_KEY))
    try:
        found = load_credentials(settings.name, settings.profile)
    except CredentialsError:
        if required:
            raise
        return Keys(None, None)
    return Keys(found.key, found.secret)


async def exchange_of(options: PlanOptions, env: Env, stack: AsyncExitStack) -> tuple[Endpoints, StampClock]:
    """Return where the exchange is and in whose time; in sim without an address a twin is served for this run."""
    if env is not Env.SIM:
        return (LIVE if env is Env.LIVE else DEMO), ExchangeClock()
    url = options.venue or await _embedded(options, stack)
    status = await discover(url)
    clock = EventClock(status.now) if status.speed is None else ExchangeClock(speed=status.speed)
    return twin(url), clock


async def _embedded(options: PlanOptions, stack: AsyncExitStack) -> str:
    from tpctl.cli.twin import TwinOptions, open_twin

    # The market stands at its first step for as long as a plan takes, so that the same command gives the same plan.
    shape = TwinOptions(speed=Speed(_REAL_TIME))
    if options.given.hypothetical:
        book = built_in_rules()
        symbols = tuple(book.instrument(book.spelled(name)).symbol for name in options.symbols)
        shape = replace(shape, symbols=symbols, entries=Entries())
    served = await stack.enter_async_context(open_twin(shape))
    return served.url


async def rules_of(options: PlanOptions, env: Env, endpoints: Endpoints, keys: Keys, now: Millis) -> RuleBook:
    """Return the rules of the exchange that is traded on: named files win, the twin is asked, others are cached."""
    if options.rules is not None:
        return RuleBook.from_files(options.rules, options.brackets)
    if env is Env.SIM:
        fetched = await fetch_rules(endpoints, key=keys.key, secret=keys.secret)
        return RuleBook.from_payload(fetched.exchange_info, fetched.brackets, origin="the twin's rule book")
    return await rule_cache(env.value).current(lambda: fetch_rules(endpoints, key=keys.key, secret=keys.secret), now)


async def measured_risk(
    env: Env, endpoints: Endpoints, clock: StampClock, reader: BinanceReader, stack: AsyncExitStack
) -> RiskReadings | Unavailable:
    """Measure the account's risk once, on candles that are kept on disk; what cannot be read is unavailable."""
    from tpctl.engine.risk_context import NO_NUMERICS, numerics_installed

    if not numerics_installed():
        return Unavailable(NO_NUMERICS)
    from tpctl.cli.risk_meter import open_risk_meter

    lockstep = isinstance(clock, EventClock)
    meter = open_risk_meter(env, endpoints, clock, reader, lambda _: None, stack, lockstep=lockstep)
    # However long it took: at this speed of the clock it may already be too old to be kept.
    return (await meter.refresh()).exit_readings()
