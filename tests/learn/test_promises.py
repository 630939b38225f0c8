"""What a policy promises of itself: measured as it is played, and foretold live as it was in training."""

from dataclasses import replace
from math import exp

import numpy as np
import pytest

from tpctl.learn.config import TrainConfig, base_terms
from tpctl.learn.environment import synthetic_episodes
from tpctl.learn.episodes import Episodes
from tpctl.learn.play import Player
from tpctl.learn.promises import fit_hits, hit_matrix, promises_of
from tpctl.learn.replay import Simulation
from tpctl.learn.terms import LadderAccount
from tpctl.learn.train import policy_outcomes
from tpctl.market.policy.features import STEP_FEATURES
from tpctl.market.policy.hits import hit_features
from tpctl.market.policy.model import Action, LearnedPolicy, Linear, Origin, Score

CONFIG = TrainConfig()
FLAT = (0.0,) * len(STEP_FEATURES)
NEVER, ALWAYS = Score(-1.0, FLAT), Score(1.0, FLAT)


@pytest.fixture(scope="module")
def episodes() -> Episodes:
    return synthetic_episodes(4, 1_500)


def policy_of(episodes: Episodes, close: Score, tighten: Score) -> LearnedPolicy:
    return LearnedPolicy(
        episodes.interval_ms, episodes.horizon, Linear(close, tighten), (), 2.0, Origin("stopping", 1, 2, "", "")
    )


@pytest.mark.parametrize(
    ("close", "tighten", "action"),
    [(NEVER, NEVER, Action.HOLD), (ALWAYS, NEVER, Action.CLOSE_ALL), (NEVER, ALWAYS, Action.TIGHTEN)],
)
def test_the_mix_is_of_what_is_asked_first(episodes, close, tighten, action):
    mix = promises_of(episodes, policy_of(episodes, close, tighten), CONFIG).actions

    assert sum(mix) == pytest.approx(1.0)
    assert min(mix) > 0.0
    # A position that ends before it is asked is asked for nothing.
    assert mix[action] > 0.9


def test_targets_come_as_often_as_foretold(episodes):
    policy = policy_of(episodes, NEVER, NEVER)
    odds = promises_of(episodes, policy, CONFIG).hits
    assert odds is not None
    simulation = Simulation(episodes, base_terms(episodes, CONFIG), CONFIG.costs, tighten_reach=policy.tighten_reach)
    simulation.open_candle(0)
    simulation.finish_candle(0)
    fresh = np.flatnonzero(simulation.live & (simulation.done == 0))
    chances = np.array([odds.chance(row) for row in simulation.features(0, fresh).T])
    came = (policy_outcomes(Player(episodes), policy, CONFIG).legs > 0)[fresh]

    assert chances.mean() == pytest.approx(came.mean(), abs=0.01)
    for half in (chances < np.median(chances), chances >= np.median(chances)):
        assert chances[half].mean() == pytest.approx(came[half].mean(), abs=0.05)
    assert ((came - chances) ** 2).mean() < came.var()


def test_the_model_finds_the_chances_that_hits_were_drawn_by():
    draw = np.random.default_rng(3)
    seen = draw.standard_normal((5, 20_000))
    chance = 1.0 / (1.0 + np.exp(-(0.3 + 0.8 * seen[0] - 0.5 * seen[1])))
    odds = fit_hits(seen, draw.random(20_000) < chance)

    assert odds is not None
    assert (odds.bias, *odds.weights) == pytest.approx((0.3, 0.8, -0.5, 0.0, 0.0, 0.0), abs=0.06)
    assert fit_hits(seen, np.ones(20_000, dtype=bool)) is None
    assert fit_hits(seen[:, :0], np.empty(0, dtype=bool)) is None


def test_one_position_sees_what_the_arrays_of_training_see():
    draw = np.random.default_rng(4)
    features = draw.uniform(-2.0, 12.0, (len(STEP_FEATURES), 50))

    assert np.array([hit_features(row) for row in features.T]) == pytest.approx(hit_matrix(features).T)


def test_a_chance_is_the_logistic_of_its_log_odds_and_nobody_is_sure():
    draw = np.random.default_rng(5)
    odds = fit_hits(draw.standard_normal((5, 500)), draw.random(500) < 0.4)
    assert odds is not None
    seen = [0.5] * len(STEP_FEATURES)
    total = odds.bias + sum(weight * value for weight, value in zip(odds.weights, hit_features(seen), strict=True))

    assert odds.chance(seen) == pytest.approx(1.0 / (1.0 + exp(-total)))
    assert replace(odds, bias=1e9).chance(seen) == 0.98
    assert replace(odds, bias=-1e9).chance(seen) == 0.02


def test_every_leverage_is_drawn_and_a_part_meets_what_it_met_in_the_whole(episodes):
    terms = base_terms(episodes, CONFIG)
    part = base_terms(episodes.take(np.arange(0, len(episodes), 7)), CONFIG)
    assert (terms.targets[::7] == part.targets).all()

    near, _, far = (
        np.median(np.abs(base_terms(episodes, replace(CONFIG, account=LadderAccount((leverage,)))).targets[:, 0]))
        for leverage in sorted(LadderAccount().leverages, reverse=True)
    )
    assert near != far
    alone = [base_terms(episodes, replace(CONFIG, account=LadderAccount((one,)))) for one in LadderAccount().leverages]
    like = np.stack([(terms.targets == one.targets).all(axis=1) for one in alone])
    assert like.any(axis=0).all()
    assert (like.mean(axis=1) > 0.2).all()
