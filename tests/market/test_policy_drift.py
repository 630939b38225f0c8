"""When retraining is due, and when the world has left a policy behind (learning 7 and 8)."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpctl.market.bars import DAY_MS
from tpctl.market.policy.drift import (
    Evidence,
    Expected,
    alarms,
    asks_otherwise,
    divergence,
    does_harm,
    falls_short,
    has_moved,
    hits_otherwise,
    leaves_early,
    slips_more,
    stability_index,
    waiting,
)
from tpctl.market.policy.due import Standing, due
from tpctl.market.policy.hits import HIT_FEATURES, HitOdds
from tpctl.market.policy.model import Action

# Nothing, a quarter, half, all, tighten.
MIX = (0.55, 0.0002, 0.0002, 0.3496, 0.1)
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


def stream(draw, mix, count):
    return draw.choices(list(Action), mix, k=count)


def test_what_is_asked_first_is_told_when_it_is_shared_out_otherwise():
    draw = random.Random(5)
    moved = (0.1, 0.0002, 0.0002, 0.7996, 0.1)
    told = [asks_otherwise([*stream(draw, MIX, 300), *stream(draw, moved, 60)], MIX) for _ in range(100)]

    assert sum(text is not None for text in told) >= 95
    first = next(text for text in told if text)
    assert first.startswith("it asks otherwise than in training: first for ")
    assert "expected (divergence " in first
    # One that training never asked of anybody.
    assert "first for close quarter at 20%" in (
        asks_otherwise([Action.HOLD] * 48 + [Action.CLOSE_QUARTER] * 12, (0.96, 0.01, 0.01, 0.01, 0.01)) or ""
    )


def test_what_is_asked_as_in_training_is_no_alarm():
    draw = random.Random(6)

    def alarmed(mix):
        asked = stream(draw, mix, 1_000)
        return any(asks_otherwise(asked[:end], mix) for end in range(60, 1_001))

    # At most one false alarm in a thousand positions.
    mixes = [MIX, (0.2,) * 5, (0.9, 0.0002, 0.0002, 0.0996, 0.0), (0.02, 0.0002, 0.0002, 0.4796, 0.5)]
    for mix in mixes:
        shares = tuple(max(share, 0.0002) for share in mix)
        assert sum(alarmed(shares) for _ in range(10)) <= 1
    assert asks_otherwise([Action.TIGHTEN] * 59, MIX) is None
    assert asks_otherwise([Action.TIGHTEN] * 60, ()) is None


def test_the_divergence_is_of_what_was_counted_from_what_was_expected():
    assert divergence((0.5, 0.5), (7, 7)) == 0.0
    assert divergence((0.25, 0.75), (4, 0)) == pytest.approx(math.log(4))


def foretold(draw, count, comes):
    """Return chances from 0.1 to 0.9 and hits that come with `comes` of them."""
    chances = [0.1 + 0.8 * draw.random() for _ in range(count)]
    return [(chance, draw.random() < comes(chance)) for chance in chances]


def test_targets_that_are_hit_less_often_than_foretold_are_told_within_sixty_positions():
    draw = random.Random(8)
    told = [
        hits_otherwise([*foretold(draw, 40, lambda chance: chance), *foretold(draw, 60, lambda _: 0.1)])
        for _ in range(100)
    ]

    assert sum(text is not None for text in told) >= 95
    assert next(text for text in told if text).startswith("targets were hit by ")


def test_chances_that_tell_nothing_any_more_are_told_by_their_brier_score():
    draw = random.Random(9)
    # As many hits as foretold, but not where they were.
    told = [hits_otherwise(foretold(draw, 60, lambda chance: 1.0 - chance)) for _ in range(50)]

    assert all(text is not None for text in told)
    assert sum("Brier score" in (text or "") for text in told) >= 45


def test_targets_that_come_as_foretold_are_no_alarm():
    draw = random.Random(10)
    false = 0
    for _ in range(20):
        hits = foretold(draw, 1_000, lambda chance: chance)
        false += any(hits_otherwise(hits[:end]) for end in range(40, 1_001))
    assert false <= 1
    assert hits_otherwise([(0.5, False)] * 39) is None
    # A coin that is foretold as a coin says nothing worse than it promised.
    assert hits_otherwise([(0.5, True), (0.5, False)] * 50) is None


def test_what_cannot_be_judged_yet_is_told_with_how_much_is_missing():
    promised = Expected(
        0.1, 0.0001, {"swell": DECILES, "reach": DECILES}, actions=MIX, hits=HitOdds(0.0, (0.0,) * len(HIT_FEATURES))
    )
    little = Evidence(slips=[0.0] * 20, readings={"swell": [0.5] * 199, "reach": [0.5] * 198}, actions=[Action.HOLD])

    assert waiting(little, promised) == (
        "whether the market has moved is judged from 200 positions on, 198 so far",
        "what is asked first is judged from 60 closed positions on, 1 so far",
        "how often targets are hit is judged from 40 positions on, 0 so far",
    )
    much = Evidence(
        slips=[0.0] * 20,
        readings={"swell": [0.5] * 200, "reach": [0.5] * 200},
        actions=[Action.HOLD] * 60,
        hits=[(0.5, True)] * 40,
    )
    assert waiting(much, promised) == ()
    assert all("did not record it" in text for text in waiting(much, Expected(0.1, 0.0001)))


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
    promised = Expected(1.0, 0.0001, {"swell": DECILES}, actions=MIX)
    moved = Evidence(
        [-1.0] * 40,
        slips=[0.001] * 20,
        readings={"swell": [0.5] * 900 + [0.99] * 200},
        actions=[Action.TIGHTEN] * 60,
        hits=[(0.6, False)] * 60,
    )
    found = alarms(moved, promised)

    assert [text.split()[0] for text in found] == ["results", "slippage", "it", "targets", "swell"]
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
