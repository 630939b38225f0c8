"""Trains one policy: the rule to close, the rule to tighten, and the take-profit zone to aim at.

Decides what a training consists of; what of it is believed is the gate's. The exits a policy improves on are the
incumbent's, played by the simulator: the policy closes or tightens early what they would have carried on with, and
suggests how far the targets lie. The reward may carry the bonus for reaching the zone; values reported beside it are
true net R. Same data, configuration and seed give the same weights, whatever the machine's number of cores.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tpctl.exits.errors import InputsError
from tpctl.learn.cem import CemState, fit_cem
from tpctl.learn.config import TrainConfig, base_terms
from tpctl.learn.costs import Costs
from tpctl.learn.episodes import Episodes
from tpctl.learn.play import Player
from tpctl.learn.policies import batch, entry_matrix, zone_multiples
from tpctl.learn.replay import Outcomes, Simulation, Trace, trace
from tpctl.learn.stopping import Floats, StoppingRule, fit_stopping, scaling_of, values_of
from tpctl.learn.terms import Terms
from tpctl.market.policy.model import Action, LearnedPolicy, Linear, Origin, Score, Zone

# Fewer samples than this say nothing about when to tighten.
_LEAST_SAMPLES = 200


@dataclass(frozen=True, slots=True)
class Progress:
    """One round of training. `episodes` and `steps` are seen so far; `reward` is the mean training reward.

    `mean_r` is true net R without the bonus and `tp_zone_accuracy` the share of exits that take the zone, both on the
    training episodes under the rule so far; None where a learner does not know them yet.
    """

    round: int
    rounds: int
    episodes: int
    steps: int
    reward: float
    mean_r: float | None
    tp_zone_accuracy: float | None
    state: CemState | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """A policy and how it came about; means of true net R on the training episodes, of the policy and the incumbent."""

    policy: LearnedPolicy
    history: tuple[Progress, ...]
    mean_r: float
    incumbent_r: float


def incumbent_outcomes(player: Player, config: TrainConfig, costs: Costs | None = None) -> Outcomes:
    """Return what the incumbent's exits come to."""
    return player.play(base_terms(player.episodes, config), costs or config.costs, zone=config.zone)


def policy_outcomes(player: Player, policy: LearnedPolicy, config: TrainConfig, costs: Costs | None = None) -> Outcomes:
    """Return what the policy comes to: its zones blended into the plans, its requests carried out."""
    scale = 1.0 - config.blend + config.blend * zone_multiples(policy, player.episodes)
    terms = base_terms(player.episodes, config, scale)
    return player.play(terms, costs or config.costs, policy, zone=config.zone)


def train(
    episodes: Episodes,
    config: TrainConfig,
    seed: int,
    progress: Callable[[Progress], None] | None = None,
    *,
    state: CemState | None = None,
) -> Trained:
    """Return a policy trained on episodes. Raises `InputsError` where there are too few.

    `progress` hears of every round; `state`, of a round that was heard of, lets the search go on from there.
    """
    if len(episodes) < 2:
        raise InputsError(f"{len(episodes)} episodes are too few to learn from", "give more data")
    history: list[Progress] = []

    def tell(one: Progress) -> None:
        history.append(replace(one, state=None))
        if progress is not None:
            progress(one)

    if config.learner == "ppo":
        return _challenger(episodes, config, seed, tell, history)
    # Sums over threads depend on their number; one thread makes the weights depend on data and seed alone.
    with threadpool_limits(limits=1, user_api="blas"):
        player, terms = Player(episodes), base_terms(episodes, config)
        seen, incumbent = trace(episodes, terms, config.costs, zone=config.zone, tape=player.tape)
        close = _close_score(seen, config, seed, tell, state)
        closing = Linear(close, Score(-1.0, (0.0,) * len(close.weights)))
        bodies = [closing, Linear(close, _tighten_score(player, terms, closing, config, seed))]
        origin = Origin(config.learner, seed, len(episodes), episodes.data_hash(), config.text())
        plain = LearnedPolicy(episodes.interval_ms, episodes.horizon, bodies[0], (), config.tighten_reach, origin)
        zones = _zones(player, config, plain)
        # Parts that were taught one by one are kept where they also help together; the first of equals is simplest.
        tried = [replace(plain, body=body, zones=kept) for kept in ((), zones) for body in bodies]
        means = [float(policy_outcomes(player, one, config).r.mean()) for one in tried]
    best = int(np.argmax(means))
    return Trained(tried[best], tuple(history), means[best], float(incumbent.r.mean()))


def _challenger(
    episodes: Episodes, config: TrainConfig, seed: int, tell: Callable[[Progress], None], history: list[Progress]
) -> Trained:
    """Return the network PPO finds; it closes and tightens, and leaves the zones as they are."""
    try:
        from tpctl.learn.ppo import fit_ppo  # noqa: PLC0415 - the extra of the challenger
    except ImportError:
        raise InputsError("the learner 'ppo' needs an extra", "install it: pip install 'tpctl[ppo]'") from None
    rules = config.ppo

    def heard(done: int, reward: float) -> None:
        played = done * rules.paths
        tell(Progress(done, rules.rounds, played, played * episodes.horizon, reward, None, None))

    body = fit_ppo(episodes, config, seed, rules, heard)
    origin = Origin(config.learner, seed, len(episodes), episodes.data_hash(), config.text())
    policy = LearnedPolicy(episodes.interval_ms, episodes.horizon, body, (), config.tighten_reach, origin)
    player = Player(episodes)
    mean = float(policy_outcomes(player, policy, config).r.mean())
    return Trained(policy, tuple(history), mean, float(incumbent_outcomes(player, config).r.mean()))


