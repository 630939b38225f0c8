"""Streams of values through `quantize --stdin`: one row in, the same row out, rounded; memory does not grow.

Rows are JSON objects, one a line, or tab-separated with a header line; the first line tells which. A row names what to
round by `price`, `stop_price` and `qty`, may name its own `symbol`, and keeps every other field. Each row gains
`changed`, `placeable` and `codes`. A row that cannot be read is reported with its line number and left out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import BinaryIO, Protocol, TextIO

import msgspec

from tpctl.adapters.rulebook import RuleBook
from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Instrument
from tpctl.exits.placeable import Field, Terms, place, quick_check, rounded
from tpctl.exits.units import parse_positive, plain

# A longer line is no row; reading it whole would fill memory.
_LONGEST_LINE = 1 << 20
# Rows that fail are named up to this many; a million of them would bury the message.
_NAMED_FAILURES = 20
_CHUNK_LINES = 256

_NAMES = {field.value: field for field in Field}
_ADDED = ("changed", "placeable", "codes")


@dataclass(slots=True)
class Tally:
    """What became of the rows."""

    rows: int = 0
    broken: int = 0
    first_broken: int = 0
    refused: int = 0
    changed: int = 0


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The rounded values of a row, by field, and the errors the exchange would answer."""

    values: dict[str, str]
    changed: bool
    codes: tuple[int, ...]


class _Form(Protocol):
    """How rows are spelled."""

    def read(self, line: bytes) -> dict[str, object]: ...
    def write(self, row: dict[str, object], outcome: _Outcome) -> str: ...


def quantize_rows(
    source: BinaryIO, out: TextIO, err: TextIO, book: RuleBook, symbol: str | None, terms: Terms
) -> Tally:
    """Round every row of `source` to `out`, failures to `err`, and return the counts; raises `InputsError` if empty."""
    rounder = _Rounder(book, symbol, terms)
    tally = Tally()
    form: _Form | None = None
    ready: list[str] = []
    for number, line in _lines(source):
        if not line.strip():
            continue
        try:
            if form is None:
                form, header = _recognised(line)
                if header is not None:
                    ready.append(header)
                    continue
            tally.rows += 1
            row = form.read(_bounded(line))
            outcome = rounder.round(row)
        except InputsError as error:
            tally.broken += 1
            tally.first_broken = tally.first_broken or number
            if tally.broken <= _NAMED_FAILURES:
                err.write(f"line {number}: {error.message}\n")
            if form is None:
                # Without a readable first line nothing says what the columns are.
                raise
            continue
        tally.changed += outcome.changed
        tally.refused += bool(outcome.codes)
        ready.append(form.write(row, outcome))
        if len(ready) >= _CHUNK_LINES:
            out.write("".join(ready))
            ready.clear()
    out.write("".join(ready))
    if not tally.rows:
        raise InputsError("stdin holds no row", "give one JSON object a line, or tab-separated rows below a header")
    return tally


