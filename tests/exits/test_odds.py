import math
import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.odds import odds, touch_probability
from tpctl.exits.units import Ratio

D = Decimal
DAILY = Ratio.percent("3")


def number(value: Decimal | Unavailable) -> float:
    assert isinstance(value, Decimal)
    return float(value)


def test_the_closed_forms_agree_with_a_seeded_walk() -> None:
    up, down, runs = 6, 4, 8000
    draw = random.Random(20261120)
    hits, steps_of_hits = 0, 0
    for _ in range(runs):
        at = steps = 0
        while -down < at < up:
            at += 1 if draw.random() < 0.5 else -1
            steps += 1
        if at == up:
            hits += 1
            steps_of_hits += steps
    # A walk of k log steps in a day has a daily deviation of step · √k; a step a minute makes steps minutes.
    step = D("0.03") / D(1440).sqrt()
    answer = odds(D(100), D(100) * (up * step).exp(), D(100) * (-down * step).exp(), DAILY)

    assert number(answer.reach_before_stop) == pytest.approx(hits / runs, abs=0.02)
    assert number(answer.expected_minutes) == pytest.approx(steps_of_hits / hits, rel=0.04)


def test_the_touch_probability_agrees_with_a_seeded_walk() -> None:
    level, minutes, runs = 15, 200, 4000
    draw = random.Random(7)
    touched = 0
    for _ in range(runs):
        at = 0
        for _ in range(minutes):
            at += 1 if draw.random() < 0.5 else -1
            if at == -level:
                touched += 1
                break
    step = D("0.03") / D(1440).sqrt()

    probability = touch_probability(D(100), D(100) * (-level * step).exp(), DAILY, D(minutes))

    assert number(probability) == pytest.approx(touched / runs, abs=0.03)


def test_equal_log_distances_are_even_odds_for_either_side() -> None:
    long = odds(D(100), D(125), D(80), DAILY)
    short = odds(D(100), D(80), D(125), DAILY)

    assert long.reach_before_stop == short.reach_before_stop == D("0.5")
    assert long.expected_minutes == short.expected_minutes
    assert long.model == "driftless log-price diffusion at the daily volatility"


prices = st.decimals(min_value=D("0.01"), max_value=D(1000), places=2)


@settings(max_examples=100, deadline=None)
@given(st.sets(prices, min_size=3, max_size=3), st.decimals(min_value=D("0.1"), max_value=D(20), places=1))
def test_one_of_two_levels_is_reached_and_twice_the_volatility_takes_a_quarter_of_the_time(
    levels: set[Decimal], percent: Decimal
) -> None:
    low, price, high = sorted(levels)
    up, down = odds(price, high, low, Ratio.percent(percent)), odds(price, low, high, Ratio.percent(percent))
    doubled = odds(price, high, low, Ratio.percent(2 * percent))

    assert number(up.reach_before_stop) + number(down.reach_before_stop) == pytest.approx(1, abs=1e-11)
    assert number(up.expected_minutes) == pytest.approx(4 * number(doubled.expected_minutes), rel=1e-6, abs=1e-11)


def test_without_volatility_the_odds_stand_and_the_time_is_unavailable_with_the_reason() -> None:
    answer = odds(D(100), D(102), D(98), Unavailable("no candles"))

    assert isinstance(answer.reach_before_stop, Decimal)
    assert answer.expected_minutes == Unavailable("volatility is unavailable: no candles")
    assert touch_probability(D(100), D(98), Unavailable("no candles"), D(60)) == Unavailable(
        "volatility is unavailable: no candles"
    )
    assert isinstance(odds(D(100), D(102), D(98), Ratio(D(0))).expected_minutes, Unavailable)


@pytest.mark.parametrize("price", ["102", "103"])
def test_a_target_already_reached_is_certain_and_takes_no_time(price: str) -> None:
    answer = odds(D(price), D(102), D(98), DAILY)

    assert (answer.reach_before_stop, answer.expected_minutes) == (1, 0)


@pytest.mark.parametrize("price", ["98", "97"])
def test_at_the_stop_the_target_is_out_of_reach(price: str) -> None:
    answer = odds(D(price), D(102), D(98), DAILY)

    assert answer.reach_before_stop == 0
    assert answer.expected_minutes == Unavailable("the stop is reached")


@settings(max_examples=100, deadline=None)
@given(st.decimals(min_value=D("0.001"), max_value=D(9), places=3))
def test_touching_agrees_with_the_error_function(x: Decimal) -> None:
    sigma, minutes = D("0.03"), D(720)
    distance = x * (2 * sigma**2 * minutes / 1440).sqrt()

    probability = touch_probability(D(1), distance.exp(), DAILY, minutes)

    assert number(probability) == pytest.approx(math.erfc(float(x)), abs=2e-12)


def test_touching_is_certain_at_the_level_impossible_in_no_time_and_hopeless_far_away() -> None:
    assert touch_probability(D(100), D(100), DAILY, D(0)) == 1
    assert touch_probability(D(100), D(99), DAILY, D(0)) == 0
    assert touch_probability(D(100), D(1), Ratio.percent("0.1"), D(1)) == 0


@pytest.mark.parametrize(("price", "target", "stop"), [("100", "102", "102"), ("0", "102", "98"), ("100", "102", "-1")])
def test_levels_that_make_no_question_are_refused(price: str, target: str, stop: str) -> None:
    with pytest.raises(InputsError):
        odds(D(price), D(target), D(stop), DAILY)


@pytest.mark.parametrize(("price", "minutes"), [("0", "10"), ("100", "-1")])
def test_touching_needs_a_price_and_a_horizon(price: str, minutes: str) -> None:
    with pytest.raises(InputsError):
        touch_probability(D(price), D(99), DAILY, D(minutes))
