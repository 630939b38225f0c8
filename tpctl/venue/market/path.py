"""The stated rule that turns a bar into prices.

Decides, and nothing else does, what the twin's market shows between the four prices a bar recorded:

- A bar becomes 12 steps, evenly spaced from its open time on. A minute has a step every 5 s, the last one 5 s before
  the next bar opens.
- The last price runs open, low, high, close where the bar closed at or above its open, else open, high, low, close. It
  touches them at steps 0, 3, 8 and 11, exactly, and moves in a straight line between, rounded to the symbol's tick.
- The bar's volume is spread evenly; the steps' volumes sum to the bar's.
- The mark price follows the last by exponential smoothing with a half-life of 15 s of event time, at 8 decimals, so it
  sees less of a wick than the last price does. Where mark-price bars were recorded, they make the mark by the same
  path, at 8 decimals.
- Where bars are missing the price holds and nothing trades; the next bar opens where it opens. A gap is a real gap.

So klines made of the steps are the recorded bars again, as far as those lie on the tick grid. It never looks ahead of
the bar a step belongs to.
"""

from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise

from tpctl.exits.units import Millis, Price, Quantity
from tpctl.market.bars import Bar

STEPS_PER_BAR = 12
MARK_HALF_LIFE_MS = 15_000
MARK_TICK = Decimal("0.00000001")

_VERTICES = (0, 3, 8, 11)


def bar_prices(bar: Bar, tick: Price) -> tuple[Price, ...]:
    """Return the 12 prices of a bar, on the grid of `tick`, which must be above zero."""
    extremes = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
    levels = [_ticks(price, tick) for price in (bar.open, *extremes, bar.close)]
    counts = [levels[0]]
    for (start, end), (here, there) in zip(pairwise(_VERTICES), pairwise(levels), strict=True):
        length = end - start
        counts.extend((here * (length - i) + there * i + length // 2) // length for i in range(1, length + 1))
    return tuple(count * tick for count in counts)


def bar_volumes(bar: Bar) -> tuple[Quantity, ...]:
    """Return the base volume of each of the 12 steps, in units of the recorded volume's last digit."""
    exponent = bar.volume.as_tuple().exponent
    unit = Decimal(1).scaleb(exponent if isinstance(exponent, int) else 0)
    share, rest = divmod(int(bar.volume / unit), STEPS_PER_BAR)
    return tuple((share + (i < rest)) * unit for i in range(STEPS_PER_BAR))


class MarkFollower:
    """The mark price of one symbol where none was recorded. Starts at the first last price it is shown."""

    __slots__ = ("_at", "_mark", "_share", "_step_ms")

    def __init__(self, step_ms: int) -> None:
        self._step_ms = step_ms
        self._share = _share_of_way(step_ms)
        self._mark: Price | None = None
        self._at: Millis = 0

    def follow(self, last: Price, at: Millis) -> Price:
        """Return the mark at `at`, which must not run backwards."""
        if self._mark is None:
            mark = last
        else:
            elapsed = at - self._at
            share = self._share if elapsed == self._step_ms else _share_of_way(elapsed)
            mark = self._mark + share * (last - self._mark)
        self._at = at
        self._mark = mark.quantize(MARK_TICK, ROUND_HALF_EVEN)
        return self._mark


def _share_of_way(elapsed_ms: int) -> Decimal:
    """Return which share of the way to the last price the mark goes in `elapsed_ms`."""
    return 1 - Decimal(2) ** (-Decimal(elapsed_ms) / MARK_HALF_LIFE_MS)


def _ticks(price: Price, tick: Price) -> int:
    """Return the nearest multiple of `tick`; the grid's first one for a price below it."""
    return max(1, int((price / tick).to_integral_value(ROUND_HALF_EVEN)))
