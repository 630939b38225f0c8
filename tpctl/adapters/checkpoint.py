"""Where a training stands, so that one that was killed goes on to the same weights.

Decides the file `tpctl.retraining/1`: what the training was started with, which seeds are done, and where the search of
the present one is. Replaced whole after every round, removed at the end.
"""

from pathlib import Path

import msgspec

from tpctl.adapters.files import file_error, read_file, sync_directory, write_atomic
from tpctl.exits.errors import InputsError, StateFileError
from tpctl.exits.units import Millis

_SCHEMA = "tpctl.retraining/1"


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cross-entropy search between two rounds: mean and deviation of its weights, and the value of its best.

    `seconds` is what its rounds took so far.
    """

    round: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    value: float
    seconds: float = 0.0


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A training. `options` are the caller's own, as JSON; `started_at` is the time its data end at the latest.

    `bonus` and `scale` are the reward weights that were chosen, None while they are not. `search` belongs to the seed
    after those in `done`.
    """

    schema: str
    started_at: Millis
    options: str
    data_hash: str
    bonus: float | None = None
    scale: float | None = None
    done: tuple[str, ...] = ()
    search: Search | None = None


def begin(started_at: Millis, options: str, data_hash: str) -> Checkpoint:
    """Return the checkpoint of a training that begins."""
    return Checkpoint(_SCHEMA, started_at, options, data_hash)


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the file; the caller holds the registry's lock."""
    write_atomic(path, msgspec.json.encode(checkpoint) + b"\n")


def read_checkpoint(path: Path) -> Checkpoint:
    """Return where a training stands; raises `InputsError` for none and `StateFileError` for a damaged file."""
    data = read_file(path)
    if data is None:
        raise InputsError("there is no training to go on with", "begin one: tpctl retrain --run")
    hint = "begin anew: tpctl retrain --run"
    try:
        found = msgspec.json.decode(data, type=Checkpoint)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateFileError(f"{str(path)!r} is damaged or of another version: {error}", hint) from None
    if found.schema != _SCHEMA:
        raise StateFileError(f"{str(path)!r} has schema {found.schema[:40]!r}, not {_SCHEMA!r}", hint)
    return found


def remove_checkpoint(path: Path) -> None:
    """Remove the file after the end."""
    try:
        path.unlink(missing_ok=True)
        sync_directory(path.parent)
    except OSError as error:
        raise file_error("remove", path, error) from error
