"""A terminal for a real `tpctl`: a pseudo-terminal that reads, stops reading, changes its size, or is typed into."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from processes import PATIENCE_S, environment

from tpctl.adapters.pulse import Pulse, read_pulse


class Terminal:
    """`tpctl` with a terminal of its own, whose other end is the test."""

    def __init__(self, args: Sequence[str], home: Path, *, columns: int = 80, rows: int = 24, **env: str) -> None:
        self._master, slave = pty.openpty()
        self._size(columns, rows)
        self.shown = ""
        self._gone = False
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *args],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=environment(home, TERM="xterm-256color", **env),
        )
        os.close(slave)

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """Change the size, as a window manager does: the processes in front are told."""
        self._size(columns, rows)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._master, text.encode())

    def read(self, wait_s: float = 0.05) -> None:
        """Read what is there, waiting a moment for it."""
        if not select.select([self._master], [], [], wait_s)[0]:
            return
        try:
            self.shown += os.read(self._master, 1 << 16).decode(errors="replace")
        except OSError:
            time.sleep(0)  # the other side is closed: its end is what the caller waits for

    def until(self, *words: str) -> None:
        """Read until all words were shown since the last call."""
        end = time.monotonic() + PATIENCE_S
        while not all(word in self.shown for word in words):
            assert time.monotonic() < end, f"{words} were not shown: {self.shown[-3000:]!r}"
            assert self.process.poll() is None, f"it ended: {self.shown[-3000:]!r}"
            self.read()
        self.shown = ""

    def wait(self, reading: bool = True) -> int:
        """Wait for the end, and return the exit code."""
        end = time.monotonic() + PATIENCE_S
        while self.process.poll() is None and time.monotonic() < end:
            if reading:
                self.read()
            else:
                select.select([], [], [], 0.05)
        while reading and select.select([self._master], [], [], 0)[0]:
            before = len(self.shown)
            self.read()
            if len(self.shown) == before:
                break
        return self.process.wait(1)

    def hang_up(self) -> None:
        """Go away, as a closed window or a lost connection does."""
        os.close(self._master)
        self._gone = True

    def view(self) -> int:
        """Return the pid of the process that shows the dashboard."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert len(children) == 1, children
        return int(children[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        if not self._gone:
            os.close(self._master)


# Makes the pseudo-terminal the controlling one, as a terminal emulator does.
_TAKE_TERMINAL = (
    "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "from tpctl.__main__ import main; sys.argv[0] = 'tpctl'; sys.exit(main())"
)


def pulse_when(state: Path, found: Callable[[Pulse], bool], between: Callable[[], None]) -> Pulse:
    """Return the first pulse that fits; `between` is what the test does meanwhile."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        pulse = read_pulse(state / "watch.pulse")
        if pulse is not None and found(pulse):
            return pulse
        between()
    raise AssertionError(f"no such pulse: {read_pulse(state / 'watch.pulse')}")


def rest() -> None:
    """Let a moment pass without reading anything."""
    select.select([], [], [], 0.05)
