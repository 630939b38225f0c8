"""What a `watch` or a `venue` command line asked for, read and checked: between the commands and the session.

Decides which options contradict each other; what they lead to is the session's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from tpctl.cli.options import Entries, SharedOptions, Speed, window
from tpctl.exits.errors import UsageError
from tpctl.exits.model import Policy
from tpctl.exits.units import Millis, Ratio

# The twin takes this pair of keys; there is nothing to protect.
TWIN_KEY = "sim"


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """A `watch` command line, read and checked. None is "not given": the session decides the default.

    `since`, `until` are ms UTC of market time; `stop_after` is a length of event time in ms; `venue` is the base
    address of a separately served twin.
    """

    symbols: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    shared: SharedOptions = field(default_factory=SharedOptions)
    market: tuple[Path, ...] = ()
    since: Millis | None = None
    until: Millis | None = None
    speed: Speed | None = None
    seed: int | None = None
    entries: Entries | None = None
    venue: str | None = None
    once: bool = False
    flatten: bool = False
    yes: bool = False
    stop_after: Millis | None = None
    jsonl: bool = False
    arm: bool = False
    confirm: str | None = None
    confidence: Decimal | None = None
    volatility: Ratio | None = None
    policy: Policy | None = None
    lines: bool = False
    ascii: bool = False
    attach: bool = False
    record: Path | None = None
    replay: Path | None = None
    metrics_port: int | None = None

    def __post_init__(self) -> None:
        window(self.since, self.until)
        if self.attach or self.replay is not None:
            self._only_looks()
        if both := [symbol for symbol in self.symbols if symbol in self.exclude]:
            raise UsageError(f"{both[0]} is both named and excluded", "leave one of them out")
        if self.yes and not self.flatten:
            raise UsageError("--yes does nothing without --flatten", "leave it out")
        if self.flatten:
            self._only_closes()
        if self.once and self.stop_after is not None:
            raise UsageError("--once and --for contradict each other", "give one of them")
        if self.confirm is not None and not self.arm:
            raise UsageError("--confirm does nothing without --arm", "add --arm to send orders, or leave --confirm out")
        if self.venue is not None and (twin := self._twin_options()):
            raise UsageError(f"{twin[0]} does not go with --venue", f"give {twin[0]} to 'tpctl venue' instead")
        if (self.since is not None or self.until is not None) and not self.market and self.venue is None:
            raise UsageError("--from and --until need a recorded market", "name one with --market FILE")

    def _only_looks(self) -> None:
        """Refuse what a view of another watch, or of a record, cannot do."""
        name = "--attach" if self.attach else "--replay"
        given = {
            "--replay": self.attach and self.replay is not None,
            "--record": self.record is not None,
            "--arm": self.arm,
            "--once": self.once,
            "--flatten": self.flatten,
            "--metrics-port": self.metrics_port is not None,
            "--for": self.stop_after is not None,
            "--venue": self.venue is not None,
            "--policy": self.policy is not None,
            "--confidence": self.confidence is not None,
            "--volatility": self.volatility is not None,
            "a symbol": bool(self.symbols),
            "--exclude": bool(self.exclude),
        }
        others = [option for option, present in given.items() if present]
        others += [option for option in self._twin_options() if self.attach or option != "--speed"]
        if others:
            raise UsageError(f"{others[0]} does not go with {name}", f"{name} only shows; leave {others[0]} out")

    def _only_closes(self) -> None:
        """Refuse what closing everything has no use for."""
        given = {"--for": self.stop_after is not None, "--policy": self.policy is not None}
        given |= dict.fromkeys(self._twin_options(), True)
        if others := [name for name, present in given.items() if present]:
            raise UsageError(f"{others[0]} does not go with --flatten", f"leave {others[0]} out")

    def _twin_options(self) -> list[str]:
        """Return the given options that shape an embedded twin."""
        given = {
            "--market": bool(self.market),
            "--from": self.since is not None,
            "--until": self.until is not None,
            "--speed": self.speed is not None,
            "--seed": self.seed is not None,
            "--entries": self.entries is not None,
        }
        return [name for name, present in given.items() if present]


class KeyRightsName(StrEnum):
    """What a twin says that its key may do."""

    FUTURES = "futures"
    WITHDRAW = "withdraw"
    READ = "read"


@dataclass(frozen=True, slots=True)
class VenueOptions:
    """A `venue` command line, read and checked. None is "not given": the session decides the default.

    `since`, `until` are ms UTC of market time; port 0 is any free one. `skew_ms` is how far the
    exchange's clock is ahead. `faults` are rates by name (`venue.faults.parse_faults`).
    """

    shared: SharedOptions = field(default_factory=SharedOptions)
    market: tuple[Path, ...] = ()
    since: Millis | None = None
    until: Millis | None = None
    speed: Speed | None = None
    seed: int | None = None
    entries: Entries | None = None
    rules: Path | None = None
    brackets: Path | None = None
    port: int = 0
    json: bool = False
    key_rights: KeyRightsName | None = None
    skew_ms: Millis = 0
    faults: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        window(self.since, self.until)
        if (self.since is not None or self.until is not None) and not self.market:
            raise UsageError("--from and --until need a recorded market", "name one with --market FILE")
