"""Charts as SVG: the equity of exits, a heat map of hits, and what every chart is made of.

Decides drawing only; nothing in a chart is fetched. Colours come from CSS variables with fallbacks, so that a page may
set them and a bare file stands on its own. Floats are pixels here, never money.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from html import escape

from tpctl.exits.units import Millis
from tpctl.views.metrics_charts import HeatMap

_FONT = "font-family:ui-sans-serif,system-ui,sans-serif;font-size:11px"
INK = "var(--ink,#1c2330)"
FAINT = "var(--faint,#7a8699)"
GRID = "var(--grid,#e3e7ee)"
GOOD = "var(--good,#1f8a5b)"
BAD = "var(--bad,#c23b3b)"
LINE = "var(--line,#2b6cb0)"
# From no hits to only hits.
_RAMP = ("#a8323e", "#c9704b", "#d3a95a", "#8bae62", "#2f8a5d")

Point = tuple[Millis, Decimal]


def equity_svg(points: Sequence[Point], width: int = 860, height: int = 240) -> str:
    """Return the running profit of exits in time as a step line, with zero marked."""
    if not points:
        return note("no exits yet", width)
    frame = Frame(points, width, height, extra=(Decimal(0),))
    path = "".join(
        f"{'M' if number == 0 else 'H'}{frame.x(at):.1f}"
        + (f" {frame.y(value):.1f}" if number == 0 else f"V{frame.y(value):.1f}")
        for number, (at, value) in enumerate(points)
    )
    zero = frame.y(Decimal(0))
    end = points[-1]
    paint = GOOD if end[1] >= 0 else BAD
    area = f"{path}V{zero:.1f}H{frame.x(points[0][0]):.1f}Z"
    body = [
        *frame.grid(),
        f'<path d="{area}" fill="{paint}" opacity="0.12"/>',
        f'<line x1="{frame.left}" x2="{frame.right:.1f}" y1="{zero:.1f}" y2="{zero:.1f}" stroke="{FAINT}"/>',
        f'<path d="{path}" fill="none" stroke="{paint}" stroke-width="1.6"/>',
        f'<circle cx="{frame.x(end[0]):.1f}" cy="{frame.y(end[1]):.1f}" r="3" fill="{paint}"/>',
    ]
    return svg_of(body, width, height, f"running profit of exits, {end[1]:+.2f} USD at the end")


def heat_svg(heat: HeatMap, min_attempts: int, width: int = 860) -> str:
    """Return a heat map of hits; places of few attempts are pale, places without any are empty."""
    if not heat.rows or not heat.columns:
        return note("no attempts yet", width)
    left, top, high = 14 + 8 * max(map(len, heat.rows)), 24, 22
    wide = (width - left - 4) / len(heat.columns)
    body = [
        f'<text x="{left + (c + 0.5) * wide:.1f}" y="15" text-anchor="middle" fill="{FAINT}">{escape(name)}</text>'
        for c, name in enumerate(heat.columns)
    ]
    for r, name in enumerate(heat.rows):
        y = top + r * high
        body.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end" fill="{INK}">{escape(name)}</text>')
        for c in range(len(heat.columns)):
            body += _heat_place(heat.at(r, c), (left + c * wide, y, wide - 2, high - 2), min_attempts)
    return svg_of(body, width, top + high * len(heat.rows) + 4, f"heat map: {heat.title}")


def _heat_place(counts: tuple[int, int], box: tuple[float, float, float, float], min_attempts: int) -> list[str]:
    x, y, wide, high = box
    count, hits = counts
    if not count:
        return [f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{high}" fill="none" stroke="{GRID}"/>']
    paint = _RAMP[min(len(_RAMP) - 1, hits * len(_RAMP) // count)]
    few = count < min_attempts
    text = f"{round(100 * hits / count)}" if wide >= 22 else ""
    ink = INK if few else "#fff"
    place = f'x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{high}" rx="2"'
    words = f"<title>{hits} of {count} hit</title>"
    middle = f'x="{x + wide / 2:.1f}" y="{y + 14}" text-anchor="middle"'
    return [
        f'<rect {place} fill="{paint}" opacity="{0.28 if few else 1}">{words}</rect>',
        f'<text {middle} fill="{ink}" pointer-events="none">{text}</text>',
    ]


class Frame:
    """Where times and values are drawn."""

    def __init__(
        self, points: Sequence[Point], width: int, height: int, *, extra: Sequence[Decimal] = (), right: int = 12
    ) -> None:
        values = [float(value) for _, value in points] + [float(value) for value in extra]
        self.left, self.right = 58, float(width - right)
        self.top, self.bottom = 10.0, float(height - 22)
        self._start, self._end = points[0][0], max(points[-1][0], points[0][0] + 1)
        low, high = min(values), max(values)
        pad = (high - low) * 0.06 or abs(high) * 0.01 or 1.0
        self._low, self._high = low - pad, high + pad

    def x(self, at: Millis) -> float:
        """Return the place of a time."""
        share = (at - self._start) / (self._end - self._start)
        return self.left + share * (self.right - self.left)

    def y(self, value: Decimal) -> float:
        """Return the place of a value."""
        share = (float(value) - self._low) / (self._high - self._low)
        return self.bottom - share * (self.bottom - self.top)

    def grid(self) -> list[str]:
        """Return lines at round values, and the times at both ends."""
        lines = []
        for value in _round_values(self._low, self._high):
            y = self.y(value)
            lines += [
                f'<line x1="{self.left}" x2="{self.right:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>',
                f'<text x="{self.left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="{FAINT}">{value:,f}</text>',
            ]
        # The year is left out where both ends would not fit beside each other.
        form = "%Y-%m-%d %H:%M" if self.right - self.left > 250 else "%m-%d %H:%M"
        for at, anchor, x in ((self._start, "start", float(self.left)), (self._end, "end", self.right)):
            moment = f"{datetime.fromtimestamp(at / 1000, UTC):{form}}"
            lines.append(
                f'<text x="{x:.1f}" y="{self.bottom + 16:.1f}" text-anchor="{anchor}" fill="{FAINT}">{moment}</text>'
            )
        return lines


def _round_values(low: float, high: float) -> list[Decimal]:
    """Return the multiples of 1, 2 or 5 times a power of ten between two values, some three to five of them."""
    span = Decimal(repr(high - low)) / 5
    power = Decimal(1).scaleb(span.adjusted())
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= span)
    first = int((Decimal(repr(low)) / step).to_integral_value(ROUND_CEILING))
    last = int((Decimal(repr(high)) / step).to_integral_value(ROUND_FLOOR))
    return [number * step if number else Decimal(0) for number in range(first, last + 1)]


def note(text: str, width: int) -> str:
    """Return words in the place of a chart."""
    return svg_of([f'<text x="8" y="20" fill="{FAINT}">{escape(text)}</text>'], width, 32, text)


def svg_of(body: Sequence[str], width: int, height: int, label: str) -> str:
    """Return a chart of its parts; the label is for those who cannot see it."""
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    looks = f'style="{_FONT};max-width:100%;height:auto"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(label)}" {looks}>'
    return f"{head}{''.join(body)}</svg>"


def alone(svg: str, styles: Mapping[str, str] | None = None) -> str:
    """Return a chart as a file of its own."""
    given = "".join(f"{name}:{value};" for name, value in (styles or {"background": "#fff"}).items())
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + svg.replace('style="', f'style="{given}', 1) + "\n"
