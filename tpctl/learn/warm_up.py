"""Compiles what a training runs, or loads what was compiled, so that its time is not taken for the training's."""

from importlib.util import find_spec

import numpy as np

from tpctl.learn.cem import warm_search
from tpctl.learn.config import TrainConfig, base_terms
from tpctl.learn.episodes import Episodes
from tpctl.learn.play import Player
from tpctl.learn.replay import trace
from tpctl.market.policy.features import STEP_FEATURES
from tpctl.market.policy.model import LearnedPolicy, Linear, Origin, Score

# Enough for a slice with gaps, which numba compiles apart.
_FEW = 4


def warm_up(episodes: Episodes, config: TrainConfig) -> bool:
    """Run each compiled function of a training once, on a handful of its positions; whether there was any to run."""
    if find_spec("numba") is None:
        return False
    few = episodes.take(np.arange(min(_FEW, len(episodes))))
    player, terms = Player(few), base_terms(few, config)
    hold = Score(-1.0, (0.0,) * len(STEP_FEATURES))
    policy = LearnedPolicy(few.interval_ms, few.horizon, Linear(hold, hold), (), 1.0, Origin("", 0, 0, "", ""))
    for one in (None, policy):
        player.play(terms, config.costs, one, zone=config.zone)
    if config.learner == "cem":
        warm_search(trace(few, terms, config.costs, zone=config.zone, tape=player.tape)[0])
    return True
