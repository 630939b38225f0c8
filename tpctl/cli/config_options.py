"""What a `config` command line can ask for, as records."""

from dataclasses import dataclass
from enum import StrEnum

from tpctl.cli.options import SharedOptions
from tpctl.exits.errors import UsageError
from tpctl.exits.units import Millis


class Action(StrEnum):
    """What `config` can do."""

    INIT = "init"
    SHOW = "show"
    VALIDATE = "validate"
    PATH = "path"
    DOCTOR = "doctor"


@dataclass(frozen=True, slots=True)
class ConfigOptions:
    """A `config` command line, read and checked."""

    action: Action
    shared: SharedOptions
    origin: bool = False
    check: bool = False
    venue: str | None = None
    timeout_ms: Millis = 10_000
    json: bool = False

    def __post_init__(self) -> None:
        doctor = self.action is Action.DOCTOR
        if self.origin and self.action is not Action.SHOW:
            raise UsageError(f"--origin does nothing for {self.action.value}", "give it to 'tpctl config show'")
        if (self.check or self.venue is not None) and not doctor:
            name = "--check" if self.check else "--venue"
            raise UsageError(f"{name} does nothing for {self.action.value}", "give it to 'tpctl config doctor'")
        if self.json and self.action is Action.INIT:
            raise UsageError("--json has no form for init", "leave it out")
