"""Closed-form checks of every measure against its published definition (learning 9)."""

from decimal import Decimal
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import PositionKey
from tpctl.market.risk.account import Account, Exposure, account_stress, open_risk
from tpctl.market.risk.book import correlation_risk, portfolio_heat, risk_shares
from tpctl.market.risk.covariance import constant_correlation, ewma, ewma_volatility, ledoit_wolf
from tpctl.market.risk.stress import market_stress, tail_mean
from tpctl.market.risk.systemic import (
    absorption_ratio,
    normal_cdf,
    standardised_turbulence,
    systemic_risk,
    turbulence,
)
from tpctl.market.risk.value_at_risk import book_losses, tail_risk

RNG = np.random.default_rng(7)


def _equicorrelation(size: int, rho: float) -> np.ndarray:
    return np.full((size, size), rho) + (1 - rho) * np.eye(size)


# Estimates


def test_ledoit_wolf_shrinks_a_worked_example_as_far_as_the_paper_says() -> None:
    """S = diag(2, 1/2), a² = 9/8, b² = 17/16, so d = 17/18 and S* = S/18 + 17/18 · 5/4 I."""
    shrunk, intensity = ledoit_wolf(np.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]]))

    assert intensity == pytest.approx(17 / 18)
    assert shrunk == pytest.approx(np.diag([2 / 18 + 17 / 18 * 1.25, 0.5 / 18 + 17 / 18 * 1.25]))


def test_ledoit_wolf_agrees_with_its_definition_written_out() -> None:
    samples = RNG.standard_t(4, (90, 6)) @ np.diag([1, 2, 1, 3, 1, 1])
    centred = samples - samples.mean(axis=0)
    sample = centred.T @ centred / 90
    target = np.trace(sample) / 6 * np.eye(6)
    error = sum(((np.outer(x, x) - sample) ** 2).sum() for x in centred) / 90**2
    expected = min(error, ((sample - target) ** 2).sum()) / ((sample - target) ** 2).sum()

    shrunk, intensity = ledoit_wolf(samples)

    assert intensity == pytest.approx(expected)
    assert shrunk == pytest.approx((1 - expected) * sample + expected * target)


def test_constant_correlation_agrees_with_its_definition_written_out() -> None:
    samples = RNG.standard_t(5, (200, 5)) + np.array([0.2, 0.9, 1.5, 0, 0.5]) * RNG.standard_normal((200, 1))
    y = (samples - samples.mean(axis=0)) / samples.std(axis=0)
    sample = y.T @ y / 200
    mean = (sample.sum() - 5) / 20
    pi = rho = 0.0
    for i in range(5):
        for j in range(5):
            own = ((y[:, i] * y[:, j] - sample[i, j]) ** 2).mean()
            pi += own
            if i == j:
                rho += own
                continue
            first = ((y[:, i] ** 2 - 1) * (y[:, i] * y[:, j] - sample[i, j])).mean()
            second = ((y[:, j] ** 2 - 1) * (y[:, i] * y[:, j] - sample[i, j])).mean()
            rho += mean / 2 * (first + second)
    target = _equicorrelation(5, mean)
    expected = max(0.0, min(1.0, (pi - rho) / ((sample - target) ** 2).sum() / 200))

    shrunk, intensity = constant_correlation(samples)

    assert 0 < intensity < 1
    assert intensity == pytest.approx(expected)
    assert shrunk == pytest.approx((1 - expected) * sample + expected * target)


def test_copies_correlate_exactly_and_a_still_series_with_nothing() -> None:
    one = RNG.standard_normal(300)
    shrunk, _ = constant_correlation(np.column_stack([one, 2 * one, 3 * one]))
    still, _ = constant_correlation(np.column_stack([one, np.zeros(300)]))

    assert shrunk == pytest.approx(np.ones((3, 3)))
    assert still == pytest.approx(np.eye(2))


def test_the_blocked_ewma_is_the_recursion() -> None:
    values = RNG.standard_normal((1000, 3)) ** 2
    expected, last = [], np.ones(3)
    for row in values:
        last = 0.97 * last + 0.03 * row
        expected.append(last)

    assert ewma(values, 0.97, np.ones(3)) == pytest.approx(np.array(expected))


def test_ewma_volatility_finds_a_constant_one_and_is_unknown_while_it_warms_up() -> None:
    returns = 0.01 * RNG.choice([-1.0, 1.0], (500, 2))
    found = ewma_volatility(returns, 3_600_000, 48)

    assert np.isnan(found[:48]).all()
    assert found[48:] == pytest.approx(0.01)


# Systemic risk


@pytest.mark.parametrize(("rho", "ratio"), [(0.0, 0.20), (0.3, 0.44), (0.6, 0.68), (0.9, 0.92)])
def test_absorption_ratio_of_equal_correlations(rho: float, ratio: float) -> None:
    assert absorption_ratio(_equicorrelation(10, rho)[None])[0] == pytest.approx(ratio)


