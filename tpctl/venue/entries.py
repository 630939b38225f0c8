"""The twin's trader: opens positions, so that there is something to guard.

Decides when which position is opened. It stands for the person or bot whose entries come from anywhere, and belongs to
the exchange's side: the engine under test never sees it and never opens anything itself (I3). It closes nothing. What
it does depends on the seed, the step times and which symbols are flat then; never on wall time.

A scripted trader holds at most six positions, one per symbol; where the exchange refuses an entry it is noted in
`refused` and the script goes on.
"""

import csv
import io
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path
from random import Random
from typing import Any, Protocol

from tpctl.exits.errors import InputsError
from tpctl.exits.units import Millis, Money
from tpctl.market.bars import HOUR_MS
from tpctl.venue.refusals import VenueError

DEFAULT_RATE = 6.0
MOST_OPEN = 6

_FIELDS = ("time", "symbol", "side", "leverage", "notional")
_MOST_LEVERAGE = 125
_REFUSED_KEPT = 100


class Held(Protocol):
    """An open position; side is LONG or SHORT."""

    @property
    def symbol(self) -> str:
        """The symbol held."""
        ...

    @property
    def side(self) -> str:
        """LONG or SHORT."""
        ...


class Tradable(Protocol):
    """What the trader needs of the exchange; `Venue` has it."""

    def positions(self) -> Sequence[Held]:
        """Return the open positions."""
        ...

    def open_position(
        self, symbol: str, side: str, *, notional: Money | None = None, leverage: int | None = None, margin: str = ...
    ) -> None:
        """Open at market."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One opening at market: when, what, which way, at which leverage, worth how much in the quote asset."""

    at: Millis
    symbol: str
    side: str
    leverage: int
    notional: Money


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """An entry that was not made, and why."""

    at: Millis
    entry: Entry
    reason: str


_FIRST = (
    ("XRPUSDT", "LONG", 20, Decimal(2000)),
    ("BTCUSDT", "LONG", 10, Decimal(5000)),
    ("ETHUSDT", "SHORT", 20, Decimal(1750)),
    ("SOLUSDT", "LONG", 15, Decimal(1800)),
)


class Entries:
    """A trader at work: `on_step` after every market step opens what is due.

    `margin` is CROSSED or ISOLATED. `refused` holds the latest entries that were not made.
    """

    def __init__(self, margin: str = "CROSSED") -> None:
        self._margin = margin
        self.refused: deque[RefusedEntry] = deque(maxlen=_REFUSED_KEPT)

    def on_step(self, venue: Tradable, at: Millis) -> None:
        """Open what is due at `at`."""
        for entry in self._due(venue, at):
            held = {position.symbol: position.side for position in venue.positions()}
            if held.get(entry.symbol, entry.side) != entry.side:
                self._refuse(at, entry, f"{entry.symbol} is held {held[entry.symbol].lower()}")
                continue
            try:
                venue.open_position(
                    entry.symbol, entry.side, notional=entry.notional, leverage=entry.leverage, margin=self._margin
                )
            except VenueError as refused:
                self._refuse(at, entry, refused.msg)

    def _due(self, venue: Tradable, at: Millis) -> Iterable[Entry]:
        raise NotImplementedError

    def _refuse(self, at: Millis, entry: Entry, reason: str) -> None:
        self.refused.append(RefusedEntry(at, entry, reason))


class NoEntries(Entries):
    """A trader who does nothing: positions are opened by hand, over the API."""

    def _due(self, venue: Tradable, at: Millis) -> Iterable[Entry]:  # noqa: ARG002 - the base's signature
        return ()


class SeededEntries(Entries):
    """Opens four positions at once (those of them the market has), then more at `rate` per hour of market time.

    Later entries are long or short, 3 to 25 times levered, worth 200 to 6000, and fall out where no symbol is flat or
    six positions are open.
    """

    def __init__(
        self, seed: int, symbols: Sequence[str], *, rate: float = DEFAULT_RATE, margin: str = "CROSSED"
    ) -> None:
        if not 0 <= rate <= 1000:
            raise InputsError(f"entry rate {rate!r} is out of range", "give entries per hour, 0 to 1000")
        super().__init__(margin)
        self._symbols = tuple(symbols)
        self._rate = rate
        self._rng = Random(f"{seed}:entries")  # noqa: S311 - a story that can be told again, not a secret
        self._next: float | None = None

    def _due(self, venue: Tradable, at: Millis) -> Iterator[Entry]:
        if self._next is None:
            self._next = at + self._pause()
            for symbol, side, leverage, notional in _FIRST:
                if symbol in self._symbols:
                    yield Entry(at, symbol, side, leverage, notional)
        while self._next <= at:
            self._next += self._pause()
            entry = self._draw(venue, at)
            if entry is not None:
                yield entry

    def _pause(self) -> float:
        return self._rng.expovariate(self._rate) * HOUR_MS if self._rate else float("inf")

    def _draw(self, venue: Tradable, at: Millis) -> Entry | None:
        # Every draw is made, whatever is open, so that what the engine does never shifts the entries after it.
        rng = self._rng
        order = rng.sample(self._symbols, len(self._symbols))
        side = rng.choice(("LONG", "SHORT"))
        leverage = rng.randint(3, 25)
        notional = Decimal(round(200 * 30 ** rng.random()))
        held = {position.symbol for position in venue.positions()}
        flat = [symbol for symbol in order if symbol not in held]
        if not flat or len(held) >= MOST_OPEN:
            return None
        return Entry(at, flat[0], side, leverage, notional)


