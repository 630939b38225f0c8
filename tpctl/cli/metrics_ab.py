"""Two arms compared figure by figure: the block bootstrap beside the sequential test, over positions as they ended."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import erfc, sqrt

from tpctl.adapters.metrics_query import Unit
from tpctl.market.bootstrap import Days, difference_by_days
from tpctl.market.sequential import Msprt
from tpctl.views.metrics_compare import Compared, Comparison, Draw

_FIGURES = ("mean_r", "mean_profit_usd", "hit_rate")


def compared(
    names: tuple[str, str], stream: Iterable[tuple[int, Unit]], shares: Mapping[str, Decimal] | None = None
) -> Comparison:
    """Return the comparison of two arms from their positions, in the order they ended; memory grows with days only.

    `shares` are the probabilities positions were drawn into the arms with, where they were drawn.
    """
    tests = {name: Msprt() for name in _FIGURES}
    days = {name: (Days(), Days()) for name in _FIGURES}
    positions, attempts = [0, 0], [0, 0]
    for arm, unit in stream:
        positions[arm] += 1
        attempts[arm] += unit.attempts
        for name, value in _values(unit).items():
            if value is not None:
                tests[name].see(arm, value)
                days[name][arm].add(unit.at, value)
    figures = tuple(
        Compared(name, a.mean, b.mean, difference_by_days(a, b), tests[name].result()) for name, (a, b) in days.items()
    )
    drawn = None
    if shares:
        a, b = (float(shares[name]) for name in names)
        drawn = Draw((shares[names[0]], shares[names[1]]), _uneven(positions[0], positions[1], a / (a + b)))
    return Comparison(names[0], names[1], (positions[0], positions[1]), (attempts[0], attempts[1]), figures, drawn)


def _uneven(a: int, b: int, share: float) -> float | None:
    """Return how likely a split this uneven is by chance (normal approximation), None where there is nothing to tell.

    An unlikely one says that drawing or recording is broken, and that the comparison means nothing.
    """
    count = a + b
    if not count:
        return None
    return erfc(abs(a - count * share) / sqrt(2 * count * share * (1 - share)))


def _values(unit: Unit) -> dict[str, float | None]:
    return {
        "mean_r": None if unit.r is None else float(unit.r),
        "mean_profit_usd": float(unit.profit),
        "hit_rate": unit.hits / unit.attempts,
    }
