"""`metrics --settle`: the price path after each exit, from the profile's exchange, a twin, or recorded candles.

Needs no key: candles are public. What is settled is in the journal at once, so it may be interrupted at any time.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tpctl.adapters.files import find_state_dir
from tpctl.adapters.journal import Journal
from tpctl.adapters.metrics_file import MetricsFile, metrics_path
from tpctl.adapters.minutes import FileMinutes, Minutes, PagedMinutes
from tpctl.adapters.outcomes import rfc3339
from tpctl.adapters.standings import Standings
from tpctl.cli.metrics import Format, MetricsOptions
from tpctl.cli.metrics_write import journal_beside, queued
from tpctl.engine.settle import Report, settle_all
from tpctl.exits.errors import ExitCode, InputsError, PartialError, UsageError
from tpctl.exits.units import Millis
from tpctl.settings.load import load
from tpctl.settings.schema import Env, Settings

if TYPE_CHECKING:
    from tpctl.views.machine import Json

_NAMED = 20
# Recordings end where they end, whatever the time is.
_END_OF_TIME = 10**15


def run_settle(options: MetricsOptions) -> ExitCode:
    """Settle what can be, print what was done, and say why the rest stays open."""
    settings = load(options.shared.config, options.shared.profile, options.shared.state_dir)
    env = settings.profile.env
    if options.venue is not None and env is not Env.SIM:
        raise UsageError(f"profile {settings.name!r} has no simulated market", "leave --venue out")
    state = find_state_dir(settings.state_dir)
    if state is None or not state.journal.exists():
        raise InputsError(
            f"there is no journal in {str(settings.state_dir)!r}", "run tpctl watch once, or name another --state-dir"
        )
    if env is Env.SIM and options.venue is None and not options.data:
        raise InputsError(
            "the market of an embedded twin ended with its watch",
            "name a recording with --data, or a running twin with --venue; watch settles by itself",
        )
    with journal_beside(env.value, settings.state_dir) as (_, journal):
        report = asyncio.run(_settle(options, settings, journal))
        file = MetricsFile(metrics_path(state, options.file, os.environ))
        with Standings(journal.path) as standings:
            queued(lambda: file.publish(standings.records))
    _print(options, report, settings.name, env.value)
    due = sum(one.due for one in report.open)
    if due:
        raise PartialError(f"{due} could not be settled", "give the missing candles and settle again: it goes on")
    return ExitCode.OK


async def _settle(options: MetricsOptions, settings: Settings, journal: Journal) -> Report:
    async with _candles(options, settings.profile.env) as (minutes, now):
        return await settle_all(journal, minutes, settings.exits, now, _no_rest)


async def _no_rest() -> None:
    """Nothing waits for this process."""


@asynccontextmanager
async def _candles(options: MetricsOptions, env: Env) -> AsyncIterator[tuple[Minutes, Millis]]:
    """Yield where the candles come from, and the time up to which there are any."""
    if options.data:
        yield FileMinutes(options.data), _END_OF_TIME
        return
    from tpctl.adapters.binance.clock import EventClock, ExchangeClock, StampClock
    from tpctl.adapters.binance.endpoints import DEMO, LIVE, twin
    from tpctl.adapters.binance.market_pages import MarketPages
    from tpctl.adapters.streams.discover import discover

    clock: StampClock
    if options.venue is not None:
        status = await discover(options.venue)
        endpoints = twin(options.venue)
        clock = EventClock(status.now) if status.speed is None else ExchangeClock(speed=status.speed)
        now = status.now
    else:
        endpoints = LIVE if env is Env.LIVE else DEMO
        clock = ExchangeClock()
        now = clock.now()
    pages = MarketPages(endpoints, clock)
    try:
        yield PagedMinutes(pages, lambda: now, patient=True), now
    finally:
        await pages.close()


def _print(options: MetricsOptions, report: Report, profile: str, env: str) -> None:
    if options.format is Format.JSON:
        from tpctl.views.machine import document

        rows: list[Json] = [
            {
                "symbol": one.key.symbol,
                "position_side": one.key.side.value,
                "closed_at": rfc3339(one.closed_at),
                "reason": one.reason,
                "due": one.due,
            }
            for one in report.open
        ]
        settled: dict[str, Json] = {"positions": report.positions, "misses": report.misses, "open": rows}
        sys.stdout.write(document("metrics", _now(), profile, env, "shadow", {"settled": settled}))
        return
    if options.shared.quiet:
        return
    sys.stdout.write(
        f"{report.positions} positions settled, {report.misses} misses judged, {len(report.open)} stay open\n"
    )
    for one in report.open[:_NAMED]:
        sys.stdout.write(f"  {one.key} closed {rfc3339(one.closed_at)}: {one.reason}\n")
    if len(report.open) > _NAMED:
        sys.stdout.write(f"  and {len(report.open) - _NAMED} more\n")


def _now() -> Millis:
    return time.time_ns() // 1_000_000
