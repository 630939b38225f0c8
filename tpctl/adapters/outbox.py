"""What leaves the process beside its output: messages, the event log, a heartbeat. A thread of its own; nobody waits.

The loop puts events into a bounded queue and goes on; where the queue is full the event is left out and counted. A
channel that fails is tried three times, then told once on standard error, and once more when it works again. Addresses
may hold secrets, so no error names more of one than its host (I20).
"""

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

_WAITING = 1_000
_TIMEOUT_S = 5.0
_TRIES = 3
_PAUSE_S = 1.0
_LEAVE_S = 5.0


@dataclass(frozen=True, slots=True)
class Message:
    """One event for people and programs: its sentence, how urgent it is, and its fields as plain JSON values."""

    text: str
    urgent: bool
    fields: Mapping[str, object]


class Channel(Protocol):
    """Somewhere messages go. `name` says where without giving the address away."""

    name: str

    def send(self, message: Message) -> None:
        """Deliver; raises `OSError` or `ValueError` where it did not arrive."""
        ...


class Command:
    """Runs a program with the JSON on its standard input and `{text}` in its arguments replaced."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = tuple(argv)
        self.name = f"command {Path(self._argv[0]).name!r}"

    def send(self, message: Message) -> None:
        """Run it; a program that fails or takes too long did not deliver."""
        argv = [part.replace("{text}", message.text) for part in self._argv]
        try:
            done = subprocess.run(  # noqa: S603 - the operator's own command
                argv,
                input=json.dumps(message.fields).encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise OSError(f"took longer than {_TIMEOUT_S:.0f} s") from None
        if done.returncode:
            raise OSError(f"ended with {done.returncode}")


class Webhook:
    """Posts the JSON to an address."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.name = f"webhook at {host_of(address)}"

    def send(self, message: Message) -> None:
        """Post it."""
        _post(self._address, json.dumps(message.fields).encode(), {"Content-Type": "application/json"})


class Ntfy:
    """Posts the sentence to a topic of ntfy."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.name = f"ntfy at {host_of(address)}"

    def send(self, message: Message) -> None:
        """Post it."""
        title = str(message.fields.get("profile", "tpctl"))
        headers = {"Title": f"tpctl {title}", "Priority": "high" if message.urgent else "default"}
        _post(self._address, message.text.encode(), headers)


class Apprise:
    """Sends through the apprise library, which knows a hundred services; raises `ValueError` for a wrong address."""

    name = "apprise"

    def __init__(self, addresses: Sequence[str]) -> None:
        import apprise  # noqa: PLC0415 - an extra

        self._service = apprise.Apprise()
        for address in addresses:
            if not self._service.add(address):
                raise ValueError("apprise does not know one of its addresses")

    def send(self, message: Message) -> None:
        """Send it."""
        if not self._service.notify(body=message.text, title="tpctl"):
            raise OSError("a service refused")


class EventLog:
    """All events as JSON lines, in a file that is rotated by size: `log.1` is the newest of the old ones."""

    def __init__(self, path: Path, size: int, files: int) -> None:
        self._path, self._size, self._files = path, size, files
        self.name = f"log {path.name!r}"

    def write(self, line: str) -> None:
        """Append a line; raises `OSError`."""
        data = line.encode()
        try:
            full = self._path.stat().st_size + len(data) > self._size
        except FileNotFoundError:
            full = False
        if full:
            self._rotate()
        with self._path.open("ab") as file:
            file.write(data)

    def _rotate(self) -> None:
        for number in range(self._files - 1, 0, -1):
            old = self._path if number == 1 else self._numbered(number - 1)
            if old.exists():
                old.replace(self._numbered(number))
        self._path.unlink(missing_ok=True)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class Outbox:
    """The thread and its queue. `say` tells the operator of a channel's trouble."""

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        log: EventLog | None = None,
        heartbeat: str | None = None,
        heartbeat_s: float = 60.0,
        alive_s: float = 10.0,
        say: Callable[[str], object] = sys.stderr.write,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._channels, self._log, self._say, self._sleep = tuple(channels), log, say, sleep
        self._heartbeat, self._heartbeat_s, self._alive_s = heartbeat, heartbeat_s, alive_s
        self._queue: queue.Queue[Message | str | None] = queue.Queue(_WAITING)
        self._troubled: set[str] = set()
        self._left_out = 0
        self._lived = self._beaten = float("-inf")
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def post(self, message: Message) -> None:
        """Give a message to the channels."""
        self._put(message)

    def note(self, line: str) -> None:
        """Give a line to the log."""
        if self._log is not None:
            self._put(line)

    def lives(self) -> None:
        """Say that the loop lives; without it the heartbeat stops after a while."""
        self._lived = time.monotonic()

    def close(self) -> None:
        """End, after what is waiting was delivered, or a few seconds."""
        self._put(None)
        self._thread.join(_LEAVE_S)

    def _put(self, item: Message | str | None) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._left_out += 1

    def _work(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=min(1.0, self._heartbeat_s))
            except queue.Empty:
                self._beat()
                continue
            if item is None:
                return
            self._beat()
            if isinstance(item, str):
                if self._log is not None:
                    log = self._log
                    self._try(log.name, lambda item=item, log=log: log.write(item), tries=1)  # type: ignore[misc]
            else:
                for channel in self._channels:
                    self._try(channel.name, lambda item=item, channel=channel: channel.send(item))  # type: ignore[misc]

    def _beat(self) -> None:
        now = time.monotonic()
        if self._heartbeat is None or now - self._beaten < self._heartbeat_s or now - self._lived > self._alive_s:
            return
        self._beaten = now
        address = self._heartbeat
        self._try(f"heartbeat at {host_of(address)}", lambda: _get(address), tries=1)

    def _try(self, name: str, deliver: Callable[[], object], tries: int = _TRIES) -> None:
        why = ""
        # What failed a moment ago gets one chance a message: others wait behind it.
        for number in range(1 if name in self._troubled else tries):
            if number:
                self._sleep(_PAUSE_S * 2 ** (number - 1))
            try:
                deliver()
            except (OSError, ValueError, HTTPException) as error:
                why = _reason(error)
                continue
            if name in self._troubled:
                self._troubled.discard(name)
                self._say(f"warning: {name} works again\n")
            return
        if name not in self._troubled:
            self._troubled.add(name)
            self._say(f"warning: {name} fails: {why}; positions stay guarded\n")


def host_of(address: str) -> str:
    """Return the host of an address; the rest may be a secret."""
    return urlsplit(address).hostname or "?"


def _reason(error: Exception) -> str:
    """Return why without the address in it."""
    status = getattr(error, "code", None)
    if isinstance(status, int):
        return f"answered {status}"
    reason = getattr(error, "reason", None)
    if isinstance(reason, OSError):
        return (reason.strerror or type(reason).__name__).lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__ if "://" in str(error) else str(error)[:120] or type(error).__name__


def _post(address: str, body: bytes, headers: Mapping[str, str]) -> None:
    request = Request(address, data=body, headers=dict(headers), method="POST")  # noqa: S310 - http or https, checked
    with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - likewise
        answer.read(1024)


def _get(address: str) -> None:
    with urlopen(address, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - http or https, checked
        answer.read(1024)
