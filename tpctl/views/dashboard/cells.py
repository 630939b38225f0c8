"""The table of positions: one line each at 80 columns as at 200, shortened but never without a column."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import Price, Ratio, plain, trimmed
from tpctl.views.dashboard.board import NextTarget, PositionRow, Protection
from tpctl.views.dashboard.theme import Ink, Theme
from tpctl.views.lines import clean, significant_places

WIDE = 110
_NARROW_DIGITS = 6
_NARROW_SYMBOL = 7
_QUOTES = ("USDT", "USDC")
_LARGEST_BAR, _LARGEST_SPARK = 16, 24


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its text and what it means."""

    text: str
    ink: Ink = Ink.PLAIN


_NONE = Cell("-", Ink.QUIET)
_UNKNOWN = Cell("n/a", Ink.QUIET)

# Heading, shorter heading, whether numbers are aligned to the right.
_COLUMNS = (
    ("symbol", "sym", False),
    ("side", "", False),
    ("quantity", "qty", True),
    ("entry", "entry", True),
    ("mark", "mark", True),
    ("PnL", "PnL", True),
    ("R", "R", True),
    ("lev", "lev", True),
    ("to liq", "liq", True),
    ("stop", "stop", True),
    ("trail", "trl", True),
)


def table(rows: Sequence[PositionRow], chosen: int | None, width: int, theme: Theme) -> list[Text]:
    """Return the heading and one line per position, each of exactly `width` cells."""
    wide = width >= WIDE
    cells = [_cells(row, wide=wide) for row in rows]
    heads = [long if wide else short for long, short, _ in _COLUMNS]
    widths = [max([cell_len(head), *(cell_len(line[at].text) for line in cells)]) for at, head in enumerate(heads)]
    gap = 2 if wide and sum(widths) + 2 * len(widths) + 34 <= width else 1
    target_width = max([cell_len(_target(row.target, wide=wide)) for row in rows], default=3)
    left = width - 2 - sum(widths) - gap * (len(widths) + 2) - target_width
    bar = min(max(left * 2 // 5, 3), _LARGEST_BAR)
    spark = min(max(left - bar - 1, 0), _LARGEST_SPARK)
    heading = [
        *(_fitted(head, size, right=column[2]) for head, size, column in zip(heads, widths, _COLUMNS, strict=True)),
        _fitted("next TP", target_width + 1 + bar),
        "last hour" if spark >= len("last hour") else "",
    ]
    lines = [Text("  " + (" " * gap).join(heading), theme.style(Ink.QUIET), no_wrap=True)]
    for at, (row, line) in enumerate(zip(rows, cells, strict=True)):
        text = Text(no_wrap=True)
        picked = at == chosen
        text.append(theme.words("▶ ") if picked else "  ", theme.style(Ink.STRONG))
        for cell, size, (_, _, right) in zip(line, widths, _COLUMNS, strict=True):
            text.append(_fitted(cell.text, size, right=right), theme.style(cell.ink))
            text.append(" " * gap)
        text.append(_fitted(_target(row.target, wide=wide), target_width))
        if row.target is not None:
            text.append(" ")
            text.append(theme.bar(row.target.progress, bar), theme.style(Ink.GAIN))
            text.append(" " * gap)
        else:
            text.append(" " * (bar + 1 + gap))
        text.append(theme.spark(row.course, spark), theme.style(Ink.QUIET))
        if picked:
            # The name alone: reversed, a progress bar would say the opposite.
            text.stylize(theme.style(Ink.CHOSEN), 2, 2 + widths[0] + gap + widths[1])
        text.truncate(width, pad=True)
        lines.append(text)
    return lines


def _fitted(text: str, width: int, *, right: bool = False) -> str:
    cells = cell_len(text)
    if cells > width:
        return set_cell_size(text, width)
    return " " * (width - cells) + text if right else text + " " * (width - cells)


def _cells(row: PositionRow, *, wide: bool) -> list[Cell]:
    side = row.key.side.value.upper()
    return [
        _symbol(row, wide=wide),
        Cell(side if wide else side[0], Ink.STRONG),
        Cell(quantity(row.quantity, 10 if wide else 6)),
        Cell(price(row.entry, wide=wide)),
        _known(row.mark, lambda value: price(value, wide=wide)),
        money(row.pnl, whole_from=10_000 if wide else 1_000),
        _r(row.r),
        _known(row.leverage, lambda value: f"{trimmed(value, 1)}x"),
        _distance(row.liquidation, wide=wide),
        _stop(row, wide=wide),
        _NONE if row.trail is None else Cell(f"{trimmed(row.trail.as_percent, 2)}%"),
    ]


def _symbol(row: PositionRow, *, wide: bool) -> Cell:
    name = clean(row.key.symbol)
    if not wide:
        for quote in _QUOTES:
            name = name.removesuffix(quote) or name
        if len(name) > _NARROW_SYMBOL:
            name = name[: _NARROW_SYMBOL - 1] + "…"
    bare = row.protection is Protection.NONE
    return Cell(f"{name}!" if bare else name, Ink.ALARM if bare else Ink.STRONG)


def _stop(row: PositionRow, *, wide: bool) -> Cell:
    if row.stop is None:
        return Cell("NONE", Ink.ALARM)
    shown = price(row.stop, wide=wide)
    # A stop that is wanted but does not rest is marked: only what rests protects.
    resting = row.protection in {Protection.FULL, Protection.STOP}
    return Cell(shown if resting else f"{shown}?", Ink.PLAIN if resting else Ink.CAUTION)


def _distance(away: Ratio | Unavailable | None, *, wide: bool) -> Cell:
    if away is None:
        return _NONE
    if isinstance(away, Unavailable):
        return _UNKNOWN
    percent = away.as_percent
    if percent > 100:
        return Cell(">100%" if wide else "far")
    text = f"{percent:.1f}%" if wide or percent < 10 else f"{percent:.0f}%"
    return Cell(text, Ink.CAUTION if percent < 5 else Ink.PLAIN)


def _r(value: Decimal | Unavailable) -> Cell:
    if isinstance(value, Unavailable):
        return _UNKNOWN
    return _signed(value, 1 if abs(value) >= 10 else 2)


def money(value: Decimal | Unavailable, whole_from: int = 10_000) -> Cell:
    """Return an amount with its sign; cents are left out from `whole_from` on."""
    if isinstance(value, Unavailable):
        return _UNKNOWN
    return _signed(value, 0 if abs(value) >= whole_from else 2)


def _signed(value: Decimal, places: int) -> Cell:
    """Return a number with its sign; what rounds to nothing is neither gain nor loss."""
    shown = round(value, places)
    if shown == 0:
        return Cell(f"{abs(shown):.{places}f}")
    return Cell(f"{shown:+.{places}f}", Ink.LOSS if shown < 0 else Ink.GAIN)


def _target(target: NextTarget | None, *, wide: bool) -> str:
    if target is None:
        return "-"
    number = f"{target.leg}/{target.legs}"
    return f"{number} {price(target.trigger, wide=True)}" if wide else number


def _known(value: Decimal | Unavailable, show: Callable[[Decimal], str]) -> Cell:
    return _UNKNOWN if isinstance(value, Unavailable) else Cell(show(value))


def quantity(value: Decimal, room: int) -> str:
    """Return a quantity, in thousands or millions where it is too long for `room`."""
    text = plain(value)
    if len(text) <= room:
        return text
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if abs(value) >= size:
            return f"{value / size:.1f}{unit}"
    return trimmed(value, 3)


def price(value: Price, *, wide: bool) -> str:
    """Return a price with the digits it has; narrow, at most six significant ones."""
    if wide:
        return trimmed(value, significant_places(value)) if len(plain(value)) > 10 else plain(value)
    return (
        trimmed(value, min(max(_NARROW_DIGITS - 1 - value.adjusted(), 0), 12))
        if len(plain(value)) > 7
        else plain(value)
    )
