"""The rule book of one environment: trading rules and leverage brackets by symbol, and their cache on disk.

Decides where rules come from (a fetch, the cache, files the operator named) and whether they are fresh enough. It never
guesses a rule, never fetches by itself (the fetch is passed in) and never hides how old its rules are. What a field
means is decided in `rules`.

The cache is one file per environment, replaced atomically: a checksum, a header line, an index of offsets, and one JSON
slice per symbol, so that looking one symbol up parses that symbol only. A damaged cache is a missing one, with a
warning; a cache written by a newer tpctl is refused and left as it is.
"""

import json
import zlib
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from tpctl.adapters.rules import (
    Payload,
    bracket_rows,
    parse_bracket_row,
    parse_instrument,
    row_symbol,
    symbol_rows,
)
from tpctl.exits.errors import InputsError, RateLimitedError, StateFileError, UnavailableError
from tpctl.exits.instrument import Bracket, Instrument, Unavailable
from tpctl.exits.units import Millis

DEFAULT_TTL_MS: Millis = 3_600_000

_FORMAT = "tpctl.rules"
_VERSION = 1
# The checksum of all that follows it, in hexadecimal, and a space.
_CHECKSUM_BYTES = 9
# A clock that was set back by less than this does not make rules look as if they came from the future.
_SKEW_MS: Millis = 60_000
_MAX_FILE_BYTES = 64 * 1024 * 1024
_GZIP = b"\x1f\x8b"
_ELSEWHERE = "run once with a connection, or name an exchangeInfo file with --rules FILE"

Warned: TypeAlias = tuple[str, str]


class Fetched(NamedTuple):
    """What a fetch brought: exchangeInfo, leverageBracket (None where the account was not asked) and when, ms UTC."""

    exchange_info: Payload
    brackets: object | None
    at: Millis


Fetch: TypeAlias = Callable[[], Awaitable[Fetched]]


class _Rows(Protocol):
    """Raw rows by symbol."""

    def names(self) -> tuple[str, ...]: ...
    def row(self, symbol: str) -> Payload | None: ...


