"""What the dashboard shows at 80 and 120 columns, as golden files, and what its keys do.

`UPDATE_SCREENS=1 pytest tests/views/test_dashboard.py` writes the golden files anew.
"""

import asyncio
import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from board_makers import BOARD, LOST, ROWS, TROUBLE, VITALS, XRP
from rich.cells import cell_len

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import PositionKey, RiskReadings
from tpctl.views.dashboard import cells
from tpctl.views.dashboard.app import Dashboard
from tpctl.views.dashboard.board import Board
from tpctl.views.dashboard.controls import Act, Asked, Controls, Order, Screen, press, selected, shown
from tpctl.views.dashboard.frame import frame
from tpctl.views.dashboard.theme import Ink, Theme

SCREENS = Path(__file__).parent / "screens"
CHOSEN = Controls(chosen=XRP)


def text(board: Board, controls: Controls, width: int, height: int, theme: Theme | None = None) -> str:
    return "".join(f"{line.plain.rstrip()}\n" for line in frame(board, controls, width, height, theme or Theme()))


@pytest.mark.parametrize(
    ("name", "board", "controls", "size", "theme"),
    [
        ("positions_80", BOARD, CHOSEN, (80, 24), Theme()),
        ("positions_120", BOARD, CHOSEN, (120, 40), Theme()),
        ("positions_80_ascii", BOARD, CHOSEN, (80, 24), Theme(ascii=True)),
        ("trouble_80", TROUBLE, CHOSEN, (80, 24), Theme()),
        ("explain_80", BOARD, replace(CHOSEN, screen=Screen.EXPLAIN), (80, 24), Theme()),
        ("explain_unknown_80", BOARD, Controls(chosen=LOST, screen=Screen.EXPLAIN), (80, 30), Theme()),
        ("events_80", BOARD, Controls(screen=Screen.EVENTS), (80, 12), Theme()),
        ("help_80", BOARD, Controls(screen=Screen.HELP), (80, 36), Theme()),
        ("attached_80", replace(BOARD, vitals=replace(VITALS, attached=True, ended="terminated")),
         Controls(read_only=True), (80, 24), Theme()),
        ("small_60", BOARD, CHOSEN, (60, 12), Theme()),
    ],
)  # fmt: skip
def test_the_screen_looks_as_it_did(
    name: str, board: Board, controls: Controls, size: tuple[int, int], theme: Theme
) -> None:
    found = text(board, controls, *size, theme)
    golden = SCREENS / f"{name}.txt"
    if os.environ.get("UPDATE_SCREENS"):
        golden.write_text(found)

    assert found == golden.read_text()


@pytest.mark.parametrize("width", [1, 39, 40, 60, 79, 80, 81, 109, 110, 120, 200])
@pytest.mark.parametrize("height", [1, 8, 11, 24, 60])
@pytest.mark.parametrize("screen", Screen)
def test_every_size_is_filled_exactly(width: int, height: int, screen: Screen) -> None:
    lines = frame(TROUBLE, replace(CHOSEN, screen=screen), width, height, Theme())

    assert len(lines) == height
    assert {cell_len(line.plain) for line in lines} == {width}


def test_ascii_means_ascii_and_no_colour_means_no_colour() -> None:
    for screen in Screen:
        controls = replace(CHOSEN, screen=screen)
        lines = frame(TROUBLE, controls, 120, 40, Theme(color=False, ascii=True))

        assert all(line.plain.isascii() for line in lines)
        assert not any("color" in str(span.style) for line in lines for span in line.spans)


def test_an_alarm_is_said_in_words() -> None:
    found = text(TROUBLE, CHOSEN, 120, 24)

    for words in ("HALT: testing it", "PAUSED", "SILENT for 9s", "STALE", "SKEWED", "HIGH", "1 UNPROTECTED", "NONE"):
        assert words in found


