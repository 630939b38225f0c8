"""The request budget: which calls may go now (binance-usdm 2.3, reliability R1-R3).

Decides by lanes. Protection always goes, except while the address is banned. Reads of positions and orders, without
which protection is blind, go up to 70 % of a limit; everything else up to 40 %. What the exchange says it counted
replaces our own count: other programs on the same address count too.

Invariants: I22 (share of the limits, a lane for protection, no request while banned, Retry-After obeyed).
"""

import re
from collections.abc import Mapping
from enum import StrEnum

from tpctl.adapters.binance.errors import TOO_MANY_ORDERS
from tpctl.exits.errors import RateLimitedError
from tpctl.exits.units import Millis
from tpctl.ports import Clock

_MINUTE = 60_000
_TEN_SECONDS = 10_000
# binance-usdm 2.3: the live exchange's limits; exchangeInfo replaces them.
_WEIGHT_LIMIT, _ORDERS_10S, _ORDERS_1M = 2400, 300, 1200
# A ban that names no end lasts at least two minutes.
_SHORTEST_BAN = 120_000
# After a 429 the routine share is halved for this long (reliability R1).
_CAUTION = 600_000
_BANNED_UNTIL = re.compile(r"until\s+(\d{13})\b")


class Lane(StrEnum):
    """Who is asking."""

    PROTECT = "protect"
    ACCOUNT = "account"
    ROUTINE = "routine"


_SHARE = {Lane.ACCOUNT: 0.70, Lane.ROUTINE: 0.40}


class _Window:
    """What was used in the current window of one limit. Windows are aligned to the exchange's clock."""

    def __init__(self, length: int, limit: int) -> None:
        self.length = length
        self.limit = limit
        self._index = 0
        self._used = 0

    def used(self, now: Millis) -> int:
        index = now // self.length
        if index != self._index:
            self._index, self._used = index, 0
        return self._used

    def spend(self, now: Millis, amount: int) -> None:
        self._used = self.used(now) + amount

    def counted(self, now: Millis, total: int) -> None:
        # Answers overtake each other and the count only grows within a window: the largest is the newest.
        self._used = max(self.used(now), total)

    def ends_in(self, now: Millis) -> int:
        return self.length - now % self.length


class Budget:
    """Weight and order counts of one address and account, and the blocks the exchange put on them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._weight = _Window(_MINUTE, _WEIGHT_LIMIT)
        self._orders_10s = _Window(_TEN_SECONDS, _ORDERS_10S)
        self._orders_1m = _Window(_MINUTE, _ORDERS_1M)
        self._blocked_until = 0
        self._banned_until = 0
        self._cautious_until = 0

    def set_limits(self, weight: int | None, orders_10s: int | None, orders_1m: int | None) -> None:
        """Take the limits exchangeInfo states; None leaves a limit as it is."""
        for window, limit in ((self._weight, weight), (self._orders_10s, orders_10s), (self._orders_1m, orders_1m)):
            if limit is not None and limit > 0:
                window.limit = limit

    @property
    def used_weight(self) -> int:
        """The weight used in this minute, as far as known."""
        return self._weight.used(self._clock.now())

    @property
    def weight_limit(self) -> int:
        """The weight the exchange allows in a minute."""
        return self._weight.limit

    @property
    def banned_until(self) -> Millis | None:
        """The end of the ban in ms UTC, or None."""
        return self._banned_until if self._banned_until > self._clock.now() else None

    @property
    def blocked(self) -> bool:
        """Whether the exchange told us to wait, or banned us."""
        return self._clock.now() < max(self._blocked_until, self._banned_until)

    def admit(self, lane: Lane, weight: int, orders: int = 0) -> None:
        """Count a call about to be sent; raises `RateLimitedError` where its lane has no room."""
        now = self._clock.now()
        if now < self._banned_until:
            raise _limited("the exchange has banned this address", self._banned_until - now)
        if lane is not Lane.PROTECT:
            if now < self._blocked_until:
                raise _limited("the exchange asked to wait", self._blocked_until - now)
            share = _SHARE[lane]
            if lane is Lane.ROUTINE and now < self._cautious_until:
                share /= 2
            self._check(self._weight, weight, share, now)
            self._check(self._orders_10s, orders, share, now)
            self._check(self._orders_1m, orders, share, now)
        self._weight.spend(now, weight)
        self._orders_10s.spend(now, orders)
        self._orders_1m.spend(now, orders)

    def observe(self, headers: Mapping[str, str]) -> None:
        """Take what the headers of an answer say was used."""
        now = self._clock.now()
        for name, window in (
            ("x-mbx-used-weight-1m", self._weight),
            ("x-mbx-order-count-10s", self._orders_10s),
            ("x-mbx-order-count-1m", self._orders_1m),
        ):
            total = headers.get(name, "")
            if total.isascii() and total.isdigit() and len(total) < 10:
                window.counted(now, int(total))

    def refused(self, status: int, headers: Mapping[str, str], text: str = "", code: int = 0) -> Millis | None:
        """Take a refusal; return in how many ms to try again, where it is about limits.

        Too many orders (-1015) hold back orders only: reading goes on, or protection would be blind as well.
        """
        now = self._clock.now()
        if status not in {418, 429}:
            return None
        wait = _wait(headers, text, now)
        if status == 418:
            wait = _SHORTEST_BAN if wait is None else wait
            self._banned_until = max(self._banned_until, now + wait)
        elif code == TOO_MANY_ORDERS:
            window = self._orders_1m if "per 1 MINUTE" in text else self._orders_10s
            window.counted(now, window.limit)
            wait = window.ends_in(now) if wait is None else wait
        else:
            wait = self._weight.ends_in(now) if wait is None else wait
            self._blocked_until = max(self._blocked_until, now + wait)
            self._cautious_until = self._blocked_until + _CAUTION
        return wait

    @staticmethod
    def _check(window: _Window, amount: int, share: float, now: Millis) -> None:
        if amount and window.used(now) + amount > share * window.limit:
            raise _limited("our share of the request budget is used up", window.ends_in(now))


def _wait(headers: Mapping[str, str], text: str, now: Millis) -> int | None:
    """Return the longer of Retry-After (seconds) and the time up to the epoch in a ban's text."""
    waits = []
    after = headers.get("Retry-After", "")
    if after.isascii() and after.isdigit() and len(after) < 10:
        waits.append(int(after) * 1000)
    until = _BANNED_UNTIL.search(text)
    if until:
        waits.append(max(0, int(until.group(1)) - now))
    return max(waits, default=None)


def _limited(message: str, wait: int) -> RateLimitedError:
    return RateLimitedError(message, f"try again in {-(-wait // 1000)} s", retry_after_ms=wait)
