"""Where `risk` has its candles, positions and account from: the profile's exchange.

Composition of readers only; nothing here measures or sends.
"""

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

from tpctl.adapters.binance.client import BinanceReader
from tpctl.adapters.binance.clock import EventClock, ExchangeClock, StampClock
from tpctl.adapters.binance.endpoints import DEMO, LIVE, Endpoints, twin
from tpctl.adapters.binance.market_pages import MarketPages
from tpctl.adapters.candle_cache import PAGE_ROWS, CandleCache, Progress
from tpctl.adapters.credentials import load_credentials
from tpctl.adapters.secrets import Secret
from tpctl.adapters.streams.discover import discover
from tpctl.cli.candles import candle_cache
from tpctl.cli.options import Speed
from tpctl.cli.risk_options import RiskOptions
from tpctl.engine.context import ContextSource
from tpctl.engine.risk_context import RiskContext, resting_stops
from tpctl.exits.errors import InputsError, TpctlError, UsageError
from tpctl.exits.model import Position, PositionKey
from tpctl.exits.planner import PlanRequest, plan_exits
from tpctl.exits.units import Millis, Price
from tpctl.market.bars import MINUTE_MS
from tpctl.market.risk.measurement import Measurement
from tpctl.ports import Candle
from tpctl.settings.schema import Env, Settings

_TWIN_KEY = "sim"
_REAL_TIME = Decimal(1)


@dataclass(frozen=True, slots=True)
class Desk:
    """An exchange that can be read: its account, its candles, its clock."""

    env: Env
    reader: BinanceReader
    pages: MarketPages
    cache: CandleCache
    clock: StampClock


@asynccontextmanager
async def open_desk(venue: str | None, settings: Settings) -> AsyncIterator[Desk]:
    """Connect to the profile's exchange for as long as the context lasts; in sim to a twin, the one at `venue`."""
    env = settings.profile.env
    if env is not Env.SIM and venue is not None:
        raise UsageError(f"profile {settings.name!r} has no simulated market", "leave --venue out")
    async with AsyncExitStack() as stack:
        key, secret = _keys(settings)
        endpoints, clock = await _exchange(venue, env, stack)
        reader = BinanceReader(endpoints, clock, key=key, secret=secret)
        stack.push_async_callback(reader.close)
        pages = MarketPages(endpoints, clock, reader.budget)
        stack.push_async_callback(pages.close)
        if not isinstance(clock, EventClock):
            await reader.server_time()
        yield Desk(env, reader, pages, candle_cache(env, pages), clock)


def _keys(settings: Settings) -> tuple[Secret, Secret]:
    if settings.profile.env is Env.SIM:
        return Secret(_TWIN_KEY), Secret(_TWIN_KEY)
    found = load_credentials(settings.name, settings.profile)
    if found.warning:
        sys.stderr.write(f"warning: {found.warning}\n")
    return found.key, found.secret


async def _exchange(url: str | None, env: Env, stack: AsyncExitStack) -> tuple[Endpoints, StampClock]:
    if env is not Env.SIM:
        return (LIVE if env is Env.LIVE else DEMO), ExchangeClock()
    if url is None:
        from tpctl.cli.twin import TwinOptions, open_twin

        # The market stands at its first step for as long as this takes: the same command measures the same.
        served = await stack.enter_async_context(open_twin(TwinOptions(speed=Speed(_REAL_TIME))))
        url = served.url
    status = await discover(url)
    return twin(url), EventClock(status.now) if status.speed is None else ExchangeClock(speed=status.speed)


async def measure_exchange(options: RiskOptions, desk: Desk, progress: Progress | None) -> Measurement:
    """Return what the profile's exchange shows: the usual basket, the open book, the account.

    Raises `InputsError` for a named symbol that the exchange does not list.
    """
    listed = await desk.reader.instruments() if options.symbols else {}
    unknown = next((symbol for symbol in options.symbols if symbol not in listed), None)
    if unknown is not None:
        raise InputsError(f"the exchange lists no symbol {unknown!r}", "check the symbol and the profile's env")
    stops = await _resting(desk.reader)
    context = RiskContext(
        desk.reader,
        desk.cache,
        desk.clock,
        funding=desk.pages.daily_funding,
        stops=stops.get,
        extra=options.symbols,
        window_days=options.window_days,
        level=options.level,
    )
    return await context.gather(progress)


async def read_exchange(options: RiskOptions, settings: Settings) -> Measurement:
    """Return what the profile's exchange shows, with progress on a terminal."""
    show = sys.stderr.isatty() and not options.shared.quiet
    async with open_desk(options.venue, settings) as desk:
        asked = await measure_exchange(options, desk, progress_line(sys.stderr.write) if show else None)
        if show:
            sys.stderr.write("\r\x1b[K")
        if not options.shared.quiet:
            sys.stderr.writelines(f"warning: {text}\n" for text in desk.cache.warnings)
        return asked


async def _resting(reader: BinanceReader) -> dict[PositionKey, Price]:
    """Return the stops that rest; where orders cannot be read none is known, and the readings say so."""
    try:
        positions = await reader.positions()
        orders = [
            order
            for symbol in dict.fromkeys(position.key.symbol for position in positions)
            for order in await reader.open_orders(symbol)
        ]
    except TpctlError:
        return {}
    return resting_stops(orders)


async def planned_stops(desk: Desk, settings: Settings) -> dict[PositionKey, Price]:
    """Return the stop the exit rules plan for each open position; a position that cannot be planned has none."""
    contexts = ContextSource(desk.reader, desk.clock, settings.inputs)
    found = {}
    for position in await desk.reader.positions():
        try:
            found[position.key] = await _planned(position, contexts, settings)
        except InputsError as error:
            sys.stderr.write(f"warning: {position.key} has no planned stop: {error.message}\n")
    return found


async def _planned(position: Position, contexts: ContextSource, settings: Settings) -> Price:
    read = await contexts.read(position.key)
    request = PlanRequest(
        key=position.key,
        quantity=position.quantity,
        entry=position.entry_price,
        mark=position.mark_price,
        instrument=read.instrument,
        context=read.context,
        anchor_stop_at_mark=True,
    )
    return plan_exits(request, settings.exits).stop


async def fetched_crash(
    desk: Desk, symbols: Sequence[str], since: Millis, until: Millis
) -> tuple[int, dict[str, list[Candle]]]:
    """Return the exchange's one-minute candles of a crash; a symbol it does not know has none."""
    found: dict[str, list[Candle]] = {}
    for symbol in dict.fromkeys(symbols):
        rows: list[Candle] = []
        cursor = since
        while cursor < until:
            try:
                page = await desk.pages.candle_page(symbol, "1m", cursor, PAGE_ROWS)
            except TpctlError as error:
                sys.stderr.write(f"warning: {error.message}\n")
                break
            wanted = [candle for candle in page if cursor <= candle.at < until]
            rows += wanted
            if not wanted or len(page) < PAGE_ROWS:
                break
            cursor = wanted[-1].at + MINUTE_MS
        if rows:
            found[symbol] = rows
    return MINUTE_MS, found


def progress_line(write: Callable[[str], object]) -> Progress:
    """Return a progress that redraws one line: what has been fetched of how many symbols."""
    seen: dict[str, tuple[int, int]] = {}

    def show(symbol: str, done: int, total: int) -> None:
        seen[symbol] = (done, total)
        have, want = sum(d for d, _ in seen.values()), sum(t for _, t in seen.values())
        write(f"\rcandles: {have} of {want} of {len(seen)} symbols  ")

    return show
