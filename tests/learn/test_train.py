"""Training on replayed positions: reproducible to the bit, the same on either simulator, nothing found in noise."""

from dataclasses import fields, replace
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from market_walks import walk

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import PositionSide
from tpctl.learn.config import TrainConfig, base_terms
from tpctl.learn.costs import Costs, Slippage
from tpctl.learn.environment import synthetic_episodes
from tpctl.learn.episodes import EpisodeRules, Episodes, sample_episodes
from tpctl.learn.play import Player
from tpctl.learn.replay import Outcomes, Simulation
from tpctl.learn.train import incumbent_outcomes, policy_outcomes, train
from tpctl.market.policy.codec import decode_policy, encode_policy
from tpctl.market.policy.features import MarketReading, PositionReading, step_features

CONFIG = TrainConfig()
MEASURED = Costs(slippage=Slippage((0.0, 2e-4, 5e-4), (-1e-4, 1e-4), (1e-4, 3e-4), measured=True))


@pytest.fixture(scope="module")
def episodes() -> Episodes:
    series = {"XRPUSDT": walk("XRPUSDT", 4_000, 1), "BTCUSDT": walk("BTCUSDT", 4_000, 2, 50_000.0)}
    return sample_episodes(series, EpisodeRules(horizon=48), count=1_200)


def same(one: Outcomes, other: Outcomes) -> bool:
    return all(np.array_equal(getattr(one, item.name), getattr(other, item.name)) for item in fields(Outcomes))


@pytest.mark.parametrize("exits", ["dynamic", "static"])
@pytest.mark.parametrize("costs", [Costs(), MEASURED, MEASURED.later(), MEASURED.scaled(2.0)])
def test_the_compiled_simulator_gives_the_same_float64_without_a_policy(episodes, exits, costs):
    config = TrainConfig(exits=exits, costs=costs)
    plain, compiled = Player(episodes, compiled=False), Player(episodes, compiled=True)

    assert same(incumbent_outcomes(plain, config), incumbent_outcomes(compiled, config))


def test_the_compiled_simulator_gives_the_same_float64_with_a_policy(episodes):
    policy = train(episodes, CONFIG, 3).policy

    plain, compiled = Player(episodes, compiled=False), Player(episodes, compiled=True)
    assert same(policy_outcomes(plain, policy, CONFIG), policy_outcomes(compiled, policy, CONFIG))


@pytest.mark.parametrize("learner", ["stopping", "cem"])
def test_the_same_seed_and_data_give_the_same_policy(episodes, learner):
    config = TrainConfig(learner=learner)
    first, second = train(episodes, config, 11), train(episodes, config, 11)

    assert encode_policy(first.policy) == encode_policy(second.policy)
    assert decode_policy(encode_policy(first.policy)) == first.policy


def test_a_policy_never_claims_more_than_it_replays(episodes):
    trained = train(episodes, CONFIG, 1)
    outcomes = policy_outcomes(Player(episodes), trained.policy, CONFIG)

    assert float(outcomes.r.mean()) == trained.mean_r
    assert float(incumbent_outcomes(Player(episodes), CONFIG).r.mean()) == trained.incumbent_r
    assert trained.mean_r >= trained.incumbent_r


def test_progress_is_told_for_every_round(episodes):
    heard = []
    trained = train(episodes, TrainConfig(learner="cem"), 1, heard.append)

    assert [one.round for one in heard] == list(range(1, CONFIG.cem.rounds + 1))
    assert all(one.tp_zone_accuracy is not None and 0.0 <= one.tp_zone_accuracy <= 1.0 for one in heard)
    assert heard[3].state is not None
    resumed = train(episodes, TrainConfig(learner="cem"), 1, state=heard[3].state)
    assert encode_policy(resumed.policy) == encode_policy(trained.policy)


