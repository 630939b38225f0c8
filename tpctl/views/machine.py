"""What scripts read: events, results and errors in the JSON contract's words.

Money, prices, quantities and ratios become strings of plain digits, times RFC 3339 UTC; binary floats cannot appear.
Fields are only ever added within a schema's number.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from tpctl.exits.errors import TpctlError
from tpctl.exits.units import Millis, Ratio, plain

if TYPE_CHECKING:
    from tpctl.exits.model import Note, Scalar

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | Ratio | Scalar"

# The standard library's encoder: a one-shot must not pay for the import of a faster one.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_OWN_FIELDS = frozenset({"schema", "seq", "ts", "type", "symbol", "position_side", "reason"})


def rfc3339(at: Millis) -> str:
    """Return a time in ms UTC as RFC 3339 with milliseconds."""
    seconds, millis = divmod(at, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"


def event_line(note: "Note", seq: int) -> str:
    """Return a note as one line of `tpctl.event/1`; `seq` is the number of the event in the journal."""
    return _line(event_fields(note, seq))


def event_fields(note: "Note", seq: int) -> dict[str, object]:
    """Return a note as the plain JSON values of `tpctl.event/1`.

    An integer under a key that ends in `_at` is a time; `reasons` is a list.
    """
    record: dict[str, object] = {
        "schema": "tpctl.event/1",
        "seq": seq,
        "ts": rfc3339(note.at),
        "type": note.kind.value,
        "symbol": note.key.symbol if note.key is not None else None,
        "position_side": note.key.side.value if note.key is not None else None,
        "reason": note.reason,
    }
    for name, value in note.data.items():
        if name in _OWN_FIELDS:
            raise ValueError(f"note data of {note.kind} may not carry {name!r}")
        record[name] = _field(name, value)
    return record


def document(  # noqa: PLR0917 - the envelope's fields, in its order
    command: str,
    ts: Millis,
    profile: str,
    env: str,
    mode: str,
    data: Mapping[str, Json],
    warnings: Sequence[tuple[str, str]] = (),
) -> str:
    """Return a one-shot's result in its envelope, one line; warnings are (code, text)."""
    return _line(
        {
            "schema": f"tpctl.{command}/1",
            "ts": rfc3339(ts),
            "profile": profile,
            "env": env,
            "mode": mode,
            "data": _plainly(data),
            "warnings": [{"code": code, "text": text} for code, text in warnings],
        }
    )


def error_line(error: TpctlError, retry_after_ms: int | None = None) -> str:
    """Return the error object, the last line of stderr under `--json`."""
    record: dict[str, object] = {
        "schema": "tpctl.error/1",
        "code": int(error.exit_code),
        "kind": error.kind,
        "message": error.message,
        "hint": error.hint,
    }
    if retry_after_ms is not None:
        record["retry_after_ms"] = retry_after_ms
    return _line(record)


def _field(name: str, value: "Scalar") -> object:
    if name == "reasons" and isinstance(value, str):
        return [line for line in value.split("\n") if line]
    if name.endswith("_at") and isinstance(value, int):
        return rfc3339(value)
    return _plainly(value)


def _plainly(value: Json) -> object:
    """Return a value as JSON builtins; a float is a mistake of the caller (`TypeError`)."""
    match value:
        case None | bool() | int() | str():
            return value if not isinstance(value, str) else str(value)
        case Decimal():
            return plain(value)
        case Ratio():
            return plain(value.fraction)
        case Mapping():
            return {str(key): _plainly(inner) for key, inner in value.items()}
        case Sequence():
            return [_plainly(inner) for inner in value]
    raise TypeError(f"{type(value).__name__} has no place in the JSON contract")


def _line(record: Mapping[str, object]) -> str:
    return _ENCODER.encode(record) + "\n"
