"""The monitor loop: feed -> decide -> guard -> exchange -> journal. Start and recovery are one path.

One task applies events, one at a time, to the reducer; what a decision changes is in the journal before any of its
requests leaves (I8). Requests run in lanes beside the loop and come back as events. In lockstep the next market step is
taken only when everything the last one caused is done, so the outcome depends on the market alone.

It decides nothing about prices or orders, and leaving never cancels protection (I25).
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace

from tpctl.adapters.journal import Journal
from tpctl.adapters.recording import Recorder
from tpctl.adapters.requests import wall_ms
from tpctl.engine.account_reads import AccountReads
from tpctl.engine.books import BookWatch
from tpctl.engine.context import ContextSource
from tpctl.engine.decisions import Decisions
from tpctl.engine.elapsed import passed
from tpctl.engine.errands import Errands
from tpctl.engine.guard import Guard
from tpctl.engine.lanes import Lanes
from tpctl.engine.scorekeeper import Scorekeeper
from tpctl.engine.settle import Settler
from tpctl.engine.standing import standing_notes
from tpctl.exits.decide import step
from tpctl.exits.draft import STALE_MS
from tpctl.exits.episode import Episode, OrderState, Phase, Scope, State
from tpctl.exits.errors import RateLimitedError, StateFileError, TpctlError, UnavailableError
from tpctl.exits.events import Event, MarkPrice, Released, Requested, StreamLost, Tick
from tpctl.exits.flatten import is_flat, next_to_close, open_episodes
from tpctl.exits.intents import Intent, OrderIntent, ReadAccount
from tpctl.exits.model import Note, NoteKind, PositionKey, Scalar
from tpctl.exits.quiet import loud_first
from tpctl.exits.requests import CloseAll, Outcome, Request
from tpctl.exits.rules import ExitRules
from tpctl.exits.snapshot import AGREEING_READS
from tpctl.exits.units import Millis
from tpctl.ports import Adviser, Clock, Exchange, Feed, RiskMeter

_TICK_MS = 1_000
_PUBLISH_AGAIN_MS = 60_000
# A week of one-minute candles; what an older run left is not judged.
_MAX_CANDLES = 10_080
_FINISH_S = 5.0
_ONCE_S = 20.0


@dataclass(frozen=True, slots=True)
class WatchTerms:
    """How one run behaves. `duration_ms` is event time; `once` stops when everything wanted is in place.

    With `flatten`, which implies `once`, what is wanted is that every position is closed and no order of ours is left.
    Marks older than `mark_max_age_ms` decide nothing (I14); None where event time is not real time.
    """

    env: str
    mode: str
    lockstep: bool
    reconcile_ms: int = 30_000
    mark_max_age_ms: int | None = None
    duration_ms: int | None = None
    once: bool = False
    flatten: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended."""

    reason: str
    positions: int
    protected: int
    orders_resting: int
    rejected: int
    naked_ms: int


