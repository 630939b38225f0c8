"""The learners find what is known to be best, and nothing where there is nothing to find (learning 4)."""

from dataclasses import replace

import numpy as np
import pytest

from tpctl.learn.cem import CemRules, CemState, fit_cem
from tpctl.learn.known_answers import (
    Problem,
    bermudan_put,
    driftless_walk,
    hidden_trend,
    max_call,
    moser,
    ornstein_uhlenbeck,
    uniform_draws,
)
from tpctl.learn.stopping import StoppingRule, fit_stopping, values_of

FRESH = 60_000


def fresh(problem: Problem, rule: StoppingRule, seed: int) -> tuple[float, float]:
    """Return mean and standard error of a rule on paths it has not seen."""
    trace = problem.paths(FRESH, 10_000 + seed)
    values = values_of(trace, rule.scores(trace.features))
    return float(values.mean()), float(values.std() / np.sqrt(FRESH))


@pytest.mark.parametrize(("draws", "value"), [(1, 0.5), (2, 0.625), (3, 0.695312), (10, 0.861098), (20, 0.919887)])
def test_the_recursion_of_ka_0(draws, value):
    assert moser(draws) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize(
    ("problem", "share"),
    [
        (uniform_draws(5), 0.995),
        (uniform_draws(20), 0.995),
        (bermudan_put(36.0, 0.2, 1, 4.478), 0.99),
        (ornstein_uhlenbeck(), 0.98),
        (max_call(2, 90.0, 8.075), 0.99),
        (max_call(2, 100.0, 13.902), 0.99),
        (max_call(5, 100.0, 26.159), 0.99),
    ],
    ids=lambda one: one.name if isinstance(one, Problem) else "",
)
def test_fitted_stopping_reaches_the_known_value_and_does_not_pass_it(problem, share):
    mean, error = fresh(problem, fit_stopping(problem.paths(12_000, 1)), 1)

    assert share * problem.value - 2 * error <= mean <= problem.value + 3 * error


@pytest.mark.parametrize("seed", range(5))
def test_fitted_stopping_reaches_98_percent_of_the_bayes_optimum_from_raw_features(seed):
    problem = hidden_trend()
    mean, error = fresh(problem, fit_stopping(problem.paths(12_000, seed)), seed)

    assert 0.98 * problem.value <= mean <= problem.value + 3 * error


@pytest.mark.parametrize("problem", [ornstein_uhlenbeck(), hidden_trend()], ids=lambda one: one.name)
def test_the_cross_entropy_method_reaches_98_percent(problem):
    mean, error = fresh(problem, fit_cem(problem.paths(6_000, 3), 3), 3)

    assert 0.98 * problem.value <= mean <= problem.value + 3 * error


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_found_on_a_walk_without_drift(seed):
    problem = driftless_walk()
    mean, error = fresh(problem, fit_stopping(problem.paths(6_000, seed)), seed)

    assert mean <= problem.value + 3 * error


def test_equal_paths_give_equal_weights():
    trace = ornstein_uhlenbeck().paths(4_000, 7)
    first, second = fit_stopping(trace), fit_stopping(trace)
    assert first.bias == second.bias
    assert np.array_equal(first.weights, second.weights)
    assert np.array_equal(fit_cem(trace, 5).weights, fit_cem(trace, 5).weights)
    assert not np.array_equal(fit_cem(trace, 5).weights, fit_cem(trace, 6).weights)


def test_a_search_that_was_stopped_goes_on_to_the_same_weights():
    trace, rules = ornstein_uhlenbeck().paths(4_000, 7), CemRules(rounds=12)
    states: list[CemState] = []
    whole = fit_cem(trace, 5, rules, told=states.append)
    for state in (states[0], states[6], states[-1]):
        resumed = fit_cem(trace, 5, rules, state=state)
        assert resumed.bias == whole.bias
        assert np.array_equal(resumed.weights, whole.weights)


def test_holding_is_the_answer_where_closing_only_costs():
    trace = ornstein_uhlenbeck().paths(2_000, 1)
    worse = replace(trace, now=trace.now - 10.0)

    assert (fit_stopping(worse).scores(trace.features) <= 0.0).all()
