"""The vocabulary of the core: sides, instruments, positions, orders, plans.

All records are frozen. Prices, quantities and money are `Decimal`; ratios are `Ratio`; times are integer milliseconds
UTC. A reading that is not known is `Unavailable` with its reason, never a neutral number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import TypeAlias

from tpctl.exits.instrument import Bracket, OrderKind, OrderSide, PositionSide, Unavailable
from tpctl.exits.units import Millis, Money, Price, Quantity, Ratio

Scalar: TypeAlias = Decimal | int | str | bool | None


class PositionMode(StrEnum):
    """One net position per symbol, or a long and a short leg side by side."""

    ONE_WAY = "one_way"
    HEDGE = "hedge"


class MarginMode(StrEnum):
    """Where the margin of a position comes from."""

    ISOLATED = "isolated"
    CROSS = "cross"


class Regime(StrEnum):
    """The market regime a plan adapts to."""

    NORMAL = "normal"
    TRENDING = "trending"
    RANGING = "ranging"
    VOLATILE = "volatile"
    CHOP = "chop"


class Policy(StrEnum):
    """Which rule shapes the take-profit distances (exit-rules 1-4)."""

    DYNAMIC = "dynamic"
    STATIC = "static"
    TARGET = "target"
    HYBRID = "hybrid"


class WorkingType(StrEnum):
    """Which price triggers a conditional order."""

    MARK = "mark"
    LAST = "last"


class Book(StrEnum):
    """The two order books of the venue: conditional orders live in the algo book."""

    ALGO = "algo"
    REGULAR = "regular"


class OrderStatus(StrEnum):
    """Order states of both books; only NEW counts as protection (reliability F3)."""

    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    TRIGGERING = "triggering"
    TRIGGERED = "triggered"
    FINISHED = "finished"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"

    @property
    def terminal(self) -> bool:
        """Whether nothing further will happen to the order."""
        return self in _TERMINAL


_TERMINAL = frozenset(
    {OrderStatus.FILLED, OrderStatus.FINISHED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED}
)


@dataclass(frozen=True, slots=True)
class PositionKey:
    """What a position is known by: symbol and side."""

    symbol: str
    side: PositionSide

    def __hash__(self) -> int:
        # Everything is looked up by it, and hardly ever are both sides of a symbol held.
        return hash(self.symbol)

    def __str__(self) -> str:
        return f"{self.symbol} {self.side.upper()}"


@dataclass(frozen=True, slots=True)
class Position:
    """An open position as one read of the account shows it. `quantity` is above zero.

    `liquidation_price` is None where the exchange gives none. `margin` and `leverage` are unavailable on endpoints that
    lack them; they are never assumed.
    """

    key: PositionKey
    quantity: Quantity
    entry_price: Price
    mark_price: Price
    updated_at: Millis
    liquidation_price: Price | None
    isolated_wallet: Money
    initial_margin: Money
    unrealised: Money

    @property
    def notional(self) -> Money:
        """Value at the mark, in the margin asset."""
        return self.quantity * self.mark_price


@dataclass(frozen=True, slots=True)
class LiveOrder:
    """An order as the exchange shows it, of either book, ours or foreign.

    `position_side` is None in one-way mode. `quantity` is zero for a closePosition order. `executed` and
    `average_price` describe what has been filled; `child_id` is the regular order a triggered conditional order became.
    """

    symbol: str
    client_id: str
    exchange_id: str
    book: Book
    kind: OrderKind
    order_side: OrderSide
    position_side: PositionSide | None
    status: OrderStatus
    quantity: Quantity
    trigger: Price | None
    price: Price | None
    working: WorkingType
    close_position: bool
    reduce_only: bool
    executed: Quantity
    average_price: Price | None
    child_id: str | None
    updated_at: Millis
    reject_reason: str | None = None

    @property
    def closes(self) -> PositionSide:
        """The position side this order would reduce."""
        if self.position_side is not None:
            return self.position_side
        return PositionSide.LONG if self.order_side is OrderSide.SELL else PositionSide.SHORT

    @property
    def reduces(self) -> bool:
        """Whether the order can only reduce: reduce-only, closePosition, or the closing side of a hedge leg."""
        if self.position_side is not None:
            return self.order_side is self.position_side.closing
        return self.reduce_only or self.close_position


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution of one order. `trade_id` is unique per symbol."""

    symbol: str
    trade_id: int
    order_id: str
    client_id: str
    order_side: OrderSide
    position_side: PositionSide | None
    quantity: Quantity
    price: Price
    fee: Money
    fee_asset: str
    realised: Money
    maker: bool
    at: Millis


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a stage changed a plan: machine code, the sentence an operator reads, value before and after."""

    stage: str
    code: str
    text: str
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What the learned policy in use says of a plan: take-profits at `multiple` of the plan's own mean distance.

    `policy` is the beginning of its hash; `why` are the readings that moved it, for people. `leverage` is the range it
    was trained for; None where any will do.
    """

    policy: str
    multiple: Decimal
    why: str = ""
    leverage: tuple[Decimal, Decimal] | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What a plan may know about the market and the account beside the position itself.

    `volatility` is the daily standard deviation of returns; `confidence` runs 0 to 1; `quote_volume` is the 24 h quote
    volume in USD; `atr` is the average true range in price units; fees are fractions of notional; `wallet` is the
    isolated wallet, or for cross the wallet balance less the other positions' needs (WB - TMM + UPNL of exit-rules 15).
    `fees_assumed` is why the fees are the exchange's base rates, None where they are the account's own. `views` say how
    volatility, regime and `atr`, which is an hour's, were chosen among the timeframes they were measured on.
    `fees_assumed` is why the fees are the exchange's base rates, None where they are the account's own. `suggestion` is
    unavailable where no learned policy has a say, with the reason.
    """

    leverage: Decimal | Unavailable
    margin: MarginMode
    volatility: Ratio | Unavailable
    regime: Regime | Unavailable
    confidence: Decimal | Unavailable
    quote_volume: Money | Unavailable
    atr: Price | Unavailable
    taker_fee: Ratio
    maker_fee: Ratio
    brackets: tuple[Bracket, ...] | Unavailable
    wallet: Money | Unavailable
    risk: "RiskReadings | Unavailable"
    fees_assumed: Unavailable | None = None
    views: tuple[Reason, ...] = ()
    suggestion: Suggestion | Unavailable = field(default=Unavailable("no policy is promoted"))


@dataclass(frozen=True, slots=True)
class RiskReadings:
    """Measured market and book risk (exit-rules 11); each reading may be unavailable on its own."""

    ess: Decimal | Unavailable
    systemic: Decimal | Unavailable
    correlation: Decimal | Unavailable
    heat: Decimal | Unavailable


@dataclass(frozen=True, slots=True)
class Leg:
    """One take-profit level. `fraction` is of the initial size; `quantity` is what it closes."""

    number: int
    distance: Ratio
    trigger: Price
    fraction: Decimal
    quantity: Quantity


@dataclass(frozen=True, slots=True)
class Trail:
    """Trailing terms: the original callback, the profit from which it acts, and tighter callbacks from a profit on.

    `schedule` rows are (profit, factor on the original callback), ascending (exit-rules 9). `share` is the fraction of
    the initial size that only the trail closes. With `atr_multiple` the callback follows that many average true ranges
    of an hour, and the schedule bounds it (`trail_styles.follow`).
    """

    callback: Ratio
    activation: Ratio
    schedule: tuple[tuple[Ratio, Decimal], ...]
    share: Decimal
    atr_multiple: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The exits of one position: legs, stop, backstop and trail, already on the exchange's grid.

    Construction checks the sides (LONG stop < entry < TPs, SHORT mirrored) and that the legs do not exceed the
    quantity; a plan that breaks this cannot exist. `warnings` are reasons an operator should see at once.
    """

    key: PositionKey
    policy: Policy
    quantity: Quantity
    entry: Price
    leverage: Decimal
    legs: tuple[Leg, ...]
    stop_distance: Ratio
    stop: Price
    backstop_distance: Ratio
    backstop: Price
    trail: Trail | None
    breakeven: Price
    reward_risk: Decimal
    liquidation: Price | None
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[Reason, ...] = ()

    def __post_init__(self) -> None:
        sign = self.key.side.sign
        if not self.legs and self.trail is None:
            raise ValueError("a plan has no exit in profit")
        ladder = [self.backstop, self.stop, self.entry, *(leg.trigger for leg in self.legs)]
        ordered = [sign * level for level in ladder]
        if ordered[0] > ordered[1] or any(a >= b for a, b in pairwise(ordered[1:])):
            raise ValueError(f"levels out of order for {self.key}: {ladder}")
        if sum((leg.quantity for leg in self.legs), Decimal(0)) > self.quantity:
            raise ValueError(f"legs exceed the position of {self.key}")


