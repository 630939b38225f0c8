"""Records of incidents: everything a reducer heard and decided, as checksummed JSON lines, and their reading.

The first line names schema and version; a `state` line is where the reducer stood; then one `event` line per event,
with a digest of what was decided, and one `note` line for what the engine told by itself; the last line counts them.
Every line carries its number and a checksum that covers the lines before it too, so that a changed, lost or moved line
shows.
What is recorded is what the reducer knows: no key, no signature, no address is in it (I20).
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

from tpctl.adapters.codec import CodecError, decode, encode, kinds
from tpctl.exits.episode import Decision, State
from tpctl.exits.errors import InputsError, StateFileError
from tpctl.exits.events import Event
from tpctl.exits.model import Attempt, Note
from tpctl.exits.quiet import awake

SCHEMA = "tpctl.record/1"
_EVENTS = kinds(Event)


@dataclass(frozen=True, slots=True)
class Header:
    """What a record says of itself. `recorded_at` is the wall clock in ms UTC."""

    schema: str
    code_version: str
    profile: str
    env: str
    mode: str
    recorded_at: int


@dataclass(frozen=True, slots=True)
class Heard:
    """One event and the digest of what was decided on it."""

    line: int
    event: Event
    trace: str


@dataclass(frozen=True, slots=True)
class End:
    """The last line: how many events there are. A record without it was cut, or its watch was killed."""

    events: int


Entry: TypeAlias = State | Heard | Note | End


_KINDS: dict[object, type[Any]] = {"state": State, "note": Note, "end": End}


def trace_of(decision: Decision) -> str:
    """Return a digest of everything a decision asks for and tells; equal decisions have equal digests (I21)."""
    digest = hashlib.blake2s(digest_size=8)
    for intent in decision.intents:
        digest.update(type(intent).__name__.encode())
        digest.update(encode(intent).encode())
    for note in decision.notes:
        digest.update(encode(note).encode())
    for attempt in decision.attempts:
        digest.update(encode(attempt, Attempt).encode())
    return digest.hexdigest()


class Recorder:
    """Writes a record while a watch runs. A disk that takes no more ends the record, never the watch."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self.fault: str | None = None
        self._handle: int | None = handle
        self._line = 0
        self._crc = 0
        self._events = 0
        self._state: State | None = None

    @classmethod
    def create(cls, path: Path, header: Header) -> Self:
        """Create a record, private to its owner. Raises `StateFileError` where there is one, or none can be made."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(path, flags, 0o600)
        except FileExistsError:
            raise StateFileError(
                f"record file {str(path)!r} exists already", "name another file; a record is never overwritten"
            ) from None
        except OSError as error:
            raise StateFileError(
                f"record file {str(path)!r} cannot be created: {error.strerror}", "name a file in a writable directory"
            ) from error
        recorder = cls(path, handle)
        recorder._write("header", encode(header))
        return recorder

    def took(self, before: State, event: Event, decision: Decision) -> None:
        """Record one event the reducer took in `before`, and what it decided."""
        if before is not self._state:
            # Quiet marks are taken in: a band may reach to infinity, which has no stored form.
            self._write("state", encode(awake(before, before.quiet.keys())))
        self._state = decision.state
        self._events += 1
        trace = trace_of(decision) if decision.intents or decision.notes or decision.attempts else ""
        self._write("event", encode(event), kind=type(event).__name__, trace=trace)

    def said(self, note: Note) -> None:
        """Record what the engine told by itself."""
        self._write("note", encode(note))

    def close(self) -> None:
        """Write the last line; doing so twice is harmless."""
        if self._handle is None:
            return
        self._write("end", json.dumps({"events": self._events}))
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)

    def _write(self, what: str, payload: str, **more: str) -> None:
        if self._handle is None:
            return
        self._line += 1
        extra = "".join(f',"{name}":{json.dumps(value)}' for name, value in more.items())
        body = f'{{"n":{self._line},"is":"{what}"{extra},"data":{payload}'
        self._crc = zlib.crc32(body.encode(), self._crc)
        data = f'{body},"crc":{self._crc}}}\n'.encode()
        try:
            # One write a line: what a kill leaves is whole lines.
            whole = os.write(self._handle, data) == len(data)
        except OSError as error:
            self._give_up(error.strerror or str(error))
        else:
            if not whole:
                self._give_up("no space is left for it")

    def _give_up(self, fault: str) -> None:
        self.fault = fault
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def read_header(path: Path) -> Header:
    """Return what a record says of itself. Raises `InputsError` for anything that is no record this tpctl reads."""
    return _Reading(path).header


def read_record(path: Path) -> tuple[Header, Iterator[Entry]]:
    """Return the header of a record and its entries in order, read as they are asked for.

    Raises `InputsError` for a file that is missing, foreign, newer, cut within a line, or damaged, naming the line.
    """
    reading = _Reading(path)
    return reading.header, reading.entries()


class _Reading:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._line = 0
        self._crc = 0
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise InputsError(
                f"record file {str(path)!r} cannot be read: {error.strerror}", "name a file that --record wrote"
            ) from error
        self.header = self._header()

    def _header(self) -> Header:
        first = self._file.readline()
        try:
            plain = json.loads(first)
            schema = plain["data"]["schema"]
        except (ValueError, KeyError, TypeError):
            raise InputsError(f"{str(self._path)!r} is no record", "name a file that --record wrote") from None
        if schema != SCHEMA:
            raise InputsError(
                f"record file {str(self._path)!r} has schema {schema!r}, this tpctl reads {SCHEMA!r}",
                "use the tpctl that wrote it, or a newer one",
            )
        data = self._checked(first)["data"]
        header: Header = self._decoded(json.dumps(data), Header)
        return header

    def entries(self) -> Iterator[Entry]:
        ended = False
        with self._file:
            for raw in self._file:
                if ended:
                    raise self._damage("stands behind the end")
                entry = self._entry(self._checked(raw))
                ended = isinstance(entry, End)
                yield entry

    def _checked(self, raw: bytes) -> dict[str, Any]:
        self._line += 1
        if not raw.endswith(b"\n"):
            raise InputsError(
                f"record file {str(self._path)!r} is cut within line {self._line}",
                f"keep what is whole: head -n {self._line - 1} {self._path.name} > whole.jsonl",
            )
        body, mark, tail = raw.rpartition(b',"crc":')
        self._crc = zlib.crc32(body, self._crc)
        if not mark or tail != f"{self._crc}}}\n".encode():
            raise self._damage("does not match its checksum")
        try:
            plain: dict[str, Any] = json.loads(raw)
        except ValueError:
            raise self._damage("is not JSON") from None
        if plain.get("n") != self._line:
            raise self._damage("has another number")
        return plain

    def _entry(self, plain: dict[str, Any]) -> Entry:
        text = json.dumps(plain.get("data"))
        what = plain.get("is")
        if what == "event":
            kind = _EVENTS.get(str(plain.get("kind")))
            if kind is None:
                raise self._damage(f"holds the event {plain.get('kind')!r}, which this tpctl does not know")
            return Heard(self._line, self._decoded(text, kind), str(plain.get("trace", "")))
        if what not in _KINDS:
            raise self._damage(f"is {what!r}, which this tpctl does not know")
        entry: Entry = self._decoded(text, _KINDS[what])
        return entry

    def _decoded(self, text: str, hint: type[Any]) -> Any:
        try:
            return decode(text, hint)
        except CodecError as error:
            raise self._damage(str(error)) from error

    def _damage(self, how: str) -> InputsError:
        return InputsError(
            f"record file {str(self._path)!r} is damaged: line {self._line} {how}",
            "use an unchanged copy of it, or the tpctl that wrote it",
        )
