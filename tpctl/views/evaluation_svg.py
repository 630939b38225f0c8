"""Charts of an evaluation as SVG: running R, gains with their intervals, what the bonus buys, the outcomes' spread.

Decides drawing only; nothing in them is fetched. Colours come from CSS variables with fallbacks.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tpctl.market.evaluation import Curve, Slice, TrialRow


WIDTH = 860
_FONT = "font-family:ui-sans-serif,system-ui,sans-serif;font-size:11px"
_INK, _FAINT, _GRID = "var(--ink,#1c2330)", "var(--faint,#66728a)", "var(--grid,#e3e7ee)"
_GOOD, _BAD, _LINE = "var(--good,#1f8a5b)", "var(--bad,#c23b3b)", "var(--line,#2b6cb0)"
# Told apart by people who see fewer colours (Okabe and Ito); the first two are the candidate and the incumbent.
_PALETTE = (
    "#d55e00",
    "#0072b2",
    "#999999",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8c6d31",
    "#5b5ea6",
    "#b22222",
)
_LEFT, _TOP, _BOTTOM = 58.0, 14.0, 26.0


def curves_svg(curves: Sequence["Curve"], height: int = 300) -> str:
    """Return the running sum of R of each policy in time; the first two are drawn stronger."""
    right, bottom = WIDTH - 204.0, height - _BOTTOM
    start, end = min(int(one.at[0]) for one in curves), max(int(one.at[-1]) for one in curves)
    low = min(0.0, *(float(one.total.min()) for one in curves))
    high = max(0.0, *(float(one.total.max()) for one in curves))

    def x(at: float) -> float:
        return _LEFT + (at - start) / max(end - start, 1) * (right - _LEFT)

    def y(value: float) -> float:
        return bottom - (value - low) / max(high - low, 1e-9) * (bottom - _TOP)

    body = _levels(low, high, y, (_LEFT, right))
    for at, anchor in ((start, "start"), (end, "end")):
        day = f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d}"
        body.append(_text(x(at), height - 8, day, anchor=anchor))
    taken: list[float] = []
    order = sorted(range(len(curves)), key=lambda number: -float(curves[number].total[-1]))
    for number in reversed(range(len(curves))):
        one, strong = curves[number], number < 2
        points = " ".join(
            f"{x(float(at)):.1f},{y(float(total)):.1f}" for at, total in zip(one.at, one.total, strict=True)
        )
        body.append(
            f'<polyline points="{points}" fill="none" stroke="{_PALETTE[number % len(_PALETTE)]}" '
            f'stroke-width="{2.2 if strong else 1.1}" opacity="{1 if strong else 0.75}"/>'
        )
    for number in order:
        one = curves[number]
        place = y(float(one.total[-1])) + 4
        while any(abs(place - other) < 12 for other in taken):
            place += 1
        taken.append(place)
        body.append(
            _text(right + 6, place, f"{one.name} {float(one.total[-1]):+.0f}", _PALETTE[number % len(_PALETTE)])
        )
    return _svg(body, int(max(height, *taken) + 8), "running sum of net R out of sample")


def gains_svg(slices: Sequence["Slice"], label: str) -> str:
    """Return the gain over the incumbent of each slice with its 95 % interval, zero marked."""
    left, right, row = 210.0, WIDTH - 70.0, 20.0
    height = int(_TOP + row * len(slices) + _BOTTOM)
    low = min(0.0, *(one.gain.low for one in slices))
    high = max(0.0, *(one.gain.high for one in slices))

    def x(value: float) -> float:
        return left + (value - low) / max(high - low, 1e-9) * (right - left)

    body = [f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="{_TOP}" y2="{height - _BOTTOM}" stroke="{_FAINT}"/>']
    body += [_text(x(value), height - 8, f"{value:+.3f} R", anchor="middle") for value in sorted({low, 0.0, high})]
    for number, one in enumerate(slices):
        y = _TOP + row * (number + 0.5)
        paint = _GOOD if one.gain.low > 0 else _BAD if one.gain.high < 0 else _LINE
        body += [
            _text(left - 8, y + 4, one.name, anchor="end", paint=_INK),
            _line(x(one.gain.low), x(one.gain.high), y, paint, 2),
            f'<circle cx="{x(one.gain.mean):.1f}" cy="{y:.1f}" r="3.5" fill="{paint}"/>',
            _text(right + 8, y + 4, f"{one.gain.mean:+.4f}"),
        ]
    return _svg(body, height, f"gain over the incumbent by {label}, 95 % intervals")


def bonus_svg(trials: Sequence["TrialRow"], incumbent: tuple[float, float], height: int = 260) -> str:
    """Return hit rate against net R of each configuration, and of the incumbent as (R, hit rate)."""
    points = [(one.name, one.hit_rate, one.mean) for one in trials] + [("incumbent", incumbent[1], incumbent[0])]
    measured = [(hits, mean) for _, hits, mean in points]
    right, bottom = WIDTH - 20.0, height - _BOTTOM - 10
    lows = [min(point[axis] for point in measured) for axis in (0, 1)]
    highs = [max(point[axis] for point in measured) for axis in (0, 1)]
    pads = [0.12 * max(high - low, 1e-3) for low, high in zip(lows, highs, strict=True)]

    def x(value: float) -> float:
        return _LEFT + (value - lows[0] + pads[0]) / (highs[0] - lows[0] + 2 * pads[0]) * (right - 170 - _LEFT)

    def y(value: float) -> float:
        return bottom - (value - lows[1] + pads[1]) / (highs[1] - lows[1] + 2 * pads[1]) * (bottom - _TOP)

    body = _levels(lows[1] - pads[1], highs[1] + pads[1], y, (_LEFT, right), digits=4)
    body.append(_text((right + _LEFT) / 2, height - 6, "share of exits that take the zone", anchor="middle"))
    body += [_text(x(value), bottom + 14, f"{value:.1%}", anchor="middle") for value in (lows[0], highs[0])]
    taken: list[float] = []
    for number, (name, hits, mean) in sorted(enumerate(points), key=lambda one: -one[1][2]):
        paint = _INK if name == "incumbent" else _PALETTE[number % len(_PALETTE)]
        place = y(mean) + 4
        while any(abs(place - other) < 12 for other in taken):
            place += 1
        taken.append(place)
        body += [
            f'<circle cx="{x(hits):.1f}" cy="{y(mean):.1f}" r="4.5" fill="{paint}"/>',
            _text(x(hits) + 8, place, name, paint),
        ]
    return _svg(body, height, "what the bonus does: hit rate and net R of each configuration")


def spread_svg(candidate: Sequence[float], incumbent: Sequence[float], height: int = 190) -> str:
    """Return how the outcomes of both are spread, in tenths of R from -2 to 4; the outermost hold the rest."""
    counts = [_binned(values) for values in (candidate, incumbent)]
    top, right, bottom = max(map(max, counts)), WIDTH - 20.0, height - _BOTTOM
    wide = (right - _LEFT) / _BINS
    body = []
    for number, one in enumerate(counts):
        tops = [bottom - count / top * (bottom - _TOP) for count in one]
        path = f"M{_LEFT} {tops[0]:.1f}" + "".join(f"V{place:.1f}h{wide:.2f}" for place in tops)
        fill = f"{path}V{bottom:.1f}H{_LEFT}Z"
        body.append(f'<path d="{fill}" fill="{_PALETTE[number]}" opacity="0.18"/>')
        body.append(f'<path d="{path}" fill="none" stroke="{_PALETTE[number]}" stroke-width="1.4"/>')
        body.append(
            _text(right - 4, _TOP + 12 + 14 * number, ("candidate", "incumbent")[number], _PALETTE[number], "end")
        )
    for value in range(-2, 5):
        place = _LEFT + (value + 2) / 6 * (right - _LEFT)
        body.append(_text(place, height - 8, f"{value:+d} R", anchor="middle"))
    body.append(f'<line x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}" stroke="{_FAINT}"/>')
    return _svg(body, height, "outcomes of candidate and incumbent in net R")


_BINS = 60


def _binned(values: Sequence[float]) -> list[int]:
    counts = [0] * _BINS
    for value in values:
        counts[min(max(int((value + 2.0) * 10.0), 0), _BINS - 1)] += 1
    return counts


def _levels(
    low: float, high: float, y: "Callable[[float], float]", across: tuple[float, float], digits: int = 0
) -> list[str]:
    """Return five lines with their values, and zero where it lies between them."""
    left, right = across
    lines = []
    for value in (low + (high - low) * part / 4 for part in range(5)):
        lines += [
            _line(left, right, y(value), _GRID),
            _text(left - 6, y(value) + 4, f"{value:+.{digits}f}", anchor="end"),
        ]
    if low < 0 < high:
        lines.append(_line(left, right, y(0), _FAINT))
    return lines


def _line(left: float, right: float, y: float, paint: str, width: float = 1) -> str:
    ends = f'x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"'
    return f'<line {ends} stroke="{paint}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, paint: str = _FAINT, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{paint}">{escape(text)}</text>'


def _svg(body: Sequence[str], height: int, label: str) -> str:
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(label)}" '
    return f'{head}style="{_FONT};max-width:100%;height:auto">{"".join(body)}</svg>'
