"""The exits of one position as a Gymnasium environment, `tpctl/Exit-v0`, and of many at once as its vector form.

Importing this module registers both: `gymnasium.make("tpctl.learn.environment:tpctl/Exit-v0")` does it in one go.

Decides what an agent sees and may do; the market, the orders and their fills are the simulator's. An episode is one
position from its adoption to flat, or to the horizon, where it is really closed; there is no truncation. The first
action chooses the take-profit zone, every later one holds, closes a share or tightens, and takes effect as late as in
the simulator. What is not allowed is held: no action can open, grow or loosen (I3, I4). The reward is net R marked to
market once, plus the bonus for a zone that was reached when the position closes.
"""

from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.spaces import Box, MultiDiscrete, Space
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from tpctl.learn.config import TrainConfig, base_terms
from tpctl.learn.episodes import EpisodeRules, Episodes, sample_episodes
from tpctl.learn.policies import entry_matrix
from tpctl.learn.replay import Flags, Floats, Simulation, Whole
from tpctl.learn.reward import BONUS
from tpctl.market.policy.features import DRIFT_CAP, ENTRY_FEATURES, GAP_CAP, MOVE_CAP, STEP_FEATURES, SWELL_CAP
from tpctl.market.policy.model import Action
from tpctl.market.risk.prices import QUARTER_MS, PriceSeries

NAME = "tpctl/Exit-v0"

_LIMITS = {
    "age": (0.0, 1.0),
    "pnl": (-MOVE_CAP, MOVE_CAP),
    "best": (-MOVE_CAP, MOVE_CAP),
    "drawdown": (-GAP_CAP, GAP_CAP),
    "stop_gap": (-GAP_CAP, GAP_CAP),
    "target_gap": (-GAP_CAP, GAP_CAP),
    "drift_fast": (-DRIFT_CAP, DRIFT_CAP),
    "drift_slow": (-DRIFT_CAP, DRIFT_CAP),
    "swell": (-SWELL_CAP, SWELL_CAP),
    "volatility": (-MOVE_CAP, MOVE_CAP),
    "remaining": (0.0, 1.0),
    "hits": (0.0, 1.0),
}
_COLUMNS = (*STEP_FEATURES, *ENTRY_FEATURES)


def observation_space() -> Space[NDArray[np.float64]]:
    """Return the space of what is seen: `STEP_FEATURES` at the last close, then `ENTRY_FEATURES`."""
    low, high = (np.array([_LIMITS[name][side] for name in _COLUMNS]) for side in (0, 1))
    return cast("Space[NDArray[np.float64]]", Box(low, high, dtype=np.float64))


def action_space(config: TrainConfig) -> MultiDiscrete:
    """Return the space of actions: what to do with the position, and which zone to aim at (heard at adoption only)."""
    return MultiDiscrete([len(Action), len(config.multiples)])


def synthetic_episodes(seed: int = 0, count: int = 256) -> Episodes:
    """Return positions on a made-up market without drift, for trying the environment out."""
    draw = np.random.default_rng(seed)
    candles = 3_000
    close = 100.0 * np.exp(np.cumsum(draw.normal(0, 0.003, candles)))
    opening = np.r_[100.0, close[:-1]]
    high = np.maximum(opening, close) * np.exp(np.abs(draw.normal(0, 0.0015, candles)))
    low = np.minimum(opening, close) * np.exp(-np.abs(draw.normal(0, 0.0015, candles)))
    at = QUARTER_MS * np.arange(candles, dtype=np.int64)
    series = PriceSeries("SYNTHETIC", QUARTER_MS, at, *(np.round(one, 3) for one in (opening, high, low, close)))
    return sample_episodes({"SYNTHETIC": series}, EpisodeRules(horizon=48, salt=seed), count=count)