def test_absorption_ratio_of_independent_series_is_near_k_over_n() -> None:
    shrunk, _ = ledoit_wolf(RNG.standard_normal((2000, 10)))

    assert absorption_ratio(shrunk[None])[0] == pytest.approx(0.2, abs=0.01)


def test_turbulence_in_sample_has_its_known_mean() -> None:
    samples = RNG.standard_normal((1000, 8)) @ RNG.standard_normal((8, 8))
    found = turbulence(samples, samples.mean(axis=0), np.cov(samples.T))

    assert found.mean() == pytest.approx(999 / 1000)


def test_turbulence_survives_copies_and_symbols_that_stood_still() -> None:
    one = RNG.standard_normal((500, 2))
    history = np.column_stack([one, one[:, 0], np.zeros(500)])
    found, _ = standardised_turbulence(history, history)

    assert np.isfinite(found).all()
    assert 0.3 < found.mean() < 1.1


def test_systemic_risk_is_half_at_its_usual_and_bounded() -> None:
    assert systemic_risk(0.0, 0.5) == 0.5
    assert systemic_risk(50.0, 1.0) == pytest.approx(1.0)
    assert systemic_risk(-50.0, 0.0) == pytest.approx(0.0)
    assert normal_cdf(1.6448536269514722) == pytest.approx(0.95)


# Stress


def test_stress_is_exactly_one_at_its_baseline() -> None:
    baseline = RNG.uniform(0.001, 0.02, (50, 4))

    assert market_stress(baseline, baseline).tolist() == [1.0] * 50


@given(k=st.floats(0.3, 7.5), seed=st.integers(0, 99))
@settings(max_examples=50)
def test_a_market_that_moves_k_times_as_much_scores_k(k: float, seed: int) -> None:
    baseline = np.random.default_rng(seed).uniform(0.001, 0.02, 4)

    assert float(market_stress(k * baseline, baseline)) == pytest.approx(k)


@given(column=st.integers(0, 3), low=st.floats(0.1, 9), more=st.floats(0, 3))
@settings(max_examples=50)
def test_more_of_any_measure_is_never_less_stress_and_each_is_bounded(column: int, low: float, more: float) -> None:
    calm, wild = np.ones(4), np.ones(4)
    calm[column], wild[column] = low, low + more

    assert market_stress(wild, np.ones(4)) >= market_stress(calm, np.ones(4))
    assert 0.25 <= float(market_stress(np.full(4, 1e9), np.ones(4))) <= 8.0 + 1e-12


def test_the_mean_of_a_tail_counts_the_last_loss_by_its_fraction() -> None:
    losses = np.array([[5.0, 4, 3, 2, 1, 0, 0, 0, 0, 0]])

    assert tail_mean(losses, 0.2)[0] == 4.5
    assert tail_mean(losses, 0.25)[0] == pytest.approx((5 + 4 + 0.5 * 3) / 2.5)
    assert tail_mean(losses, 0.05)[0] == 5.0


def _account(**changes: str) -> Account:
    values = {"equity": "1000", "unrealised": "0", "initial_margin": "0", "gross_notional": "0"} | changes
    return Account(**{name: Decimal(value) for name, value in values.items()})


def test_a_flat_account_has_a_part_of_one() -> None:
    assert account_stress(_account()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"initial_margin": "500", "gross_notional": "0.0000001"},
        {"unrealised": "-111.1111111111111111111111111", "gross_notional": "0.0000001"},
        {"gross_notional": "10000"},
    ],
)
def test_each_mark_of_the_account_part_multiplies_by_a_quarter_more(changes: dict[str, str]) -> None:
    found = account_stress(_account(**changes))

    assert isinstance(found, Decimal)
    assert float(found) == pytest.approx(1.25)


def test_the_account_part_grows_with_margin_loss_and_exposure() -> None:
    calm = account_stress(_account(initial_margin="100", gross_notional="1000"))
    for worse in ({"initial_margin": "200"}, {"unrealised": "-50"}, {"gross_notional": "2000"}):
        found = account_stress(_account(**{"initial_margin": "100", "gross_notional": "1000"} | worse))
        assert isinstance(found, Decimal)
        assert isinstance(calm, Decimal)
        assert found > calm > 1


def test_the_account_part_of_a_lost_account_is_unavailable() -> None:
    assert isinstance(account_stress(_account(equity="-5", gross_notional="100")), Unavailable)


# The book


def test_correlation_risk_of_a_perfect_hedge_is_zero_and_of_copies_one() -> None:
    both = np.array([0.02, 0.02])

    assert correlation_risk(np.array([100.0, -100.0]), both, np.ones((2, 2))) == 0.0
    assert correlation_risk(np.array([100.0, 300.0]), both, np.ones((2, 2))) == pytest.approx(1.0)


