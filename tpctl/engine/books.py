"""Reads the book when an execution of ours is heard of, beside the loop: nothing waits for it, and what fails is left.

Executions of a symbol that come together share one reading.
"""

from collections.abc import Callable
from typing import Protocol

from tpctl.exits.errors import TpctlError
from tpctl.exits.ids import is_ours
from tpctl.exits.mid import LATE_MS, MidRead, TopOfBook, mid_read
from tpctl.exits.model import Fill
from tpctl.exits.units import Millis


class Books(Protocol):
    """Where the top of a book is read. Raises `TpctlError` where it cannot be."""

    async def top_of_book(self, symbol: str) -> TopOfBook:
        """Return the best prices of a symbol's book."""
        ...


class BookWatch:
    """Hears of executions and reads the books they met."""

    def __init__(self, books: Books, now: Callable[[], Millis]) -> None:
        self._books = books
        self._now = now
        self._heard: dict[str, list[Fill]] = {}

    @property
    def due(self) -> bool:
        """Whether a book is to be read."""
        return bool(self._heard)

    def filled(self, fill: Fill) -> None:
        """Hear of an execution; one that is not ours, or is told late, costs no reading."""
        if is_ours(fill.client_id) and self._now() - fill.at <= LATE_MS:
            self._heard.setdefault(fill.symbol, []).append(fill)

    async def read(self, commit: Callable[[tuple[MidRead, ...]], object]) -> None:
        """Read the books of everything heard of and hand what they say to `commit`, until nothing is left."""
        while self._heard:
            symbol = next(iter(self._heard))
            fills = self._heard.pop(symbol)
            try:
                book = await self._books.top_of_book(symbol)
            except TpctlError:
                continue
            at = self._now()
            found = tuple(one for fill in fills if (one := mid_read(fill, book, at)) is not None)
            if found:
                commit(found)
