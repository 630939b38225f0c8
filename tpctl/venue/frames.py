"""What the market streams carry: one payload per stream and step (binance-usdm 5.6).

Decides which stream names exist, on which of the routed addresses they deliver, and their payloads. A name that does
not exist is no error: it stays silent. Reads the venue and the candles, changes nothing.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

from tpctl.exits.units import Millis
from tpctl.venue.market.history import INTERVALS, KlineStore
from tpctl.venue.venue import Venue
from tpctl.venue.wire import fixed

Category: TypeAlias = Literal["market", "public"]
Payload: TypeAlias = dict[str, Any] | list[dict[str, Any]]
Build: TypeAlias = Callable[[], list[Payload]]

_SYMBOL_STREAM = re.compile(r"(?P<symbol>[^@]+)@(?P<kind>markPrice(?:@1s)?|aggTrade|bookTicker)")
_KLINE_STREAM = re.compile(r"(?P<symbol>[^@]+)@kline_(?P<interval>\w+)")
_CONTINUOUS_STREAM = re.compile(r"(?P<symbol>[^@]+)_perpetual@continuousKline_(?P<interval>\w+)")
_ALL_MARKS = frozenset({"!markPrice@arr", "!markPrice@arr@1s"})


class MarketFrames:
    """Builds the payloads of the newest step."""

    def __init__(self, venue: Venue, candles: KlineStore, symbols: Sequence[str]) -> None:
        self._venue = venue
        self._candles = candles
        # Stream names are lower case; others are silent, as on the exchange.
        self._symbols = {symbol.lower(): symbol for symbol in symbols}
        self._before: Millis = 0
        self._now: Millis = 0

    def move(self, at: Millis) -> None:
        """Take note of a new step."""
        self._before, self._now = self._now, at

    def find(self, stream: str) -> tuple[Category, Build] | None:
        """Return where a stream delivers and what builds its payloads; None for one that does not exist."""
        if stream in _ALL_MARKS:
            return "market", self._all_marks
        if found := _SYMBOL_STREAM.fullmatch(stream):
            symbol = self._symbols.get(found["symbol"])
            return None if symbol is None else self._of_symbol(symbol, found["kind"])
        found = _CONTINUOUS_STREAM.fullmatch(stream) or _KLINE_STREAM.fullmatch(stream)
        symbol = self._symbols.get(found["symbol"]) if found else None
        if found is None or symbol is None or found["interval"] not in INTERVALS:
            return None
        continuous = found.re is _CONTINUOUS_STREAM
        return "market", partial(self._klines, symbol, found["interval"], continuous=continuous)

    def _of_symbol(self, symbol: str, kind: str) -> tuple[Category, Build]:
        if kind == "bookTicker":
            return "public", lambda: [self._book(symbol)]
        if kind == "aggTrade":
            return "market", lambda: self._trade(symbol)
        return "market", lambda: [self._mark(symbol)]

    def _mark(self, symbol: str) -> dict[str, Any]:
        index = self._venue.premium_index({"symbol": symbol})
        return self._mark_event(index) if isinstance(index, dict) else {}

    def _all_marks(self) -> list[Payload]:
        every = self._venue.premium_index({})
        return [[self._mark_event(index) for index in every if isinstance(index, dict)]]

    def _mark_event(self, index: dict[str, Any]) -> dict[str, Any]:
        return {
            "e": "markPriceUpdate",
            "E": self._now,
            "s": index["symbol"],
            "p": index["markPrice"],
            "ap": index["markPrice"],
            "i": index["indexPrice"],
            "P": index["estimatedSettlePrice"],
            "r": index["lastFundingRate"],
            "T": index["nextFundingTime"],
            "st": 1,
        }

    def _book(self, symbol: str) -> dict[str, Any]:
        book = self._venue.book_ticker({"symbol": symbol})
        if not isinstance(book, dict):
            return {}
        return {
            "e": "bookTicker",
            "u": book["lastUpdateId"],
            "E": self._now,
            "T": self._now,
            "s": symbol,
            "ps": symbol,
            "b": book["bidPrice"],
            "B": book["bidQty"],
            "a": book["askPrice"],
            "A": book["askQty"],
            "st": 1,
        }

    def _trade(self, symbol: str) -> list[Payload]:
        trade = self._candles.trade(symbol)
        if trade is None:
            return []
        number, quote, falling = trade
        rules = self._venue.core.rules.symbols[symbol]
        size = fixed(quote.volume, rules.quantity_precision)
        return [
            {
                "e": "aggTrade",
                "E": self._now,
                "s": symbol,
                "a": number,
                "p": fixed(quote.last, rules.price_precision),
                "q": size,
                "nq": size,
                "f": number,
                "l": number,
                "T": self._now,
                "m": falling,
                "st": 1,
            }
        ]

    def _klines(self, symbol: str, interval: str, *, continuous: bool) -> list[Payload]:
        """Return the open candle, after the one that this step closed."""
        width = INTERVALS[interval]
        payloads: list[Payload] = []
        for at in dict.fromkeys((self._before - self._before % width, self._now - self._now % width)):
            candle = self._candles.candle(symbol, interval, at)
            if candle is None:
                continue
            body = self._candles.stream_payload(symbol, interval, candle)
            if continuous:
                head = {"e": "continuous_kline", "E": self._now, "ps": symbol, "ct": "PERPETUAL"}
                payloads.append({**head, "k": body})
            else:
                head = {"e": "kline", "E": self._now, "s": symbol}
                payloads.append({**head, "k": {"t": body.pop("t"), "T": body.pop("T"), "s": symbol, **body}})
        return payloads
