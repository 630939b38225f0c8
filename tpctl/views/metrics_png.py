"""The charts of `metrics --plot` as PNG: the heat map and the equity of exits, as `metrics_svg` draws them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tpctl.exits.units import Millis
from tpctl.views.metrics_charts import HeatMap
from tpctl.views.png import new_figure, png_bytes

_RAMP = ("#a8323e", "#c9704b", "#d3a95a", "#8bae62", "#2f8a5d")
_GOOD, _BAD, _GRID, _INK = "#1f8a5b", "#c23b3b", "#e3e7ee", "#1c2330"


def heat_png(heat: HeatMap, min_attempts: int, path: Path) -> bytes:
    """Return a heat map of hits in percent; places of few attempts are pale, places without any empty."""
    figure = new_figure(path, max(6.0, 1.6 + 0.55 * len(heat.columns)), max(2.0, 1.2 + 0.35 * len(heat.rows)))
    panel = figure.subplots()
    panel.set_title(f"hits in %, {heat.title}", loc="left", fontsize=10)
    for row in range(len(heat.rows)):
        for column in range(len(heat.columns)):
            count, hits = heat.at(row, column)
            place = (column - 0.47, row - 0.47)
            few = count < min_attempts
            if not count:
                panel.add_patch(_box(place, facecolor="none", edgecolor=_GRID))
                continue
            paint = _RAMP[min(len(_RAMP) - 1, hits * len(_RAMP) // count)]
            panel.add_patch(_box(place, facecolor=paint, alpha=0.28 if few else 1.0))
            words = f"{round(100 * hits / count)}"
            panel.text(column, row, words, ha="center", va="center", fontsize=8, color=_INK if few else "white")
    panel.set_xlim(-0.5, max(0.5, len(heat.columns) - 0.5))
    panel.set_ylim(max(0.5, len(heat.rows) - 0.5), -0.5)
    panel.set_xticks(range(len(heat.columns)), heat.columns, fontsize=8)
    panel.set_yticks(range(len(heat.rows)), heat.rows, fontsize=8)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    return png_bytes(figure)


def _box(place: tuple[float, float], **look: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(place, 0.94, 0.94, **look)


def equity_png(points: Sequence[tuple[Millis, Decimal]], path: Path) -> bytes:
    """Return the running profit of exits in time as a step line, with zero marked."""
    figure = new_figure(path, 10, 3.2)
    panel = figure.subplots()
    end = points[-1][1] if points else Decimal(0)
    panel.set_title(f"running profit of exits, {end:+.2f} USD at the end" if points else "no exits yet", loc="left")
    if points:
        # matplotlib's annotations know no dates, its axes do.
        times: Any = [datetime.fromtimestamp(at / 1000, UTC) for at, _ in points]
        values = [float(value) for _, value in points]
        paint = _GOOD if end >= 0 else _BAD
        panel.step(times, values, where="post", color=paint, linewidth=1.4)
        panel.fill_between(times, values, step="post", color=paint, alpha=0.12, linewidth=0)
    panel.axhline(0, color="#7a8699", linewidth=0.8)
    panel.grid(visible=True, color=_GRID)
    panel.spines[["top", "right"]].set_visible(False)
    return png_bytes(figure)
