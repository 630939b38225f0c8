"""`tpctl config`: from the command line to one of five small answers about the configuration and its account."""

from typing import Annotated

import typer

from tpctl.cli.config_options import Action, ConfigOptions
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
    TimeoutOption,
    TwinOption,
    VerboseOption,
    epilog,
)
from tpctl.exits.errors import ExitCode

EXAMPLES = (
    Example("tpctl config init", "write a configuration file with every setting, commented out, at its default"),
    Example("tpctl config show --origin", "what is in force, and where each value came from"),
    Example("tpctl config doctor", "examine files, keys, clock and limits before anything is guarded"),
    Example("tpctl config doctor --check --json", "the same for a script: 20 where there are warnings but no error"),
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
    ExitCode.INPUTS,
    ExitCode.CHECK_WARNING,
    ExitCode.INTERRUPTED,
    ExitCode.PIPE_CLOSED,
    ExitCode.TERMINATED,
)


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command("config", cls=Command, context_settings=HELP_NAMES, epilog=epilog(EXAMPLES, EXIT_CODES))
def config(
    action: Annotated[
        Action, typer.Argument(metavar="init|show|validate|path|doctor", help="What to do.", show_default=False)
    ],
    origin: Annotated[bool, typer.Option("--origin", help="With show: say where each value came from.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="With doctor: exit with 20 where there are warnings but no error.")
    ] = False,
    venue: TwinOption = None,
    timeout: TimeoutOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON (tpctl.config/1).")] = False,
    profile: ProfileOption = None,
    config_file: ConfigOption = None,
    state_dir: StateDirOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    color: ColorOption = ColorMode.AUTO,
    no_input: NoInputOption = False,
) -> ExitCode:
    """Make, show and check the configuration, and examine the account it names.

    init writes a file, where there is none yet, with every setting commented out, at its default where it has one. show
    prints what is in force for a profile, as TOML. validate reads the whole file and reports the first mistake. path
    prints where the file is looked for; with --json also where state and cache lie.

    doctor checks what a watch would stumble over: files and their modes, keys and their rights, the clock, both order
    books, the room left for conditional orders, the lock. It reads only, and exits with the code of the first error.
    """
    shared = SharedOptions(profile, config_file, state_dir, quiet, verbose, color, no_input)
    options = ConfigOptions(action, shared, origin, check, venue, timeout or 10_000, json)
    if options.action is Action.DOCTOR:
        from tpctl.cli.config_doctor import run_doctor

        return run_doctor(options)
    from tpctl.cli.config_file import run_config

    return run_config(options)
