"""The sequential test: looked at after every outcome it stays honest, and it finds a difference that is there."""

from collections.abc import Callable
from math import log
from random import Random

import pytest

from tpctl.market.sequential import ALPHA, BURN_IN, Msprt, compare_streams

Draw = Callable[[Random], float]


def normal(random: Random) -> float:
    return random.gauss(0, 1)


def hit(random: Random) -> float:
    return float(random.random() < 0.7)


def trade(random: Random) -> float:
    """An exit in R: a bounded loss more often than not, a skewed gain otherwise."""
    return -1.0 if random.random() < 0.55 else random.expovariate(0.8)


def share_decided(draw: Draw, streams: int, pairs: int, seed: int, shift: float = 0.0) -> float:
    random, decided = Random(seed), 0
    for _ in range(streams):
        test = Msprt()
        for _ in range(pairs):
            test.see(0, draw(random))
            test.see(1, draw(random) + shift)
            if test.result().decided:
                decided += 1
                break
    return decided / streams


@pytest.mark.parametrize("draw", [normal, hit, trade])
def test_a_thousand_equal_streams_peeked_at_every_outcome_alarm_in_under_five_percent(draw: Draw) -> None:
    assert share_decided(draw, streams=1000, pairs=300, seed=11) < ALPHA


def test_naive_peeking_at_the_same_streams_would_not() -> None:
    """The promise is worth something: a fixed-size test looked at every time breaks it."""
    random, alarms = Random(11), 0
    for _ in range(300):
        a: list[float] = []
        b: list[float] = []
        for _ in range(300):
            a.append(normal(random))
            b.append(normal(random))
            if len(a) >= BURN_IN and abs(sum(b) - sum(a)) / len(a) > 1.96 * (2 / len(a)) ** 0.5:
                alarms += 1
                break
    assert alarms / 300 > 3 * ALPHA


@pytest.mark.parametrize("draw", [normal, trade])
def test_a_real_difference_is_found(draw: Draw) -> None:
    assert share_decided(draw, streams=50, pairs=1500, seed=5, shift=0.4) > 0.95


def test_the_difference_and_its_direction() -> None:
    random = Random(3)
    found = compare_streams((arm, random.gauss(0.5 * arm, 1)) for _ in range(1200) for arm in (0, 1))

    assert found.decided
    assert found.difference is not None
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.difference < found.high
    assert found.low <= 0.5 <= found.high
    assert found.decided_after is not None
    assert found.decided_after < 2400


def test_it_is_the_formula_of_the_reference_for_equal_arms() -> None:
    """learning 8: log L = ½ln(v/(v+nτ²)) + τ²S²/(2v(v+nτ²)), with v the variance of a difference and τ = 0.1 of it."""
    random = Random(8)
    a = [random.gauss(0, 1) for _ in range(200)]
    b = [random.gauss(0.2, 1) for _ in range(200)]
    test = Msprt(burn_in=200)
    for x, y in zip(a, b, strict=True):
        test.see(0, x)
        test.see(1, y)

    def variance(values: list[float]) -> float:
        mean = sum(values) / len(values)
        return sum((value - mean) ** 2 for value in values) / (len(values) - 1)

    v, n, s = variance(a) + variance(b), 200, sum(b) - sum(a)
    t = 0.01 * v
    ratio = 0.5 * log(v / (v + n * t)) + t * s * s / (2 * v * (v + n * t))
    assert test.result().p == pytest.approx(min(1.0, 2.718281828459045**-ratio), rel=1e-9)


def test_nothing_is_said_before_both_arms_have_enough() -> None:
    random = Random(1)
    test = Msprt()
    for number in range(10_000):
        test.see(0, random.gauss(0, 1))
        if number < BURN_IN - 1:
            test.see(1, 100.0 + random.gauss(0, 1))
    assert (test.result().p, test.result().low, test.result().decided) == (1.0, None, False)


def test_outcomes_that_are_all_alike_decide_nothing() -> None:
    found = compare_streams((arm, 1.0) for _ in range(200) for arm in (0, 1))

    assert (found.difference, found.p, found.decided) == (0.0, 1.0, False)
    assert compare_streams([]).difference is None
