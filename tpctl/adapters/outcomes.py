"""Outcome records: finished take-profit attempts as JSON lines, from elsewhere and out again (the JSON contract).

Decides what a line must hold to count. Strict, because a record counts for ever: an unknown field, a number that is
none, an exit before its entry or a target of nothing is refused with what is wrong, never guessed around.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, BinaryIO, NoReturn, TypeVar

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import Attempt, Outcome
from tpctl.exits.scoring import fold
from tpctl.exits.units import Millis, parse_decimal, plain

# A longer line is no record; reading it whole would fill memory.
LONGEST_LINE = 1 << 16
_LONGEST_TEXT = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KNOWN = tuple(field.name for field in fields(Attempt))
_OPTIONAL = frozenset({"premature", "missed_usd", "stop_initial", "leverage", "regime", "arm"})
_TIMES = frozenset({"entry_time", "exit_time"})
_WRITE = "write the record as 'man tpctl' describes it, one JSON object a line"

Choice = TypeVar("Choice", bound=StrEnum)


def parse_outcome(line: str) -> Attempt:
    """Return the attempt a line records; raises `InputsError` that says what is wrong with it."""
    try:
        row = json.loads(line, parse_float=str, parse_int=str, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputsError(f"not JSON: {error}", _WRITE) from None
    if not isinstance(row, dict):
        raise InputsError("not a JSON object", _WRITE)
    for name in row:
        if name not in _KNOWN:
            near = get_close_matches(name, _KNOWN, n=1)
            raise InputsError(f"unknown field {name!r}", f"did you mean {near[0]!r}?" if near else _WRITE)
    for name in _KNOWN:
        if name not in row and name not in _OPTIONAL:
            raise InputsError(f"field {name!r} is missing", _WRITE)
    attempt = Attempt(**{name: _value(name, row.get(name)) for name in _KNOWN})
    if attempt.missed_usd is not None and attempt.premature is None:
        raise InputsError("'missed_usd' stands without 'premature'", "give the verdict too, or neither")
    if attempt.outcome is Outcome.HIT and attempt.premature is not None:
        raise InputsError("'premature' of a hit", "only a miss can be premature: leave it out")
    fold(None, attempt)
    return attempt


def outcome_line(attempt: Attempt) -> str:
    """Return an attempt as one line that `parse_outcome` reads back."""
    return json.dumps(outcome_fields(attempt), separators=(",", ":"))


def outcome_fields(attempt: Attempt) -> dict[str, object]:
    """Return an attempt's fields in the contract's form: decimals as text, times RFC 3339, what is unknown left out."""
    row: dict[str, object] = {}
    for name in _KNOWN:
        value = getattr(attempt, name)
        if value is None:
            continue
        if name in _TIMES:
            row[name] = rfc3339(value)
        elif isinstance(value, Decimal):
            row[name] = plain(value)
        else:
            row[name] = value.value if isinstance(value, StrEnum) else value
    return row


def rfc3339(at: Millis) -> str:
    """Return a time in ms UTC as RFC 3339."""
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def numbered_lines(source: BinaryIO) -> Iterator[tuple[int, str | InputsError]]:
    """Yield the lines that are not empty with their numbers; one that cannot be text is its error."""
    number = 0
    while line := source.readline(LONGEST_LINE):
        number += 1
        if len(line) >= LONGEST_LINE:
            while line and not line.endswith(b"\n"):
                line = source.readline(LONGEST_LINE)
            yield number, InputsError("the line is too long", _WRITE)
            continue
        try:
            text = line.removeprefix(b"\xef\xbb\xbf").decode()
        except UnicodeDecodeError:
            yield number, InputsError("the line is not UTF-8", _WRITE)
            continue
        if text.strip():
            yield number, text


def differing(one: Attempt, other: Attempt) -> tuple[str, ...]:
    """Return the fields in which two records of one id differ; a verdict that only one of them has is no difference."""
    return tuple(
        name
        for name in _KNOWN
        if getattr(one, name) != getattr(other, name)
        and not (name in _OPTIONAL and None in {getattr(one, name), getattr(other, name)})
    )


def _value(name: str, raw: object) -> Any:
    if raw is None and name in _OPTIONAL:
        return None
    if name == "premature":
        if not isinstance(raw, bool):
            raise InputsError(f"premature {raw!r} is neither true nor false", _WRITE)
        return raw
    if not isinstance(raw, str):
        raise InputsError(f"{name} {raw!r} is not a value", _WRITE)
    return _READERS.get(name, _text)(name, raw)


def _leg(name: str, raw: str) -> int:
    if not (raw.isascii() and raw.isdecimal() and len(raw) <= 5 and int(raw) >= 1):
        raise InputsError(f"{name} {raw!r} is not a number from 1", _WRITE)
    return int(raw)


def _above_zero(name: str, raw: str) -> Decimal:
    value = parse_decimal(raw, name)
    if value <= 0:
        raise InputsError(f"{name} {raw!r} is not above zero", _WRITE)
    return value


def _money(name: str, raw: str) -> Decimal:
    return parse_decimal(raw, name)


def _side(name: str, raw: str) -> PositionSide:
    return _choice(PositionSide, name, raw)


def _outcome(name: str, raw: str) -> Outcome:
    return _choice(Outcome, name, raw)


def _text(name: str, raw: str) -> str:
    if not raw.strip() or len(raw) > _LONGEST_TEXT or not raw.isprintable():
        raise InputsError(f"{name} {raw[:40]!r} is not a name", f"give up to {_LONGEST_TEXT} printable characters")
    return raw


def _choice(kind: type[Choice], name: str, raw: str) -> Choice:
    try:
        return kind(raw)
    except ValueError:
        raise InputsError(f"{name} {raw!r} is not one of its values", f"write {' or '.join(kind)}") from None


def _time(name: str, raw: str) -> Millis:
    try:
        moment = datetime.fromisoformat(raw)
    except ValueError:
        raise InputsError(f"{name} {raw!r} is not an RFC 3339 time", "write it as 2025-02-03T01:30:00Z") from None
    if moment.tzinfo is None:
        raise InputsError(f"{name} {raw!r} has no time zone", f"write {raw}Z for UTC")
    at = (moment - _EPOCH) // timedelta(milliseconds=1)
    if at < 0:
        raise InputsError(f"{name} {raw!r} is before 1970", "write it as 2025-02-03T01:30:00Z")
    return at


_READERS: Mapping[str, Callable[[str, str], object]] = {
    "position_side": _side,
    "leg": _leg,
    "entry_time": _time,
    "entry_price": _above_zero,
    "target_price": _above_zero,
    "exit_time": _time,
    "exit_price": _above_zero,
    "quantity": _above_zero,
    "profit_usd": _money,
    "outcome": _outcome,
    "missed_usd": _money,
    "stop_initial": _above_zero,
    "leverage": _above_zero,
}


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")
