"""`tpctl retrain`: whether a learned exit policy is due for training, its training, judgement and choice.

Decides what is asked, from the command line; training is `tpctl.learn`, the registry `adapters.policy_registry`,
showing `views.retrain`. Sends nothing, and nothing here runs on the hot path.
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
    NoInputOption,
    ProfileOption,
    QuietOption,
    SharedOptions,
    StateDirOption,
    TwinOption,
    VerboseOption,
    epilog,
    existing_files,
    existing_recordings,
    parse_ratio,
)
from tpctl.cli.retrain_options import (
    EPISODES,
    MOST_DAYS,
    MOST_EPISODES,
    MOST_SEEDS,
    Learner,
    Mode,
    RetrainOptions,
    Training,
    Trust,
    parse_weights,
    parse_zone,
)
from tpctl.exits.errors import ExitCode, UsageError
from tpctl.exits.units import Ratio

EXAMPLES = (
    Example("tpctl retrain", "is training due, and why; which policy is in use"),
    Example("tpctl retrain --run --days 365", "train a candidate on a year of candles and the journal's positions"),
    Example("tpctl retrain --evaluate --data 15m.parquet --report r.html", "walk-forward, the gate's verdict, a page"),
    Example("tpctl retrain --list", "every candidate with its figures, its verdict and where it stands"),
    Example("tpctl retrain --check --json", "for cron: exit 24 where training is due, at most once a day"),
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
    ExitCode.RETRAIN_DUE,
    ExitCode.INTERRUPTED,
    ExitCode.PIPE_CLOSED,
    ExitCode.TERMINATED,
)


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command("retrain", cls=Command, context_settings=HELP_NAMES, epilog=epilog(EXAMPLES, EXIT_CODES))
def retrain(
    run: Annotated[bool, typer.Option("--run", help="Train a candidate.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="With --run: go on where a training was stopped.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show the registry: candidates, figures, verdicts.")] = False,
    promote: Annotated[
        str | None, typer.Option("--promote", metavar="HASH", help="Use a policy that passed the gate.")
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Judge by walk-forward, against every baseline; ask the gate.")
    ] = False,
    candidate: Annotated[
        str | None,
        typer.Option(
            "--candidate", metavar="HASH", help="With --evaluate: of whom.  [default: the newest so configured]"
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="With --evaluate: write a page that opens offline.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option("--cluster", metavar="ADDRESS", help="With --evaluate: run on this Ray cluster.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, max=1024, help="With --evaluate: processes.  [default: cores]"),
    ] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Return to what was used before, at once.")] = False,
    trust: Annotated[
        Trust | None,
        typer.Option("--stage", help="With --promote: only tell, use for a share, or for all.  [default: shadow]"),
    ] = None,
    share: Annotated[
        Ratio | None,
        typer.Option(
            "--share", metavar="PERCENT", parser=parse_ratio, help="Share of positions of a canary.  [default: 10%]"
        ),
    ] = None,
    episodes: Annotated[
        int, typer.Option("--episodes", metavar="N", min=2, max=MOST_EPISODES, help="Positions to learn from.")
    ] = EPISODES,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            metavar="N",
            min=1,
            max=MOST_SEEDS,
            help="Train with the seeds 1 to N.  [default: 1, of an evaluation 5]",
        ),
    ] = None,
    symbols: Annotated[
        str | None,
        typer.Option("--symbols", metavar="LIST", help="Symbols to learn from.  [default: all, or the usual basket]"),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(
            "--days",
            metavar="N",
            min=30,
            max=MOST_DAYS,
            help="Only so much history, to its newest candle.  [default: 365, or all of the files]",
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="Recorded candles instead of the exchange's: Parquet, CSV, zip, or a folder; repeatable.",
        ),
    ] = None,
    funding: Annotated[
        list[Path] | None, typer.Option("--funding", metavar="FILE", help="Recorded funding, for --data; repeatable.")
    ] = None,
    learner: Annotated[Learner, typer.Option("--learner", help="How the rule to close is found.")] = Learner.STOPPING,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--reward-weights",
            metavar="BONUS[,SCALE]",
            help="Weight of the zone bonus, and of net R; of several, held-out net R chooses.  [default: 0,1]",
        ),
    ] = None,
    zone: Annotated[
        Ratio | None,
        typer.Option("--zone", metavar="PERCENT", parser=parse_zone, help="Take-profit zone.  [default: 6%]"),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 24 where training is due.")] = False,
    venue: TwinOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON (tpctl.retrain/1).")] = False,
    profile: ProfileOption = None,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    color: ColorOption = ColorMode.AUTO,
    no_input: NoInputOption = False,
) -> ExitCode:
    """Train a policy that learns where to exit, and use it only when it has proved itself.

    Without an option it says whether training is due, and why, and which policy is used. A policy closes or tightens
    earlier than the ladder would, and suggests how far its targets lie; it can do nothing else. It is trained on the
    price paths of real and sampled positions, where every other exit is known too, with fees, funding, slippage and a
    candle of latency. Training makes a candidate and nothing more.

    --evaluate trains again and again on a year and judges on the month after it, with a gap between, by net R on
    positions that taught nothing: against every baseline, with intervals over days, at twice the costs, by regime and
    by symbol. The gate's verdict is kept of the candidate so configured. All that is tried counts against it.

    Only what passed the gate can be promoted: first as a shadow that is told but not used, then for a share of the
    positions, then for all. --rollback returns to what was in use before. Without a policy the ladder decides alone.

    Training is due after 100 closed positions, after an alarm (results, slippage, the market, what is asked first or
    how often targets are hit, far from what was trained with), or after 30 days; never twice in a day. Each round is a
    line of retrain.log in the state directory. A training that is stopped keeps its place. It needs the learn extra.
    """
    modes = {
        Mode.RUN: run,
        Mode.EVALUATE: evaluate,
        Mode.LIST: listed,
        Mode.PROMOTE: promote is not None,
        Mode.ROLLBACK: rollback,
    }
    given = [mode for mode, asked in modes.items() if asked]
    if len(given) > 1:
        raise UsageError(f"--{given[0].value} and --{given[1].value} contradict each other", "give one of them")
    mode = given[0] if given else Mode.DUE
    if trust is not None and mode is not Mode.PROMOTE:
        raise UsageError("--stage is for --promote", "add --promote HASH, or leave it out")
    if share is not None and trust is not Trust.CANARY:
        raise UsageError("--share is for a canary", "add --promote HASH --stage canary, or leave it out")
    if share is not None and not 0 < share.fraction < 1:
        raise UsageError(f"share '{share.as_percent}%' is not between 0 and 100%", "write a share such as 10%")
    training = Training(
        episodes=episodes,
        seeds=seeds or (5 if mode is Mode.EVALUATE else 1),
        symbols=_symbols(symbols),
        days=days,
        data=existing_recordings(data, "candle"),
        funding=existing_files(funding, "funding"),
        learner=learner,
        weights=tuple(dict.fromkeys(parse_weights(text) for text in weights or ["0,1"])),
        zone=Decimal("0.06") if zone is None else zone.fraction,
    )
    if training != Training() and mode not in {Mode.RUN, Mode.EVALUATE}:
        raise UsageError("options of a training do nothing without one", "add --run or --evaluate, or leave them out")
    extras = {"--candidate": candidate, "--report": report, "--cluster": cluster, "--workers": workers}
    extra = next((name for name, value in extras.items() if value is not None), None)
    if extra is not None and mode is not Mode.EVALUATE:
        raise UsageError(f"{extra} is for an evaluation", "add --evaluate, or leave it out")
    if report is not None and not report.parent.is_dir():
        raise UsageError(f"folder {str(report.parent)!r} does not exist", "give --report in one that does")
    if training.funding and not training.data:
        raise UsageError("--funding is for recorded candles", "add --data FILE, or leave it out")
    whole = Decimal(1) if trust is not Trust.CANARY else Decimal("0.1")
    options = RetrainOptions(
        mode=mode,
        training=training,
        resume=resume,
        named=promote or candidate or "",
        trust=trust or Trust.SHADOW,
        share=whole if share is None else share.fraction,
        check=check,
        report=report,
        cluster=cluster,
        workers=workers,
        venue=venue,
        json=json,
        shared=SharedOptions(profile, config, state_dir, quiet, verbose, color, no_input),
    )
    if mode is Mode.RUN:
        from tpctl.cli.retrain_run import run_training

        return run_training(options)
    if mode is Mode.EVALUATE:
        from tpctl.cli.retrain_evaluate import run_evaluation

        return run_evaluation(options)
    from tpctl.cli.retrain_show import run_registry

    return run_registry(options)


def _symbols(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    names = tuple(dict.fromkeys(part.strip().upper() for part in text.split(",") if part.strip()))
    if not names:
        raise UsageError(f"symbols {text!r} name none", "write XRPUSDT,BTCUSDT")
    return names