def rewarded(seen: Trace, config: TrainConfig) -> Trace:
    """Return the trace with rewards for values: net R scaled, plus the bonus where the zone is taken."""
    if config.bonus == 0.0 and config.pnl_scale == 1.0:
        return seen
    if seen.hit_now is None or seen.hit_end is None:
        raise ValueError("a trace without a zone cannot carry the bonus")
    return replace(
        seen,
        now=config.pnl_scale * seen.now + config.bonus * seen.hit_now,
        end=config.pnl_scale * seen.end + config.bonus * seen.hit_end,
    )


def _close_score(
    seen: Trace, config: TrainConfig, seed: int, tell: Callable[[Progress], None], state: CemState | None
) -> Score:
    """Return the score to close by, with the learner asked for."""
    goal = rewarded(seen, config)
    horizon, count = seen.held.shape

    def told(number: int, rounds: int, played: int, rule: StoppingRule, kept: CemState | None = None) -> None:
        scores = rule.scores(seen.features)
        hits = None
        if seen.hit_now is not None and seen.hit_end is not None:
            flags = replace(seen, now=seen.hit_now.astype(np.float64), end=seen.hit_end.astype(np.float64))
            hits = float(values_of(flags, scores).mean())
        mean = float(values_of(seen, scores).mean())
        tell(Progress(number, rounds, played, played * horizon, rule.value, mean, hits, kept))

    if config.learner == "stopping":
        rounds = config.stopping.rounds
        return _score(
            fit_stopping(goal, config.stopping, lambda number, rule: told(number, rounds, number * count, rule))
        )
    rules = config.cem
    per_round = rules.candidates * min(count, -(-count // max(1, count // rules.paths)))
    scaling = scaling_of(np.ascontiguousarray(seen.features.reshape(len(seen.features), -1)[:, seen.held.ravel()]))

    def told_state(kept: CemState) -> None:
        bias, weights = scaling.raw(kept.mean)
        told(kept.round, rules.rounds, kept.round * per_round, StoppingRule(bias, weights, kept.value), kept)

    return _score(fit_cem(goal, seed, rules, state=state, told=told_state))


def _score(rule: StoppingRule) -> Score:
    return Score(rule.bias, tuple(map(float, rule.weights)))


def _ridge(features: Floats, wanted: Floats, ridge: float) -> Score:
    """Return the score that predicts `wanted` (m) from features (F, m), less one standard error of its mean."""
    scaling = scaling_of(features)
    samples = (features - scaling.centre[:, None]) / scaling.deviation[:, None]
    count = len(wanted)
    gram = samples @ samples.T + ridge * count * np.eye(len(samples))
    mean = float(wanted.mean())
    fitted = np.r_[mean - float(wanted.std()) / np.sqrt(count), np.linalg.solve(gram, samples @ (wanted - mean))]
    bias, weights = scaling.raw(fitted)
    return Score(bias, tuple(map(float, weights)))


def _tighten_score(player: Player, terms: Terms, closing: Linear, config: TrainConfig, seed: int) -> Score:
    """Return the score of tightening once: what it brought at one time of each position, drawn by the seed.

    Before and after that time positions are closed as the rule to close says, with which it is to act together.
    """
    episodes = player.episodes
    policy = LearnedPolicy(
        episodes.interval_ms, episodes.horizon, closing, (), config.tighten_reach, Origin("", seed, 0, "", "")
    )
    decide = batch(policy)
    plain = player.play(terms, config.costs, policy, zone=config.zone)
    simulation = Simulation(episodes, terms, config.costs, tighten_reach=config.tighten_reach, tape=player.tape)
    draw = np.random.default_rng((seed, len(episodes)))
    moment = draw.integers(0, max(1, episodes.horizon - config.costs.latency), len(episodes))
    features: list[Floats] = []
    which: list[NDArray[np.int64]] = []
    for step in range(episodes.horizon):
        simulation.open_candle(step)
        simulation.carry_out(step)
        simulation.finish_candle(step)
        simulation.ask(step, decide)
        mine = np.flatnonzero(simulation.live & (moment == step) & (simulation.due < 0))
        mine = mine[simulation.allowed(step, mine)[Action.TIGHTEN]] if len(mine) else mine
        if len(mine):
            features.append(simulation.features(step, mine))
            which.append(mine)
            simulation.request(step, mine, np.full(len(mine), Action.TIGHTEN, dtype=np.int64))
    simulation.open_candle(episodes.horizon)
    simulation.carry_out(episodes.horizon)
    simulation.end()
    chosen = np.concatenate(which) if which else np.empty(0, dtype=np.int64)
    if len(chosen) < _LEAST_SAMPLES:
        return closing.tighten
    gained = simulation.outcomes(config.zone).r[chosen] - plain.r[chosen]
    return _ridge(np.concatenate(features, axis=1), gained, config.ridge)


def _zones(player: Player, config: TrainConfig, policy: LearnedPolicy) -> tuple[Zone, ...]:
    """Return what each multiple is expected to bring over the plan as it is, by what is known at entry."""
    episodes = player.episodes
    features = entry_matrix(episodes)
    plain = Score(0.0, (0.0,) * len(features))
    outcomes = {}
    for multiple in config.multiples:
        scale = np.full(len(episodes), 1.0 - config.blend + config.blend * multiple)
        terms = base_terms(episodes, config, scale)
        outcomes[multiple] = player.play(terms, config.costs, policy, zone=config.zone).r
    asis = outcomes[1.0]
    return tuple(
        Zone(multiple, plain if multiple == 1.0 else _ridge(features, worth - asis, config.ridge))
        for multiple, worth in outcomes.items()
    )
