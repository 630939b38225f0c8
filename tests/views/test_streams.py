"""Which teller fits which output, and what it writes."""

import io
import json
from dataclasses import replace
from decimal import Decimal

import pytest

from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import Note, NoteKind, PositionKey
from tpctl.views.streams import JsonStory, LineStory, Streams, detect, plain_story

D = Decimal
DAY = 86_400_000
NOTE = Note(1_738_548_420_123, NoteKind.TP_HIT, PositionKey("XRPUSDT", PositionSide.LONG), "", {"leg": 1})


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def pipe(*, color: bool = False) -> Streams:
    return Streams(io.StringIO(), io.StringIO(), terminal=False, color=color)


def text(streams: Streams) -> str:
    assert isinstance(streams.out, io.StringIO)
    return streams.out.getvalue()


@pytest.mark.parametrize(
    ("out", "color", "environment", "expected"),
    [
        (Terminal(), "auto", {"TERM": "xterm"}, (True, True)),
        (Terminal(), "auto", {"NO_COLOR": "1"}, (True, False)),
        (Terminal(), "auto", {"NO_COLOR": ""}, (True, True)),
        (Terminal(), "auto", {"TERM": "dumb"}, (False, False)),
        (Terminal(), "never", {}, (True, False)),
        (io.StringIO(), "auto", {}, (False, False)),
        (io.StringIO(), "always", {"NO_COLOR": "1"}, (False, True)),
    ],
)
def test_terminal_and_colour_are_detected(
    out: io.StringIO, color: str, environment: dict[str, str], expected: tuple[bool, bool]
) -> None:
    streams = detect(out, io.StringIO(), color, environment)

    assert (streams.terminal, streams.color) == expected


def test_the_teller_fits_the_output() -> None:
    assert isinstance(plain_story(pipe(), jsonl=False), LineStory)
    assert isinstance(plain_story(pipe(), jsonl=True), JsonStory)


def test_lines_are_plain_off_a_terminal_and_name_each_day_once() -> None:
    streams = pipe()
    story = LineStory(streams)
    for number, note in enumerate((NOTE, NOTE, replace(NOTE, at=NOTE.at + DAY))):
        story.tell(note, number)

    assert text(streams).splitlines() == [
        "2025-02-03",
        "02:07:00  XRPUSDT LONG      TP1 hit",
        "02:07:00  XRPUSDT LONG      TP1 hit",
        "2025-02-04",
        "02:07:00  XRPUSDT LONG      TP1 hit",
    ]


def test_coloured_lines_say_the_same_words() -> None:
    plain, coloured = pipe(), pipe(color=True)
    for streams in (plain, coloured):
        LineStory(streams).tell(NOTE, 1)

    assert "\x1b[32m" in text(coloured)
    stripped = text(coloured)
    for code in ("\x1b[32m", "\x1b[2m", "\x1b[0m"):
        stripped = stripped.replace(code, "")
    assert stripped == text(plain)


def test_quiet_lines_leave_out_routine_but_json_leaves_out_nothing() -> None:
    placed = replace(NOTE, kind=NoteKind.PLACED)
    lines, data = pipe(), pipe()
    LineStory(lines, quiet=True).tell(placed, 1)
    plain_story(data, jsonl=True, quiet=True).tell(placed, 42)

    assert text(lines) == ""
    assert json.loads(text(data))["seq"] == 42
