"""Overfitting, deflated Sharpe, the bootstrap and the folds, held to published and constructed answers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpctl.exits.errors import InputsError
from tpctl.learn.folds import MONTH_MS, leave_symbol_out, walk_forward
from tpctl.learn.measures import capture, max_drawdown, tail_mean
from tpctl.learn.overfitting import (
    backtest_overfitting,
    benchmark_sharpe,
    deflated_sharpe,
    expected_maximum,
    moments,
)
from tpctl.learn.resample import by_day, interquartile_mean, mean_interval

DAY_MS = 86_400_000


@pytest.mark.parametrize(("trials", "value"), [(10, 1.5746), (100, 2.5306), (1000, 3.2551)])
def test_the_expected_best_of_worthless_trials(trials, value):
    assert expected_maximum(trials) == pytest.approx(value, abs=1e-4)


def test_the_example_of_bailey_and_lopez_de_prado():
    """SR 2.5 a year, 100 trials, 1250 days, skew -3, kurtosis 10, variance of the trials 1/2."""
    benchmark = benchmark_sharpe(0.5 / 250, 100)
    assert benchmark == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(2.5 / 250**0.5, benchmark, 1250, -3.0, 10.0) == pytest.approx(0.9004, abs=5e-5)


def test_moments_of_known_series():
    sharpe, skew, kurtosis = moments(np.array([1.0, 2.0, 3.0, 4.0]))
    assert (sharpe, skew) == pytest.approx((2.5 / 1.25**0.5, 0.0))
    assert kurtosis == pytest.approx(1.64)
    assert moments(np.ones(5)) == (0.0, 0.0, 3.0)


def test_overfitting_of_noise_is_a_coin_and_of_a_real_best_is_none():
    draw = np.random.default_rng(3)
    found = [
        backtest_overfitting(np.random.default_rng(seed).standard_normal((480, 20))).probability for seed in range(12)
    ]
    assert 0.3 < float(np.mean(found)) < 0.7
    real = draw.standard_normal((480, 20))
    real[:, 7] += 0.5
    assert backtest_overfitting(real).probability == 0.0
    assert backtest_overfitting(real).splits == 12_870
    with pytest.raises(ValueError, match="blocks"):
        backtest_overfitting(real[:20])


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    covered = above = 0
    for seed in range(120):
        draw = np.random.default_rng(seed)
        day = draw.integers(0, 200, 800)
        values = 0.3 * draw.standard_normal(200)[day] + draw.standard_normal(800)
        interval = mean_interval(by_day(day * DAY_MS, values), seed=seed, replications=500)
        covered += interval.low <= 0.0 <= interval.high
        above += interval.lower_bound > 0.0
    assert covered >= 105
    assert above <= 14


def test_positions_that_are_copies_of_their_day_do_not_make_the_mean_surer():
    draw = np.random.default_rng(0)
    values = draw.standard_normal(100)
    one = mean_interval(by_day(np.arange(100) * DAY_MS, values))
    many = mean_interval(by_day(np.repeat(np.arange(100), 9) * DAY_MS, np.repeat(values, 9)))
    assert many.high - many.low == pytest.approx(one.high - one.low, rel=1e-9)


def test_the_middle_half_ignores_outliers():
    assert interquartile_mean(np.array([1.0, 2.0, 3.0, 1e9])) == pytest.approx(2.5)


def test_tail_drawdown_and_capture():
    values = np.arange(100.0)
    assert tail_mean(values) == pytest.approx(2.0)
    assert max_drawdown(np.arange(5), np.array([1.0, -2.0, 0.5, -1.0, 5.0])) == pytest.approx(2.5)
    assert max_drawdown(np.arange(3), np.ones(3)) == 0.0
    assert capture(1.0, 0.5, 1.5) == pytest.approx(0.5)
    assert capture(1.0, 1.5, 1.5) is None


@given(st.integers(400, 1500), st.integers(1, 10))
def test_no_teaching_position_is_open_when_the_test_begins(days, horizon_days):
    """Purged and embargoed, and every test entry lies in at most one fold."""
    horizon = horizon_days * DAY_MS
    try:
        folds = walk_forward(0, days * DAY_MS, horizon)
    except InputsError:
        assert days < 420 + 3 * horizon_days + 20
        return
    for fold in folds:
        assert fold.train_until + 2 * horizon <= fold.test_from
        assert fold.test_until <= days * DAY_MS - horizon
    for one, after in pairwise(folds):
        assert after.test_from == one.test_until
        assert one.test_until - one.test_from == MONTH_MS


def test_a_symbol_left_out_does_not_teach():
    assert leave_symbol_out(("A", "B", "A"), "A").tolist() == [False, True, False]
