"""Runs what `risk` does over recorded time: a backtest, a crash replayed, and the course that is drawn."""

import asyncio
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from math import isfinite
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tpctl.cli.options import Format, parse_instant
from tpctl.cli.risk_files import recorded_crash, recorded_panel
from tpctl.cli.risk_inputs import Told
from tpctl.cli.risk_options import RiskOptions
from tpctl.exits.errors import ExitCode, InputsError, UsageError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import Millis, Price
from tpctl.market.risk.account import Exposure
from tpctl.market.risk.readings import number
from tpctl.market.risk.replay import CRASHES, Crash, CrashReport, replay_crash
from tpctl.ports import Candle
from tpctl.settings.schema import Env, Settings
from tpctl.views.risk_tests import (
    CourseFigures,
    backtest_rows,
    backtest_text,
    course_rows,
    course_text,
    crash_rows,
    crash_text,
)

if TYPE_CHECKING:
    from tpctl.market.risk.measurement import Measurement
    from tpctl.market.risk.prices import Panel
    from tpctl.views.machine import Json

_DAY_MS = 86_400_000


def _write(options: RiskOptions, settings: Settings, at: Millis, data: "Mapping[str, Json]", text: str) -> None:
    """Print a result that has no readings: a table, or its document."""
    if options.format is Format.TABLE:
        sys.stdout.write(text)
        return
    if options.format is not Format.JSON:
        raise UsageError(f"--format {options.format.value} is for readings", "use --format table or --json")
    from tpctl.views.machine import document

    sys.stdout.write(document("risk", at, settings.name, settings.profile.env.value, "shadow", data))


def run_backtest(options: RiskOptions, settings: Settings) -> ExitCode:
    """Test value at risk on history and print the tests."""
    from tpctl.market.risk.backtests import backtest
    from tpctl.market.risk.value_at_risk import funding_rows

    panel = _history(options, settings)
    funding = None
    if options.funding:
        from tpctl.adapters.price_files import read_funding

        funding = funding_rows(panel, read_funding(options.funding))
    tests = backtest(panel, float(options.level), window_days=options.window_days, funding=funding)
    if isinstance(tests, Unavailable):
        raise InputsError(f"value at risk cannot be tested: {tests.reason}", "give more candles, or a shorter --window")
    note = f"drawn from {options.window_days} d, {'with' if options.funding else 'without'} funding"
    for symbol, reason in panel.excluded.items():
        sys.stderr.write(f"warning: {symbol} is left out: {reason}\n")
    data: dict[str, Json] = {
        "backtest": {
            "level": options.level,
            "window_days": options.window_days,
            "funding": bool(options.funding),
            "tests": backtest_rows(tests),
        }
    }
    _write(options, settings, panel.newest, data, backtest_text(tests, options.level, note))
    return ExitCode.OK


def _history(options: RiskOptions, settings: Settings) -> "Panel":
    """Return the candles to test on: the files', or as much as the exchange and four windows give."""
    if options.data:
        return recorded_panel(options)
    from tpctl.cli.risk_sources import read_exchange

    longer = replace(options, window_days=4 * options.window_days)
    asked = asyncio.run(read_exchange(longer, settings))
    if isinstance(asked.panel, Unavailable):
        raise InputsError(f"value at risk cannot be tested: {asked.panel.reason}", "name candles with --data FILE")
    return asked.panel


def run_stress(options: RiskOptions, settings: Settings, told: Told) -> ExitCode:
    """Replay a crash against the book and print what it does."""
    crash = _crash(options.stress or "")
    if not options.data and settings.profile.env is Env.SIM:
        raise InputsError("the twin has no recording of that time", "name recorded candles with --data FILE")
    if told.book is None:
        report, at = asyncio.run(_stress_account(options, settings, crash))
    else:
        interval_ms, candles = _crash_files(options, crash)
        book = told.book.marked({symbol: _decimal(rows[0].open) for symbol, rows in candles.items()})
        planned = {e.key: _by_default(e, settings) for e in book.exposures if e.stop is None}
        report = replay_crash(crash, interval_ms, candles, book.exposures, planned=planned, equity=book.equity)
        at = time.time_ns() // 1_000_000
    if not report.positions:
        raise InputsError("no position is open", "give a book with --inputs FILE")
    _write(options, settings, at, {"stress": crash_rows(report)}, crash_text(report))
    return ExitCode.OK


