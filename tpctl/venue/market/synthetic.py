"""A seeded, endless market that looks like one: several symbols, one common factor, storms and calms, jumps.

Decides the synthetic prices. Log prices move with Student-t steps (4 degrees of freedom) whose variance is clustered:
a slow and a fast log-variance the whole market shares, and one of each symbol's own. Jumps are rare, common or of one
symbol. A pull towards the start price, too weak to be traded on (half-life 90 days), keeps an endless market in range.
There is no drift, no trend to be found and no secret to be learned.

One seed is one story: every symbol draws from its own generator and the factor from another, so a symbol's path
depends on the seed alone, not on which other symbols are there or how the steps are consumed. Floats stay inside; what
leaves is on the tick and step grids as `Decimal`, always above zero.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from functools import cached_property
from math import acos, cos, exp, log, sqrt
from random import Random

from tpctl.exits.errors import InputsError
from tpctl.exits.units import Millis
from tpctl.market.bars import DAY_MS, HOUR_MS, MINUTE_MS, Bar, BarSeries
from tpctl.venue.market.path import MARK_HALF_LIFE_MS
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.rulebook import RuleBook, SymbolRules, builtin_rules

START_MS: Millis = 1_767_571_200_000  # 2026-01-05T00:00:00Z, a Monday
STEP_MS = 5_000
DEFAULT_SYMBOLS = ("XRPUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT", "ADAUSDT")

_COARSE_MS = 15 * MINUTE_MS
_COARSE_SPAN_MS = 45 * DAY_MS
# What is known in minutes: more than the 1500 klines the exchange returns, and enough for two days of 5-minute bars.
_FINE_SPAN_MS = 61 * HOUR_MS
_COARSE_PIECES = 5
_FINE_PIECES = 4

_MARK_STEP = Decimal("0.00000001")
_DAY_S = 86_400.0
_CALM_STEPS = 12  # the variance moves once a minute


@dataclass(frozen=True, slots=True)
class _Asset:
    """What a symbol starts with: price, daily standard deviation, loading on the factor, daily turnover in USDT."""

    price: float
    sigma: float
    loading: float
    turnover: float


_ASSETS = {
    "BTCUSDT": _Asset(96_000.0, 0.024, 0.90, 15e9),
    "ETHUSDT": _Asset(3_350.0, 0.033, 0.87, 12e9),
    "BNBUSDT": _Asset(705.0, 0.028, 0.75, 0.9e9),
    "SOLUSDT": _Asset(192.0, 0.042, 0.80, 4e9),
    "XRPUSDT": _Asset(2.42, 0.042, 0.72, 3e9),
    "DOGEUSDT": _Asset(0.335, 0.050, 0.76, 2e9),
    "ADAUSDT": _Asset(0.962, 0.046, 0.75, 0.8e9),
    "LTCUSDT": _Asset(108.0, 0.038, 0.70, 0.5e9),
    "TRXUSDT": _Asset(0.252, 0.024, 0.55, 0.3e9),
    "LINKUSDT": _Asset(21.5, 0.043, 0.76, 0.7e9),
    "DOTUSDT": _Asset(7.05, 0.043, 0.76, 0.3e9),
    "AVAXUSDT": _Asset(38.2, 0.046, 0.77, 0.5e9),
    "TONUSDT": _Asset(5.42, 0.036, 0.60, 0.25e9),
}


def _unit_steps(size: int = 4096) -> tuple[float, ...]:
    """Return quantiles of Student's t with 4 degrees of freedom, scaled to unit variance: drawn from at random."""
    steps = []
    for i in range(size):
        p = (i + 0.5) / size
        root = sqrt(4 * p * (1 - p))
        magnitude = 2 * sqrt(max(0.0, cos(acos(root) / 3) / root - 1))
        steps.append(magnitude if p > 0.5 else -magnitude)
    spread = sqrt(sum(step * step for step in steps) / size)
    return tuple(step / spread for step in steps)


_STEPS = _unit_steps()
_STEP_BITS = 12


class _LogVariance:
    """A mean-reverting log standard deviation with unit mean square."""

    __slots__ = ("_decay", "_noise", "_offset", "_rng", "_state")

    def __init__(self, rng: Random, spread: float, relaxation_s: float, dt_s: float) -> None:
        self._rng = rng
        self._decay = exp(-dt_s / relaxation_s)
        self._noise = spread * sqrt(1 - self._decay * self._decay)
        self._offset = spread * spread
        self._state = 0.0

    def move(self) -> float:
        """Advance by one unit of time and return the factor on the standard deviation."""
        self._state = self._state * self._decay + self._noise * self._rng.gauss(0.0, 1.0)
        return exp(self._state - self._offset)


