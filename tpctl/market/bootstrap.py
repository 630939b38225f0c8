"""How sure a difference of two means is when outcomes of one day move together: the bootstrap by blocks of days.

Whole days are drawn with replacement, for both arms at once where they share days, so that what moved all positions of
a day moves them together in every replication too (learning 6, 8). The draw is seeded: same outcomes, same interval.
Floats live here, as everywhere in `market`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import Millis

DAY_MS = 86_400_000
REPLICATIONS = 2000
# Fewer blocks than this draw the same few days over and over: the interval would look surer than it is.
MINIMUM_DAYS = 8


_Day = tuple[float, int]


@dataclass(frozen=True, slots=True)
class Spread:
    """The difference of two means (B less A), its bootstrap interval, and how many days it was drawn from."""

    difference: float
    low: float
    high: float
    days: int


class Days:
    """The outcomes of one arm, summed by day (UTC) as they are added."""

    def __init__(self, outcomes: Iterable[tuple[Millis, float]] = ()) -> None:
        self._days: dict[int, _Day] = {}
        for at, value in outcomes:
            self.add(at, value)

    def add(self, at: Millis, value: float) -> None:
        """Add one outcome."""
        whole, count = self._days.get(at // DAY_MS, (0.0, 0))
        self._days[at // DAY_MS] = (whole + value, count + 1)

    @property
    def count(self) -> int:
        """How many outcomes there are."""
        return sum(count for _, count in self._days.values())

    @property
    def mean(self) -> float | None:
        """The mean of all outcomes; None of none."""
        return _mean(self._days.values()) if self._days else None

    def by_day(self) -> dict[int, "_Day"]:
        """Return (sum, count) by day, in order, whatever order they were added in."""
        return dict(sorted(self._days.items()))


def difference_by_days(
    a: Days, b: Days, *, seed: int = 0, confidence: float = 0.95, replications: int = REPLICATIONS
) -> Spread | Unavailable:
    """Return the difference of the means of two arms, B less A, with its interval.

    Arms that share no day (two periods) are drawn each from its own days; others from the days of both together.
    Unavailable with fewer than `MINIMUM_DAYS` days of either arm.
    """
    days_a, days_b = a.by_day(), b.by_day()
    if not days_a or not days_b:
        return Unavailable("one of the two has no outcomes")
    fewest = min(len(days_a), len(days_b))
    if fewest < MINIMUM_DAYS:
        return Unavailable(f"{fewest} days of outcomes, an interval needs {MINIMUM_DAYS}")
    random = Random(seed)  # noqa: S311 - a reproducible draw, not a secret
    if days_a.keys() & days_b.keys():
        draws = _joint(days_a, days_b, random, replications)
    else:
        draws = _apart(days_a, days_b, random, replications)
    draws.sort()
    tail = (1 - confidence) / 2
    return Spread(
        difference=_mean(days_b.values()) - _mean(days_a.values()),
        low=draws[int(tail * len(draws))],
        high=draws[min(len(draws) - 1, int((1 - tail) * len(draws)))],
        days=len(days_a.keys() | days_b.keys()),
    )


def _mean(days: Iterable[_Day]) -> float:
    whole, count = 0.0, 0
    for part, number in days:
        whole += part
        count += number
    return whole / count


def _joint(a: dict[int, _Day], b: dict[int, _Day], random: Random, replications: int) -> list[float]:
    none = (0.0, 0)
    rows = [(*a.get(day, none), *b.get(day, none)) for day in sorted(a.keys() | b.keys())]
    draws: list[float] = []
    while len(draws) < replications:
        drawn = random.choices(rows, k=len(rows))
        count_a, count_b = sum(row[1] for row in drawn), sum(row[3] for row in drawn)
        # A draw without a day of one arm has no difference; with the days of both asked for it is very rare.
        if count_a and count_b:
            draws.append(sum(row[2] for row in drawn) / count_b - sum(row[0] for row in drawn) / count_a)
    return draws


def _apart(a: dict[int, _Day], b: dict[int, _Day], random: Random, replications: int) -> list[float]:
    rows_a, rows_b = list(a.values()), list(b.values())
    return [
        _mean(random.choices(rows_b, k=len(rows_b))) - _mean(random.choices(rows_a, k=len(rows_a)))
        for _ in range(replications)
    ]
