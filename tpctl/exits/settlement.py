"""What is known of a closed position in hindsight, as records; `hindsight` decides what they hold."""

from dataclasses import dataclass

from tpctl.exits.model import PositionKey
from tpctl.exits.units import Millis, Money, Price, Quantity

# How long after an exit the path is looked at, in minutes.
HORIZONS = (5, 30, 240)
# The alternatives that are told of a position, in the order they are shown.
ALTERNATIVES = ("no_exit", "as_planned", "dynamic", "static", "trail_tighter", "trail_looser", "clairvoyant")


@dataclass(frozen=True, slots=True)
class After:
    """Where the price went in the minutes after the exit: the best and the worst for the position, and the last."""

    minutes: int
    best: Price
    worst: Price
    last: Price


@dataclass(frozen=True, slots=True)
class Alternative:
    """What one other exit had come to. `pnl` is after its exit fees; None, with the reason, where it cannot be told."""

    name: str
    pnl: Money | None
    ended_at: Millis | None
    reason: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a price path in equal steps from `since`: in each the lowest, the highest and the last price."""

    since: Millis
    step_ms: Millis
    low: tuple[Price, ...]
    high: tuple[Price, ...]
    last: tuple[Price, ...]


@dataclass(frozen=True, slots=True)
class Settlement:
    """What is known of a position in hindsight. `risk` is what its first stop put at stake, None where not on record.

    `regret` is what the best exit there was, at one price and less its fee, had given more than the real one. `path` is
    the price it was judged by, coarse: while it was held, and after.
    """

    generation: str
    key: PositionKey
    closed_at: Millis
    policy: str | None
    arm: str | None
    entry: Price
    average_exit: Price
    quantity: Quantity
    pnl: Money
    risk: Money | None
    after: tuple[After, ...]
    alternatives: tuple[Alternative, ...]
    regret: Money | None
    path: tuple[Stretch, ...] = ()
