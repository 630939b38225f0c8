"""Random markets, operators and faults against the reducer; the exchange's own ledger is the judge.

Numbers in names are the invariants of the reliability reference.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from stage import LOST_AFTER, LOST_BEFORE, Stage

from tpctl.exits.decide import step
from tpctl.exits.episode import Decision, Episode, LegStatus, OrderState, Phase, State
from tpctl.exits.events import Event, Requested
from tpctl.exits.ids import PREFIX, Role, is_ours, parse_client_id
from tpctl.exits.instrument import PositionSide
from tpctl.exits.intents import CancelOrder, OrderIntent, PlaceStop, PlaceTakeProfit, ReduceAtMarket
from tpctl.exits.model import NoteKind, PositionKey
from tpctl.exits.quiet import catch_up
from tpctl.exits.requests import CloseAll, Rearm, Reduce, Request, StopToBreakeven, TightenStop, TrailNow
from tpctl.exits.rules import ExecutionRules, ExitRules, RatchetStyle, TrailRules, TrailStyle
from tpctl.exits.units import Ratio
from tpctl.venue.venue import Terms, Venue, VenueError

SYMBOL = "XRPUSDT"
TICK = Decimal("0.0001")
# What the exchange answers to a request that we formed wrongly (I16).
MALFORMED = {
    -1102,
    -1106,
    -1111,
    -1130,
    -4001,
    -4003,
    -4004,
    -4005,
    -4006,
    -4007,
    -4013,
    -4014,
    -4015,
    -4023,
    -4060,
    -4061,
}
MALFORMED |= {-4062, -4137, -4164}
GRACE_MS = 3_000


class Witness:
    """Watches one stage and objects to whatever an invariant forbids."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.tightest: dict[tuple[str, Role], Decimal] = {}
        self.naked: dict[PositionKey, int] = {}
        self.planned: dict[tuple[str, int, int], Decimal] = {}
        self.legs_of: dict[str, tuple[str, int, tuple[int, ...]]] = {}
        self.fills = 0
        self.plain = self._plain(stage.state)
        self.compare = True
        stage.before_send = self.see_request
        stage.after_step = self.see_step

    # what we do

    def see_request(self, intent: OrderIntent) -> None:
        assert is_ours(intent.client_id), "I12: a foreign order was touched"
        if isinstance(intent, CancelOrder):
            self._see_cancel(intent)
            return
        episode = self.stage.state.episodes[intent.key]
        if intent.quantity is not None:
            assert intent.quantity <= episode.quantity, "I2: more than the position"
        assert sum(o.client_id == intent.client_id for o in self.stage.sent if not isinstance(o, CancelOrder)) == 0
        if isinstance(intent, PlaceStop) and intent.quantity is not None:
            name = parse_client_id(intent.client_id)
            assert name is not None
            slot = (name.generation, name.role)
            sign = intent.key.side.sign
            known = self.tightest.get(slot, intent.trigger)
            assert sign * (intent.trigger - known) >= 0, "I4: a stop was loosened"
            self.tightest[slot] = intent.trigger
        own = episode.order(intent.client_id)
        assert own is not None
        if own.legs:
            self.legs_of[intent.client_id] = (episode.generation, own.plan, own.legs)
        if isinstance(intent, PlaceStop | PlaceTakeProfit):
            slots = [o for o in episode.orders if o.role is own.role and o.legs == own.legs and o is not own]
            assert not any(o.state is OrderState.UNKNOWN for o in slots), "I10: asked again while unknown"

    def _see_cancel(self, intent: CancelOrder) -> None:
        name = parse_client_id(intent.client_id)
        resting = {o.client_id: o for o in self.stage.resting(SYMBOL)}
        order = resting.get(intent.client_id)
        if name is None or name.role is not Role.STOP or order is None or not self._held(intent.key):
            return
        episode = self.stage.state.episodes.get(intent.key)
        if episode is None or episode.generation != name.generation or episode.phase is Phase.FLAT:
            return
        sign = intent.key.side.sign
        # One that rested and was triggered or dropped a moment ago counts: nobody can know that yet.
        rested = {o.client_id for o in self.stage.venue.ledger.transitions if o.status == "NEW"}
        others = [
            own.quantity
            for own in episode.of_role(Role.STOP)
            if own.client_id != intent.client_id and own.client_id in rested and own.resting and own.confirmed
            if own.quantity and own.trigger and sign * (own.trigger - order.trigger) >= 0
        ]
        assert sum(others, Decimal(0)) >= min(episode.quantity, order.quantity), "I5: the old stop went first"

    def _held(self, key: PositionKey) -> Decimal:
        side = key.side.value.upper()
        return sum(
            (p.quantity for p in self.stage.venue.positions() if p.symbol == key.symbol and p.side == side), Decimal(0)
        )

    # what we decide

    @staticmethod
    def _plain(state: State) -> State:
        """Return the state as it would be without quiet marks."""
        episodes = {key: catch_up(state, episode) for key, episode in state.episodes.items()}
        return replace(state, episodes=episodes, quiet={})

    def see_step(self, before: State, event: Event, decision: Decision) -> None:
        again = step(before, event)
        assert again == decision, "I21: the same event led to something else"
        loud = step(self._plain(before), event)
        assert (loud.intents, loud.notes, loud.attempts) == (decision.intents, decision.notes, decision.attempts), (
            "a quiet mark was not quiet"
        )
        assert self._plain(loud.state) == self._plain(decision.state)
        for key, episode in decision.state.episodes.items():
            old = before.episodes.get(key)
            if old is not None and old.generation == episode.generation:
                self._see_change(key, old, episode)
            for leg in episode.legs:
                assert leg.filled <= leg.quantity, "I6: a leg was overfilled"
                slot = (episode.generation, episode.plans, leg.number)
                self.planned[slot] = max(leg.quantity, self.planned.get(slot, Decimal(0)))

    def _see_change(self, key: PositionKey, old: Episode, new: Episode) -> None:
        if old.stop is not None:
            assert new.stop is not None
            assert key.side.sign * (new.stop - old.stop) >= 0, "I4: the level was loosened"
        if old.plans == new.plans:
            hit = {leg.number for leg in old.legs if leg.status is LegStatus.HIT}
            assert hit <= {leg.number for leg in new.legs if leg.status is LegStatus.HIT}, "I6: a hit was forgotten"

    # what the exchange shows

    def check(self, *, calm: bool) -> None:
        """Judge a settled moment; `calm` where no fault is on."""
        calm = calm and not self.stage.empty_reads
        if not calm:
            self.naked.clear()
        self._check_fills()
        codes = {row.code for row in self.stage.venue.rejected}
        assert not codes & MALFORMED, f"I16: {codes & MALFORMED}"
        ids = [attempt.id for attempt in self.stage.attempts]
        assert len(ids) == len(set(ids)), "I17: an attempt was recorded twice"
        for position in self.stage.venue.positions():
            self._check_protected(PositionKey(position.symbol, PositionSide(position.side.lower())), calm=calm)
        for key in tuple(self.naked):
            if not self._held(key):
                del self.naked[key]
        self._check_resting_targets()

    def _check_fills(self) -> None:
        ledger = self.stage.venue.ledger.fills
        for row in ledger[self.fills :]:
            if row.client_id.startswith(PREFIX):
                assert abs(row.after) < abs(row.before), "I3: a fill of ours grew a position"
                assert row.after * row.before >= 0, "I3: a fill of ours turned a position round"
        self.fills = len(ledger)

    def check_legs(self) -> None:
        """Judge I6 on the ledger: what was executed for the legs of each plan."""
        executed: dict[tuple[str, int, tuple[int, ...]], Decimal] = {}
        for row in self.stage.venue.ledger.fills:
            slot = self.legs_of.get(row.client_id)
            if slot is not None:
                executed[slot] = executed.get(slot, Decimal(0)) + row.quantity
        for (generation, plan, legs), quantity in executed.items():
            limit = sum((self.planned.get((generation, plan, leg), Decimal(0)) for leg in legs), Decimal(0))
            assert quantity <= limit, f"I6: legs {legs} executed {quantity} of {limit}"

    def _check_protected(self, key: PositionKey, *, calm: bool) -> None:
        held, closing = self._held(key), "BUY" if key.side is PositionSide.SHORT else "SELL"
        side = key.side.value.upper() if self.stage.venue.hedge else "BOTH"
        covered = Decimal(0)
        for order in self.stage.resting(key.symbol):
            if order.side == closing and order.position_side == side and order.stop:
                covered += held if order.close_position else order.quantity
        if covered >= held:
            self.naked.pop(key, None)
            return
        since = self.naked.setdefault(key, self.stage.now)
        if calm and not self._excused(key):
            assert self.stage.now - since <= GRACE_MS, "I1: naked for too long"

    def _excused(self, key: PositionKey) -> bool:
        """Whether the reducer may not act yet: a fate is unknown, a refusal is waited out, or it is closing."""
        episode = self.stage.state.episodes.get(key)
        if episode is None:
            return False
        if episode.instrument is None:
            return True  # the rules could not be read yet
        protective = [*episode.of_role(Role.STOP), *episode.of_role(Role.BACKSTOP)]
        waiting = any(at > self.stage.now for at in episode.retry_at.values())
        return waiting or episode.phase is Phase.CLOSING or any(order.pending for order in protective)

    def _check_resting_targets(self) -> None:
        for episode in self.stage.state.episodes.values():
            for leg in episode.legs:
                limits = [
                    q for (g, _, number), q in self.planned.items() if (g, number) == (episode.generation, leg.number)
                ]
                mine = f"{PREFIX}{episode.generation}-t{leg.number}-"
                resting = [o.quantity for o in self.stage.resting() if o.client_id.startswith(mine)]
                assert sum(resting, Decimal(0)) <= max(limits), f"I6: leg {leg.number} rests twice"

    def check_converged(self) -> None:
        """Judge I23 and I11 after the faults have ended."""
        assert not self.stage.undecided(), "I23: an order's fate is still unknown"
        sides = {(p.symbol, p.side) for p in self.stage.venue.positions()}
        for symbol, side in sides:
            key = PositionKey(symbol, PositionSide(side.lower()))
            episode = self.stage.state.episodes[key]
            assert episode.quantity == self._held(key), "I24: the size is not what the exchange says"
            assert episode.protected or episode.phase is Phase.CLOSING, "I23: not protected"
        for order in self.stage.resting():
            if order.client_id.startswith(PREFIX):
                closes = "SHORT" if order.buy else "LONG"
                side = order.position_side if self.stage.venue.hedge else closes
                assert (order.symbol, side) in sides, "I11: an order was left without a position"


