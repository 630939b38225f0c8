"""When a fault strikes: one seed, one sequence of its own for every fault.

A fault's draws depend on the seed and its name alone, so switching one on or off leaves the others where they were, and
a story can be shrunk by leaving single strikes out. Invariant: the same calls in the same order give the same strikes.
"""

import random
from collections import Counter
from collections.abc import Container, Mapping

from tpctl.exits.units import Millis
from tpctl.market.bars import HOUR_MS
from tpctl.venue.faults.catalog import CATALOG
from tpctl.venue.faults.fates import Struck


class Dice:
    """Draws for the faults in `rates`, from `start_ms` on and before `stop_ms`.

    `kept` limits what really strikes to these (name, number) pairs; the draws are made all the same. `struck` lists
    what did strike, all of it or at least the `remembered` newest, `counts` how often by name.
    """

    def __init__(
        self,
        rates: Mapping[str, float],
        seed: int,
        *,
        start_ms: Millis,
        stop_ms: Millis | None = None,
        kept: Container[tuple[str, int]] | None = None,
        remembered: int | None = None,
    ) -> None:
        unknown = [name for name in rates if name not in CATALOG]
        if unknown:
            raise ValueError(f"unknown faults {unknown}")
        self.rates = {name: rates[name] for name in CATALOG if rates.get(name)}
        self.counts: Counter[str] = Counter()
        self.struck: list[Struck] = []
        self._stop_ms = stop_ms
        self._kept = kept
        self._remembered = remembered
        self._drawn: Counter[str] = Counter()
        self._seed = seed
        self._of: dict[str, random.Random] = {}
        # Not for secrets: a story that can be told again.
        self._random = {name: random.Random(f"{seed}:{name}") for name in self.rates}  # noqa: S311
        self._due = {name: start_ms + self._gap_ms(name) for name in self.rates if not CATALOG[name].share}

    def of(self, name: str) -> random.Random:
        """Return the numbers of the fault's newest strike; they do not depend on the strikes before it."""
        return self._of[name]

    def share(self, name: str, at: Millis) -> bool:
        """Return whether a fault whose rate is a share strikes this message."""
        rate = self.rates.get(name)
        if rate is None or self.over(at) or self._random[name].random() >= rate:
            return False
        return self._strike(name, at)

    def due(self, name: str, at: Millis) -> bool:
        """Return whether a fault whose rate is a frequency strikes now; at most once a call."""
        when = self._due.get(name)
        if when is None or at < when or self.over(at):
            return False
        self._due[name] = at + self._gap_ms(name)
        return self._strike(name, at)

    def over(self, at: Millis) -> bool:
        """Return whether faults have ended."""
        return self._stop_ms is not None and at >= self._stop_ms

    def tell(self, detail: str) -> None:
        """Say more of the newest strike."""
        newest = self.struck[-1]
        self.struck[-1] = Struck(newest.at, newest.name, newest.number, detail)

    def _gap_ms(self, name: str) -> Millis:
        return 1 + int(self._random[name].expovariate(self.rates[name]) * HOUR_MS)

    def _strike(self, name: str, at: Millis) -> bool:
        number = self._drawn[name]
        self._drawn[name] += 1
        if self._kept is not None and (name, number) not in self._kept:
            return False
        self.counts[name] += 1
        self._of[name] = random.Random(f"{self._seed}:{name}:{number}")  # noqa: S311
        self.struck.append(Struck(at, name, number))
        if self._remembered is not None and len(self.struck) > 2 * self._remembered:
            del self.struck[: -self._remembered]
        return True
