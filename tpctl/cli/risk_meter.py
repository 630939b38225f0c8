"""The risk meter of a running watch: what it measures from, and how often."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from tpctl.adapters.binance.client import BinanceReader
from tpctl.adapters.binance.clock import StampClock
from tpctl.adapters.binance.endpoints import Endpoints
from tpctl.adapters.binance.market_pages import MarketPages
from tpctl.cli.candles import INTERVAL_MS, candle_cache
from tpctl.engine.risk_context import LOOKBACK_DAYS, MAX_AGE_MS, TTL_MS, RiskContext
from tpctl.exits.model import PositionKey
from tpctl.exits.units import Price
from tpctl.settings.schema import Env


def open_risk_meter(
    env: Env,
    endpoints: Endpoints,
    clock: StampClock,
    reader: BinanceReader,
    stops: Callable[[PositionKey], Price | None],
    stack: AsyncExitStack,
    *,
    lockstep: bool,
) -> RiskContext:
    """Return the meter of an account, through the reader's request budget.

    Where event time stands still between events it measures at every candle's close, and never waits for the budget:
    that would not refill.
    """
    pages = MarketPages(endpoints, clock, reader.budget)
    stack.push_async_callback(pages.close)
    return RiskContext(
        reader,
        candle_cache(env, pages, patient=not lockstep),
        clock,
        funding=pages.daily_funding,
        stops=stops,
        # What shapes exits looks back no farther; only value at risk would.
        window_days=LOOKBACK_DAYS,
        ttl_ms=INTERVAL_MS if lockstep else TTL_MS,
        max_age_ms=2 * INTERVAL_MS if lockstep else MAX_AGE_MS,
    )
