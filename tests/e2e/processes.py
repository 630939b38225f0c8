"""Real processes: `tpctl watch` and `tpctl venue` as children of the test, read line by line, always ended.

Nothing here sleeps or polls: a reader thread per child hands lines over, and every wait is bounded by `PATIENCE_S`.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

PATIENCE_S = 120.0

Event = dict[str, Any]

# The longs of the four named symbols that meet the recorded crash, by their worth in USD.
HELD = {"XRPUSDT": 2000, "BTCUSDT": 5000, "ETHUSDT": 1750, "SOLUSDT": 1800}


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[Event]:
        """The story, from JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def errors(self) -> list[str]:
        """The lines of stderr."""
        return self.err.splitlines()


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment that holds no settings of the person who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TPCTL_", "XDG_", "TP_METRICS"))}
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "CREDENTIALS_DIRECTORY"):
        kept.pop(name, None)
    places = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "STATE", "CACHE", "DATA")}
    return {**kept, "HOME": str(home), **places, **more}


@dataclass(frozen=True)
class Told:
    """A watch that ended, and the state directory it left."""

    done: Done
    state: Path


def of(kind: str, events: Iterable[Event]) -> list[Event]:
    """Return the events of one type."""
    return [event for event in events if event["type"] == kind]


class Process:
    """A running `tpctl`, its standard output read as it comes."""

    def __init__(self, args: Sequence[str], home: Path, **env: str) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._read: list[str] = []
        self._ended = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tpctl", *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(home, **env),
        )
        self._err: list[str] = []
        self._readers = [threading.Thread(target=work, daemon=True) for work in (self._read_out, self._read_err)]
        for reader in self._readers:
            reader.start()

    def _read_out(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _read_err(self) -> None:
        assert self._process.stderr is not None
        self._err.append(self._process.stderr.read())

    def line(self) -> str | None:
        """Return the next line, None at the end."""
        if self._ended:
            return None
        try:
            line = self._lines.get(timeout=PATIENCE_S)
        except queue.Empty:
            self.end()
            raise AssertionError(f"silent for {PATIENCE_S} s after: {self._read[-3:]}, {self._err}") from None
        if line is None:
            self._ended = True
        else:
            self._read.append(line)
        return line

    def until(self, found: Callable[[Event], bool]) -> Event | None:
        """Return the first event that fits, or None where the story ended without one."""
        while (line := self.line()) is not None:
            event: Event = json.loads(line)
            if found(event):
                return event
        return None

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def kill(self) -> None:
        """Kill -9."""
        self._process.kill()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def send(self, number: signal.Signals) -> None:
        """Send any other signal."""
        self._process.send_signal(number)

    def terminate(self) -> None:
        """Ask for an end as systemd does."""
        self._process.terminate()

    def finish(self) -> Done:
        """Wait for the end and return everything it printed."""
        while self.line() is not None:
            pass
        code = self._process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        return Done(code, "".join(self._read), "".join(self._err))

    def end(self) -> None:
        """Make sure nothing is left running."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()


def run(args: Sequence[str], home: Path, **env: str) -> Done:
    """Run `tpctl` to its end."""
    with Process(args, home, **env) as process:
        return process.finish()


def watch(*options: str, state: Path, home: Path, **env: str) -> Done:
    """Run `tpctl watch --jsonl` to its end."""
    return run(watch_args(*options, state=state), home, **env)


def watch_args(*options: str, state: Path) -> list[str]:
    """Return the command line of a watch that tells its story as JSON lines."""
    return ["watch", "--jsonl", "--state-dir", str(state), *options]


@contextmanager
def served_twin(home: Path, *options: str) -> Iterator[str]:
    """Serve a twin for as long as the context lasts; yields its address."""
    with Process(["venue", "--json", *options], home) as process:
        first = process.line()
        assert first is not None, process.finish()
        yield json.loads(first)["data"]["rest"].removesuffix("/fapi")
