"""The pulse of a running watch: marks and vital signs too fleeting for the journal, for views in other processes.

One private file in the state directory, overwritten in place a few times a second and never synced: it costs the
engine microseconds, waits for nobody, and its loss costs nothing. A reader that meets a half-written pulse is told
there is none and looks again; damage can therefore never stop a view, and no decision is ever taken on a pulse.
"""

import os
import zlib
from decimal import Decimal
from pathlib import Path
from struct import Struct as Layout
from typing import Self

import msgspec

from tpctl.adapters.files import check_private_file, file_error
from tpctl.exits.errors import StateFileError
from tpctl.exits.units import Millis, Price

_MAGIC = b"tpctlP1\n"
# Magic, length of the payload, its checksum.
_HEADER = Layout(f">{len(_MAGIC)}sII")
# Far above what two thousand positions take.
_MAX_BYTES = 1 << 20


class MarkPulse(msgspec.Struct, frozen=True, array_like=True):
    """The newest mark of one position and the best price since its entry; None before the first mark."""

    symbol: str
    side: str
    mark: Decimal | None
    mark_at: Millis
    peak: Price | None


class Pulse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One beat. `at` and `mark_at` are event time, `written_at` and `started_at` the wall clock, all ms UTC.

    `skew_ms` is how far the exchange's clock is ahead of this machine's, `feed_age_ms` the real time since the last
    frame of market data; both None where they mean nothing or are not known. `budget` is the request weight used in
    this minute and its limit. `ended` says why the watch is over, empty while it runs. `trail` is the codec's text of
    the trail's rules in force, which a reload changes; empty where they are not told.
    """

    at: Millis
    written_at: Millis
    started_at: Millis
    pid: int
    profile: str
    env: str
    mode: str
    host: str
    exchange: str
    skew_ms: int | None = None
    feed_age_ms: int | None = None
    budget: tuple[int, int] | None = None
    blocked: bool = False
    halt: str | None = None
    paused: bool = False
    rejected: int = 0
    recording: str | None = None
    ended: str = ""
    marks: tuple[MarkPulse, ...] = ()
    trail: str = ""


_DECODER = msgspec.json.Decoder(Pulse)
_ENCODER = msgspec.json.Encoder()


class PulseWriter:
    """The writing end, of the process that holds the watch lock."""

    def __init__(self, path: Path, handle: int) -> None:
        self._path = path
        self._handle: int | None = handle

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file at `path`, private and created where there is none; raises `StateFileError`."""
        check_private_file(path)
        try:
            return cls(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise file_error("open", path, error) from error

    def write(self, pulse: Pulse) -> None:
        """Put the pulse in the place of the last one. A disk that takes no more is no reason to stop."""
        if self._handle is None:
            return
        payload = _ENCODER.encode(pulse)
        if len(payload) > _MAX_BYTES:
            return
        try:
            os.pwrite(self._handle, _HEADER.pack(_MAGIC, len(payload), zlib.crc32(payload)) + payload, 0)
        except OSError:
            self.close()

    def close(self) -> None:
        """Close the file; the last pulse stays. Doing so twice is harmless."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)


def read_pulse(path: Path) -> Pulse | None:
    """Return the newest pulse, or None where none is whole. Raises `StateFileError` for a foreign file."""
    try:
        if not check_private_file(path):
            return None
        data = path.read_bytes()
    except OSError as error:
        raise file_error("read", path, error) from error
    if len(data) < _HEADER.size:
        return None
    magic, length, checksum = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise StateFileError(f"{str(path)!r} is not a pulse of this tpctl", "use the tpctl that runs the watch")
    payload = data[_HEADER.size : _HEADER.size + length]
    if zlib.crc32(payload) != checksum:
        return None
    try:
        return _DECODER.decode(payload)
    except msgspec.MsgspecError:
        raise StateFileError(f"{str(path)!r} does not fit this version", "use the tpctl that runs the watch") from None