async def _stress_account(options: RiskOptions, settings: Settings, crash: Crash) -> tuple[CrashReport, Millis]:
    from tpctl.cli.risk_sources import fetched_crash, measure_exchange, open_desk, planned_stops

    async with open_desk(options.venue, settings) as desk:
        asked = await measure_exchange(options, desk, None)
        if isinstance(asked.exposures, Unavailable):
            raise InputsError(f"the positions could not be read: {asked.exposures.reason}", "try again")
        planned = await planned_stops(desk, settings)
        symbols = [exposure.key.symbol for exposure in asked.exposures]
        if options.data:
            interval_ms, candles = _crash_files(options, crash)
        else:
            interval_ms, candles = await fetched_crash(desk, symbols, crash.since, crash.until)
    equity = asked.account if isinstance(asked.account, Unavailable) else asked.account.equity
    return replay_crash(crash, interval_ms, candles, asked.exposures, planned=planned, equity=equity), asked.at


def _crash_files(options: RiskOptions, crash: Crash) -> tuple[int, dict[str, list[Candle]]]:
    if not options.data:
        raise InputsError("there are no candles of that time", "name recorded candles with --data FILE")
    return recorded_crash(options, crash.since, crash.until)


def _crash(text: str) -> Crash:
    """Return the crash of a name or of the day it began on, else the UTC day of a date, or the day after a time."""
    wanted = text.strip().lower()
    for crash in CRASHES:
        if wanted == crash.name:
            return crash
    try:
        since = parse_instant(text)
    except UsageError:
        names = ", ".join(crash.name for crash in CRASHES)
        raise UsageError(
            f"stress {text!r} is neither a date nor a known crash", f"write 2023-08-17, or one of: {names}"
        ) from None
    known = next((c for c in CRASHES if c.since // _DAY_MS * _DAY_MS == since), None)
    return known or Crash(wanted, text.strip(), since, since + _DAY_MS)


def _by_default(exposure: Exposure, settings: Settings) -> Price:
    """Return the stop a position without one would have by the rules' plain distance."""
    distance = settings.exits.stop.distance.of(exposure.entry)
    return exposure.entry - exposure.key.side.sign * distance


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))


def draw_course(options: RiskOptions, asked: "Measurement") -> "tuple[Json, str]":
    """Draw stress and systemic risk over the candles; return what they amount to, as data and as text."""
    from tpctl.adapters.files import write_atomic
    from tpctl.market.risk.course import market_course
    from tpctl.views.risk_plot import Curve, Picture, draw

    if isinstance(asked.panel, Unavailable):
        raise InputsError(f"there is nothing to draw: {asked.panel.reason}", "give more candles")
    course = market_course(asked.panel)
    if isinstance(course, Unavailable):
        raise InputsError(f"there is nothing to draw: {course.reason}", "give more candles")
    times = course.at.tolist()
    picture = Picture(
        title=f"Market stress and systemic risk, {len(asked.panel.symbols)} symbols, hourly",
        at=times,
        curves=(
            Curve("ESS, market part (1 = its own 30 d median)", course.stress.tolist(), 8.0, 1.5, 2.5),
            Curve("systemic risk (0 to 1)", course.systemic.tolist(), 1.0, 0.6, 0.8),
        ),
        dates=tuple((crash.name, crash.since) for crash in CRASHES),
    )
    path = (options.plot or Path()).absolute()
    write_atomic(path, draw(picture, path))
    figures = [
        _figures("ess", times, course.stress.tolist(), Decimal("1.5"), Decimal("2.5")),
        _figures("systemic", times, course.systemic.tolist(), Decimal("0.6"), Decimal("0.8")),
    ]
    return course_rows(figures), f"\ndrawn to {path}\n{course_text(figures)}"


def _figures(name: str, times: list[int], values: list[float], warning: Decimal, critical: Decimal) -> CourseFigures:
    known = [(at, value) for at, value in zip(times, values, strict=True) if isfinite(value)]
    if not known:
        raise InputsError(f"{name} is available nowhere in the candles", "give more of them")
    count = len(known)

    def highest(crash: Crash) -> Decimal | Unavailable:
        inside = [value for at, value in known if crash.since < at <= crash.until]
        return number(max(inside)) if inside else Unavailable("not in the candles")

    return CourseFigures(
        name=name,
        since=known[0][0],
        until=known[-1][0],
        hours=len(known),
        median=number(median(value for _, value in known)),
        above_warning=number(sum(value > warning for _, value in known) / count),
        above_critical=number(sum(value > critical for _, value in known) / count),
        crashes=tuple((crash.name, highest(crash)) for crash in CRASHES),
    )
