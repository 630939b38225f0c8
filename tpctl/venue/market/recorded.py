"""A market that replays recorded bars by the rule in `path`.

Decides when a recording starts and ends: over the time in which every symbol asked for has bars. It never reads files,
never invents a trade, and never shows a price of a bar before its time. The same bars give the same steps, however
often and however slowly they are consumed.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TypeAlias

from tpctl.exits.errors import InputsError
from tpctl.exits.units import ZERO, Millis, Price, Quantity
from tpctl.market.bars import DAY_MS, Bar, BarSeries, Candles
from tpctl.venue.market.path import MARK_TICK, STEPS_PER_BAR, MarkFollower, bar_prices, bar_volumes
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.rulebook import RuleBook, builtin_rules

HISTORY_MS = 45 * DAY_MS

FundingRows: TypeAlias = Sequence[tuple[Millis, Decimal]]

# Recorded settlements carry times a few ms late.
_SETTLEMENT_SLACK_MS = 1_000
_NO_VOLUME = (ZERO,) * STEPS_PER_BAR


class RecordedMarket:
    """Steps of recorded bars.

    `marks` are mark-price bars of the same length for some or all symbols. `history` returns the bars of a symbol
    before its first one here, as series from coarse to fine, and is asked only when klines are. `funding` holds
    recorded settlements (time in ms, rate as a fraction), ascending. Raises `InputsError` where symbols share no time,
    or are unknown to `rules`.
    """

    def __init__(
        self,
        candles: Candles,
        rules: RuleBook | None = None,
        *,
        marks: Candles | None = None,
        history: Callable[[str], Sequence[BarSeries]] | None = None,
        funding: Mapping[str, FundingRows] | None = None,
    ) -> None:
        known = (rules or builtin_rules()).symbols
        for symbol in candles.symbols:
            if symbol not in known:
                raise InputsError(f"symbol {symbol!r} of the recording is not in the rule book", "leave it out")
        if marks is not None and marks.interval_ms != candles.interval_ms:
            raise InputsError("mark-price bars are of another length than the bars", "give both of one interval")
        self._bars = candles.bars
        self._marks = {} if marks is None else marks.bars
        self._history = history
        self._funding = funding or {}
        self._ticks = {symbol: known[symbol].tick for symbol in candles.symbols}
        self._interval_ms = candles.interval_ms
        self.symbols: tuple[str, ...] = candles.symbols
        self.step_ms: int = candles.interval_ms // STEPS_PER_BAR
        self.start_ms: Millis = max(bars[0].at for bars in self._bars.values())
        self.end_ms: Millis | None = min(bars[-1].at for bars in self._bars.values()) + candles.interval_ms
        if self.end_ms <= self.start_ms:
            raise InputsError("the recorded symbols have no time in common", "choose symbols of the same period")

    def steps(self) -> Iterator[MarketStep]:
        """Yield every step from the start to the end, always the same."""
        end = self.end_ms or self.start_ms
        paths = [
            _SymbolPath(symbol, self._bars[symbol], self._marks.get(symbol, ()), self._ticks[symbol], self.step_ms)
            for symbol in self.symbols
        ]
        rates = _Rates({symbol: rows for symbol, rows in self._funding.items() if symbol in self._ticks})
        for at in range(self.start_ms, end, self._interval_ms):
            for path in paths:
                path.enter(at)
            for number in range(STEPS_PER_BAR):
                now = at + number * self.step_ms
                quotes = tuple(path.quote(number, now) for path in paths)
                yield MarketStep(now, quotes, rates.beginning(now))

    def history(self, symbol: str) -> tuple[BarSeries, ...]:
        """Return what is recorded of the 45 days before the start."""
        since = self.start_ms - HISTORY_MS
        own = self._bars[symbol]
        before = own[: bisect_left(own, self.start_ms, key=_opened)]
        first = before[0].at if before else self.start_ms
        told = self._history(symbol) if self._history is not None else ()
        earlier = [
            BarSeries(series.interval_ms, [bar for bar in series.bars if since <= bar.at < first]) for series in told
        ]
        return (*earlier, BarSeries(self._interval_ms, [bar for bar in before if bar.at >= since]))


class _SymbolPath:
    """Where the replay of one symbol stands."""

    def __init__(self, symbol: str, bars: Sequence[Bar], marks: Sequence[Bar], tick: Price, step_ms: int) -> None:
        self._symbol = symbol
        self._bars = bars
        self._marks = marks
        self._tick = tick
        self._follower = MarkFollower(step_ms)
        self._next = 0
        self._next_mark = 0
        self._prices: tuple[Price, ...] = ()
        self._volumes: tuple[Quantity, ...] = _NO_VOLUME
        self._mark_prices: tuple[Price, ...] | None = None

    def enter(self, at: Millis) -> None:
        """Move to the bar that opens at `at`, or hold the price where there is none."""
        self._next, bar, missed = _seek(self._bars, self._next, at)
        if bar is not None:
            self._prices = bar_prices(bar, self._tick)
            self._volumes = bar_volumes(bar)
        else:
            held = bar_prices(missed, self._tick)[-1] if missed is not None else self._prices[-1]
            self._prices = (held,) * STEPS_PER_BAR
            self._volumes = _NO_VOLUME
        self._next_mark, mark_bar, _ = _seek(self._marks, self._next_mark, at)
        self._mark_prices = None if mark_bar is None else bar_prices(mark_bar, MARK_TICK)

    def quote(self, number: int, at: Millis) -> Quote:
        """Return the quote of step `number` of the bar entered."""
        last = self._prices[number]
        followed = self._follower.follow(last, at)
        mark = followed if self._mark_prices is None else self._mark_prices[number]
        return Quote(self._symbol, last, mark, self._volumes[number])


def _seek(bars: Sequence[Bar], index: int, at: Millis) -> tuple[int, Bar | None, Bar | None]:
    """Return the next index, the bar that opens at `at`, and else the last one passed on the way there."""
    passed = None
    while index < len(bars) and bars[index].at < at:
        passed = bars[index]
        index += 1
    if index < len(bars) and bars[index].at == at:
        return index + 1, bars[index], passed
    return index, None, passed


class _Rates:
    """Recorded funding: the rate of a settlement holds from after the settlement before it until its own time."""

    def __init__(self, funding: Mapping[str, FundingRows]) -> None:
        self._rows = {symbol: deque(rows) for symbol, rows in funding.items()}
        self._told: dict[str, tuple[Millis, Decimal]] = {}

    def beginning(self, now: Millis) -> tuple[tuple[str, Decimal], ...]:
        """Return the rates that begin to hold at `now`."""
        begun = []
        for symbol, rows in self._rows.items():
            while rows and rows[0][0] + _SETTLEMENT_SLACK_MS < now:
                rows.popleft()
            if rows and self._told.get(symbol) != rows[0]:
                self._told[symbol] = rows[0]
                begun.append((symbol, rows[0][1]))
        return tuple(begun)


def _opened(bar: Bar) -> Millis:
    return bar.at
