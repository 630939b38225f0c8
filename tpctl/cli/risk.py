"""`tpctl risk`: market and portfolio risk as measured, with its effect on take-profits and stops.

Decides what is asked, from the command line; measuring is `market.risk`, reading `risk_sources`, showing `views.risk`.
Sends nothing.
"""

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
    Format,
    NoInputOption,
    ProfileOption,
    QuietOption,
    SharedOptions,
    StateDirOption,
    VerboseOption,
    epilog,
    existing_files,
    parse_instant,
    parse_length,
    parse_url,
)
from tpctl.cli.risk_options import COLUMNS, DEFAULT_DAYS, RiskOptions, parse_level
from tpctl.exits.errors import ExitCode, UsageError
from tpctl.exits.units import Millis

EXAMPLES = (
    Example("tpctl risk", "the market and the open book, and what they do to exits"),
    Example("tpctl risk --set ess=2.8 --set systemic=0.85 --set correlation=0.3 --set heat=0.4", "a what-if, offline"),
    Example("tpctl risk --check --warn ess=1.8 --json", "for a monitor: exit 20 on a warning, 21 when critical"),
)
EXIT_CODES = (
    ExitCode.OK,
    ExitCode.BUG,
    ExitCode.USAGE,
    ExitCode.CONFIG,
    ExitCode.CREDENTIALS,
    ExitCode.UNAVAILABLE,
    ExitCode.RATE_LIMITED,
    ExitCode.INPUTS,
    ExitCode.CHECK_WARNING,
    ExitCode.CHECK_CRITICAL,
    ExitCode.INTERRUPTED,
    ExitCode.PIPE_CLOSED,
    ExitCode.TERMINATED,
)


_DAY_MS = 86_400_000

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command("risk", cls=Command, context_settings=HELP_NAMES, epilog=epilog(EXAMPLES, EXIT_CODES))
def risk(
    symbols: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SYMBOL]...",
            help="Symbols to measure the market on, beside the usual basket; with --data instead of all in it.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Take a reading as given, such as ess=2.1; repeatable."),
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option("--inputs", metavar="FILE|-", help="Readings, or a book to measure, from JSON."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="FILE", help="Recorded candles instead of the exchange's; repeatable."),
    ] = None,
    at: Annotated[
        Millis | None,
        typer.Option("--at", metavar="TIME", parser=parse_instant, help="Measure as of this time of the recording."),
    ] = None,
    window: Annotated[
        Millis | None,
        typer.Option(
            "--window", metavar="DURATION", parser=parse_length, help="What value at risk draws on.  [default: 90d]"
        ),
    ] = None,
    level: Annotated[
        Decimal | None,
        typer.Option("--var", metavar="PERCENT", parser=parse_level, help="Level of value at risk.  [default: 95]"),
    ] = None,
    backtest: Annotated[
        bool, typer.Option("--backtest", help="Test value at risk on the candles: Kupiec and Christoffersen.")
    ] = False,
    funding: Annotated[
        list[Path] | None,
        typer.Option("--funding", metavar="FILE", help="Recorded funding, for --backtest; repeatable."),
    ] = None,
    stress: Annotated[
        str | None,
        typer.Option(
            "--stress",
            metavar="DATE|NAME",
            help="Replay a day, or luna, ftx, august-2023, february-2025, against the book.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw stress and systemic risk over time: .svg, .html or .png."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what each reading is made of, and why factors are what they are.")
    ] = False,
    warn: Annotated[
        list[str] | None,
        typer.Option("--warn", metavar="NAME=VALUE", help="From where on a reading is a warning; repeatable."),
    ] = None,
    crit: Annotated[
        list[str] | None,
        typer.Option("--crit", metavar="NAME=VALUE", help="From where on a reading is critical; repeatable."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 20 on a warning, 21 when critical, 17 if nothing is known.")
    ] = False,
    nagios: Annotated[
        bool, typer.Option("--nagios", help="Print one line for Nagios, and exit as its plugins do: 0, 1, 2 or 3.")
    ] = False,
    venue: Annotated[
        str | None,
        typer.Option("--venue", metavar="URL", parser=parse_url, help="Served twin to read, instead of an own one."),
    ] = None,
    output: Annotated[Format | None, typer.Option("--format", help="How to print.  [default: table]")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON (tpctl.risk/1).")] = False,
    fields: Annotated[
        str | None, typer.Option("--fields", metavar="LIST", help=f"Columns to print, of {','.join(COLUMNS)}.")
    ] = None,
    profile: ProfileOption = None,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    color: ColorOption = ColorMode.AUTO,
    no_input: NoInputOption = False,
) -> ExitCode:
    """Measure market and portfolio risk, and say what it does to take-profits and stops.

    ESS, the effective stress score, is how hard the market moves against its own last month (1 is normal), times the
    account's part: 1 when flat, more with margin used, open loss and exposure. Systemic risk, 0 to 1, is half the shift
    of the absorption ratio (is the market moving as one) and half the rank of turbulence (are its moves unusual).

    Correlation risk is the mean correlation of the open positions, weighted by risk and signed by side: hedges lower
    it. Heat is the concentration of risk: 1 for one position, 0 for many that contribute alike. VaR and expected
    shortfall are a day's loss of the book by filtered historical simulation, as shares of equity.

    What cannot be measured is n/a with its reason and changes nothing. Measuring needs the risk extra, --plot with
    .png the plot extra. 'man tpctl-risk' gives the formulas and their sources.
    """
    if json and output not in {None, Format.JSON}:
        raise UsageError("--json and --format contradict each other", "give one of them")
    options = RiskOptions(
        symbols=tuple(dict.fromkeys(symbol.upper() for symbol in symbols or ())),
        settings=tuple(settings or ()),
        inputs=inputs,
        data=existing_files(data, "candle"),
        funding=existing_files(funding, "funding"),
        at=at,
        window_days=DEFAULT_DAYS if window is None else window // _DAY_MS,
        level=Decimal("0.95") if level is None else level,
        backtest=backtest,
        stress=stress,
        plot=plot,
        warn=tuple(warn or ()),
        crit=tuple(crit or ()),
        explain=explain,
        check=check,
        nagios=nagios,
        venue=venue,
        shared=SharedOptions(profile, config, state_dir, quiet, verbose, color, no_input),
        format=Format.JSON if json else output or Format.TABLE,
        fields=_fields(fields),
    )
    from tpctl.cli.risk_run import run_risk

    return run_risk(options)


def _fields(text: str | None) -> tuple[str, ...]:
    if text is None:
        return COLUMNS
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = next((name for name in names if name not in COLUMNS), None)
    if unknown is not None or not names:
        raise UsageError(f"no such field {unknown or text!r}", f"the fields are: {', '.join(COLUMNS)}")
    return names