class _Motion:
    """Unit-variance returns of one source of movement, clustered and with jumps; scaled by the caller."""

    __slots__ = (
        "_calm",
        "_draw",
        "_fast",
        "_jump_share",
        "_jump_size",
        "_left",
        "_random",
        "_rng",
        "_slow",
        "activity",
    )

    def __init__(self, rng: Random, dt_s: float, *, jumps_per_day: float, jump_size: float) -> None:
        self._rng = rng
        self._draw = rng.getrandbits
        self._random = rng.random
        self._calm = max(1, round(_CALM_STEPS * 5.0 / dt_s))
        every = dt_s * self._calm
        self._slow = _LogVariance(rng, 0.50, 8 * 3600.0, every)
        self._fast = _LogVariance(rng, 0.35, 1200.0, every)
        self._jump_share = jumps_per_day * dt_s / _DAY_S
        # In units of one step's standard deviation.
        self._jump_size = jump_size * sqrt(_DAY_S / dt_s)
        self._left = 0
        self.activity = 1.0

    def move(self) -> float:
        """Return the next step's return in units of one step's standard deviation."""
        if self._left == 0:
            self._left = self._calm
            self.activity = self._slow.move() * self._fast.move()
        self._left -= 1
        move = _STEPS[self._draw(_STEP_BITS)] * self.activity
        if self._random() < self._jump_share:
            move += self._rng.choice((-1.0, 1.0)) * self._jump_size * (0.5 + self._rng.expovariate(1.0))
        return move


def _generator(seed: int, chapter: str, name: str) -> Random:
    return Random(f"{seed}:{chapter}:{name}")  # noqa: S311 - a market that can be told again, not a secret


def _factor(seed: int, chapter: str, dt_s: float) -> _Motion:
    return _Motion(_generator(seed, chapter, "factor"), dt_s, jumps_per_day=0.15, jump_size=0.4)


class _Walk:
    """The log return of one symbol, and how much is traded meanwhile."""

    __slots__ = ("_base", "_draw", "_motion", "_own", "_shared", "_spread")

    def __init__(self, seed: int, chapter: str, symbol: str, asset: _Asset, dt_s: float) -> None:
        rng = _generator(seed, chapter, symbol)
        self._draw = rng.getrandbits
        self._motion = _Motion(rng, dt_s, jumps_per_day=0.15, jump_size=0.5)
        self._spread = asset.sigma * sqrt(dt_s / _DAY_S)
        self._shared = self._spread * asset.loading
        self._own = self._spread * sqrt(1 - asset.loading**2)
        self._base = asset.turnover * dt_s / _DAY_S

    def move(self, common: float) -> float:
        """Return the log return of the next step."""
        return self._shared * common + self._own * self._motion.move()

    def turnover(self, move: float) -> float:
        """Return the quote volume of a step that moved by `move`: busier when it moves."""
        busy = 0.4 * self._motion.activity + 0.6 * min(abs(move) / self._spread, 12.0)
        noise = 0.25 + self._draw(10) / 683.0
        return self._base * busy * noise


