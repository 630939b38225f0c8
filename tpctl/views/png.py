"""Pictures as PNG, through matplotlib: the canvas every drawing takes, and its bytes. The `plot` extra."""

from pathlib import Path
from typing import TYPE_CHECKING

from tpctl.exits.errors import InputsError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(path: Path, width: float, height: float) -> "Figure":
    """Return an empty figure of that many inches; raises `InputsError` without the extra, naming `path`."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputsError(
            f"drawing {str(path)!r} needs the plot extra", "install it: pip install 'tpctl[plot]', or name a .svg file"
        ) from None
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: "Figure") -> bytes:
    """Return the figure as a PNG; the same figure gives the same bytes."""
    import io

    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": "tpctl"})
    return out.getvalue()
