"""True range and its average."""

from decimal import Decimal

import pytest
from candle_makers import HOUR, START, scaled, walk

from tpctl.exits.instrument import Unavailable
from tpctl.market.ranges import atr, true_range
from tpctl.ports import Candle


def _bars(*spans: float) -> list[Candle]:
    """Bars around 100 of these heights, closing where they opened."""
    return [Candle(START + i * HOUR, 100.0, 100 + span / 2, 100 - span / 2, 100.0, 1.0) for i, span in enumerate(spans)]


@pytest.mark.parametrize(
    ("high", "low", "before", "expected"),
    [(110.0, 105.0, 107.0, 5.0), (110.0, 105.0, 100.0, 10.0), (100.0, 95.0, 110.0, 15.0)],
    ids=["inside", "gap up", "gap down"],
)
def test_a_true_range_holds_the_gap(high: float, low: float, before: float, expected: float) -> None:
    first = Candle(0, before, before, before, before, 1.0)

    assert true_range(first, Candle(HOUR, low, high, low, high, 1.0)) == expected


def test_it_starts_as_a_mean_and_goes_on_with_wilders_smoothing() -> None:
    # Three ranges 2, 4, 6 average to 4; then (4 * 2 + 10) / 3 = 6.
    assert atr(_bars(1, 2, 4, 6), 3) == Decimal(4)
    assert atr(_bars(1, 2, 4, 6, 10), 3) == Decimal(6)


def test_it_is_in_price_units() -> None:
    candles = walk(200)
    small, large = atr(candles), atr(scaled(candles, 1000.0))

    assert isinstance(small, Decimal)
    assert isinstance(large, Decimal)
    assert float(large / small) == pytest.approx(1000.0)


def test_candles_far_in_the_past_change_nothing() -> None:
    assert atr(walk(500)[-141:]) == atr(walk(500))


@pytest.mark.parametrize("candles", [walk(14), _bars(*[0.0] * 40)], ids=["short", "flat"])
def test_without_data_it_is_unavailable(candles: list[Candle]) -> None:
    assert isinstance(atr(candles), Unavailable)


def test_a_period_below_one_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        atr(walk(60), 0)
