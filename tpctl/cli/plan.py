"""`tpctl plan`: from the command line to `PlanOptions`. Reading and printing are in `cli.planning`."""

from decimal import Decimal
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
    parse_ratio,
    parse_url,
    parse_volatility,
)
from tpctl.cli.plan_options import (
    Format,
    PlanOptions,
    TrailTerms,
    parse_fee,
    parse_leg,
    parse_leverage,
    parse_positive_number,
    parse_spec,
    parse_trail,
    parse_volume,
)
from tpctl.engine.plan_request import DEFAULT_NOTIONAL, Given
from tpctl.exits.errors import ExitCode, UsageError
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import MarginMode, Policy, Regime
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


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


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
