"""The live table `watch` keeps on a terminal: a head line, the positions, and the last lines of the story.

Drawing happens on rich's own thread, at most four times a second: `tell` and `show` only store what to draw, so that
the engine never waits for a terminal. Survives 80 columns by shortening, never by hiding a column.
"""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from threading import Lock

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import Note
from tpctl.exits.units import plain, trimmed
from tpctl.views.lines import Tone, clean, line, significant_places, told, tone
from tpctl.views.streams import Streams
from tpctl.views.view import NextTarget, PositionRow, Protection, WatchView

REFRESH_PER_SECOND = 4
_WIDE = 120
_BAR = 8
_LEAST_STORY = 4
_KEPT_LINES = 200

_STYLES = {
    Tone.PLAIN: "",
    Tone.QUIET: "dim",
    Tone.GAIN: "green",
    Tone.LOSS: "red",
    Tone.CAUTION: "yellow",
    Tone.ALARM: "bold red",
}


class TableStory:
    """Tells the story below a table that redraws in place; the last picture stays on the terminal."""

    def __init__(self, streams: Streams, *, quiet: bool = False, verbose: bool = False) -> None:
        self._console = Console(
            file=streams.out, force_terminal=streams.terminal, no_color=not streams.color, highlight=False
        )
        self._quiet = quiet
        self._verbose = verbose
        self._lock = Lock()
        self._view: WatchView | None = None
        self._lines: deque[tuple[str, Tone]] = deque(maxlen=_KEPT_LINES)
        self._live = Live(
            console=self._console,
            get_renderable=self._picture,
            refresh_per_second=REFRESH_PER_SECOND,
            vertical_overflow="crop",
        )

    def open(self) -> None:
        """Take the terminal."""
        self._live.start()

    def tell(self, note: Note, seq: int) -> None:  # noqa: ARG002 - lines carry no numbers
        """Keep the event's line for the next drawing."""
        if told(note.kind, quiet=self._quiet, verbose=self._verbose):
            # Why a plan is as it is takes ten lines; the journal and plain lines have them.
            lines = line(note).split("\n")
            with self._lock:
                self._lines.extend((text, tone(note)) for text in (lines if self._verbose else lines[:1]))

    def show(self, view: WatchView) -> None:
        """Keep the state for the next drawing."""
        with self._lock:
            self._view = view

    def close(self) -> None:
        """Draw once more and give the terminal back."""
        self._live.stop()

    def _picture(self) -> RenderableType:
        with self._lock:
            view, lines = self._view, list(self._lines)
        width, height = self._console.size
        return picture(view, lines, width, height)


def picture(view: WatchView | None, lines: list[tuple[str, Tone]], width: int, height: int) -> RenderableType:
    """Return what fits a terminal of this size: head, table, and as many of the newest lines as there is room for."""
    parts: list[RenderableType] = []
    used = 1
    if view is not None:
        parts += [head(view), table(view.positions, width)]
        used += len(view.positions) + 4
    room = max(height - used, _LEAST_STORY)
    parts += [Text(text, style=_STYLES[meaning], no_wrap=True, overflow="ellipsis") for text, meaning in lines[-room:]]
    return Group(*parts)


def head(view: WatchView) -> Text:
    """Return the head line: market time, profile, environment, mode, and the banner where there is one."""
    clock = f"{datetime.fromtimestamp(view.at // 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("tpctl watch", style="bold")
    text.append(f"  {clock}  profile {clean(view.profile)}  ")
    text.append(f"{view.env} ", style="bold red" if view.env == "live" else "bold")
    text.append(view.mode, style="bold yellow" if view.mode == "armed" and view.env != "sim" else "bold")
    if view.banner:
        text.append(f"  {clean(view.banner)}", style="bold red")
    return text


def table(rows: tuple[PositionRow, ...], width: int) -> Table:
    """Return the table of positions; below 120 columns headings, sides and progress are written shorter."""
    wide = width >= _WIDE
    grid = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0), expand=False, header_style="dim")
    grid.add_column("symbol", no_wrap=True, overflow="ellipsis", max_width=10 if rows and not wide else None)
    grid.add_column("side" if wide else "", no_wrap=True)
    for name in ("qty", "entry", "mark", "PnL", "lev", "stop"):
        grid.add_column(name, justify="right", no_wrap=True, overflow="ellipsis")
    grid.add_column("next TP", no_wrap=True, overflow="ellipsis")
    grid.add_column("trail", justify="right", no_wrap=True)
    grid.add_column("protection" if wide else "prot", no_wrap=True, overflow="ellipsis")
    for row in rows:
        grid.add_row(*_cells(row, wide=wide))
    if not rows:
        grid.add_row(Text("no open position", style="dim", no_wrap=True))
    return grid


def _cells(row: PositionRow, *, wide: bool) -> list[Text]:
    long = row.key.side is PositionSide.LONG
    side = row.key.side.value.upper()
    bare = row.protection is Protection.NONE
    return [
        Text(clean(row.key.symbol)),
        Text(side if wide else side[0], style="green" if long else "red"),
        Text(plain(row.quantity)),
        Text(trimmed(row.entry, significant_places(row.entry))),
        _known(row.mark, plain),
        _pnl(row.pnl),
        _known(row.leverage, lambda value: f"{trimmed(value)}x"),
        Text("none", style="bold red") if row.stop is None else Text(plain(row.stop)),
        _target(row.target, wide=wide),
        Text("-") if row.trail is None else Text(str(row.trail)),
        Text(row.protection.value, style="bold red" if bare else ""),
    ]


def _known(value: Decimal | Unavailable, show: Callable[[Decimal], str]) -> Text:
    return Text("n/a", style="dim") if isinstance(value, Unavailable) else Text(show(value))


def _pnl(value: Decimal | Unavailable) -> Text:
    if isinstance(value, Unavailable):
        return Text("n/a", style="dim")
    return Text(f"{value:+.2f}", style="red" if value < 0 else "green")


def _target(target: NextTarget | None, *, wide: bool) -> Text:
    if target is None:
        return Text("-")
    share = min(max(target.progress, Decimal(0)), Decimal(1))
    percent = f"{int(share * 100):>3}%"
    if not wide:
        return Text(f"TP{target.leg}{percent}")
    full = int(share * _BAR)
    bar = "█" * full + "░" * (_BAR - full)
    return Text(f"TP{target.leg}/{target.legs} {plain(target.trigger)} {bar}{percent}")
