"""`tpctl watch`: from the command line to `WatchOptions`. What watching does is the session's and the engine's."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from tpctl.cli.options import (
    HELP_NAMES,
    ArmOption,
    ColorMode,
    ColorOption,
    Command,
    ConfigOption,
    ConfirmOption,
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
    TwinOption,
    UntilOption,
    VerboseOption,
    epilog,
    existing_files,
    parse_confidence,
    parse_length,
    parse_port,
    parse_volatility,
)
from tpctl.cli.runs import WatchOptions
from tpctl.exits.errors import ExitCode, UsageError
from tpctl.exits.model import Policy
from tpctl.exits.units import Millis, Ratio

EXAMPLES = (
    Example("tpctl watch", "a simulated account on a synthetic market: no keys, no network"),
    Example("tpctl watch --market bars_1m_2025-01_02.parquet --from 2025-02-03 --until 2025-02-04", "a recorded day"),
    Example("tpctl watch XRPUSDT --seed 7 --for 6h --speed max --jsonl", "six hours as data, as fast as possible"),
    Example("tpctl watch --profile demo", "Binance demo trading, shadow: decides and prints, sends nothing"),
    Example("tpctl watch --attach", "look at the watch that runs already, from another terminal"),
    Example("tpctl watch --replay incident.jsonl --speed 60", "what --record kept, sixty times as fast as it happened"),
    Example("tpctl watch --profile live --arm --confirm live", "the real account, armed"),
    Example("tpctl watch --profile live --arm --confirm live --flatten", "close everything at market; asks first"),
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
    ExitCode.INTERRUPTED,
    ExitCode.PIPE_CLOSED,
    ExitCode.TERMINATED,
)


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command("watch", cls=Command, context_settings=HELP_NAMES, epilog=epilog(EXAMPLES, EXIT_CODES))
def watch(
    symbols: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SYMBOL]...", help="Symbols to guard, such as XRPUSDT; all where none is given."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="SYMBOL", help="Never touch this symbol; repeatable. Its orders stay."),
    ] = None,
    market: MarketOption = None,
    since: FromOption = None,
    until: UntilOption = None,
    speed: SpeedOption = None,
    seed: SeedOption = None,
    entries: EntriesOption = None,
    venue: TwinOption = None,
    once: Annotated[bool, typer.Option("--once", help="Bring every exit up to date once, then leave.")] = False,
    flatten: Annotated[
        bool, typer.Option("--flatten", help="Close every managed position at market, then leave; asks first.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --flatten: do not ask.")] = False,
    stop_after: Annotated[
        Millis | None,
        typer.Option(
            "--for", metavar="DURATION", parser=parse_length, help="Leave after this much market time: 10m, 6h, 1h30m."
        ),
    ] = None,
    arm: ArmOption = False,
    confirm: ConfirmOption = None,
    policy: Annotated[
        Policy | None, typer.Option("--policy", help="Rule that shapes the take-profit distances.")
    ] = None,
    confidence: Annotated[
        Decimal | None,
        typer.Option("--confidence", metavar="0..1", parser=parse_confidence, help="Confidence to plan with."),
    ] = None,
    volatility: Annotated[
        Ratio | None,
        typer.Option(
            "--volatility", metavar="RATIO", parser=parse_volatility, help="Daily volatility to plan with, as 2.5%."
        ),
    ] = None,
    attach: Annotated[
        bool, typer.Option("--attach", help="Show the watch that runs already; read-only, takes no lock.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="FILE", help="Record everything heard and decided, for --replay."),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option("--replay", metavar="FILE", help="Show a record again, at --speed; sends nothing."),
    ] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="Print one line per event, on a terminal too, instead of the dashboard.")
    ] = False,
    ascii_only: Annotated[bool, typer.Option("--ascii", help="Draw the dashboard with ASCII signs only.")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print events as JSON lines (tpctl.event/1).")] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port", metavar="N", parser=parse_port, help="Serve figures for Prometheus on 127.0.0.1:N."
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
    """Guard open positions: plan, place and keep their exits on the exchange.

    Adopts every open position, whoever opened it, plans its take-profits, stop and trail, and keeps them resting on
    the exchange while the market moves. Tells one line per event; on a terminal, a dashboard shows positions, the
    ladder, risk and events, takes keys, and may crash or hang without the watch noticing.

    In the default profile the exchange is the embedded twin and orders are sent. In every other profile nothing is
    sent without --arm. Leaving keeps the stops on the exchange.
    """
    shared = SharedOptions(profile, config, state_dir, quiet, verbose, color, no_input)
    options = WatchOptions(
        symbols=_symbols(symbols or []),
        exclude=_symbols(exclude or []),
        shared=shared,
        market=existing_files(market, "market"),
        since=since,
        until=until,
        speed=speed,
        seed=seed,
        entries=entries,
        venue=venue,
        once=once,
        flatten=flatten,
        yes=yes,
        stop_after=stop_after,
        jsonl=jsonl,
        arm=arm,
        confirm=confirm,
        confidence=confidence,
        volatility=volatility,
        policy=policy,
        metrics_port=metrics_port,
        lines=lines,
        ascii=ascii_only,
        attach=attach,
        record=record,
        replay=replay,
    )
    if options.attach:
        from tpctl.cli.attach import run_attach

        return run_attach(options)
    if options.replay is not None:
        from tpctl.cli.replay import run_replay

        return run_replay(options)
    if options.flatten:
        from tpctl.cli.flatten import run_flatten

        return run_flatten(options)
    from tpctl.cli.session import run_watch

    return run_watch(options)


def _symbols(given: list[str]) -> tuple[str, ...]:
    """Return the symbols as the exchange spells them, each once."""
    for symbol in given:
        if not symbol.isalnum() and not symbol.replace("_", "").isalnum():
            raise UsageError(f"symbol {symbol!r} is not one", "write it as the exchange does, such as XRPUSDT")
    return tuple(dict.fromkeys(symbol.upper() for symbol in given))
