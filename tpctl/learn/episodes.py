"""Positions to learn from: the price path of each from its entry to the horizon, and what was known at the entry.

Decides which entries count and what is known when. An episode enters at the open of its first candle, and everything it
knows at that time comes from candles closed before; a path that the data do not show to its end is left out, never
padded. Prices are of the recorded market; the exit of a small position does not move them, so one path serves every
policy.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from tpctl.exits.errors import InputsError
from tpctl.exits.rules import StopRules, TargetRules
from tpctl.exits.units import Millis
from tpctl.learn.market_features import MarketArrays, market_arrays
from tpctl.market.bars import DAY_MS
from tpctl.market.risk.prices import Floats, PriceSeries, Times

Whole = NDArray[np.int64]

# Settlements that are charged with the candle that opens then; recorded ones are some milliseconds late.
_LATE_MS = 60_000
# Where no tick is known, prices are put on a grid of six significant digits.
_DIGITS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Episodes:
    """n positions over a horizon of H candles; arrays of float64 unless said otherwise.

    `open`, `high`, `low`, `close` are of shape (n, H + 1): the entry is at `open[:, 0]`, and whatever is left at the
    horizon leaves at `open[:, H]`. `symbol` (int64) indexes `symbols`. `side` is 1 for a long and -1 for a short.
    `stop` is R: the distance of the first stop as a fraction of entry. `started_at` (int64) is the opening of the first
    candle in ms UTC. `funding` (n, H + 1) is the rate charged at the opening of a candle, as a fraction of notional,
    paid by longs where positive. `volatility` is the daily deviation of returns at entry as a fraction. `tick` is the
    price grid. `drift_fast`, `drift_slow`, `swell`, `reach` (n, H + 1) are the market readings at the close of each
    candle, `entry_market` (n, 4) those at entry, in this order, none of them mirrored by side.
    """

    interval_ms: int
    symbols: tuple[str, ...]
    symbol: Whole
    side: Floats
    stop: Floats
    started_at: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    funding: Floats
    volatility: Floats
    tick: Floats
    drift_fast: Floats
    drift_slow: Floats
    swell: Floats
    reach: Floats
    entry_market: Floats

    def __len__(self) -> int:
        return len(self.side)

    @property
    def horizon(self) -> int:
        """The longest holding, in candles."""
        return int(self.open.shape[1]) - 1

    @property
    def entry(self) -> Floats:
        """The entry prices."""
        return self.open[:, 0]

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_] | slice) -> "Episodes":
        """Return some of the episodes, in the order of `index` (positions or a mask)."""
        arrays = {
            one.name: getattr(self, one.name)[index]
            for one in fields(self)
            if one.name not in {"interval_ms", "symbols"}
        }
        return Episodes(interval_ms=self.interval_ms, symbols=self.symbols, **arrays)

    def data_hash(self) -> str:
        """Return the SHA-256 over all that is in them, in hex: equal data, equal hash."""
        digest = hashlib.sha256(f"{self.interval_ms} {' '.join(self.symbols)}".encode())
        for one in fields(self):
            if one.name not in {"interval_ms", "symbols"}:
                array = np.ascontiguousarray(getattr(self, one.name))
                digest.update(f"{one.name} {array.shape}".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """One real position: the symbol, its side (1 or -1), and when it was opened."""

    symbol: str
    side: int
    at: Millis


@dataclass(frozen=True, slots=True)
class EpisodeRules:
    """How episodes are made: `horizon` in candles, the rules the first stop follows, and the salt of the sampling."""

    horizon: int = 96
    stop: StopRules = field(default_factory=StopRules)
    target: TargetRules = field(default_factory=TargetRules)
    salt: int = 0

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise InputsError(f"horizon '{self.horizon}' is below one candle", "give a horizon such as 96")


def sample_episodes(
    series: Mapping[str, PriceSeries],
    rules: EpisodeRules,
    *,
    count: int | None = None,
    share: float | None = None,
    funding: Mapping[str, tuple[Times, Floats]] | None = None,
    ticks: Mapping[str, float] | None = None,
) -> Episodes:
    """Return pseudo-entries under the frozen rule, ordered by time and then symbol.

    The rule: whether a candle is an entry, and on which side, is a hash of salt, symbol and opening time, and of
    nothing else; it knows no price. `share` of all possible entries are taken, or the `count` whose hashes are
    smallest. Raises `InputsError` where the data hold fewer than `count`, or none.
    """
    _one_length(series)
    wanted: dict[str, tuple[Whole, Floats]] = {}
    hashes: dict[str, NDArray[np.uint64]] = {}
    market = {symbol: market_arrays(one) for symbol, one in series.items()}
    for symbol, one in series.items():
        rows = _possible(one, market[symbol], rules.horizon)
        hashes[symbol] = _hash(symbol, one.at[rows], rules.salt)
        wanted[symbol] = (rows, _sides(symbol, one.at[rows], rules.salt))
    available = sum(len(rows) for rows, _ in wanted.values())
    if count is not None and not 1 <= count <= available:
        raise InputsError(
            f"{count} episodes were asked for, the data hold {available}", "give more data, or fewer episodes"
        )
    limit = _limit(hashes, available, count, share)
    chosen = {
        symbol: (rows[hashes[symbol] <= limit], sides[hashes[symbol] <= limit])
        for symbol, (rows, sides) in wanted.items()
    }
    return _build(series, market, chosen, rules, funding or {}, ticks or {})


def episodes_of(
    series: Mapping[str, PriceSeries],
    entries: Sequence[Entry],
    rules: EpisodeRules,
    *,
    funding: Mapping[str, tuple[Times, Floats]] | None = None,
    ticks: Mapping[str, float] | None = None,
) -> Episodes:
    """Return the episodes of real positions: each enters with the first candle that opens at or after its time.

    Positions the data do not show to their end are left out. Raises `InputsError` where none is left.
    """
    _one_length(series)
    market = {symbol: market_arrays(one) for symbol, one in series.items()}
    chosen: dict[str, tuple[Whole, Floats]] = {}
    for symbol, one in series.items():
        mine = [entry for entry in entries if entry.symbol == symbol]
        at = np.array([entry.at for entry in mine], dtype=np.int64)
        sides = np.array([float(entry.side) for entry in mine])
        rows = np.searchsorted(one.at, at)
        near = rows < len(one)
        near[near] &= one.at[rows[near]] - at[near] < one.interval_ms
        good = near & np.isin(rows, _possible(one, market[symbol], rules.horizon))
        chosen[symbol] = (rows[good], sides[good])
    return _build(series, market, chosen, rules, funding or {}, ticks or {})


def _one_length(series: Mapping[str, PriceSeries]) -> None:
    if not series:
        raise InputsError("there are no candles to learn from", "give candles with --data")
    if len({one.interval_ms for one in series.values()}) != 1:
        raise InputsError("the candles are of different lengths", "give candles of one length")


def _possible(one: PriceSeries, market: MarketArrays, horizon: int) -> Whole:
    """Return the rows whose past is known and whose path is complete and sane."""
    rows = np.arange(1, len(one) - horizon, dtype=np.int64)
    if not len(rows):
        return rows
    whole = one.at[rows + horizon] - one.at[rows - 1] == (horizon + 1) * one.interval_ms
    known = np.isfinite(market.reach) & np.isfinite(market.volatility)
    broken = np.r_[0, np.cumsum(~_sane(one) | ~known)]
    possible: Whole = rows[whole & (broken[rows + horizon + 1] == broken[rows - 1])]
    return possible


def _sane(one: PriceSeries) -> NDArray[np.bool_]:
    prices = np.stack([one.open, one.high, one.low, one.close])
    with np.errstate(invalid="ignore"):
        sane: NDArray[np.bool_] = (
            np.isfinite(prices).all(axis=0)
            & (prices > 0).all(axis=0)
            & (one.high >= prices.max(axis=0))
            & (one.low <= prices.min(axis=0))
        )
    return sane


def _hash(symbol: str, at: Times, salt: int) -> NDArray[np.uint64]:
    """Return splitmix64 of salt, symbol and time: the same for every length of the data."""
    seed = int.from_bytes(hashlib.sha256(f"{salt} {symbol}".encode()).digest()[:8], "little")
    with np.errstate(over="ignore"):
        mixed = at.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed


def _sides(symbol: str, at: Times, salt: int) -> Floats:
    return np.where(_hash(f"{symbol} side", at, salt) & np.uint64(1), 1.0, -1.0)


def _limit(hashes: Mapping[str, NDArray[np.uint64]], available: int, count: int | None, share: float | None) -> int:
    if count is not None:
        every = np.concatenate(list(hashes.values()))
        return int(np.partition(every, count - 1)[count - 1])
    if share is None or not 0.0 < share <= 1.0:
        raise InputsError(f"share '{share}' of the entries is not above 0 and at most 1", "give a count or a share")
    if not available:
        raise InputsError("no entry has its past and its whole path in the data", "give longer data")
    return int(share * (2**64 - 1)) if share < 1.0 else 2**64 - 1


def _build(  # noqa: PLR0917 - the parts of one build
    series: Mapping[str, PriceSeries],
    market: Mapping[str, MarketArrays],
    chosen: Mapping[str, tuple[Whole, Floats]],
    rules: EpisodeRules,
    funding: Mapping[str, tuple[Times, Floats]],
    ticks: Mapping[str, float],
) -> Episodes:
    symbols = tuple(series)
    if not any(len(rows) for rows, _ in chosen.values()):
        raise InputsError("no entry has its past and its whole path in the data", "give longer data")
    parts: list[dict[str, NDArray[np.generic]]] = []
    for index, (symbol, one) in enumerate(series.items()):
        rows, sides = chosen[symbol]
        window = rows[:, None] + np.arange(rules.horizon + 1)
        readings = market[symbol]
        volatility = readings.volatility[rows - 1]
        columns = (readings.drift_fast, readings.drift_slow, readings.swell, readings.reach)
        entry = one.open[rows]
        parts.append(
            {
                "symbol": np.full(len(rows), index, dtype=np.int64),
                "side": sides,
                "stop": stop_distances(volatility, rules.stop, rules.target),
                "started_at": one.at[rows],
                "open": one.open[window],
                "high": one.high[window],
                "low": one.low[window],
                "close": one.close[window],
                "funding": _charged(one.at, one.interval_ms, funding.get(symbol))[window],
                "volatility": volatility,
                "tick": np.full(len(rows), ticks[symbol]) if symbol in ticks else grid_of(entry),
                **{
                    name: column[window]
                    for name, column in zip(("drift_fast", "drift_slow", "swell", "reach"), columns, strict=True)
                },
                "entry_market": np.stack([column[rows - 1] for column in columns], axis=1),
            }
        )
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort((joined["symbol"], joined["started_at"]))
    interval = next(iter(series.values())).interval_ms
    return Episodes(
        interval_ms=interval,
        symbols=symbols,
        **{name: array[order] for name, array in joined.items()},
    )


def join_episodes(first: Episodes, second: Episodes) -> Episodes:
    """Return both, ordered by time and then symbol; raises `ValueError` where they are not of one kind."""
    if (first.interval_ms, first.symbols, first.horizon) != (second.interval_ms, second.symbols, second.horizon):
        raise ValueError("the episodes are of different candles")
    arrays = {
        one.name: np.concatenate([getattr(first, one.name), getattr(second, one.name)])
        for one in fields(first)
        if one.name not in {"interval_ms", "symbols"}
    }
    order = np.lexsort((arrays["symbol"], arrays["started_at"]))
    return Episodes(
        interval_ms=first.interval_ms,
        symbols=first.symbols,
        **{name: array[order] for name, array in arrays.items()},
    )


def stop_distances(volatility: Floats, stop: StopRules, target: TargetRules) -> Floats:
    """Return R of each position: the default stop scaled by volatility (exit-rules 6), confidence not known."""
    scale = float(target.volatility_base) + float(target.volatility_slope) * volatility / float(
        target.volatility_reference.fraction
    )
    clipped = np.clip(scale, float(target.volatility_min), float(target.volatility_max))
    distances: Floats = np.round(float(stop.distance.fraction) * float(target.factors.stop) * clipped, 8)
    return distances


def grid_of(price: Floats) -> Floats:
    """Return a grid of six significant digits, for prices whose tick is not known."""
    grid: Floats = 10.0 ** (np.floor(np.log10(price)) - (_DIGITS - 1))
    return grid


def _charged(at: Times, interval_ms: int, settlements: tuple[Times, Floats] | None) -> Floats:
    """Return the funding rate charged at the opening of each candle, zero for most of them."""
    rates = np.zeros(len(at))
    if settlements is None:
        return rates
    times, found = settlements
    due = times - times % interval_ms
    on_time = times - due < _LATE_MS
    rows = np.searchsorted(at, due[on_time])
    held = (rows < len(at)) & (at[np.minimum(rows, len(at) - 1)] == due[on_time])
    np.add.at(rates, rows[held], found[on_time][held])
    return rates


def days_of(episodes: Episodes) -> Whole:
    """Return the day of each entry, in days since the epoch."""
    days: Whole = episodes.started_at // DAY_MS
    return days
