"""One-minute candles of a bounded range, exact, for judging what came after an exit: from an exchange or from files.

Decides how they are asked for (page by page, within the request budget) and nothing about gaps: what is missing stays
missing, and whoever asked sees that it is.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Protocol, TypeVar

from tpctl.adapters.candle_cache import PAGE_ROWS, PageReader
from tpctl.exits.errors import InputsError, RateLimitedError
from tpctl.exits.hindsight import MINUTE_MS, Bar
from tpctl.exits.units import Millis
from tpctl.ports import Candle

T = TypeVar("T")

_LONGEST_WAIT_MS = 120_000
# Ranges that are kept: the legs of a position and positions that closed together ask for the same.
_KEPT = 6
# Files are read in pieces of this length, so that a long record costs one reading a month and not one a position.
_PIECE_MS = 31 * 24 * 60 * MINUTE_MS


class Minutes(Protocol):
    """Where one-minute candles come from."""

    async def minutes(self, symbol: str, since: Millis, until: Millis) -> Sequence[Bar]:
        """Return the candles that open in [since, until) and are closed, oldest first, as far as there are any.

        Raises `TpctlError` where they cannot be read.
        """
        ...


class PagedMinutes:
    """Candles of an exchange. `patient` waits where the request budget is used up; else that is an error."""

    def __init__(
        self,
        pages: PageReader,
        now: Callable[[], Millis],
        *,
        patient: bool,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pages = pages
        self._now = now
        self._patient = patient
        self._sleep = sleep
        self._kept: OrderedDict[str, tuple[Millis, Millis, tuple[Bar, ...]]] = OrderedDict()

    async def minutes(self, symbol: str, since: Millis, until: Millis) -> Sequence[Bar]:
        """Return the closed candles that open in [since, until)."""
        known = self._kept.get(symbol)
        if known is None or since < known[0] or until > known[1]:
            bars = tuple(await self._read(symbol, since, min(until, self._now() - MINUTE_MS + 1)))
            known = since, until, bars
            self._keep(symbol, known)
        return [bar for bar in known[2] if since <= bar.at < until]

    def _keep(self, symbol: str, found: tuple[Millis, Millis, tuple[Bar, ...]]) -> None:
        if found[1] > self._now():
            return  # more of it will come
        self._kept[symbol] = found
        self._kept.move_to_end(symbol)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    async def _read(self, symbol: str, since: Millis, until: Millis) -> list[Bar]:
        found: list[Bar] = []
        cursor = since
        while cursor < until:
            limit = min(PAGE_ROWS, -(-(until - cursor) // MINUTE_MS))
            page = await self._page(symbol, cursor, limit)
            wanted = [bar_of(candle) for candle in page if cursor <= candle.at < until]
            found += wanted
            if not wanted or len(page) < limit:
                break
            cursor = wanted[-1].at + MINUTE_MS
        return found

    async def _page(self, symbol: str, since: Millis, limit: int) -> tuple[Candle, ...]:
        if not self._patient:
            return await self._pages.candle_page(symbol, "1m", since, limit)
        return await patiently(lambda: self._pages.candle_page(symbol, "1m", since, limit), self._sleep)


async def patiently(read: Callable[[], Awaitable[T]], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> T:
    """Return what is read, waiting where the request budget is used up; raises as `read` where that takes too long."""
    while True:
        try:
            return await read()
        except RateLimitedError as error:
            wait = error.retry_after_ms
            if wait is None or wait > _LONGEST_WAIT_MS:
                raise
        await sleep(wait / 1000 + 0.05)


class FileMinutes:
    """Candles of recordings; of longer ones than a minute there are none."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self._pieces: OrderedDict[tuple[str, int], tuple[Bar, ...]] = OrderedDict()

    async def minutes(self, symbol: str, since: Millis, until: Millis) -> Sequence[Bar]:
        """Return the candles that open in [since, until)."""
        pieces = range(since // _PIECE_MS, max(since, until - 1) // _PIECE_MS + 1)
        return [bar for piece in pieces for bar in self._piece(symbol, piece) if since <= bar.at < until]

    def _piece(self, symbol: str, number: int) -> tuple[Bar, ...]:
        place = (symbol, number)
        if place not in self._pieces:
            self._pieces[place] = tuple(self._read(symbol, number * _PIECE_MS, (number + 1) * _PIECE_MS))
            while len(self._pieces) > _KEPT:
                self._pieces.popitem(last=False)
        self._pieces.move_to_end(place)
        return self._pieces[place]

    def _read(self, symbol: str, since: Millis, until: Millis) -> Iterable[Bar]:
        from tpctl.adapters.candles import candle_spans, read_candles  # noqa: PLC0415 - only where files are named

        holding = [
            path
            for path in self._paths
            if (span := candle_spans(path).get(symbol)) is not None and span.first < until and span.last >= since
        ]
        found: dict[Millis, Bar] = {}
        for path in holding:
            candles = read_candles(path, [symbol], since, until)
            if candles.interval_ms != MINUTE_MS:
                raise InputsError(
                    f"the candles of {str(path)!r} are longer than a minute", "name a recording of one-minute candles"
                )
            found |= {bar.at: Bar(bar.at, bar.open, bar.high, bar.low, bar.close) for bar in candles.bars[symbol]}
        return [found[at] for at in sorted(found)]


def bar_of(candle: Candle) -> Bar:
    """Return a candle with the digits it was given in."""
    prices = (candle.open, candle.high, candle.low, candle.close)
    return Bar(candle.at, *(Decimal(repr(price)) for price in prices))
