"""`tpctl plan`: from the command line to `PlanOptions`. Reading and printing are in `cli.planning`."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tpctl.cli.options import (
    HELP_NAMES,
    ColorMode,
    ColorOption,
    Command,
    ConfigOption,
    Example,
    NoInputOption,
    ProfileOption,
    QuietOption,
    SharedOptions,
    StateDirOption,
    VerboseOption,
    epilog,
    parse_confidence,
    parse_number,
    parse_ratio,
    parse_url,
    parse_volatility,
)
from tpctl.engine.plan_request import DEFAULT_NOTIONAL, Given
from tpctl.exits.errors import ExitCode, InputsError, UsageError
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import MarginMode, Policy, Regime
from tpctl.exits.stops import StopSpec, parse_distance
from tpctl.exits.units import Ratio
from tpctl.views.plan import PLAN_FIELDS
from tpctl.views.plan_page import TABLE_COLUMNS
from tpctl.views.plan_rows import COLUMNS

EXAMPLES = (
    Example("tpctl plan", "every open position of the account: orders, money, odds, and why"),
    Example("tpctl plan XRPUSDT --lev 20", "a position that is not open yet, at the mark"),
    Example(
        "tpctl plan XRPUSDT --offline --entry 0.52 --notional 2000 --lev 20 --volatility 2.5% --json",
        "the same plan every time: no network, everything given",
    ),
    Example("tpctl plan XRPUSDT --lev 20 --leg 1.5%:30% --leg 3%:50% --stop 2% --trail 0.8%@2%", "levels by hand"),
    Example("tpctl plan XRPUSDT --diff", "against what rests; with --check it exits with 22 where an order is due"),
    Example("tpctl plan XRPUSDT -o plan.json", "keep the plan, to apply it with --apply plan.json --arm"),
)
EXIT_CODES = (
    ExitCode.OK,
    ExitCode.BUG,
    ExitCode.USAGE,
    ExitCode.CONFIG,
    ExitCode.CREDENTIALS,
    ExitCode.UNAVAILABLE,
    ExitCode.RATE_LIMITED,
    ExitCode.STATE_FILE,
    ExitCode.LOCKED,
    ExitCode.INPUTS,
    ExitCode.NOT_ARMED,
    ExitCode.PARTIAL,
    ExitCode.CHANGES_DUE,
    ExitCode.NOT_PLACEABLE,
    ExitCode.EMPTY,
    ExitCode.INTERRUPTED,
    ExitCode.PIPE_CLOSED,
    ExitCode.TERMINATED,
)


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


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


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


def _number(option: str, words: str) -> object:
    return typer.Option(option, metavar="NUMBER", parser=parse_positive_number, help=words)


@app.command("plan", cls=Command, context_settings=HELP_NAMES, epilog=epilog(EXAMPLES, EXIT_CODES))
def plan(
    symbols: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SYMBOL]...", help="Symbols, such as XRPUSDT; all open positions where none is given."),
    ] = None,
    side: Annotated[PositionSide | None, typer.Option("--side", help="Side of the position.  [default: long]")] = None,
    entry: Annotated[Decimal | None, _number("--entry", "Entry price.  [default: the mark]")] = None,
    mark: Annotated[Decimal | None, _number("--mark", "Mark price, instead of the exchange's.")] = None,
    notional: Annotated[
        Decimal | None, _number("--notional", f"Size in USD at entry.  [default: {DEFAULT_NOTIONAL}]")
    ] = None,
    quantity: Annotated[Decimal | None, _number("--qty", "Size in units of the base asset.")] = None,
    leverage: Annotated[
        Decimal | None,
        typer.Option("--lev", metavar="N", parser=parse_leverage, help="Leverage, such as 20."),
    ] = None,
    margin: Annotated[
        MarginMode | None,
        typer.Option("--margin", help="Margin mode.  [default: the exchange's setting, else isolated]"),
    ] = None,
    volatility: Annotated[
        Ratio | None,
        typer.Option(
            "--volatility", metavar="RATIO", parser=parse_volatility, help="Daily volatility to plan with, as 2.5%."
        ),
    ] = None,
    regime: Annotated[Regime | None, typer.Option("--regime", help="Market regime to plan with.")] = None,
    confidence: Annotated[
        Decimal | None,
        typer.Option("--confidence", metavar="0..1", parser=parse_confidence, help="Confidence to plan with."),
    ] = None,
    volume: Annotated[
        Decimal | None,
        typer.Option("--volume-24h", metavar="USD", parser=parse_volume, help="24 h quote volume to plan with."),
    ] = None,
    pnl: Annotated[
        Ratio | None,
        typer.Option("--pnl", metavar="RATIO", parser=parse_ratio, help="Unrealised PnL of the notional, as 6%."),
    ] = None,
    risk: Annotated[str, typer.Option("--risk", metavar="auto|none|FILE", help="Risk readings to plan with.")] = "auto",
    policy: Annotated[
        Policy | None, typer.Option("--policy", help="Rule that shapes the take-profit distances.")
    ] = None,
    leg: Annotated[
        list[str] | None, typer.Option("--leg", metavar="RATIO:SHARE", help="A leg by hand, as 1.5%:30%; repeatable.")
    ] = None,
    stop: Annotated[
        str | None, typer.Option("--stop", metavar="DISTANCE", help="Stop distance, as 2.5% or 2atr.")
    ] = None,
    trail: Annotated[
        TrailTerms | None,
        typer.Option(
            "--trail",
            metavar="DISTANCE[@PROFIT]",
            parser=parse_trail,
            help="Trailing callback and the profit it acts from, as 0.8%@2%.",
        ),
    ] = None,
    fee: Annotated[
        Ratio | None, typer.Option("--fee", metavar="RATIO", parser=parse_fee, help="Fee on both sides, as 0.05%.")
    ] = None,
    min_reward_risk: Annotated[
        Decimal | None, _number("--min-reward-risk", "Refuse a plan whose reward:risk stays below this.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Print each stage's value before and after.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Compare with the live orders.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 22 where orders are due.")] = False,
    no_odds: Annotated[bool, typer.Option("--no-odds", help="Leave the odds out.")] = False,
    output_file: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the plan document to FILE too.")
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option("--apply", metavar="FILE", help="Place what is missing of the plan in FILE; needs --arm."),
    ] = None,
    arm: Annotated[bool, typer.Option("--arm", help="With --apply: send the orders.")] = False,
    confirm: Annotated[
        str | None,
        typer.Option("--confirm", metavar="PROFILE", help="Repeat the profile's name; live needs it to arm."),
    ] = None,
    venue: Annotated[
        str | None,
        typer.Option("--venue", metavar="URL", parser=parse_url, help="Use the twin 'tpctl venue' serves at URL."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask nobody: options, and the twin's or cached rules.")
    ] = False,
    rules: Annotated[
        Path | None, typer.Option("--rules", metavar="FILE", help="Rules from an exchangeInfo file, plain or .gz.")
    ] = None,
    brackets: Annotated[
        Path | None, typer.Option("--brackets", metavar="FILE", help="Leverage brackets to go with --rules.")
    ] = None,
    format_: Annotated[Format | None, typer.Option("--format", help="How to print.  [default: table]")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON (tpctl.plan/1).")] = False,
    fields: Annotated[
        str | None,
        typer.Option(
            "--fields",
            metavar="LIST",
            help=f"Columns to print, of: {', '.join(COLUMNS)}; with JSON members of plans[].",
        ),
    ] = None,
    profile: ProfileOption = None,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    color: ColorOption = ColorMode.AUTO,
    no_input: NoInputOption = False,
) -> ExitCode:
    """Print the exact exit orders of positions, open or hypothetical, before anything is sent.

    Each exit with what it earns after fees in USD, R and return on margin, and how likely it is reached before the
    stop; breakeven, liquidation, reward:risk, what the exchange would refuse, and every rule that shaped the plan.

    With one of --side, --entry, --notional, --qty, --lev or --margin the position is hypothetical, of 1000 USD unless
    a size is given. What is not given is read from the profile's exchange; what cannot be read is unavailable, and
    the plan says so. In sim the exchange is the embedded twin. Planning sends nothing.

    -o FILE keeps the plan; --apply FILE --arm places what is missing of it, once, if the position still is the plan's:
    the same size, entry within 0.1%, mark within 0.5%, and no level passed since. Otherwise it exits with 17.
    """
    if json and format_ not in {None, Format.JSON}:
        raise UsageError("--json and --format contradict each other", "give one of them")
    chosen = Format.JSON if json else format_ or Format.TABLE
    given = Given(
        side=side,
        entry=entry,
        mark=mark,
        notional=notional,
        quantity=quantity,
        leverage=leverage,
        margin=margin,
        volatility=volatility,
        regime=regime,
        confidence=confidence,
        quote_volume=volume,
        pnl=pnl,
        policy=policy,
        legs=tuple(parse_leg(text) for text in leg) if leg else None,
        stop=None if stop is None else parse_spec(stop),
        trail=None if trail is None else trail.callback,
        trail_activation=None if trail is None else trail.activation,
        fee=fee,
        min_reward_risk=min_reward_risk,
    )
    options = PlanOptions(
        symbols=tuple(dict.fromkeys(symbols or [])),
        given=given,
        shared=SharedOptions(profile, config, state_dir, quiet, verbose, color, no_input),
        risk=risk,
        offline=offline,
        venue=venue,
        rules=rules,
        brackets=brackets,
        odds=not no_odds,
        explain=explain,
        diff=diff,
        check=check,
        output=output_file,
        apply=apply,
        arm=arm,
        confirm=confirm,
        format=chosen,
        fields=_fields(fields, chosen),
    )
    from tpctl.cli.planning import run_plan

    return run_plan(options)


def _fields(text: str | None, chosen: Format) -> tuple[str, ...]:
    known = PLAN_FIELDS if chosen is Format.JSON else COLUMNS
    if text is None:
        return TABLE_COLUMNS if chosen is Format.TABLE else known
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None or not names:
        raise UsageError(f"no such field {unknown or text!r}", f"the fields are: {', '.join(known)}")
    return names