class NoteKind(StrEnum):
    """Kinds of events `watch` tells about: the `type` of its JSON lines (tpctl.event/1)."""

    STARTED = "started"
    ADOPTED = "adopted"
    LEFT_ALONE = "left_alone"
    PLANNED = "planned"
    PLACED = "placed"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    TP_HIT = "tp_hit"
    STOP_MOVED = "stop_moved"
    TRAIL_MOVED = "trail_moved"
    STOP_HIT = "stop_hit"
    CLOSED = "closed"
    SWEPT = "swept"
    DEGRADED = "degraded"
    RECOVERED = "recovered"
    HALTED = "halted"
    EXTERNAL = "external"
    ANSWERED = "answered"
    POLICY = "policy"
    RELOADED = "reloaded"
    STANDING = "standing"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Note:
    """One event of the story `watch` tells, as data; views turn it into a sentence or a JSON line."""

    at: Millis
    kind: NoteKind
    key: PositionKey | None
    reason: str
    data: Mapping[str, Scalar] = field(default_factory=dict)


class Outcome(StrEnum):
    """How a take-profit attempt ended."""

    HIT = "hit"
    MISS = "miss"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One finished take-profit attempt (exit-rules 12, JSON contract "outcome records"). `id` makes it count once.

    `exit_price` is the average price the leg (hit) or the rest of the position (miss) was closed at. `stop_initial`,
    `leverage` and `regime` are of the position's first plan, `arm` is `experiment/arm` where its policy was drawn; None
    is not on record.
    """

    id: str
    strategy_id: str
    symbol: str
    position_side: PositionSide
    leg: int
    entry_time: Millis
    entry_price: Price
    target_price: Price
    exit_time: Millis
    exit_price: Price
    quantity: Quantity
    profit_usd: Money
    outcome: Outcome
    reason: str
    premature: bool | None = None
    missed_usd: Money | None = None
    stop_initial: Price | None = None
    leverage: Decimal | None = None
    regime: str | None = None
    arm: str | None = None
