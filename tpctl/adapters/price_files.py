"""Recorded candles as arrays, for measures that look at years of them.

Decides what `candles` decides about files, and holds them together where they are of different lengths: everything is
folded to quarters of an hour (or to the longest length there is), and where two files hold the same candle the one
named later counts. Parquet goes straight into arrays; building a `Bar` of each candle first would take ten times as
long. Funding files are Parquet too: `symbol`, `ts` (ms UTC), `funding_rate` (fraction per settlement).

Needs the `risk` extra, and for Parquet the `parquet` extra.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tpctl.adapters.candles import read_candles
from tpctl.exits.errors import InputsError
from tpctl.exits.units import Millis
from tpctl.market.bars import HOUR_MS
from tpctl.market.risk.prices import QUARTER_MS, Floats, PriceSeries, Times, fold, join

_COLUMNS = ("open", "high", "low", "close")
_END_OF_TIME = 10**15


def read_prices(
    paths: Sequence[Path],
    symbols: Sequence[str] | None = None,
    since_ms: Millis | None = None,
    until_ms: Millis | None = None,
) -> dict[str, PriceSeries]:
    """Return the candles of `symbols` (all where None) that open in [since_ms, until_ms), of one length.

    Raises `InputsError` for a missing or damaged file, a symbol no file holds, an empty range, and candles of more than
    an hour.
    """
    found: list[PriceSeries] = []
    held: set[str] = set()
    for path in paths:
        series, names = _read(path, symbols, since_ms or 0, until_ms or _END_OF_TIME)
        found += series
        held |= names
    missing = next((symbol for symbol in symbols or () if symbol not in held), None)
    if missing is not None:
        raise InputsError(f"symbol {missing!r} is in none of the files", f"they hold {', '.join(sorted(held)[:12])}")
    if not found:
        raise InputsError("the files hold no candle in the range asked for", "check the range and the symbols")
    length = max(QUARTER_MS, *(one.interval_ms for one in found))
    if length > HOUR_MS:
        raise InputsError("the candles are longer than an hour", "give candles of 1m, 5m, 15m, 30m or 1h")
    joined: dict[str, PriceSeries] = {}
    for one in found:
        folded = fold(one, length)
        known = joined.get(one.symbol)
        joined[one.symbol] = folded if known is None else join(known, folded)
    return {symbol: joined[symbol] for symbol in symbols or sorted(joined) if symbol in joined}


def read_funding(paths: Sequence[Path]) -> Mapping[str, tuple[Times, Floats]]:
    """Return the settlements of each symbol: times and rates, ascending; raises `InputsError`."""
    found: dict[str, tuple[Times, Floats]] = {}
    for path in paths:
        columns = _columns(path, ("symbol", "ts", "funding_rate"), "1 = 1", [])
        for symbol, rows in _by_symbol(columns["symbol"]):
            found[symbol] = (columns["ts"][rows].astype(np.int64), columns["funding_rate"][rows].astype(np.float64))
    return found


def _read(
    path: Path, symbols: Sequence[str] | None, since: Millis, until: Millis
) -> tuple[list[PriceSeries], set[str]]:
    """Return what a file holds of what is wanted, and the names of all symbols in it."""
    if path.suffix != ".parquet" or path.is_dir():
        return _slowly(path, symbols, since, until)
    columns = _columns(path, ("symbol", "ts", *_COLUMNS), "ts >= ? AND ts < ?", [since, until])
    series = []
    for symbol, rows in _by_symbol(columns["symbol"]):
        if symbols is None or symbol in symbols:
            at = columns["ts"][rows].astype(np.int64)
            prices = [columns[name][rows].astype(np.float64) for name in _COLUMNS]
            series.append(PriceSeries(symbol, _length(at, symbol, path), at, *prices))
    return series, {one.symbol for one in series} | _names(path)


def _slowly(
    path: Path, symbols: Sequence[str] | None, since: Millis, until: Millis
) -> tuple[list[PriceSeries], set[str]]:
    candles = read_candles(path, None, since, until)
    series = []
    for symbol, bars in candles.bars.items():
        if symbols is None or symbol in symbols:
            at = np.array([bar.at for bar in bars], dtype=np.int64)
            prices = np.array([[bar.open, bar.high, bar.low, bar.close] for bar in bars], dtype=np.float64).T
            series.append(PriceSeries(symbol, candles.interval_ms, at, *prices))
    return series, set(candles.bars)


def _names(path: Path) -> set[str]:
    columns = _columns(path, ("symbol",), "1 = 1", [], distinct=True)
    return {str(name) for name in columns["symbol"]}


def _columns(path: Path, names: Sequence[str], where: str, values: list[int], *, distinct: bool = False) -> Any:
    if not path.is_file():
        raise InputsError(f"file {str(path)!r} does not exist", "check the path of the recording")
    try:
        import duckdb  # noqa: PLC0415 - the parquet extra, named in the error
    except ImportError:
        raise InputsError(
            f"reading {str(path)!r} needs the parquet extra", "install it: pip install 'tpctl[parquet]'"
        ) from None
    # A path must never make the reader load an extension, expand a wildcard or reach the network.
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "threads": "1",
    }
    plain = re.sub(r"([*?\[])", r"[\1]", str(path.resolve()))
    chosen = ", ".join(names)
    order = "" if distinct else " ORDER BY symbol, ts"
    query = f"SELECT {'DISTINCT ' if distinct else ''}{chosen} FROM read_parquet(?) WHERE {where}{order}"  # noqa: S608 - constants
    with duckdb.connect(config=config) as connection:
        # Where it takes the program for an interactive one, it would draw its progress on stdout.
        connection.execute("SET enable_progress_bar = false")
        try:
            columns = connection.execute(query, [plain, *values]).fetchnumpy()
        except duckdb.Error as error:
            raise InputsError(
                f"file {str(path)!r} cannot be read: {str(error).splitlines()[0]}",
                f"give Parquet with the columns {chosen}",
            ) from None
    return {name: np.ma.getdata(column) for name, column in columns.items()}


def _by_symbol(names: Any) -> list[tuple[str, slice]]:
    if not len(names):
        return []
    begins = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
    return [
        (str(names[begin]), slice(int(begin), int(end)))
        for begin, end in zip(begins, np.r_[begins[1:], len(names)], strict=True)
    ]


def _length(at: Times, symbol: str, path: Path) -> int:
    """Return the commonest distance of consecutive candles."""
    if len(at) < 2:
        raise InputsError(f"cannot tell how long the bars of {symbol!r} in {str(path)!r} are", "give more bars")
    gaps, counts = np.unique(np.diff(at), return_counts=True)
    return int(gaps[np.argmax(counts)])