def test_a_path_that_goes_on_differently_changes_nothing_before(episodes):
    """No look-ahead: what a position did up to a candle does not depend on later candles."""
    policy = train(episodes, CONFIG, 3).policy
    scale = np.ones(len(episodes))
    scale[::2] = 1.3
    cut = 20
    turned = replace(
        episodes,
        **{
            name: np.c_[getattr(episodes, name)[:, :cut], getattr(episodes, name)[:, cut:] * scale[:, None]]
            for name in ("open", "high", "low", "close")
        },
    )
    early = policy_outcomes(Player(episodes, compiled=False), policy, CONFIG)
    late = policy_outcomes(Player(turned, compiled=False), policy, CONFIG)

    over = early.exit_step < cut
    assert over.sum() > 100
    assert np.array_equal(early.r[over], late.r[over])
    assert np.array_equal(early.exit_step[over], late.exit_step[over])


def test_too_few_episodes_and_unknown_learners_are_refused(episodes):
    with pytest.raises(InputsError, match="too few"):
        train(episodes.take(slice(0, 1)), CONFIG, 1)
    with pytest.raises(InputsError, match="unknown"):
        TrainConfig(learner="magic")
    with pytest.raises(InputsError, match="zone"):
        TrainConfig(zone=6.0)


def test_terms_hold_the_plans_of_all_positions(episodes):
    terms = base_terms(episodes, CONFIG)

    assert len(terms.stop) == len(episodes)


@given(multiple=st.floats(0.01, 10.0), exits=st.sampled_from(["dynamic", "static"]), wide=st.floats(0.005, 0.2))
def test_a_zone_moves_targets_and_never_the_stop_away(multiple, exits, wide):
    few = synthetic_episodes(5, 40)
    few = replace(few, stop=np.full(len(few), wide))
    config = replace(CONFIG, exits=exits)
    asis = base_terms(few, config)
    # As a plan blends it.
    blended = base_terms(few, config, np.full(len(few), 0.6 + 0.4 * multiple))

    assert (blended.stop >= asis.stop).all()
    assert (blended.sizes == asis.sizes).all()
    assert (multiple < 1.0) or (blended.targets >= asis.targets).all()
    assert (multiple > 1.0) or (blended.targets <= asis.targets).all()


def test_a_position_in_training_sees_itself_as_a_live_one_does():
    few = synthetic_episodes(5, 60)
    terms = base_terms(few, CONFIG)
    simulation = Simulation(few, terms, CONFIG.costs)
    simulation.open_candle(0)
    simulation.finish_candle(0)
    held = np.flatnonzero(simulation.live & (simulation.done == 0))
    seen = simulation.features(0, held).T
    tighter = 0
    for row, found in zip(held, seen, strict=True):
        side = PositionSide.LONG if few.side[row] > 0 else PositionSide.SHORT
        entry, stop = (abs(float(value[row] * few.tick[row])) for value in (terms.entry, terms.stop))
        position = PositionReading(
            side=side,
            entry=entry,
            close=float(few.close[row, 0]),
            best=float(abs(simulation.peak[row]) * few.tick[row]),
            stop=stop,
            target=float(abs(terms.targets[row, 0]) * few.tick[row]),
            # What a live plan says of its first stop.
            stop_distance=abs(entry - stop) / entry,
            age=1 / few.horizon,
            remaining=1.0,
            hits=0.0,
        )
        tighter += position.stop_distance < 0.99 * few.stop[row]
        now = MarketReading(*(float(one[row, 0]) for one in (few.drift_fast, few.drift_slow, few.swell, few.reach)))
        assert step_features(position, now) == pytest.approx(found, abs=1e-6)
    assert tighter > 0


def test_a_stop_that_reward_and_risk_tightened_stays_where_it_is_when_a_zone_lifts_the_targets():
    few = synthetic_episodes(5, 40)
    few = replace(few, stop=np.full(len(few), 0.04))
    asis, lifted = base_terms(few, CONFIG), base_terms(few, CONFIG, np.full(len(few), 1.4))

    assert (asis.stop > np.floor(asis.entry * (1.0 - 0.039 * few.side))).all()
    assert (lifted.stop == asis.stop).all()
    assert (lifted.targets > asis.targets).all()


@pytest.mark.skipif(find_spec("stable_baselines3") is not None, reason="the challenger is installed")
def test_the_challenger_without_its_extra_is_refused_with_the_way_out(episodes):
    with pytest.raises(InputsError, match="needs an extra") as caught:
        train(episodes, TrainConfig(learner="ppo"), 1)
    assert "tpctl[ppo]" in caught.value.hint
