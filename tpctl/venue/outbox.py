"""What is to be sent later: messages that a fault holds back, in the order they fall due."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from tpctl.exits.units import Millis


class Outbox:
    """Actions by the event time they are due at. Due at the same time they go in the order they came."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Millis, int, Callable[[], None]]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, due: Millis, action: Callable[[], None]) -> None:
        """Keep an action until it is due."""
        heappush(self._waiting, (due, next(self._numbers), action))

    def release(self, now: Millis) -> None:
        """Do everything that is due."""
        while self._waiting and self._waiting[0][0] <= now:
            heappop(self._waiting)[2]()
