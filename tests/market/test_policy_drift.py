"""When retraining is due, and when the world has left a policy behind (learning 7 and 8)."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpctl.market.bars import DAY_MS
from tpctl.market.policy.drift import (
    Evidence,
    Expected,
    alarms,
    does_harm,
    falls_short,
    has_moved,
    leaves_early,
    slips_more,
    stability_index,
)
from tpctl.market.policy.due import Standing, due

DECILES = tuple(index / 10 for index in range(1, 10))


def test_a_shift_is_told_within_sixty_positions_and_hardly_ever_without_one():
    draw = random.Random(7)
    told = 0
    for _ in range(200):
        before = [draw.gauss(0.1, 1.0) for _ in range(100)]
        after = [draw.gauss(-0.7, 1.0) for _ in range(60)]
        told += falls_short([*before, *after], 0.1) is not None
    assert told >= 198
    false = sum(falls_short([draw.gauss(0.1, 1.0) for _ in range(1_000)], 0.1) is not None for _ in range(100))
    assert false <= 10  # at most one in ten thousand positions


def test_better_results_are_no_alarm():
    assert falls_short([2.0] * 500, 0.0) is None
    assert "fall short" in (falls_short([-1.0] * 30, 0.0) or "")


def test_slippage_needs_twenty_fills_and_twice_what_was_expected():
    assert slips_more([0.01] * 19, 0.0001) is None
    assert slips_more([0.0002] * 20, 0.0001) is None
    assert "3.0 x" in (slips_more([0.0] * 50 + [0.0003] * 20, 0.0001) or "")


def test_a_feature_that_moved_is_told():
    even = [index / 1000 for index in range(1000)]
    assert stability_index(DECILES, even) < 0.001
    assert has_moved("swell", DECILES, even) is None
    assert has_moved("swell", DECILES, [0.95] * 199) is None
    assert "swell has moved" in (has_moved("swell", DECILES, [0.9 + value / 10 for value in even]) or "")


def test_a_canary_that_does_worse_than_the_ladder_is_stopped_and_one_that_does_not_is_kept():
    draw = random.Random(11)

    def told(difference: float, count: int) -> int:
        streams = (
            [(arm, draw.gauss(difference * arm, 0.2)) for arm in (int(draw.random() < 0.5) for _ in range(count))]
            for _ in range(40)
        )
        return sum(does_harm(stream) is not None for stream in streams)

    assert told(-0.2, 200) == 40
    # A small harm is told too, later.
    assert told(-0.06, 400) < told(-0.06, 1_600) == 40
    assert told(0.0, 400) <= 4
    assert told(0.1, 400) == 0
    assert does_harm([]) is None
    assert does_harm([(1, -5.0)] * 500) is None
    # Far behind, by too few to be sure of a small difference.
    assert "-0.20 R" in (does_harm([(0, 0.1), (1, -0.1)] * 50) or "")
    assert does_harm([(0, 0.1), (1, -0.1)] * 20) is None


def test_premature_exits_alarm_beyond_what_chance_allows():
    assert leaves_early(0, 0) is None
    assert leaves_early(3, 10) is None
    assert "8 of 20" in (leaves_early(8, 20) or "")


def test_every_test_is_asked_and_only_the_newest_readings_count():
    promised = Expected(1.0, 0.0001, {"swell": DECILES})
    moved = Evidence([-1.0] * 40, slips=[0.001] * 20, readings={"swell": [0.5] * 900 + [0.99] * 200})
    found = alarms(moved, promised)

    assert [text.split()[0] for text in found] == ["results", "slippage", "swell"]
    assert alarms(Evidence(), promised) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_the_stability_index_is_never_negative(values):
    assert stability_index(DECILES, values) >= -1e-9


@pytest.mark.parametrize(
    ("standing", "is_due", "why"),
    [
        ((0, None, 0), True, "no candidate was trained yet"),
        ((2 * DAY_MS, 0, 99), False, "99 positions closed"),
        ((2 * DAY_MS, 0, 100), True, "100 positions closed"),
        ((DAY_MS - 1, 0, 500, ("slips",)), False, "less than a day old"),
        ((DAY_MS, 0, 0, ("slips",)), True, "slips"),
        ((30 * DAY_MS, 0, 0), True, "30 days old"),
        ((0, 5, 0), False, "less than a day old"),
    ],
)
def test_when_it_is_due(standing, is_due, why):
    found = due(Standing(*standing))

    assert found.due is is_due
    assert why in " ".join(found.why)
