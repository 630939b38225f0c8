"""Draws readings over time: SVG written directly, the same inside a page of HTML, or PNG through matplotlib.

Decides the picture only. Each column of pixels shows the highest value of its hours, so that no crash is lost by
drawing years in a thousand pixels, and a line through their medians. Files refer to nothing outside themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from math import isfinite
from pathlib import Path
from statistics import median

from tpctl.exits.units import Millis
from tpctl.views.png import new_figure, png_bytes

WIDTH, PANEL_HEIGHT = 1200, 240
_LEFT, _RIGHT, _TOP, _GAP, _BOTTOM = 60, 20, 50, 40, 40
_FILL, _LINE, _INK, _GRID = "#9ec5e8", "#1f4e79", "#222222", "#dddddd"
_WARNING, _CRITICAL, _MARK = "#d08a00", "#c02020", "#8a2be2"


@dataclass(frozen=True, slots=True)
class Curve:
    """One reading over time; NaN where it was not available. `top` is where its axis ends."""

    title: str
    values: Sequence[float]
    top: float
    warning: float
    critical: float


@dataclass(frozen=True, slots=True)
class Picture:
    """Curves over one time axis, and named times."""

    title: str
    at: Sequence[Millis]
    curves: tuple[Curve, ...]
    dates: tuple[tuple[str, Millis], ...]


@dataclass(frozen=True, slots=True)
class _Column:
    """What one column of pixels shows."""

    at: Millis
    highest: float
    middle: float


def draw(picture: Picture, path: Path) -> bytes:
    """Return the picture in the form the name of `path` asks for; raises `InputsError` without the `plot` extra."""
    if path.suffix == ".png":
        return _png(picture, path)
    drawn = svg(picture)
    if path.suffix == ".html":
        head = f'<head><meta charset="utf-8"><title>{escape(picture.title)}</title></head>'
        drawn = f'<!doctype html>\n<html lang="en">{head}\n<body style="margin:1em">\n{drawn}</body></html>\n'
    return drawn.encode()


def svg(picture: Picture) -> str:
    """Return the picture as a self-contained SVG element."""
    height = _TOP + len(picture.curves) * (PANEL_HEIGHT + _GAP) - _GAP + _BOTTOM
    attributes = f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" fill="{_INK}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {attributes}>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="15">{escape(picture.title)}</text>',
    ]
    for row, curve in enumerate(picture.curves):
        parts += _panel(picture, curve, _TOP + row * (PANEL_HEIGHT + _GAP))
    parts += _time_axis(picture, height - _BOTTOM)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(picture: Picture, curve: Curve, top: float) -> list[str]:
    bottom = top + PANEL_HEIGHT
    right = WIDTH - _RIGHT

    def y(value: float) -> float:
        return bottom - min(max(value / curve.top, 0.0), 1.0) * PANEL_HEIGHT

    parts = [f'<text x="{_LEFT}" y="{top - 6}">{escape(curve.title)}</text>']
    for step in range(5):
        value = curve.top * step / 4
        parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="{_GRID}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for run in _runs(_columns(picture.at, curve.values)):
        upper = " ".join(f"{_x(picture, c.at):.1f},{y(c.highest):.1f}" for c in run)
        first, last = _x(picture, run[0].at), _x(picture, run[-1].at)
        parts.append(f'<polygon points="{first:.1f},{bottom} {upper} {last:.1f},{bottom}" fill="{_FILL}"/>')
        middle = " ".join(f"{_x(picture, c.at):.1f},{y(c.middle):.1f}" for c in run)
        parts.append(f'<polyline points="{middle}" fill="none" stroke="{_LINE}" stroke-width="1"/>')
    for value, colour, word in ((curve.warning, _WARNING, "warning"), (curve.critical, _CRITICAL, "critical")):
        parts.append(
            f'<line x1="{_LEFT}" x2="{right}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="{colour}"'
            ' stroke-dasharray="6 3"/>'
        )
        parts.append(
            f'<text x="{right}" y="{y(value) - 3:.1f}" fill="{colour}" text-anchor="end">{word} {value:g}</text>'
        )
    for name, at in _inside(picture):
        x = _x(picture, at)
        line = f'x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"'
        parts.append(f'<line {line} stroke="{_MARK}" stroke-opacity="0.5"/>')
        anchor, shift = ("end", -3) if _late(picture, at) else ("start", 3)
        place = f'x="{x + shift:.1f}" y="{top + 12}" text-anchor="{anchor}"'
        parts.append(f'<text {place} fill="{_MARK}">{escape(name)}</text>')
    return parts


def _time_axis(picture: Picture, y: float) -> list[str]:
    parts = []
    for at, word in _ticks(picture.at[0], picture.at[-1]):
        x = _x(picture, at)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 5}" stroke="{_INK}"/>')
        parts.append(f'<text x="{x:.1f}" y="{y + 18}" text-anchor="middle">{word}</text>')
    return parts


def _x(picture: Picture, at: Millis) -> float:
    first, last = picture.at[0], picture.at[-1]
    return _LEFT + (at - first) / max(1, last - first) * (WIDTH - _LEFT - _RIGHT)


def _columns(times: Sequence[Millis], values: Sequence[float]) -> list[_Column | None]:
    """Return what each column of pixels shows; None where nothing was available."""
    count = min(WIDTH - _LEFT - _RIGHT, len(times))
    first, span = times[0], max(1, times[-1] - times[0])
    gathered: list[list[float]] = [[] for _ in range(count)]
    for at, value in zip(times, values, strict=True):
        if isfinite(value):
            gathered[min(count - 1, (at - first) * count // span)].append(value)
    return [
        _Column(first + span * (index + 1) // count, max(found), median(found)) if found else None
        for index, found in enumerate(gathered)
    ]


def _runs(columns: Sequence[_Column | None]) -> list[list[_Column]]:
    """Return the unbroken stretches; a single empty column is drawn over, since hours and pixels do not divide."""
    runs: list[list[_Column]] = []
    empty = 2
    for column in columns:
        if column is None:
            empty += 1
            continue
        if empty > 1:
            runs.append([])
        empty = 0
        runs[-1].append(column)
    return runs


def _inside(picture: Picture) -> list[tuple[str, Millis]]:
    return [(name, at) for name, at in picture.dates if picture.at[0] <= at <= picture.at[-1]]


def _late(picture: Picture, at: Millis) -> bool:
    """Whether a time lies so far right that its name would not fit after it."""
    return at - picture.at[0] > 0.9 * (picture.at[-1] - picture.at[0])


def _ticks(first: Millis, last: Millis) -> list[tuple[Millis, str]]:
    """Return the starts of months between two times, thinned to at most a dozen."""
    ticks = []
    start = datetime.fromtimestamp(first / 1000, UTC)
    month = start.year * 12 + start.month
    while True:
        moment = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
        at = int(moment.timestamp() * 1000)
        if at > last:
            break
        ticks.append((at, f"{moment:%Y-%m}"))
        month += 1
    return ticks[:: max(1, -(-len(ticks) // 12))]


def _png(picture: Picture, path: Path) -> bytes:
    figure = new_figure(path, 12, 3 * len(picture.curves) + 1)
    figure.suptitle(picture.title)
    panels = figure.subplots(len(picture.curves), 1, sharex=True, squeeze=False)[:, 0]
    for panel, curve in zip(panels, picture.curves, strict=True):
        for run in _runs(_columns(picture.at, curve.values)):
            times = [datetime.fromtimestamp(column.at / 1000, UTC) for column in run]
            panel.fill_between(times, [min(c.highest, curve.top) for c in run], color=_FILL, linewidth=0)
            panel.plot(times, [min(c.middle, curve.top) for c in run], color=_LINE, linewidth=0.8)
        panel.axhline(curve.warning, color=_WARNING, linestyle="--", linewidth=0.9)
        panel.axhline(curve.critical, color=_CRITICAL, linestyle="--", linewidth=0.9)
        for name, at in _inside(picture):
            moment = datetime.fromtimestamp(at / 1000, UTC)
            panel.axvline(moment, color=_MARK, linewidth=0.9, alpha=0.5)
            side = "right" if _late(picture, at) else "left"
            panel.annotate(name, (moment, curve.top), color=_MARK, fontsize=8, va="top", ha=side)
        panel.set_ylim(0, curve.top)
        panel.set_title(curve.title, loc="left", fontsize=10)
    return png_bytes(figure)
