"""How much may be asked: request weight and order counts in windows of event time, and listen keys (binance-usdm 2.3).

Decides when the exchange says wait, and for how long. Windows are those of the exchange's clock: they begin at full
minutes and full ten seconds. Pure: time comes in.
"""

import hashlib
from dataclasses import dataclass

from tpctl.exits.units import Millis
from tpctl.market.bars import DAY_MS, HOUR_MS, MINUTE_MS
from tpctl.venue.refusals import VenueError

_TEN_SECONDS_MS = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What the served exchange allows; times are event time.

    `patience` requests over the weight limit are answered 429 before the address is banned (418) for `ban_ms`. A data
    connection is closed after `connection_ms` (None: never) and when `queue` frames wait for a client that does not
    read.
    """

    weight_1m: int = 2_400
    orders_10s: int = 300
    orders_1m: int = 1_200
    patience: int = 20
    ban_ms: int = 2 * MINUTE_MS
    listen_key_ms: int = HOUR_MS
    connection_ms: int | None = DAY_MS
    queue: int = 10_000


class ThrottledError(VenueError):
    """A refusal for asking too much; `retry_after_s` is None where the exchange does not say how long to wait."""

    def __init__(self, code: int, msg: str, http_status: int, retry_after_s: int | None) -> None:
        super().__init__(code, msg, http_status)
        self.retry_after_s = retry_after_s


class _Window:
    """A counter that starts again at every multiple of its length."""

    __slots__ = ("_number", "length_ms", "used")

    def __init__(self, length_ms: int) -> None:
        self.length_ms = length_ms
        self.used = 0
        self._number = -1

    def at(self, now: Millis) -> "_Window":
        number = now // self.length_ms
        if number != self._number:
            self._number, self.used = number, 0
        return self

    def left_ms(self, now: Millis) -> int:
        return self.length_ms - now % self.length_ms


class Gate:
    """The counters of the one address and the one account there are."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._weight = _Window(MINUTE_MS)
        self._orders_10s = _Window(_TEN_SECONDS_MS)
        self._orders_1m = _Window(MINUTE_MS)
        self._over = _Window(MINUTE_MS)
        self._banned_until: Millis = 0

    def charge(self, weight: int, now: Millis) -> None:
        """Count a request; raises -1003 with 429 over the limit, and with 418 for who goes on all the same."""
        if now < self._banned_until:
            raise self._ban(now)
        used = self._weight.at(now)
        used.used += weight
        if used.used <= self._limits.weight_1m:
            return
        over = self._over.at(now)
        over.used += 1
        if over.used > self._limits.patience:
            self._banned_until = now + self._limits.ban_ms
            raise self._ban(now)
        raise ThrottledError(
            -1003,
            f"Too many requests; current limit of IP(127.0.0.1) is {self._limits.weight_1m} requests per minute. "
            "Please use the websocket for live updates to avoid polling the API.",
            429,
            _seconds(used.left_ms(now)),
        )

    def count_orders(self, orders: int, now: Millis) -> None:
        """Count order placements; raises -1015 with 429 over either limit, and counts refused ones too."""
        for window, limit, name in (
            (self._orders_10s, self._limits.orders_10s, "10 SECOND"),
            (self._orders_1m, self._limits.orders_1m, "1 MINUTE"),
        ):
            if window.at(now).used + orders > limit:
                text = f"Too many new orders; current limit is {limit} orders per {name}."
                raise ThrottledError(-1015, text, 429, None)
        self._orders_10s.used += orders
        self._orders_1m.used += orders

    def headers(self, now: Millis, *, order: bool) -> dict[str, str]:
        """Return the headers that tell a client what it has used."""
        told = {"x-mbx-used-weight-1m": str(self._weight.at(now).used)}
        if order:
            told["x-mbx-order-count-10s"] = str(self._orders_10s.at(now).used)
            told["x-mbx-order-count-1m"] = str(self._orders_1m.at(now).used)
        return told

    def _ban(self, now: Millis) -> ThrottledError:
        return ThrottledError(
            -1003,
            f"Way too many requests; IP(127.0.0.1) banned until {self._banned_until}. "
            "Please use the websocket for live updates to avoid bans.",
            418,
            _seconds(self._banned_until - now),
        )


def _seconds(span_ms: int) -> int:
    return max(1, -(-span_ms // 1000))


class ListenKeys:
    """The key of the user stream: one at a time, 60 minutes from its last extension (binance-usdm 5.5)."""

    def __init__(self, life_ms: int) -> None:
        self._life_ms = life_ms
        self._count = 0
        self._key: str | None = None
        self._until: Millis = 0

    @property
    def current(self) -> str | None:
        """The newest key that was not given up."""
        return self._key

    def open(self, now: Millis) -> str:
        """Return the valid key, extended, or a new one."""
        if self._key is None or now >= self._until:
            self._count += 1
            self._key = hashlib.sha256(f"twin listen key {self._count}".encode()).hexdigest()
        self._until = now + self._life_ms
        return self._key

    def extend(self, key: str | None, now: Millis) -> str:
        """Extend the key; -1125 for any but the valid one."""
        if self._key is None or now >= self._until or key not in {None, self._key}:
            raise VenueError(-1125, "This listenKey does not exist.")
        return self.open(now)

    def close(self) -> None:
        """Give the key up: its connections stay open and silent."""
        self._key = None

    def valid(self, key: str, now: Millis) -> bool:
        """Whether events go to connections with this key."""
        return key == self._key and now < self._until

    def expire(self, now: Millis) -> str | None:
        """Return the key that has just run out, once."""
        if self._key is None or now < self._until:
            return None
        key, self._key = self._key, None
        return key
