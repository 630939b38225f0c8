"""What the dashboard shows, as plain data; no terminal, no clock, no file in here.

Unknown is `Unavailable`; None is "there is none" (no stop placed, no level left).
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import PositionKey, RiskReadings
from tpctl.exits.units import Millis, Money, Price, Quantity, Ratio
from tpctl.views.lines import Tone


class Protection(StrEnum):
    """What rests on the exchange against a loss: both keys, one of them, a foreign order, or nothing."""

    FULL = "full"
    STOP = "stop"
    BACKSTOP = "backstop"
    FOREIGN = "foreign"
    NONE = "NONE"


class LevelState(StrEnum):
    """Where one level of the ladder stands. `MARKER` is no order: entry, mark, liquidation."""

    HIT = "hit"
    SKIPPED = "skipped"
    RESTING = "resting"
    PENDING = "pending"
    WITHHELD = "withheld"
    MARKER = ""


@dataclass(frozen=True, slots=True)
class NextTarget:
    """The next take-profit: its number of `legs`, its trigger, and how much of the way there is behind (0 to 1)."""

    leg: int
    legs: int
    trigger: Price
    progress: Decimal


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a position's ladder. `quantity` None is the whole position, or no order at all."""

    name: str
    price: Price
    quantity: Quantity | None
    state: LevelState
    note: str = ""


@dataclass(frozen=True, slots=True)
class PositionRow:
    """One position as the operator sees it.

    `r` is the profit in units of the first risk, the way from entry to the plan's stop. `liquidation` is how far away
    liquidation is, as a share of the mark, None where no price liquidates the position. `course` are marks a minute
    apart, oldest first.
    """

    key: PositionKey
    quantity: Quantity
    entry: Price
    mark: Price | Unavailable
    pnl: Money | Unavailable
    r: Decimal | Unavailable
    leverage: Decimal | Unavailable
    liquidation: Ratio | Unavailable | None
    stop: Price | None
    trail: Ratio | None
    target: NextTarget | None
    protection: Protection
    course: tuple[Price, ...] = ()


@dataclass(frozen=True, slots=True)
class Detail:
    """More about the selected position: its levels from the best price down, and why it is as it is."""

    key: PositionKey
    levels: tuple[Level, ...]
    trail: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Vitals:
    """How the watch itself fares. `silent_ms` is the real time since its last sign of life, None before the first.

    `ended` says why it is over, empty while it runs; `attached` is a read-only view of another process.
    """

    at: Millis
    profile: str
    env: str
    mode: str
    host: str = ""
    exchange: str = ""
    silent_ms: Millis | None = None
    skew_ms: int | None = None
    feed_age_ms: Millis | None = None
    budget: tuple[int, int] | None = None
    blocked: bool = False
    halt: str | None = None
    paused: bool = False
    recording: str | None = None
    ended: str = ""
    attached: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """Risk now, and the day (UTC, event time) so far. `at_risk` is what is lost, from the marks, if every stop is hit.

    `unprotected_ms` is the time closed positions of the day spent without a stop.
    """

    positions: int
    protected: int
    notional: Money | Unavailable
    unrealised: Money | Unavailable
    at_risk: Money | Unavailable
    readings: RiskReadings | Unavailable
    closed: int
    won: int
    realised: Money
    hits: int
    attempts: int
    unprotected_ms: Millis
    rejected: int


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the event log."""

    text: str
    tone: Tone


@dataclass(frozen=True, slots=True)
class Board:
    """Everything on screen at one instant. `detail_of` makes the detail of one position when it is looked at."""

    vitals: Vitals
    figures: Figures
    rows: tuple[PositionRow, ...]
    detail_of: Callable[[PositionKey], Detail | None]
    log: tuple[Happening, ...]
