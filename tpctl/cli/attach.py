"""`tpctl watch --attach`: a read-only view of a running watch. It takes no lock, writes nothing, asks for nothing."""

import sys
import time

from tpctl.adapters.files import find_state_dir
from tpctl.cli.board_reader import BoardReader
from tpctl.cli.runs import WatchOptions
from tpctl.cli.telling import view_spec
from tpctl.cli.viewer import show, wall
from tpctl.exits.errors import EmptyError, ExitCode
from tpctl.settings.load import load
from tpctl.views.streams import detect, plain_story

_LOOK_S = 0.5


def run_attach(options: WatchOptions) -> ExitCode:
    """Show the watch of a profile until the operator leaves: a dashboard on a terminal, else events as they come."""
    settings = load(options.shared.config, options.shared.profile, options.shared.state_dir)
    streams = detect(sys.stdout, sys.stderr, options.shared.color.value)
    spec = view_spec(settings, options, streams)
    if streams.terminal and not (options.lines or options.jsonl):
        return ExitCode.INTERRUPTED if show(spec) == "interrupt" else ExitCode.OK
    state_dir = find_state_dir(settings.state_dir)
    if state_dir is None or not state_dir.journal.exists():
        raise EmptyError(
            f"profile {settings.name!r} has no journal in '{settings.state_dir}'",
            "start 'tpctl watch' first, or name its directory with --state-dir",
        )
    shared = options.shared
    story = plain_story(streams, jsonl=options.jsonl, quiet=shared.quiet, verbose=shared.verbose)
    reader = BoardReader(
        state_dir,
        settings.exits.trail,
        profile=settings.name,
        env=spec.env,
        wall=wall,
        attached=True,
        log=0,
        hear=story.tell,
    )
    try:
        while not reader.look().vitals.ended:
            time.sleep(_LOOK_S)
        return ExitCode.OK
    finally:
        reader.close()
