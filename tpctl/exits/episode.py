"""What is known and decided about one position from adoption to flat, and about all of them.

Records only, with the questions that can be asked of them. `decide` is the only writer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from tpctl.exits.experiment import NO_EXPERIMENT, Experiment
from tpctl.exits.ids import Role
from tpctl.exits.instrument import Instrument
from tpctl.exits.intents import Intent
from tpctl.exits.model import (
    Attempt,
    Book,
    Context,
    Fill,
    LiveOrder,
    Note,
    Plan,
    PositionKey,
    PositionMode,
    RiskReadings,
    Trail,
)
from tpctl.exits.records import replacer
from tpctl.exits.rollout import rollout_place
from tpctl.exits.rules import ExitRules
from tpctl.exits.units import ONE, ZERO, Millis, Money, Price, Quantity, Ratio


class OrderState(StrEnum):
    """Where one of our orders stands, as far as the evidence goes."""

    SENT = "sent"
    UNKNOWN = "unknown"
    LIVE = "live"
    WORKING = "working"
    DONE = "done"
    GONE = "gone"
    REFUSED = "refused"
    WITHHELD = "withheld"


class Phase(StrEnum):
    """Where one episode stands."""

    ADOPTING = "adopting"
    GUARDED = "guarded"
    CLOSING = "closing"
    FLAT = "flat"


class LegStatus(StrEnum):
    """Where one take-profit leg stands."""

    WAITING = "waiting"
    HIT = "hit"
    SKIPPED = "skipped"


_OPEN_STATES = frozenset({OrderState.SENT, OrderState.UNKNOWN, OrderState.LIVE, OrderState.WORKING})
_PENDING_STATES = frozenset({OrderState.SENT, OrderState.UNKNOWN})


@dataclass(frozen=True, slots=True)
class OwnOrder:
    """One order of ours. `confirmed` is set by evidence other than the acknowledgement (stream, query, snapshot).

    `quantity` None is closePosition. `legs` are the take-profit legs its fills belong to, in order, and `plan` counts
    the plan they are of. `executed` is what the order's own state says was filled, `traded` how much of that came with
    its fee as executions. `sent_at` is when it was decided, `left_at` when the request left, `acked_at` when its answer
    came, `filled_at` when it first executed.
    """

    client_id: str
    role: Role
    legs: tuple[int, ...]
    quantity: Quantity | None
    trigger: Price | None
    state: OrderState
    sent_at: Millis
    plan: int = 0
    confirmed: bool = False
    executed: Quantity = ZERO
    spent: Money = ZERO
    traded: Quantity = ZERO
    fees: Money = ZERO
    exchange_id: str | None = None
    child_id: str | None = None
    working_since: Millis | None = None
    absences: int = 0
    looked_at: Millis | None = None
    cancel_at: Millis | None = None
    code: int | None = None
    left_at: Millis | None = None
    acked_at: Millis | None = None
    filled_at: Millis | None = None

    @property
    def open(self) -> bool:
        """Whether the order may still execute, as far as is known."""
        return self.state in _OPEN_STATES

    @property
    def pending(self) -> bool:
        """Whether its fate is not known yet (I10)."""
        return self.state in _PENDING_STATES

    @property
    def settles_from(self) -> Millis:
        """From when on reads come to show it: when its answer came, as far as known, or when it was decided."""
        return self.sent_at if self.acked_at is None else self.acked_at

    @property
    def took_ms(self) -> Millis | None:
        """How long it took to execute: from its trigger, or from when it left where it had none."""
        began = self.left_at if self.trigger is None else self.working_since
        return None if self.filled_at is None or began is None else max(0, self.filled_at - began)

    @property
    def resting(self) -> bool:
        """Whether it rests on the exchange and nobody asked to cancel it."""
        return self.state is OrderState.LIVE and self.cancel_at is None


@dataclass(frozen=True, slots=True)
class LegState:
    """One take-profit leg of the running plan; `quantity` is what it closes in all, `filled` what it has.

    `hit_at` is when it was filled, `recorded` whether its attempt is in the metrics. `base` is the distance before
    measured risk scaled it; None where risk does not act on it (a level given by hand).
    """

    number: int
    distance: Ratio
    trigger: Price
    fraction: Decimal
    quantity: Quantity
    status: LegStatus = LegStatus.WAITING
    filled: Quantity = ZERO
    spent: Money = ZERO
    hit_at: Millis | None = None
    recorded: bool = False
    base: Ratio | None = None

    @property
    def remaining(self) -> Quantity:
        """What is left to close."""
        return self.quantity - self.filled


@dataclass(frozen=True, slots=True)
class Episode:
    """One life of one position.

    `stop` is the level the working stop belongs at; it only ever tightens (I4). `accounted` is the size our evidence
    explains, counted from what the exchange stated at `accounted_at` to the execution heard of at `executed_at`;
    `stated` is what it stated at `position_at`, last changed by its own account at `changed_at`, None where executions
    are newer. A lasting difference is somebody
    else's act (I24). `quantity` is the smaller of the two, so that a late figure never makes us close what is gone;
    only a stated zero is flat. `unclaimed` are executions whose order is not known yet. `context_at` is when the
    planning inputs came, None while they are awaited. `naked_ms` adds up the time without a live stop.
    `requests` are the ids answered in this life, `reduce_to` is the size a request brings the position down to, and
    `trail` are the terms a request put over those of the plan. `risk_factor` is what measured risk (`risk`) makes of
    the legs' base distances, and since `risk_wider_since` every measurement asked for a wider one. `peak` and `trough`
    are the best and the worst mark since it was found. `stop_initial`, `regime` and `arm` are of the first plan.
    """

    key: PositionKey
    generation: str
    opened_at: Millis
    entry: Price
    quantity: Quantity
    accounted: Quantity
    position_at: Millis
    changed_at: Millis = 0
    accounted_at: Millis = 0
    executed_at: Millis = 0
    stated: Quantity | None = None
    phase: Phase = Phase.ADOPTING
    instrument: Instrument | None = None
    context: Context | None = None
    plan: Plan | None = None
    legs: tuple[LegState, ...] = ()
    stop: Price | None = None
    stop_cause: str = "stop"
    backstop: Price | None = None
    mark: Price | None = None
    mark_at: Millis = 0
    suspect_mark: Price | None = None
    suspect_at: Millis = 0
    peak: Price | None = None
    callback: Ratio | None = None
    callback_at: Millis | None = None
    orders: tuple[OwnOrder, ...] = ()
    foreign: tuple[LiveOrder, ...] = ()
    next_revision: int = 1
    retry_at: Mapping[str, Millis] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    context_asked_at: Millis | None = None
    context_at: Millis | None = None
    complaint: str | None = None
    differs_since: Millis | None = None
    absent_reads: int = 0
    absent_at: Millis = 0
    overdue_since: Millis | None = None
    close_reason: str | None = None
    trades: tuple[int, ...] = ()
    unclaimed: tuple[Fill, ...] = ()
    unclaimed_since: Millis | None = None
    exit_quantity: Quantity = ZERO
    exit_spent: Money = ZERO
    rest_quantity: Quantity = ZERO
    rest_spent: Money = ZERO
    traded: Quantity = ZERO
    realised: Money = ZERO
    fees: Money = ZERO
    unprotected_since: Millis | None = None
    naked_ms: int = 0
    live_adjusted: bool = False
    risk: RiskReadings | None = None
    risk_factor: Decimal = ONE
    risk_wider_since: Millis | None = None
    plans: int = 0
    requests: tuple[str, ...] = ()
    reduce_to: Quantity | None = None
    trail: Trail | None = None
    flat_at: Millis | None = None
    trough: Price | None = None
    stop_initial: Price | None = None
    regime: str | None = None
    arm: str | None = None

    @property
    def trail_terms(self) -> Trail | None:
        """The trail in force: as asked for, else as planned."""
        return self.trail or (None if self.plan is None else self.plan.trail)

    @property
    def legs_hit(self) -> int:
        """How many take-profit legs are done."""
        return sum(leg.status is LegStatus.HIT for leg in self.legs)

    def order(self, client_id: str) -> OwnOrder | None:
        """Return our order with this client id."""
        for order in self.orders:
            if order.client_id == client_id:
                return order
        return None

    def of_role(self, role: Role) -> tuple[OwnOrder, ...]:
        """Return our orders of one role, oldest first."""
        return tuple(order for order in self.orders if order.role is role)

    @property
    def protected(self) -> bool:
        """Whether live stops cover the whole position (I1): ours or anybody's, closePosition counting as all of it."""
        if self.quantity == 0:
            return True
        covered = ZERO
        for order in self.orders:
            if order.role in {Role.STOP, Role.BACKSTOP} and order.state is OrderState.LIVE:
                if order.quantity is None:
                    return True
                covered += order.quantity
        for foreign in self.foreign:
            if foreign.kind.protective:
                if foreign.close_position:
                    return True
                covered += foreign.quantity
        return covered >= self.quantity

    def best(self, price: Price) -> Price:
        """Return the better of a price and the best one so far, for this side of the market."""
        return price if self.peak is None or self.key.side.sign * (price - self.peak) > 0 else self.peak

    def worst(self, price: Price) -> Price:
        """Return the worse of a price and the worst one so far, for this side of the market."""
        return price if self.trough is None or self.key.side.sign * (price - self.trough) < 0 else self.trough

    @property
    def average_exit(self) -> Price | None:
        """The average price of everything that was closed, by anybody."""
        return self.exit_spent / self.exit_quantity if self.exit_quantity else None


