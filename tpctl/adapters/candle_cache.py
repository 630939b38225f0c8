"""Candles of an exchange, fetched page by page and kept on disk.

Decides which candles still have to be asked for, and in what pages: what is on disk is not asked for again, a fetch
that was interrupted goes on where it stopped, and where our share of the request budget is used up it waits for the
next minute. Only closed candles are kept; the newest one is read once more at the next fetch, because the exchange may
still correct it. Gaps stay gaps.

The files can be fetched again, so a damaged one is dropped and said so, and one that cannot be written costs nothing
but the next fetch. Each symbol has a file: a line `tpctl.candles/1 SYMBOL INTERVAL FROM CRC32` and 48 bytes a candle,
little-endian: open time (int64, ms UTC), open, high, low, close, quote volume (float64). FROM is the time from which on
everything the exchange has is there. Needs no numpy.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote
from zlib import crc32

from tpctl.adapters.files import read_file, write_atomic
from tpctl.exits.errors import RateLimitedError, StateFileError, TpctlError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import Millis
from tpctl.market.bars import DAY_MS
from tpctl.ports import Candle

RECORD = struct.Struct("<q5d")
# The most rows for weight 2 (binance-usdm 2.3): 250 candles for each unit of weight, the best rate there is.
PAGE_ROWS = 499
_KEPT_MS = 400 * DAY_MS
_MAGIC = "tpctl.candles/1"
# How many symbols are fetched side by side.
_LANES = 4
_LONGEST_WAIT_MS = 120_000


class PageReader(Protocol):
    """Reads candles page by page."""

    async def candle_page(self, symbol: str, interval: str, since: Millis, limit: int) -> tuple[Candle, ...]:
        """Return up to `limit` candles that open at `since` or later, oldest first; the newest may still be open."""
        ...


Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class _Held:
    """What is kept of one symbol: everything the exchange has from `since` to the last record."""

    since: Millis
    records: bytes

    @property
    def last(self) -> Millis:
        return int(RECORD.unpack_from(self.records, len(self.records) - RECORD.size)[0])

    def tail(self, since: Millis) -> bytes:
        """Return the records that open at `since` or later."""
        low, high = 0, len(self.records) // RECORD.size
        while low < high:
            middle = (low + high) // 2
            if RECORD.unpack_from(self.records, middle * RECORD.size)[0] < since:
                low = middle + 1
            else:
                high = middle
        return self.records[low * RECORD.size :]


class CandleCache:
    """Candles of one exchange and one length. `folder` None keeps them in memory only.

    `patient` waits where the request budget is used up; without it a fetch ends there and the next one goes on.
    `warnings` tells of files that were dropped or could not be written.
    """

    def __init__(
        self,
        pages: PageReader,
        interval: str,
        interval_ms: int,
        folder: Path | None,
        *,
        page_rows: int = PAGE_ROWS,
        patient: bool = True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.interval_ms = interval_ms
        self.warnings: list[str] = []
        self._pages = pages
        self._interval = interval
        self._folder = folder
        self._page_rows = page_rows
        self._patient = patient
        self._sleep = sleep
        self._held: dict[str, _Held] = {}

    async def load_all(
        self, symbols: Sequence[str], since: Millis, now: Millis, progress: Progress | None = None
    ) -> dict[str, bytes | Unavailable]:
        """Return the records of each symbol as `load` does, or why one could not be read. A few are read at a time.

        Symbols that are not asked for any more leave memory: a watch of many positions meets ever new ones.
        """
        self._held = {symbol: self._held[symbol] for symbol in symbols if symbol in self._held}
        lanes = asyncio.Semaphore(_LANES)

        async def one(symbol: str) -> bytes | Unavailable:
            async with lanes:
                try:
                    return await self.load(symbol, since, now, progress)
                except TpctlError as error:
                    return Unavailable(error.message)

        found = await asyncio.gather(*(one(symbol) for symbol in symbols))
        return dict(zip(symbols, found, strict=True))

    async def load(self, symbol: str, since: Millis, now: Millis, progress: Progress | None = None) -> bytes:
        """Return the records of the candles that open at `since` or later and are closed at `now`, oldest first.

        Raises `UnavailableError`, and `RateLimitedError` where it may not wait; what was read by then is kept.
        """
        since -= since % self.interval_ms
        newest = now - now % self.interval_ms - self.interval_ms
        held = self._known(symbol)
        if held is not None and held.last < since - self.interval_ms:
            held = None  # too old to be worth joining
        if held is None:
            held = await self._fetch(symbol, _Held(since, b""), since, newest, progress)
        else:
            if since < held.since:
                held = await self._fetch_before(symbol, held, since, progress)
            if held.last < newest:
                held = await self._fetch(symbol, held, held.last, newest, progress)
        return held.tail(since)

    async def _fetch(self, symbol: str, held: _Held, since: Millis, newest: Millis, progress: Progress | None) -> _Held:
        """Read on from `since`, page by page, keeping each."""
        kept = held.records[: -RECORD.size] if held.records else b""
        total = (newest - held.since) // self.interval_ms + 1
        cursor = since
        while cursor <= newest:
            limit = min(self._page_rows, (newest - cursor) // self.interval_ms + 2)
            page = await self._page(symbol, cursor, limit)
            closed = [c for c in page if cursor <= c.at <= newest]
            if closed:
                kept += _packed(closed)
                held = self._keep(symbol, _Held(held.since, kept))
                cursor = closed[-1].at + self.interval_ms
                if progress is not None:
                    progress(symbol, len(kept) // RECORD.size, total)
            if len(page) < limit or not closed:
                break
        return held

    async def _fetch_before(self, symbol: str, held: _Held, since: Millis, progress: Progress | None) -> _Held:
        """Read what is older than what is held, backwards and joined page by page, so that there is never a hole."""
        total = (held.since - since) // self.interval_ms
        begin = held.since
        while begin > since:
            start = max(since, begin - self._page_rows * self.interval_ms)
            page = await self._page(symbol, start, (begin - start) // self.interval_ms)
            older = [c for c in page if start <= c.at < begin]
            # A page of nothing lies before the listing: there is no more.
            begin = start if older else since
            held = self._keep(symbol, _Held(begin, _packed(older) + held.records))
            if progress is not None:
                progress(symbol, total - (begin - since) // self.interval_ms, total)
        return held

    async def _page(self, symbol: str, since: Millis, limit: int) -> tuple[Candle, ...]:
        while True:
            try:
                return await self._pages.candle_page(symbol, self._interval, since, limit)
            except RateLimitedError as error:
                wait = error.retry_after_ms
                if not self._patient or wait is None or wait > _LONGEST_WAIT_MS:
                    raise
                await self._sleep(wait / 1000 + 0.05)

    def _known(self, symbol: str) -> _Held | None:
        held = self._held.get(symbol)
        if held is None and self._folder is not None:
            held = self._read(self._path(self._folder, symbol), symbol)
            if held is not None:
                self._held[symbol] = held
        return held if held is not None and held.records else None

    def _read(self, path: Path, symbol: str) -> _Held | None:
        try:
            data = read_file(path)
        except StateFileError as error:
            self.warnings.append(f"candles of {symbol} are not cached: {error.message}")
            self._folder = None
            return None
        if data is None:
            return None
        header, newline, records = data.partition(b"\n")
        words = header.decode("utf-8", errors="replace").split(" ")
        if (
            not newline
            or words[:3] != [_MAGIC, quote(symbol, safe=""), self._interval]
            or len(words) != 5
            or not words[3].isdecimal()
            or len(records) % RECORD.size
            or words[4] != f"{crc32(records):08x}"
        ):
            self.warnings.append(f"the candle file {str(path)!r} is damaged and was dropped")
            return None
        return _Held(int(words[3]), records)

    def _keep(self, symbol: str, held: _Held) -> _Held:
        oldest = held.last - _KEPT_MS
        if held.since < oldest:
            held = _Held(oldest, held.tail(oldest))
        self._held[symbol] = held
        if self._folder is not None:
            path = self._path(self._folder, symbol)
            header = f"{_MAGIC} {quote(symbol, safe='')} {self._interval} {held.since} {crc32(held.records):08x}\n"
            try:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_atomic(path, header.encode() + held.records)
            except (OSError, StateFileError) as error:
                self.warnings.append(f"candles of {symbol} are not cached: {error}")
                self._folder = None
        return held

    def _path(self, folder: Path, symbol: str) -> Path:
        return folder / f"{quote(symbol, safe='')}-{self._interval}.candles"


def _packed(candles: Sequence[Candle]) -> bytes:
    return b"".join(RECORD.pack(c.at, c.open, c.high, c.low, c.close, c.quote_volume) for c in candles)
