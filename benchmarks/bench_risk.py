"""What a measurement costs, and how well value at risk and the market's readings are calibrated on recorded years.

    python benchmarks/bench_risk.py            # timings only
    python benchmarks/bench_risk.py DATA_DIR   # and calibration, on the recorded candles of that folder

Timings: a cold measurement of 50 symbols by 30 days of 15-minute candles with a book of ten positions, from arrays in
memory; and the cached query a running watch makes. Aims: under 100 ms and under 10 us.
"""

import os

# The matrices are small: a second thread of the linear algebra costs more than it brings. `tpctl risk` does the same.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np

from tpctl.adapters.candle_cache import CandleCache
from tpctl.adapters.price_files import read_prices
from tpctl.engine.risk_context import RiskContext
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import PositionKey
from tpctl.market.risk.account import Account, Exposure
from tpctl.market.risk.backtests import backtest
from tpctl.market.risk.course import market_course
from tpctl.market.risk.measure import measure
from tpctl.market.risk.measurement import Measurement
from tpctl.market.risk.prices import PriceSeries, build_panel, from_records
from tpctl.ports import Candle

T = TypeVar("T")

QUARTER = 900_000
START = 1_760_000_000_000 // QUARTER * QUARTER
SYMBOLS, DAYS, POSITIONS = 50, 30, 10


def walks(symbols: int, rows: int) -> dict[str, PriceSeries]:
    """Return correlated walks as the disk cache would give them."""
    rng = np.random.default_rng(1)
    common = 0.002 * rng.standard_normal(rows)
    found = {}
    for number in range(symbols):
        close = 100 * np.exp(np.cumsum(common + 0.002 * rng.standard_normal(rows)))
        opened = np.r_[100.0, close[:-1]]
        block = np.zeros(
            rows, dtype=[("at", "<i8"), *((name, "<f8") for name in ("open", "high", "low", "close", "volume"))]
        )
        block["at"] = START + QUARTER * np.arange(rows)
        block["open"], block["close"] = opened, close
        block["high"], block["low"] = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
        name = f"S{number:02d}USDT"
        found[name] = from_records(name, QUARTER, block.tobytes())
    return found


def book(symbols: list[str]) -> list[Exposure]:
    """Return positions in the first symbols, every third one short."""
    return [
        Exposure(
            PositionKey(name, PositionSide.SHORT if number % 3 == 2 else PositionSide.LONG),
            Decimal(10 + number),
            Decimal(100),
            Decimal(100),
            stop=Decimal(103) if number % 3 == 2 else Decimal(97),
        )
        for number, name in enumerate(symbols[:POSITIONS])
    ]


def milliseconds(work: Callable[[], object], times: int = 15) -> tuple[float, float]:
    """Return the median time of `work`, of the wall and of the processor: they part where a machine is shared."""
    wall, processor = [], []
    for _ in range(times):
        began, spent = time.perf_counter(), time.process_time()
        work()
        wall.append((time.perf_counter() - began) * 1000)
        processor.append((time.process_time() - spent) * 1000)
    return median(wall), median(processor)


