"""`tpctl trail`: where trails stand and why, what-ifs offline, replays on recorded candles, and past moves explained.

Decides what a command line asks for and answers the what-if, which loads nothing but the trail's arithmetic; the other
answers are in `trail_positions`, `trail_simulate` and `trail_explain`. Reads the journal beside a running watch and
sends nothing.
"""

import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tpctl.cli.options import (
    HELP_NAMES,
    ArmOption,
    ColorMode,
    ColorOption,
    Command,
    ConfigOption,
    ConfirmOption,
    Example,
    Format,
    NoInputOption,
    ProfileOption,
    QuietOption,
    SharedOptions,
    StateDirOption,
    TimeoutOption,
    TwinOption,
    VerboseOption,
    epilog,
    existing_files,
    parse_instant,
    parse_length,
    parse_ratio,
)
from tpctl.cli.trail_options import (
    ApplyTerms,
    Simulation,
    StyleName,
    TrailOptions,
    WhatIf,
    parse_callback,
    parse_elapsed,
    parse_fields,
    parse_price,
    parse_share,
    parse_symbols,
    parse_targets,
)
from tpctl.exits.errors import ExitCode, UsageError
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import WorkingType
from tpctl.exits.units import Millis, Ratio
from tpctl.settings.profile import configured, profile_env
from tpctl.views.trail import COLUMNS, TrailRow

if TYPE_CHECKING:
    from tpctl.exits.rules import TrailRules

EXAMPLES = (
    Example("tpctl trail --profit 8% --callback 2% --age 12m", "what the schedule does at a profit, without any state"),
    Example(
        "tpctl trail --entry 100 --target 115 --profit 12% --partials --schedule",
        "the partial levels and the schedule of a position that need not exist",
    ),
    Example(
        "tpctl trail --profit 16% --callback 2% --current 1% --since-change 12s --json",
        "the same as JSON, soon after the last change",
    ),
)
EXIT_CODES = (
    ExitCode.OK,
    ExitCode.BUG,
    ExitCode.USAGE,
    ExitCode.CONFIG,
    ExitCode.CREDENTIALS,
    ExitCode.UNAVAILABLE,
    ExitCode.RATE_LIMITED,
    ExitCode.REJECTED,
    ExitCode.STATE_FILE,
    ExitCode.LOCKED,
    ExitCode.INPUTS,
    ExitCode.NOT_ARMED,
    ExitCode.PARTIAL,
    ExitCode.CHANGES_DUE,
    ExitCode.EMPTY,
    ExitCode.INTERRUPTED,
    ExitCode.PIPE_CLOSED,
    ExitCode.TERMINATED,
)


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def _price(option: str, words: str) -> object:
    return typer.Option(option, metavar="NUMBER", parser=parse_price, help=words)


def _time(option: str, words: str) -> object:
    return typer.Option(option, metavar="TIME", parser=parse_instant, help=words)