class Watch:
    """One run of the monitor loop."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        feed: Feed,
        journal: Journal,
        guard: Guard,
        contexts: ContextSource,
        clock: Clock,
        scores: Scorekeeper,
        tell: Callable[[Note, int], None],
        terms: WatchTerms,
        state: State,
        halted: Callable[[], str | None],
        recorder: Recorder | None = None,
        risk: RiskMeter | None = None,
        turned: Callable[[], None] = lambda: None,
        settler: Settler | None = None,
        books: BookWatch | None = None,
        adviser: Adviser | None = None,
    ) -> None:
        self._exchange = exchange
        self._feed = feed
        self._journal = journal
        self._clock = clock
        self._scores = scores
        self._terms = terms
        self._halted = halted
        self._turned = turned
        self._decisions = Decisions(
            journal,
            clock,
            scores,
            state=state,
            armed=terms.mode == "armed",
            tell=tell,
            heard=self._heard,
            recorder=recorder,
        )
        self._inbox: asyncio.Queue[Sequence[Event]] = asyncio.Queue()
        self._lanes = Lanes(
            exchange,
            contexts,
            guard,
            clock,
            state=lambda: self.state,
            deliver=lambda event: self._inbox.put_nowait((event,)),
            failed=self._fail,
            serial=terms.lockstep,
        )
        self._reads = AccountReads(
            exchange,
            clock,
            state=lambda: self.state,
            begin=self._begin,
            tell=self._decisions.tell,
            deliver=self._inbox.put_nowait,
            failed=self._fail,
        )
        self._errands = Errands(
            clock,
            lockstep=terms.lockstep,
            state=lambda: self.state,
            begin=self._begin,
            tell=self._decisions.tell,
            deliver=self._inbox.put_nowait,
            keep=journal.commit,
            risk=risk,
            adviser=adviser,
            settler=settler,
            books=books,
        )
        self._judging: asyncio.Task[None] | None = None
        self._publish_failed_at: Millis | None = None
        self._ticked_at: Millis = 0
        self._stopping = asyncio.Event()
        self._stop_reason = ""
        self._failure: BaseException | None = None
        self._started_at: Millis | None = None
        self._halt: str | None = None
        self._asked = 0

    @property
    def state(self) -> State:
        """The state as last decided."""
        return self._decisions.state

    @property
    def rejected(self) -> int:
        """How many orders the exchange refused."""
        return self._decisions.rejected

    @property
    def now(self) -> Millis:
        """The current event time."""
        return self._clock.now()

    @property
    def halt(self) -> str | None:
        """Why HALT is set, as last read."""
        return self._halt

    @property
    def busy(self) -> bool:
        """Whether anything waits to be applied or is under way."""
        return not self._inbox.empty() or bool(self._lanes.running)

    @property
    def in_flight(self) -> int:
        """How many requests are under way or wait for their turn."""
        return len(self._lanes.running)

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols whose marks are of interest now."""
        return self._scores.symbols | {key.symbol for key in self.state.episodes}

    def stop(self, reason: str) -> None:
        """Ask the loop to end after what is in flight; stops stay on the exchange."""
        if not self._stopping.is_set():
            self._stop_reason = reason
            self._stopping.set()
            self._inbox.put_nowait(())

    def leave(self, reason: str) -> None:
        """Ask the loop to end as `stop` does, and announce what is finished first."""
        flying = self.in_flight
        what = "no request is under way" if not flying else f"{flying} under way are finished first"
        self.say(NoteKind.STOPPING, f"{reason}; {what}; interrupt once more to quit at once", in_flight=flying)
        self.stop(reason)

    def say(self, kind: NoteKind, reason: str, **data: Scalar) -> None:
        """Tell something from beside the loop; a journal that cannot take it ends the run."""
        self._beside([Note(self._clock.now(), kind, None, reason, data)])

    def tell_standing(self) -> None:
        """Tell how every position stands, from beside the loop."""
        self._beside(standing_notes(self.state, self._clock.now()))

    def _beside(self, notes: Sequence[Note]) -> None:
        try:
            self._decisions.tell(notes)
        except StateFileError as error:
            self._fail(error)

    def reconfigure(self, rules: ExitRules, scope: Scope, *, reconcile_ms: int, mark_max_age_ms: int | None) -> None:
        """Decide by other rules from now on. A plan that stands keeps its levels: the next one follows the rules."""
        self._terms = replace(self._terms, reconcile_ms=reconcile_ms, mark_max_age_ms=mark_max_age_ms)
        self._decisions.reconfigure(rules, scope)
        self.resync("the configuration was read again")

    def ask(self, key: PositionKey, request: Request, source: str) -> str:
        """Ask something of a position from within this process; return the id its `answered` note carries."""
        name = self._request_name(source)
        self._inbox.put_nowait((Requested(self._clock.now(), key, name, source, request),))
        return name

    def _request_name(self, source: str) -> str:
        self._asked += 1
        return f"{source}-{self._clock.now()}-{self._asked}"

    def resync(self, reason: str) -> None:
        """Read the whole account again as soon as reads may follow each other."""
        self._reads.ask(reason, wide=True)
        self._inbox.put_nowait(())

    async def run(self) -> Summary:
        """Guard until stopped, the market ends, or the time is over; raise what cannot be survived."""
        pump: asyncio.Task[None] | None = None
        try:
            self._decisions.say(NoteKind.STARTED, "watch started", env=self._terms.env, mode=self._terms.mode)
            await self._errands.start()
            await self._recover()
            pump = self._begin(self._pump())
            while not self._stopping.is_set():
                batch = await self._inbox.get()
                if self._terms.lockstep:
                    for event in batch:
                        self._apply(event)
                else:
                    await self._apply_urgently(batch)
                self._on_time()
                self._inbox.task_done()
                self._turned()
        except StateFileError as error:
            # What cannot be written down may not be sent (I8). The reserve is for the end of what is in flight (D2).
            self._fail(error)
            with contextlib.suppress(StateFileError):  # the first failure is what the operator has to hear
                self._journal.release_reserve()
        finally:
            if pump is not None:
                pump.cancel()
                await asyncio.wait({pump})
            try:
                await self._finish()
            finally:
                await self._feed.close()
        if self._failure is not None:
            raise self._failure
        return self.summary()

    async def _apply_urgently(self, batch: Sequence[Event]) -> None:
        """Apply a batch so that an order leaves before what does not matter to it is looked at.

        Of the marks at its end, which are one for each symbol, those that may lead to something come first.
        """
        for event in loud_first(self.state, batch):
            if self._apply(event):
                await self._lanes.depart()

    def _begin(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        """Run something beside the loop; a bug in it ends the run instead of leaving the loop to wait for ever."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    @property
    def _reading(self) -> "list[asyncio.Task[None]]":
        """What is read beside the loop."""
        return [task for task in (self._reads.task, self._judging) if task is not None]

    async def _pump(self) -> None:
        """Carry the feed into the inbox; in lockstep, one step at a time."""
        reason = "the market ended"
        loop = asyncio.get_running_loop()
        deadline, left = loop.time() + _ONCE_S, 0
        try:
            async for batch in self._feed.events():
                self._inbox.put_nowait(self._fresh(batch))
                if self._terms.lockstep:
                    await self._quiet()
                    await self._errands.run_in_line(self._quiet)
                if self._terms.once:
                    await self._quiet()
                    if self._converged():
                        reason = "everything wanted is in place"
                        break
                    if self._terms.flatten and (now_left := len(open_episodes(self.state))) != left:
                        deadline, left = loop.time() + _ONCE_S, now_left
                    if loop.time() > deadline:
                        reason = f"not everything wanted is in place after {_ONCE_S:.0f} s"
                        break
        except TpctlError as error:
            self._fail(error)
            return
        self.stop(reason)

    def _fresh(self, batch: Sequence[Event]) -> Sequence[Event]:
        """Return the batch without marks too old to decide on."""
        limit = self._terms.mark_max_age_ms
        if limit is None:
            return batch
        oldest = self._clock.now() - limit
        return [event for event in batch if not isinstance(event, MarkPrice) or event.at >= oldest]

    async def _quiet(self) -> None:
        """Wait until every event is applied and no request is under way."""
        while True:
            await self._inbox.join()
            waiting = self._lanes.running | {task for task in self._reading if not task.done()}
            if not waiting:
                return
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

    def _converged(self) -> bool:
        if self._terms.flatten and not self._is_flat():
            return False
        if not self._reads.settled:
            return False
        if self._errands.measuring:
            return False
        now = self._clock.now()
        if any(_unsure_of_mark(episode, now) for episode in self.state.episodes.values()):
            self._dispatch(ReadAccount("a fresh mark"))
            return False
        decision = step(self.state, Tick(self._clock.now()))
        planned = all(e.plan is not None or e.backstop is not None for e in self.state.episodes.values())
        return planned and not decision.intents and not any(_pending(e) for e in self.state.episodes.values())

    def _is_flat(self) -> bool:
        """Whether everything is closed; that there is nothing is believed to as many reads as that one is flat."""
        if self._reads.done < AGREEING_READS:
            self._dispatch(ReadAccount("whether anything is open"))
            return False
        return is_flat(self.state)

    def _apply(self, event: Event) -> bool:
        """Decide on one event and do what follows; return whether it led to an order."""
        if isinstance(event, StreamLost):
            self._reads.lost()
        decision = self._decisions.take(event)
        for intent in decision.intents:
            self._dispatch(intent)
        if isinstance(event, MarkPrice):
            self._scores.see_mark(event)
        self._publish()
        return any(isinstance(intent, OrderIntent) for intent in decision.intents)

    def _heard(self, event: Event | None, notes: Sequence[Note]) -> None:
        self._errands.heard(event, notes)

    def _publish(self) -> None:
        """Bring the metrics file up to date; a file that cannot be replaced is told, and tried again later."""
        now, failed_at = self._clock.now(), self._publish_failed_at
        if not self._scores.due or (failed_at is not None and not passed(now, failed_at, _PUBLISH_AGAIN_MS)):
            return
        try:
            self._scores.publish()
        except TpctlError as error:
            self._publish_failed_at = now
            self._decisions.say(NoteKind.DEGRADED, f"the metrics file is not up to date: {error.message}")

    def _dispatch(self, intent: Intent) -> None:
        if isinstance(intent, ReadAccount):
            self._reads.ask(intent.reason)
            self._reads.begin_if_due()
        else:
            self._lanes.send(intent)

    def _on_time(self) -> None:
        now = self._clock.now()
        if self._started_at is None and now > 0:
            self._started_at = now
        if passed(now, self._ticked_at, _TICK_MS):
            self._ticked_at = now
            self._apply(Tick(now))
            self._watch_halt(now)
            self._take_requests(now)
            if self._terms.flatten:
                for key in next_to_close(self.state):
                    self._apply(Requested(now, key, self._request_name("flatten"), "flatten", CloseAll()))
            self._errands.on_tick()
            self._decisions.watch_record()
            self._reads.ask_if_old(self._terms.reconcile_ms)
            if not self._lanes.running:
                self._journal.tidy()
        self._reads.begin_if_due()
        self._decisions.checkpoint_if_due()
        duration = self._terms.duration_ms
        if duration is not None and self._started_at is not None and now - self._started_at >= duration:
            self.stop("the time is over")

    def _take_requests(self, now: Millis) -> None:
        """Take what other processes asked for, in their order; the answer is durable with what it decided."""
        for filed in self._journal.requests(waiting=True):
            if filed.expires_at < wall_ms():
                text = f"{filed.source} asked at {filed.at} and waits no longer"
                self._decisions.answer(filed.id, Outcome.EXPIRED, text)
            elif filed.request is None:
                text = "the running watch is of a version that does not know it"
                self._decisions.answer(filed.id, Outcome.REFUSED, text)
            else:
                self._apply(Requested(now, filed.key, filed.id, filed.source, filed.request))

    def _watch_halt(self, now: Millis) -> None:
        halt = self._halted()
        if halt == self._halt:
            return
        self._halt = halt
        if halt is None:
            self._decisions.say(NoteKind.RECOVERED, "HALT was lifted")
            self._apply(Released(now))
        else:
            self._decisions.say(NoteKind.HALTED, f"HALT: {halt}; stops stay, no new take-profits")

    async def _recover(self) -> None:
        """Resolve what the last run left open before anything else."""
        for event in await self._reads.catch_up():
            self._apply(event)
        self._apply(StreamLost(self._clock.now(), "start"))
        self._errands.recover()
        # Beside the loop: a verdict on the past may wait, the position may not.
        self._judging = self._begin(self._judge_earlier())

    async def _judge_earlier(self) -> None:
        """Judge the misses of an earlier run on what happened since; what cannot be known stays unjudged."""
        now = self._clock.now()
        for symbol, since in self._scores.unjudged(now).items():
            minutes = (now - since) // 60_000 + 2
            if minutes <= _MAX_CANDLES:
                with contextlib.suppress(UnavailableError, RateLimitedError):
                    self._scores.see_candles(symbol, await self._exchange.candles(symbol, "1m", minutes))
        self._publish()

    async def _finish(self) -> None:
        """Let what is in flight end and be written down; nothing that protects is withdrawn."""
        try:
            await self._drain()
        except StateFileError as error:
            self._fail(error)
        finally:
            for task in self._reading:
                task.cancel()
            self._errands.cancel()

    async def _drain(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FINISH_S):
                while self._lanes.running or not self._inbox.empty():
                    while not self._inbox.empty():
                        for event in self._inbox.get_nowait():
                            self._apply(event)
                        self._inbox.task_done()
                    if self._lanes.running:
                        await asyncio.wait(set(self._lanes.running), return_when=asyncio.FIRST_COMPLETED)
        if not self._terms.once:
            self._decisions.tell(standing_notes(self.state, self._clock.now()))
        summary = self.summary()
        self._decisions.say(
            NoteKind.STOPPED,
            summary.reason,
            positions=summary.positions,
            protected=summary.protected,
            orders_resting=summary.orders_resting,
            rejected=summary.rejected,
            naked_ms=summary.naked_ms,
        )

    def summary(self) -> Summary:
        """Return how things stand: what the run would end with now."""
        episodes = [e for e in self.state.episodes.values() if e.phase is not Phase.FLAT]
        resting = sum(order.state is OrderState.LIVE for e in episodes for order in e.orders)
        naked = self._decisions.naked_ms + sum(e.naked_ms for e in episodes)
        reason = self._stop_reason or "failed"
        protected = sum(e.protected for e in episodes)
        return Summary(reason, len(episodes), protected, resting, self.rejected, naked)

    def _fail(self, error: BaseException) -> None:
        """End the run for a failure that must not be lived with; protection stays where it is (I25)."""
        if self._failure is None:
            self._failure = error
        # What a bug says may hold anything, and what is told here goes everywhere: its words are the traceback's.
        self.stop(str(error) if isinstance(error, TpctlError) else f"unexpected {type(error).__name__}")


def _unsure_of_mark(episode: Episode, now: Millis) -> bool:
    """Whether what the market has done since the last run is still to be taken in."""
    guarded = episode.phase is Phase.GUARDED and episode.quantity > 0
    return guarded and (now - episode.mark_at > STALE_MS or episode.suspect_mark is not None)


def _pending(episode: Episode) -> bool:
    return any(order.pending or not order.confirmed for order in episode.orders if order.open)
