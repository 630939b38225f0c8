"""The world of one story: the market moves, positions are opened by hand, faults strike, the process lives and dies.

Decides the order of things at a step: prices, executions, acts, faults, then frames and events. Everything is drawn
from the seed; one story is told the same way every time (I21).
"""

import asyncio
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final

from tpctl.adapters.journal import Committed, Entry
from tpctl.engine.watch import Summary
from tpctl.exits.episode import Phase, State
from tpctl.exits.errors import RateLimitedError, StateFileError, UnavailableError
from tpctl.exits.rules import ExitRules
from tpctl.exits.size import is_dust
from tpctl.exits.units import Millis, plain
from tpctl.rehearsal.deaths import Death, Deaths
from tpctl.rehearsal.excuses import (
    JUMP_MS,
    KEEP_KEY_MS,
    OUTAGES,
    REFUSED_MS,
    START_MS,
    STRIKES,
    UNSEEN_MS,
    Excuse,
)
from tpctl.rehearsal.gateway import Gateway
from tpctl.rehearsal.life import KEY, SECRET, KilledError, Life, full_disk
from tpctl.rehearsal.loop import StuckError, VirtualLoop
from tpctl.rehearsal.market import ASSETS, Walk
from tpctl.rehearsal.witness import Naked, Violation, Witness
from tpctl.settings.schema import InputSettings
from tpctl.venue.faults import CATALOG, FaultPlan, Seam, Struck
from tpctl.venue.quotes import MarketStep
from tpctl.venue.refusals import VenueError
from tpctl.venue.routes import ROUTES
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.triggers import crossed
from tpctl.venue.venue import Terms, Venue

START_MS_UTC: Final = 1_767_571_200_000
_DAY_MS: Final = 86_400_000
# The story's end is without faults, so that what they left can be seen to end (I23).
CALM_END_MS: Final = 900_000
# A clock off by this much makes waits longer than they are meant to be.
_CLOCK_MS: Final = 1_000
# Positions are opened again this long after a symbol went flat, on average.
_FLAT_MS: Final = 1_500_000.0
# What a dead process still had to put away takes this long at most.
_LAST_BREATH_S: Final = 60.0
_NOTIONALS: Final = (600, 1_500, 2_500, 6_000, 15_000)
_LEVERAGES: Final = (3, 5, 10, 20, 25)
# How a process may end by itself; it is started again.
_EXPECTED: Final = (KilledError, UnavailableError, RateLimitedError, StateFileError)
# What strikes a request is told by what the request was about; these are events of their own.
_STIRRING: Final = frozenset(
    name for name, kind in CATALOG.items() if kind.seam not in {Seam.REQUEST, Seam.FRAME, Seam.EVENT}
)


@dataclass(frozen=True, slots=True)
class Story:
    """What is told. `faults` and `deaths` are rates by name; `kept` leaves only single strikes in, for shrinking.

    `calm_ms` is the longest step of the market, `swing` the share of the usual volatility it moves by, `depth` the
    notional one step gives (None is all). With `brief` a story ends where the first invariant breaks.
    """

    seed: int
    days: Decimal
    faults: Mapping[str, float] = field(default_factory=dict)
    deaths: Mapping[str, float] = field(default_factory=dict)
    symbols: tuple[str, ...] = tuple(ASSETS)[:5]
    hedge: bool = False
    armed: bool = True
    rules: ExitRules = field(default_factory=ExitRules)
    inputs: InputSettings = field(default_factory=InputSettings)
    calm_ms: int = 3_600_000
    swing: float = 1.0
    reconcile_ms: int = 30_000
    depth: Decimal | None = None
    kept: frozenset[tuple[str, int]] | None = None
    brief: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """How a story went. Times are ms of the story; `position_ms` adds up the time positions were open."""

    seed: int
    ms: Millis
    position_ms: int
    positions: int
    reduces: int
    orders: int
    requests: int
    lives: int
    peak_weight: int
    strikes: tuple[Struck, ...]
    deaths: tuple[Death, ...]
    naked: tuple[Naked, ...]
    violations: tuple[Violation, ...]
    trace: str


