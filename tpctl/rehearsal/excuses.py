"""What may delay the tool, and for how long: the declared grace windows of the rehearsal (reliability 2 and 8).

A condition that must not last (a position without a stop, an order without a position) has a bound of its own; a fault
that struck stretches it by what this table allows, never without end. Everything is reported all the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tpctl.exits.units import Millis

# No condition lasts longer than this, so what ended before it excuses nothing.
_REMEMBER_MS: Final = 900_000
_FEW: Final = 64

# What each condition may last with no fault at all, in ms.
GRACE: Final[Mapping[str, Millis]] = {
    "I1": 2_000,
    # Flat takes three agreeing reads or an event, then 2 s for closePosition orders to expire by themselves.
    "I11": 5_000,
    "I23": 12_000,
    "I24": 5_000,
}
# Answers that take their time: reads and orders of one decision follow each other.
SLOW_MS: Final = 6_000
# Where nothing tells, the regular read does: 30 s apart, one read may fail and the next come a second later.
UNSEEN_MS: Final = 40_000
# After the exchange's clock was set back, what it said before seems newer than what it says, for as long as the jump:
# at most from one end of its range to the other.
JUMP_MS: Final = 60_000
# A refused request is tried again at the latest after this (draft.LAST_RETRY_MS), and then takes its time.
REFUSED_MS: Final = 36_000
# Nothing is sent again before the exchange must have refused it: 8 s, two look-ups 2 s apart, each of which may lag,
# and then the wait of a request that failed before.
UNCLEAR_MS: Final = 26_000
# A listen key is extended every 20 minutes; a failed extension is tried again a minute later.
KEEP_KEY_MS: Final = 1_290_000
# A start reads the account, the rules and the inputs, and resolves what was open.
START_MS: Final = 12_000


@dataclass(slots=True)
class Excuse:
    """A fault under way: whom it concerns (None is everybody) and how it stretches a bound.

    With `lasts` the bound counts from the fault's end, else from the condition's own beginning.
    """

    name: str
    symbol: str | None
    begin: Millis
    end: Millis | None
    allowance: Millis
    lasts: bool


# Faults that strike one message, and what that stretches. Those not named stretch nothing.
STRIKES: Final[Mapping[str, Millis]] = {
    "lost-before": UNCLEAR_MS,
    "lost-after": UNCLEAR_MS,
    "unknown": UNCLEAR_MS,
    "garbled": UNCLEAR_MS,
    "stall": UNCLEAR_MS,
    "unavailable": UNCLEAR_MS,
    "clock-skew": SLOW_MS,
    "drop-events": UNSEEN_MS,
    "malformed-event": UNSEEN_MS,
    "reorder-events": SLOW_MS,
    "late-reject": SLOW_MS,
    "filter-change": UNSEEN_MS,
    "clock-jump": JUMP_MS + UNSEEN_MS,
    "stop-stuck": SLOW_MS,
    "empty-positions": UNSEEN_MS,
    "malformed-frame": SLOW_MS,
    "late-marks": SLOW_MS,
    "hand-mode": UNSEEN_MS,
    "disconnect": SLOW_MS,
    "day-cut": SLOW_MS,
    "key-expiry": SLOW_MS,
    "key-rotation": SLOW_MS,
    "half-open": SLOW_MS,
    "silence": SLOW_MS,
    "flood": SLOW_MS,
}
# Faults that last until a time of their own; the bound counts from their end.
OUTAGES: Final = frozenset({"maintenance", "ban", "throttle", "overload", "order-limit", "symbol-halt"})


class Excuses:
    """The faults that were and are."""

    def __init__(self) -> None:
        self._all: list[Excuse] = []
        self._most = _FEW

    def add(
        self,
        name: str,
        begin: Millis,
        allowance: Millis,
        *,
        symbol: str | None = None,
        end: Millis | None = None,
        lasts: bool = False,
    ) -> Excuse:
        """Note a fault; one without an end is ended by setting it."""
        excuse = Excuse(name, symbol, begin, end, allowance, lasts)
        self._all.append(excuse)
        if len(self._all) > self._most:
            horizon = begin - _REMEMBER_MS
            self._all = [one for one in self._all if one.end is None or one.end + one.allowance > horizon]
            self._most = max(_FEW, 2 * len(self._all))
        return excuse

    def over(self, symbol: str, since: Millis, now: Millis) -> Iterator[Excuse]:
        """Yield the faults that touch a condition of a symbol lasting from `since` to `now`."""
        for one in reversed(self._all):
            if one.symbol not in {None, symbol} or one.begin > now:
                continue
            end = now if one.end is None else one.end
            if end + one.allowance >= since:
                yield one

    def deadline(self, symbol: str, since: Millis, now: Millis, grace: Millis) -> Millis:
        """Return until when the condition may last."""
        latest = since + grace
        for one in self.over(symbol, since, now):
            if one.lasts:
                latest = max(latest, (now if one.end is None else max(one.end, since)) + one.allowance)
            else:
                # A fault strikes what follows it, and what follows may be struck again.
                latest = max(latest, max(since, one.begin) + one.allowance)
        return latest
