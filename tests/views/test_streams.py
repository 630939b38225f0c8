"""Which teller fits which output, and what it writes."""

import io
import json
from dataclasses import replace
from decimal import Decimal

import pytest
from rich.console import Console

from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import Note, NoteKind, PositionKey
from tpctl.exits.units import Ratio
from tpctl.views.lines import Tone
from tpctl.views.streams import JsonStory, LineStory, Streams, choose_story, detect
from tpctl.views.table import TableStory, picture
from tpctl.views.view import NextTarget, PositionRow, Protection, WatchView

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
    terminal = Streams(Terminal(), io.StringIO(), terminal=True, color=True)

    assert isinstance(choose_story(pipe(), jsonl=False), LineStory)
    assert isinstance(choose_story(terminal, jsonl=False), TableStory)
    assert isinstance(choose_story(terminal, jsonl=True), JsonStory)


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
    choose_story(data, jsonl=True, quiet=True).tell(placed, 42)

    assert text(lines) == ""
    assert json.loads(text(data))["seq"] == 42


ROW = PositionRow(
    key=PositionKey("XRPUSDT", PositionSide.SHORT),
    quantity=D("3906.2"),
    entry=D("0.51234567890123"),
    mark=D("0.5071"),
    pnl=D("20.4912"),
    leverage=D(20),
    stop=D("0.5248"),
    target=NextTarget(2, 3, D("0.5030"), D("0.63")),
    trail=Ratio.percent("1.5"),
    protection=Protection.FULL,
)
LOST = PositionRow(
    key=PositionKey("1000SHIBUSDT", PositionSide.LONG),
    quantity=D(120000),
    entry=D("0.0214"),
    mark=Unavailable("no mark for 12 s"),
    pnl=Unavailable("no mark for 12 s"),
    leverage=Unavailable("not read yet"),
    stop=None,
    target=None,
    trail=None,
    protection=Protection.NONE,
)
VIEW = WatchView(NOTE.at, "sim", "sim", "armed", (ROW, LOST))


def drawn(view: WatchView | None, width: int, height: int = 24, lines: int = 3) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=False)
    told = [(f"02:07:{number:02}  event", Tone.PLAIN) for number in range(lines)]
    console.print(picture(view, told, width, height))
    assert isinstance(console.file, io.StringIO)
    return [row.rstrip() for row in console.file.getvalue().splitlines()]


WIDE = """
tpctl watch  2025-02-03 02:07:00Z  profile sim  sim armed
symbol        side      qty      entry    mark     PnL  lev    stop  next TP                    trail  protection
XRPUSDT       SHORT  3906.2  0.5123457  0.5071  +20.49  20x  0.5248  TP2/3 0.5030 █████░░░ 63%   1.5%  full
1000SHIBUSDT  LONG   120000     0.0214     n/a     n/a  n/a    none  -                              -  NONE
02:07:00  event
02:07:01  event
02:07:02  event
"""


def test_the_picture_at_120_columns() -> None:
    assert drawn(VIEW, 120) == WIDE.strip("\n").split("\n")


def test_the_picture_at_80_columns_keeps_every_column() -> None:
    rows = drawn(VIEW, 80)

    assert all(len(row) <= 80 for row in rows)
    assert rows[1:4] == [
        "symbol          qty     entry   mark    PnL lev   stop next TP trail prot",
        "XRPUSDT    S 3906.2 0.5123457 0.5071 +20.49 20x 0.5248 TP2 63%  1.5% full",
        "1000SHIBU… L 120000    0.0214    n/a    n/a n/a   none -           - NONE",
    ]


def test_only_as_many_lines_as_there_is_room_for() -> None:
    rows = drawn(VIEW, 100, height=14, lines=50)

    assert rows[-1] == "02:07:49  event"
    assert len(rows) <= 13


def test_a_small_terminal_still_shows_the_story() -> None:
    assert drawn(VIEW, 80, height=3, lines=50)[-1] == "02:07:49  event"


def test_the_banner_and_an_empty_account_are_said_in_words() -> None:
    rows = drawn(WatchView(0, "main", "live", "shadow", (), "HALT: maintenance\x1b[2J"), 100, lines=0)

    assert rows[0].endswith("profile main  live shadow  HALT: maintenance?[2J")
    assert rows[-1] == "no open position"


def test_the_table_redraws_from_what_was_stored_and_leaves_the_last_picture() -> None:
    streams = Streams(Terminal(), io.StringIO(), terminal=True, color=False)
    story = TableStory(streams)
    story.open()
    story.show(VIEW)
    story.tell(NOTE, 1)
    story.show(replace(VIEW, banner="HALT"))
    story.close()

    shown = text(streams)
    assert "TP1 hit" in shown
    assert "HALT" in shown
    assert shown.endswith("\x1b[?25h") or "\x1b[?25h" in shown
