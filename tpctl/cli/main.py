"""The command tree's root: which commands exist, and how one run becomes an exit code.

Commands are imported when they are called: the root's help needs only the table below. Never decides anything about
positions. Errors are printed in `errors`, nowhere else.
"""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from types import FrameType
from typing import Annotated, NoReturn

import typer
from typer._click import Command, Context, HelpFormatter
from typer.core import TyperGroup

from tpctl import __version__
from tpctl.cli.errors import report
from tpctl.exits.errors import ExitCode, UsageError


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: the module that holds it, the line the root help shows, and the section it stands in."""

    module: str
    summary: str
    section: str


ENTRIES: Mapping[str, Entry] = {
    "watch": Entry(
        "tpctl.cli.watch", "Guard open positions: plan, place and keep their exits on the exchange.", "Commands"
    ),
    "plan": Entry(
        "tpctl.cli.plan",
        "Print the exact exit orders of positions, open or hypothetical, before anything is sent.",
        "Commands",
    ),
    "quantize": Entry(
        "tpctl.cli.quantize",
        "Round prices and quantities to what the exchange accepts, and say which rule refuses them.",
        "Commands",
    ),
    "trail": Entry(
        "tpctl.cli.trail",
        "Show where each trail stands, when it tightens next, and why nothing changes where nothing does.",
        "Commands",
    ),
    "risk": Entry(
        "tpctl.cli.risk",
        "Measure market and portfolio risk, and say what it does to take-profits and stops.",
        "Commands",
    ),
    "metrics": Entry(
        "tpctl.cli.metrics",
        "Say how good the exits are: hit rates with their intervals, slippage, times, profit, and what was missed.",
        "Commands",
    ),
    "retrain": Entry(
        "tpctl.cli.retrain",
        "Train a policy that learns where to exit, and use it only when it has proved itself.",
        "Commands",
    ),
    "config": Entry(
        "tpctl.cli.config", "Make, show and check the configuration, and examine the account it names.", "Helpers"
    ),
    "venue": Entry(
        "tpctl.cli.venue", "Serve the twin: a local exchange that behaves as Binance USD-M futures.", "Helpers"
    ),
    "rehearse": Entry(
        "tpctl.cli.rehearse",
        "Rehearse your configuration on simulated days with faults, and judge every instant.",
        "Helpers",
    ),
}


# Commands with a name in two words.
_TWO_WORDS = {("venue", "rehearse"): "rehearse"}


class LazyGroup(TyperGroup):
    """A group that imports a command when it is called, and lists all of them without importing any."""

    def get_help_option_names(self, ctx: Context) -> list[str]:
        """Return the help options in a fixed order (Click's own comes from a set)."""
        return list(ctx.help_option_names)

    def list_commands(self, ctx: Context) -> list[str]:  # noqa: ARG002 - Click's signature
        """Return the names in the order of the table."""
        return list(ENTRIES)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:  # noqa: ARG002 - Click's signature
        """Import and return one command, or None where there is none."""
        entry = ENTRIES.get(cmd_name)
        return None if entry is None else load_command(entry)

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Return the named command; raises `UsageError` with a suggestion where there is none."""
        words = (args[0], args[1]) if len(args) > 1 else None
        if words in _TWO_WORDS:
            args = [_TWO_WORDS[words], *args[2:]]
        name = args[0]
        command = self.get_command(ctx, name)
        if command is None:
            near = get_close_matches(name, ENTRIES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "'tpctl --help' lists the commands"
            raise UsageError(f"no such command {name!r}", hint)
        return name, command, args[1:]

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the options, then the commands by section, from the table."""
        rows = [row for param in self.get_params(ctx) if (row := param.get_help_record(ctx)) is not None]
        with formatter.section("Options"):
            formatter.write_dl(rows)
        for section in dict.fromkeys(entry.section for entry in ENTRIES.values()):
            with formatter.section(section):
                formatter.write_dl([(name, e.summary) for name, e in ENTRIES.items() if e.section == section])


def load_command(entry: Entry) -> Command:
    """Import a command's module and build its command."""
    app = import_module(entry.module).app
    return typer.main.get_command(app)


app = typer.Typer(
    name="tpctl",
    cls=LazyGroup,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="COMMAND [ARGS]...",
    epilog="'tpctl COMMAND --help' tells more; so do 'man tpctl' and 'man tpctl-watch'.",
)


def _print_version(value: bool) -> None:
    if value:
        sys.stdout.write(f"tpctl {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    version: Annotated[  # noqa: ARG001 - acts in its callback
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Guard the exits of Binance USD-M futures positions.

    Plans take-profit ladders, stops and trails, and keeps them resting on the exchange.
    It only ever reduces positions; it never opens or grows one.
    """
    if ctx.invoked_subcommand is None:
        raise UsageError("no command was given", "'tpctl --help' lists the commands")


def command_tree() -> Command:
    """Build the root group."""
    return typer.main.get_command(app)


class _Terminated(BaseException):
    """SIGTERM arrived while nothing else handled it; unwinds like an interrupt."""


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a signal handler's signature
    raise _Terminated


def _close_pipe() -> None:
    """Point stdout at nothing, so that the interpreter's own flush at exit does not fail once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def execute(args: Sequence[str]) -> ExitCode:
    """Parse and run one command line in this process; every failure is raised, none is printed."""
    try:
        with command_tree().make_context("tpctl", list(args)) as ctx:
            outcome = ctx.command.invoke(ctx)
    except typer.Exit as leaving:
        return ExitCode(leaving.exit_code)
    return ExitCode.OK if outcome is None else ExitCode(outcome)


def run(args: Sequence[str]) -> int:
    """Run one command line as a process does: print its error, if any, and return its exit code."""
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        code = int(execute(args))
        sys.stdout.flush()
    except BrokenPipeError:
        _close_pipe()
        return ExitCode.PIPE_CLOSED
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except _Terminated:
        return ExitCode.TERMINATED
    except Exception as error:  # noqa: BLE001 - the one place where every failure ends, printed with its exit code
        return report(error, args)
    finally:
        signal.signal(signal.SIGTERM, previous)
    return code
