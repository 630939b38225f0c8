"""Public market reads for risk: candles page by page from any time on, and funding rates.

Decides what they cost (binance-usdm 2.3) and nothing else. Needs no key.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tpctl.adapters.binance.budget import Budget, Lane
from tpctl.adapters.binance.clock import StampClock
from tpctl.adapters.binance.endpoints import Endpoints
from tpctl.adapters.binance.wire import Wire
from tpctl.adapters.binance_map import account
from tpctl.adapters.binance_map.fields import number, row, rows, text
from tpctl.exits.units import Millis
from tpctl.ports import Candle

# binance-usdm 5.1: symbols fundingInfo does not name settle every eight hours.
_USUAL_HOURS = Decimal(8)
_DAY_HOURS = Decimal(24)


class MarketPages:
    """Candles and funding of one exchange, through a budget that other readers of the address may share."""

    def __init__(self, endpoints: Endpoints, clock: StampClock, budget: Budget | None = None) -> None:
        self._wire = Wire(endpoints, clock, budget or Budget(clock))

    async def close(self) -> None:
        """Close the connections."""
        await self._wire.close()

    async def candle_page(self, symbol: str, interval: str, since: Millis, limit: int) -> tuple[Candle, ...]:
        """Return up to `limit` candles that open at `since` or later, oldest first; the newest may still be open.

        Raises `UnavailableError`, `RateLimitedError`, and `ExchangeRejected` for a symbol the exchange does not know.
        """
        what = f"the candles of {symbol}"
        params = {"symbol": symbol, "interval": interval, "startTime": str(since), "limit": str(limit)}
        weight = 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
        payload = await self._public(lambda client: client.futures_klines(**params), what, weight)
        page: tuple[Candle, ...] = self._wire.parsed(what, account.candles, payload)
        return page

    async def daily_funding(self) -> Mapping[str, Decimal]:
        """Return what a long pays over a day at the present rates, as a fraction of notional, by symbol."""
        what = "the funding rates"
        marks = await self._public(lambda client: client.futures_mark_price(), what, 10)
        intervals = await self._public(lambda client: client.futures_v1_get_funding_info(), what, 0)
        rates: Mapping[str, Decimal] = self._wire.parsed(what, daily_rates, marks, intervals)
        return rates

    async def _public(self, send: Any, what: str, weight: int) -> Any:
        return await self._wire.read(send, what, weight=weight, lane=Lane.ROUTINE, signed=False)


def daily_rates(marks: object, intervals: object) -> dict[str, Decimal]:
    """Return rate times settlements a day from premiumIndex and fundingInfo answers; raises `Malformed`."""
    hours = {
        text(source, "symbol"): number(source, "fundingIntervalHours") for source in rows(intervals, "fundingInfo")
    }
    listed = [row(marks, "premiumIndex")] if isinstance(marks, Mapping) else rows(marks, "premiumIndex")
    found = {}
    for source in listed:
        # Dated contracts have an empty rate and pay none.
        if source.get("lastFundingRate"):
            symbol = text(source, "symbol")
            every = hours.get(symbol, _USUAL_HOURS) or _USUAL_HOURS
            found[symbol] = number(source, "lastFundingRate") * _DAY_HOURS / every
    return found
