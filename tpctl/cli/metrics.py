"""`tpctl metrics`: from the command line to `MetricsOptions`. Reading is `metrics_read`, writing `metrics_write`."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from tpctl.cli.metrics_options import (
    DIMENSIONS,
    MIN_ATTEMPTS,
    Arm,
    Export,
    Grouping,
    Heat,
    MetricsOptions,
    Since,
    parse_arm,
    parse_by,
    parse_count,
    parse_share,
    parse_since,
)
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
)
from tpctl.exits.errors import ExitCode, UsageError
from tpctl.exits.statistics import Dimension
from tpctl.exits.targets import Targets
from tpctl.views.metrics_report import FIELDS

EXAMPLES = (
    Example("tpctl metrics", "how good the exits are, by strategy and symbol"),
    Example("tpctl metrics --by hour --since 30d --json", "the last thirty days by hour, for a script"),
    Example("tpctl metrics --check --min-attempts 30 -q", "exit with 20 or 21 where a target is missed"),
    Example("tpctl metrics --record outcomes.jsonl", "take in outcomes measured elsewhere, each once by its id"),
    Example("tpctl metrics --settle", "judge by the price path what closed more than four hours ago"),
    Example("tpctl metrics --compare static dynamic", "two policies, with intervals that survive looking often"),
    Example("tpctl metrics --report exits.html", "one page with charts that opens offline"),
)
EXIT_CODES = (
    ExitCode.OK,
    ExitCode.BUG,
    ExitCode.USAGE,
    ExitCode.CONFIG,
    ExitCode.STATE_FILE,
    ExitCode.LOCKED,
    ExitCode.UNAVAILABLE,
    ExitCode.INPUTS,
    ExitCode.PARTIAL,
    ExitCode.CHECK_WARNING,
    ExitCode.CHECK_CRITICAL,
    ExitCode.EMPTY,
    ExitCode.INTERRUPTED,
    ExitCode.PIPE_CLOSED,
    ExitCode.TERMINATED,
)


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command("metrics", cls=Command, context_settings=HELP_NAMES, epilog=epilog(EXAMPLES, EXIT_CODES))
def metrics(
    since: Annotated[
        Since | None,
        typer.Option(
            "--since", metavar="TIME|AGE", parser=parse_since, help="Exits from then on: a date, a time, or 7d."
        ),
    ] = None,
    by: Annotated[
        Grouping | None,
        typer.Option("--by", metavar="LIST", parser=parse_by, help=f"Group by, of: {', '.join(Dimension)}."),
    ] = None,
    strategy: Annotated[
        list[str] | None, typer.Option("--strategy", metavar="STRATEGY", help="Only this strategy; repeatable.")
    ] = None,
    symbol: Annotated[
        list[str] | None, typer.Option("--symbol", metavar="SYMBOL", help="Only this symbol; repeatable.")
    ] = None,
    min_attempts: Annotated[
        int | None,
        typer.Option(
            "--min-attempts",
            metavar="N",
            parser=parse_count,
            help=f"Fewer attempts are shown pale and never judged.  [default: {MIN_ATTEMPTS}]",
        ),
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="FIELD", help="Order by a field, largest first, or by a group.")
    ] = None,
    trend: Annotated[bool, typer.Option("--trend", help="Add the hit rate in time to each row.")] = False,
    heatmap: Annotated[Heat | None, typer.Option("--heatmap", help="Show hits by symbol and this instead.")] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", metavar="FILE", help="Draw the heat map, or the equity of exits, as .svg, .html or .png."
        ),
    ] = None,
    feedback: Annotated[bool, typer.Option("--feedback", help="Print the vector for training only.")] = False,
    targets: Annotated[bool, typer.Option("--targets", help="Show every figure against its target.")] = False,
    target_hit_rate: Annotated[
        Decimal | None,
        typer.Option(
            "--target-hit-rate", metavar="RATIO", parser=parse_share, help="Hit rate to reach.  [default: 75%]"
        ),
    ] = None,
    target_slippage: Annotated[
        Decimal | None,
        typer.Option(
            "--target-slippage",
            metavar="RATIO",
            parser=parse_share,
            help="Mean slippage to stay below.  [default: 0.3%]",
        ),
    ] = None,
    target_premature: Annotated[
        Decimal | None,
        typer.Option(
            "--target-premature",
            metavar="RATIO",
            parser=parse_share,
            help="Premature rate to stay below.  [default: 15%]",
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 20 or 21 where a target is missed.")] = False,
    nagios: Annotated[
        bool, typer.Option("--nagios", help="Print one status line and exit with 0 to 3, as Nagios expects.")
    ] = False,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare", metavar="A B", help="Compare two strategies, arms EXPERIMENT/ARM, or periods START..END."
        ),
    ] = None,
    export: Annotated[
        Export | None, typer.Option("--export", help="Print attempts (csv, parquet) or figures (prom).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the export to FILE instead of stdout.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write a page with charts that opens offline.")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE|-", help="Take in outcomes, JSON lines, each once by its id."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the journal, and the metrics file against it.")
    ] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the metrics file anew from the journal.")] = False,
    settle: Annotated[
        bool,
        typer.Option("--settle", help="Judge closed positions by what came after, each once, on one-minute candles."),
    ] = False,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="FILE", help="Recorded candles to settle on; repeatable.  [default: exchange]"),
    ] = None,
    venue: Annotated[
        str | None, typer.Option("--venue", metavar="URL", help="Settle on the twin 'tpctl venue' serves at URL.")
    ] = None,
    merge: Annotated[
        list[Path] | None,
        typer.Option("--merge", metavar="FILE", help="Show journals or metrics files together; repeatable."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="Metrics file, instead of TP_METRICS_PATH or the profile's own."),
    ] = None,
    output_format: Annotated[Format | None, typer.Option("--format", help="How to print.  [default: table]")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON (tpctl.metrics/1).")] = False,
    fields: Annotated[
        str | None, typer.Option("--fields", metavar="LIST", help=f"Fields to print, of: {', '.join(FIELDS)}.")
    ] = None,
    profile: ProfileOption = None,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    color: ColorOption = ColorMode.AUTO,
    no_input: NoInputOption = False,
) -> ExitCode:
    """Say how good the exits are: hit rates with their intervals, slippage, times, profit, and what was missed.

    Reads the journal a watch writes, also while it writes, and never delays it. One attempt is one take-profit level of
    one position; open attempts are counted apart, because they are no misses yet. A rate of few attempts is pale and
    never alerts; what was not recorded is n/a with its reason. In sim an age after --since counts from the newest exit.

    A target missed is a warning, and critical where the whole 95% interval misses it. --file shows a metrics file by
    itself. --record writes to the journal and the metrics file beside a running watch.

    --settle looks at the price path until four hours after each exit: which misses were premature, how far the price
    still went, what other exits had given on the same path, and the regret. Where the profile has keys it also reads
    from the account what each position cost beside the fees of its exits: the fees of its entries, and its funding. A
    running watch does both by itself. What candles or answers are missing for stays open with the reason, and the exit
    code is then 19.
    """
    if json and output_format not in {None, Format.JSON}:
        raise UsageError("--json and --format contradict each other", "give one of them")
    aims = Targets()
    options = MetricsOptions(
        shared=SharedOptions(profile, config, state_dir, quiet, verbose, color, no_input),
        file=file,
        since=since,
        by=(Dimension.STRATEGY, Dimension.SYMBOL) if by is None else by.dimensions,
        strategies=tuple(strategy or ()),
        symbols=tuple(name.upper() for name in symbol or ()),
        min_attempts=min_attempts or MIN_ATTEMPTS,
        sort=_sort(sort),
        trend=trend,
        feedback=feedback,
        show_targets=targets,
        targets=Targets(
            aims.hit_rate if target_hit_rate is None else target_hit_rate,
            aims.slippage if target_slippage is None else target_slippage,
            aims.premature if target_premature is None else target_premature,
        ),
        check=check,
        nagios=nagios,
        heatmap=heatmap,
        plot=plot,
        compare=None if compare is None else _arms(*compare),
        export=export,
        output=output,
        report=report,
        record=record,
        verify=verify,
        rebuild=rebuild,
        settle=settle,
        data=tuple(data or ()),
        venue=venue,
        merge=tuple(merge or ()),
        format=Format.JSON if json else output_format or Format.TABLE,
        fields=_fields(fields),
    )
    return run_metrics(options)


def run_metrics(options: MetricsOptions) -> ExitCode:
    """Do what the options ask for and return the exit code; with --nagios leaves with Nagios' own."""
    if options.record is not None or options.verify or options.rebuild:
        from tpctl.cli.metrics_write import run_write

        return run_write(options)
    if options.settle:
        from tpctl.cli.metrics_settle import run_settle

        return run_settle(options)
    from tpctl.cli.metrics_show import run_nagios, run_read

    return run_nagios(options) if options.nagios else run_read(options)


def _sort(name: str | None) -> str | None:
    if name is not None and name not in FIELDS and name not in DIMENSIONS:
        raise UsageError(f"no such field {name!r}", f"the fields are: {', '.join(FIELDS)}")
    return name


def _arms(a: str, b: str) -> tuple[Arm, Arm]:
    one, two = parse_arm(a), parse_arm(b)
    if (one.period, one.drawn) != (two.period, two.drawn):
        raise UsageError(f"{a!r} and {b!r} are not of one kind", "compare two strategies, two arms, or two periods")
    if one.text == two.text:
        raise UsageError(f"{a!r} is compared with itself", "name two different ones")
    return one, two


def _fields(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = next((name for name in names if name not in FIELDS), None)
    if unknown is not None or not names:
        raise UsageError(f"no such field {unknown or text!r}", f"the fields are: {', '.join(FIELDS)}")
    return names
