"""Daily volatility: exponentially weighted, scaled to a day, never invented."""

import math
from dataclasses import replace

import pytest
from candle_makers import HOUR, START, mirrored, scaled, walk

from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import Ratio
from tpctl.market.volatility import daily_volatility
from tpctl.ports import Candle


def _alternating(count: int, step: float, interval: int = HOUR) -> list[Candle]:
    """Closes that alternate by exactly `step` in logarithms: every squared return is the same."""
    prices = [100.0 * math.exp(step * (index % 2)) for index in range(count)]
    return [Candle(START + i * interval, p, p * 1.001, p * 0.999, p, 1.0) for i, p in enumerate(prices)]


def _value(candles: list[Candle], interval: int = HOUR) -> float:
    found = daily_volatility(candles, interval)
    assert isinstance(found, Ratio)
    return float(found.fraction)


@pytest.mark.parametrize("interval", [HOUR // 4, HOUR, 4 * HOUR, 24 * HOUR])
def test_constant_moves_give_their_own_size_scaled_to_a_day(interval: int) -> None:
    expected = 0.005 * math.sqrt(24 * HOUR / interval)

    assert _value(_alternating(400, 0.005, interval), interval) == pytest.approx(expected, rel=1e-6)


def test_a_walk_shows_its_own_volatility() -> None:
    assert _value(walk(1000, sigma=0.006)) == pytest.approx(0.006 * math.sqrt(24), rel=0.25)


def test_the_newest_returns_weigh_most_with_the_hourly_decay() -> None:
    candles = _alternating(100, 0.0)
    price = candles[-1].close
    jumped = [*candles[:-1], replace(candles[-1], close=price * math.exp(0.01), high=price * 1.02)]
    weight = (1 - 0.97) / (1 - 0.97**99)

    assert _value(jumped) == pytest.approx(0.01 * math.sqrt(weight * 24), rel=1e-6)


def test_it_is_the_same_in_any_unit_and_for_the_mirrored_market() -> None:
    candles = walk(200)

    assert _value(scaled(candles, 1e-7)) == pytest.approx(_value(candles), rel=1e-6)
    assert _value(mirrored(candles)) == pytest.approx(_value(candles), rel=1e-6)


@pytest.mark.parametrize("candles", [walk(47), walk(0), walk(60)[:30] + walk(60)[31:]], ids=["short", "none", "gap"])
def test_too_little_data_is_unavailable(candles: list[Candle]) -> None:
    assert isinstance(daily_volatility(candles, HOUR), Unavailable)


def test_short_bars_must_span_two_days_too() -> None:
    quarter = HOUR // 4

    assert isinstance(daily_volatility(_alternating(191, 0.001, quarter), quarter), Unavailable)
    assert isinstance(daily_volatility(_alternating(192, 0.001, quarter), quarter), Ratio)


def test_a_flat_line_is_unavailable() -> None:
    flat = [replace(candle, open=1.0, high=1.0, low=1.0, close=1.0) for candle in walk(100)]
    flat_closes = _alternating(100, 0.0)

    assert isinstance(daily_volatility(flat, HOUR), Unavailable)
    assert isinstance(daily_volatility(flat_closes, HOUR), Unavailable)


def test_an_interval_of_zero_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="interval_ms"):
        daily_volatility(walk(60), 0)
