"""`tpctl venue`: from the command line to `VenueOptions`. The twin itself is `tpctl.venue`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tpctl.cli.options import (
    HELP_NAMES,
    ColorMode,
    ColorOption,
    Command,
    ConfigOption,
    EntriesOption,
    Example,
    FromOption,
    MarketOption,
    NoInputOption,
    ProfileOption,
    QuietOption,
    SeedOption,
    SharedOptions,
    SpeedOption,
    StateDirOption,
    UntilOption,
    VerboseOption,
    epilog,
    existing_files,
    parse_length,
    parse_listed,
    parse_port,
)
from tpctl.cli.runs import KeyRightsName, VenueOptions
from tpctl.exits.errors import ExitCode
from tpctl.exits.units import Millis

EXAMPLES = (
    Example("tpctl venue", "a synthetic market, in real time, on a free port"),
    Example("tpctl venue --port 8790 --seed 7 --entries 4/h --speed 60", "one story, sixty times as fast"),
    Example(
        "tpctl venue --seed 7 --faults lost-after=20%,disconnect=6/h", "two faults, seeded; --faults help lists all"
    ),
    Example("tpctl venue --market bars_1m_2025-01_02.parquet --from 2025-02-03 --port 8790", "a recorded crash"),
)
EXIT_CODES = (
    ExitCode.OK,
    ExitCode.BUG,
    ExitCode.USAGE,
    ExitCode.CONFIG,
    ExitCode.INPUTS,
    ExitCode.INTERRUPTED,
    ExitCode.PIPE_CLOSED,
    ExitCode.TERMINATED,
)


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command("venue", cls=Command, context_settings=HELP_NAMES, epilog=epilog(EXAMPLES, EXIT_CODES))
def venue(
    market: MarketOption = None,
    since: FromOption = None,
    until: UntilOption = None,
    speed: SpeedOption = None,
    seed: SeedOption = None,
    entries: EntriesOption = None,
    rules: Annotated[
        Path | None, typer.Option("--rules", metavar="FILE", help="exchangeInfo JSON to trade under, plain or .gz.")
    ] = None,
    brackets: Annotated[
        Path | None, typer.Option("--brackets", metavar="FILE", help="Leverage brackets JSON, plain or .gz.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", metavar="N", parser=parse_port, help="Port on 127.0.0.1; 0 takes a free one.  [default: 0]"
        ),
    ] = None,
    key_rights: Annotated[
        KeyRightsName | None,
        typer.Option("--key-rights", help="Let the exchange tell that its key may do this; else it does not tell."),
    ] = None,
    skew: Annotated[
        Millis | None,
        typer.Option("--skew", metavar="DURATION", parser=parse_length, help="Set the exchange's clock ahead by this."),
    ] = None,
    faults: Annotated[
        str,
        typer.Option(
            "--faults",
            metavar="LIST",
            parser=parse_listed,
            help="all, none, @FILE, or names with rates: lost-after=20%,wick; help lists them.",
        ),
    ] = "none",
    json: Annotated[bool, typer.Option("--json", help="Print the addresses as JSON (tpctl.venue/1).")] = False,
    profile: ProfileOption = None,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    color: ColorOption = ColorMode.AUTO,
    no_input: NoInputOption = False,
) -> ExitCode:
    """Serve the twin: a local exchange that behaves as Binance USD-M futures.

    Any Binance futures client can be pointed at it: the addresses to set are printed first. It listens on 127.0.0.1
    only; its API key and secret are both "sim". It runs until interrupted, or until the recording ends.

    With --faults it also fails as Binance does on its worst days: answers are lost, streams fall silent, events come
    twice, prices gap, an operator meddles. What struck, and how often, is told at the end and at /twin/v1/status.
    """
    shared = SharedOptions(profile, config, state_dir, quiet, verbose, color, no_input)
    existing_files([rules] if rules else None, "rules")
    existing_files([brackets] if brackets else None, "brackets")
    from tpctl.venue.faults import describe_faults, parse_faults

    if faults == "help":
        from tpctl.views.venue import tell_faults

        tell_faults(sys.stdout, describe_faults())
        return ExitCode.OK
    options = VenueOptions(
        shared=shared,
        market=existing_files(market, "market"),
        since=since,
        until=until,
        speed=speed,
        seed=seed,
        entries=entries,
        rules=rules,
        brackets=brackets,
        port=port or 0,
        json=json,
        key_rights=key_rights,
        skew_ms=skew or 0,
        faults=parse_faults(faults),
    )
    from tpctl.cli.serving import run_venue

    return run_venue(options)