class SyntheticMarket:
    """Steps of 5 s from 2026-01-05T00:00:00Z on, without end.

    Raises `InputsError` for a symbol the generator or `rules` does not know.
    """

    end_ms: Millis | None = None
    start_ms: Millis = START_MS
    step_ms: int = STEP_MS

    def __init__(self, seed: int, symbols: Sequence[str] = DEFAULT_SYMBOLS, rules: RuleBook | None = None) -> None:
        known = (rules or builtin_rules()).symbols
        able = [symbol for symbol in _ASSETS if symbol in known]
        for symbol in symbols:
            if symbol not in able:
                close = get_close_matches(symbol.upper(), able, n=1)
                hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(able)}"
                raise InputsError(f"the synthetic market has no symbol {symbol!r}", hint)
        self._seed = seed
        self._rules = {symbol: known[symbol] for symbol in symbols}
        self.symbols: tuple[str, ...] = tuple(symbols)

    def steps(self) -> Iterator[MarketStep]:
        """Yield every step, always the same."""
        factor = _factor(self._seed, "market", STEP_MS / 1000)
        tapes = [_Tape(self._seed, symbol, self._rules[symbol]) for symbol in self.symbols]
        at = START_MS
        yield MarketStep(at, tuple(tape.quote() for tape in tapes))
        while True:
            at += STEP_MS
            common = factor.move()
            yield MarketStep(at, tuple(tape.advance(common) for tape in tapes))

    def history(self, symbol: str) -> tuple[BarSeries, ...]:
        """Return the 45 days before the start: 15-minute bars, of which the last 61 hours are minutes."""
        rules, asset = self._rules[symbol], _ASSETS[symbol]
        shared_coarse, shared_fine = self._shared_history
        days = _Walk(self._seed, "days", symbol, asset, _COARSE_MS / 1000 / _COARSE_PIECES)
        minutes = _Walk(self._seed, "minutes", symbol, asset, MINUTE_MS / 1000 / _FINE_PIECES)
        coarse = _history_pieces(days, shared_coarse, _COARSE_PIECES)
        fine = _history_pieces(minutes, shared_fine, _FINE_PIECES)
        drift = sum(move for bar in fine for move, _ in bar)
        split = START_MS - _FINE_SPAN_MS
        before = log(asset.price) - drift
        return (
            BarSeries(_COARSE_MS, _bars_ending(coarse, before, split, _COARSE_MS, rules)),
            BarSeries(MINUTE_MS, _bars_ending(fine, log(asset.price), START_MS, MINUTE_MS, rules)),
        )

    @cached_property
    def _shared_history(self) -> tuple[list[float], list[float]]:
        """The factor's moves before the start, shared by all symbols: of the days, and of the last hours."""
        coarse = _factor(self._seed, "days", _COARSE_MS / 1000 / _COARSE_PIECES)
        fine = _factor(self._seed, "minutes", MINUTE_MS / 1000 / _FINE_PIECES)
        coarse_pieces = (_COARSE_SPAN_MS - _FINE_SPAN_MS) // _COARSE_MS * _COARSE_PIECES
        fine_pieces = _FINE_SPAN_MS // MINUTE_MS * _FINE_PIECES
        return [coarse.move() for _ in range(coarse_pieces)], [fine.move() for _ in range(fine_pieces)]


_STEP_SHARE = 1.0 - 0.5 ** (STEP_MS / MARK_HALF_LIFE_MS)
_PULL = log(2) / (90 * _DAY_S) * (STEP_MS / 1000)


class _Tape:
    """The running market of one symbol."""

    __slots__ = ("_anchor", "_away", "_last", "_mark", "_rules", "_step", "_symbol", "_tick", "_tick_size", "_walk")

    def __init__(self, seed: int, symbol: str, rules: SymbolRules) -> None:
        asset = _ASSETS[symbol]
        self._symbol = symbol
        self._walk = _Walk(seed, "market", symbol, asset, STEP_MS / 1000)
        self._tick = rules.tick
        self._tick_size = float(rules.tick)
        self._step = rules.step
        self._anchor = asset.price
        self._away = 0.0
        self._mark = asset.price
        self._last = asset.price

    def quote(self, turnover: float = 0.0) -> Quote:
        """Return where the market stands, on its grids."""
        ticks = max(1, round(self._last / self._tick_size))
        return Quote(
            self._symbol,
            ticks * self._tick,
            max(1, round(self._mark * 1e8)) * _MARK_STEP,
            int(turnover / (self._last * float(self._step))) * self._step,
        )

    def advance(self, common: float) -> Quote:
        """Move one step and return the quote."""
        move = self._walk.move(common)
        self._away += move - _PULL * self._away
        self._last = self._anchor * exp(self._away)
        self._mark += _STEP_SHARE * (self._last - self._mark)
        return self.quote(self._walk.turnover(move))


def _history_pieces(walk: _Walk, shared: Sequence[float], per_bar: int) -> list[list[tuple[float, float]]]:
    """Return for every bar its pieces as (log return, turnover)."""
    moves = [walk.move(common) for common in shared]
    return [[(move, walk.turnover(move)) for move in moves[i : i + per_bar]] for i in range(0, len(moves), per_bar)]


def _bars_ending(
    pieces: Sequence[Sequence[tuple[float, float]]], level: float, end: Millis, interval_ms: int, rules: SymbolRules
) -> list[Bar]:
    """Return the bars whose last one closes at log price `level` at `end`."""
    tick, step = rules.tick, rules.step
    tick_size, step_size = float(tick), float(step)
    bars: list[Bar] = []
    at = end
    for bar in reversed(pieces):
        at -= interval_ms
        levels = [level]
        for move, _ in reversed(bar):
            level -= move
            levels.append(level)
        ticks = [max(1, round(exp(log_price) / tick_size)) for log_price in levels]
        traded = sum(turnover for _, turnover in bar) / exp(level)
        volume = int(traded / step_size) * step
        bars.append(Bar(at, ticks[-1] * tick, max(ticks) * tick, min(ticks) * tick, ticks[0] * tick, volume))
    bars.reverse()
    return bars
