"""The ladder of one position: every level from the best price down, and what has become of it."""

from decimal import Decimal
from textwrap import wrap

from rich.cells import cell_len
from rich.text import Text

from tpctl.exits.units import Price
from tpctl.views.dashboard import cells
from tpctl.views.dashboard.board import Detail, Level, LevelState
from tpctl.views.dashboard.theme import Ink, Theme
from tpctl.views.lines import clean

_INKS = {
    LevelState.HIT: Ink.GAIN,
    LevelState.RESTING: Ink.PLAIN,
    LevelState.PENDING: Ink.CAUTION,
    LevelState.WITHHELD: Ink.CAUTION,
    LevelState.SKIPPED: Ink.QUIET,
    LevelState.MARKER: Ink.QUIET,
}
_SIGNS = {
    LevelState.HIT: ("✓", "x"),
    LevelState.RESTING: ("●", "*"),
    LevelState.PENDING: ("○", "o"),
    LevelState.WITHHELD: ("◌", "w"),
    LevelState.SKIPPED: ("-", "-"),
    LevelState.MARKER: (" ", " "),
}
_COLUMN = 40
_TRAIL = "  trail: "


def rule(title: str, width: int, theme: Theme) -> Text:
    """Return a line that begins a part of the screen."""
    text = Text(no_wrap=True)
    text.append(f"{theme.rule} ", theme.style(Ink.QUIET))
    text.append(title, theme.style(Ink.TITLE))
    text.append(" " + theme.rule * max(width - cell_len(title) - 3, 0), theme.style(Ink.QUIET))
    return text


def panel(detail: Detail, width: int, theme: Theme) -> list[Text]:
    """Return the title and the levels, in as many columns as there is width for."""
    columns = max(width // _COLUMN, 1)
    room = width // columns
    count = -(-len(detail.levels) // columns)
    entry = next((level.price for level in detail.levels if level.name == "entry"), None)
    names = max((len(level.name) for level in detail.levels), default=0)
    prices = max((len(cells.price(level.price, wide=True)) for level in detail.levels), default=0)
    lines = [rule(f"ladder of {detail.key}", width, theme)]
    for at in range(count):
        line = Text(no_wrap=True)
        for place in range(at, len(detail.levels), count):
            piece = _level(detail.levels[place], _way(detail, detail.levels[place], entry), names, prices, theme)
            piece.truncate(room - 1)
            line.append(piece)
            line.append(" " * (room - cell_len(piece.plain)))
        lines.append(line)
    return lines


def trail(detail: Detail, width: int, theme: Theme) -> list[Text]:
    """Return what the trail says, on two lines where one does not hold it."""
    lines = []
    for at, piece in enumerate(wrap(clean(detail.trail), max(width - len(_TRAIL), 1), max_lines=2, placeholder=" …")):
        text = Text(no_wrap=True)
        text.append(" " * len(_TRAIL) if at else _TRAIL, theme.style(Ink.QUIET))
        text.append(piece)
        lines.append(text)
    return lines


def _way(detail: Detail, level: Level, entry: Price | None) -> Decimal | None:
    """Return how far a level is from the entry in the position's favour, in percent."""
    if entry is None or level.name == "entry":
        return None
    return detail.key.side.sign * (level.price - entry) / entry * 100


def _level(level: Level, way: Decimal | None, names: int, prices: int, theme: Theme) -> Text:
    ink = Ink.STRONG if level.name == "mark" else _INKS[level.state]
    text = Text(no_wrap=True)
    text.append(f"{_SIGNS[level.state][theme.ascii]} {level.name:<{names}} ", theme.style(ink))
    text.append(f"{cells.price(level.price, wide=True):>{prices}}", theme.style(ink))
    if way is None:
        text.append(" " * 6)
    else:
        text.append(f" {way:+.1f}%", theme.style(_ink_of(way)))
    words = " ".join(part for part in (_size(level), level.state.value, level.note) if part)
    if words:
        text.append(f" {words}", theme.style(ink))
    return text


def _ink_of(way: Decimal) -> Ink:
    return Ink.GAIN if way > 0 else Ink.LOSS


def _size(level: Level) -> str:
    return "" if level.quantity is None else cells.quantity(level.quantity, 6)
