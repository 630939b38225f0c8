"""Which teller a watch gets, and what stands between it and the outside: whoever listens may hang or go away."""

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from io import UnsupportedOperation

from tpctl.adapters.outlet import Outlet
from tpctl.cli.runs import WatchOptions
from tpctl.cli.screen import ScreenStory
from tpctl.cli.viewer import ViewSpec
from tpctl.exits.model import Note
from tpctl.settings.schema import Settings
from tpctl.views.dashboard.controls import Asked
from tpctl.views.streams import LineStory, Story, Streams, detect, plain_story


class Teller:
    """Tells the story; a reader that went away, or a full disk behind stdout, is no reason to stop guarding."""

    def __init__(self, story: Story, outlet: Outlet | None = None) -> None:
        self._story = story
        self._outlet = outlet
        self.silenced = False

    @property
    def on_screen(self) -> bool:
        """Whether a dashboard is showing."""
        return isinstance(self._story, ScreenStory) and self._story.showing

    def open(self) -> None:
        """Begin."""
        self._story.open()

    def tell(self, note: Note, seq: int) -> None:
        """Tell one event, as long as somebody listens."""
        if self.silenced:
            return
        try:
            self._story.tell(note, seq)
        except OSError:
            self.silenced = True

    def warn(self, text: str) -> None:
        """Say something beside the story, where it does not run into a dashboard."""
        if not self.on_screen:
            with suppress(OSError):
                sys.stderr.write(text)

    def abandon(self) -> None:
        """Tell nothing more, and make sure that no view holds the terminal: whoever listened is gone."""
        self.silenced = True
        if isinstance(self._story, ScreenStory):
            self._story.abandon()

    def close(self) -> None:
        """End; wait for a reader that reads, not for one that does not."""
        try:
            self._story.close()
        except OSError:
            self.silenced = True
        if self._outlet is not None:
            self._outlet.close()
            self.silenced = self.silenced or self._outlet.broken


def open_teller(settings: Settings, options: WatchOptions, asked: Callable[[Asked], None]) -> Teller:
    """Return the teller that fits: a dashboard on a terminal, else lines; `asked` takes what its keys ask."""
    shared = options.shared
    streams, outlet = never_waiting(detect(sys.stdout, sys.stderr, shared.color.value), jsonl=options.jsonl)
    story = plain_story(streams, jsonl=options.jsonl, quiet=shared.quiet, verbose=shared.verbose)
    if outlet is not None and streams.terminal and isinstance(story, LineStory) and not (options.lines or options.once):
        return Teller(ScreenStory(view_spec(settings, options, streams), story, asked, sys.stdout.fileno()), outlet)
    return Teller(story, outlet)


def never_waiting(streams: Streams, *, jsonl: bool) -> tuple[Streams, Outlet | None]:
    """Return the streams with an output that nobody waits for, where there is a real one behind it."""
    try:
        descriptor = sys.stdout.fileno()
    except (UnsupportedOperation, ValueError):
        return streams, None
    # JSON lines are numbered: a gap tells by itself what was left out.
    outlet = Outlet(descriptor) if jsonl else Outlet(descriptor, _left_out)
    return replace(streams, out=outlet), outlet


def view_spec(settings: Settings, options: WatchOptions, streams: Streams) -> ViewSpec:
    """Return what a view of this run has to know."""
    return ViewSpec(
        state_dir=str(settings.state_dir),
        profile=settings.name,
        env=settings.profile.env.value,
        trail=settings.exits.trail,
        color=streams.color,
        ascii=options.ascii,
        quiet=options.shared.quiet,
        verbose=options.shared.verbose,
        control=None,
    )


def _left_out(count: int) -> str:
    return f"{count} lines were left out: nobody read them in time; the journal has them\n"
