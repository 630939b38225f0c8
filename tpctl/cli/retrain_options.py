"""What a `retrain` command line can ask for, as records, and how its values are spelled."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from tpctl.cli.options import SharedOptions, parse_number, parse_ratio
from tpctl.exits.errors import UsageError
from tpctl.exits.units import Ratio

EPISODES, MOST_EPISODES = 10_000, 1_000_000
DAYS = 365
MOST_SEEDS = 100
MOST_DAYS = 1500


class Mode(StrEnum):
    """What is done; `due` is what the command does without any of the others."""

    DUE = "due"
    RUN = "run"
    EVALUATE = "evaluate"
    LIST = "list"
    PROMOTE = "promote"
    ROLLBACK = "rollback"


class Learner(StrEnum):
    """How the rule to close is found."""

    STOPPING = "stopping"
    CEM = "cem"
    PPO = "ppo"


class Trust(StrEnum):
    """How far a promoted policy is trusted."""

    SHADOW = "shadow"
    CANARY = "canary"
    PROMOTED = "promoted"


@dataclass(frozen=True, slots=True)
class Training:
    """What a training is run on and how. `weights` are (bonus, scale of net R); the first is tried alone where single.

    `zone` is the take-profit zone as a fraction of entry; `symbols` empty means all the data hold, or the usual basket.
    """

    episodes: int = EPISODES
    seeds: int = 1
    symbols: tuple[str, ...] = ()
    days: int | None = None
    data: tuple[Path, ...] = ()
    funding: tuple[Path, ...] = ()
    learner: Learner = Learner.STOPPING
    weights: tuple[tuple[Decimal, Decimal], ...] = ((Decimal(0), Decimal(1)),)
    zone: Decimal = Decimal("0.06")


@dataclass(frozen=True, slots=True)
class RetrainOptions:
    """A `retrain` command line, read and checked. `named` is the hash of --promote, or of --candidate.

    `cluster` is the address of a Ray cluster, `workers` how many processes; None for as many as there are cores.
    """

    mode: Mode = Mode.DUE
    training: Training = field(default_factory=Training)
    resume: bool = False
    named: str = ""
    trust: Trust = Trust.SHADOW
    share: Decimal = Decimal(1)
    check: bool = False
    report: Path | None = None
    cluster: str | None = None
    workers: int | None = None
    venue: str | None = None
    json: bool = False
    shared: SharedOptions = field(default_factory=SharedOptions)

    def __post_init__(self) -> None:
        if self.check and self.mode is not Mode.DUE:
            raise UsageError(f"--check and --{self.mode.value} contradict each other", "give one of them")
        if self.resume and self.mode is not Mode.RUN:
            raise UsageError("--resume goes on with a training", "add --run")
        if self.resume and self.training != Training():
            raise UsageError(
                "--resume goes on with the options the training was started with", "give --run --resume alone"
            )


def parse_weights(text: str) -> tuple[Decimal, Decimal]:
    """Read `BONUS` or `BONUS,SCALE`: what the zone counts, and what a net R does."""
    bonus, comma, scale = text.partition(",")
    found = (parse_number(bonus.strip()), parse_number(scale.strip()) if comma else Decimal(1))
    if not (0 <= found[0] < 10**6 and 0 < found[1] < 10**6):
        raise UsageError(f"reward weights {text!r} are out of range", "write a bonus from 0, or bonus,scale: 5,100")
    return found


def parse_zone(text: str) -> Ratio:
    """Read the take-profit zone: a distance from entry."""
    zone = parse_ratio(text)
    if not 0 < zone.fraction < 1:
        raise UsageError(f"zone {text!r} is not between 0 and 100%", "write a distance such as 6%")
    return zone
