"""The terminal side of the dashboard, on Textual: it paints lines that changed, and hands keys to `controls`.

The only importer of Textual. It runs in a process of its own, so nothing here can delay or end the engine.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tpctl.views.dashboard.board import Board
from tpctl.views.dashboard.controls import Asked, Controls, press, shown
from tpctl.views.dashboard.frame import frame
from tpctl.views.dashboard.theme import Theme

LOOK_S = 0.5


class Canvas(Widget):
    """Lines of text over the whole terminal; only those that differ from the last ones are painted again."""

    DEFAULT_CSS = "Canvas { width: 100%; height: 100%; background: ansi_default; color: ansi_default; }"

    def __init__(self, fitted: Callable[[], None]) -> None:
        super().__init__()
        self._fitted = fitted
        self._lines: list[Text] = []
        self._strips: list[Strip] = []

    def show(self, lines: list[Text]) -> None:
        """Put these lines on screen."""
        if len(lines) != len(self._lines):
            self._lines = lines
            self._strips = [self._strip(line) for line in lines]
            self.refresh()
            return
        width = self.size.width
        for at, (old, new) in enumerate(zip(self._lines, lines, strict=True)):
            if old.plain != new.plain or old.spans != new.spans or old.style != new.style:
                self._strips[at] = self._strip(new)
                self.refresh(Region(0, at, width, 1))
        self._lines = lines

    def on_resize(self, event: events.Resize) -> None:
        """Fit a new size."""
        del event
        self._fitted()

    def _strip(self, line: Text) -> Strip:
        return Strip(line.render(self.app.console))

    def render_line(self, y: int) -> Strip:
        """Return one line of the screen."""
        width = self.size.width
        if y >= len(self._strips):
            return Strip.blank(width)
        return self._strips[y].adjust_cell_length(width)


class Dashboard(App[str]):
    """Shows what `look` returns, every half second, and passes on what the operator asks.

    `ask` returns a sentence about what became of it, None to leave. `ended` tells whether to leave, and why.
    """

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []
    CSS = "Screen { background: ansi_default; color: ansi_default; }"

    def __init__(
        self,
        look: Callable[[], Board],
        ask: Callable[[Asked], str | None],
        ended: Callable[[], str | None],
        *,
        theme: Theme,
        read_only: bool,
        every_s: float = LOOK_S,
    ) -> None:
        super().__init__(ansi_color=True)
        self._look = look
        self._ask = ask
        self._ended_by = ended
        self._looks = theme
        self._every_s = every_s
        self.controls = Controls(read_only=read_only)
        self._board: Board | None = None
        self._canvas = Canvas(self.paint)
        self.failure: Exception | None = None

    def compose(self) -> ComposeResult:
        """Return the one widget there is."""
        yield self._canvas

    def on_mount(self) -> None:
        """Begin to look."""
        self.set_interval(self._every_s, self.look)
        self.call_after_refresh(self.look)

    def look(self) -> None:
        """Look at the watch and paint what changed."""
        reason = self._ended_by()
        if reason is not None:
            self.exit(reason)
            return
        self._board = self._look()
        self.paint()

    def paint(self) -> None:
        """Paint the board as the operator wants to see it."""
        width, height = self._canvas.size
        if self._board is not None and width and height:
            self._canvas.show(frame(self._board, self.controls, width, height, self._looks))

    async def on_event(self, event: events.Event) -> None:
        """Take every key before Textual's own bindings do: all of them are the operator's."""
        if isinstance(event, events.Key) and self._board is not None and not event.is_forwarded:
            self._press(event)
            return
        await super().on_event(event)

    def _handle_exception(self, error: Exception) -> None:
        """Leave for an error nobody handled, without the crash screen: it shows local variables (I20)."""
        super()._handle_exception(error)
        self.failure = self.failure or error
        self._exit_renderables.clear()

    def _press(self, event: events.Key) -> None:
        board = self._board
        if board is None:
            return
        rows = shown(board.rows, self.controls)
        self.controls, asked = press(self.controls, rows, board.vitals, event.key, event.character)
        if asked is not None:
            said = self._ask(asked)
            if said is None:
                self.exit(asked.act.value)
                return
            self.controls = self._saying(said)
        self.paint()

    def _saying(self, words: str) -> Controls:
        return replace(self.controls, message=words) if words else self.controls


def run(app: Dashboard) -> str | None:
    """Run until the operator leaves or the watch ends; return why. Raises what went wrong inside."""
    reason = asyncio.run(app.run_async(mouse=False))
    if app.failure is not None:
        raise app.failure
    if app.return_code:
        raise RuntimeError("the dashboard failed")
    return reason