@given(rho=st.floats(0, 1), size=st.integers(2, 12))
@settings(max_examples=50)
def test_correlation_risk_of_equal_correlations_is_that_correlation(rho: float, size: int) -> None:
    found = correlation_risk(np.full(size, 5.0), np.full(size, 0.03), _equicorrelation(size, rho))

    assert found == pytest.approx(rho)


def test_a_hedge_lowers_correlation_risk() -> None:
    volatility, matrix = np.full(3, 0.03), _equicorrelation(3, 0.7)
    together = correlation_risk(np.array([1.0, 1, 1]), volatility, matrix)
    hedged = correlation_risk(np.array([1.0, 1, -1]), volatility, matrix)

    assert isinstance(together, float)
    assert isinstance(hedged, float)
    assert hedged < together


def test_one_position_has_no_correlation_risk_to_measure() -> None:
    assert isinstance(correlation_risk(np.array([5.0]), np.array([0.02]), np.ones((1, 1))), Unavailable)


@pytest.mark.parametrize("size", [2, 5, 20])
def test_heat_of_equal_independent_positions_is_zero(size: int) -> None:
    shares = risk_shares(np.full(size, 7.0), np.full(size, 0.02), np.eye(size))

    assert not isinstance(shares, Unavailable)
    assert portfolio_heat(shares) == pytest.approx(0.0)


def test_heat_of_one_position_is_one_and_concentration_raises_it() -> None:
    shares = [risk_shares(np.array([big, 1.0, 1]), np.full(3, 0.02), np.eye(3)) for big in (1.0, 3.0, 100.0)]
    heats = [portfolio_heat(found) for found in shares if not isinstance(found, Unavailable)]

    assert portfolio_heat(np.array([1.0])) == 1.0
    assert heats == sorted(heats)
    assert heats[-1] > 0.99


@given(seed=st.integers(0, 999), scale=st.floats(0.01, 100))
@settings(max_examples=50)
def test_book_measures_do_not_change_with_scale_order_or_all_sides_turned(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 7))
    weights, volatility = rng.normal(size=size), rng.uniform(0.01, 0.08, size)
    matrix, _ = constant_correlation(rng.standard_normal((60, size)) + rng.standard_normal((60, 1)))
    order = rng.permutation(size)
    first = correlation_risk(weights, volatility, matrix)
    shares = risk_shares(weights, volatility, matrix)
    assert isinstance(first, float)
    assert not isinstance(shares, Unavailable)
    assert 0 <= first <= 1
    assert 0 <= portfolio_heat(shares) <= 1

    for changed in (scale * weights, -weights):
        assert correlation_risk(changed, volatility, matrix) == pytest.approx(first)
    turned = correlation_risk(weights[order], volatility[order], matrix[np.ix_(order, order)])
    again = risk_shares(weights[order], volatility[order], matrix[np.ix_(order, order)])
    assert turned == pytest.approx(first)
    assert not isinstance(again, Unavailable)
    assert portfolio_heat(again) == pytest.approx(portfolio_heat(shares))


def _exposure(side: PositionSide, mark: str, stop: str | None, quantity: str = "10") -> Exposure:
    found = None if stop is None else Decimal(stop)
    return Exposure(PositionKey("X", side), Decimal(quantity), Decimal(mark), Decimal(mark), found)


def test_open_risk_is_what_the_stops_lose_over_equity() -> None:
    book = [_exposure(PositionSide.LONG, "100", "97"), _exposure(PositionSide.SHORT, "50", "52")]

    assert open_risk(book, Decimal(1000)) == Decimal("0.05")
    assert open_risk([_exposure(PositionSide.LONG, "100", "103")], Decimal(1000)) == 0
    missing = open_risk([*book, _exposure(PositionSide.LONG, "1", None)], Decimal(1000))
    assert missing == Unavailable("X LONG has no resting stop")


# Tails


def test_var_and_shortfall_of_a_gaussian_book_agree_with_the_formula() -> None:
    covariance = np.array([[4.0, 1.5], [1.5, 9.0]]) * 1e-4
    weights = np.array([3000.0, -1000.0])
    returns = RNG.multivariate_normal([0, 0], covariance, 400_000)
    deviation = float(np.sqrt(weights @ covariance @ weights))
    normal = NormalDist()
    for level in (0.95, 0.99):
        z = normal.inv_cdf(level)
        found = tail_risk(book_losses(returns, weights), level)
        assert found.var == pytest.approx(z * deviation, rel=0.01)
        assert found.shortfall == pytest.approx(normal.pdf(z) / (1 - level) * deviation, rel=0.01)


def test_funding_shifts_every_loss_alike() -> None:
    returns, weights = RNG.normal(0, 0.02, (1000, 1)), np.array([500.0])
    without, paying = (
        tail_risk(book_losses(returns, weights), 0.95),
        tail_risk(book_losses(returns, weights, 3.0), 0.95),
    )

    assert paying.var == pytest.approx(without.var + 3.0)
    assert paying.shortfall == pytest.approx(without.shortfall + 3.0)