def test_a_page_that_goes_on_says_so() -> None:
    page = Controls(screen=Screen.HELP)
    cut, whole = (text(BOARD, page, 80, height) for height in (24, 40))
    end = text(BOARD, replace(page, scroll=1_000), 80, 24)
    hidden = len(whole.splitlines()) - whole.splitlines()[::-1].count("") - 1 - 22

    assert f"  {hidden} more lines\n" in cut
    assert "more lines" not in whole + end


def test_every_reading_that_is_not_known_is_explained() -> None:
    missing = Unavailable("635 candles in common, at least 2688 are needed")
    readings = RiskReadings(Decimal("0.3"), missing, missing, missing)
    board = replace(BOARD, figures=replace(BOARD.figures, readings=readings))
    words = " ".join(text(board, replace(CHOSEN, screen=Screen.EXPLAIN), 120, 40).split())

    assert "ESS: 635 candles in common" not in words
    assert f"systemic: {missing.reason}" in words


def test_a_position_no_price_liquidates_sorts_behind_those_that_can_be() -> None:
    keys = [str(row.key) for row in shown(ROWS, Controls(order=Order.LIQUIDATION))]

    assert keys[-3:] == ["ETHUSDT SHORT", "SOLUSDT LONG", "1000SHIBUSDT LONG"]


@pytest.mark.parametrize("theme", [Theme(), Theme(ascii=True)])
def test_a_filter_stays_in_sight_and_the_keys_readable(theme: Theme) -> None:
    foot = text(BOARD, replace(CHOSEN, filter="SHORT"), 80, 24, theme).splitlines()[-1]

    assert foot.startswith("filter 'SHORT'  ")
    assert ("up/down move" if theme.ascii else "↑↓ move") in foot


def test_gains_and_losses_differ_by_more_than_red_and_green() -> None:
    styles = {Theme().style(ink) for ink in (Ink.GAIN, Ink.LOSS, Ink.CAUTION, Ink.ALARM)}

    assert len(styles) == 4
    assert not any(name in style for style in styles for name in ("red", "green"))


def pressed(controls: Controls, *keys: str, board: Board = BOARD) -> tuple[Controls, list[Asked]]:
    found = []
    for key in keys:
        rows = shown(board.rows, controls)
        character = {"slash": "/", "space": " "}.get(key, key if len(key) == 1 else None)
        controls, asked = press(controls, rows, board.vitals, key, character)
        found += [asked] if asked else []
    return controls, found


def key_at(controls: Controls) -> PositionKey:
    rows = shown(ROWS, controls)
    at = selected(rows, controls)
    assert at is not None
    return rows[at].key


def test_moving_stays_within_the_table() -> None:
    controls, _ = pressed(Controls(), *["down"] * 20)

    assert key_at(controls) == shown(ROWS, controls)[-1].key
    controls, _ = pressed(controls, *["k"] * 20)
    assert key_at(controls) == shown(ROWS, controls)[0].key


def test_the_filter_is_typed_and_cleared() -> None:
    controls, _ = pressed(Controls(), "slash", "s", "h", "o", "r", "enter")

    assert [str(row.key) for row in shown(ROWS, controls)] == ["ETHUSDT SHORT"]
    controls, _ = pressed(controls, "escape")
    assert len(shown(ROWS, controls)) == len(ROWS)


def test_sorting_puts_what_is_not_known_last() -> None:
    controls, _ = pressed(Controls(), "s")

    assert controls.order is Order.PNL
    keys = [str(row.key) for row in shown(ROWS, controls)]
    assert (keys[0], keys[-1]) == ("ETHUSDT SHORT", "1000SHIBUSDT LONG")


def test_a_capital_letter_acts_only_after_its_word() -> None:
    controls, asked = pressed(CHOSEN, "H", *"hal", "enter")

    assert asked == []
    assert "nothing was done" in controls.message
    controls, asked = pressed(CHOSEN, "H", "escape")
    assert asked == []
    _, asked = pressed(CHOSEN, "H", *"halt", "space", *"why", "enter")
    assert asked == [Asked(Act.HALT, reason="why")]


