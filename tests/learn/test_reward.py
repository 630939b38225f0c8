"""The vectors of exit-rules 13 (KA-7)."""

import pytest

from tpctl.learn.reward import Step, reward, tp_reward_weight, zone_accuracy, zone_taken


@pytest.mark.parametrize(
    ("step", "value"),
    [
        (Step(100, 0.05, regime_alignment=1, tp_zone_accuracy=1.0), 10006.975),
        (Step(100, 0.05, regime_alignment=1, tp_zone_accuracy=0.2), 10002.975),
        (Step(0.01, 0.05, position=0.5, regime_alignment=0.8), 2.575),
        (Step(0.01, 0.05, position=0.5, regime_alignment=0.8, volatility=0.03), 2.575),
        (Step(0.01, 0.05, position=0.5, regime_alignment=0.8, volatility=0.031), 0.075),
        (Step(0.0), -0.4),
    ],
)
def test_the_reward_of_a_step(step, value):
    assert reward(step) == pytest.approx(value, abs=1e-9)


def test_the_bonus_differs_by_four_and_scales_with_its_weight():
    full, little = Step(1.0, tp_zone_accuracy=1.0), Step(1.0, tp_zone_accuracy=0.2)
    assert reward(full) - reward(little) == pytest.approx(4.0)
    assert reward(full, 2.0) - reward(little, 2.0) == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("hit_rate", "mean_r", "attempts", "weight"),
    [
        (0.44, 1.2, 10, 2.0),
        (0.45, 1.2, 10, 1.0),
        (0.71, 1.19, 10, 0.5),
        (0.70, 1.19, 10, 1.2),
        (0.45, 1.19, 10, 1.2),
        (0.44, 1.19, 10, 1.0),
        (0.44, 1.2, 9, 1.0),
        (None, 1.2, 50, 1.0),
        (0.4, None, 50, 1.0),
    ],
)
def test_the_weight_of_the_bonus_is_measured(hit_rate, mean_r, attempts, weight):
    assert tp_reward_weight(hit_rate, mean_r, attempts) == weight


def test_the_zone_counts_the_distance_not_the_price():
    assert zone_taken(1, 100.0, 105.70)
    assert not zone_taken(1, 100.0, 105.69)
    assert not zone_taken(1, 100.0, 100.7)  # 95 % of the target's price is no success
    assert zone_taken(-1, 100.0, 94.30)
    assert not zone_taken(-1, 100.0, 94.31)
    assert zone_accuracy(3, 1) == 0.75
    assert zone_accuracy(0, 0) is None
