"""The dashboard as the watch sees it: a process that holds the terminal, and plain lines whenever it does not.

The engine never writes to the view and never waits for it: the view reads the journal, and what the operator asks for
comes over a socket. However the view ends, the terminal is given back its old ways and lines go on where it stopped.
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import termios
from collections import deque
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from tpctl.cli.viewer import ViewSpec
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import Note, PositionKey
from tpctl.views.dashboard.controls import Act, Asked
from tpctl.views.streams import LineStory

# Off: mouse, focus and paste reports, the keyboard protocol; on: cursor, wrapping, the main screen, plain text.
_GIVE_BACK = (
    b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[?2048l\x1b[?2026l\x1b[<u"
    b"\x1b[?7h\x1b[?1049l\x1b[?25h\x1b[0m\r"
)
_PATIENCE_S = 2.0
# A view whose end of the socket is closed is on its way out already, and the loop has positions to guard.
_PARTING_S = 0.1
# Told again below the shell's prompt when the view closes, so that the end of the story stays readable.
_KEPT = 5


class ScreenStory:
    """A story told by a dashboard in a process of its own; by lines where that process is not there."""

    def __init__(self, spec: ViewSpec, lines: LineStory, asked: Callable[[Asked], None], terminal: int) -> None:
        self._spec = spec
        self._lines = lines
        self._asked = asked
        self._terminal = terminal
        self._process: subprocess.Popen[bytes] | None = None
        self._engine: socket.socket | None = None
        self._modes: list[Any] | None = None
        self._heard = b""
        self._leaving = False
        self._last: deque[tuple[Note, int]] = deque(maxlen=_KEPT)

    @property
    def showing(self) -> bool:
        """Whether the view is there."""
        return self._process is not None

    def open(self) -> None:
        """Start the view; where that fails, lines tell the story."""
        with contextlib.suppress(termios.error):
            self._modes = termios.tcgetattr(self._terminal)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        spec = _with_control(self._spec, theirs.fileno())
        try:
            device = os.open(os.ttyname(self._terminal), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            ours.close()
            theirs.close()
            self._fall_back(f"the terminal cannot be opened: {error.strerror}")
            return
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "tpctl.cli.viewer", spec.text()],
                stdin=device,
                stdout=device,
                stderr=device,
                pass_fds=(theirs.fileno(),),
            )
        except OSError as error:
            ours.close()
            self._fall_back(f"it cannot be started: {error.strerror}")
            return
        finally:
            theirs.close()
            os.close(device)
        self._engine = ours
        asyncio.get_running_loop().add_reader(ours, self._hear)

    def tell(self, note: Note, seq: int) -> None:
        """Tell one event: the view finds it in the journal."""
        if self._process is None:
            self._lines.tell(note, seq)
        else:
            self._last.append((note, seq))

    def close(self) -> None:
        """End the view, give the terminal back, and repeat how the story ended."""
        if self._process is not None:
            self._end()
            for note, seq in self._last:
                self._lines.tell(note, seq)
        self._lines.close()

    def abandon(self) -> None:
        """End the view at once, waiting for nothing."""
        self._end(0)

    def _hear(self) -> None:
        """Take what the view says; its end of the socket closes with it, however it ends."""
        if self._engine is None:
            return
        try:
            data = self._engine.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone()
            return
        *whole, self._heard = (self._heard + data).split(b"\n")
        for words in whole:
            asked = _understood(words)
            if asked is None:
                continue
            self._leaving = self._leaving or asked.act in {Act.QUIT, Act.INTERRUPT}
            self._asked(asked)

    def _gone(self) -> None:
        process = self._process
        if process is None:
            return
        code = self._end(_PARTING_S)
        if self._leaving:
            # The operator left; what is still to be told comes as lines.
            return
        how = f"signal {-code}" if code < 0 else f"exit {code}"
        self._fall_back(f"the dashboard ended ({how})")

    def _fall_back(self, reason: str) -> None:
        # Where the terminal itself is gone, nobody is left to be told.
        with contextlib.suppress(OSError):
            self._lines.say(f"{reason}; positions stay guarded, lines follow; 'tpctl watch --attach' shows them again")

    def _end(self, patience_s: float = _PATIENCE_S) -> int:
        """Make sure the view is gone, and put the terminal back as it was; return how the view ended."""
        process, self._process = self._process, None
        engine, self._engine = self._engine, None
        if engine is not None:
            asyncio.get_running_loop().remove_reader(engine)
            engine.close()
        code = 0
        if process is not None:
            # Its socket is closed, which it takes as the word to leave; a terminal that does not read may hold it.
            try:
                code = process.wait(patience_s)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
        self._give_back(forced=code != 0)
        return code

    def _give_back(self, *, forced: bool) -> None:
        if self._modes is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._terminal, termios.TCSANOW, self._modes)
        if not forced:
            return
        # A handle of our own: one that does not block, whatever the terminal does.
        with contextlib.suppress(OSError):
            handle = os.open(os.ttyname(self._terminal), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            try:
                os.write(handle, _GIVE_BACK)
            finally:
                os.close(handle)


def _with_control(spec: ViewSpec, control: int) -> ViewSpec:
    from dataclasses import replace

    return replace(spec, control=control)


def _understood(words: bytes) -> Asked | None:
    """Return what was asked, or None for anything a dashboard does not say."""
    try:
        plain = json.loads(words)
        key = PositionKey(plain["symbol"], PositionSide(plain["side"])) if "symbol" in plain else None
        fraction = Decimal(plain["fraction"]) if "fraction" in plain else None
        return Asked(Act(plain["act"]), key, fraction, str(plain.get("reason", "")))
    except (ValueError, KeyError, TypeError, InvalidOperation):
        return None
