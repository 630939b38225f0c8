"""What a trained policy promises of itself, for its drift to be seen: what it asks first, and how targets are hit.

Decides how that is measured: on positions of its own training, played as the policy plays them. It says nothing of how
good the policy is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tpctl.learn.config import TrainConfig, base_terms
from tpctl.learn.episodes import Episodes
from tpctl.learn.policies import batch, zone_multiples
from tpctl.learn.replay import Floats, Simulation
from tpctl.learn.stopping import scaling_of
from tpctl.market.policy.features import STEP_FEATURES
from tpctl.market.policy.hits import HIT_FEATURES, NEAREST, HitOdds
from tpctl.market.policy.model import Action, LearnedPolicy

# As many positions as tell a share to a hundredth.
_SAMPLE = 2_000
_ROUNDS, _RIDGE = 25, 1e-2
_STOP, _TARGET, _MARKET = (STEP_FEATURES.index(name) for name in ("stop_gap", "target_gap", "drift_fast"))


@dataclass(frozen=True, slots=True)
class Promises:
    """`actions` are the shares of positions each action is asked of first, `hits` foretells a position's next target.

    None where too few positions were held at their first close, or all of their targets came, or none.
    """

    actions: tuple[float, ...]
    hits: HitOdds | None


def promises_of(episodes: Episodes, policy: LearnedPolicy, config: TrainConfig) -> Promises:
    """Return what a policy promises, on positions spread over its training."""
    few = episodes.take(np.arange(0, len(episodes), max(1, len(episodes) // _SAMPLE)))
    scale = 1.0 - config.blend + config.blend * zone_multiples(policy, few)
    simulation = Simulation(few, base_terms(few, config, scale), config.costs, tighten_reach=policy.tighten_reach)
    decide = batch(policy)
    first = np.full(len(few), Action.HOLD, dtype=np.int64)
    met, fresh, seen = simulation.live, np.empty(0, dtype=np.int64), np.empty((len(HIT_FEATURES), 0))
    for step in range(few.horizon):
        simulation.open_candle(step)
        simulation.carry_out(step)
        simulation.finish_candle(step)
        if step == 0:
            met = simulation.live.copy()
            fresh = np.flatnonzero(met & (simulation.done == 0) & np.isfinite(simulation.next_target))
            seen = hit_matrix(simulation.features(0, fresh))
        free = simulation.live & (simulation.due < 0)
        simulation.ask(step, decide)
        asked = free & (simulation.due >= 0) & (first == Action.HOLD)
        first[asked] = simulation.asked[asked]
    simulation.open_candle(few.horizon)
    simulation.carry_out(few.horizon)
    counts = np.bincount(first[met], minlength=len(Action)) + 0.5
    shares = counts / counts.sum()
    return Promises(tuple(map(float, shares)), fit_hits(seen, simulation.done[fresh] > 0))


def hit_matrix(features: Floats) -> Floats:
    """Return `HIT_FEATURES` (F, m) of `STEP_FEATURES` (F, m)."""
    stop, target = np.maximum(features[_STOP], NEAREST), np.maximum(features[_TARGET], NEAREST)
    return np.stack([np.log(stop / target), np.log(target), *features[_MARKET : _MARKET + 3]])


def fit_hits(seen: Floats, came: NDArray[np.bool_]) -> HitOdds | None:
    """Return the logistic model of which targets came, by Newton's method on scaled features."""
    if not 0 < came.sum() < len(came):
        return None
    scaling = scaling_of(seen)
    samples = np.vstack([np.ones(len(came)), (seen - scaling.centre[:, None]) / scaling.deviation[:, None]])
    fitted = np.zeros(len(samples))
    penalty = _RIDGE * len(came) * np.eye(len(samples))
    # What comes on average is to be foretold as it was.
    penalty[0, 0] = 0.0
    for _ in range(_ROUNDS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(fitted @ samples, -30.0, 30.0)))
        slope = samples @ (came - chance) - penalty @ fitted
        curve = (samples * (chance * (1.0 - chance))) @ samples.T + penalty
        fitted += np.linalg.solve(curve, slope)
    bias, weights = scaling.raw(fitted)
    return HitOdds(float(bias), tuple(map(float, weights)))
