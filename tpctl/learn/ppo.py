"""The challenger: proximal policy optimisation of a small network through stable-baselines3. The extra `ppo`.

Decides how PPO is set up (learning 5): many positions walked together in numpy, no discount, a network of 2 x 32 tanh
that begins with holding, for one that closes half of everything at once never sees the future. What comes out is plain
weights, so that using the policy needs neither torch nor this module. It sees what every policy sees and takes the
zones of the plan as they are.
"""

# ruff: noqa: ARG002 - the methods' arguments are those of stable-baselines3

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from tpctl.learn.config import PpoRules, TrainConfig
from tpctl.learn.environment import Positions, observation_space
from tpctl.learn.episodes import Episodes
from tpctl.learn.replay import Flags, Floats
from tpctl.market.policy.features import STEP_FEATURES
from tpctl.market.policy.model import Action, Layer, Network

_HIDDEN = (32, 32)
# How much less every other action is preferred to holding at first.
_HOLD_FIRST = 3.0
# Told of the rounds done and the mean reward of the episodes of the last.
Heard = Callable[[int, float], None]


class Market(VecEnv):  # type: ignore[misc]
    """Positions of one round as stable-baselines3 walks them; one that is over waits, unpaid, until all are."""

    def __init__(self, episodes: Episodes, config: TrainConfig, count: int, seed: int) -> None:
        whole = observation_space()
        assert isinstance(whole, Box)  # noqa: S101 - as it is made
        width = len(STEP_FEATURES)
        seen = Box(whole.low[:width], whole.high[:width], dtype=np.float64)
        self.render_mode = None
        super().__init__(count, seen, Discrete(len(Action)))
        self._episodes, self._config, self._draw = episodes, config, np.random.default_rng(seed)
        self._asis = np.full(count, config.multiples.index(1.0), dtype=np.int64)
        self._actions = np.zeros(count, dtype=np.int64)
        self._step = 0
        self.total = 0.0

    def reset(self) -> Floats:
        """Adopt other positions, with the plan's own zone, and return what is seen at the first close."""
        rows = np.atleast_1d(self._draw.integers(len(self._episodes), size=self.num_envs))
        self._positions = Positions(self._episodes.take(rows), self._config)
        self._positions.begin()
        seen, reward, _ = self._positions.step(np.zeros(self.num_envs, dtype=np.int64), self._asis)
        self._step, self.total = 1, float(reward.sum())
        return self._seen(seen)

    def step_async(self, actions: Any) -> None:
        """Note what is asked of each position."""
        self._actions = np.asarray(actions, dtype=np.int64)

    def step_wait(self) -> tuple[Floats, Floats, Flags, list[dict[str, Any]]]:
        """Let a candle pass for all."""
        seen, reward, _ = self._positions.step(self._actions, self._asis)
        self._step += 1
        self.total += float(reward.sum())
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        over = self._step > self._episodes.horizon
        shown = self._seen(seen)
        if over:
            for info, last in zip(infos, shown, strict=True):
                info["terminal_observation"] = last
            self.finished = self.total / self.num_envs
            shown = self.reset()
        return shown, reward, np.full(self.num_envs, over), infos

    @staticmethod
    def _seen(seen: Floats) -> Floats:
        return np.ascontiguousarray(seen[:, : len(STEP_FEATURES)])

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute, the same of all positions."""
        return [getattr(self, attr_name)] * len(self._which(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: positions have no attributes of their own."""
        raise AttributeError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Refuse: positions have no methods of their own."""
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Return that none is."""
        return [False] * len(self._which(indices))

    def _which(self, indices: Any) -> Sequence[int]:
        return list(self._get_indices(indices))


class _Rounds(BaseCallback):  # type: ignore[misc]
    def __init__(self, market: Market, heard: Heard) -> None:
        super().__init__()
        self._market, self._heard, self._round = market, heard, 0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self._round += 1
        self._heard(self._round, self._market.finished)


def fit_ppo(episodes: Episodes, config: TrainConfig, seed: int, rules: PpoRules, heard: Heard) -> Network:
    """Return the network PPO ends at; `heard` is told of each round. One thread, so that a seed gives one network."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    market = Market(episodes, config, rules.paths, seed)
    model = ppo(market, seed, rules, episodes.horizon)
    model.learn(rules.rounds * rules.paths * episodes.horizon, callback=_Rounds(market, heard))
    return network_of(model)


def ppo(market: VecEnv, seed: int, rules: PpoRules, steps: int) -> PPO:
    """Return PPO as it is set up here, on any vectorised environment whose first action is to hold."""
    model = PPO(
        "MlpPolicy",
        market,
        learning_rate=lambda left: rules.rate * left,
        n_steps=steps,
        batch_size=min(rules.batch, steps * market.num_envs),
        n_epochs=rules.epochs,
        gamma=1.0,
        gae_lambda=0.95,
        clip_range=0.2,
        ent_coef=rules.entropy,
        policy_kwargs={"net_arch": {"pi": list(_HIDDEN), "vf": list(_HIDDEN)}},
        device="cpu",
        seed=seed,
    )
    with torch.no_grad():
        model.policy.action_net.bias[1:] -= _HOLD_FIRST
    return model


def network_of(model: PPO) -> Network:
    """Return the weights of a policy as plain numbers."""
    policy = model.policy
    return Network(tuple(_layers([*policy.mlp_extractor.policy_net, policy.action_net])))


def _layers(modules: Iterable[Any]) -> Iterable[Layer]:
    for module in modules:
        if isinstance(module, torch.nn.Linear):
            weights = module.weight.detach().numpy().astype(np.float64)
            bias = module.bias.detach().numpy().astype(np.float64)
            yield Layer(tuple(tuple(map(float, row)) for row in weights), tuple(map(float, bias)))
