"""Two arms compared figure by figure: the block bootstrap beside the sequential test, over positions as they ended."""

from collections.abc import Iterable

from tpctl.adapters.metrics_query import Unit
from tpctl.market.bootstrap import Days, difference_by_days
from tpctl.market.sequential import Msprt
from tpctl.views.metrics_compare import Compared, Comparison

_FIGURES = ("mean_r", "mean_profit_usd", "hit_rate")


def compared(names: tuple[str, str], stream: Iterable[tuple[int, Unit]]) -> Comparison:
    """Return the comparison of two arms from their positions, in the order they ended; memory grows with days only."""
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
    return Comparison(names[0], names[1], (positions[0], positions[1]), (attempts[0], attempts[1]), figures)


def _values(unit: Unit) -> dict[str, float | None]:
    return {
        "mean_r": None if unit.r is None else float(unit.r),
        "mean_profit_usd": float(unit.profit),
        "hit_rate": unit.hits / unit.attempts,
    }