@app.command("trail", cls=Command, context_settings=HELP_NAMES, epilog=epilog(EXAMPLES, EXIT_CODES))
def trail(
    symbols: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SYMBOL]...", help="Symbols to show, such as XRPUSDT; all where none is given."),
    ] = None,
    profit: Annotated[
        Ratio | None,
        typer.Option("--profit", metavar="RATIO", parser=parse_ratio, help="What if the peak profit were this: 8%."),
    ] = None,
    callback: Annotated[
        str | None,
        typer.Option("--callback", metavar="RATIO|ATR", help="Original callback: 2%, or 3atr for the style atr."),
    ] = None,
    current: Annotated[
        Ratio | None,
        typer.Option(
            "--current", metavar="RATIO", parser=parse_share, help="Callback in force.  [default: the original]"
        ),
    ] = None,
    age: Annotated[
        Millis | None,
        typer.Option(
            "--age", metavar="DURATION", parser=parse_elapsed, help="Age of the position.  [default: old enough]"
        ),
    ] = None,
    since_change: Annotated[
        Millis | None,
        typer.Option(
            "--since-change",
            metavar="DURATION",
            parser=parse_elapsed,
            help="Time since the last change of the callback.",
        ),
    ] = None,
    entry: Annotated[Decimal | None, _price("--entry", "Entry price.")] = None,
    side: Annotated[PositionSide | None, typer.Option("--side", help="Side of the position.")] = None,
    peak: Annotated[Decimal | None, _price("--peak", "Best price since entry, instead of --profit.")] = None,
    mark: Annotated[Decimal | None, _price("--mark", "Mark price, for the distance to the trigger.")] = None,
    target: Annotated[Decimal | None, _price("--target", "Take-profit price, for the partial levels.")] = None,
    activation: Annotated[
        Ratio | None,
        typer.Option(
            "--activation", metavar="RATIO", parser=parse_share, help="Profit from which the trail acts.  [default: 2%]"
        ),
    ] = None,
    schedule: Annotated[bool, typer.Option("--schedule", help="Print the schedule and mark the current row.")] = False,
    partials: Annotated[bool, typer.Option("--partials", help="Print the partial levels at the profit.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 22 where a callback is due to change.")] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Do what is due, once: through the running watch, or beside none by itself.")
    ] = False,
    arm: ArmOption = False,
    confirm: ConfirmOption = None,
    venue: TwinOption = None,
    timeout: TimeoutOption = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Tell why each stop was moved, from the journal; -v tells past positions too."),
    ] = False,
    simulate: Annotated[
        list[Path] | None,
        typer.Option("--simulate", metavar="FILE", help="Replay a trail on recorded candles; repeatable."),
    ] = None,
    since: Annotated[int | None, _time("--from", "Start of the replay: date or RFC 3339.")] = None,
    until: Annotated[int | None, _time("--to", "End of the replay: date or RFC 3339.")] = None,
    entry_time: Annotated[int | None, _time("--entry-time", "When the position is opened.  [default: --from]")] = None,
    style: Annotated[
        StyleName | None, typer.Option("--style", help="Trailing style to replay.  [default: tiered]")
    ] = None,
    stop: Annotated[
        Ratio | None,
        typer.Option(
            "--stop",
            metavar="RATIO",
            parser=parse_share,
            help="Distance of the first stop from entry.  [default: 2.5%]",
        ),
    ] = None,
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets",
            metavar="RATIO,...",
            help="Distances of the targets a stop climbs past.  [default: 1.5%,2.5%,4%]",
        ),
    ] = None,
    tick: Annotated[Decimal | None, _price("--tick", "Tick of the symbol, instead of the one in the rules.")] = None,
    rules: Annotated[
        Path | None, typer.Option("--rules", metavar="FILE", help="Rules from an exchangeInfo file, plain or .gz.")
    ] = None,
    atr_bar: Annotated[
        Millis | None,
        typer.Option("--atr-bar", metavar="DURATION", parser=parse_length, help="Bars of the ATR.  [default: 1h]"),
    ] = None,
    follow: Annotated[
        WorkingType | None,
        typer.Option("--follow", help="Prices as recorded, or the mark the twin makes of them.  [default: last]"),
    ] = None,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw and write with ASCII characters only.")] = False,
    output: Annotated[Format | None, typer.Option("--format", help="How to print.  [default: table]")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON (tpctl.trail/1).")] = False,
    fields: Annotated[
        str | None, typer.Option("--fields", metavar="LIST", help=f"Columns to print, of: {', '.join(COLUMNS)}.")
    ] = None,
    profile: ProfileOption = None,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    color: ColorOption = ColorMode.AUTO,
    no_input: NoInputOption = False,
) -> ExitCode:
    """Show where each trail stands, when it tightens next, and why nothing changes where nothing does.

    Without further options it reads the journal of the profile, beside a running watch or after it. The callback is
    always computed from the original one and the peak profit, so that asking twice changes nothing.

    With --profit, --callback, --age or --entry it answers a what-if offline. With --simulate it replays one trail on
    recorded candles and prints every re-arm and the exit; what take-profits close on the way is not part of that. With
    --explain it reconstructs the moves of the stop from the journal. None of these sends anything.

    With --apply it lets the trails act once, for cron. A running watch is asked to, and its answer waited for; where
    none runs, the positions of the journal are brought up to date as by 'watch --once'. Doing it again changes nothing.
    """
    if json and output not in {None, Format.JSON}:
        raise UsageError("--json and --format contradict each other", "give one of them")
    what_if = WhatIf(
        profit=profit,
        callback=None if callback is None else parse_callback(callback),
        current=current,
        age_ms=age,
        since_change_ms=since_change,
        entry=entry,
        side=side,
        peak=peak,
        mark=mark,
        target=target,
        activation=activation,
    )
    simulation = {
        "--from": since,
        "--to": until,
        "--entry-time": entry_time,
        "--style": style,
        "--stop": stop,
        "--targets": targets,
        "--tick": tick,
        "--rules": rules,
        "--atr-bar": atr_bar,
        "--follow": follow,
    }
    acting = {"--arm": arm or None, "--confirm": confirm, "--venue": venue, "--timeout": timeout}
    if not apply and (idle := next((name for name, given in acting.items() if given is not None), None)):
        raise UsageError(f"{idle} does nothing without --apply", "add --apply, or leave it out")
    if not simulate and (alone := next((name for name, given in simulation.items() if given is not None), None)):
        raise UsageError(f"{alone} needs recorded candles", "name them with --simulate FILE")
    options = TrailOptions(
        symbols=parse_symbols(symbols),
        what_if=what_if,
        simulation=Simulation(
            files=existing_files(simulate, "candle"),
            since=since,
            until=until,
            entry_at=entry_time,
            style=style or StyleName.TIERED,
            stop=stop,
            targets=None if targets is None else parse_targets(targets),
            tick=tick,
            rules=rules,
            atr_bar_ms=atr_bar,
            follow=follow,
        )
        if simulate
        else None,
        explain=explain,
        shared=SharedOptions(profile, config, state_dir, quiet, verbose, color, no_input),
        schedule=schedule,
        partials=partials,
        check=check,
        apply=ApplyTerms(arm, confirm, venue, timeout or 10_000) if apply else None,
        ascii_only=ascii_only,
        format=Format.JSON if json else output or Format.TABLE,
        fields=parse_fields(fields),
    )
    return run_trail(options)