class ListedEntries(Entries):
    """Makes the entries of a list, each at the first step at or after its time; those before the start at once.

    A second entry in a symbol adds to the position; one against it is refused, because it would close it.
    """

    def __init__(self, entries: Iterable[Entry], margin: str = "CROSSED") -> None:
        super().__init__(margin)
        self._waiting = deque(sorted(entries, key=lambda entry: entry.at))

    def _due(self, venue: Tradable, at: Millis) -> Iterator[Entry]:  # noqa: ARG002 - the base's signature
        while self._waiting and self._waiting[0].at <= at:
            yield self._waiting.popleft()


def read_entries(path: Path, symbols: Sequence[str]) -> list[Entry]:
    """Read entries from CSV with a header (time, symbol, side, leverage, notional), or JSON lines with these keys.

    Times are RFC 3339, or ms since the epoch. Raises `InputsError` with the line for anything malformed, and for a
    symbol that is not among the market's `symbols`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputsError(f"entries file {str(path)!r} does not exist", "check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputsError(f"cannot read entries file {str(path)!r}: {error}", "give a CSV or JSON lines file") from None
    rows = _json_rows(text, path) if text.lstrip().startswith("{") else _csv_rows(text, path)
    return [_entry(row, f"{str(path)!r} line {number}", symbols) for number, row in rows]


def _json_rows(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_float=str)
        except json.JSONDecodeError as error:
            raise InputsError(
                f"{str(path)!r} line {number} is not JSON: {error.msg}", "write one object per line"
            ) from None
        if not isinstance(row, dict):
            raise InputsError(f"{str(path)!r} line {number} is not an object", "write one object per line")
        yield number, row


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text))
    missing = [name for name in _FIELDS if name not in (reader.fieldnames or ())]
    if missing:
        raise InputsError(f"{str(path)!r} has no column {missing[0]!r}", f"its first line names {','.join(_FIELDS)}")
    for row in reader:
        yield reader.line_num, row


def _entry(row: Mapping[str, Any], where: str, symbols: Sequence[str]) -> Entry:
    values = {name: str(row.get(name) or "").strip() for name in _FIELDS}
    for name, value in values.items():
        if not value:
            raise InputsError(f"{where} has no {name}", f"an entry has {', '.join(_FIELDS)}")
    symbol = values["symbol"]
    if symbol not in symbols:
        close = get_close_matches(symbol.upper(), symbols, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the market has {', '.join(symbols)}"
        raise InputsError(f"{where}: symbol {symbol!r} is not in the market", hint)
    side = values["side"].upper()
    if side not in {"LONG", "SHORT"}:
        raise InputsError(f"{where}: side {values['side']!r} is neither long nor short", "write long or short")
    leverage = values["leverage"]
    if not (leverage.isascii() and leverage.isdigit() and 1 <= int(leverage) <= _MOST_LEVERAGE):
        raise InputsError(f"{where}: leverage {leverage!r} is out of range", "write a whole number from 1 to 125")
    return Entry(_time(values["time"], where), symbol, side, int(leverage), _notional(values["notional"], where))


def _time(text: str, where: str) -> Millis:
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputsError(f"{where}: time {text!r} is not a time", "write 2026-01-05T00:30:00Z") from None
    if moment.tzinfo is None:
        raise InputsError(f"{where}: time {text!r} has no zone", f"write {text}Z for UTC")
    return round(moment.astimezone(UTC).timestamp() * 1000)


def _notional(text: str, where: str) -> Money:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or not 0 < value < 10**12:
        raise InputsError(f"{where}: notional {text!r} is not an amount", "write an amount such as 2000")
    return value
