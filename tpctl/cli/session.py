"""The composition root: options become a running watch, and their end becomes an exit code.

Nothing is decided here about prices or orders; it says which parts a profile is made of, and it is the only place that
arms. The read-only parts of a shadow run still sign reads with the profile's keys; nothing outside `Exchange.submit`
could send an order, and the guard withholds all of them.
"""

import asyncio
import faulthandler
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from tpctl import __version__
from tpctl.adapters.files import StateDir, account_fingerprint, open_state_dir
from tpctl.adapters.halt import halted
from tpctl.adapters.journal import RESERVE_BYTES, Entry, Journal
from tpctl.adapters.metrics_file import MetricsFile, metrics_path
from tpctl.adapters.pulse import Pulse, PulseWriter
from tpctl.adapters.recording import SCHEMA as RECORD
from tpctl.adapters.recording import Header, Recorder
from tpctl.adapters.secrets import Secret
from tpctl.adapters.supervisor import Supervisor
from tpctl.cli.arming import arm, check_rights
from tpctl.cli.beat import Beat
from tpctl.cli.holding import holding_account
from tpctl.cli.link import Account, Link, connect
from tpctl.cli.operator import Operator
from tpctl.cli.reloading import Reloader, mark_limit
from tpctl.cli.runs import TWIN_KEY, WatchOptions
from tpctl.cli.selection import check_symbols, read_settings, scope_of, warn_of_unlisted
from tpctl.cli.signals import TERMINAL_GONE, Signals
from tpctl.cli.snapshots import Snapshots
from tpctl.cli.telling import Teller, open_teller
from tpctl.engine.collector import settle_objects
from tpctl.engine.guard import Guard
from tpctl.engine.memory import load_state, position_row
from tpctl.exits.episode import State
from tpctl.exits.errors import ExitCode, RateLimitedError, UsageError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Note, NoteKind, PositionKey, PositionMode
from tpctl.exits.units import Millis, Price
from tpctl.ports import AccountReader
from tpctl.settings.schema import Env, NotifySettings, Settings, TelemetrySettings
from tpctl.views.streams import Story

if TYPE_CHECKING:
    from tpctl.adapters.binance.client import BinanceReader
    from tpctl.cli.outside import Outside
    from tpctl.engine.risk_context import RiskContext
    from tpctl.engine.settle import Settler
    from tpctl.engine.watch import Summary, Watch

# How long settling steps aside for the loop between two pieces of work.
_SETTLING_PAUSE_S = 0.02


class Pin(Protocol):
    """A hold on what a run plans: it may replace the state before the run, and sees it after."""

    async def prepare(self, reader: AccountReader, state: State, halt: str | None) -> State:
        """Return the state to begin with, or refuse with an error before anything is sent."""
        ...

    def settle(self, state: State) -> None:
        """Take the state the run ended with."""
        ...


@dataclass(frozen=True, slots=True)
class Around:
    """Who listens to a run, who asks things of it, and who restarts it."""

    teller: Teller
    operator: Operator = field(default_factory=Operator)
    supervisor: Supervisor = field(default_factory=Supervisor)


def run_watch(options: WatchOptions) -> ExitCode:
    """Guard the account of a profile until stopped."""
    settings = read_settings(options)
    armed = _arm(settings, options)
    operator = Operator()
    teller = open_teller(settings, options, operator.obey)
    around = Around(teller, operator, Supervisor.of(os.environ))
    return asyncio.run(_watch(settings, options, around, armed=armed))


def _arm(settings: Settings, options: WatchOptions) -> bool:
    """Return whether this run may send orders; raises `NotArmedError` where arming was asked for and refused."""
    if settings.profile.env is not Env.SIM and (options.market or options.venue or options.speed or options.entries):
        raise UsageError(f"profile {settings.name!r} has no simulated market", "leave the market options out")
    return arm(settings, asked=options.arm, confirm=options.confirm, no_input=options.shared.no_input)