class Positions:
    """n positions that begin together and are walked candle by candle."""

    def __init__(self, episodes: Episodes, config: TrainConfig) -> None:
        self.episodes, self.config = episodes, config
        self._entry = entry_matrix(episodes)
        self._simulation: Simulation | None = None
        self._worth = np.zeros(len(episodes))
        self._over = np.zeros(len(episodes), dtype=bool)
        self._candle = -1

    def begin(self) -> Floats:
        """Return what is seen at adoption (n, features); the plan is not chosen yet, so the incumbent's is shown."""
        return self._seen(Simulation(self.episodes, base_terms(self.episodes, self.config), self.config.costs), -1)

    @property
    def allowed(self) -> Flags:
        """Which actions (n, actions) would be carried out now; at adoption only holding, with any zone."""
        if self._simulation is None:
            mask = np.zeros((len(self.episodes), len(Action)), dtype=bool)
            mask[:, Action.HOLD] = True
            return mask
        allowed = self._simulation.allowed(self._candle) & (self._simulation.due < 0) & ~self._over
        allowed[Action.HOLD] = True
        return np.ascontiguousarray(allowed.T)

    def step(self, actions: NDArray[np.int64], zones: NDArray[np.int64]) -> tuple[Floats, Floats, Flags]:
        """Act, let the next candle pass, and return what is seen, the reward (n), and what is over (n)."""
        if self._simulation is None:
            scale = 1.0 - self.config.blend + self.config.blend * np.array(self.config.multiples)[zones]
            terms = base_terms(self.episodes, self.config, scale)
            self._simulation = Simulation(self.episodes, terms, self.config.costs)
            self._worth = self._simulation.value_at_market(0, self.config.zone)[0]
        else:
            self._ask(self._simulation, actions)
        simulation = self._simulation
        self._candle += 1
        simulation.open_candle(self._candle)
        simulation.carry_out(self._candle)
        if self._candle == simulation.horizon:
            simulation.end()
            # Nothing is held any more, so the price it would be valued at does not matter.
            worth, taken = simulation.value_at_market(self._candle, self.config.zone)
        else:
            simulation.finish_candle(self._candle)
            worth, taken = simulation.value_at_market(self._candle + 1, self.config.zone)
        over = ~simulation.live
        ended = over & ~self._over
        reward = np.where(self._over, 0.0, worth - self._worth) * self.config.pnl_scale
        reward += np.where(ended & taken, self.config.bonus, 0.0)
        self._worth, self._over = worth, over
        return self._seen(simulation, min(self._candle, simulation.horizon - 1)), reward, over

    @property
    def net_r(self) -> Floats:
        """True net R (n) of what was done so far, valued at the next open, without the bonus."""
        return self._worth

    def _ask(self, simulation: Simulation, actions: NDArray[np.int64]) -> None:
        mask = self.allowed
        wanted = np.where(mask[np.arange(len(actions)), actions], actions, int(Action.HOLD))
        asking: Whole = np.flatnonzero(wanted != Action.HOLD)
        simulation.request(self._candle, asking, wanted[asking])

    def _seen(self, simulation: Simulation, candle: int) -> Floats:
        if candle < 0:
            step = np.zeros((len(STEP_FEATURES), len(self.episodes)))
            place = STEP_FEATURES.index
            span = simulation.size * self.episodes.entry_market[:, 3]
            entry = simulation.terms.entry
            step[place("stop_gap")] = np.clip((entry - simulation.stop) / span, -GAP_CAP, GAP_CAP)
            target = np.where(np.isinf(simulation.next_target), np.inf, (simulation.next_target - entry) / span)
            step[place("target_gap")] = np.clip(target, -GAP_CAP, GAP_CAP)
            for number, name in enumerate(("drift_fast", "drift_slow", "swell")):
                step[place(name)] = self._entry[number]
            step[place("remaining")] = 1.0
        else:
            step = simulation.features(candle)
        return np.ascontiguousarray(np.concatenate([step, self._entry]).T)


class ExitEnv(gymnasium.Env[NDArray[np.float64], NDArray[np.int64]]):
    """One position at a time, drawn from `episodes`; `info` has the `action_mask`, and `net_r` at the end.

    Without episodes it plays a made-up market. `config` has the incumbent, the costs and the zones.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, episodes: Episodes | None = None, config: TrainConfig | None = None) -> None:
        self.episodes = synthetic_episodes() if episodes is None else episodes
        self.config = config or TrainConfig(bonus=BONUS)
        self.observation_space = observation_space()
        self.action_space = action_space(self.config)
        self._position: Positions | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Adopt a position: any, or the one whose number is in `options["episode"]`."""
        super().reset(seed=seed)
        number = (options or {}).get("episode")
        if number is None:
            number = int(self.np_random.integers(len(self.episodes)))
        self._position = Positions(self.episodes.take(np.array([number])), self.config)
        return self._position.begin()[0], {"episode": number, "action_mask": self._position.allowed[0]}

    def step(self, action: NDArray[np.int64]) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        """Act and let a candle pass; raises `RuntimeError` before the first reset."""
        if self._position is None:
            raise RuntimeError("reset the environment first")
        asked = np.asarray(action, dtype=np.int64)
        seen, reward, over = self._position.step(asked[:1], asked[1:])
        info: dict[str, Any] = {"action_mask": self._position.allowed[0]}
        if over[0]:
            info["net_r"] = float(self._position.net_r[0])
        return seen[0], float(reward[0]), bool(over[0]), False, info


class ExitVectorEnv(VectorEnv[NDArray[np.float64], NDArray[np.int64], Any]):
    """Many positions that begin together; one that is over waits, with rewards of zero, until all are reset."""

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012 - likewise

    def __init__(
        self, num_envs: int = 1024, episodes: Episodes | None = None, config: TrainConfig | None = None
    ) -> None:
        self.num_envs = num_envs
        self.episodes = synthetic_episodes() if episodes is None else episodes
        self.config = config or TrainConfig(bonus=BONUS)
        self.single_observation_space, self.single_action_space = observation_space(), action_space(self.config)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self._positions: Positions | None = None

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Adopt `num_envs` positions, drawn with replacement, or those numbered in `options["episodes"]`."""
        if isinstance(seed, int):
            self._np_random, self._np_random_seed = gymnasium.utils.seeding.np_random(seed)
        numbers = (options or {}).get("episodes")
        if numbers is None:
            numbers = self.np_random.integers(len(self.episodes), size=self.num_envs)
        self._positions = Positions(self.episodes.take(np.asarray(numbers)), self.config)
        return self._positions.begin(), {"episodes": numbers, "action_mask": self._positions.allowed}

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Act and let a candle pass for all; raises `RuntimeError` before the first reset."""
        if self._positions is None:
            raise RuntimeError("reset the environment first")
        seen, reward, over = self._positions.step(actions[:, 0].astype(np.int64), actions[:, 1].astype(np.int64))
        info = {"action_mask": self._positions.allowed, "net_r": self._positions.net_r}
        return seen, reward, over, np.zeros(self.num_envs, dtype=bool), info


if NAME not in gymnasium.registry:
    gymnasium.register(
        id=NAME,
        entry_point="tpctl.learn.environment:ExitEnv",
        vector_entry_point="tpctl.learn.environment:ExitVectorEnv",
    )
