"""A price path and the stop under it, drawn in characters: what `trail --simulate` shows on a terminal.

Decides layout only. Pure: no terminal, no clock; the caller says how wide and whether ASCII only. Nothing hangs on
colour: price, stop, re-arms and exit have characters of their own, and a legend says which.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from tpctl.exits.units import Millis, Price
from tpctl.views.trail import price_words

_LEAST_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Column:
    """The extremes of the price over one stretch of time, from `at` on."""

    at: Millis
    low: Price
    high: Price


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a time and a price; later marks hide earlier ones in the same place."""

    at: Millis
    price: Price
    sign: str


@dataclass(frozen=True, slots=True)
class Signs:
    """The characters of a drawing."""

    price: str
    stop: str
    entry: str
    axis: str
    corner: str
    ruler: str


UNICODE = Signs(price="│", stop="─", entry="·", axis="┤", corner="└", ruler="─")
ASCII = Signs(price="|", stop="=", entry=".", axis="+", corner="+", ruler="-")


def chart_lines(
    columns: Sequence[Column],
    stops: Sequence[tuple[Millis, Price]],
    entry: Price,
    marks: Sequence[Mark],
    *,
    until: Millis,
    width: int,
    height: int,
    ascii_only: bool,
) -> list[str]:
    """Return the drawing, top line first; `columns` and `stops` ascend by time and are not empty.

    `stops` are the levels of the stop from each time on. Columns are gathered so that the drawing fits `width`, prices
    so that it has `height` lines.
    """
    signs = ASCII if ascii_only else UNICODE
    levels = [stop for _, stop in stops]
    top = max(*(column.high for column in columns), entry, *levels)
    bottom = min(*(column.low for column in columns), entry, *levels)
    labels = [price_words(value) for value in _labels(top, bottom, height)]
    gutter = max(map(len, labels))
    room = max(width, _LEAST_WIDTH) - gutter - 3
    start = columns[0].at
    scale = _Scale(start, max(until - start, 1), room, top, bottom, height)
    grid = [[" "] * room for _ in range(height)]
    for x in range(room):
        grid[scale.y(entry)][x] = signs.entry
    _draw_prices(grid, scale, columns, until, signs.price)
    _draw_stops(grid, scale, stops, until, signs.stop)
    for mark in marks:
        grid[scale.y(mark.price)][scale.x(mark.at)] = mark.sign
    lines = [
        f"{label:>{gutter}} {signs.axis} {''.join(row).rstrip()}".rstrip()
        for label, row in zip(labels, grid, strict=True)
    ]
    lines.append(f"{'':>{gutter}} {signs.corner}{signs.ruler * (room + 1)}")
    first, last = _clock(start), _clock(until)
    lines.append(f"{'':>{gutter}}   {first}{last:>{max(room - len(first), len(last) + 1)}}")
    return lines


@dataclass(frozen=True, slots=True)
class _Scale:
    """Times and prices as cells."""

    start: Millis
    length: Millis
    width: int
    top: Price
    bottom: Price
    height: int

    def x(self, at: Millis) -> int:
        return min(max((at - self.start) * self.width // self.length, 0), self.width - 1)

    def y(self, price: Price) -> int:
        if self.top == self.bottom:
            return self.height // 2
        share = (self.top - price) / (self.top - self.bottom)
        return min(max(round(share * (self.height - 1)), 0), self.height - 1)


def _labels(top: Price, bottom: Price, height: int) -> list[Decimal]:
    # One digit more than what tells two lines apart.
    step = (top - bottom) / max(height - 1, 1)
    places = max(1 - step.adjusted(), 0) if step else 8
    return [round(top - step * line, places) for line in range(height)]


def _draw_prices(grid: list[list[str]], scale: _Scale, columns: Sequence[Column], until: Millis, sign: str) -> None:
    ends = [scale.x(column.at) - 1 for column in columns[1:]]
    for column, end in zip(columns, [*ends, scale.x(until)], strict=True):
        first = scale.x(column.at)
        # Where there are fewer columns than cells, each is as wide as the time it stands for.
        last = max(first, end)
        for x in range(first, last + 1):
            for y in range(scale.y(column.high), scale.y(column.low) + 1):
                grid[y][x] = sign


def _draw_stops(
    grid: list[list[str]], scale: _Scale, stops: Sequence[tuple[Millis, Price]], until: Millis, sign: str
) -> None:
    for (at, level), after in zip(stops, [*stops[1:], None], strict=True):
        first, last = scale.x(at), scale.x(until if after is None else after[0])
        for x in range(first, last + 1):
            grid[scale.y(level)][x] = sign


def _clock(at: Millis) -> str:
    return f"{datetime.fromtimestamp(at // 1000, UTC):%Y-%m-%d %H:%M}Z"
