"""How one training goes: its learner, the exits it starts from, the weights of its reward, its settings.

Decides none of what is learned. Equal configurations spell equal text, which a policy's origin keeps.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeAlias, get_args

from tpctl.exits.errors import InputsError
from tpctl.exits.rules import ExitRules
from tpctl.learn.cem import CemRules
from tpctl.learn.costs import Costs
from tpctl.learn.episodes import Episodes
from tpctl.learn.replay import ZONE
from tpctl.learn.stopping import Floats, StoppingRules
from tpctl.learn.terms import LadderAccount, Terms, ladder_terms, static_terms

Learner: TypeAlias = Literal["stopping", "cem", "ppo"]
BaseExits: TypeAlias = Literal["dynamic", "static"]
LEARNERS: tuple[str, ...] = get_args(Learner)
# Those that need no extra of their own.
DEFAULT_LEARNERS: tuple[Learner, ...] = ("stopping", "cem")

# exit-rules 13: what the bonus weighs before the metrics change it.
BONUS = 5.0


@dataclass(frozen=True, slots=True)
class PpoRules:
    """`paths` positions a round, each walked to its end; of `rounds` rounds the learning rate falls to zero."""

    paths: int = 512
    rounds: int = 30
    epochs: int = 4
    batch: int = 4_096
    rate: float = 1e-3
    entropy: float = 0.003


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What one training does.

    `exits` are the incumbent's. `zone` is the distance of the take-profit zone as a fraction of entry; a reward is
    `pnl_scale` times net R plus `bonus` where the exit takes the zone. `multiples` are the zones a policy may choose
    from, of the plan's mean take-profit; `blend` is the weight a plan gives the suggestion. `tighten_reach` is in
    average ranges. `ridge` holds the zone and tighten scores near zero, relative to the deviation of their features.
    """

    learner: Learner = "stopping"
    exits: BaseExits = "dynamic"
    rules: ExitRules = field(default_factory=ExitRules)
    account: LadderAccount = field(default_factory=LadderAccount)
    costs: Costs = field(default_factory=Costs)
    zone: float = ZONE
    bonus: float = 0.0
    pnl_scale: float = 1.0
    multiples: tuple[float, ...] = (0.5, 0.75, 1.0, 1.5, 2.0)
    blend: float = 0.4
    tighten_reach: float = 3.0
    ridge: float = 0.1
    stopping: StoppingRules = field(default_factory=StoppingRules)
    cem: CemRules = field(default_factory=CemRules)
    ppo: PpoRules = field(default_factory=PpoRules)

    def __post_init__(self) -> None:
        if self.learner not in LEARNERS:
            raise InputsError(f"learner '{self.learner}' is unknown", f"choose from: {', '.join(LEARNERS)}")
        if not 0.0 < self.zone < 1.0:
            raise InputsError(f"zone '{self.zone}' is not between 0 and 100 %", "give a distance such as 6%")
        if not (0.0 <= self.bonus < 1e6 and 0.0 < self.pnl_scale < 1e6):
            raise InputsError("reward weights are out of range", "give a bonus from 0 and a pnl scale above 0")
        if 1.0 not in self.multiples:
            raise InputsError("the zones to choose from lack the plan's own, 1", "add 1.0 to the multiples")

    def text(self) -> str:
        """Return the configuration as JSON, for the policy's origin; equal configurations give equal text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    return str(value)


def base_terms(episodes: Episodes, config: TrainConfig, scale: Floats | None = None) -> Terms:
    """Return the incumbent's plans; `scale` multiplies their take-profit distances."""
    fee = config.costs.fee_out
    if config.exits == "dynamic":
        return ladder_terms(episodes, config.rules, fee=fee, account=config.account, scale=scale)
    return static_terms(episodes, config.rules, fee=fee, scale=scale)
