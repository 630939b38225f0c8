"""The exits a policy is held against (learning 3), on the same positions through the same simulator.

None of them learns from the positions it is judged on: the one that is tuned, the single target, is tuned on training
positions. The clairvoyant is no rule but a bound. The optimum is known for made-up problems only (`known_answers`).
"""

import numpy as np
from numpy.typing import NDArray

from tpctl.exits.stages import default_trail
from tpctl.learn.config import TrainConfig
from tpctl.learn.costs import Costs
from tpctl.learn.measures import Played
from tpctl.learn.play import Player
from tpctl.learn.replay import Floats, Outcomes, Simulation
from tpctl.learn.terms import Terms, build_terms, ladder_terms, static_terms, units_of, without_trail
from tpctl.market.policy.model import Action

IMMEDIATE, HOLD = "immediate exit", "hold with stop"
STATIC, DYNAMIC = "static ladder", "dynamic ladder"
TRAILING, SINGLE = "trailing only", "tuned single target"
LEGACY = "legacy exits"
RANDOM = "random exit, same holding"
CLAIRVOYANT = "clairvoyant"
BASELINES = (IMMEDIATE, HOLD, STATIC, DYNAMIC, TRAILING, SINGLE, LEGACY, RANDOM, CLAIRVOYANT)

# Distances of the single target that are tried, in R.
SINGLE_MULTIPLES = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)


def hold_terms(player: Player, config: TrainConfig) -> Terms:
    """Return plans of the first stop alone, 1 R away."""
    none = np.empty((len(player.episodes), 0))
    return build_terms(player.episodes, none, none, config.rules, fee=config.costs.fee_out, trail=None)


def single_terms(player: Player, config: TrainConfig, multiple: float) -> Terms:
    """Return plans of the first stop and one target for all, `multiple` R away."""
    distances = np.rint(units_of(player.episodes.stop) * multiple)[:, None]
    return build_terms(
        player.episodes,
        distances,
        np.ones_like(distances),
        config.rules,
        fee=config.costs.fee_out,
        trail=None,
        reward_risk=False,
    )


def tune_single(player: Player, config: TrainConfig) -> float:
    """Return the distance in R of the single target that brought most on these positions, the nearest of equals."""
    means = [
        float(player.play(single_terms(player, config, multiple), config.costs, zone=config.zone).r.mean())
        for multiple in SINGLE_MULTIPLES
    ]
    return SINGLE_MULTIPLES[int(np.argmax(means))]


def play_baselines(player: Player, config: TrainConfig, single: float) -> dict[str, Played]:
    """Return what every baseline comes to but the random one; `single` is what `tune_single` found elsewhere."""
    episodes, rules, fee = player.episodes, config.rules, config.costs.fee_out
    held = hold_terms(player, config)
    dynamic = ladder_terms(episodes, rules, fee=fee, account=config.account)
    static = static_terms(episodes, rules, fee=fee)
    none = np.empty((len(episodes), 0))
    trailing = build_terms(episodes, none, none, rules, fee=fee, trail=default_trail(rules))

    def played(terms: Terms) -> Outcomes:
        return player.play(terms, config.costs, zone=config.zone)

    hold = played(held)
    return {
        IMMEDIATE: Played.of(close_at(player, held, config, np.zeros(len(episodes), dtype=np.int64))),
        HOLD: Played.of(hold),
        STATIC: Played.of(played(without_trail(static))),
        DYNAMIC: Played.of(played(dynamic)),
        TRAILING: Played.of(played(trailing)),
        SINGLE: Played.of(played(single_terms(player, config, single))),
        LEGACY: Played.of(played(static)),
        CLAIRVOYANT: clairvoyant(hold, episodes.stop, episodes.side, config.costs, config.zone),
    }


def random_exit(player: Player, config: TrainConfig, holding_ms: Floats, seed: int) -> Played:
    """Return exits at the holding times of another policy, dealt out among the positions at random."""
    candles = (holding_ms // player.episodes.interval_ms).astype(np.int64) - config.costs.latency
    dealt = np.random.default_rng(seed).permutation(np.maximum(candles, 0))
    return Played.of(close_at(player, hold_terms(player, config), config, dealt))


def close_at(player: Player, terms: Terms, config: TrainConfig, moment: NDArray[np.int64]) -> Outcomes:
    """Return what closing each position by a decision at the close of candle `moment` (n) comes to."""
    simulation = Simulation(player.episodes, terms, config.costs, tape=player.tape)
    for step in range(simulation.horizon):
        simulation.open_candle(step)
        simulation.carry_out(step)
        simulation.finish_candle(step)
        asking = np.flatnonzero(simulation.live & (moment == step))
        simulation.request(step, asking, np.full(len(asking), Action.CLOSE_ALL, dtype=np.int64))
    simulation.open_candle(simulation.horizon)
    simulation.carry_out(simulation.horizon)
    simulation.end()
    return simulation.outcomes(config.zone)


def clairvoyant(hold: Outcomes, stop: Floats, side: Floats, costs: Costs, zone: float) -> Played:
    """Return the bound: leaving at the best price before the first stop, fees paid, no slippage, no funding.

    How long that takes is not known; no exit that keeps the first stop or a tighter one leaves at a better price.
    """
    best = hold.mfe
    fees = (costs.fee_in + costs.fee_out * (1.0 + side * best * stop)) / stop
    unknown = np.full(len(best), np.nan)
    return Played(best - fees, (best * stop >= 0.95 * zone).astype(np.float64), unknown, np.ones(len(best)), fees)