def run_pinned(settings: Settings, options: WatchOptions, story: Story, pin: Pin, *, armed: bool) -> ExitCode:
    """Bring the exits of pinned plans up to date once; everything else is as in `run_watch`."""
    return asyncio.run(_watch(settings, options, Around(Teller(story)), armed=armed, pin=pin))


async def _watch(
    settings: Settings,
    options: WatchOptions,
    around: Around,
    *,
    armed: bool,
    pin: Pin | None = None,
) -> ExitCode:
    teller, supervisor = around.teller, around.supervisor
    async with AsyncExitStack() as stack:
        stack.callback(supervisor.close)
        if supervisor.watches:
            # Where the loop hangs, the manager's SIGABRT then shows in which line; frames only, no values (I20).
            faulthandler.enable()
        signals = Signals(teller)
        stack.enter_context(signals.listening())
        key, secret = _keys(settings)
        env = settings.profile.env
        fingerprint = account_fingerprint(env.value, key.reveal())
        state_dir = open_state_dir(settings.state_dir, fingerprint)
        stack.enter_context(holding_account(settings, options.venue, key, state_dir, teller.warn))
        url = await _simulated(options, stack) if env is Env.SIM else None
        account = Account(env, key, secret, url, embedded=options.venue is None and env is Env.SIM)
        watch, exchange, beat, reloader = await _assemble(
            settings,
            options,
            account,
            state_dir,
            fingerprint,
            around,
            stack,
            armed=armed,
            pin=pin,
        )
        around.operator.takes(watch)
        settle_objects()
        beat.write()
        teller.open()
        stack.callback(teller.close)
        beating = asyncio.ensure_future(beat.run())
        reason = "it failed"
        snapshots = Snapshots(watch, beat, reloader, state_dir)

        def leave(reason: str) -> None:
            supervisor.stopping(reason)
            watch.leave(reason)

        def reload() -> None:
            supervisor.reloading()
            reloader.reload()
            supervisor.reloaded()

        with signals.obeyed(
            leave=leave,
            reload=reload,
            snapshot=snapshots.take,
            lost=lambda: watch.say(NoteKind.DEGRADED, TERMINAL_GONE),
        ):
            try:
                summary = await watch.run()
                reason = summary.reason
            finally:
                beating.cancel()
                with suppress(asyncio.CancelledError):
                    await beating
                beat.end(reason)
                teller.close()
                await exchange.close()
        if pin is not None:
            pin.settle(watch.state)
        if signals.code is not None:
            return signals.code
        if teller.silenced:
            return ExitCode.PIPE_CLOSED
        unprotected = summary.positions - summary.protected
        return ExitCode.PARTIAL if options.once and armed and unprotected else ExitCode.OK


def _tell_signs(pulse: Pulse, summary: "Summary", outside: "Outside", supervisor: Supervisor) -> None:
    """Pass a beat on to those outside the process."""
    outside.beat(pulse, summary)
    halt = "" if pulse.halt is None else f", HALT: {pulse.halt}"
    feed = "" if pulse.feed_age_ms is None else f", feed {pulse.feed_age_ms // 1000} s old"
    supervisor.status(
        f"{pulse.env} {pulse.mode}: {summary.protected} of {summary.positions} positions protected, "
        f"{summary.orders_resting} orders resting{feed}{halt}"
    )


def _keys(settings: Settings) -> tuple[Secret, Secret]:
    if settings.profile.env is Env.SIM:
        return Secret(TWIN_KEY), Secret(TWIN_KEY)
    from tpctl.adapters.credentials import load_credentials

    found = load_credentials(settings.name, settings.profile)
    if found.warning:
        sys.stderr.write(f"warning: {found.warning}\n")
    return found.key, found.secret


async def _simulated(options: WatchOptions, stack: AsyncExitStack) -> str:
    """Return the address of the twin: the one named, or one served by this process."""
    if options.venue is not None:
        return options.venue
    from tpctl.cli.twin import TwinOptions, open_twin

    shape = TwinOptions(
        market=options.market,
        since=options.since,
        until=options.until,
        speed=options.speed,
        seed=options.seed,
        entries=options.entries,
        held=True,
    )
    server = await stack.enter_async_context(open_twin(shape))
    return server.url


