"""Walk-forward, task by task: train on the past of a fold, judge on its test month, never the other way.

Decides what is played and in which task; what it comes to is `evaluate`'s. Every task depends on the walk and on its
own name alone, so they run anywhere in any order. A position teaches only where it is in the training span of the
fold; nothing of a test position but its path under the finished policy is ever looked at, and the one baseline that is
tuned is tuned on the training span.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tpctl.learn.baselines import RANDOM, play_baselines, random_exit, tune_single
from tpctl.learn.config import DEFAULT_LEARNERS, TrainConfig, base_terms
from tpctl.learn.costs import Costs
from tpctl.learn.episodes import Episodes
from tpctl.learn.folds import Fold
from tpctl.learn.measures import Played
from tpctl.learn.play import Player
from tpctl.learn.policies import batch, zone_multiples
from tpctl.learn.replay import Simulation
from tpctl.learn.train import incumbent_outcomes, policy_outcomes, train
from tpctl.market.policy.codec import weights_hash
from tpctl.market.policy.model import LearnedPolicy

Arrays: TypeAlias = Mapping[str, NDArray[Any]]

# What each stress makes of the costs (learning 6.5).
STRESSES = ("costs x 2", "slippage x 2", "latency + 1 candle")
# The sizes of the bonus that are tried against none, as (bonus, scale of net R): learning 1.
BONUSES = ((5.0, 1.0), (5.0, 10.0), (5.0, 100.0))
PART = "/"


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration that is tried; the first of a walk is the candidate's."""

    name: str
    config: TrainConfig


def trials_of(config: TrainConfig) -> tuple[Trial, ...]:
    """Return the candidate's configuration, then the other learner, no bonus, and bonuses of other sizes."""
    learners = dict.fromkeys((config.learner, *DEFAULT_LEARNERS))
    rewards = ((config.bonus, config.pnl_scale), (0.0, 1.0), *BONUSES)
    tried = [replace(config, learner=name) for name in learners]
    tried += [replace(config, bonus=bonus, pnl_scale=scale) for bonus, scale in rewards]
    kept: dict[str, Trial] = {}
    for one in tried:
        bonus = "no bonus" if one.bonus == 0.0 else f"bonus {one.bonus:g} to {one.pnl_scale:g} R"
        name = f"{one.learner}, {bonus}"
        kept.setdefault(name, Trial(name, one))
    return tuple(kept.values())


@dataclass(frozen=True, slots=True)
class Job:
    """One task: the `baselines` of a fold, or to `train` a trial, or again without one symbol (`apart`), or `repeat`.

    `symbol` indexes those of the episodes and is -1 but for `apart`.
    """

    kind: Literal["baselines", "train", "apart", "repeat"]
    fold: int
    trial: int = 0
    seed: int = 0
    symbol: int = -1

    @property
    def name(self) -> str:
        """A name that is one task's alone."""
        return f"{self.kind}-{self.fold:03d}-{self.trial}-{self.seed}-{self.symbol}"


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """What a walk is of: episodes, folds, trials, and the seeds the candidate is trained with."""

    episodes: Episodes
    folds: tuple[Fold, ...]
    trials: tuple[Trial, ...]
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def test(self, fold: int) -> NDArray[np.int64]:
        """Return the places of the positions that judge in a fold."""
        return np.flatnonzero(self.folds[fold].test(self.episodes.started_at))

    def told(self) -> tuple[str, ...]:
        """Return all that its results depend on, as texts."""
        spans = " ".join(f"{one.train_from}-{one.train_until}-{one.test_from}-{one.test_until}" for one in self.folds)
        return (self.episodes.data_hash(), spans, *(one.config.text() for one in self.trials), str(self.seeds))

    def jobs(self, *, apart: bool = True) -> tuple[Job, ...]:
        """Return every task; `apart` adds training without each symbol in turn."""
        every = [Job("baselines", fold) for fold in range(len(self.folds))]
        for fold in range(len(self.folds)):
            every += [Job("train", fold, 0, seed) for seed in self.seeds]
            every += [Job("train", fold, trial, self.seeds[0]) for trial in range(1, len(self.trials))]
        symbols = np.unique(self.episodes.symbol)
        if apart and len(symbols) > 1:
            for fold in range(len(self.folds)):
                present = np.unique(self.episodes.symbol[self.test(fold)])
                every += [Job("apart", fold, 0, self.seeds[0], int(symbol)) for symbol in present]
        every.append(Job("repeat", len(self.folds) - 1, 0, self.seeds[0]))
        # The longest first, so that none is left alone at the end.
        return tuple(sorted(every, key=lambda job: (self.trials[job.trial].config.learner == "stopping", job.name)))


def stressed(costs: Costs) -> dict[str, Costs]:
    """Return the costs of each stress."""
    return dict(zip(STRESSES, (costs.scaled(2.0), costs.slipped(2.0), costs.later()), strict=True))