def run_trail(options: TrailOptions) -> ExitCode:
    """Answer what the options ask, and return 0, or 22 where `--check` found a change due.

    Raises `EmptyError` where there is no position to show.
    """
    now = time.time_ns() // 1_000_000
    if options.simulation is not None:
        from tpctl.cli.trail_simulate import run_simulation

        return run_simulation(options, options.simulation, now)
    if options.explain:
        from tpctl.cli.trail_explain import run_explain

        return run_explain(options, now)
    if options.apply is not None:
        from tpctl.cli.trail_apply import run_apply

        return run_apply(options, options.apply, now)
    name, env = profile_env(options.shared.config, options.shared.profile)
    rows: tuple[TrailRow, ...]
    if options.what_if.asked:
        rows = (_what_if(options),)
    else:
        from tpctl.cli.trail_positions import position_rows

        rows = position_rows(options, now)
    _print(rows, options, now, name, env)
    due = options.check and any(row.changed for row in rows)
    return ExitCode.CHANGES_DUE if due else ExitCode.OK


def _what_if(options: TrailOptions) -> TrailRow:
    from tpctl.cli.trail_what_if import what_if_row

    if len(options.symbols) > 1:
        raise UsageError("a what-if is about one position", "name one symbol, or none")
    rules: TrailRules | None = None
    if configured(options.shared.config):
        from tpctl.settings.load import load

        rules = load(options.shared.config, options.shared.profile, options.shared.state_dir).exits.trail
    return what_if_row(options.what_if, options.symbols[0] if options.symbols else None, rules)


def _print(rows: tuple[TrailRow, ...], options: TrailOptions, now: Millis, name: str, env: str) -> None:
    from tpctl.views import trail as view

    out = sys.stdout
    if options.format is Format.JSON:
        out.write(view.document_text(now, name, env, rows, options.fields))
    elif options.format is Format.JSONL:
        out.write(view.jsonl_text(rows, options.fields))
    elif options.format is Format.CSV:
        out.write(view.csv_text(rows, options.fields))
    elif options.format is Format.PLAIN:
        out.write(view.plain_text(rows, options.fields))
    else:
        out.write(
            view.table_text(
                rows,
                schedule=options.schedule,
                partials=options.partials,
                quiet=options.shared.quiet,
                ascii_only=options.ascii_only,
            )
        )