async def _position_mode(exchange: "BinanceReader", around: Around, *, waits: bool) -> "PositionMode":
    """Return the position mode, the first thing asked: it also sets the clock, and shows whether the keys work."""
    from tpctl.engine.start import when_allowed

    def held_up(error: RateLimitedError, pause_ms: int) -> None:
        around.teller.warn(f"{error.message}: waiting {pause_ms // 1000} s; stops at the exchange stay as they are\n")
        around.supervisor.waiting(error.message, pause_ms)

    ask = exchange.position_mode
    return await (when_allowed(ask, held_up) if waits else ask())


async def _assemble(
    settings: Settings,
    options: WatchOptions,
    account: Account,
    state_dir: StateDir,
    fingerprint: str,
    around: Around,
    stack: AsyncExitStack,
    *,
    armed: bool,
    pin: Pin | None,
) -> "tuple[Watch, BinanceReader, Beat, Reloader]":
    """Put the parts of one run together."""
    from tpctl.adapters.binance.client import BinanceExchange, ShadowExchange
    from tpctl.cli.learned import open_adviser
    from tpctl.cli.outside import Outside
    from tpctl.engine.books import BookWatch
    from tpctl.engine.context import ContextSource
    from tpctl.engine.scorekeeper import Scorekeeper
    from tpctl.engine.watch import Watch, WatchTerms

    teller, operator = around.teller, around.operator
    link = await connect(account)
    kind = BinanceExchange if armed else ShadowExchange
    exchange = kind(link.endpoints, link.clock, key=account.key, secret=account.secret)
    stack.push_async_callback(exchange.close)
    mode = await _position_mode(exchange, around, waits=pin is None and not options.once)
    if armed:
        check_rights(await exchange.key_rights())
    scope = scope_of(settings, options)
    await check_symbols(exchange, (*options.symbols, *options.exclude))
    if settings.watch.exclude:
        await warn_of_unlisted(exchange, settings.watch.exclude, teller.warn)
    journal = Journal.open(
        state_dir.journal,
        fingerprint,
        at=link.clock.now(),
        code_version=__version__,
        reserve_bytes=RESERVE_BYTES,
    )
    stack.callback(journal.close)
    state = load_state(journal, fingerprint, settings.exits, scope, settings.experiment)
    if account.env is Env.SIM:
        state = _same_world(state, journal, link.clock.now(), embedded=account.embedded)
    if pin is not None:
        state = await pin.prepare(exchange, state, halted(state_dir))
    scores = Scorekeeper(journal, MetricsFile(metrics_path(state_dir, None, os.environ)), new_world=account.embedded)
    stack.callback(scores.close)
    scores.publish()
    modes = "armed" if armed else "shadow"
    # A one-shot tells what it did to whoever asked for it, and nobody else; what closes everything concerns all.
    heard = pin is None or options.flatten
    told = settings if heard else replace(settings, notify=NotifySettings(), telemetry=TelemetrySettings())
    outside = Outside(told, modes, options.metrics_port, teller.warn)
    stack.callback(outside.close)
    if outside.port is not None:
        teller.warn(f"figures for Prometheus: http://127.0.0.1:{outside.port}/metrics\n")

    def tell(note: Note, seq: int) -> None:
        teller.tell(note, seq)
        outside.tell(note, seq)

    recorder = None
    if options.record is not None:
        recorder = Recorder.create(
            options.record,
            Header(RECORD, __version__, settings.name, account.env.value, modes, link.clock.now()),
        )
        stack.callback(recorder.close)
    feed = link.feed(exchange, mode, lambda: watch.symbols)
    meter = _risk_meter(settings, link, exchange, lambda key: _stop_of(watch.state, key), stack)
    adviser = open_adviser(exchange, link.clock, state_dir.path, journal, lambda: watch.state)
    contexts = ContextSource(
        exchange,
        link.clock,
        settings.inputs,
        (lambda: meter) if isinstance(meter, Unavailable) else meter.current,
        adviser.suggestion,
    )
    watch = Watch(
        exchange=exchange,
        feed=feed,
        journal=journal,
        guard=Guard(armed=armed, halted=lambda: operator.halted(state_dir)),
        contexts=contexts,
        clock=link.clock,
        scores=scores,
        tell=tell,
        turned=around.supervisor.turned,
        terms=WatchTerms(
            env=account.env.value,
            mode=modes,
            lockstep=link.lockstep,
            reconcile_ms=settings.watch.reconcile_interval_ms,
            mark_max_age_ms=mark_limit(settings),
            duration_ms=options.stop_after,
            once=options.once,
            flatten=options.flatten,
        ),
        state=state,
        halted=lambda: operator.halted(state_dir),
        recorder=recorder,
        risk=None if isinstance(meter, Unavailable) else meter,
        settler=None if options.once else _settler(link, exchange, account, journal, stack),
        books=None if options.once else BookWatch(exchange, link.clock.now),
        adviser=adviser if pin is None else None,
    )
    beat = Beat(
        PulseWriter.open(state_dir.pulse),
        watch,
        exchange,
        profile=settings.name,
        mode=modes,
        feed=feed,
        clock=link.clock,
        paused=lambda: operator.paused,
        recording=None if options.record is None else options.record.name,
        also=lambda pulse: _tell_signs(pulse, watch.summary(), outside, around.supervisor),
    )
    return watch, exchange, beat, Reloader(settings, lambda: read_settings(options), watch, contexts)


