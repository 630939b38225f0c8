"""What signals mean to a running watch. Handlers only take note; everything is done by the loop, between two events.

INT and TERM end it after what is in flight, and a second INT at once, even where the loop hangs: what was under way is
looked up at the next start. HUP reads the configuration again, save where it came because the terminal went away: then
nobody asked for anything, and the guarding goes on in silence. USR1 tells and writes how everything stands.
"""

import asyncio
import os
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from tpctl.cli.telling import Teller
from tpctl.exits.errors import ExitCode

_ENDS = {
    signal.SIGINT: ("interrupted", ExitCode.INTERRUPTED),
    signal.SIGTERM: ("terminated", ExitCode.TERMINATED),
}
# The shell, the kernel and the terminal all send HUP when a terminal goes; those that follow so soon are the same one.
_SAME_HANGUP_S = 5.0
TERMINAL_GONE = "the terminal is gone; positions stay guarded, 'tpctl watch --attach' shows them from another one"


class Signals:
    """The signals of one run: heard from `listening` on, acted on once there is something to act on."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller
        self._leave: Callable[[str], None] | None = None
        self._reload: Callable[[], None] = lambda: None
        self._snapshot: Callable[[], None] = lambda: None
        self._lost: Callable[[], None] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[int] = []
        self._terminals = [number for number in (0, 1, 2) if os.isatty(number)]
        self._terminal_out = sys.stdout.isatty()
        self._hung_up_at: float | None = None
        self._leaving = False
        self.code: ExitCode | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take HUP and USR1 for as long as the context lasts: from the start, when they would still kill."""
        self._loop = asyncio.get_running_loop()
        # Giving the terminal back from the background would stop the process, and with it the guarding.
        with _handling({signal.SIGHUP: self._hear, signal.SIGUSR1: self._hear, signal.SIGTTOU: signal.SIG_IGN}):
            yield

    @contextmanager
    def obeyed(
        self,
        *,
        leave: Callable[[str], None],
        reload: Callable[[], None],
        snapshot: Callable[[], None],
        lost: Callable[[], None],
    ) -> Iterator[None]:
        """Act on signals: `lost` is for a terminal that went away, `leave` takes why."""
        self._leave, self._reload, self._snapshot, self._lost = leave, reload, snapshot, lost
        with _handling({signal.SIGINT: self._hear, signal.SIGTERM: self._hear}):
            for number in self._waiting:
                self._act(number)
            yield
        self._leave = None

    def _hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        if number == signal.SIGINT and self._leaving:
            self._quit()
        self._leaving = self._leaving or number in _ENDS
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: the end has come already
                self._loop.call_soon_threadsafe(self._act, number)

    def _quit(self) -> None:
        """Leave at once; the journal knows what was under way."""
        with suppress(OSError):
            self._teller.abandon()
        os._exit(ExitCode.INTERRUPTED)

    def _act(self, number: int) -> None:
        if self._leave is None:
            self._waiting.append(number)
        elif number in _ENDS:
            reason, code = _ENDS[signal.Signals(number)]
            self.code = self.code or code
            self._leave(reason)
        elif number == signal.SIGUSR1:
            self._snapshot()
        elif not self._hung_up():
            self._reload()

    def _hung_up(self) -> bool:
        """Whether this HUP is a terminal going away; the first time it is told to whom it concerns."""
        if self._hung_up_at is not None:
            return time.monotonic() - self._hung_up_at < _SAME_HANGUP_S
        if not any(map(_is_gone, self._terminals)):
            return False
        self._hung_up_at = time.monotonic()
        if self._terminal_out:
            self._teller.abandon()
        self._lost()
        return True


def _is_gone(terminal: int) -> bool:
    try:
        termios.tcgetattr(terminal)
    except termios.error:
        return True
    return False


Handler = Callable[[int, FrameType | None], None] | signal.Handlers


@contextmanager
def _handling(handlers: dict[signal.Signals, Handler]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
