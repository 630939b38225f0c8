"""Output that never keeps its writer waiting: a thread writes, a bounded queue stands between.

A terminal that does not read (Ctrl-S, a stopped tmux client) or a full pipe would otherwise stop the loop that guards
positions. What does not fit in the queue is left out and counted; the journal has everything.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable

# About fifty thousand lines. Far more than a reader that reads can fall behind.
LIMIT_BYTES = 16 * 1024 * 1024
# A reader that takes nothing for this long at the end is not waited for.
PATIENCE_S = 3.0


class Outlet:
    """A text stream onto a file descriptor. `left_out` words how many writes were left out."""

    def __init__(self, descriptor: int, left_out: Callable[[int], str] | None = None, limit: int = LIMIT_BYTES) -> None:
        self._descriptor = descriptor
        self._left_out = left_out
        self._limit = limit
        self._ready = threading.Condition()
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._written = 0
        self._closing = False
        self._error: OSError | None = None
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Queue `text`; raises the `OSError` of an earlier write where the reader is gone."""
        with self._ready:
            if self._error is not None:
                raise self._error
            if self._size > self._limit:
                self._lost += 1
                return len(text)
            if self._lost and self._left_out is not None:
                self._push(self._left_out(self._lost).encode(errors="replace"))
            self._lost = 0
            self._push(text.encode(errors="replace"))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="outlet", daemon=True)
                self._thread.start()
            self._ready.notify()
        return len(text)

    def flush(self) -> None:
        """Do nothing: whatever is queued is on its way. Raises as `write`."""
        if self._error is not None:
            raise self._error

    @property
    def broken(self) -> bool:
        """Whether the reader is gone."""
        return self._error is not None

    def close(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until everything is written, the reader is gone, or it takes nothing for `patience_s`."""
        with self._ready:
            self._closing = True
            self._ready.notify()
            thread = self._thread
        written = -1
        while thread is not None and thread.is_alive() and written != self._written:
            written = self._written
            thread.join(patience_s)

    def _push(self, data: bytes) -> None:
        self._queue.append(data)
        self._size += len(data)

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._queue:
                    if self._closing:
                        return
                    self._ready.wait()
                data = b"".join(self._queue)
                self._queue.clear()
                self._size = 0
            try:
                self._write(memoryview(data))
            except OSError as error:
                with self._ready:
                    self._error = error
                    self._queue.clear()
                return

    def _write(self, data: memoryview) -> None:
        while data:
            try:
                count = os.write(self._descriptor, data[:65536])
            except BlockingIOError:
                # Somebody who shares the descriptor made it non-blocking.
                time.sleep(0.02)
                continue
            data = data[count:]
            self._written += count
