"""`metrics --settle`: the price path after each exit, from the profile's exchange, a twin, or recorded candles.

Candles need no key; what positions cost beside the fees of their exits is read from the account's history where there
is one. What is settled is in the journal at once, so it may be interrupted at any time.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tpctl.adapters.files import account_fingerprint, find_state_dir
from tpctl.adapters.journal import Journal
from tpctl.adapters.metrics_file import MetricsFile, metrics_path
from tpctl.adapters.minutes import FileMinutes, Minutes, PagedMinutes, patiently
from tpctl.adapters.outcomes import rfc3339
from tpctl.adapters.standings import Standings
from tpctl.cli.metrics_options import MetricsOptions
from tpctl.cli.metrics_write import journal_beside, queued
from tpctl.cli.options import Format
from tpctl.engine.costs import CostReader, Ledger
from tpctl.engine.settle import Report, StaysOpen, read_all_costs, settle_all
from tpctl.exits.errors import ExitCode, InputsError, PartialError, UsageError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Fill
from tpctl.exits.units import Millis
from tpctl.ports import FundingFee
from tpctl.settings.load import load
from tpctl.settings.schema import Env, Settings

if TYPE_CHECKING:
    from tpctl.cli.plan_reader import Keys
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
    due = sum(one.due for one in (*report.open, *report.costs_open))
    if due:
        what = "give the missing candles and settle" if any(one.due for one in report.open) else "settle"
        raise PartialError(f"{due} could not be settled", f"{what} again: it goes on")
    return ExitCode.OK


async def _settle(options: MetricsOptions, settings: Settings, journal: Journal) -> Report:
    async with _market(options, settings, journal) as (minutes, ledger, now):
        report = await settle_all(journal, minutes, settings.exits, now, _no_rest)
        if isinstance(ledger, Unavailable):
            return replace(report, no_costs=ledger.reason)
        await read_all_costs(journal, CostReader(_Patient(ledger), lambda: now), now, report)
        return report


class _Patient:
    """An account's history that waits where the request budget is used up."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def fills(self, symbol: str, since: Millis) -> tuple[Fill, ...]:
        return await patiently(lambda: self._ledger.fills(symbol, since))

    async def funding_fees(self, since: Millis) -> tuple[FundingFee, ...]:
        return await patiently(lambda: self._ledger.funding_fees(since))


async def _no_rest() -> None:
    """Nothing waits for this process."""


@asynccontextmanager
async def _market(
    options: MetricsOptions, settings: Settings, journal: Journal
) -> AsyncIterator[tuple[Minutes, Ledger | Unavailable, Millis]]:
    """Yield where the candles come from, the account's history, and the time up to which there are any."""
    if options.data:
        yield FileMinutes(options.data), Unavailable("recorded candles tell no fees and no funding"), _END_OF_TIME
        return
    from tpctl.adapters.binance.client import BinanceReader
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
        endpoints = LIVE if settings.profile.env is Env.LIVE else DEMO
        clock = ExchangeClock()
        now = clock.now()
    keys = _keys(settings, journal)
    async with AsyncExitStack() as stack:
        pages = MarketPages(endpoints, clock)
        stack.push_async_callback(pages.close)
        ledger: Ledger | Unavailable
        if isinstance(keys, Unavailable):
            ledger = keys
        else:
            ledger = reader = BinanceReader(endpoints, clock, key=keys.key, secret=keys.secret)
            stack.push_async_callback(reader.close)
        yield PagedMinutes(pages, lambda: now, patient=True), ledger, now


def _keys(settings: Settings, journal: Journal) -> "Keys | Unavailable":
    """Return the keys of the journal's account, or why there are none."""
    from tpctl.cli.plan_reader import keys_of

    env = settings.profile.env
    keys = keys_of(settings, required=False)
    if keys.key is None:
        return Unavailable(f"profile {settings.name!r} has no keys")
    if env is not Env.SIM and account_fingerprint(env.value, keys.key.reveal()) != journal.meta.fingerprint:
        return Unavailable(f"the keys of profile {settings.name!r} are of another account")
    return keys


def _print(options: MetricsOptions, report: Report, profile: str, env: str) -> None:
    if options.format is Format.JSON:
        from tpctl.views.machine import document
        from tpctl.views.metrics_values import put

        rows: list[Json] = [_open_fields(one) for one in report.open]
        settled: dict[str, Json] = {"positions": report.positions, "misses": report.misses, "open": rows}
        put(settled, "costs", report.costs if report.no_costs is None else Unavailable(report.no_costs))
        settled["costs_open"] = [_open_fields(one) for one in report.costs_open]
        sys.stdout.write(document("metrics", _now(), profile, env, "shadow", {"settled": settled}))
        return
    if options.shared.quiet:
        return
    sys.stdout.write(
        f"{report.positions} positions settled, {report.misses} misses judged, {len(report.open)} stay open\n"
    )
    _print_open(report.open)
    if report.no_costs is not None:
        sys.stdout.write(f"costs not read: {report.no_costs}\n")
        return
    sys.stdout.write(f"costs of {report.costs} positions read, {len(report.costs_open)} stay open\n")
    _print_open(report.costs_open)


def _print_open(found: Sequence[StaysOpen]) -> None:
    for one in found[:_NAMED]:
        sys.stdout.write(f"  {one.key} closed {rfc3339(one.closed_at)}: {one.reason}\n")
    if len(found) > _NAMED:
        sys.stdout.write(f"  and {len(found) - _NAMED} more\n")


def _open_fields(one: StaysOpen) -> "dict[str, Json]":
    return {
        "symbol": one.key.symbol,
        "position_side": one.key.side.value,
        "closed_at": rfc3339(one.closed_at),
        "reason": one.reason,
        "due": one.due,
    }


def _now() -> Millis:
    return time.time_ns() // 1_000_000