class RuleBook:
    """Rules and brackets by symbol. A symbol is parsed when it is first asked for, and kept.

    `origin` says where the rules came from, in an operator's words; `fetched_at` and `brackets_at` when they were true
    (ms UTC, None where unknown); `warnings` are (code, text) to show beside any result made with them.
    """

    def __init__(
        self,
        rules: _Rows,
        brackets: _Rows,
        *,
        origin: str,
        fetched_at: Millis | None,
        brackets_at: Millis | None = None,
        warnings: tuple[Warned, ...] = (),
    ) -> None:
        self.origin = origin
        self.fetched_at = fetched_at
        self.brackets_at = brackets_at
        self.warnings = warnings
        self._rules = rules
        self._brackets = brackets
        self._instruments: dict[str, Instrument] = {}
        self._tables: dict[str, tuple[Bracket, ...] | Unavailable] = {}

    @classmethod
    def from_payload(
        cls, exchange_info: Payload, brackets: object | None = None, *, origin: str, fetched_at: Millis | None = None
    ) -> "RuleBook":
        """Build from an exchangeInfo answer and a leverageBracket answer or tiers file; raises `InputsError`.

        Without `fetched_at` the answer's own `serverTime` dates the rules.
        """
        if fetched_at is None:
            fetched_at = _server_time(exchange_info)
        tables = {} if brackets is None else {row_symbol(row): row for row in bracket_rows(brackets)}
        return cls(
            _Parsed(_unique(exchange_info)),
            _Parsed(tables),
            origin=origin,
            fetched_at=fetched_at,
            brackets_at=fetched_at if tables else None,
        )

    @classmethod
    def from_files(cls, rules: Path, brackets: Path | None = None) -> "RuleBook":
        """Read an exchangeInfo file and a brackets file, plain or gzip, wrapped or not; raises `InputsError`."""
        content = _read_json(rules, "rules")
        if not isinstance(content, dict):
            raise InputsError(f"rules file {str(rules)!r} is no exchangeInfo answer", "name another file with --rules")
        tables = None if brackets is None else _read_json(brackets, "brackets")
        return cls.from_payload(content, tables, origin=str(rules))

    def symbols(self) -> tuple[str, ...]:
        """Return every symbol the book has rules for, in the exchange's order."""
        return self._rules.names()

    def spelled(self, symbol: str) -> str:
        """Return the symbol as the exchange spells it, where only its case differs."""
        return symbol if symbol in self.symbols() else symbol.upper()

    def instrument(self, symbol: str) -> Instrument:
        """Return the rules of one symbol; raises `InputsError` with the nearest names where there are none."""
        known = self._instruments.get(symbol)
        if known is None:
            known = self._instruments[symbol] = parse_instrument(self.rule_payload(symbol))
        return known

    def instruments(self) -> dict[str, Instrument]:
        """Return the rules of every symbol."""
        return {symbol: self.instrument(symbol) for symbol in self.symbols()}

    def brackets(self, symbol: str) -> tuple[Bracket, ...] | Unavailable:
        """Return the leverage brackets of one symbol, ascending; unavailable where the book has none."""
        known = self._tables.get(symbol)
        if known is None:
            row = self._brackets.row(symbol)
            known = Unavailable(f"no leverage brackets of {symbol} in {self.origin}")
            if row is not None:
                known = parse_bracket_row(row)
            self._tables[symbol] = known
        return known

    def age_ms(self, now: Millis) -> Millis | None:
        """Return how old the rules are at `now`, or None where that is unknown."""
        return None if self.fetched_at is None else now - self.fetched_at

    def warned(self, *warnings: Warned) -> "RuleBook":
        """Return the book with more warnings."""
        return RuleBook(
            self._rules,
            self._brackets,
            origin=self.origin,
            fetched_at=self.fetched_at,
            brackets_at=self.brackets_at,
            warnings=self.warnings + warnings,
        )

    def rule_payload(self, symbol: str) -> Payload:
        """Return the raw exchangeInfo row of one symbol; raises `InputsError` as `instrument` does."""
        row = self._rules.row(symbol)
        if row is None:
            raise self._unknown(symbol)
        return row

    def bracket_payload(self) -> list[Payload]:
        """Return the raw bracket rows, to store them again."""
        rows = (self._brackets.row(symbol) for symbol in self._brackets.names())
        return [row for row in rows if row is not None]

    def _unknown(self, symbol: str) -> InputsError:
        # Imported where a mistake is met: a look-up that succeeds need not pay for it.
        from difflib import get_close_matches  # noqa: PLC0415

        names = self.symbols()
        upper = symbol.upper()
        near = [upper] if upper in names else get_close_matches(upper, names, n=3, cutoff=0.7)
        hint = f"did you mean {' or '.join(near)}?" if near else "write it as the exchange does, such as XRPUSDT"
        return InputsError(f"unknown symbol {symbol!r}: not among the {len(names)} of {self.origin}", hint)


