"""One life of the watching process: the engine's own parts, put together as the session does, until it ends or dies.

Nothing of the engine is replaced: the client, the streams' supervisor, the lanes, the guard, the journal and the
scorekeeper are those of `tpctl watch`. Only time, the wires and the moment of death are the rehearsal's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Protocol

from tpctl.adapters.binance.client import BinanceExchange, ShadowExchange
from tpctl.adapters.binance.clock import ExchangeClock
from tpctl.adapters.binance.endpoints import Endpoints
from tpctl.adapters.journal import Committed, Entry, Journal
from tpctl.adapters.metrics_file import MetricsFile
from tpctl.adapters.secrets import Secret
from tpctl.adapters.streams.feed import LiveFeed
from tpctl.adapters.streams.timing import Timing
from tpctl.engine.context import ContextSource
from tpctl.engine.guard import Guard
from tpctl.engine.memory import load_state
from tpctl.engine.scorekeeper import Scorekeeper
from tpctl.engine.start import when_allowed
from tpctl.engine.watch import Summary, Watch, WatchTerms
from tpctl.exits.episode import Scope, State
from tpctl.exits.errors import StateFileError
from tpctl.exits.model import Note
from tpctl.exits.rules import ExitRules
from tpctl.rehearsal.gateway import Gateway, LoopSession
from tpctl.settings.schema import InputSettings

ACCOUNT = "rehearsal"
KEY, SECRET = "canary-key-7f3a", "canary-secret-9b1c"
ENDPOINTS = Endpoints(rest="loop://exchange/fapi", stream="loop://exchange", data="loop://exchange/data", env="sim")
# Marks older than this decide nothing, as in the live profile.
_MARK_MAX_AGE_MS = 3_000
# A market that takes longer steps in calm times is not silent.
_STALE_S = 3_600.0


class KilledError(BaseException):
    """The process is gone; nothing it would still do happens."""


class Ledger(Protocol):
    """Who keeps an eye on the journal."""

    def committing(self, life: "Life", entry: Entry) -> None:
        """Learn that a decision is about to be written; may raise what the disk would, or the death of the process."""
        ...

    def committed(self, life: "Life", entry: Entry, numbers: Committed) -> None:
        """Learn that a decision is durable; may raise the death of the process."""
        ...


class _WatchedJournal(Journal):
    life: "Life | None" = None

    def commit(self, entry: Entry) -> Committed:
        """Write one decision, unless death or the disk comes first."""
        life = self.life
        if life is None:
            return super().commit(entry)
        if life.dead:
            raise KilledError
        life.ledger.committing(life, entry)
        done = super().commit(entry)
        life.ledger.committed(life, entry, done)
        return done


class Life:
    """One run of `watch`. `dead` tells that the process is gone: whatever its tasks still do reaches nobody."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        gateway: Gateway,
        ledger: Ledger,
        folder: Path,
        rng: Random,
        rules: ExitRules,
        inputs: InputSettings,
        armed: bool,
        reconcile_ms: int,
        skew_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        halted: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.dead = False
        self.ledger = ledger
        self.notes: list[Note] = []
        self.watch: Watch | None = None
        self._loop = loop
        self._gateway = gateway
        self._folder = folder
        self._rules = rules
        self._inputs = inputs
        self._armed = armed
        self._reconcile_ms = reconcile_ms
        self._halted = halted
        self._journal: Journal | None = None
        start_s = gateway.now / 1000 - loop.time()
        self.clock = ExchangeClock(
            monotonic=lambda: loop.time() + skew_s(),
            wall=lambda: loop.time() + start_s,
        )
        self._timing = Timing(monotonic=loop.time, wall=lambda: loop.time() + start_s, sleep=sleep, random=rng.random)
        self._task: asyncio.Task[Summary] | None = None

    @property
    def state(self) -> State | None:
        """What the process believes, None before it has read its memory."""
        return None if self.watch is None else self.watch.state

    def begin(self) -> "asyncio.Task[Summary]":
        """Start the process."""
        self._task = self._loop.create_task(self._run())
        # Nobody may be left to ask how a dead process ended.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._task

    def kill(self) -> None:
        """End the process as kill -9 does."""
        if not self.dead:
            self.dead = True
            if self._task is not None:
                self._task.cancel()

    async def _run(self) -> Summary:
        connect = partial(LoopSession, self._gateway, self)
        kind = BinanceExchange if self._armed else ShadowExchange
        exchange = kind(ENDPOINTS, self.clock, key=Secret(KEY), secret=Secret(SECRET), connect=connect)
        journal: _WatchedJournal | None = None
        scores: Scorekeeper | None = None
        try:
            mode = await when_allowed(exchange.position_mode, lambda *_: None)
            journal = _WatchedJournal.open(
                self._folder / "journal.db", ACCOUNT, at=self.clock.now(), code_version="rehearsal"
            )
            journal.life = self
            self._journal = journal
            state = load_state(journal, ACCOUNT, self._rules, Scope())
            scores = Scorekeeper(journal, MetricsFile(self._folder / "tp_metrics.json"))
            scores.publish()
            feed = LiveFeed(
                ENDPOINTS.stream,
                self.clock,
                exchange,
                mode=mode,
                wanted=lambda: self.watch.symbols if self.watch else frozenset(),
                stale_s=_STALE_S,
                dial=self._gateway.links.dial,
                timing=self._timing,
            )
            self.watch = Watch(
                exchange=exchange,
                feed=feed,
                journal=journal,
                guard=Guard(armed=self._armed, halted=self._halted),
                contexts=ContextSource(exchange, self.clock, self._inputs),
                clock=self.clock,
                scores=scores,
                tell=lambda note, _: self.notes.append(note),
                terms=WatchTerms(
                    env="sim",
                    mode="armed" if self._armed else "shadow",
                    lockstep=False,
                    reconcile_ms=self._reconcile_ms,
                    mark_max_age_ms=_MARK_MAX_AGE_MS,
                ),
                state=state,
                halted=self._halted,
            )
            return await self.watch.run()
        finally:
            if scores is not None:
                scores.close()
            if journal is not None:
                journal.close()
            await exchange.close()


def full_disk(path: Path) -> StateFileError:
    """Return what the journal raises on a full disk."""
    return StateFileError(f"cannot write journal {str(path)!r}: no space left", "free some disk space and try again")
