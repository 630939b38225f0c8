"""The Gymnasium environment: passes its checker, is the simulator, and no action can do more than tighten or close."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tpctl.learn.config import TrainConfig, base_terms
from tpctl.learn.environment import NAME, ExitEnv, ExitVectorEnv, synthetic_episodes
from tpctl.learn.episodes import Episodes
from tpctl.learn.replay import replay
from tpctl.market.policy.model import Action

PLAIN = TrainConfig()
AS_PLANNED = PLAIN.multiples.index(1.0)


@pytest.fixture(scope="module")
def episodes() -> Episodes:
    return synthetic_episodes(3, 64)


def test_it_is_found_by_its_name_and_passes_the_checker():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(f"tpctl.learn.environment:{NAME}")
        check_env(env.unwrapped, skip_render_check=True)


@pytest.mark.parametrize("number", [0, 7, 31])
def test_holding_is_what_the_simulator_makes_of_the_plan(episodes, number):
    env = ExitEnv(episodes, PLAIN)
    env.reset(options={"episode": number})
    total, over, info = 0.0, False, {}
    first = True
    while not over:
        _, reward, over, truncated, info = env.step(np.array([Action.HOLD, AS_PLANNED]))
        assert not truncated
        total, first = total + reward, False
    one = episodes.take(np.array([number]))
    outcome = replay(one, base_terms(one, PLAIN), PLAIN.costs)

    assert not first
    assert info["net_r"] == pytest.approx(outcome.r[0], abs=1e-12)
    # From the entry on: what entering and leaving at once costs is not the exit's.
    assert total < 2.0 + outcome.r[0]


def test_rewards_add_up_to_the_net_result_once(episodes):
    env = ExitVectorEnv(64, episodes, PLAIN)
    env.reset(options={"episodes": np.arange(64)})
    total = np.zeros(64)
    start = None
    draw = np.random.default_rng(1)
    for _ in range(episodes.horizon + 1):
        actions = np.stack([draw.integers(0, len(Action), 64), np.full(64, AS_PLANNED)], axis=1)
        _, reward, over, _, info = env.step(actions)
        start = info["net_r"] - reward if start is None else start
        total += reward

    assert over.all()
    assert start + total == pytest.approx(info["net_r"], abs=1e-9)


def test_the_bonus_is_paid_once_and_only_when_the_zone_was_taken(episodes):
    config = TrainConfig(bonus=5.0, zone=0.004)
    paid = []
    for chosen in (PLAIN, config):
        env = ExitVectorEnv(64, episodes, chosen)
        env.reset(options={"episodes": np.arange(64)})
        total = np.zeros(64)
        for _ in range(episodes.horizon + 1):
            _, reward, _, _, _ = env.step(np.tile([Action.HOLD, AS_PLANNED], (64, 1)))
            total += reward
        paid.append(total)
    bonus = np.round(paid[1] - paid[0], 9)
    outcome = replay(episodes, base_terms(episodes, config), config.costs, zone=config.zone)

    assert set(bonus) == {0.0, 5.0}
    assert np.array_equal(bonus == 5.0, outcome.hit)


def test_one_at_a_time_and_all_at_once_are_the_same(episodes):
    draw = np.random.default_rng(5)
    script = np.stack([draw.integers(0, len(Action), (49, 64)), draw.integers(0, 5, (49, 64))], axis=2)
    many = ExitVectorEnv(64, episodes, PLAIN)
    seen, _ = many.reset(options={"episodes": np.arange(64)})
    rows = [seen]
    rewards = []
    for actions in script:
        seen, reward, _, _, _ = many.step(actions)
        rows.append(seen)
        rewards.append(reward)
    for number in (0, 20, 63):
        env = ExitEnv(episodes, PLAIN)
        alone, _ = env.reset(options={"episode": number})
        assert np.array_equal(alone, rows[0][number])
        for step, actions in enumerate(script):
            alone, reward, over, _, _ = env.step(actions[number])
            assert reward == rewards[step][number]
            assert np.array_equal(alone, rows[step + 1][number])
            if over:
                break


def test_what_is_not_allowed_is_held(episodes):
    env = ExitVectorEnv(64, episodes, PLAIN)
    _, info = env.reset(options={"episodes": np.arange(64)})
    assert info["action_mask"].sum() == 64
    positions = env._positions
    assert positions is not None
    stop = None
    draw = np.random.default_rng(2)
    for _ in range(episodes.horizon):
        env.step(np.stack([draw.integers(0, len(Action), 64), np.zeros(64, dtype=np.int64)], axis=1))
        simulation = positions._simulation
        assert simulation is not None
        assert (simulation.lots <= simulation.terms.quantity).all()
        if stop is not None:
            assert (simulation.stop >= stop).all()
        stop = simulation.stop.copy()


def test_observations_know_nothing_of_what_comes(episodes):
    env, other = ExitEnv(episodes, PLAIN), ExitEnv(episodes, PLAIN)
    first, _ = env.reset(options={"episode": 4})
    turned = episodes.take(np.array([4]))
    turned.close[:, 1:] *= 1.5
    turned.high[:, 1:] *= 1.5
    second, _ = ExitEnv(turned, PLAIN).reset(options={"episode": 0})
    assert np.array_equal(first, second)
    assert other.observation_space.contains(first)
