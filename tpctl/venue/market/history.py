"""Klines and day tickers: what the market's steps, and the bars before them, add up to.

Decides the wire shape of klines (binance-usdm 5.1): rows ascend, the last one is open, minutes without a trade repeat
the close with zero volume. It keeps 26 hours of minutes, 62 of five minutes and 46 days of quarter hours, so that an
endless market needs bounded memory. Takers buy half of the volume here; trade counts are steps.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tpctl.exits.units import ZERO, Millis, Money, Price, Quantity
from tpctl.market.bars import DAY_MS, FIVES_KEPT_MS, HOUR_MS, MINUTE_MS, MINUTES_KEPT_MS, Bar, BarSeries
from tpctl.venue.market.path import STEPS_PER_BAR
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.refusals import VenueError
from tpctl.venue.rulebook import RuleBook, SymbolRules
from tpctl.venue.wire import fixed

INTERVALS: Mapping[str, int] = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "6h": 6 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
}

_FIVE_MS = 5 * MINUTE_MS
_QUARTER_MS = 15 * MINUTE_MS
_MINUTES_KEPT = MINUTES_KEPT_MS // MINUTE_MS
_FIVES_KEPT = FIVES_KEPT_MS // _FIVE_MS
_QUARTERS_KEPT = 46 * 96
_DEFAULT_LIMIT = 500
_MAX_LIMIT = 1500


class Kline:
    """One candle as it grows. `first_id` is the id of its first trade."""

    __slots__ = ("at", "close", "first", "first_id", "high", "low", "quote_volume", "trades", "volume")

    def __init__(self, at: Millis, price: Price, first_id: int = 0) -> None:
        self.at = at
        self.first_id = first_id
        self.first = self.high = self.low = self.close = price
        self.volume: Quantity = ZERO
        self.quote_volume: Money = ZERO
        self.trades = 0

    def trade(self, price: Price, volume: Quantity) -> None:
        """Add one step: a trade of `volume`, or only a price where nothing traded."""
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        if volume:
            self.volume += volume
            self.quote_volume += volume * price
            self.trades += 1

    def absorb(self, other: "Kline") -> None:
        """Add a later, shorter candle."""
        self.high = max(self.high, other.high)
        self.low = min(self.low, other.low)
        self.close = other.close
        self.volume += other.volume
        self.quote_volume += other.quote_volume
        self.trades += other.trades

    def began_at(self, at: Millis) -> "Kline":
        """Return a copy that opens at `at`."""
        copy = Kline(at, self.first, self.first_id)
        copy.absorb(self)
        return copy


class _Tape:
    """The candles of one symbol since the market opened, and its last trade."""

    __slots__ = ("falling", "fives", "last", "minutes", "quarters", "trade_id")

    def __init__(self, quote: Quote) -> None:
        self.minutes: deque[Kline] = deque(maxlen=_MINUTES_KEPT)
        self.fives: deque[Kline] = deque(maxlen=_FIVES_KEPT)
        self.quarters: deque[Kline] = deque(maxlen=_QUARTERS_KEPT)
        self.last = quote
        self.falling = False
        self.trade_id = 0

    def add(self, quote: Quote, at: Millis) -> None:
        minute = at - at % MINUTE_MS
        if quote.last != self.last.last:
            self.falling = quote.last < self.last.last
        self.last = quote
        if not self.minutes or self.minutes[-1].at != minute:
            if self.minutes:
                _fold_into(self.fives, self.minutes[-1], _FIVE_MS)
                _fold_into(self.quarters, self.minutes[-1], _QUARTER_MS)
            self.minutes.append(Kline(minute, quote.last, self.trade_id + 1))
        self.minutes[-1].trade(quote.last, quote.volume)
        if quote.volume:
            self.trade_id += 1

    def newest(self, interval_ms: int) -> Iterator[Kline]:
        """Yield, newest first, the finest candles kept that make up candles of `interval_ms`."""
        if interval_ms < _FIVE_MS:
            yield from reversed(self.minutes)
        elif self.minutes:
            yield self.minutes[-1]
            yield from reversed(self.fives if interval_ms < _QUARTER_MS else self.quarters)


def _kept_ms(interval_ms: int) -> Millis:
    if interval_ms < _FIVE_MS:
        return _MINUTES_KEPT * MINUTE_MS
    return _FIVES_KEPT * _FIVE_MS if interval_ms < _QUARTER_MS else _QUARTERS_KEPT * _QUARTER_MS


def _fold_into(rows: "deque[Kline] | list[Kline]", row: Kline, interval_ms: int) -> None:
    at = row.at - row.at % interval_ms
    if rows and rows[-1].at == at:
        rows[-1].absorb(row)
    else:
        rows.append(row.began_at(at))


class KlineStore:
    """All candles of a market.

    `history` returns the bars of a symbol before the start as series from coarse to fine, each beginning where the
    one before ends; it is asked once per symbol, when candles first are.
    """

    def __init__(self, rules: RuleBook, history: Callable[[str], Sequence[BarSeries]]) -> None:
        self._rules = rules.symbols
        self._history = history
        self._tapes: dict[str, _Tape] = {}
        self._series: dict[str, Sequence[BarSeries]] = {}
        self._before: dict[tuple[str, int], list[Kline]] = {}
        self._now: Millis = 0
        self._start: Millis = 0

    def add(self, step: MarketStep) -> None:
        """Take in one market step."""
        self._now = step.at
        self._start = self._start or step.at
        for quote in step.quotes:
            tape = self._tapes.get(quote.symbol)
            if tape is None:
                tape = self._tapes[quote.symbol] = _Tape(quote)
            tape.add(quote, step.at)

    def klines(self, params: Mapping[str, str]) -> list[list[Any]]:
        """Return GET klines; -1121, -1120 and -1130 for a bad symbol, interval and limit."""
        symbol = self._symbol(params.get("symbol", ""))
        interval = params.get("interval", "")
        if interval not in INTERVALS:
            raise VenueError(-1120, "Invalid interval.")
        limit = _integer(params, "limit", _DEFAULT_LIMIT)
        if not 1 <= limit <= _MAX_LIMIT:
            raise VenueError(-1130, "Data sent for parameter 'limit' is not valid.")
        since = _integer(params, "startTime", 0)
        until = _integer(params, "endTime", self._now)
        interval_ms = INTERVALS[interval]
        rows = [row for row in self._candles(symbol, interval_ms) if since <= row.at <= until]
        rows = rows[:limit] if "startTime" in params else rows[-limit:]
        return [_wire(self._rules[symbol], row, interval_ms) for row in rows]

    def continuous_klines(self, params: Mapping[str, str]) -> list[list[Any]]:
        """Return GET continuousKlines; only perpetual contracts exist here."""
        if params.get("contractType") not in {"PERPETUAL", "TRADIFI_PERPETUAL"}:
            raise VenueError(-1130, "Data sent for parameter 'contractType' is not valid.")
        return self.klines({**params, "symbol": params.get("pair", "")})

    def candle(self, symbol: str, interval: str, at: Millis) -> Kline | None:
        """Return the candle of a known interval that opens at `at`; None where there is none."""
        interval_ms = INTERVALS[interval]
        tape = self._tapes.get(symbol)
        if tape is None:
            return None
        pieces: list[Kline] = []
        for row in tape.newest(interval_ms):
            if row.at < at:
                break
            if row.at < at + interval_ms:
                pieces.append(row)
        else:
            past = self._past(symbol, interval_ms)
            if past and past[-1].at == at:
                pieces.append(past[-1])
        if not pieces:
            return None
        candle = pieces.pop().began_at(at)
        while pieces:
            candle.absorb(pieces.pop())
        return candle

    def trade(self, symbol: str) -> "tuple[int, Quote, bool] | None":
        """Return id, quote and whether the buyer was the maker, of the trade the newest step brought; None without."""
        tape = self._tapes.get(symbol)
        if tape is None or not tape.last.volume:
            return None
        return tape.trade_id, tape.last, tape.falling

    def stream_payload(self, symbol: str, interval: str, candle: Kline) -> dict[str, Any]:
        """Return the `k` part of a kline event, without its symbol."""
        row = _wire(self._rules[symbol], candle, INTERVALS[interval])
        first, last = (candle.first_id, candle.first_id + candle.trades - 1) if candle.trades else (-1, -1)
        return {
            "t": row[0],
            "T": row[6],
            "i": interval,
            "f": first,
            "L": last,
            "o": row[1],
            "c": row[4],
            "h": row[2],
            "l": row[3],
            "v": row[5],
            "n": row[8],
            "x": self._now > row[6],
            "q": row[7],
            "V": row[9],
            "Q": row[10],
            "B": "0",
        }

    def tickers(self, params: Mapping[str, str]) -> dict[str, Any] | list[dict[str, Any]]:
        """Return GET ticker/24hr of one symbol, or of all."""
        if params.get("symbol"):
            return self._ticker(self._symbol(params["symbol"]))
        return [self._ticker(symbol) for symbol in self._tapes]

    def _ticker(self, symbol: str) -> dict[str, Any]:
        rules = self._rules[symbol]
        since = self._now - DAY_MS
        rows = [row for row in self._day(symbol) if row.at > since]
        day = Kline(rows[0].at, rows[0].first)
        for row in rows:
            day.absorb(row)
        change = day.close - day.first
        price, size = rules.price_precision, rules.quantity_precision
        return {
            "symbol": symbol,
            "priceChange": fixed(change, price),
            "priceChangePercent": fixed(100 * change / day.first, 3),
            "weightedAvgPrice": fixed(day.quote_volume / day.volume if day.volume else day.close, price),
            "lastPrice": fixed(day.close, price),
            "lastQty": fixed(rows[-1].volume, size),
            "openPrice": fixed(day.first, price),
            "highPrice": fixed(day.high, price),
            "lowPrice": fixed(day.low, price),
            "volume": fixed(day.volume, size),
            "quoteVolume": fixed(day.quote_volume, 2),
            "openTime": max(since, day.at),
            "closeTime": self._now,
            "firstId": 0,
            "lastId": max(0, day.trades - 1),
            "count": day.trades,
        }

    def _symbol(self, symbol: str) -> str:
        if not symbol:
            raise VenueError(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if symbol not in self._tapes:
            raise VenueError(-1121, "Invalid symbol.")
        return symbol

    def _day(self, symbol: str) -> Iterator[Kline]:
        """Yield the shortest candles there are that together cover the last day."""
        series = self._told(symbol)
        finest = min((part.interval_ms for part in series if part.bars), default=MINUTE_MS)
        yield from self._past(symbol, max(finest, MINUTE_MS))
        yield from self._tapes[symbol].minutes

    def _told(self, symbol: str) -> Sequence[BarSeries]:
        if symbol not in self._series:
            self._series[symbol] = self._history(symbol)
        return self._series[symbol]

    def _past(self, symbol: str, interval_ms: int) -> list[Kline]:
        """Return the candles before the start, as far as bars short enough to make them up are known."""
        key = (symbol, interval_ms)
        if key not in self._before:
            rows: list[Kline] = []
            kept = _kept_ms(interval_ms)
            for series in self._told(symbol):
                if interval_ms % series.interval_ms == 0:
                    for bar in series.bars:
                        if bar.at >= self._start - kept:
                            _fold_into(rows, _recorded(bar), interval_ms)
            self._before[key] = rows
        return self._before[key]

    def _candles(self, symbol: str, interval_ms: int) -> list[Kline]:
        """Return all candles known, from the first to the open one."""
        past = self._past(symbol, interval_ms)
        # The last candle of the past may go on: a copy grows, the past stays.
        rows = [row.began_at(row.at) for row in past[-1:]]
        for row in reversed(list(self._tapes[symbol].newest(interval_ms))):
            _fold_into(rows, row, interval_ms)
        return list(_without_holes([*past[:-1], *rows], interval_ms))


def _recorded(bar: Bar) -> Kline:
    """Return a bar as a candle; its quote volume is estimated from the typical price."""
    row = Kline(bar.at, bar.open)
    row.high, row.low, row.close, row.volume = bar.high, bar.low, bar.close, bar.volume
    row.quote_volume = bar.volume * (bar.high + bar.low + bar.close) / 3
    row.trades = STEPS_PER_BAR if bar.volume else 0
    return row


def _without_holes(rows: Iterable[Kline], interval_ms: int) -> Iterator[Kline]:
    before: Kline | None = None
    for row in rows:
        if before is not None:
            yield from (Kline(at, before.close) for at in range(before.at + interval_ms, row.at, interval_ms))
        yield row
        before = row


def _wire(rules: SymbolRules, row: Kline, interval_ms: int) -> list[Any]:
    price, size = rules.price_precision, rules.quantity_precision
    half = row.volume / 2
    return [
        row.at,
        fixed(row.first, price),
        fixed(row.high, price),
        fixed(row.low, price),
        fixed(row.close, price),
        fixed(row.volume, size),
        row.at + interval_ms - 1,
        fixed(row.quote_volume, 5),
        row.trades,
        fixed(half, size),
        fixed(row.quote_volume / 2, 5),
        "0",
    ]


def _integer(params: Mapping[str, str], name: str, default: int) -> int:
    text = params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise VenueError(-1130, f"Data sent for parameter '{name}' is not valid.")
    return int(text)
