"""What trading has measured goes into the next training: costs, the weight of the bonus, and what a policy may choose.

Decides how far measurements are believed (learning 7): few fills of a symbol are drawn toward those of all symbols, and
few of all toward what is assumed. Premature exits and missed targets widen and narrow what may be chosen, and net R on
the training episodes still chooses; they never count as a reward.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tpctl.exits.instrument import Unavailable
from tpctl.exits.scoring import wilson
from tpctl.learn.config import TrainConfig, base_terms
from tpctl.learn.costs import ASSUMED_SLIPPAGE, Costs, Slippage
from tpctl.learn.episodes import Episodes
from tpctl.learn.play import Player
from tpctl.learn.reward import LEAST_ATTEMPTS, tp_reward_weight
from tpctl.learn.train import incumbent_outcomes
from tpctl.market.policy.drift import PREMATURE_LIMIT

# Learning 7: n fills are believed n / (n + 30).
PRIOR_FILLS = 30
# exit-rules 13: fewer hits than this are few.
HITS_LIMIT = 0.45
WIDER, NARROWER = 3.0, 0.35
# Room that premature exits give the tightened stop, in average ranges.
_MORE_REACH = 1.5


class Slipped(NamedTuple):
    """One fill at a level: `cause` is stop or target, `fraction` of the level, adverse above zero."""

    symbol: str
    cause: str
    fraction: float


@dataclass(frozen=True, slots=True)
class Feedback:
    """What was measured; rates are fractions, None where nothing was. `attempts` stand behind the rates.

    `costs` are what a training reckons with, `fills` how many fills they rest on.
    """

    costs: Costs
    fills: int = 0
    attempts: int = 0
    tp_hit_rate: float | None = None
    avg_slippage: float | None = None
    premature_exit_rate: float | None = None
    mean_r: float | None = None

    @property
    def tp_reward_weight(self) -> float:
        """What the bonus for the zone weighs (exit-rules 13)."""
        return tp_reward_weight(self.tp_hit_rate, self.mean_r, self.attempts)

    @property
    def leaves_early(self) -> bool:
        """Whether too many exits were premature."""
        rate = self.premature_exit_rate
        return self.attempts >= LEAST_ATTEMPTS and rate is not None and rate > PREMATURE_LIMIT

    @property
    def hits_rarely(self) -> bool:
        """Whether too few targets were hit."""
        rate = self.tp_hit_rate
        return self.attempts >= LEAST_ATTEMPTS and rate is not None and rate < HITS_LIMIT


def informed(config: TrainConfig, feedback: Feedback) -> TrainConfig:
    """Return the configuration with what was measured in it."""
    multiples = set(config.multiples)
    if feedback.leaves_early:
        multiples.add(WIDER)
    if feedback.hits_rarely:
        multiples.add(NARROWER)
    return replace(
        config,
        costs=feedback.costs,
        bonus=config.bonus * feedback.tp_reward_weight,
        multiples=tuple(sorted(multiples)),
        tighten_reach=config.tighten_reach * (_MORE_REACH if feedback.leaves_early else 1.0),
    )


def calibration(real: Episodes, config: TrainConfig, feedback: Feedback) -> str | None:
    """Return how far the simulator is off on the journal's own positions; None where it is not, or nobody can tell.

    It is off where the share of targets it lets the ladder hit lies outside the 95 % interval of the share that was.
    """
    if feedback.tp_hit_rate is None or feedback.attempts < LEAST_ATTEMPTS:
        return None
    targets = int(np.isfinite(base_terms(real, config).targets).sum())
    measured = wilson(round(feedback.tp_hit_rate * feedback.attempts), feedback.attempts)
    if not targets or isinstance(measured, Unavailable):
        return None
    low, high = map(float, measured)
    simulated = float(incumbent_outcomes(Player(real), config).legs.sum()) / targets
    if low <= simulated <= high:
        return None
    return (
        f"the simulator hits {simulated:.0%} of the targets on the journal's positions, "
        f"trading hit {feedback.tp_hit_rate:.0%} ({low:.0%} to {high:.0%}): read its figures with care"
    )


def measured_costs(fills: Iterable[Slipped]) -> tuple[Costs, int]:
    """Return the costs with slippage as it was measured, and on how many fills it rests; market orders are assumed.

    What is no fraction of a price is left out.
    """
    rows = [one for one in fills if -0.5 < one.fraction < 0.5]
    if not rows:
        return Costs(), 0
    common = Slippage(
        stop=_drawn(_of(rows, "stop"), (ASSUMED_SLIPPAGE,)),
        target=_drawn(_of(rows, "target"), (ASSUMED_SLIPPAGE,)),
        measured=True,
    )
    own: Mapping[str, Slippage] = {
        symbol: replace(
            common,
            stop=_drawn(_of(rows, "stop", symbol), common.stop),
            target=_drawn(_of(rows, "target", symbol), common.target),
        )
        for symbol in sorted({one.symbol for one in rows})
    }
    return Costs(slippage=common, own=own), len(rows)


def _of(rows: Sequence[Slipped], cause: str, symbol: str | None = None) -> list[float]:
    return [one.fraction for one in rows if one.cause == cause and symbol in {None, one.symbol}]


def _drawn(own: Sequence[float], prior: Sequence[float]) -> tuple[float, ...]:
    """Return measured values among thirty of the prior, evenly spread over it; the prior alone without any."""
    if not own:
        return tuple(prior)
    ranked = sorted(prior)
    spread = (ranked[(2 * place + 1) * len(ranked) // (2 * PRIOR_FILLS)] for place in range(PRIOR_FILLS))
    return (*own, *spread)
