"""`tpctl venue rehearse`: from the command line to stories, and from their end to an exit code."""

import os
import sys
import time
from contextlib import suppress
from dataclasses import replace
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
    existing_files,
    parse_listed,
    parse_number,
)
from tpctl.exits.errors import ExitCode, UsageError

EXAMPLES = (
    Example("tpctl venue rehearse", "eight seeds, a day each, every fault on, by the rules of your configuration"),
    Example("tpctl venue rehearse --plan candidate.toml --seeds 1..200 --days 2", "a configuration not yet in use"),
    Example("tpctl venue rehearse --faults lost-after=20%,disconnect=6/h --json", "two faults, as data"),
    Example("tpctl venue rehearse --seeds 1017 --faults all -v", "tell one seed again"),
)
EXIT_CODES = (
    ExitCode.OK,
    ExitCode.BUG,
    ExitCode.USAGE,
    ExitCode.CONFIG,
    ExitCode.CHECK_CRITICAL,
    ExitCode.INTERRUPTED,
    ExitCode.PIPE_CLOSED,
    ExitCode.TERMINATED,
)
_LONGEST_DAYS = Decimal(60)
_MOST_SEEDS = 1_000_000
_SHRUNK = 3


def parse_seeds(text: str) -> range:
    """Read `7` or `1..200`."""
    first, dots, last = text.partition("..")
    if not first.isdecimal() or (dots and not last.isdecimal()) or not text.isascii():
        raise UsageError(f"seeds {text!r} are no seeds", "write 7, or 1..200")
    found = range(int(first), int(last or first) + 1)
    if not found or len(found) > _MOST_SEEDS:
        raise UsageError(f"seeds {text!r} are none, or too many", "write the smaller first: 1..200")
    return found


def parse_days(text: str) -> Decimal:
    """Read how many days a story has."""
    days = parse_number(text)
    if not Decimal("0.05") <= days <= _LONGEST_DAYS:
        raise UsageError(f"days {text!r} are not from 0.05 to {_LONGEST_DAYS}", "tell more seeds instead")
    return days


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command("rehearse", cls=Command, context_settings=HELP_NAMES, epilog=epilog(EXAMPLES, EXIT_CODES))
def rehearse(
    plan: Annotated[
        Path | None,
        typer.Option("--plan", metavar="FILE", help="Configuration to rehearse, instead of the one in use."),
    ] = None,
    days: Annotated[
        Decimal | None,
        typer.Option("--days", metavar="N", parser=parse_days, help="Days of market in each story.  [default: 1]"),
    ] = None,
    seeds: Annotated[
        range | None,
        typer.Option("--seeds", metavar="A..B", parser=parse_seeds, help="Stories to tell.  [default: 1..8]"),
    ] = None,
    faults: Annotated[
        str,
        typer.Option(
            "--faults",
            metavar="LIST",
            parser=parse_listed,
            help="all (each seed draws how often each strikes, up to its full rate), none, @FILE, or names with rates: "
            "lost-after=20%,kill-now; help lists them.",
        ),
    ] = "all",
    hedge: Annotated[bool, typer.Option("--hedge", help="Rehearse an account in hedge mode.")] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", min=1, help="Processes to use.  [default: one per core]")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON (tpctl.rehearse/1).")] = False,
    profile: ProfileOption = None,
    config: ConfigOption = None,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    color: ColorOption = ColorMode.AUTO,
    no_input: NoInputOption = False,
) -> ExitCode:
    """Rehearse your configuration on simulated days with faults, and judge every instant.

    The watch itself runs on the twin under virtual time: the client, the streams, the lanes, the guard, the journal.
    Requests are lost, streams fall silent, prices jump, the operator meddles, the process is killed. After every event
    the invariants are judged by the exchange's own ledger. One seed is one story, told the same way every time.

    Reports the time positions were without a stop, and under which faults. Where an invariant was broken the fewest
    faults that break it are searched for, and the exit status is 21. Nothing is read from or sent to an exchange.
    """
    SharedOptions(profile, config, state_dir, quiet, verbose, color, no_input)
    if plan is not None and config is not None:
        raise UsageError("--plan and --config both name a configuration", "give one of them")
    existing_files([plan] if plan else None, "configuration")
    from tpctl.rehearsal.deaths import describe_strikes, parse_strikes
    from tpctl.rehearsal.report import fields, lines
    from tpctl.rehearsal.stories import Broken, Tally, shrink, vary
    from tpctl.rehearsal.stories import rehearse as told
    from tpctl.rehearsal.world import Story
    from tpctl.settings.load import load
    from tpctl.views.machine import document

    if faults == "help":
        from tpctl.views.venue import tell_faults

        tell_faults(sys.stdout, describe_strikes())
        return ExitCode.OK
    settings = load(plan or config, profile, state_dir)
    chosen, deaths = parse_strikes(faults)
    told_seeds, length = seeds or range(1, 9), days or Decimal(1)
    base = Story(
        0,
        length,
        chosen,
        deaths,
        hedge=hedge,
        rules=settings.exits,
        inputs=settings.inputs,
        reconcile_ms=settings.watch.reconcile_interval_ms,
    )
    stories = [replace(base, seed=seed) for seed in told_seeds]
    if faults == "all":
        stories = [vary(story) for story in stories]
    total = Tally()
    broken: list[Broken] = []
    show = sys.stderr.isatty() and not quiet
    for story, outcome in told(stories, jobs or os.cpu_count() or 1):
        total.add(outcome)
        if outcome.violations and len(broken) < _SHRUNK:
            broken.append(shrink(story, outcome))
        if show:
            with suppress(OSError):
                sys.stderr.write(_bar(total.stories, len(stories), total.position_days, len(total.broken)))
                sys.stderr.flush()
    if show:
        sys.stderr.write("\r\x1b[K")
    named = (*chosen, *deaths)
    span = f"{told_seeds.start}..{told_seeds.stop - 1}" if len(told_seeds) > 1 else str(told_seeds.start)
    if json:
        data = fields(total, broken, days=str(length), seeds=span, faults=named)
        now = int(time.time() * 1000)
        env = settings.profile.env.value
        sys.stdout.write(document("rehearse", now, settings.name, env, "armed", data) + "\n")
    else:
        report = lines(total, broken, days=str(length), seeds=span, faults=named)
        sys.stdout.write("\n".join(report) + "\n")
    return ExitCode.CHECK_CRITICAL if total.broken else ExitCode.OK


def _bar(done: int, of: int, position_days: float, violations: int) -> str:
    width = 30
    full = width * done // of
    bar = "█" * full + "░" * (width - full)
    return f"\r\x1b[K{bar} {done} of {of} stories, {position_days:,.0f} position-days, {violations} violations"
