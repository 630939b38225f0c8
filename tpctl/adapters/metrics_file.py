"""The metrics file: how well take-profits did, per strategy and symbol, where operators' scripts read it.

Decides the file's form (exit-rules 12: a JSON object of records, plain numbers, unset null) and when it may be
replaced. It is a view, rebuilt as a whole from the journal's attempts, each counted once by its id, so nothing is ever
read, added to and written back (I17). It is replaced atomically, so every reader at every instant sees a whole file
(I18). A file that is damaged, newer, or counts more than the journal knows is refused, never overwritten.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from tpctl.adapters.files import StateDir, read_file, write_atomic
from tpctl.adapters.lock import acquire
from tpctl.exits.errors import StateFileError
from tpctl.exits.model import Attempt
from tpctl.exits.scoring import Record, fold
from tpctl.exits.units import Millis, plain

ENVIRONMENT_VARIABLE = "TP_METRICS_PATH"
_SCHEMA = "tpctl.tp_metrics"
_VERSION = 1
# A publisher holds the lock for milliseconds; see reliability C1.
_PATIENCE_MS = 2000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def metrics_path(state_dir: StateDir, explicit: Path | None, environment: Mapping[str, str]) -> Path:
    """Return where the metrics file is: the path named by an option, by TP_METRICS_PATH, or the profile's own."""
    if explicit is not None:
        return explicit
    named = environment.get(ENVIRONMENT_VARIABLE, "")
    return Path(named) if named else state_dir.metrics


def key_of(record: Record) -> str:
    """Return the record's key in the file: `<strategy_id>:<symbol>`."""
    return f"{record.strategy_id}:{record.symbol}"


def fold_all(attempts: Iterable[Attempt]) -> dict[str, Record]:
    """Return the records of all attempts by key, each attempt counted once by its id."""
    records: dict[str, Record] = {}
    seen = set()
    for attempt in attempts:
        if attempt.id not in seen:
            seen.add(attempt.id)
            key = f"{attempt.strategy_id}:{attempt.symbol}"
            records[key] = fold(records.get(key), attempt)
    return records