@dataclass(frozen=True, slots=True)
class Scope:
    """Which positions are managed: named symbols (empty means all), less the excluded; of those not named, a share.

    What is named or excluded holds for all positions; the share (0 to 1, by `rollout_place`) decides on adoption only,
    so that a position once guarded stays guarded.
    """

    symbols: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()
    share: Decimal = ONE

    def allows(self, symbol: str) -> bool:
        """Whether positions of this symbol may be touched at all."""
        return symbol not in self.excluded and (not self.symbols or symbol in self.symbols)

    def covers(self, symbol: str) -> bool:
        """Whether a position of this symbol is adopted."""
        return self.allows(symbol) and (symbol in self.symbols or rollout_place(symbol) < self.share)

    def why_not(self, symbol: str) -> str | None:
        """Return why a position of this symbol is not adopted, None where it is."""
        if symbol in self.excluded:
            return "excluded"
        if not self.allows(symbol):
            return "not named"
        return None if self.covers(symbol) else f"outside the rollout of {Ratio(self.share)}"


@dataclass(frozen=True, slots=True)
class QuietMark:
    """The newest mark of a symbol, and the band in which a mark leads to nothing (exclusive bounds).

    `lowest` and `highest` are the extremes since the episodes last took a mark in; they take them in at the next event
    that is not quiet.
    """

    at: Millis
    price: Price
    lowest: Price
    highest: Price
    above: Price
    below: Price