def _settler(
    link: Link, exchange: "BinanceReader", account: Account, journal: Journal, stack: AsyncExitStack
) -> "Settler":
    """Return what settles closed positions, on public candles and the account's history, within the reader's budget."""
    from tpctl.adapters.binance.market_pages import MarketPages
    from tpctl.adapters.minutes import PagedMinutes
    from tpctl.engine.costs import CostReader
    from tpctl.engine.settle import Settler

    pages = MarketPages(link.endpoints, link.clock, exchange.budget)
    stack.push_async_callback(pages.close)
    minutes = PagedMinutes(pages, link.clock.now, patient=False)
    since = link.clock.now() if account.embedded else 0
    pause = 0.0 if link.lockstep else _SETTLING_PAUSE_S
    return Settler(journal.path, minutes, since=since, pause=pause, costs=CostReader(exchange, link.clock.now))


def _risk_meter(
    settings: Settings,
    link: Link,
    exchange: "BinanceReader",
    stops: Callable[[PositionKey], Price | None],
    stack: AsyncExitStack,
) -> "RiskContext | Unavailable":
    """Return what measures this account's risk, or why nothing does."""
    from tpctl.engine.risk_context import NO_NUMERICS, numerics_installed

    if not settings.watch.risk:
        return Unavailable("watch.risk is switched off")
    if not numerics_installed():
        return Unavailable(NO_NUMERICS)
    from tpctl.cli.risk_meter import open_risk_meter

    return open_risk_meter(
        settings.profile.env, link.endpoints, link.clock, exchange, stops, stack, lockstep=link.lockstep
    )


def _stop_of(state: State, key: PositionKey) -> Price | None:
    episode = state.episodes.get(key)
    return None if episode is None else episode.stop


def _same_world(state: State, journal: Journal, now: Millis, *, embedded: bool) -> State:
    """Forget positions of a simulated account that no longer exists: it ended with its process.

    An embedded twin starts a new account every time; a served one that was started anew is told by its earlier time.
    """
    newest = max((episode.position_at for episode in state.episodes.values()), default=0)
    if not state.episodes or not (embedded or newest > now):
        return state
    fresh = replace(state, episodes={})
    journal.commit(Entry(at=now, states=tuple(position_row(fresh, key) for key in state.episodes)))
    return fresh
