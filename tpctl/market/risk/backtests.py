"""How often losses exceeded the value at risk, and whether exceedances came in clusters.

Sources: Kupiec, "Techniques for verifying the accuracy of risk measurement models", J. Derivatives 3 (1995);
Christoffersen, "Evaluating interval forecasts", International Economic Review 39 (1998). The tests' distributions have
closed forms: P(chi²_1 > x) = erfc(sqrt(x/2)), P(chi²_2 > x) = exp(-x/2).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import erfc, exp, log, sqrt

import numpy as np

from tpctl.exits.instrument import Unavailable
from tpctl.market.bars import DAY_MS
from tpctl.market.risk.prices import Floats, Panel
from tpctl.market.risk.value_at_risk import WINDOW_DAYS, book_losses, day_returns, scenarios

# The 95 % point of chi² with one degree of freedom.
KUPIEC_LIMIT = 3.841458820694124


@dataclass(frozen=True, slots=True)
class Backtest:
    """Exceedances of one book against what its level promises. `band` is what Kupiec's test accepts at 95 %."""

    name: str
    method: str
    days: int
    exceeded: int
    expected: float
    band: tuple[int, int]
    unconditional: float
    independence: float
    conditional: float

    @property
    def in_band(self) -> bool:
        """Whether Kupiec's test accepts the count."""
        return self.band[0] <= self.exceeded <= self.band[1]


def kupiec(exceeded: int, days: int, probability: float) -> float:
    """Return LR_uc = -2 ln[(1-p)^(T-x) p^x / ((1-x/T)^(T-x) (x/T)^x)], chi² with one degree of freedom."""
    return 2.0 * (_likelihood(exceeded, days, exceeded / days) - _likelihood(exceeded, days, probability))


def kupiec_band(days: int, probability: float) -> tuple[int, int]:
    """Return the fewest and the most exceedances that Kupiec's test accepts at 95 %."""
    accepted = [x for x in range(days + 1) if kupiec(x, days, probability) < KUPIEC_LIMIT]
    return accepted[0], accepted[-1]


def christoffersen(hits: Sequence[bool]) -> float:
    """Return LR_ind: whether an exceedance changes the odds of one on the next day; chi² with one degree of freedom."""
    counts = np.zeros((2, 2), dtype=int)
    for before, after in pairwise(hits):
        counts[int(before), int(after)] += 1
    calm, hit = int(counts[0].sum()), int(counts[1].sum())
    after_calm, after_hit = int(counts[0, 1]), int(counts[1, 1])
    if not calm or not hit:
        return 0.0
    pooled = (after_calm + after_hit) / (calm + hit)
    apart = _likelihood(after_calm, calm, after_calm / calm) + _likelihood(after_hit, hit, after_hit / hit)
    return max(0.0, 2.0 * (apart - _likelihood(after_calm + after_hit, calm + hit, pooled)))


def p_value(ratio: float, freedom: int) -> float:
    """Return the probability of a chi² of one or two degrees of freedom above `ratio`."""
    return erfc(sqrt(max(ratio, 0.0) / 2.0)) if freedom == 1 else exp(-max(ratio, 0.0) / 2.0)


def judge(name: str, method: str, hits: Sequence[bool], probability: float) -> Backtest:
    """Return the tests of one series of exceedances."""
    days, exceeded = len(hits), sum(hits)
    unconditional, independence = kupiec(exceeded, days, probability), christoffersen(hits)
    return Backtest(
        name=name,
        method=method,
        days=days,
        exceeded=exceeded,
        expected=days * probability,
        band=kupiec_band(days, probability),
        unconditional=p_value(unconditional, 1),
        independence=p_value(independence, 1),
        conditional=p_value(unconditional + independence, 2),
    )


def backtest(
    panel: Panel,
    level: float = 0.95,
    *,
    window_days: int = WINDOW_DAYS,
    funding: Floats | None = None,
) -> tuple[Backtest, ...] | Unavailable:
    """Return the tests of every symbol held long and of the equal-weight book, over days that do not overlap.

    A day begins at each UTC midnight; its forecast uses what was closed by then. `funding` is what a long pays at each
    row as a fraction of notional, of the panel's shape: a forecast takes what the day before paid, the outcome what
    the day itself did. Filtered and plain simulation are tested alike, the plain one for comparison.
    """
    days = day_returns(panel)
    paid = np.zeros_like(panel.returns) if funding is None else funding
    window = window_days * days.rows
    starts = np.flatnonzero(panel.at % DAY_MS == 0)
    starts = starts[(starts >= window) & (starts < len(panel) - days.rows)]
    count = len(panel.symbols)
    books = [*np.eye(count), np.full(count, 1.0 / count)]
    names = [*panel.symbols, "equal weight"]
    hits: dict[tuple[int, str], list[bool]] = {(book, kind): [] for book in range(len(books)) for kind in _METHODS}
    for index in starts:
        drawn = scenarios(days, int(index), window)
        if isinstance(drawn, Unavailable) or np.isnan(days.returns[index]).any():
            continue
        expected = paid[index - days.rows + 1 : index + 1].sum(axis=0)
        actual = paid[index + 1 : index + days.rows + 1].sum(axis=0)
        outcome = actual - np.expm1(days.returns[index])
        for kind, returns in (("filtered", drawn.filtered), ("historical", drawn.plain)):
            for book, weights in enumerate(books):
                limit = np.quantile(book_losses(returns, weights, float(expected @ weights)), level)
                hits[book, kind].append(bool(outcome @ weights > limit))
    if not hits[0, "filtered"]:
        need = (window_days + 1) * days.rows
        return Unavailable(f"{len(panel)} candles in common, more than {need} are needed to test a day")
    return tuple(judge(names[book], kind, found, 1.0 - level) for (book, kind), found in hits.items())


_METHODS = ("filtered", "historical")


def _likelihood(hits: int, days: int, probability: float) -> float:
    """Return ln[(1-p)^(days-hits) p^hits], with 0 · ln 0 = 0."""
    missed = days - hits
    return (hits * log(probability) if hits else 0.0) + (missed * log(1.0 - probability) if missed else 0.0)