@dataclass(frozen=True, slots=True)
class Orphan:
    """An order of ours without a position, and how many reads agreed that there is none."""

    key: PositionKey
    book: Book
    reads: int
    at: Millis


@dataclass(frozen=True, slots=True)
class State:
    """The reducer's whole state: every episode, and how positions are to be treated.

    `lives` counts the generations each position has had. `experiment` draws the policy of each position.
    `quiet` holds marks by symbol that changed nothing, `orphans`
    suspects by client id; both are of this run only.
    """

    account: str
    rules: ExitRules
    mode: PositionMode = PositionMode.ONE_WAY
    scope: Scope = field(default_factory=Scope)
    episodes: Mapping[PositionKey, Episode] = field(default_factory=dict)
    lives: Mapping[PositionKey, int] = field(default_factory=dict)
    quiet: Mapping[str, QuietMark] = field(default_factory=dict)
    orphans: Mapping[str, Orphan] = field(default_factory=dict)
    experiment: Experiment = NO_EXPERIMENT

    def of_symbol(self, symbol: str) -> tuple[Episode, ...]:
        """Return the episodes of one symbol, in a stable order."""
        return tuple(episode for key, episode in self.episodes.items() if key.symbol == symbol)


@dataclass(frozen=True, slots=True)
class Decision:
    """What one event led to: the new state, what to do, what to tell, and the attempts that ended."""

    state: State
    intents: tuple[Intent, ...] = ()
    notes: tuple[Note, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    changed: frozenset[PositionKey] = frozenset()


replace_episode = replacer(Episode)
replace_order = replacer(OwnOrder)
replace_state = replacer(State)
replace_decision = replacer(Decision)
