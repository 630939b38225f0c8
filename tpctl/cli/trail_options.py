"""What a `trail` command line can ask for, as records, and how its values are spelled."""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tpctl.cli.options import Format, SharedOptions, parse_number, parse_ratio
from tpctl.exits.errors import InputsError, UsageError
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import WorkingType
from tpctl.exits.units import Millis, Price, Ratio
from tpctl.views.trail import COLUMNS

if TYPE_CHECKING:
    from tpctl.exits.stops import StopSpec


class StyleName(StrEnum):
    """The trailing styles of `exits.trail_styles`, named here so that a what-if need not load them."""

    TIERED = "tiered"
    PERCENT = "percent"
    ATR = "atr"
    BREAKEVEN = "breakeven"
    MOVING_TARGET = "moving_target"
    MOVING_TWO_TARGET = "moving_two_target"
    BELOW_TRIGGER = "percent_below_trigger"
    BELOW_HIGHEST = "percent_below_highest"


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A trail that need not exist. None is "not given"; without an age the position counts as old enough."""

    profit: Ratio | None = None
    callback: "StopSpec | None" = None
    current: Ratio | None = None
    age_ms: Millis | None = None
    since_change_ms: Millis | None = None
    entry: Price | None = None
    side: PositionSide | None = None
    peak: Price | None = None
    mark: Price | None = None
    target: Price | None = None
    activation: Ratio | None = None

    @property
    def asked(self) -> bool:
        """Whether anything was given; the side alone asks nothing."""
        return any(getattr(self, name) is not None for name in self.__dataclass_fields__ if name != "side")


@dataclass(frozen=True, slots=True)
class Simulation:
    """A replay on recorded candles. None is the default; times are ms UTC."""

    files: tuple[Path, ...] = ()
    since: Millis | None = None
    until: Millis | None = None
    entry_at: Millis | None = None
    style: StyleName = StyleName.TIERED
    stop: Ratio | None = None
    targets: tuple[Ratio, ...] | None = None
    tick: Price | None = None
    rules: Path | None = None
    atr_bar_ms: Millis | None = None
    follow: WorkingType | None = None

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise UsageError("--to is not after --from", "give a later --to")
        if self.entry_at is not None:
            if self.since is not None and self.entry_at < self.since:
                raise UsageError("--entry-time is before --from", "give a later --entry-time, or leave --from out")
            if self.until is not None and self.entry_at >= self.until:
                raise UsageError("--entry-time is not before --to", "give an earlier --entry-time or a later --to")
        if self.stop is not None and self.stop.fraction >= 1:
            raise UsageError(f"stop '{self.stop}' is not below 100%", "give a distance such as 2.5%")
        if self.tick is not None and self.rules is not None:
            raise UsageError("--tick and --rules contradict each other", "give one of them")


@dataclass(frozen=True, slots=True)
class ApplyTerms:
    """How `--apply` may act. `venue` is the base address of a served twin."""

    arm: bool = False
    confirm: str | None = None
    venue: str | None = None
    timeout_ms: Millis = 10_000

    def __post_init__(self) -> None:
        if self.confirm is not None and not self.arm:
            raise UsageError("--confirm does nothing without --arm", "add --arm to send orders, or leave --confirm out")


@dataclass(frozen=True, slots=True)
class TrailOptions:
    """A `trail` command line, read and checked."""

    symbols: tuple[str, ...] = ()
    what_if: WhatIf = field(default_factory=WhatIf)
    simulation: Simulation | None = None
    explain: bool = False
    shared: SharedOptions = field(default_factory=SharedOptions)
    schedule: bool = False
    partials: bool = False
    check: bool = False
    apply: "ApplyTerms | None" = None
    ascii_only: bool = False
    format: Format = Format.TABLE
    fields: tuple[str, ...] = COLUMNS

    def __post_init__(self) -> None:
        if self.explain and (self.simulation is not None or self.what_if.asked):
            other = "--simulate" if self.simulation is not None else "a what-if"
            raise UsageError(f"--explain and {other} contradict each other", "give one of them")
        others = {
            "--explain": self.explain,
            "--simulate": self.simulation is not None,
            "--check": self.check,
            "a what-if": self.what_if.asked,
        }
        if self.apply is not None and (first := next((name for name, given in others.items() if given), None)):
            raise UsageError(f"--apply and {first} contradict each other", "give one of them")
        if self.apply is not None and self.format not in {Format.TABLE, Format.JSON}:
            raise UsageError(
                f"--format {self.format.value} has no form for what was done", "use --format table or --format json"
            )
        if self.check and (self.explain or self.simulation is not None):
            other = "--explain" if self.explain else "--simulate"
            raise UsageError(f"--check and {other} contradict each other", "give one of them")
        if (self.explain or self.simulation is not None) and self.format not in {Format.TABLE, Format.JSON}:
            raise UsageError(
                f"--format {self.format.value} has no form for a story of moves", "use --format table or --format json"
            )


def parse_price(text: str) -> Price:
    """Read a price, above zero."""
    value = parse_number(text)
    if value <= 0:
        raise UsageError(f"price {text!r} is not above zero", "give a positive number")
    return value


def parse_share(text: str) -> Ratio:
    """Read a ratio above zero."""
    value = parse_ratio(text)
    if value.fraction <= 0:
        raise UsageError(f"ratio {text!r} is not above zero", "give a positive one such as 1.5%")
    return value


def parse_callback(text: str) -> "StopSpec":
    """Read `1.5%`, `150bps` or, for the chandelier, `3atr`."""
    if not text.strip().lower().endswith("atr"):
        return parse_share(text)
    from tpctl.exits.stops import parse_distance

    try:
        return parse_distance(text, "callback")
    except InputsError as error:
        raise UsageError(error.message, error.hint) from None


def parse_targets(text: str) -> tuple[Ratio, ...]:
    """Read distances from entry, separated by commas."""
    return tuple(parse_share(part.strip()) for part in text.split(","))


def parse_elapsed(text: str) -> Millis:
    """Read a duration that may be zero, in milliseconds."""
    from tpctl.settings.values import parse_duration

    try:
        return parse_duration(text, "duration")
    except InputsError as error:
        raise UsageError(error.message, error.hint) from None


def parse_symbols(given: list[str] | None) -> tuple[str, ...]:
    """Read symbols as the exchange spells them, each once."""
    for symbol in given or ():
        if not symbol.replace("_", "").isalnum():
            raise UsageError(f"symbol {symbol!r} is not one", "write it as the exchange does, such as XRPUSDT")
    return tuple(dict.fromkeys(symbol.upper() for symbol in given or ()))


def parse_fields(text: str | None) -> tuple[str, ...]:
    """Read the names of columns; all where none are given."""
    if text is None:
        return COLUMNS
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = next((name for name in names if name not in COLUMNS), None)
    if unknown is not None or not names:
        raise UsageError(f"no such field {unknown or text!r}", f"the fields are: {', '.join(COLUMNS)}")
    return names
