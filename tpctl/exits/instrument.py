"""What is traded and under which rules: sides, order types, instruments, leverage brackets; and what is not known.

The smallest part of the vocabulary, apart from `model` so that commands which only round a price start fast.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tpctl.exits.units import Money, Price, Quantity


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A reading that is not known, and why."""

    reason: str


class OrderSide(StrEnum):
    """The side of an order."""

    BUY = "buy"
    SELL = "sell"


class PositionSide(StrEnum):
    """The side of a position."""

    LONG = "long"
    SHORT = "short"

    @property
    def sign(self) -> int:
        """+1 for long, -1 for short."""
        return 1 if self is PositionSide.LONG else -1

    @property
    def closing(self) -> OrderSide:
        """The order side that reduces this position."""
        return OrderSide.SELL if self is PositionSide.LONG else OrderSide.BUY

    @property
    def other(self) -> "PositionSide":
        """The opposite side."""
        return PositionSide.SHORT if self is PositionSide.LONG else PositionSide.LONG


class OrderKind(StrEnum):
    """Order types of the venue."""

    LIMIT = "limit"
    MARKET = "market"
    STOP = "stop"
    STOP_MARKET = "stop_market"
    TAKE_PROFIT = "take_profit"
    TAKE_PROFIT_MARKET = "take_profit_market"
    TRAILING_STOP_MARKET = "trailing_stop_market"

    @property
    def conditional(self) -> bool:
        """Whether the order rests in the algo book until triggered."""
        return self not in {OrderKind.LIMIT, OrderKind.MARKET}

    @property
    def protective(self) -> bool:
        """Whether the order type can serve as a stop-loss."""
        return self in {OrderKind.STOP, OrderKind.STOP_MARKET, OrderKind.TRAILING_STOP_MARKET}


@dataclass(frozen=True, slots=True)
class Instrument:
    """The rules one symbol is traded under (binance-usdm 3.1). A zero switches the rule off."""

    symbol: str
    status: str
    contract_type: str
    margin_asset: str
    tick: Price
    min_price: Price
    max_price: Price
    step: Quantity
    min_quantity: Quantity
    max_quantity: Quantity
    market_step: Quantity
    market_min_quantity: Quantity
    market_max_quantity: Quantity
    min_notional: Money
    percent_up: Decimal
    percent_down: Decimal
    max_orders: int
    trigger_protect: Decimal
    market_take_bound: Decimal
    liquidation_fee: Decimal
    price_precision: int
    quantity_precision: int
    unknown_filters: tuple[str, ...] = ()

    @property
    def tradable(self) -> bool:
        """Whether new orders are accepted (status TRADING)."""
        return self.status == "TRADING"


@dataclass(frozen=True, slots=True)
class Bracket:
    """One row of the leverage table: notional from `floor` (exclusive) to `cap` (inclusive)."""

    floor: Money
    cap: Money
    max_leverage: int
    maintenance_rate: Decimal
    cum: Money
