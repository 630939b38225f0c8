"""How likely an attempt is to hit in the end, when some are still open: the cumulative incidence of hits.

A hit rate of finished attempts alone is biased while attempts run: quick misses are in, slow hits are not yet. Here an
open attempt counts for as long as it has been watched (censoring), and a miss ends the chance of a hit (competing
risks): Aalen and Johansen 1978, with ages in bands and open attempts counted half in the band where they leave (the
actuarial convention). Floats live here, as everywhere in `market`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2

from tpctl.exits.units import Millis

_MINUTE_MS = 60_000
_BANDS_PER_DOUBLING = 4


@dataclass(frozen=True, slots=True)
class Incidence:
    """The probability of a hit: `estimate` by the ages seen so far; what is not settled by then could still hit.

    The truth lies between `estimate` and `estimate + unsettled` as far as the finished attempts tell.
    """

    estimate: float
    unsettled: float


def band(age_ms: Millis) -> int:
    """Return the band of an age: 0 below a minute, then four to every doubling."""
    return 0 if age_ms < _MINUTE_MS else 1 + int(_BANDS_PER_DOUBLING * log2(age_ms / _MINUTE_MS))


def hit_incidence(hits: Mapping[int, int], misses: Mapping[int, int], open_now: Mapping[int, int]) -> Incidence | None:
    """Return the cumulative incidence of hits from counts by age band; None without finished attempts."""
    at_risk = float(sum(hits.values()) + sum(misses.values()) + sum(open_now.values()))
    if not sum(hits.values()) + sum(misses.values()):
        return None
    running, incidence = 1.0, 0.0
    for age in sorted({*hits, *misses, *open_now}):
        hit, miss, left = hits.get(age, 0), misses.get(age, 0), open_now.get(age, 0)
        exposed = at_risk - left / 2
        if exposed > 0:
            incidence += running * hit / exposed
            running *= max(0.0, 1 - (hit + miss) / exposed)
        at_risk -= hit + miss + left
    return Incidence(incidence, running)
