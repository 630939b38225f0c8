"""What records that never change were written as, for as long as they are written again.

Decides what is forgotten: a record nobody asked for while a while passed. So what it holds follows the records that
live (a position's plan, rules and orders are written with every decision on it, and every minute the market moves it)
and not those that ever lived.
"""

import time
from collections.abc import Callable
from typing import Any

# Well above the minute in which everything that lives is written again.
WHILE_S = 150.0
# Of a market that runs many times as fast as the clock more come in a while than are worth keeping.
MOST = 2048


class Kept:
    """Written forms by the record itself, not by its value: looking one up costs no comparison."""

    __slots__ = ("_clock", "_fresh", "_since", "_stale")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        # The record is kept beside its form, so that no other can take its identity.
        self._fresh: dict[int, tuple[object, Any]] = {}
        self._stale: dict[int, tuple[object, Any]] = {}
        self._clock = clock
        self._since = clock()

    def __len__(self) -> int:
        return len(self._fresh) + len(self._stale)

    def find(self, record: object) -> Any | None:
        """Return what the record was written as, None where that is not known (any more)."""
        known = self._fresh.get(id(record))
        if known is None:
            known = self._stale.pop(id(record), None)
            if known is None:
                return None
            self._put(known)
        return known[1]

    def keep(self, record: object, written: Any) -> None:
        """Keep what a record was written as; it must never change."""
        self._put((record, written))

    def _put(self, known: tuple[object, Any]) -> None:
        now = self._clock()
        if now - self._since >= WHILE_S or len(self._fresh) >= MOST:
            self._stale, self._fresh, self._since = self._fresh, {}, now
        self._fresh[id(known[0])] = known
