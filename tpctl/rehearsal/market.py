"""Prices for the rehearsal: steps as far apart as nothing happens, and close together where something does.

A driftless walk with heavy tails whose steps have the size of the time they span, so that days of calm cost little and
the seconds around a level are all there. Where a step would carry a price across a level at which an order waits, it is
walked in seconds. Decides the prices, and when the next step is.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from math import exp, sqrt
from random import Random

from tpctl.exits.units import Millis
from tpctl.venue.quotes import Quote
from tpctl.venue.rulebook import RuleBook

_DAY_MS = 86_400_000
_MARK = Decimal("0.00000001")
_BUSY_MS, _NEAR_MS = 4_000, 15_000
BUSY_STEP_MS, _NEAR_STEP_MS = 1_000, 5_000
# Calm that lasts is told in steps this many times as long as it has lasted.
_STRIDE = 4
# A crossing is walked in this many seconds.
_APPROACH = 4
# The mark is an index of several exchanges: it differs from the last price by this much of it.
_BASIS = 0.0002


@dataclass(frozen=True, slots=True)
class Asset:
    """A symbol's first price and the daily standard deviation of its returns."""

    price: float
    sigma: float


ASSETS: dict[str, Asset] = {
    "XRPUSDT": Asset(2.42, 0.045),
    "BTCUSDT": Asset(96_000.0, 0.028),
    "ETHUSDT": Asset(3_350.0, 0.036),
    "SOLUSDT": Asset(192.0, 0.045),
    "BNBUSDT": Asset(705.0, 0.030),
    "DOGEUSDT": Asset(0.335, 0.052),
    "ADAUSDT": Asset(0.962, 0.048),
    "LTCUSDT": Asset(108.0, 0.040),
    "TRXUSDT": Asset(0.252, 0.028),
    "DOTUSDT": Asset(7.05, 0.046),
    "TONUSDT": Asset(5.42, 0.040),
    "XLMUSDT": Asset(0.41, 0.050),
    "ETCUSDT": Asset(25.4, 0.042),
    "DASHUSDT": Asset(36.0, 0.044),
    "ZECUSDT": Asset(55.0, 0.050),
    "XMRUSDT": Asset(205.0, 0.035),
}


class Walk:
    """The prices of some symbols, and how far apart the steps are.

    `calm_ms` is the longest step, `swing` the share of the assets' standard deviations that this market moves by.

    A step quotes the symbols whose time has come: one where something happens second by second, the others when their
    own calm ends.
    """

    def __init__(  # noqa: PLR0917 - what a story says of its market
        self, rng: Random, symbols: Iterable[str], rules: RuleBook, start: Millis, calm_ms: int, swing: float
    ) -> None:
        self._rng = rng
        self._swing = swing
        self._rules = rules
        self._price = {symbol: ASSETS[symbol].price for symbol in symbols}
        self._now = start
        self._calm_ms = calm_ms
        self._stirred = dict.fromkeys(self._price, start)
        self._stirred_at = start
        self._quoted: dict[str, Millis] = {}
        self._planned: dict[str, deque[float]] = {}

    def stir(self, now: Millis, symbols: Iterable[str] = ()) -> None:
        """Note that something happens: the next seconds are told one by one, with the prices of `symbols`."""
        self._stirred_at = max(self._stirred_at, now)
        for symbol in symbols:
            if symbol in self._stirred:
                self._stirred[symbol] = max(self._stirred[symbol], now)

    @property
    def interval_ms(self) -> int:
        """The time to the next step."""
        own = (self._quoted.get(symbol, 0) + self._gap(symbol) - self._now for symbol in self._price)
        return max(BUSY_STEP_MS, min(self._spacing(self._stirred_at), *own))

    def _spacing(self, stirred_at: Millis) -> int:
        quiet = self._now - stirred_at
        if quiet < _BUSY_MS:
            return BUSY_STEP_MS
        if quiet < _NEAR_MS:
            return _NEAR_STEP_MS
        return min(self._calm_ms, max(_NEAR_STEP_MS, _STRIDE * quiet))

    def _gap(self, symbol: str) -> int:
        return BUSY_STEP_MS if symbol in self._planned else self._spacing(self._stirred[symbol])

    def advance(self, at: Millis, crosses: Callable[[str, float], bool]) -> tuple[Quote, ...]:
        """Return the quotes due at `at`; `crosses` tells whether a price that moves by a factor would reach a level.

        What is due soon is quoted too, so that calm symbols share their steps.
        """
        due = [symbol for symbol in self._price if 2 * (at - self._quoted.get(symbol, 0)) >= self._gap(symbol)]
        self._now = at
        common = self._rng.gauss(0.0, 0.7)
        for symbol in due:
            elapsed = at - self._quoted.get(symbol, at)
            self._quoted[symbol] = at
            planned = self._planned.get(symbol)
            if planned is None:
                target = self._drawn(symbol, max(elapsed, 1), common)
                if elapsed <= 2 * _NEAR_STEP_MS or not crosses(symbol, target / self._price[symbol]):
                    self._price[symbol] = target
                    continue
                planned = self._planned[symbol] = self._approach(self._price[symbol], target)
            self._price[symbol] = planned.popleft()
            if not planned:
                del self._planned[symbol]
        return tuple(self._quote(symbol, self._price[symbol]) for symbol in due)

    def _drawn(self, symbol: str, elapsed: int, common: float) -> float:
        rng = self._rng
        tail = 1.0 if rng.random() < 0.97 else 3.0
        scale = self._swing * ASSETS[symbol].sigma * sqrt(elapsed / _DAY_MS) * tail
        return self._price[symbol] * exp(scale * (common + rng.gauss(0.0, 0.7)))

    @staticmethod
    def _approach(start: float, target: float) -> deque[float]:
        return deque(start + (target - start) * number / _APPROACH for number in range(1, _APPROACH + 1))

    def _quote(self, symbol: str, price: float) -> Quote:
        tick = self._rules.symbols[symbol].tick
        last = max(1, round(price / float(tick))) * tick
        mark = price * (1 + _BASIS * (self._rng.random() - 0.5))
        return Quote(symbol, last, _decimal(mark))


def _decimal(price: float) -> Decimal:
    return max(1, round(price * 1e8)) * _MARK