class MetricsFile:
    """The metrics file at one path. Reading needs no lock; publishing takes one of its own, beside the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # What this publisher wrote last, as bytes and as records: what is still there need not be read.
        self._written: tuple[bytes, Mapping[str, Record]] | None = None

    def read(self) -> dict[str, Record] | None:
        """Return the records by key, or None where there is no file.

        Raises `StateFileError` when the file is damaged, newer or not readable.
        """
        data = read_file(self.path)
        return None if data is None else self._parse(data)

    def publish(self, records: Callable[[], Mapping[str, Record]]) -> Mapping[str, Record]:
        """Replace the file by the records of the journal's attempts, and return them.

        `records` is called under the lock (pass `standings.records`): what was read before it could be older than what
        another publisher wrote meanwhile. Raises `StateFileError` when the present file is damaged, newer or counts
        more than the attempts explain, or cannot be replaced, and `LockedError` when another publisher does not finish;
        the present file is then untouched.
        """
        with acquire(self.path.with_name(f"{self.path.name}.lock"), f"metrics file {str(self.path)!r}", _PATIENCE_MS):
            present = read_file(self.path)
            before = self._known(present)
            found = dict(records())
            self._refuse_loss(before, found)
            data = render_records(found).encode()
            if data != present:
                write_atomic(self.path, data)
            self._written = data, found
        return found

    def _known(self, present: bytes | None) -> Mapping[str, Record]:
        if present is None:
            return {}
        if self._written is not None and present == self._written[0]:
            return self._written[1]
        return self._parse(present)

    def _refuse_loss(self, before: Mapping[str, Record], after: Mapping[str, Record]) -> None:
        for key, record in before.items():
            known = after[key].tp_attempts if key in after else 0
            if record.tp_attempts > known:
                raise StateFileError(
                    f"{str(self.path)!r} counts {record.tp_attempts} attempts of {key!r}, the journal knows {known}",
                    f"move the file aside to start from the journal, or name another with {ENVIRONMENT_VARIABLE}",
                )

    def _parse(self, data: bytes) -> dict[str, Record]:
        return {key_of(record): record for record in parse_records(data, self.path)}


def parse_records(data: bytes, path: Path) -> Iterable[Record]:
    """Return the records in the form of the metrics file; raises `StateFileError` for any other, naming `path`."""
    try:
        content = json.loads(data, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise _damaged(path, "is not a JSON object")
    records = []
    for key, row in content.items():
        _check_schema(path, key, row)
        try:
            record = _parse_record(row)
        except ValueError as error:
            raise _damaged(path, f"has a damaged record {key!r}: {error}") from error
        if key_of(record) != key:
            raise _damaged(path, f"has the record of {key_of(record)!r} under {key!r}")
        records.append(record)
    return records


def _check_schema(path: Path, key: str, row: object) -> None:
    schema = row.get("schema") if isinstance(row, dict) else None
    name, _, number = schema.partition("/") if isinstance(schema, str) else ("", "", "")
    if name != _SCHEMA or not (number.isascii() and number.isdigit()) or int(number) < 1:
        raise _damaged(path, f"is not a metrics file: {key!r} has schema {schema!r}")
    if int(number) > _VERSION:
        raise StateFileError(
            f"{str(path)!r} has schema {schema!r}, this tpctl reads up to '{_SCHEMA}/{_VERSION}'",
            "use the tpctl version that wrote it, or a newer one",
        )


def _damaged(path: Path, what: str) -> StateFileError:
    return StateFileError(
        f"metrics file {str(path)!r} {what}", "move it aside and run again: it is rebuilt from the journal"
    )


def render_records(records: Mapping[str, Record]) -> str:
    """Return the text of the metrics file."""
    rows = []
    for key in sorted(records):
        values = {"schema": json.dumps(f"{_SCHEMA}/{_VERSION}"), **_render_record(records[key])}
        body = ",\n".join(f"    {json.dumps(name)}: {value}" for name, value in values.items())
        rows.append(f"  {json.dumps(key)}: {{\n{body}\n  }}")
    return "{\n" + ",\n".join(rows) + "\n}\n" if rows else "{}\n"


def _render_record(record: Record) -> dict[str, str]:
    values = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name == "last_updated":
            value = _rfc3339(value)
        # The digits of a Decimal are a JSON number as they are; passing through a float would change them.
        values[field.name] = plain(value) if isinstance(value, Decimal) else json.dumps(value)
    return values


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(Record)


def _parse_record(row: dict[str, Any]) -> Record:
    values: dict[str, Any] = {}
    for name, hint in _hints().items():
        if name not in row:
            raise ValueError(f"it lacks {name!r}")
        value = row[name]
        if name == "last_updated":
            values[name] = _parse_time(value)
        elif hint is str or hint is int:
            # The exact type: True is no count.
            if type(value) is not hint or (isinstance(value, int) and value < 0):
                raise ValueError(f"{name} was {value!r}")
            values[name] = value
        else:
            values[name] = _parse_number(name, value, optional=hint is not Decimal)
    record = Record(**values)
    if record.tp_hits + record.tp_misses != record.tp_attempts or record.premature_exits > record.tp_misses:
        raise ValueError("its counts contradict each other")
    return record


def _parse_number(name: str, value: object, *, optional: bool) -> Decimal | None:
    if value is None and optional:
        return None
    if isinstance(value, Decimal) and value.is_finite():
        return value
    if type(value) is int:
        return Decimal(value)
    raise ValueError(f"{name} was {value!r}")


def _rfc3339(at: Millis) -> str:
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parse_time(value: object) -> Millis:
    if not isinstance(value, str):
        # Reported as the damage it is, together with every other wrong value.
        raise ValueError(f"last_updated was {value!r}")  # noqa: TRY004
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(f"last_updated {value!r} has no time zone")
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")