class RuleCache:
    """The cache of one environment at `path`; rules older than `ttl_ms` are fetched again."""

    def __init__(self, path: Path, environment: str, ttl_ms: Millis = DEFAULT_TTL_MS) -> None:
        self.path = path
        self.environment = environment
        self.ttl_ms = ttl_ms

    def load(self) -> RuleBook | Unavailable | None:
        """Return what the cache holds whatever its age, None where there is no cache, unavailable where it is damaged.

        Raises `StateFileError` for a cache a newer tpctl wrote.
        """
        try:
            data = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return Unavailable(f"cannot be read: {(error.strerror or 'unknown error').lower()}")
        try:
            return self._decode(data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return Unavailable(f"is damaged ({type(error).__name__})")

    def fresh(self, now: Millis) -> RuleBook | None:
        """Return the cached book where it is young enough at `now`; raises `StateFileError` as `load` does."""
        book = self.load()
        return book if isinstance(book, RuleBook) and self._young(book, now) else None

    def offline(self, now: Millis) -> RuleBook:
        """Return the cached book at any age, with a warning where it is old.

        Raises `InputsError` where there is none to use, `StateFileError` as `load` does.
        """
        book = self.load()
        if book is None:
            raise InputsError(f"no cached rules of {self.environment!r}, and fetching them is forbidden", _ELSEWHERE)
        if isinstance(book, Unavailable):
            raise InputsError(f"rule cache {str(self.path)!r} {book.reason}, and fetching is forbidden", _ELSEWHERE)
        if self._young(book, now):
            return book
        return book.warned(("rules_old", f"the rules are {_shown_age(book, now)} old"))

    async def current(self, fetch: Fetch, now: Millis, *, refresh: bool = False) -> RuleBook:
        """Return a young book: the cached one, or a fetched one that is then cached.

        Where the fetch fails an old cached book serves, with a warning, unless `refresh` asked for a new one. A cache
        that cannot be written is a warning. Raises what `fetch` raises where there is nothing to fall back on, and
        `StateFileError` as `load` does.
        """
        cached = self.load()
        known = cached if isinstance(cached, RuleBook) else None
        if known is not None and not refresh and self._young(known, now):
            return known
        try:
            fetched = await fetch()
        except (UnavailableError, RateLimitedError) as error:
            if known is None or refresh:
                raise
            text = f"the rules are {_shown_age(known, now)} old; fetching newer ones failed: {error.message}"
            return known.warned(("rules_old", text))
        book = self.store(fetched, known)
        if isinstance(cached, Unavailable):
            book = book.warned(("rule_cache_damaged", f"rule cache {str(self.path)!r} {cached.reason}; fetched again"))
        return book

    def store(self, fetched: Fetched, previous: RuleBook | None = None) -> RuleBook:
        """Cache what was fetched and return it as a book; brackets that were not fetched are kept from `previous`.

        Raises `InputsError` for an answer without symbols, before anything is written.
        """
        rules = _unique(fetched.exchange_info)
        tables, tables_at = {row_symbol(row): row for row in bracket_rows(fetched.brackets or [])}, fetched.at
        if fetched.brackets is None and previous is not None:
            tables, tables_at = {row_symbol(row): row for row in previous.bracket_payload()}, previous.brackets_at or 0
        book = RuleBook(
            _Parsed(rules),
            _Parsed(tables),
            origin=f"the {self.environment} exchange",
            fetched_at=fetched.at,
            brackets_at=tables_at if tables else None,
        )
        # Only a fetch writes; a look-up should not pay for importing it.
        from tpctl.adapters.files import write_atomic  # noqa: PLC0415

        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(self.path, self._encode(rules, tables, book.fetched_at, book.brackets_at))
        except StateFileError as error:
            return book.warned(("rule_cache_unwritable", error.message))
        except OSError as error:
            reason = (error.strerror or "unknown error").lower()
            return book.warned(("rule_cache_unwritable", f"cannot create {str(self.path.parent)!r}: {reason}"))
        return book

    def _young(self, book: RuleBook, now: Millis) -> bool:
        age = book.age_ms(now)
        return age is not None and -_SKEW_MS <= age <= self.ttl_ms

    def _encode(
        self, rules: Mapping[str, Payload], tables: Mapping[str, Payload], at: Millis | None, tables_at: Millis | None
    ) -> bytes:
        slices: list[bytes] = []
        index: dict[str, dict[str, tuple[int, int]]] = {"rules": {}, "brackets": {}}
        offset = 0
        for kind, rows in (("rules", rules), ("brackets", tables)):
            for symbol, row in rows.items():
                data = _dump(row)
                index[kind][symbol] = (offset, len(data))
                slices.append(data)
                offset += len(data)
        places = _dump(index)
        content = places + b"".join(slices)
        header = {
            "format": _FORMAT,
            "version": _VERSION,
            "environment": self.environment,
            "fetched_at": at,
            "brackets_at": tables_at,
            "index_bytes": len(places),
        }
        checked = _dump(header) + b"\n" + content
        return b"%08x " % zlib.crc32(checked) + checked

    def _decode(self, data: bytes) -> RuleBook | Unavailable | None:
        end = data.find(b"\n")
        header = json.loads(data[_CHECKSUM_BYTES : max(end, 0)])
        if header["format"] != _FORMAT:
            return Unavailable("is no rule cache")
        if header["version"] > _VERSION:
            raise StateFileError(
                f"rule cache {str(self.path)!r} was written by a newer tpctl (version {header['version']})",
                "use that tpctl, or remove the file: it is fetched again",
            )
        if zlib.crc32(memoryview(data)[_CHECKSUM_BYTES:]) != int(data[:_CHECKSUM_BYTES], 16):
            return Unavailable("is damaged (checksum)")
        if header["environment"] != self.environment:
            return Unavailable(f"holds the rules of {header['environment']!r}, not of {self.environment!r}")
        content = memoryview(data)[end + 1 :]
        places = header["index_bytes"]
        index = json.loads(bytes(content[:places]))
        body = content[places:]
        return RuleBook(
            _Slices(index["rules"], body),
            _Slices(index["brackets"], body),
            origin=f"the {self.environment} rule cache",
            fetched_at=int(header["fetched_at"]),
            brackets_at=header["brackets_at"],
        )


class _Parsed:
    """Rows that are parsed JSON already."""

    def __init__(self, rows: Mapping[str, Payload]) -> None:
        self._rows = rows

    def names(self) -> tuple[str, ...]:
        return tuple(self._rows)

    def row(self, symbol: str) -> Payload | None:
        return self._rows.get(symbol)


class _Slices:
    """Rows as slices of one buffer, whose checksum held."""

    def __init__(self, places: Mapping[str, tuple[int, int]], body: memoryview) -> None:
        self._places = places
        self._body = body

    def names(self) -> tuple[str, ...]:
        return tuple(self._places)

    def row(self, symbol: str) -> Payload | None:
        place = self._places.get(symbol)
        if place is None:
            return None
        row: Payload = json.loads(bytes(self._body[place[0] : place[0] + place[1]]))
        return row


def _unique(exchange_info: Payload) -> dict[str, Payload]:
    rows: dict[str, Payload] = {}
    for row in symbol_rows(exchange_info):
        symbol = row_symbol(row)
        if symbol in rows:
            raise InputsError(f"exchangeInfo lists {symbol!r} twice", "name another file with --rules")
        rows[symbol] = row
    return rows


def _server_time(exchange_info: Payload) -> Millis | None:
    info = exchange_info.get("info", exchange_info)
    at = info.get("serverTime") if isinstance(info, Mapping) else None
    return at if isinstance(at, int) and at > 0 else None


def _dump(value: object) -> bytes:
    # Bare numbers of an answer may have been read as decimals; as text they keep their digits, and parse the same.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_digits).encode()


def _digits(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no part of a JSON answer")


def _read_json(path: Path, what: str) -> object:
    again = f"name another file with --{what}"
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        if data.startswith(_GZIP):
            data = _inflated(data)
    except FileNotFoundError:
        raise InputsError(f"{what} file {str(path)!r} does not exist", "check the path") from None
    except OSError as error:
        reason = (error.strerror or "it is damaged").lower()
        raise InputsError(f"{what} file {str(path)!r} cannot be read: {reason}", again) from None
    except (zlib.error, EOFError):
        raise InputsError(f"{what} file {str(path)!r} is a damaged gzip file", again) from None
    if len(data) > _MAX_FILE_BYTES:
        raise InputsError(f"{what} file {str(path)!r} is too large", again)
    try:
        content: object = json.loads(data)
    except (ValueError, RecursionError):
        raise InputsError(f"{what} file {str(path)!r} is not JSON", again) from None
    return content


def _inflated(data: bytes) -> bytes:
    # zlib with a bound, so that a small file cannot fill memory.
    inflater = zlib.decompressobj(wbits=31)
    content = inflater.decompress(data, _MAX_FILE_BYTES + 1)
    if len(content) <= _MAX_FILE_BYTES and not inflater.eof:
        raise EOFError
    return content


def _shown_age(book: RuleBook, now: Millis) -> str:
    age = book.age_ms(now)
    return "an unknown time" if age is None else show_age(age)


def show_age(age_ms: Millis) -> str:
    """Return an age for people: `4 min`, `3 h`, `12 d`."""
    minutes = max(age_ms, 0) // 60_000
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} d"