def tell(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def measured(value: T | Unavailable) -> T:
    """Return what was measured; without it there is nothing to tell."""
    if isinstance(value, Unavailable):
        raise SystemExit(value.reason)
    return value


def cold() -> None:
    """Print what a measurement from scratch costs."""
    series = walks(SYMBOLS, DAYS * 96)
    exposures = book(list(series))
    gross = sum((abs(e.notional) for e in exposures), Decimal(0))
    account = Account(Decimal(10_000), Decimal(-50), gross / 10, gross)
    at = START + DAYS * 96 * QUARTER

    def once() -> None:
        report = measure(Measurement(build_panel(series), exposures, account, at))
        missing = [name for name, reading in report.readings.items() if isinstance(reading.value, Unavailable)]
        if missing:
            raise SystemExit(f"not measured: {missing}")

    wall, processor = milliseconds(once)
    _, aligning = milliseconds(lambda: build_panel(series))
    tell(
        f"cold, {SYMBOLS} symbols x {DAYS} d of 15m candles, {POSITIONS} positions: {processor:.1f} ms of processor"
        f" (aligning {aligning:.1f} of it), {wall:.1f} ms of wall; aim 100 ms"
    )


@dataclass
class Standing:
    """A clock that stands, an account that is flat, an exchange of six walks."""

    at: int = START + DAYS * 96 * QUARTER

    def now(self) -> int:
        """Return the time."""
        return self.at

    async def positions(self, symbol: str | None = None) -> tuple[()]:  # noqa: ARG002 - the port's signature
        """Return no position."""
        return ()

    async def instruments(self) -> dict[str, Any]:
        """Return no rules."""
        return {}

    async def wallet(self, asset: str) -> Unavailable:
        """Return no wallet."""
        return Unavailable(f"there is no {asset}")

    async def candle_page(self, symbol: str, interval: str, since: int, limit: int) -> tuple[Candle, ...]:  # noqa: ARG002
        """Return flat-ish candles of a symbol."""
        rng = np.random.default_rng(len(symbol) + since // QUARTER % 7)
        prices = 100 * np.exp(np.cumsum(0.002 * rng.standard_normal(limit)))
        rows = []
        for number in range(limit):
            at = since + number * QUARTER
            if at > self.at:
                break
            price = float(prices[number])
            rows.append(Candle(at, price, price * 1.001, price * 0.999, price, 1.0))
        return tuple(rows)


def cached() -> None:
    """Print what the query of a running watch costs."""
    desk = Standing()
    context = RiskContext(desk, CandleCache(desk, "15m", QUARTER, None), desk, basket=("A", "B", "C"))  # type: ignore[arg-type]  # a fake
    asyncio.run(context.refresh())
    count = 200_000
    started = time.perf_counter()
    for _ in range(count):
        context.current()
    tell(f"cached query: {(time.perf_counter() - started) / count * 1e6:.2f} us; aim 10 us")


def calibration(folder: Path) -> None:
    """Print how the readings behave on recorded years."""
    files = [folder / "bars_15m_2022-01_2025-01.parquet", folder / "bars_1m_2025-01_02.parquet"]
    panel = measured(build_panel(read_prices(files)))
    started = time.perf_counter()
    course = measured(market_course(panel))
    tell(f"\n{len(course.at)} hours of {len(panel.symbols)} symbols in {time.perf_counter() - started:.1f} s")
    month = course.at.astype("datetime64[ms]").astype("datetime64[M]")
    for name, values, marks in (("ESS", course.stress, (1.5, 2.5)), ("systemic", course.systemic, (0.6, 0.8))):
        known = values[np.isfinite(values)]
        shares = ", ".join(f"P(>{mark}) {np.mean(known > mark) * 100:.1f}%" for mark in marks)
        tell(f"{name}: median {np.median(known):.3f}, {shares}")
        for quarter in range(int(month[0].astype(int)) // 3 * 3, int(month[-1].astype(int)) + 1, 3):
            inside = values[(month.astype(int) >= quarter) & (month.astype(int) < quarter + 3)]
            inside = inside[np.isfinite(inside)]
            if len(inside) > 1000:
                tell(
                    f"  {np.datetime64(quarter, 'M')}: median {np.median(inside):.2f}, highest {inside.max():.2f}, "
                    f"{np.mean(inside > marks[1]) * 100:.1f}% over critical"
                )
    for window in (30, 45, 90, 180):
        started = time.perf_counter()
        tests = measured(backtest(panel, 0.95, window_days=window))
        for method in ("filtered", "historical"):
            chosen = [test for test in tests if test.method == method]
            inside = sum(test.in_band for test in chosen[:-1])
            apart = sum(test.independence > 0.05 for test in chosen)
            rates = " ".join(f"{test.exceeded / test.days * 100:.1f}" for test in chosen)
            tell(
                f"VaR 95, {window} d, {method}: {chosen[0].days} days, in Kupiec's band {inside} of {len(chosen) - 1}"
                f" symbols, equal weight {'in' if chosen[-1].in_band else 'OUT'}, without clusters {apart} of"
                f" {len(chosen)}; exceeded % {rates} ({time.perf_counter() - started:.1f} s)"
            )


def main() -> None:
    """Print timings, and calibration where the recorded candles are named."""
    cold()
    cached()
    if len(sys.argv) > 1:
        calibration(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
