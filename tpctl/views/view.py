"""What the live table shows, as plain data that the session fills in; no terminal in here.

Unknown is `Unavailable`; None is "there is none" (no stop placed, no level left).
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import PositionKey
from tpctl.exits.units import Millis, Money, Price, Quantity, Ratio


class Protection(StrEnum):
    """What rests on the exchange against a loss: both keys, one of them, a foreign order, or nothing."""

    FULL = "full"
    STOP = "stop"
    BACKSTOP = "backstop"
    FOREIGN = "foreign"
    NONE = "NONE"


@dataclass(frozen=True, slots=True)
class NextTarget:
    """The next take-profit: its number of `legs`, its trigger, and how much of the way there is behind (0 to 1)."""

    leg: int
    legs: int
    trigger: Price
    progress: Decimal


@dataclass(frozen=True, slots=True)
class PositionRow:
    """One position as the operator sees it."""

    key: PositionKey
    quantity: Quantity
    entry: Price
    mark: Price | Unavailable
    pnl: Money | Unavailable
    leverage: Decimal | Unavailable
    stop: Price | None
    target: NextTarget | None
    trail: Ratio | None
    protection: Protection


@dataclass(frozen=True, slots=True)
class WatchView:
    """One look at the account: `env` and `mode` are always on screen; `banner` is a warning such as HALT."""

    at: Millis
    profile: str
    env: str
    mode: str
    positions: tuple[PositionRow, ...]
    banner: str = ""
