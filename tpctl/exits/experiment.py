"""Which policy a position gets in an experiment: an A/B test inside the loop.

An arm is drawn from the position's generation and the experiment's name alone, so a restart, another host or a replay
draws the same one, and a new name draws anew. The share of the arm is the draw's propensity: it is logged with the
assignment, so that a later analysis can weigh by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2s
from typing import NamedTuple

from tpctl.exits.model import Policy
from tpctl.exits.rule_checks import require
from tpctl.exits.units import ONE, ZERO, Ratio

_STEPS = 2**64


@dataclass(frozen=True, slots=True)
class ExperimentArm:
    """One arm: the policy its positions are planned with, and the share of positions that get it."""

    policy: Policy
    share: Ratio

    def __post_init__(self) -> None:
        require(
            ZERO < self.share.fraction < ONE,
            f"the share '{self.share}' of an arm is not between 0% and 100%",
            'write it as "50%"',
        )


@dataclass(frozen=True, slots=True)
class Experiment:
    """`[experiment]`: a name, and at least two arms whose shares sum to 100 %. Without a name there is none."""

    name: str = ""
    arms: Mapping[str, ExperimentArm] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            require(not self.arms, "an experiment has arms but no name", 'give it a name, such as name = "tp-v3"')
            return
        for name in (self.name, *self.arms):
            require(
                name.isascii() and name.replace("-", "").replace("_", "").isalnum(),
                f"{name!r} is no name for an experiment or an arm",
                "use letters, digits, - and _",
            )
        require(len(self.arms) >= 2, f"experiment {self.name!r} has fewer than two arms", "give it two arms to compare")
        total = sum((arm.share.fraction for arm in self.arms.values()), ZERO)
        require(
            total == ONE,
            f"the shares of experiment {self.name!r} sum to {Ratio(total)}, not 100%",
            "let the shares of the arms sum to exactly 100%",
        )


NO_EXPERIMENT = Experiment()


class Assignment(NamedTuple):
    """What was drawn: `label` is `experiment/arm`, `propensity` the probability it had."""

    label: str
    policy: Policy
    propensity: Ratio


def assign(experiment: Experiment, generation: str) -> Assignment | None:
    """Return the arm a position gets, by a hash of the experiment's name and its generation; None without one."""
    if not experiment.name:
        return None
    digest = blake2s(f"{experiment.name}|{generation}".encode(), digest_size=8).digest()
    drawn, reached = int.from_bytes(digest, "big"), ZERO
    names = sorted(experiment.arms)
    for name in names:
        arm = experiment.arms[name]
        reached += arm.share.fraction
        if drawn < reached * _STEPS or name == names[-1]:
            return Assignment(f"{experiment.name}/{name}", arm.policy, arm.share)
    raise AssertionError("an experiment has arms")
