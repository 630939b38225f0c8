"""Kupiec's table, Christoffersen's tests, and value at risk on the recorded years."""

from math import log

import numpy as np
import pytest
from risk_makers import panel

from tpctl.exits.instrument import Unavailable
from tpctl.market.risk.backtests import (
    KUPIEC_LIMIT,
    backtest,
    christoffersen,
    judge,
    kupiec,
    kupiec_band,
    p_value,
)
from tpctl.market.risk.prices import Panel
from tpctl.market.risk.value_at_risk import day_returns, funding_rows, scenarios


@pytest.mark.parametrize(
    ("days", "probability", "band"),
    [
        (255, 0.01, (1, 6)),
        (510, 0.01, (2, 10)),
        (1000, 0.01, (5, 16)),
        (255, 0.05, (7, 20)),
        (510, 0.05, (17, 35)),
        (1000, 0.05, (38, 64)),
    ],
)
def test_kupiecs_table(days: int, probability: float, band: tuple[int, int]) -> None:
    assert kupiec_band(days, probability) == band


def test_kupiecs_ratio_of_learning_9() -> None:
    assert kupiec(7, 30, 0.01) == pytest.approx(32.338, abs=5e-4)
    assert kupiec(0, 30, 0.05) == pytest.approx(-60 * log(0.95))


def test_p_values_at_the_known_points() -> None:
    assert p_value(KUPIEC_LIMIT, 1) == pytest.approx(0.05)
    assert p_value(5.991464547107979, 2) == pytest.approx(0.05)
    assert p_value(0.0, 1) == 1.0


def test_christoffersen_finds_clusters_and_passes_scattered_exceedances() -> None:
    scattered = [day % 20 == 0 for day in range(400)]
    clustered = [day % 200 < 10 for day in range(400)]

    assert p_value(christoffersen(scattered), 1) > 0.05
    assert p_value(christoffersen(clustered), 1) < 1e-6
    assert christoffersen([False] * 50) == 0.0


def test_christoffersen_by_hand() -> None:
    """Transitions 00: 2, 01: 1, 10: 1, 11: 1."""
    hits = [False, False, False, True, True, False]
    apart = 2 * log(2 / 3) + log(1 / 3) + log(0.5) + log(0.5)
    pooled = 3 * log(3 / 5) + 2 * log(2 / 5)

    assert christoffersen(hits) == pytest.approx(2 * (apart - pooled))


def test_a_judgement_holds_all_three_tests() -> None:
    found = judge("X", "filtered", [day % 20 == 0 for day in range(1000)], 0.05)

    assert (found.exceeded, found.expected, found.band, found.in_band) == (50, pytest.approx(50), (38, 64), True)
    assert found.unconditional == pytest.approx(1.0)


def test_a_gaussian_market_passes_and_a_forecast_that_is_too_low_fails() -> None:
    found = backtest(panel("A B C", 400, seed=3), 0.95, window_days=60)
    assert not isinstance(found, Unavailable)
    assert all(one.in_band for one in found if one.method == "filtered")

    too_low = judge("X", "filtered", [day % 8 == 0 for day in range(1000)], 0.05)
    assert not too_low.in_band
    assert too_low.unconditional < 0.001


def test_forecasts_use_days_that_were_over_and_nothing_later() -> None:
    whole = panel("A B", 200, seed=8)
    days = day_returns(whole)
    index = 150 * 24
    ended = day_returns(whole.tail(len(whole)).until(int(whole.at[index])))
    first, second = scenarios(days, index, 90 * 24), scenarios(ended, index, 90 * 24)

    assert not isinstance(first, Unavailable)
    assert not isinstance(second, Unavailable)
    np.testing.assert_allclose(first.filtered, second.filtered)
    np.testing.assert_allclose(first.plain, second.plain)


def test_filtered_scenarios_follow_the_volatility_of_now() -> None:
    calm = panel("A", 120, seed=4)
    louder = calm.returns.copy()
    louder[-72:] *= 4
    wild = type(calm)(
        calm.symbols, calm.interval_ms, calm.at, 100 * np.exp(np.cumsum(louder, axis=0)), louder, calm.spans, {}
    )
    spread = []
    for one in (calm, wild):
        drawn = scenarios(day_returns(one), len(one) - 1, 90 * 24)
        assert not isinstance(drawn, Unavailable)
        spread.append((drawn.filtered.std(), drawn.plain.std()))

    assert spread[1][0] > 2.5 * spread[0][0]
    assert spread[1][1] < 1.5 * spread[0][1]


def test_funding_lands_on_the_row_that_closes_at_its_time_and_is_paid_by_longs() -> None:
    market = panel("A B", 5)
    at = int(market.at[40])
    paid = funding_rows(market, {"B": (np.array([at + 7, at - 10**12]), np.array([0.0004, 0.5]))})

    assert paid.sum() == pytest.approx(0.0004)
    assert paid[40, 1] == pytest.approx(0.0004)


def test_too_short_a_history_is_unavailable() -> None:
    assert isinstance(backtest(panel("A", 60), 0.95, window_days=90), Unavailable)


def test_recorded_years_are_within_kupiecs_band(recorded: Panel) -> None:
    """Issue: at least 6 of 8 symbols, and the equal-weight book."""
    found = backtest(recorded, 0.95)
    assert not isinstance(found, Unavailable)
    filtered = {one.name: one for one in found if one.method == "filtered"}

    assert len(filtered) == 9
    assert filtered["equal weight"].in_band
    assert sum(one.in_band for name, one in filtered.items() if name != "equal weight") >= 6
    assert sum(one.independence > 0.05 for one in filtered.values()) >= 7
    assert all(one.days > 1000 for one in filtered.values())
