"""One market seen over 5 minutes, 15 minutes and an hour, and what the three come to.

Each timeframe gives its own volatility, regime and average true range. Exits coordinate by agreement, so that neither a
burst of minutes nor a stale day decides alone: of three volatilities, or three average true ranges, the middle one
counts; of three regimes the one that two see, else that of the slowest. Of two that could be measured the slower
counts. Every choice is a reason of the plan; a timeframe that cannot be measured is left out, and that is said.

Volatilities are of a day whatever the bars, so they compare as they are. An average true range is of one bar: it is
scaled by the square root of time to an hour's (learning 9), so that `2atr` means the same whichever is chosen.

Candles of 15 minutes are those of 5 put together, which is exact and spares a request.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from math import sqrt
from typing import TypeAlias, TypeVar

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Reason, Regime
from tpctl.exits.units import Price, Ratio
from tpctl.market.bars import HOUR_MS, MINUTE_MS
from tpctl.market.ranges import atr
from tpctl.market.regime import regime
from tpctl.market.series import newest_run
from tpctl.market.volatility import daily_volatility
from tpctl.ports import Candle

Candles: TypeAlias = Sequence[Candle] | Unavailable
N = TypeVar("N", Ratio, Decimal, Regime)

# From three readings on there is a middle, from two that agree a majority.
_TWO = 2

FAST = "5m"
MIDDLE = "15m"
SLOW = "1h"
# Closed candles to ask for; the exchange counts the open one too. The first keep weight 5 (binance-usdm 2.3) and reach
# back 60 hours: two days for a volatility, a week's worth of bars for a regime. The second stay below 500, at weight 2.
FAST_CANDLES = 720
SLOW_CANDLES = 498

_FAST_MS = 5 * MINUTE_MS
_MIDDLE_MS = 15 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class View:
    """The market over one timeframe: daily volatility, regime, and an hour's average true range in price units."""

    timeframe: str
    volatility: Ratio | Unavailable
    regime: Regime | Unavailable
    atr: Price | Unavailable


@dataclass(frozen=True, slots=True)
class Choice:
    """What the views come to, and why."""

    volatility: Ratio | Unavailable
    regime: Regime | Unavailable
    atr: Price | Unavailable
    reasons: tuple[Reason, ...]


def views_of(fast: Candles, slow: Candles) -> tuple[View, ...]:
    """Return what closed candles of 5 minutes and of an hour show on the three timeframes, fastest first.

    Candles come oldest first. Unavailable candles leave the views they make up unavailable, with their reason.
    """
    middle: Candles = fast
    if not isinstance(fast, Unavailable):
        sane = newest_run(fast, 1, interval_ms=_FAST_MS)
        middle = sane if isinstance(sane, Unavailable) else join_candles(sane, _FAST_MS, _MIDDLE_MS)
    return _view(FAST, fast, _FAST_MS), _view(MIDDLE, middle, _MIDDLE_MS), _view(SLOW, slow, HOUR_MS)


def join_candles(candles: Sequence[Candle], interval_ms: int, longer_ms: int) -> tuple[Candle, ...]:
    """Return the candles of `longer_ms`, aligned to the epoch, that ascending ones of `interval_ms` make up in full.

    One that lacks a piece is left out. Raises `ValueError` where the longer is not a multiple of the shorter.
    """
    if longer_ms % interval_ms:
        raise ValueError(f"{longer_ms} ms is not a multiple of {interval_ms} ms")
    joined = []
    for at, group in groupby(candles, lambda candle: candle.at - candle.at % longer_ms):
        parts = tuple(group)
        if len(parts) == longer_ms // interval_ms:
            high, low = max(part.high for part in parts), min(part.low for part in parts)
            volume = sum(part.quote_volume for part in parts)
            joined.append(Candle(at, parts[0].open, high, low, parts[-1].close, volume))
    return tuple(joined)


def _view(name: str, candles: Candles, interval_ms: int) -> View:
    if isinstance(candles, Unavailable):
        return View(name, candles, candles, candles)
    bar = atr(candles)
    if not isinstance(bar, Unavailable):
        bar = Decimal(f"{float(bar) * sqrt(HOUR_MS / interval_ms):.9g}")
    return View(name, daily_volatility(candles, interval_ms), regime(candles), bar)


def choose(views: Sequence[View]) -> Choice:
    """Return the volatility, regime and average true range to plan with, from at least one view, fastest first."""
    volatility, of_volatility = _middle(
        "volatility", {view.timeframe: view.volatility for view in views}, lambda ratio: ratio.show(1)
    )
    average, of_atr = _middle("atr", {view.timeframe: view.atr for view in views}, lambda price: f"{price:.4g}")
    seen, of_regime = _agreed({view.timeframe: view.regime for view in views})
    return Choice(volatility, seen, average, (*of_volatility, *of_regime, *of_atr))


def _middle(
    what: str, readings: Mapping[str, N | Unavailable], show: Callable[[N], str]
) -> tuple[N | Unavailable, tuple[Reason, ...]]:
    """Return the middle of three readings, the slower of two, and why."""
    known: dict[str, N] = {name: value for name, value in readings.items() if not isinstance(value, Unavailable)}
    if not known:
        return _slowest(readings), ()
    chosen, why = [*known][-1], _fallback(known, readings)
    if len(known) > _TWO:
        chosen, why = sorted(known, key=lambda name: known[name])[len(known) // 2], "the middle"
    return known[chosen], (_reason(what, chosen, why, readings, show),)


def _agreed(readings: Mapping[str, Regime | Unavailable]) -> tuple[Regime | Unavailable, tuple[Reason, ...]]:
    """Return the regime that two timeframes see, else the slowest one's, and why."""
    known = {name: value for name, value in readings.items() if not isinstance(value, Unavailable)}
    if not known:
        return _slowest(readings), ()
    chosen, why = [*known][-1], _fallback(known, readings)
    most, count = Counter(known.values()).most_common(1)[0]
    if count >= _TWO:
        chosen, why = next(name for name in reversed(known) if known[name] is most), f"seen by {count} of {len(known)}"
    elif len(known) > 1:
        why = f"{why}: no two agree"
    return known[chosen], (_reason("regime", chosen, why, readings, lambda value: value.value),)


def _fallback(known: Mapping[str, object], readings: Mapping[str, object]) -> str:
    """Return what makes the slowest of the known readings count."""
    if len(known) == 1:
        return "the only one that could be measured"
    return "the slowest" if len(known) == len(readings) else f"the slowest of {len(known)}"


def _reason(
    what: str, chosen: str, why: str, readings: Mapping[str, N | Unavailable], show: Callable[[N], str]
) -> Reason:
    shown = {
        name: f"unavailable ({reading.reason})" if isinstance(reading, Unavailable) else show(reading)
        for name, reading in readings.items()
    }
    seen = ", ".join(f"{name} {text}" for name, text in shown.items())
    title = "hourly ATR" if what == "atr" else what
    return Reason("inputs", f"{what}_view", f"{title} {shown[chosen]} from {chosen} candles, {why}: {seen}")


def _slowest(readings: Mapping[str, N | Unavailable]) -> Unavailable:
    reading = list(readings.values())[-1]
    assert isinstance(reading, Unavailable)  # noqa: S101 - the caller has looked
    return reading
