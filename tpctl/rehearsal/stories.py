"""Tells stories, one or many, each in a folder and on a loop of its own, and adds up what was seen.

A story that broke an invariant is shrunk to the fewest strikes that still break it: its seed and that list are the bug
report.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final

from tpctl.exits.units import Millis
from tpctl.rehearsal.loop import VirtualLoop, run
from tpctl.rehearsal.witness import Naked, Violation
from tpctl.rehearsal.world import CALM_END_MS, START_MS_UTC, Story, Told, World

DAY_MS: Final = 86_400_000
_STORIES_OF_A_PROCESS: Final = 20
# How often a broken story is told again to find what broke it.
_RETELLINGS: Final = 60
# The smallest share of its rate that a fault has in a story.
_RAREST: Final = 1 / 300
# The smallest share of the usual volatility.
_CALMEST: Final = 1 / 4


def tell(story: Story) -> Told:
    """Tell one story, in memory where the machine has a file system there."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder made in it is private
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        loop = VirtualLoop()

        async def told() -> Told:
            return await World(story, Path(folder), loop).tell()

        outcome: Told = run(told(), loop)
        return outcome


def vary(story: Story) -> Story:
    """Return the story with rates and a market of its own, by the seed.

    Each fault strikes between a three-hundredth of its rate and the whole, the market moves between a quarter of its
    usual volatility and the whole. Stories that differ in what is rare and what is frequent find more than stories that
    are all alike (reliability 6: rates drawn log-uniformly): in a storm of everything at once the slow consequences of
    a single fault drown.
    """
    draw = Random(f"{story.seed}:rates")  # noqa: S311 - not for secrets: a story that can be told again

    def drawn(rates: Mapping[str, float]) -> dict[str, float]:
        return {name: rate * _RAREST ** draw.random() for name, rate in rates.items()}

    return replace(story, faults=drawn(story.faults), deaths=drawn(story.deaths), swing=_CALMEST ** draw.random())


@dataclass(frozen=True, slots=True)
class Broken:
    """A story that broke an invariant, the first time it did, and the strikes it takes (None where all are needed)."""

    seed: int
    violation: Violation
    strikes: tuple[str, ...] | None


def shrink(story: Story, told: Told) -> Broken:
    """Find the fewest strikes with which the story still breaks the invariant it broke first."""
    first = told.violations[0]
    days = min(story.days, Decimal(first.at - START_MS_UTC + CALM_END_MS + 60_000) / DAY_MS)
    strikes = [(one.name, one.number) for one in told.strikes if one.at <= first.at]
    strikes += [(one.name, one.number) for one in told.deaths if one.at <= first.at]
    left = _RETELLINGS

    def breaks(kept: Iterable[tuple[str, int]]) -> bool:
        nonlocal left
        left -= 1
        again = tell(replace(story, days=days, kept=frozenset(kept)))
        return any(one.invariant == first.invariant for one in again.violations)

    if not breaks(strikes):
        return Broken(story.seed, first, None)
    # Whole kinds first: most of them have nothing to do with it.
    for name in sorted({name for name, _ in strikes}):
        rest = [one for one in strikes if one[0] != name]
        if left > 0 and len(rest) < len(strikes) and breaks(rest):
            strikes = rest
    size = len(strikes) // 2
    while size > 0 and left > 0:
        at = 0
        while at < len(strikes) and left > 0:
            rest = strikes[:at] + strikes[at + size :]
            if breaks(rest):
                strikes = rest
            else:
                at += size
        size //= 2
    return Broken(story.seed, first, tuple(f"{name}#{number}" for name, number in strikes))


@dataclass(slots=True)
class Tally:
    """What many stories came to.

    `first_ms` are the times to the first stop of a position found, `naked` the stretches without one of those that had
    one before, each with its seed.
    """

    stories: int = 0
    ms: Millis = 0
    position_ms: int = 0
    positions: int = 0
    reduces: int = 0
    orders: int = 0
    requests: int = 0
    lives: int = 0
    peak_weight: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    first_ms: list[int] = field(default_factory=list)
    naked: list[tuple[int, Naked]] = field(default_factory=list)
    broken: list[tuple[int, Violation]] = field(default_factory=list)
    traces: dict[int, str] = field(default_factory=dict)

    @property
    def position_days(self) -> float:
        """The time positions were open, in days."""
        return self.position_ms / DAY_MS

    @property
    def naked_ms(self) -> list[int]:
        """How long positions were without a stop after their first."""
        return [one.ms for _, one in self.naked]

    @property
    def naked_by_fault(self) -> dict[str, list[int]]:
        """The same by the faults at work; what none explains is under `none`."""
        found: dict[str, list[int]] = {}
        for _, one in self.naked:
            for name in one.faults or ("none",):
                found.setdefault(name, []).append(one.ms)
        return found

    def longest_naked(self, count: int) -> list[tuple[int, Naked]]:
        """Return the longest stretches without a stop with their seeds, those that no fault explains first."""
        return sorted(self.naked, key=lambda found: (bool(found[1].faults), -found[1].ms, found[0]))[:count]

    def add(self, told: Told) -> None:
        """Add one story."""
        self.stories += 1
        self.ms += told.ms
        self.position_ms += told.position_ms
        self.positions += told.positions
        self.reduces += told.reduces
        self.orders += told.orders
        self.requests += told.requests
        self.lives += told.lives
        self.peak_weight = max(self.peak_weight, told.peak_weight)
        self.faults.update(one.name for one in told.strikes)
        self.faults.update(one.name for one in told.deaths)
        for one in told.naked:
            if one.first:
                self.first_ms.append(one.ms)
            else:
                self.naked.append((told.seed, one))
        self.broken += [(told.seed, violation) for violation in told.violations]
        self.traces[told.seed] = told.trace


def quantile(values: Sequence[int], share: float) -> int | None:
    """Return the value below which a share of the values lies (nearest rank), None where there is none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * len(ordered) * 1000) // 1000) - 1))]


def rehearse(stories: Sequence[Story], jobs: int) -> Iterator[tuple[Story, Told]]:
    """Tell stories in `jobs` processes and yield them as they end; the order depends on the machine, no story does."""
    if jobs <= 1:
        for story in stories:
            yield story, tell(story)
        return
    # New processes now and then: one that has told many stories is slower than it was. Asking a pool to renew them
    # waits for ever on Python 3.11; the next pool begins while the last stories of the one before are told.
    left = iter(stories)
    pools: list[ProcessPoolExecutor] = []
    waiting: dict[Future[Told], Story] = {}
    begun = 0
    try:
        while True:
            for story in islice(left, jobs + 1 - len(waiting)):
                if begun % (jobs * _STORIES_OF_A_PROCESS) == 0:
                    for old in pools:
                        old.shutdown(wait=False)
                    pools = [*pools[-1:], ProcessPoolExecutor(jobs)]
                waiting[pools[-1].submit(tell, story)] = story
                begun += 1
            if not waiting:
                return
            for one in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(one), one.result()
    finally:
        for pool in pools:
            pool.shutdown(cancel_futures=True)


def tally(told: Iterable[Told], seen: Callable[[Tally], None] = lambda _: None) -> Tally:
    """Add stories up; `seen` is called after each."""
    total = Tally()
    for one in told:
        total.add(one)
        seen(total)
    return total