class World:
    """One story. Build it, then await `tell` on its loop."""

    def __init__(self, story: Story, folder: Path, loop: VirtualLoop) -> None:
        self.story = story
        self.folder = folder
        self.loop = loop
        self.end = START_MS_UTC + int(story.days * _DAY_MS)
        calm = max(START_MS_UTC, self.end - CALM_END_MS)
        rules = builtin_rules()
        terms = Terms(depth=story.depth)
        self.venue = Venue(rules, start_ms=START_MS_UTC, hedge=story.hedge, terms=terms, wallet=Decimal(2_000_000))
        self.plan = FaultPlan(story.faults, story.seed, start_ms=START_MS_UTC, stop_ms=calm, kept=story.kept)
        self.deaths = Deaths(story.deaths, story.seed, start_ms=START_MS_UTC, stop_ms=calm, kept=story.kept)
        self.gateway = Gateway(loop, self.venue, self.plan, self._random("wires"))
        self.gateway.observer = self
        self.walk = Walk(self._random("prices"), story.symbols, rules, START_MS_UTC, story.calm_ms, story.swing)
        slow = bool({"latency", "read-lag"} & story.faults.keys())
        self.witness = Witness(
            self.venue, START_MS_UTC, symbols=max(3, len(story.symbols)), armed=story.armed, slow=slow
        )
        self.life: Life | None = None
        self.lives = 0
        self.over = False
        self._hand = self._random("hand")
        self._machine = self._random("machine")
        self._nudged = asyncio.Event()
        self._stepping = asyncio.Event()
        self._next_at = 0.0
        self._struck = 0
        self._open_at = {symbol: START_MS_UTC + self._hand.randint(0, 600_000) for symbol in story.symbols}
        self._held: set[str] = set()
        self._positions = 0
        self._position_ms = 0
        self._stepped = START_MS_UTC
        self._disk_full_until: Millis = 0
        self._fsync_fails = False
        self._at_write: float | None = None
        self._at_send: float | None = None
        self._die_again: float | None = None
        self._lose_state = False
        self._down: Excuse | None = None
        self._blind: Excuse | None = None
        self._astray: Excuse | None = None
        self._gone: asyncio.Future[None] | None = None
        # The newest state in which nothing was under way.
        self._settled: State | None = None

    def _random(self, name: str) -> Random:
        # Not for secrets: a story that can be told again.
        return Random(f"{self.story.seed}:{name}")  # noqa: S311

    @property
    def now(self) -> Millis:
        """The time of the story."""
        return self.gateway.now

    async def tell(self) -> Told:
        """Let the story happen."""
        self._step()
        supervisor = self.loop.create_task(self._supervise())
        try:
            while self.now < self.end and not (self.story.brief and self.witness.violations):
                await self._wait()
                self._step()
        finally:
            self.over = True
            if self.life is not None:
                self.life.kill()
            supervisor.cancel()
            await asyncio.wait({supervisor})
            await asyncio.sleep(_LAST_BREATH_S)
        self._judge_end()
        if not supervisor.cancelled() and (error := supervisor.exception()) is not None:
            raise error
        witness = self.witness
        return Told(
            seed=self.story.seed,
            ms=self.now - START_MS_UTC,
            position_ms=self._position_ms,
            positions=self._positions,
            reduces=witness.reduces,
            orders=witness.orders,
            requests=self.gateway.requests,
            lives=self.lives,
            peak_weight=witness.peak_weight,
            strikes=tuple(self.plan.dice.struck),
            deaths=tuple(self.deaths.struck),
            naked=tuple(witness.naked),
            violations=tuple(witness.violations),
            trace=witness.trace,
        )

    # time

    async def _wait(self) -> None:
        """Wait for the next step; something that happens brings it nearer."""
        ms = min(self.walk.interval_ms, self.end - self.now)
        self._next_at = self.loop.time() + ms / 1000
        self._nudged.clear()
        try:
            async with asyncio.timeout(ms / 1000):
                await self._nudged.wait()
        except TimeoutError:
            return
        self._next_at = self.loop.time() + 1.0
        await asyncio.sleep(1.0)

    def stir(self, symbols: Iterable[str] = ()) -> None:
        """Let the next seconds be told one by one, with the prices of `symbols`."""
        self.walk.stir(self.now, symbols)
        if self._next_at - self.loop.time() > 1.0:
            self._nudged.set()

    async def beat(self, seconds: float) -> None:
        """Sleep as the feed asks; its idle beat, which is shorter than any step, lasts until the next one."""
        if seconds < 1.0:
            await self._stepping.wait()
            seconds = 0.001
        await asyncio.sleep(seconds)

    # the exchange's side

    def _step(self) -> None:
        self._stepping.set()
        self._stepping = asyncio.Event()
        now, venue = self.now, self.venue
        self._count(now)
        step = self.plan.on_step(MarketStep(now, self.walk.advance(now, self._crosses)), venue)
        venue.step(step)
        for quote in step.quotes:
            self.witness.mark(now, quote.symbol, quote.mark)
        self._trade(now)
        for act in self.plan.on_account(now, venue):
            act.apply(venue)
        for link in self.plan.on_links(now):
            self.gateway.strike(link)
        self.gateway.age()
        self._see_blindness(now)
        self._see_clock(now)
        for death in self.deaths.due(now):
            self._die(death)
        self._look()
        self.gateway.publish(
            [{"e": "markPriceUpdate", "E": now, "s": quote.symbol, "p": str(quote.mark)} for quote in step.quotes]
        )

    def _look(self) -> None:
        """Send what is to be sent, and judge."""
        touched = [symbol for event in self.venue.core.events for symbol in _symbols_of(event)]
        stirred = bool(self.venue.core.events)
        self.gateway.flush()
        stirred = self._see_strikes(touched) or stirred
        self.witness.state = None if self.life is None or self.life.dead else self.life.state
        self.witness.check(self.now)
        stirred = self._see_unsettled(touched) or stirred
        if stirred:
            self.stir(touched)

    def _see_unsettled(self, touched: list[str]) -> bool:
        """Add the symbols on which something must come to an end soon; return whether anything must."""
        state = self.witness.state
        if state is None or self.witness.conditions:
            touched += [condition.symbol for condition in self.witness.conditions.values()]
        elif state is self._settled:
            return False
        if state is None:
            return True
        found = len(touched)
        touched += [
            key.symbol
            for key, episode in state.episodes.items()
            if episode.differs_since is not None
            or (episode.phase in {Phase.ADOPTING, Phase.CLOSING} and not is_dust(episode))
        ]
        unsettled = bool(self.witness.conditions) or len(touched) > found
        self._settled = None if unsettled else state
        return unsettled

    def _crosses(self, symbol: str, factor: float) -> bool:
        mark = self.venue.core.mark.get(symbol)
        if mark is None:
            return False
        price = mark * Decimal(repr(factor))
        return any(crossed(order, price) for order in self.venue.core.books.resting(symbol) if order.status == "NEW")

    def _count(self, now: Millis) -> None:
        holdings = self.venue.core.account.open_holdings()
        self._position_ms += len(holdings) * (now - self._stepped)
        self._stepped = now

    def _trade(self, now: Millis) -> None:
        """Open positions by hand where a symbol has been flat for a while."""
        held = {holding.symbol for holding in self.venue.core.account.open_holdings()}
        for symbol in sorted(self._held - held):
            self._open_at[symbol] = now + int(self._hand.expovariate(1 / _FLAT_MS))
        self._held = held
        for symbol, at in self._open_at.items():
            if symbol in held or now < at or now > self.end - CALM_END_MS:
                continue
            self._open_at[symbol] = now + int(self._hand.expovariate(1 / _FLAT_MS))
            side = self._hand.choice(("LONG", "SHORT"))
            notional, leverage = Decimal(self._hand.choice(_NOTIONALS)), self._hand.choice(_LEVERAGES)
            margin = "ISOLATED" if self._hand.random() < 0.3 else "CROSSED"
            try:
                self.venue.open_position(symbol, side, notional=notional, leverage=leverage, margin=margin)
            except VenueError:
                continue
            self._positions += 1
            self._held.add(symbol)
            # Stretches nothing; a stop of the last life that goes in the same moment is told under its name.
            self.witness.excuses.add("hand-open", now, 0, symbol=symbol, end=now)
            if self._hand.random() < 0.3:
                self._place_foreign(symbol, side)

    def _place_foreign(self, symbol: str, side: str) -> None:
        """Place an order of the operator's own on a position; nobody else may touch it (I12)."""
        mark = self.venue.core.mark[symbol]
        trigger = mark * (Decimal("1.08") if side == "LONG" else Decimal("0.92"))
        tick = self.venue.core.rules.symbols[symbol].tick
        params = {
            "algoType": "CONDITIONAL",
            "symbol": symbol,
            "side": "SELL" if side == "LONG" else "BUY",
            "type": "TAKE_PROFIT_MARKET",
            "triggerPrice": plain(trigger // tick * tick),
            "workingType": "MARK_PRICE",
            "closePosition": "true",
        }
        if self.venue.hedge:
            params["positionSide"] = side
        with suppress(VenueError):
            self.venue.new_algo_order(params)

    # what struck

    def _see_strikes(self, touched: list[str]) -> bool:
        """Take in what struck since the last look, and whom; return whether the next seconds are told one by one."""
        struck, stirs = self.plan.dice.struck, False
        for strike in struck[self._struck :]:
            if strike.name in _STIRRING:
                stirs = True
                touched += strike.detail.split()[:1]
            self._excuse(strike)
        self._struck = len(struck)
        return stirs

    def _excuse(self, strike: Struck) -> None:
        excuses, name = self.witness.excuses, strike.name
        words = strike.detail.split()
        if name in OUTAGES and words:
            symbol = words[0] if name == "symbol-halt" else None
            end = self.venue.core.halts.get(symbol, strike.at) if symbol else int(words[1])
            excuses.add(name, strike.at, REFUSED_MS, symbol=symbol, end=end, lasts=True)
            if name == "ban":
                self.witness.banned = (strike.at, end)
        elif name in STRIKES:
            end = strike.at
            if name == "silence":
                # Where marks stay away, only the exchange's own orders act.
                end += 120_000
            elif name == "key-rotation" or (name == "key-expiry" and self.gateway.links.muted(self.loop.time())):
                # Nobody is told, or nobody hears it; the next extension of the key finds out.
                excuses.add(name, strike.at, KEEP_KEY_MS, symbol="")
            excuses.add(name, strike.at, STRIKES[name], end=end)
        elif name in _STIRRING:
            # Stretches nothing; what it left without a stop is told under its name.
            symbol = next((word for word in words if word in self.story.symbols), None)
            excuses.add(name, strike.at, 0, symbol=symbol, end=strike.at)

    def _see_blindness(self, now: Millis) -> None:
        """Note whether user events reach anybody."""
        at = self.loop.time()
        sees = (
            self.life is None
            or self.life.dead
            or any(one.silent_until <= at for one in self.gateway.links.private(now))
        )
        if sees and self._blind is not None:
            self._blind.end, self._blind = now, None
        elif not sees and self._blind is None:
            self._blind = self.witness.excuses.add("blind", now, UNSEEN_MS)
        # A socket that is open and silent cannot be told from one with nothing to say.
        self.witness.blind = not sees and not self.gateway.links.muted(at)

    def _see_clock(self, now: Millis) -> None:
        """Note whether the process knows the time; while it cannot ask, it does not find out."""
        wrong = self.life is not None and not self.life.dead and abs(self.life.clock.now() - now) > _CLOCK_MS
        if wrong and self._astray is None:
            self._astray = self.witness.excuses.add("clock-jump", now, JUMP_MS + UNSEEN_MS, lasts=True)
        elif not wrong and self._astray is not None:
            self._astray.end, self._astray = now, None

    # the process's side

    def sending(self, method: str, path: str, params: Mapping[str, str]) -> None:
        """Observe a request that leaves, and die at its boundary where that is due."""
        self.witness.state = None if self.life is None else self.life.state
        mutating = method != "GET" and path != "v1/listenKey"
        if mutating and self._at_send is not None:
            before, self._at_send = self._at_send < 0.5, None
            if before:
                self.kill()
                return
            self.loop.call_soon(self.kill)
        self.witness.clock = self.now if self.life is None else self.life.clock.now()
        self.witness.sending(self.now, method, path, params)

    def handled(self, method: str, path: str, params: Mapping[str, str], status: int) -> None:
        """Observe how a request fared."""
        route = ROUTES.get((method, path))
        weight = 1 if route is None else route.weight_of(dict(params))
        self.witness.handled(self.now, method, path, status, weight)
        if path == "v3/positionRisk" and status == 200 and self._down is not None and self.life is not None:
            self._down.end, self._down = self.now, None
        self._look()

    def committing(self, life: Life, entry: Entry) -> None:  # noqa: ARG002
        """Let a write fail, or the process die before it."""
        now = self.now
        if now < self._disk_full_until or self._fsync_fails:
            self._fsync_fails = False
            raise full_disk(self.folder / "journal.db")
        if self._at_write is not None and self._at_write < 0.5:
            self._at_write = None
            self.kill()
            raise KilledError

    def committed(self, life: Life, entry: Entry, numbers: Committed) -> None:  # noqa: ARG002
        """Observe what became durable, and die right after it where that is due."""
        self.witness.committed(self.now, entry)
        if self._at_write is not None:
            self._at_write = None
            self.kill()
            raise KilledError

    def _die(self, death: Death) -> None:
        match death.name:
            case "kill-now":
                self.loop.call_later(death.draw, self.kill)
            case "kill-write":
                self._at_write = death.draw
            case "kill-send":
                self._at_send = death.draw
            case "kill-twice":
                self._die_again = 0.02 + death.draw
                self.kill()
            case "disk-full":
                self._disk_full_until = self.now + 1_000 + int(death.draw * 59_000)
            case "fsync-failure":
                self._fsync_fails = True
            case "lost-state":
                self._lose_state = True
                self.kill()
            case _:
                if self.life is not None and self.life.watch is not None:
                    self.life.watch.stop("terminated")
        self.witness.excuses.add(death.name, death.at, START_MS, end=max(death.at, self._disk_full_until), lasts=True)
        self.stir()

    def kill(self) -> None:
        """Let the process die as kill -9 does, now."""
        if self.life is not None and not self.life.dead:
            self.life.kill()
            if self._gone is not None and not self._gone.done():
                self._gone.set_result(None)

    async def _supervise(self) -> None:
        """Start the process again whenever it ends."""
        while not self.over:
            if self._lose_state:
                self._lose_state = False
                self._forget()
            self.lives += 1
            self.witness.born()
            self._gone = self.loop.create_future()
            life = self.life = Life(
                loop=self.loop,
                gateway=self.gateway,
                ledger=self,
                folder=self._home(),
                rng=self._machine,
                rules=self.story.rules,
                inputs=self.story.inputs,
                armed=self.story.armed,
                reconcile_ms=self.story.reconcile_ms,
                skew_s=lambda: self.plan.clock_offset_ms / 1000,
                sleep=self.beat,
            )
            self._note_down()
            running = life.begin()
            if self._die_again is not None:
                self.loop.call_later(self._die_again, self.kill)
                self._die_again = None
            self.stir()
            either: set[asyncio.Future[Any]] = {running, self._gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            life.dead = True
            self._note_down()
            self._see_end(running)
            self.stir()
            await asyncio.sleep(self._machine.uniform(0.2, 6.0))

    def _note_down(self) -> None:
        """Note that nobody watches, until the next life has read the account."""
        if self._down is None:
            self._down = self.witness.excuses.add("not running", self.now, START_MS, lasts=True)

    def _see_end(self, running: "asyncio.Task[Summary]") -> None:
        """Judge how a life ended: by death, by a failure that has a name, or by a bug."""
        if not running.done() or running.cancelled():
            return
        error = running.exception()
        if isinstance(error, StateFileError) and "no space" not in error.message:
            self.witness.objection("I17", self.now, f"the state was refused: {error.message}")
        elif isinstance(error, StuckError):
            raise error
        elif error is not None and not isinstance(error, _EXPECTED):
            self.witness.objection("I25", self.now, f"the process gave up: {type(error).__name__}: {error}")

    def _home(self) -> Path:
        home = self.folder / "state"
        home.mkdir(mode=0o700, exist_ok=True)
        return home

    def _forget(self) -> None:
        shutil.rmtree(self.folder / "state", ignore_errors=True)
        self.witness.attempts.clear()

    def _judge_end(self) -> None:
        """Judge what has to hold when everything has come to rest (I20, I23)."""
        for path in sorted((self.folder / "state").glob("*")):
            data = path.read_bytes()
            if KEY.encode() in data or SECRET.encode() in data:
                self.witness.objection("I20", self.now, f"a key is in {path.name}")


def _symbols_of(event: Mapping[str, Any]) -> list[str]:
    """Return the symbols a user event is about."""
    if "o" in event:
        return [str(event["o"]["s"])]
    return [str(row["s"]) for row in event.get("a", {}).get("P", ())]