class Walk:
    """Turns drawn moves into what happens on the stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.price = Decimal("2.5")
        self.held: list[Event] = []
        self.calm = True

    def price_by(self, permille: int) -> None:
        self.price = max(TICK * 100, (self.price * (1000 + permille) / 1000).quantize(TICK))
        self.stage.move({SYMBOL: str(self.price)}, after_ms=1_000)

    def act(self, what: Callable[[Venue], object]) -> None:
        try:
            self.stage.act(what)
        except VenueError:
            self.stage.settle()

    def operate(self, what: str, side: str) -> None:
        acts: dict[str, Callable[[Venue], object]] = {
            "open": lambda v: v.open_position(SYMBOL, side, notional=Decimal(2000), leverage=20),
            "add": lambda v: v.add_position(SYMBOL, side, notional=Decimal(600)),
            "half": lambda v: v.close_position(SYMBOL, side, Decimal("0.5")),
            "close": lambda v: v.close_position(SYMBOL, side),
            "flip": lambda v: v.flip_position(SYMBOL),
            "leverage": lambda v: v.change_leverage({"symbol": SYMBOL, "leverage": "10"}),
        }
        self.act(acts[what])

    def meddle(self, what: str, index: int) -> None:
        """Let the exchange drop or jam one of our resting orders, or the operator cancel it."""
        resting = [o for o in self.stage.resting() if o.client_id.startswith(PREFIX)]
        if not resting:
            return
        order = resting[index % len(resting)]
        if what == "drop":
            self.stage.venue.drop(order.client_id)
        elif what == "jam":
            self.stage.venue.jam(order.client_id)
        else:
            self.stage.venue.cancel_algo_order({"clientAlgoId": order.client_id})
        self.stage.settle()

    def ask(self, request: Request, side: PositionSide, number: int) -> None:
        """Ask something of the position; the few numbers let requests come twice."""
        stage, key = self.stage, PositionKey(SYMBOL, side)
        known = stage.state.episodes[key].requests if key in stage.state.episodes else ()
        told = len(stage.told(NoteKind.ANSWERED))
        stage.hear(Requested(stage.now, key, f"{number}", "test", request))
        assert len(stage.told(NoteKind.ANSWERED)) == told + (f"{number}" not in known), "a request has one answer"

    def events(self, how: str) -> None:
        """Distort the user events from now on; ending it delivers what was held back."""
        self.calm = how == "ok"
        if how in {"ok", "drop"}:
            self.stage.distort = (lambda events: events) if how == "ok" else (lambda events: [])
            held, self.held = self.held, []
            self.stage.hear(*held)
            if how == "ok":
                self.stage.empty_reads = 0
                self.stage.start()
        elif how == "twice":
            self.stage.distort = lambda events: [event for event in events for _ in range(2)]
        elif how == "reverse":
            self.stage.distort = lambda events: events[::-1]
        else:
            self.stage.distort = self._hold

    def _hold(self, events: list[Event]) -> list[Event]:
        self.held += events
        return []

    def make(self, move: tuple[object, ...]) -> None:
        """Do what was drawn."""
        match move:
            case ("price", int(permille)):
                self.price_by(permille)
            case ("wait", int(ms)):
                self.stage.wait(ms)
            case ("act", str(what), str(which)):
                self.operate(what, which)
            case ("answer", str() | int() as outcome, type() as kind):
                self.stage.fault(outcome, kind)
            case ("events", str(how)):
                self.events(how)
            case ("meddle", str(what), int(index)):
                self.meddle(what, index)
            case ("ask", request, PositionSide() as asked_of, int(number)):
                self.ask(request, asked_of, number)
            case ("restart",):
                self.stage.restart()
            case ("crash", int(after)):
                self.stage.crash_after = after
            case ("empty", int(reads)):
                self.stage.empty_reads = reads
            case ("context", int(reads)):
                self.stage.lost_contexts = reads
            case _:
                raise AssertionError(move)

    def end(self) -> None:
        self.stage.faults.clear()
        self.stage.empty_reads = self.stage.lost_contexts = 0
        self.stage.crash_after = None
        self.events("ok")
        self.stage.wait(35_000)


RATCHETS = ["previous_tp", "breakeven", "moving_target", "percent_below_trigger", "percent_below_highest"]
prices = st.tuples(st.just("price"), st.integers(-30, 30) | st.sampled_from([-120, -60, 60, 120]))
waits = st.tuples(st.just("wait"), st.sampled_from([1_000, 3_000, 9_000, 40_000]))
acts = st.tuples(
    st.just("act"),
    st.sampled_from(["open", "open", "add", "half", "close", "flip", "leverage"]),
    st.sampled_from(["LONG", "SHORT"]),
)
answers = st.tuples(
    st.just("answer"),
    st.sampled_from([LOST_BEFORE, LOST_AFTER, -1008, -4045]),
    st.sampled_from([PlaceStop, PlaceTakeProfit, ReduceAtMarket, CancelOrder]),
)
distortions = st.tuples(st.just("events"), st.sampled_from(["ok", "ok", "twice", "reverse", "hold", "drop"]))
meddlings = st.tuples(st.just("meddle"), st.sampled_from(["drop", "jam", "cancel"]), st.integers(0, 5))
deaths = st.tuples(st.just("restart")) | st.tuples(st.just("crash"), st.integers(0, 5))
requests: list[Request] = [
    StopToBreakeven(),
    TightenStop(Decimal("2.45")),
    TightenStop(Decimal("2.55")),
    TrailNow(),
    TrailNow(Ratio.percent("0.8")),
    Rearm(),
    Reduce(Ratio.percent(30)),
    Reduce(Ratio.percent(95)),
    CloseAll(),
]
asks = st.tuples(st.just("ask"), st.sampled_from(requests), st.sampled_from(list(PositionSide)), st.integers(0, 5))
reads = st.tuples(st.just("empty"), st.integers(1, 2)) | st.tuples(st.just("context"), st.integers(1, 2))
moves = st.lists(
    prices | prices | prices | waits | acts | answers | distortions | meddlings | deaths | reads | asks, max_size=30
)


def walk(drawn: list[tuple[object, ...]], *, side: str, hedge: bool, rules: ExitRules, terms: Terms | None) -> None:
    stage = Stage({SYMBOL: "2.5"}, hedge=hedge, rules=rules, terms=terms)
    # An average range that is another one at every reading.
    stage.context_of = lambda _: replace(stage.context, atr=Decimal(5 + stage.now // 1_000 % 40) / 1000)  # type: ignore[method-assign]
    witness = Witness(stage)
    run = Walk(stage)
    stage.start()
    run.operate("open", side)
    witness.check(calm=True)
    for move in drawn:
        run.make(move)
        witness.check(calm=run.calm)
    run.end()
    witness.check(calm=True)
    witness.check_legs()
    witness.check_converged()


@settings(max_examples=200)
@given(
    drawn=moves,
    side=st.sampled_from(["LONG", "SHORT"]),
    hedge=st.booleans(),
    software=st.booleans(),
    skip=st.booleans(),
    ratchet=st.sampled_from(RATCHETS),
    style=st.sampled_from(["tiered", "percent", "atr", "atr"]),
    thin=st.booleans(),
)
def test_invariants_hold_on_random_walks(
    *,
    drawn: list[tuple[object, ...]],
    side: str,
    hedge: bool,
    software: bool,
    skip: bool,
    ratchet: RatchetStyle,
    style: TrailStyle,
    thin: bool,
) -> None:
    execution = ExecutionRules(
        take_profit="software" if software else "resident", if_crossed="skip" if skip else "take", ratchet=ratchet
    )
    terms = Terms(depth=Decimal(900)) if thin else None
    trail = TrailRules(style=style, activation=Ratio.percent("0.5"), min_age_ms=20_000, atr_interval_ms=60_000)
    walk(drawn, side=side, hedge=hedge, rules=ExitRules(execution=execution, trail=trail), terms=terms)