def _lines(source: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield numbered lines; of a line that is too long only its start."""
    number = 0
    while line := source.readline(_LONGEST_LINE):
        number += 1
        rest = line
        while len(rest) >= _LONGEST_LINE and not rest.endswith(b"\n"):
            rest = source.readline(_LONGEST_LINE)
        yield number, line


def _bounded(line: bytes) -> bytes:
    if len(line) >= _LONGEST_LINE:
        raise InputsError("the line is too long", "give one row a line")
    return line


def _recognised(line: bytes) -> tuple[_Form, str | None]:
    """Return the form of the rows by the first line, and for a header the header to write."""
    line = line.removeprefix(b"\xef\xbb\xbf")
    if line.lstrip().startswith(b"{"):
        return _JsonRows(), None
    names = _text(line).rstrip("\r\n").split("\t")
    if not _NAMES.keys() & set(names):
        raise InputsError(
            "stdin is neither JSON lines nor a table with a column 'price', 'stop_price' or 'qty'",
            "give one JSON object a line, or tab-separated rows below a header",
        )
    if len(set(names)) != len(names) or set(_ADDED) & set(names):
        raise InputsError("stdin has a column twice, or one this command adds", "rename the columns")
    return _TabRows(names), "\t".join((*names, *_ADDED)) + "\n"


class _JsonRows:
    """One JSON object a line. Numbers are read as decimals, so that no digit changes on the way through."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder(float_hook=Decimal)
        self._encoder = msgspec.json.Encoder(decimal_format="number")

    def read(self, line: bytes) -> dict[str, object]:
        try:
            row = self._decoder.decode(line.removeprefix(b"\xef\xbb\xbf"))
        except (msgspec.MsgspecError, UnicodeDecodeError, ArithmeticError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise InputsError("the row is no JSON object", "give one JSON object a line")
        return row

    def write(self, row: dict[str, object], outcome: _Outcome) -> str:
        row.update(outcome.values)
        row["changed"], row["placeable"] = outcome.changed, not outcome.codes
        row["codes"] = outcome.codes
        return self._encoder.encode(row).decode() + "\n"


class _TabRows:
    """Tab-separated values below a header; an empty cell is no value."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def read(self, line: bytes) -> dict[str, object]:
        cells = _text(line).rstrip("\r\n").split("\t")
        if len(cells) != len(self._names):
            raise InputsError(f"the row has {len(cells)} cells, the header {len(self._names)}", "fill the row")
        return dict(zip(self._names, cells, strict=True))

    def write(self, row: dict[str, object], outcome: _Outcome) -> str:
        cells = [outcome.values.get(name) or str(row[name]) for name in self._names]
        said = ("yes" if outcome.changed else "no", "no" if outcome.codes else "yes", ",".join(map(str, outcome.codes)))
        return "\t".join((*cells, *said)) + "\n"


class _Rounder:
    """Rounds rows, keeping what it learned about each symbol."""

    def __init__(self, book: RuleBook, symbol: str | None, terms: Terms) -> None:
        self._book = book
        self._symbol = symbol
        self._terms = terms
        self._known: dict[str, tuple[Instrument, dict[Field, Callable[[Decimal], bool] | None]]] = {}

    def round(self, row: dict[str, object]) -> _Outcome:
        instrument, quick = self._rules(row.get("symbol") or self._symbol)
        values: dict[str, str] = {}
        codes: tuple[int, ...] = ()
        changed = False
        price: Decimal | None = None
        for name, field in _NAMES.items():
            raw = row.get(name)
            if raw is None or raw == "":
                continue
            given = _number(raw, name)
            value = rounded(instrument, field, given, self._terms)
            test = quick[field]
            if test is None or not test(value):
                codes += place(instrument, field, given, self._terms, price=price).codes
            if field is not Field.QUANTITY:
                price = value
            changed = changed or value != given
            values[name] = plain(value)
        if not values:
            raise InputsError("the row has none of 'price', 'stop_price' and 'qty'", "name at least one")
        return _Outcome(values, changed, tuple(dict.fromkeys(codes)))

    def _rules(self, symbol: object) -> tuple[Instrument, dict[Field, Callable[[Decimal], bool] | None]]:
        if not isinstance(symbol, str):
            raise InputsError("the row names no symbol", "name one on the command line or in each row")
        known = self._known.get(symbol)
        if known is None:
            instrument = self._book.instrument(symbol)
            known = instrument, {field: quick_check(instrument, field, self._terms) for field in Field}
            self._known[symbol] = known
        return known


def _number(raw: object, name: str) -> Decimal:
    if isinstance(raw, bool) or not isinstance(raw, str | int | Decimal):
        raise InputsError(f"{name} {raw!r} is not a number", "write a plain decimal such as 0.5123")
    return parse_positive(str(raw), name)


def _text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise InputsError("the line is not UTF-8", "give UTF-8 text") from None
