"""stable-baselines3 on the known answers: its plain loop, and many paths walked together in numpy.

For `bench_learn` on the hidden trend (KA-4), and for `bench_known_answers` on each problem within a bounded budget.
"""

# ruff: noqa: ARG002 - the methods' arguments are those of stable-baselines3

import time
import warnings
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from tpctl.learn.config import PpoRules
from tpctl.learn.known_answers import Problem
from tpctl.learn.ppo import network_of, ppo
from tpctl.learn.replay import Trace
from tpctl.learn.stopping import scaling_of, values_of
from tpctl.market.policy.model import Network

STOP = 1
TOGETHER = 1_024
# Told of every problem: a round is no multiple of the batch.
warnings.filterwarnings("ignore", message="You have specified a mini-batch size")
# Of each known answer: as many steps, in at most as many rounds.
BUDGET, MOST_ROUNDS = 1_000_000, 60


class Plain(gymnasium.Env):  # type: ignore[misc]
    """One path at a time: hold on, or stop and be paid."""

    def __init__(self, trace: Trace) -> None:
        self._trace, self._path, self._step = trace, 0, 0
        self.observation_space = Box(-np.inf, np.inf, (len(trace.features),), np.float64)
        self.action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin a path."""
        super().reset(seed=seed)
        self._path, self._step = int(self.np_random.integers(len(self._trace.end))), 0
        return self._trace.features[:, 0, self._path], {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Stop, or see the next."""
        trace, here = self._trace, (self._step, self._path)
        if action == STOP:
            return trace.features[:, self._step, self._path], float(trace.now[here]), True, False, {}
        self._step += 1
        if self._step == len(trace.now) or not trace.held[self._step, self._path]:
            return trace.features[:, self._step - 1, self._path], float(trace.end[self._path]), True, False, {}
        return trace.features[:, self._step, self._path], 0.0, False, False, {}


class Together(VecEnv):  # type: ignore[misc]
    """Many paths that begin together; one that is over waits, unpaid, until all are."""

    def __init__(self, trace: Trace, count: int) -> None:
        self.render_mode = None
        super().__init__(count, Box(-np.inf, np.inf, (len(trace.features),), np.float64), Discrete(2))
        self._trace, self._draw = trace, np.random.default_rng(0)
        # An option out of the money is not held, and may be again.
        self._open = np.logical_or.accumulate(trace.held[::-1])[::-1]

    def reset(self) -> Any:
        """Begin other paths."""
        self._paths = self._draw.integers(len(self._trace.end), size=self.num_envs)
        self._step, self._live = 0, np.ones(self.num_envs, dtype=bool)
        return self._seen()

    def step_async(self, actions: Any) -> None:
        """Note what is asked."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        """Stop those that ask for it, and let the others see the next."""
        trace, paths = self._trace, self._paths
        stopping = self._live & (self._actions == STOP) & trace.held[self._step, paths]
        reward = np.where(stopping, trace.now[self._step, paths], 0.0)
        self._live &= ~stopping
        self._step += 1
        last = self._step == len(trace.now)
        gone = np.ones_like(self._live) if last else ~self._open[self._step, paths]
        ended = self._live & gone
        reward += np.where(ended, trace.end[paths], 0.0)
        self._live &= ~ended
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if last:
            self._step -= 1
            for info, seen in zip(infos, self._seen(), strict=True):
                info["terminal_observation"] = seen
            return self.reset(), reward, np.ones(self.num_envs, dtype=bool), infos
        return self._seen(), reward, np.zeros(self.num_envs, dtype=bool), infos

    def _seen(self) -> Any:
        # What is over is shown as nothing, so that no value is asked of it.
        return self._trace.features[:, self._step, self._paths].T * self._live[:, None]

    def close(self) -> None:
        """Do nothing."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute."""
        return [getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse."""
        raise AttributeError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Refuse."""
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Return that none is."""
        return [False] * self.num_envs


def values_under(network: Network, trace: Trace) -> Any:
    """Return what each path comes to under a network."""
    seen = trace.features.reshape(len(trace.features), -1)
    for layer in network.layers[:-1]:
        seen = np.tanh(np.array(layer.weights) @ seen + np.array(layer.bias)[:, None])
    last = network.layers[-1]
    found = np.array(last.weights) @ seen + np.array(last.bias)[:, None]
    return values_of(trace, (found[STOP] - found[0]).reshape(trace.now.shape))


def share_of(network: Network, trace: Trace, value: float) -> float:
    """Return the mean of a network on paths it has not seen, over the known value."""
    return float(values_under(network, trace).mean()) / value


def asked(problem: Problem, paths: int, judged: int) -> tuple[float, float, int]:
    """Return the mean on fresh paths, its standard error, and the steps PPO took of its budget.

    It is helped as anyone would help it: features in deviations, rewards in deviations of what paths come to.
    """
    torch.set_num_threads(1)
    trace = problem.paths(paths, 1)
    flat = trace.features.reshape(len(trace.features), -1)
    scaling, unit = scaling_of(np.ascontiguousarray(flat[:, trace.held.ravel()])), max(float(trace.end.std()), 1e-9)

    def scaled(one: Trace) -> Trace:
        features = (one.features - scaling.centre[:, None, None]) / scaling.deviation[:, None, None]
        return replace(one, features=features, now=one.now / unit, end=one.end / unit)

    steps = len(trace.now)
    rounds = min(MOST_ROUNDS, max(1, BUDGET // (TOGETHER * steps)))
    model = ppo(Together(scaled(trace), TOGETHER), 0, PpoRules(paths=TOGETHER, rounds=rounds), steps)
    model.learn(rounds * TOGETHER * steps)
    values = unit * values_under(network_of(model), scaled(problem.paths(judged, 10_001)))
    return float(values.mean()), float(values.std() / np.sqrt(judged)), rounds * TOGETHER * steps


def plain(problem: Problem, steps: int) -> tuple[float, float]:
    """Return steps a second and the share of the known value of its defaults on eight plain environments."""
    # More threads than one only wait for each other on networks this small.
    torch.set_num_threads(1)
    trace = problem.paths(10_000, 1)
    model = PPO("MlpPolicy", DummyVecEnv([lambda: Plain(trace)] * 8), device="cpu", seed=0)
    began = time.perf_counter()
    model.learn(steps)
    spent = time.perf_counter() - began
    return steps / spent, share_of(network_of(model), problem.paths(20_000, 10_001), problem.value)


def together(problem: Problem, rounds: int) -> tuple[float, float]:
    """Return the same of PPO as it is set up here, on 1024 paths walked together."""
    torch.set_num_threads(1)
    trace = problem.paths(10_000, 1)
    rules = PpoRules(paths=TOGETHER, rounds=rounds)
    steps = len(trace.now)
    model = ppo(Together(trace, rules.paths), 0, rules, steps)
    began = time.perf_counter()
    model.learn(rounds * rules.paths * steps)
    spent = time.perf_counter() - began
    return rounds * rules.paths * steps / spent, share_of(
        network_of(model), problem.paths(20_000, 10_001), problem.value
    )
