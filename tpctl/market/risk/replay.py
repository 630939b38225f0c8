"""A recorded crash replayed against the present book: what each stop would have filled at.

Decides by the execution semantics of exit-rules 7 on candles: each position's mark is put on the recorded path, scaled
to its present price. A candle that opens beyond the stop is a gap and fills at its open; one that trades through it
fills at the stop, and no worse than the candle's end of range, which is told beside. The liquidation price is judged
alike; of two levels in one candle the one nearer to the mark comes first. Nothing is assumed about a symbol that was
not recorded.

Pure Python: numpy is not needed to replay a crash.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import PositionKey
from tpctl.exits.units import ZERO, Millis, Money, Price
from tpctl.market.bars import DAY_MS, HOUR_MS
from tpctl.market.risk.account import Exposure
from tpctl.market.risk.readings import number
from tpctl.ports import Candle


@dataclass(frozen=True, slots=True)
class Crash:
    """A stretch of recorded market, from `since` (inclusive) to `until` (exclusive), in ms UTC."""

    name: str
    title: str
    since: Millis
    until: Millis


# Each begins where the fall did: a stop met in the ordinary hours before it would say nothing about the crash.
CRASHES: tuple[Crash, ...] = (
    Crash("luna", "the fall of LUNA, 11 May 2022, 12:00 UTC", 1_652_270_400_000, 1_652_270_400_000 + DAY_MS),
    Crash("ftx", "the fall of FTX, 8 November 2022, 17:00 UTC", 1_667_926_800_000, 1_667_926_800_000 + 31 * HOUR_MS),
    Crash("august-2023", "17 August 2023, 21:15 UTC", 1_692_306_900_000, 1_692_306_900_000 + 3 * HOUR_MS),
    Crash("february-2025", "3 February 2025, 01:45 UTC", 1_738_547_100_000, 1_738_547_100_000 + 12 * HOUR_MS),
)


class End(StrEnum):
    """How a position came out of the replay."""

    STOPPED = "stopped"
    GAPPED = "gapped"
    LIQUIDATED = "liquidated"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Replayed:
    """One position's way through the crash, at present prices.

    `stop` is the level that was tried, `planned` whether it is only planned, not resting. `fill` is what it filled at,
    `worst_fill` the end of that candle's range, `slippage` how far the fill lies beyond the stop as a share of it.
    `pnl` is from the present mark to the fill, or to the end; `worst_pnl` to the worst fill; `unprotected` to the worst
    price of all, had there been no stop.
    """

    key: PositionKey
    end: End
    at: Millis
    stop: Price | None
    planned: bool
    fill: Price
    worst_fill: Price
    slippage: Decimal | None
    pnl: Money
    worst_pnl: Money
    unprotected: Money


@dataclass(frozen=True, slots=True)
class CrashReport:
    """A crash replayed. `positions` holds the reason where one could not be replayed."""

    crash: Crash
    interval_ms: int
    positions: Mapping[PositionKey, Replayed | Unavailable]
    pnl: Money
    worst_pnl: Money
    unprotected: Money
    of_equity: Decimal | Unavailable


def replay_crash(
    crash: Crash,
    interval_ms: int,
    candles: Mapping[str, Sequence[Candle]],
    exposures: Sequence[Exposure],
    *,
    planned: Mapping[PositionKey, Price],
    equity: Money | Unavailable,
) -> CrashReport:
    """Return what the crash does to the book; `planned` are the stops of positions that have none resting."""
    found: dict[PositionKey, Replayed | Unavailable] = {}
    for exposure in exposures:
        recorded = [c for c in candles.get(exposure.key.symbol, ()) if crash.since <= c.at < crash.until]
        if not recorded:
            found[exposure.key] = Unavailable(f"{exposure.key.symbol} was not recorded then")
            continue
        found[exposure.key] = _replayed(exposure, recorded, planned.get(exposure.key))
    known = [one for one in found.values() if isinstance(one, Replayed)]
    pnl = sum((one.pnl for one in known), ZERO)
    share: Decimal | Unavailable = equity
    if not isinstance(equity, Unavailable):
        share = number(float(pnl / equity)) if equity > ZERO else Unavailable(f"equity {equity} is not above zero")
    return CrashReport(
        crash=crash,
        interval_ms=interval_ms,
        positions=found,
        pnl=pnl,
        worst_pnl=sum((one.worst_pnl for one in known), ZERO),
        unprotected=sum((one.unprotected for one in known), ZERO),
        of_equity=share,
    )


def _replayed(exposure: Exposure, recorded: Sequence[Candle], planned: Price | None) -> Replayed:
    stop = exposure.stop if exposure.stop is not None else planned
    met = _met(exposure, recorded, stop)
    return Replayed(
        key=exposure.key,
        end=met.end,
        at=met.at,
        stop=stop,
        planned=exposure.stop is None and planned is not None,
        fill=met.fill,
        worst_fill=met.worst,
        slippage=None if stop is None or met.end not in _AT_STOP else exposure.key.side.sign * (stop - met.fill) / stop,
        pnl=_pnl(exposure, met.fill),
        worst_pnl=_pnl(exposure, met.worst),
        unprotected=_unprotected(exposure, recorded),
    )


@dataclass(frozen=True, slots=True)
class _Met:
    """Where the path first met a level, or its end."""

    end: End
    at: Millis
    fill: Price
    worst: Price


_AT_STOP = frozenset({End.STOPPED, End.GAPPED})


def _met(exposure: Exposure, recorded: Sequence[Candle], stop: Price | None) -> _Met:
    sign = exposure.key.side.sign
    scale = _scale(exposure, recorded)
    levels = [(End.STOPPED, stop), (End.LIQUIDATED, exposure.liquidation)]
    # The level nearer to the mark is met first; between equals the stop.
    ordered = sorted(((end, level) for end, level in levels if level is not None), key=lambda pair: -sign * pair[1])
    for candle in recorded:
        opened, edge = scale * candle.open, scale * _edge(candle, sign)
        for end, level in ordered:
            if sign * (edge - float(level)) > 0:
                continue
            if sign * (opened - float(level)) >= 0:
                return _Met(end, candle.at, level, number(edge))
            return _Met(End.GAPPED if end is End.STOPPED else end, candle.at, number(opened), number(edge))
    last = number(scale * recorded[-1].close)
    return _Met(End.HELD, recorded[-1].at, last, last)


def _unprotected(exposure: Exposure, recorded: Sequence[Candle]) -> Money:
    """Return the PnL at the worst price, or at the liquidation price where that comes first."""
    sign = exposure.key.side.sign
    worst = min(sign * _edge(candle, sign) for candle in recorded) * sign * _scale(exposure, recorded)
    price = number(worst)
    if exposure.liquidation is not None and sign * (price - exposure.liquidation) < 0:
        price = exposure.liquidation
    return _pnl(exposure, price)


def _scale(exposure: Exposure, recorded: Sequence[Candle]) -> float:
    return float(exposure.mark) / recorded[0].open


def _edge(candle: Candle, sign: int) -> float:
    """Return the end of a candle's range that lies against the position."""
    return candle.low if sign > 0 else candle.high


def _pnl(exposure: Exposure, price: Price) -> Money:
    return exposure.key.side.sign * (price - exposure.mark) * exposure.quantity
