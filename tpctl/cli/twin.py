"""Builds the embedded exchange: market, rules, trader, and the server that python-binance talks to.

Composition only: which market the options name, and which defaults tell a newcomer a whole story within a minute.
"""

import gzip
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tpctl.cli.options import Entries, Speed
from tpctl.exits.errors import InputsError, UsageError
from tpctl.exits.units import Millis
from tpctl.market.bars import BarSeries
from tpctl.venue.auth import KeyRights
from tpctl.venue.entries import DEFAULT_RATE, ListedEntries, NoEntries, SeededEntries, read_entries
from tpctl.venue.entries import Entries as Trader
from tpctl.venue.faults import FaultPlan
from tpctl.venue.market.recorded import RecordedMarket
from tpctl.venue.market.synthetic import SyntheticMarket
from tpctl.venue.rulebook import RuleBook, builtin_rules, load_rules
from tpctl.venue.server import Served, serve
from tpctl.venue.venue import Venue

# Five hours of market in a minute: long enough for the four positions of the start to meet their levels.
DEFAULT_SPEED = 300.0
DEFAULT_SEED = 4
# Single strikes are kept for who looks on; an exchange that runs for weeks must not fill its memory with them.
_REMEMBERED = 1_000


@dataclass(frozen=True, slots=True)
class TwinOptions:
    """What shapes a twin; None is the default. Times are ms UTC of market time.

    `held` keeps the market at its start until its reader asks for steps. `faults` are rates by name, seeded by `seed`.
    """

    market: tuple[Path, ...] = ()
    since: Millis | None = None
    until: Millis | None = None
    symbols: tuple[str, ...] = ()
    speed: Speed | None = None
    seed: int | None = None
    entries: Entries | None = None
    rules: Path | None = None
    brackets: Path | None = None
    port: int = 0
    held: bool = False
    rights: KeyRights | None = None
    skew_ms: Millis = 0
    faults: Mapping[str, float] = field(default_factory=dict)


@asynccontextmanager
async def open_twin(options: TwinOptions) -> AsyncIterator[Served]:
    """Serve a twin on loopback for as long as the context lasts."""
    rules = _rules(options)
    market = _recorded(options, rules) if options.market else _synthetic(options, rules)
    venue = Venue(rules, start_ms=market.start_ms)
    async with serve(
        venue,
        market,
        _trader(options, market.symbols),
        port=options.port,
        speed=_speed(options.speed),
        held=options.held,
        rights=options.rights,
        skew_ms=options.skew_ms,
        faults=FaultPlan(options.faults, _seed(options), start_ms=market.start_ms, remembered=_REMEMBERED),
    ) as server:
        yield server


def _speed(speed: Speed | None) -> float | None:
    """Return the factor on the wall clock; None is lockstep."""
    if speed is None:
        return DEFAULT_SPEED
    return None if speed.factor is None else float(speed.factor)


def _seed(options: TwinOptions) -> int:
    return DEFAULT_SEED if options.seed is None else options.seed


def _rules(options: TwinOptions) -> RuleBook:
    if options.rules is None:
        if options.brackets is not None:
            raise UsageError("--brackets needs --rules", "name the exchangeInfo file they belong to")
        return builtin_rules()
    if options.brackets is None:
        raise UsageError("--rules needs --brackets", "name the leverage brackets of the same exchange")
    return load_rules(_json(options.rules, "rules"), _json(options.brackets, "brackets"))


def _json(path: Path, what: str) -> Any:
    try:
        data = path.read_bytes()
        return json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    except (OSError, EOFError, ValueError) as error:
        raise InputsError(f"{what} file {str(path)!r} cannot be read: {error}", "give JSON, plain or .gz") from error


def _recorded(options: TwinOptions, rules: RuleBook) -> RecordedMarket:
    from tpctl.adapters.candles_apart import candles_apart, history_apart

    candles = candles_apart(options.market, options.symbols or None, options.since, options.until)

    def history(symbol: str) -> Sequence[BarSeries]:
        return history_apart(options.market, symbol, candles.bars[symbol][0].at, candles.interval_ms)

    # The weeks before are read only for the symbols whose candles a plan asks for.
    return RecordedMarket(candles, rules, history=history)


def _synthetic(options: TwinOptions, rules: RuleBook) -> SyntheticMarket:
    seed = _seed(options)
    if options.symbols:
        return SyntheticMarket(seed, options.symbols, rules)
    return SyntheticMarket(seed, rules=rules)


def _trader(options: TwinOptions, symbols: Sequence[str]) -> Trader:
    seed = _seed(options)
    entries = options.entries
    if entries is None:
        return SeededEntries(seed, symbols, rate=DEFAULT_RATE)
    if entries.file is not None:
        return ListedEntries(read_entries(entries.file, symbols))
    if entries.per_hour is not None:
        return SeededEntries(seed, symbols, rate=float(entries.per_hour))
    return NoEntries()