def test_small_letters_pause_resume_and_resync() -> None:
    paused = replace(BOARD, vitals=replace(VITALS, paused=True))

    assert pressed(CHOSEN, "p", "r")[1] == [Asked(Act.PAUSE), Asked(Act.RESYNC)]
    assert pressed(CHOSEN, "p", board=paused)[1] == [Asked(Act.RESUME)]


def test_a_read_only_view_looks_and_leaves_but_asks_nothing() -> None:
    for key in ("p", "r", "H"):
        controls, asked = pressed(Controls(read_only=True), key)
        assert asked == []
        assert "read-only" in controls.message
    assert pressed(Controls(read_only=True), "q")[1] == [Asked(Act.QUIT)]
    assert pressed(Controls(), "ctrl+c")[1] == [Asked(Act.INTERRUPT)]


def test_the_app_paints_the_frame_and_takes_keys() -> None:
    asked: list[Asked] = []

    def ask(what: Asked) -> str:
        asked.append(what)
        return "told"

    app = Dashboard(lambda: BOARD, ask, lambda: None, theme=Theme(), read_only=False)

    def on_screen() -> str:
        lines = [app.screen.query_one("Canvas").render_line(y).text.rstrip() for y in range(app.size.height)]
        return "".join(f"{line}\n" for line in lines)

    async def drive() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            app.look()
            assert on_screen() == text(BOARD, app.controls, 80, 24)
            await pilot.press("down", "down", "e")
            assert app.controls.screen is Screen.EXPLAIN
            assert on_screen() == text(BOARD, app.controls, 80, 24)
            await pilot.press("escape", "p", "H", *"halt", "enter")
            assert on_screen().splitlines()[-1] == "told"
            await pilot.resize_terminal(120, 40)
            await pilot.pause()
            assert on_screen() == text(BOARD, app.controls, 120, 40)

    asyncio.run(drive())

    assert asked == [Asked(Act.PAUSE), Asked(Act.HALT)]


def test_the_app_leaves_when_the_watch_is_gone() -> None:
    app = Dashboard(lambda: BOARD, lambda asked: "", lambda: "engine gone", theme=Theme(), read_only=False)

    async def drive() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()

    asyncio.run(drive())

    assert app.return_value == "engine gone"


@pytest.mark.parametrize(
    ("value", "words", "ink"),
    [
        ("-0.004", "0.00", Ink.PLAIN),
        ("0", "0.00", Ink.PLAIN),
        ("-0.005001", "-0.01", Ink.LOSS),
        ("0.02", "+0.02", Ink.GAIN),
        ("-999.996", "-1000.00", Ink.LOSS),
        ("12345.6", "+12346", Ink.GAIN),
    ],
)
def test_what_rounds_to_nothing_is_neither_gain_nor_loss(value: str, words: str, ink: Ink) -> None:
    assert cells.money(Decimal(value)) == cells.Cell(words, ink)


def test_progress_is_full_only_at_the_end() -> None:
    assert Theme().bar(Decimal("0.99"), 10) == "█" * 9 + "░"
    assert Theme().bar(Decimal(1), 10) == "█" * 10
    assert Theme().spark((Decimal(5), Decimal(5)), 4) == "  ▅▅"


@pytest.mark.parametrize(
    ("keys", "asked"),
    [
        (("T", *"trail", "enter"), Asked(Act.TRAIL, XRP)),
        (("B", *"BreakEven", "enter"), Asked(Act.BREAKEVEN, XRP)),
        (("R", *"25%", "enter"), Asked(Act.REDUCE, XRP, Decimal("0.25"))),
        (("R", *"100%", "enter"), Asked(Act.REDUCE, XRP, Decimal(1))),
    ],
)
def test_what_a_position_is_asked(keys: tuple[str, ...], asked: Asked) -> None:
    assert pressed(CHOSEN, *keys)[1] == [asked]


@pytest.mark.parametrize("text", ["", "50", "0%", "101%", "-5%", "NaN%", "1e1%", "x"])
def test_a_share_that_is_none_reduces_nothing(text: str) -> None:
    controls, asked = pressed(CHOSEN, "R", *text, "enter")

    assert asked == []
    assert "nothing was done" in controls.message
