"""What a `plan` command line can ask for, as records, and how its values are spelled."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from tpctl.cli.options import SharedOptions, parse_number, parse_ratio
from tpctl.engine.plan_request import Given
from tpctl.exits.errors import InputsError, UsageError
from tpctl.exits.stops import StopSpec, parse_distance
from tpctl.exits.units import Ratio
from tpctl.views.plan_page import TABLE_COLUMNS


class Format(StrEnum):
    """How the result is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class TrailTerms:
    """A trail as it is written: `0.8%@2%` is a callback of 0.8 % from a profit of 2 %."""

    callback: StopSpec
    activation: StopSpec | None = None


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """A `plan` command line, read and checked. `risk` is `auto`, `none` or a file."""

    symbols: tuple[str, ...]
    given: Given
    shared: SharedOptions = field(default_factory=SharedOptions)
    risk: str = "auto"
    offline: bool = False
    venue: str | None = None
    rules: Path | None = None
    brackets: Path | None = None
    odds: bool = True
    explain: bool = False
    diff: bool = False
    check: bool = False
    output: Path | None = None
    apply: Path | None = None
    arm: bool = False
    confirm: str | None = None
    format: Format = Format.TABLE
    fields: tuple[str, ...] = TABLE_COLUMNS

    def __post_init__(self) -> None:
        if self.apply is not None:
            self._check_apply()
            return
        if self.arm or self.confirm is not None:
            raise UsageError(
                "--arm sends nothing without --apply", "keep the plan with -o FILE, then --apply FILE --arm"
            )
        self._check_position()
        if self.offline and self.venue is not None:
            raise UsageError("--offline and --venue contradict each other", "give one of them")
        if self.brackets is not None and self.rules is None:
            raise UsageError("--brackets needs --rules", "name the exchangeInfo file they belong to")

    def _check_position(self) -> None:
        given = self.given
        if given.quantity is not None and given.notional is not None:
            raise UsageError("--qty and --notional contradict each other", "give one of them")
        if given.hypothetical:
            if not self.symbols:
                raise UsageError("a position that is not open needs a symbol", "name one, such as XRPUSDT")
            if self.diff or self.check:
                option = "--check" if self.check else "--diff"
                raise UsageError(
                    f"{option} compares an open position with its orders",
                    "leave --side, --entry, --notional, --qty, --lev and --margin out",
                )
        elif self.offline:
            raise UsageError(
                "--offline cannot read open positions", "describe one: SYMBOL --entry PRICE --lev N --notional USD"
            )
        priced = [("--entry", given.entry), ("--mark", given.mark), ("--qty", given.quantity)]
        if len(self.symbols) != 1 and (named := [name for name, value in priced if value is not None]):
            raise UsageError(f"{named[0]} is for one symbol", "name one symbol, or leave it out")

    def _check_apply(self) -> None:
        if self.symbols or self.given != Given() or self.offline or self.output or self.diff or self.check:
            raise UsageError(
                "--apply takes the plan as it is in the file", "leave symbols, planning options, -o and --check out"
            )
        if self.confirm is not None and not self.arm:
            raise UsageError("--confirm does nothing without --arm", "add --arm to send orders, or leave --confirm out")


def parse_positive_number(text: str) -> Decimal:
    """Read a number above zero."""
    value = parse_number(text)
    if value <= 0:
        raise UsageError(f"value {text!r} is not above zero", "give a positive number")
    return value


def parse_leverage(text: str) -> Decimal:
    """Read a leverage: a whole number from 1, with or without an x."""
    spelled = text.strip().removesuffix("x").removesuffix("X")
    if not (spelled.isascii() and spelled.isdecimal() and len(spelled) <= 4 and int(spelled) > 0):
        raise UsageError(f"leverage {text!r} is not a whole number from 1", "write 20 or 20x")
    return Decimal(spelled)


def parse_volume(text: str) -> Decimal:
    """Read a 24 h quote volume, zero included."""
    value = parse_number(text)
    if value < 0:
        raise UsageError(f"volume {text!r} is below zero", "give the 24 h volume in USD")
    return value


def parse_fee(text: str) -> Ratio:
    """Read a fee rate, from zero to below 10 %."""
    value = parse_ratio(text)
    if not 0 <= value.fraction < Decimal("0.1"):
        raise UsageError(f"fee {text!r} is not a fee", "write the taker rate, such as 0.05%")
    return value


def parse_spec(text: str) -> StopSpec:
    """Read a distance: `2.5%`, `250bps` or `2atr`."""
    try:
        return parse_distance(text, "distance")
    except InputsError as error:
        raise UsageError(error.message, error.hint) from None


def parse_trail(text: str) -> TrailTerms:
    """Read a trail: `0.8%`, `1.5atr`, or `0.8%@2%` with the profit it acts from."""
    callback, at, activation = text.partition("@")
    if not callback or (at and not activation):
        raise UsageError(f"trail {text!r} is not a callback", "write 0.8%, or 0.8%@2% with the profit it acts from")
    return TrailTerms(parse_spec(callback), parse_spec(activation) if at else None)


def parse_leg(text: str) -> tuple[Ratio, Decimal]:
    """Read a leg: distance and share of the position, `1.5%:30%`."""
    distance, colon, share = text.partition(":")
    if not colon:
        raise UsageError(f"leg {text!r} has no share", "write distance and share, such as 1.5%:30%")
    leg = parse_ratio(distance), parse_ratio(share).fraction
    if leg[0].fraction <= 0 or not 0 < leg[1] <= 1:
        raise UsageError(f"leg {text!r} is not a distance and a share above zero", "write it such as 1.5%:30%")
    return leg
