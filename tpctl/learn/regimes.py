"""The market's regime at each entry, for the slices of an evaluation: thirds of market stress (ESS; learning 6).

A position's regime is known at its entry: it comes from the newest hour that had closed. Where the borders between the
thirds lie is a matter of the report alone; no policy sees them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tpctl.exits.instrument import Unavailable
from tpctl.learn.episodes import Episodes
from tpctl.market.bars import HOUR_MS
from tpctl.market.risk.course import market_course
from tpctl.market.risk.prices import PriceSeries, build_panel

UNKNOWN = "stress not known"


@dataclass(frozen=True, slots=True, eq=False)
class Regimes:
    """The regime of each of n positions, as an index of `names`."""

    names: tuple[str, ...]
    label: NDArray[np.int64]

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "Regimes":
        """Return those of some of the positions."""
        return Regimes(self.names, self.label[index])


def stress_thirds(episodes: Episodes, series: Mapping[str, PriceSeries]) -> Regimes:
    """Return which third of market stress each position entered in; not known where stress was not measured."""
    stress = np.full(len(episodes), np.nan)
    panel = build_panel(series)
    course = panel if isinstance(panel, Unavailable) else market_course(panel)
    if not isinstance(course, Unavailable):
        row = np.searchsorted(course.at, episodes.started_at, side="right") - 1
        fresh = (row >= 0) & (episodes.started_at - course.at[np.maximum(row, 0)] < 2 * HOUR_MS)
        stress[fresh] = course.stress[row[fresh]]
    known = np.isfinite(stress)
    if not known.any():
        return Regimes((UNKNOWN,), np.zeros(len(episodes), dtype=np.int64))
    low, high = (float(edge) for edge in np.quantile(stress[known], (1 / 3, 2 / 3)))
    label = np.where(known, np.digitize(stress, (low, high)), 3).astype(np.int64)
    names = (f"calm, stress below {low:.2f}", f"usual, to {high:.2f}", f"stressed, from {high:.2f}", UNKNOWN)
    return Regimes(names, label)
