"""The challenger: plain weights that say what the trained network says, and the same ones for a seed."""

import numpy as np
import pytest
from market_walks import walk

pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed (pip install 'tpctl[ppo]')")

from tpctl.learn.config import PpoRules, TrainConfig
from tpctl.learn.environment import Positions
from tpctl.learn.episodes import EpisodeRules, sample_episodes
from tpctl.learn.ppo import Market, network_of, ppo
from tpctl.learn.train import train
from tpctl.market.policy.codec import decode_policy, encode_policy, weights_hash
from tpctl.market.policy.model import Action

RULES = PpoRules(paths=64, rounds=2, batch=512)
CONFIG = TrainConfig(learner="ppo", ppo=RULES)


@pytest.fixture(scope="module")
def episodes():
    return sample_episodes({"XRPUSDT": walk("XRPUSDT", 3_000, 1)}, EpisodeRules(horizon=24), count=300)


def test_plain_weights_prefer_what_the_trained_network_prefers(episodes):
    torch = pytest.importorskip("torch")
    market = Market(episodes, CONFIG, RULES.paths, 1)
    model = ppo(market, 1, RULES, episodes.horizon)
    model.learn(RULES.rounds * RULES.paths * episodes.horizon)
    network = network_of(model)
    seen = market.reset()

    for row in seen[:20]:
        with torch.no_grad():
            hidden = model.policy.mlp_extractor.policy_net(torch.tensor(row[None], dtype=torch.float32))
            logits = model.policy.action_net(hidden).numpy()[0]
        assert np.allclose(network.preferences(row.tolist()), logits, atol=1e-5)


def test_a_seed_gives_one_policy_which_its_file_holds(episodes):
    heard = []
    first, second = train(episodes, CONFIG, 3, heard.append), train(episodes, CONFIG, 3)

    assert weights_hash(first.policy) == weights_hash(second.policy)
    assert weights_hash(first.policy) != weights_hash(train(episodes, CONFIG, 4).policy)
    assert decode_policy(encode_policy(first.policy)) == first.policy
    assert [one.round for one in heard] == [1, 2]


def test_a_round_pays_what_its_positions_pay(episodes):
    market = Market(episodes, CONFIG, 50, 2)
    market.reset()
    same = Positions(market._positions.episodes, CONFIG)
    same.begin()
    hold, zone = np.zeros(50, dtype=np.int64), np.full(50, CONFIG.multiples.index(1.0))
    paid = same.step(hold, zone)[1].sum()
    for step in range(episodes.horizon):
        asked = np.full(50, Action.CLOSE_ALL if step == 6 else Action.HOLD)
        market.step_async(asked)
        _, _, over, infos = market.step_wait()
        paid += same.step(asked, zone)[1].sum()
        assert over.all() == (step == episodes.horizon - 1)
    assert all("terminal_observation" in info for info in infos)
    assert market.finished == pytest.approx(paid / 50)
