"""Decides at which prices parts of a position are taken on the way to its target, by the profit reached.

It never rounds to the tick (see `quantize.round_tp`) and places nothing. Source: exit-rules 10.
"""

from dataclasses import dataclass
from decimal import Decimal

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import PositionSide
from tpctl.exits.units import Price, Ratio, trimmed

# exit-rules 10: from this profit on, levels as (numerator, denominator) of the way to the target, and their fraction.
_LEVELS: tuple[tuple[Ratio, tuple[tuple[int, int, Decimal], ...]], ...] = (
    (Ratio.percent("10"), ((1, 2, Decimal("0.30")), (3, 4, Decimal("0.40")), (1, 1, Decimal("0.30")))),
    (Ratio.percent("5"), ((2, 3, Decimal("0.50")), (1, 1, Decimal("0.50")))),
    (Ratio.percent("2"), ((1, 1, Decimal("1.00")),)),
)


@dataclass(frozen=True, slots=True)
class PartialLevel:
    """A price on the way to the target and the fraction of the initial size taken there.

    `passed` says that the profit given has already reached it, equality included: it is taken at once.
    """

    price: Price
    fraction: Decimal
    passed: bool


def partial_levels(side: PositionSide, entry: Price, target: Price, profit: Ratio) -> tuple[PartialLevel, ...]:
    """Return the partial levels for a profit (price move in favour of entry), nearest first; none below 2 %.

    Raises `InputsError` for an entry not above zero and for a target that is not on the profit side of it.
    """
    if entry <= 0:
        raise InputsError(f"entry '{trimmed(entry)}' is not above zero", "give the price the position was entered at")
    way = target - entry
    if side.sign * way <= 0:
        raise InputsError(
            f"target '{trimmed(target)}' is not in profit for a {side.value} from '{trimmed(entry)}'",
            "give a target above entry for a long, below it for a short",
        )
    now = entry + side.sign * profit.of(entry)
    rows = next((rows for threshold, rows in _LEVELS if profit >= threshold), ())
    levels = []
    for numerator, denominator, fraction in rows:
        price = entry + way * numerator / denominator
        levels.append(PartialLevel(price, fraction, side.sign * (now - price) >= 0))
    return tuple(levels)
