"""One trade as SVG: the price it saw, its levels, where its stop stood, and where it was closed.

Decides drawing only. Nothing that is not on record is drawn: marks are dots joined by a line, candles are a band from
the lowest to the highest price with a line through the last ones, and what came after the exit is shaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape

from tpctl.exits.settlement import Stretch
from tpctl.exits.units import Millis, trimmed
from tpctl.views.metrics_svg import BAD, FAINT, GOOD, INK, LINE, Frame, Point, note, svg_of

LEVEL_COLOURS = {"entry": INK, "stop": BAD, "target": GOOD}
_LABEL_HEIGHT = 11


@dataclass(frozen=True, slots=True)
class Path:
    """What one trade went through: marks on record, coarse candles, where the stop stood from when on, its exits.

    `closed_at` is when it was flat.
    """

    marks: tuple[Point, ...]
    stretches: tuple[Stretch, ...]
    stops: tuple[Point, ...]
    exits: tuple[Point, ...]
    closed_at: Millis


def trade_svg(path: Path, levels: Sequence[tuple[str, str, Decimal]], width: int = 860, height: int = 240) -> str:
    """Return one trade with its levels as (kind, label, price), the kinds being those of `LEVEL_COLOURS`."""
    seen = _seen(path)
    if not seen or not levels:
        return note("no price path is on record", width)
    prices = tuple(price for _, _, price in levels) + tuple(price for _, price in path.stops)
    frame = Frame(sorted(seen), width, height, extra=prices, right=116)
    body = [*_after(path, frame), *frame.grid(), *_levels(levels, frame)]
    if path.stretches:
        body += _candles(path.stretches, frame)
    if len(path.stops) > 1:
        steps = "".join(f"H{frame.x(at):.1f}V{frame.y(price):.1f}" for at, price in path.stops[1:])
        line = f"M{frame.x(path.stops[0][0]):.1f} {frame.y(path.stops[0][1]):.1f}{steps}H{frame.x(path.closed_at):.1f}"
        body.append(f'<path d="{line}" fill="none" stroke="{BAD}" stroke-width="1.6"/>')
    if len(path.marks) > 1 and not path.stretches:
        line = "M" + "L".join(f"{frame.x(at):.1f} {frame.y(price):.1f}" for at, price in path.marks)
        body.append(f'<path d="{line}" fill="none" stroke="{INK}" stroke-width="1.2" opacity="0.75"/>')
    body += [
        f'<circle cx="{frame.x(at):.1f}" cy="{frame.y(price):.1f}" r="4" fill="{LINE}" stroke="#fff">'
        f"<title>exit at {trimmed(price)}</title></circle>"
        for at, price in path.exits
    ]
    return svg_of(body, width, height, "price path of one trade with its levels")


def _seen(path: Path) -> list[Point]:
    points = [*path.marks, *path.stops[:1], *path.exits]
    for part in path.stretches:
        points += [(part.since, part.low[0]), (part.since + part.step_ms * len(part.last), part.last[-1])]
        points += [(part.since, price) for price in (min(part.low), max(part.high))]
    return points


def _after(path: Path, frame: Frame) -> list[str]:
    """Return the shade over what came after the exit."""
    x = frame.x(path.closed_at)
    if frame.right - x < 1:
        return []
    place = f'x="{x:.1f}" y="{frame.top:.1f}" width="{frame.right - x:.1f}" height="{frame.bottom - frame.top:.1f}"'
    words = f'<text x="{frame.right - 4:.1f}" y="{frame.bottom - 5:.1f}" text-anchor="end" fill="{FAINT}">after</text>'
    return [f'<rect {place} fill="{FAINT}" opacity="0.1"/>', words]


def _levels(levels: Sequence[tuple[str, str, Decimal]], frame: Frame) -> list[str]:
    body = []
    ordered = sorted(levels, key=lambda level: -level[2])
    places = _apart([frame.y(price) + 4 for _, _, price in ordered], frame.bottom + 4)
    for (kind, label, price), text_y in zip(ordered, places, strict=True):
        y, paint = frame.y(price), LEVEL_COLOURS[kind]
        dash = "" if kind == "entry" else ' stroke-dasharray="5 4"'
        body += [
            f'<line x1="{frame.left}" x2="{frame.right:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{paint}"{dash}/>',
            f'<text x="{frame.right + 6:.1f}" y="{text_y:.1f}" fill="{paint}">{escape(label)} {trimmed(price)}</text>',
        ]
    return body


def _apart(places: Sequence[float], lowest: float) -> list[float]:
    """Return the places of labels, top to bottom, moved so that none covers another; lines stay at their prices."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + _LABEL_HEIGHT) if found else place)
    for number in range(len(found) - 1, -1, -1):
        found[number] = min(found[number], lowest)
        lowest = found[number] - _LABEL_HEIGHT
    return found


def _candles(stretches: Sequence[Stretch], frame: Frame) -> list[str]:
    body, line = [], []
    for part in stretches:
        # The band has a step's extremes at its middle, and reaches both ends of the stretch so that neighbours meet.
        starts = [part.since, *(part.since + n * part.step_ms + part.step_ms // 2 for n in range(len(part.last)))]
        xs = [frame.x(at) for at in (*starts, part.since + len(part.last) * part.step_ms)]
        there, back = (
            [f"{x:.1f} {frame.y(price):.1f}" for x, price in zip(xs, (side[0], *side, side[-1]), strict=True)]
            for side in (part.high, part.low)
        )
        body.append(f'<path d="M{"L".join([*there, *reversed(back)])}Z" fill="{INK}" opacity="0.16"/>')
        line += [
            f"{frame.x(part.since + (number + 1) * part.step_ms):.1f} {frame.y(price):.1f}"
            for number, price in enumerate(part.last)
        ]
    body.append(f'<path d="M{"L".join(line)}" fill="none" stroke="{INK}" stroke-width="1.3" opacity="0.8"/>')
    return body