def do(walk: Walk, job: Job) -> Arrays:
    """Return what a task finds, as named arrays over the test positions of its fold."""
    if job.kind == "baselines":
        return _baselines(walk, job)
    if job.kind == "apart":
        return _apart(walk, job)
    policy = _trained(walk, job)
    digest = np.frombuffer(bytes.fromhex(weights_hash(policy)), dtype=np.uint8)
    if job.kind == "repeat":
        # Every position, taught or not: what may be asked of the simulator does not depend on it.
        player, config = Player(walk.episodes), walk.trials[job.trial].config
        return {"hash": digest, "violations": np.array([violations(player, policy, config)])}
    return {"hash": digest, **_judged(walk, job, policy)}


def part(arrays: Arrays, name: str) -> Played:
    """Return one of the policies of a result."""
    return Played(*(arrays[name + PART + one.name] for one in fields(Played)))


def _parts(name: str, played: Played) -> dict[str, NDArray[Any]]:
    return {name + PART + one.name: getattr(played, one.name) for one in fields(Played)}


def _trained(walk: Walk, job: Job) -> LearnedPolicy:
    episodes = walk.episodes
    teach = walk.folds[job.fold].train(episodes.started_at)
    if job.kind == "apart":
        teach &= episodes.symbol != job.symbol
    return train(episodes.take(teach), walk.trials[job.trial].config, job.seed).policy


def _baselines(walk: Walk, job: Job) -> Arrays:
    config = walk.trials[0].config
    fold, episodes = walk.folds[job.fold], walk.episodes
    single = tune_single(Player(episodes.take(fold.train(episodes.started_at))), config)
    player = _player(walk, job.fold)
    found: dict[str, NDArray[Any]] = {"single": np.array([single])}
    for name, played in play_baselines(player, config, single).items():
        found |= _parts(name, played)
    found |= _parts("incumbent", Played.of(incumbent_outcomes(player, config)))
    for name, costs in stressed(config.costs).items():
        found[name] = incumbent_outcomes(player, config, costs).r
    return found


def _judged(walk: Walk, job: Job, policy: LearnedPolicy) -> dict[str, NDArray[Any]]:
    config = walk.trials[job.trial].config
    player = _player(walk, job.fold)
    played = Played.of(policy_outcomes(player, policy, config))
    found = _parts("policy", played)
    if job.trial == 0 and job.seed == walk.seeds[0]:
        for name, costs in stressed(config.costs).items():
            found[name] = policy_outcomes(player, policy, config, costs).r
        found["violations"] = np.array([violations(player, policy, config)])
        found |= _parts(RANDOM, random_exit(player, config, played.holding_ms, job.fold))
    return found


def _apart(walk: Walk, job: Job) -> Arrays:
    config = walk.trials[job.trial].config
    test = walk.test(job.fold)
    mine = test[walk.episodes.symbol[test] == job.symbol]
    player = Player(walk.episodes.take(mine))
    return {"policy": policy_outcomes(player, _trained(walk, job), config).r, "rows": mine}


def _player(walk: Walk, fold: int) -> Player:
    return Player(walk.episodes.take(walk.test(fold)))


def violations(player: Player, policy: LearnedPolicy, config: TrainConfig) -> int:
    """Return how often a policy's request was let through that loosens a stop, grows a position or is masked.

    Counted on the state of the simulator itself, candle by candle; anything but zero is a fault.
    """
    scale = 1.0 - config.blend + config.blend * zone_multiples(policy, player.episodes)
    terms = base_terms(player.episodes, config, scale)
    simulation = Simulation(player.episodes, terms, config.costs, tighten_reach=policy.tighten_reach, tape=player.tape)
    decide, count = batch(policy), 0
    for step in range(simulation.horizon):
        stop, lots = simulation.stop.copy(), simulation.lots.copy()
        simulation.open_candle(step)
        simulation.carry_out(step)
        simulation.finish_candle(step)
        count += int(((simulation.stop < stop) | (simulation.lots > lots)).sum())
        free = np.flatnonzero(simulation.live & (simulation.due < 0))
        if len(free):
            allowed = simulation.allowed(step, free)
            asked = decide(simulation.features(step, free), allowed)
            count += int((~allowed[asked, np.arange(len(free))]).sum())
            which = free[asked > 0]
            simulation.request(step, which, asked[asked > 0])
    return count


def rows_of(walk: Walk) -> NDArray[np.int64]:
    """Return the places of all test positions, fold by fold."""
    return np.concatenate([walk.test(fold) for fold in range(len(walk.folds))])


def numbers_of(walk: Walk) -> NDArray[np.int64]:
    """Return the fold of each of `rows_of`."""
    return np.concatenate([np.full(len(walk.test(fold)), fold) for fold in range(len(walk.folds))])


def joined(results: Mapping[str, Arrays], jobs: Sequence[Job], name: str) -> Played:
    """Return one policy over all folds, its jobs given in the order of the folds."""
    return Played.join([part(results[job.name], name) for job in jobs])
