"""Where output goes, and the tellers that write to it: JSON lines or plain lines.

stdout carries the result, stderr the messages. Colour is used on a terminal that wants it, or when asked for.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from tpctl.exits.model import Note
from tpctl.views.lines import Tone, day, line, painted, told, tone


class Writer(Protocol):
    """What a teller writes to."""

    def write(self, text: str, /) -> int:
        """Take text."""
        ...

    def flush(self) -> None:
        """See to it that what was taken is on its way."""
        ...


class Story(Protocol):
    """Tells what `watch` does while it does it. None of these waits for a terminal longer than a write does."""

    def open(self) -> None:
        """Begin."""
        ...

    def tell(self, note: Note, seq: int) -> None:
        """Tell one event; `seq` is its number in the journal."""
        ...

    def close(self) -> None:
        """End; what was told stays readable."""
        ...


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of one run and what they can do."""

    out: Writer
    err: Writer
    terminal: bool
    color: bool


def detect(out: TextIO, err: TextIO, color: str, environment: Mapping[str, str] | None = None) -> Streams:
    """Return the streams; `color` is `auto`, `always` or `never` (auto: a terminal, no NO_COLOR, not a dumb one)."""
    env = os.environ if environment is None else environment
    dumb = env.get("TERM", "") == "dumb"
    terminal = out.isatty() and not dumb
    wanted = color == "always" or (color == "auto" and terminal and not env.get("NO_COLOR"))
    return Streams(out, err, terminal, wanted)


def plain_story(
    streams: Streams, *, jsonl: bool, quiet: bool = False, verbose: bool = False
) -> "LineStory | JsonStory":
    """Return the teller in text: JSON lines if asked, else plain lines."""
    return JsonStory(streams.out) if jsonl else LineStory(streams, quiet=quiet, verbose=verbose)


class LineStory:
    """Plain lines, each written out at once; a line with the date stands before the first event of a day."""

    def __init__(self, streams: Streams, *, quiet: bool = False, verbose: bool = False) -> None:
        self._streams = streams
        self._quiet = quiet
        self._verbose = verbose
        self._day = ""

    def open(self) -> None:
        """Begin."""

    def tell(self, note: Note, seq: int) -> None:  # noqa: ARG002 - lines carry no numbers
        """Write the event's line."""
        if not told(note.kind, quiet=self._quiet, verbose=self._verbose):
            return
        out, today = self._streams.out, day(note.at)
        if today != self._day:
            self._day = today
            out.write(f"{self._paint(today, Tone.QUIET)}\n")
        out.write(f"{self._paint(line(note), tone(note))}\n")
        out.flush()

    def say(self, text: str) -> None:
        """Write a line that is no event: about the telling itself."""
        self._streams.out.write(f"{self._paint(text, Tone.CAUTION)}\n")
        self._streams.out.flush()

    def close(self) -> None:
        """End."""
        self._streams.out.flush()

    def _paint(self, text: str, meaning: Tone) -> str:
        return painted(text, meaning) if self._streams.color else text


@dataclass(slots=True)
class SilentStory:
    """Keeps what a run tells, for a command that prints a document of its own."""

    notes: list[Note] = field(default_factory=list)

    def open(self) -> None:
        """Begin."""

    def tell(self, note: Note, seq: int) -> None:  # noqa: ARG002 - the numbers are of `watch`
        """Keep one event."""
        self.notes.append(note)

    def close(self) -> None:
        """End."""


class JsonStory:
    """One JSON object per event (`tpctl.event/1`), each written out at once; nothing is left out at any volume."""

    def __init__(self, out: Writer) -> None:
        self._out = out

    def open(self) -> None:
        """Begin."""

    def tell(self, note: Note, seq: int) -> None:
        """Write the event's line."""
        from tpctl.views.machine import event_line

        self._out.write(event_line(note, seq))
        self._out.flush()

    def close(self) -> None:
        """End."""
        self._out.flush()
