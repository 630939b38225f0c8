"""Reads recorded bars: Parquet, and the kline CSV files of data.binance.vision, plain or zipped.

Decides what counts as a candle file and refuses, with a place and a way out, whatever is damaged, mixed or not there.
It never fills a missing minute, never rounds a price, and never fetches anything: a file system path is all it takes.

Parquet columns: `symbol`, `ts` (ms UTC, open time), `open`, `high`, `low`, `close`, `volume` (base units). Needs the
`parquet` extra. CSV columns: the twelve of the exchange's klines, with or without a header line, times in ms or us; the
symbol comes from the name (`XRPUSDT-1m-2025-02.csv`). Only bars inside the range asked for are kept in memory.
"""

import importlib
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, Any, NoReturn

from tpctl.exits.errors import InputsError
from tpctl.exits.units import Millis
from tpctl.market.bars import DAY_MS, HOUR_MS, MINUTE_MS, Bar, Candles

_COLUMNS = ("symbol", "ts", "open", "high", "low", "close", "volume")
_SUFFIXES = (".parquet", ".csv", ".zip")
_KLINE_FIELDS = 12
_MAX_LINE = 4096
# Newer files of data.binance.vision carry microseconds; 10^14 ms lies in the year 5138.
_MICROSECONDS_FROM = 10**14
_FETCH_ROWS = 20_000
_KLINE_NAME = re.compile(r"(?P<symbol>[^-/]+)-(?P<count>\d+)(?P<unit>[mhd])(?=[-.])")
_UNIT_MS = {"m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}


@dataclass(frozen=True, slots=True)
class Span:
    """Open times of the first and the last bar of a symbol in a file, in ms UTC."""

    first: Millis
    last: Millis

    def joined(self, other: "Span") -> "Span":
        """Return the span that covers both."""
        return Span(min(self.first, other.first), max(self.last, other.last))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a reader keeps: open times from `since` (inclusive) to `until` (exclusive); all symbols where None."""

    symbols: frozenset[str] | None
    since: Millis
    until: Millis

    def admits(self, symbol: str) -> bool:
        return self.symbols is None or symbol in self.symbols


@dataclass(slots=True)
class _Found:
    """What the files held: bars in range, and for every symbol what the files cover."""

    bars: dict[str, list[Bar]] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    intervals: dict[str, int] = field(default_factory=dict)

    def cover(self, symbol: str, span: Span) -> None:
        known = self.spans.get(symbol)
        self.spans[symbol] = span if known is None else known.joined(span)

    def add(self, symbol: str, bars: Iterable[Bar], interval_ms: int, label: str) -> None:
        """Keep the bars of one file; `interval_ms` is 0 where the file alone does not tell."""
        self.bars.setdefault(symbol, []).extend(bars)
        if interval_ms and self.intervals.setdefault(symbol, interval_ms) != interval_ms:
            _refuse_mixed(label)


def read_candles(
    path: Path | Sequence[Path],
    symbols: Sequence[str] | None = None,
    since_ms: Millis | None = None,
    until_ms: Millis | None = None,
) -> Candles:
    """Return the bars of `symbols` (all where None) that open in [since_ms, until_ms), and their detected length.

    `path` is a file, several files, or a directory of them. Mark-price files read the same way; their volume is zero.
    Raises `InputsError` for a missing or damaged file, an unknown symbol, mixed lengths, and an empty range.
    """
    wanted = _Wanted(
        None if symbols is None else frozenset(symbols),
        0 if since_ms is None else since_ms,
        10**15 if until_ms is None else until_ms,
    )
    found, label = _gather(path, wanted)
    chosen = tuple(dict.fromkeys(symbols)) if symbols is not None else tuple(sorted(found.spans))
    _require_known(chosen, found.spans, label)
    _require_bars(chosen, found, label, each=symbols is not None)
    ordered = {symbol: _ascending(found.bars[symbol]) for symbol in chosen if found.bars.get(symbol)}
    interval_ms = _interval_of(ordered, found.intervals, label)
    return Candles(interval_ms, ordered)


def read_history(
    path: Path | Sequence[Path], symbol: str, before_ms: Millis, span_ms: int = 45 * DAY_MS
) -> Sequence[Bar]:
    """Return the bars of `symbol` that open in the `span_ms` before `before_ms`, none where the files hold none.

    Raises `InputsError` as `read_candles` does, but for an empty range.
    """
    found, label = _gather(path, _Wanted(frozenset({symbol}), before_ms - span_ms, before_ms))
    _require_known([symbol], found.spans, label)
    return _ascending(found.bars.get(symbol, []))


def candle_spans(path: Path | Sequence[Path]) -> dict[str, Span]:
    """Return what the file, files or directory cover by symbol, without loading bars; raises `InputsError`."""
    found, _ = _gather(path, _Wanted(None, 0, 0))
    return dict(sorted(found.spans.items()))


def _gather(path: Path | Sequence[Path], wanted: _Wanted) -> tuple[_Found, str]:
    """Return what the files hold of what is wanted, and how to name them in an error."""
    files = _files_of(path)
    found = _Found()
    for file in files:
        _read_file(file, wanted, found, strict=_is_named(path, file))
    return found, str(path) if isinstance(path, Path) else ", ".join(map(str, files))


def _is_named(path: Path | Sequence[Path], file: Path) -> bool:
    """Whether the caller named this file itself; one found in a directory may be something else than candles."""
    return path == file if isinstance(path, Path) else file in path


def _files_of(path: Path | Sequence[Path]) -> list[Path]:
    named = [path] if isinstance(path, Path) else list(path)
    files: list[Path] = []
    for item in named:
        if item.is_dir():
            inside = sorted(p for p in item.rglob("*") if p.suffix in _SUFFIXES and p.is_file())
            if not inside:
                raise InputsError(
                    f"no candle file in directory {str(item)!r}", "put .parquet, .csv or .zip files there"
                )
            files.extend(inside)
        elif not item.exists():
            raise InputsError(f"candle file {str(item)!r} does not exist", "check the path of the recording")
        elif item.suffix not in _SUFFIXES:
            raise InputsError(f"candle file {str(item)!r} is of no known format", "give a .parquet, .csv or .zip file")
        else:
            files.append(item)
    return files


def _read_file(file: Path, wanted: _Wanted, found: _Found, *, strict: bool) -> None:
    try:
        if file.suffix == ".parquet":
            _read_parquet(file, wanted, found, strict=strict)
        elif file.suffix == ".zip":
            _read_zip(file, wanted, found, strict=strict)
        elif strict or _KLINE_NAME.match(file.name):
            with file.open("rb") as stream:
                _read_csv(stream, file.name, str(file), wanted, found)
    except OSError as error:
        raise InputsError(f"cannot read {str(file)!r}: {error.strerror or error}", "check the file") from error


def _damaged(where: str, what: str) -> NoReturn:
    raise InputsError(f"candle file {where} is damaged: {what}", "fetch the file again, or leave it out")


# Parquet


@contextmanager
def _parquet_connection(file: Path) -> Iterator[Any]:
    try:
        duckdb = importlib.import_module("duckdb")
    except ImportError:
        raise InputsError(
            f"reading {str(file)!r} needs the parquet extra", "install it: pip install 'tpctl[parquet]'"
        ) from None
    # A path must never make the reader load an extension or reach the network.
    config = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "threads": "1"}
    connection = duckdb.connect(config=config)
    connection.execute("SET enable_progress_bar = false")  # it would be drawn on stdout
    try:
        yield connection
    except duckdb.Error as error:
        _damaged(repr(str(file)), str(error).splitlines()[0])
    finally:
        connection.close()


def _read_parquet(file: Path, wanted: _Wanted, found: _Found, *, strict: bool) -> None:
    # The reader expands wildcards; a bracketed one stands for itself.
    path = re.sub(r"([*?\[])", r"[\1]", str(file.resolve()))
    with _parquet_connection(file) as connection:
        held = {row[0] for row in connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [path]).fetchall()}
        missing = [column for column in _COLUMNS if column not in held]
        if missing:
            if not strict:
                return
            raise InputsError(
                f"{str(file)!r} holds no candles: column {missing[0]!r} is missing",
                f"a candle file has the columns {', '.join(_COLUMNS)}",
            )
        query = "SELECT symbol, min(ts), max(ts) FROM read_parquet(?) GROUP BY symbol ORDER BY symbol"
        for symbol, first, last in connection.execute(query, [path]).fetchall():
            if wanted.admits(symbol) and wanted.until > max(first, wanted.since) and last >= wanted.since:
                interval_ms = _parquet_interval(connection, path, symbol)
                found.add(symbol, _parquet_bars(connection, path, file, symbol, wanted), interval_ms, str(file))
            found.cover(symbol, Span(first, last))


def _parquet_interval(connection: Any, path: str, symbol: str) -> int:
    query = "SELECT ts FROM read_parquet(?) WHERE symbol = ? ORDER BY ts LIMIT 200"
    return _commonest_gap(row[0] for row in connection.execute(query, [path, symbol]).fetchall())


def _parquet_bars(connection: Any, path: str, file: Path, symbol: str, wanted: _Wanted) -> Iterator[Bar]:
    cursor = connection.execute(
        "SELECT ts, open, high, low, close, volume FROM read_parquet(?) "
        "WHERE symbol = ? AND ts >= ? AND ts < ? ORDER BY ts",
        [path, symbol, wanted.since, wanted.until],
    )
    # Prices repeat: sharing their decimals more than halves the memory of a month of minutes.
    prices: dict[float, Decimal] = {}
    while rows := cursor.fetchmany(_FETCH_ROWS):
        for at, *values in rows:
            if not _sound(*values):
                _damaged(repr(str(file)), f"impossible bar of {symbol} at {_utc(at)}")
            for value in values[:4]:
                if value not in prices:
                    prices[value] = _shortest(value)
            first, high, low, close, volume = values
            yield Bar(at, prices[first], prices[high], prices[low], prices[close], _shortest(volume))


def _shortest(value: float) -> Decimal:
    """Return the decimal with the fewest digits that reads back as `value`: the number the exchange printed."""
    return Decimal(int(value)) if value.is_integer() else Decimal(repr(value))


def _sound(
    first: Decimal | float | None,
    high: Decimal | float | None,
    low: Decimal | float | None,
    close: Decimal | float | None,
    volume: Decimal | float | None,
) -> bool:
    """Whether the numbers can be a bar; a NaN fails every comparison."""
    if first is None or high is None or low is None or close is None or volume is None:
        return False
    return 0 < low <= first <= high and low <= close <= high < _HUGE and 0 <= volume < _HUGE


_HUGE = 10**30


# CSV


def _read_zip(file: Path, wanted: _Wanted, found: _Found, *, strict: bool) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            members = [name for name in archive.namelist() if name.endswith(".csv")]
            if not members and strict:
                raise InputsError(f"no .csv file in {str(file)!r}", "give a kline archive of data.binance.vision")
            for member in members:
                with archive.open(member) as stream:
                    _read_csv(stream, Path(member).name, f"{file}:{member}", wanted, found)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        _damaged(repr(str(file)), str(error) or "the archive ends early")


def _read_csv(stream: IO[bytes], name: str, label: str, wanted: _Wanted, found: _Found) -> None:
    named = _KLINE_NAME.match(name)
    if named is None:
        raise InputsError(f"cannot tell the symbol of {label!r} from its name", "name it like XRPUSDT-1m-2025-02.csv")
    symbol = named["symbol"]
    keep = wanted.admits(symbol)
    bars: list[Bar] = []
    first = last = None
    for number, fields in _csv_rows(stream, label):
        at = _open_time(fields[0])
        if at is None:
            _damaged(f"{label!r} line {number}", f"open time {fields[0]!r} is not a time")
        first = at if first is None else min(first, at)
        last = at if last is None else max(last, at)
        if keep and wanted.since <= at < wanted.until:
            bars.append(_csv_bar(at, fields, f"{label!r} line {number}"))
    if first is None or last is None:
        _damaged(repr(label), "there is no bar in it")
    found.cover(symbol, Span(first, last))
    if bars:
        found.add(symbol, bars, int(named["count"]) * _UNIT_MS[named["unit"]], label)


def _csv_rows(stream: IO[bytes], label: str) -> Iterator[tuple[int, list[str]]]:
    number = 0
    while raw := stream.readline(_MAX_LINE):
        number += 1
        try:
            fields = raw.decode("ascii").strip().split(",")
        except UnicodeDecodeError:
            _damaged(f"{label!r} line {number}", "it is not text")
        if number == 1 and fields[0] == "open_time":
            continue
        if len(fields) != _KLINE_FIELDS or not fields[-1]:
            _damaged(f"{label!r} line {number}", f"expected {_KLINE_FIELDS} fields, was {len(fields)}")
        yield number, fields


def _open_time(text: str) -> Millis | None:
    if not text.isascii() or not text.isdigit():
        return None
    at = int(text)
    return at // 1000 if at >= _MICROSECONDS_FROM else at


def _csv_bar(at: Millis, fields: Sequence[str], where: str) -> Bar:
    try:
        values = [Decimal(_without_zeros(text)) for text in fields[1:6]]
    except InvalidOperation:
        _damaged(where, f"one of {', '.join(map(repr, fields[1:6]))} is not a number")
    if not all(value.is_finite() for value in values) or not _sound(*values):
        _damaged(where, f"impossible bar {','.join(fields[1:6])}")
    return Bar(at, *values)


def _without_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


# What all formats share


def _ascending(bars: list[Bar]) -> list[Bar]:
    """Return the bars by open time; where two files hold the same minute, the file named later counts."""
    if all(a.at < b.at for a, b in pairwise(bars)):
        return bars
    return [bar for _, bar in sorted({bar.at: bar for bar in bars}.items())]


def _commonest_gap(times: Iterable[Millis]) -> int:
    """Return the commonest distance of consecutive times, 0 where there are not two."""
    gaps = Counter(b - a for a, b in pairwise(times))
    return min(gaps, key=lambda gap: (-gaps[gap], gap)) if gaps else 0


def _interval_of(bars: dict[str, list[Bar]], stated: dict[str, int], label: str) -> int:
    intervals = set()
    for symbol, series in bars.items():
        interval = _commonest_gap(bar.at for bar in islice(series, 1000)) or stated.get(symbol, 0)
        if interval <= 0 or DAY_MS % interval:
            raise InputsError(f"cannot tell how long the bars of {symbol!r} in {label!r} are", "give more bars")
        if any(bar.at % interval for bar in series) or any(b.at - a.at < interval for a, b in pairwise(series)):
            _refuse_mixed(label)
        intervals.add(interval)
    if len(intervals) != 1:
        _refuse_mixed(label)
    return intervals.pop()


def _refuse_mixed(label: str) -> NoReturn:
    raise InputsError(f"{label!r} mixes bars of different lengths", "name files of one interval only")


def _require_known(chosen: Sequence[str], spans: dict[str, Span], label: str) -> None:
    for symbol in chosen:
        if symbol not in spans:
            close = get_close_matches(symbol.upper(), spans, n=1, cutoff=0.6)
            held = ", ".join(sorted(spans)[:12]) + (", ..." if len(spans) > 12 else "")
            hint = f"did you mean {close[0]}?" if close else f"it holds {held or 'no candles'}"
            raise InputsError(f"symbol {symbol!r} is not in {label!r}", hint)


def _require_bars(chosen: Sequence[str], found: _Found, label: str, *, each: bool) -> None:
    empty = [symbol for symbol in chosen if not found.bars.get(symbol)]
    if not chosen:
        raise InputsError(f"{label!r} holds no candles", "give a candle file")
    if empty and (each or len(empty) == len(chosen)):
        span = found.spans[empty[0]]
        raise InputsError(
            f"{label!r} holds no bar of {empty[0]} in the range asked for",
            f"it covers {_utc(span.first)} to {_utc(span.last)}",
        )


def _utc(at: Millis) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
