"""Charts made of characters: a trend in one cell, and a heat map of hits in the terminal.

Decides glyphs only. A bucket without attempts is a gap, never a low bar.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tpctl.exits.statistics import Tally

_BARS = "▁▂▃▄▅▆▇█"
_GAP = "·"
# From no hits to only hits; five 256-colour greens, light text on none.
_SHADES = " ░▒▓█"
_COLOURS = (52, 94, 100, 64, 28)


def sparkline(buckets: Sequence[tuple[int, int]]) -> str:
    """Return hit rates in time, one character a bucket of (attempts, hits): a low bar is no hits, a dot no attempts."""
    return "".join(_BARS[min(len(_BARS) - 1, hits * len(_BARS) // count)] if count else _GAP for count, hits in buckets)


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Attempts by two things; `cells` lacks a place where nothing was tried."""

    title: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: Mapping[tuple[int, int], Tally]

    def at(self, row: int, column: int) -> tuple[int, int]:
        """Return attempts and hits at a place."""
        tally = self.cells.get((row, column))
        return (tally.attempts, tally.hits) if tally is not None else (0, 0)


def heat_text(heat: HeatMap, min_attempts: int, *, color: bool = False, screen: int | None = None) -> str:
    """Return a heat map as text: a place shows its hits in percent, few attempts in parentheses, none as a dot.

    Columns that do not fit on a screen of so many characters follow below, as even as can be.
    """
    width = max(5, *map(len, heat.columns))
    side = max(map(len, heat.rows), default=0)
    count = len(heat.columns)
    most = count if screen is None else max(1, (screen - side) // (width + 1))
    each = -(-count // -(-count // most))
    lines = [heat.title]
    for start in range(0, count, each):
        part = range(start, min(count, start + each))
        lines.append(" " * side + "".join(f" {heat.columns[c]:>{width}}" for c in part).rstrip())
        for r, name in enumerate(heat.rows):
            cells = [_heat_cell(*heat.at(r, c), min_attempts, width, color=color) for c in part]
            lines.append(f"{name:<{side}}" + "".join(f" {cell}" for cell in cells).rstrip())
    lines.append(f"hits in % of attempts; (…) fewer than {min_attempts} attempts, {_GAP} none")
    return "".join(f"{line}\n" for line in lines)


def _heat_cell(count: int, hits: int, min_attempts: int, width: int, *, color: bool) -> str:
    if not count:
        return f"{_GAP:>{width}}"
    percent = round(100 * hits / count)
    text = f"({percent})" if count < min_attempts else str(percent)
    step = min(len(_SHADES) - 1, hits * len(_SHADES) // count)
    if color:
        return f"\x1b[48;5;{_COLOURS[step]};38;5;231m{text:>{width}}\x1b[0m"
    return f"{' ' if count < min_attempts else _SHADES[step]}{text:>{width - 1}}"
