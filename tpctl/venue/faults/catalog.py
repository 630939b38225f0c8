"""The faults there are: name, where it strikes, how often by default, and what it does. A table; decides nothing.

Rates are shares of messages for the seams REQUEST, EVENT and FRAME, and occurrences per hour of event time for all
others. The numbers in the texts are those of `plan` and `acts`. Rows of the fault model (reliability 3) are named.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from enum import StrEnum
from typing import Final

from tpctl.exits.errors import UsageError


class Seam(StrEnum):
    """Where a fault strikes."""

    REQUEST = "request"
    EVENT = "event"
    FRAME = "frame"
    OUTAGE = "outage"
    LINK = "link"
    MARKET = "market"
    EXCHANGE = "exchange"
    HAND = "hand"


# The seams whose rate is a share of messages.
SHARES: Final = frozenset({Seam.REQUEST, Seam.EVENT, Seam.FRAME})


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One fault. `rate` is a share of messages, or occurrences per hour of event time, by its seam."""

    name: str
    seam: Seam
    rate: float
    text: str

    @property
    def share(self) -> bool:
        """Whether the rate is a share of messages."""
        return self.seam in SHARES


_KINDS: Final = (
    FaultKind("latency", Seam.REQUEST, 0.5, "requests and answers take 5 to 400 ms more each way (N5)"),
    FaultKind("stall", Seam.REQUEST, 0.002, "a request takes 5 to 30 s (N5)"),
    FaultKind(
        "read-lag", Seam.REQUEST, 0.3, "orders read are 0.1 to 2 s old: a fresh one is missing, a cancelled one new"
    ),
    FaultKind("lost-before", Seam.REQUEST, 0.01, "the connection breaks before the exchange has the request (N1)"),
    FaultKind("lost-after", Seam.REQUEST, 0.01, "the request is executed and its answer lost (N2)"),
    FaultKind("unknown", Seam.REQUEST, 0.01, "503 Unknown error, or 408: executed or not, nobody says (N3)"),
    FaultKind("garbled", Seam.REQUEST, 0.002, "the request is executed and its answer breaks off in the middle (N3)"),
    FaultKind("unavailable", Seam.REQUEST, 0.01, "503 Service Unavailable: not executed (N4)"),
    FaultKind(
        "clock-skew", Seam.REQUEST, 0.005, "a signed request arrives too late: -1021, or -5028 from the engine (T1)"
    ),
    FaultKind("late-reject", Seam.REQUEST, 0.01, "an algo order is answered 200 NEW and rejected a moment later (O11)"),
    FaultKind("empty-positions", Seam.REQUEST, 0.01, "positionRisk answers [] while positions are open"),
    FaultKind("duplicate-events", Seam.EVENT, 0.05, "a user event arrives twice (W1)"),
    FaultKind("reorder-events", Seam.EVENT, 0.05, "a user event is overtaken by those of the next 0.05 to 2 s (W2)"),
    FaultKind("drop-events", Seam.EVENT, 0.02, "a user event never arrives (W3)"),
    FaultKind("malformed-event", Seam.EVENT, 0.002, "a user event breaks off in the middle (W3)"),
    FaultKind("malformed-frame", Seam.FRAME, 0.0005, "a market frame breaks off in the middle"),
    FaultKind("late-marks", Seam.FRAME, 0.01, "a mark arrives a second time, 1 to 60 s older (I14)"),
    FaultKind("bad-marks", Seam.FRAME, 0.002, "a mark is 0, negative, NaN or of a symbol nobody knows (W7)"),
    FaultKind("throttle", Seam.OUTAGE, 0.1, "429 with Retry-After for 5 to 60 s (R1)"),
    FaultKind("ban", Seam.OUTAGE, 0.02, "418 for 2 to 10 minutes, until the time in its message (R2)"),
    FaultKind("overload", Seam.OUTAGE, 0.1, "-1008 for every order, reducing or not, for 5 to 90 s (N4)"),
    FaultKind("order-limit", Seam.OUTAGE, 0.05, "-1015 for every new order for 5 to 20 s (R3)"),
    FaultKind("maintenance", Seam.OUTAGE, 0.02, "502 for everything and no websockets for 0.5 to 5 minutes (M1)"),
    FaultKind(
        "clock-jump", Seam.OUTAGE, 0.05, "the exchange's clock jumps by up to 30 s either way and stays there (T2)"
    ),
    FaultKind("disconnect", Seam.LINK, 0.5, "the websockets break, without or with a goodbye (W4)"),
    FaultKind("silence", Seam.LINK, 0.2, "a websocket stays open and says nothing for 5 to 120 s (W7)"),
    FaultKind("half-open", Seam.LINK, 0.1, "a websocket says nothing and answers no ping until it is replaced (N5)"),
    FaultKind("day-cut", Seam.LINK, 0.05, "the exchange ends every websocket as at its 24 hours (W4)"),
    FaultKind("key-expiry", Seam.LINK, 0.05, "the listen key expires: listenKeyExpired, then nothing (W5)"),
    FaultKind(
        "key-rotation", Seam.LINK, 0.05, "the listen key is replaced without a word: nothing arrives on the old (W5)"
    ),
    FaultKind("flood", Seam.LINK, 0.02, "two thousand market frames at once (W6)"),
    FaultKind("price-gap", Seam.MARKET, 0.1, "a price jumps by 1 to 6 % and stays there (P1)"),
    FaultKind("wick", Seam.MARKET, 0.2, "the last price touches 0.5 to 4 % away and returns, the mark does not (P2)"),
    FaultKind(
        "thin-book",
        Seam.EXCHANGE,
        0.1,
        "a step gives 500 to 5000 USDT of depth for 1 to 10 minutes: partial fills (O10)",
    ),
    FaultKind("filter-change", Seam.EXCHANGE, 0.05, "tick and step of a symbol become ten times as wide (M2)"),
    FaultKind("symbol-halt", Seam.EXCHANGE, 0.02, "a symbol takes no orders for 0.5 to 5 minutes"),
    FaultKind("symbol-settle", Seam.EXCHANGE, 0.005, "a symbol settles: its position is closed by the exchange"),
    FaultKind("adl", Seam.EXCHANGE, 0.02, "a position is deleveraged in part or whole (O10)"),
    FaultKind("stop-expired", Seam.EXCHANGE, 0.05, "the exchange expires a resting conditional order by itself (O11)"),
    FaultKind("stop-stuck", Seam.EXCHANGE, 0.02, "a conditional order will stay TRIGGERING for ever (O11)"),
    FaultKind("hand-close", Seam.HAND, 0.05, "the operator closes a position (H1)"),
    FaultKind("hand-reduce", Seam.HAND, 0.05, "the operator closes a part of a position (H1)"),
    FaultKind("hand-add", Seam.HAND, 0.1, "the operator adds to a position (H2)"),
    FaultKind("hand-flip", Seam.HAND, 0.03, "the operator flips a one-way position (H3)"),
    FaultKind("hand-leverage", Seam.HAND, 0.05, "the operator changes a position's leverage (H4)"),
    FaultKind("hand-mode", Seam.HAND, 0.05, "the operator switches hedge mode, where nothing stands against it (H5)"),
    FaultKind("hand-cancel", Seam.HAND, 0.1, "the operator cancels an order of ours (H6)"),
)

CATALOG: Final[Mapping[str, FaultKind]] = {kind.name: kind for kind in _KINDS}


def parse_faults(text: str) -> dict[str, float]:
    """Return the rates that `all`, `none` or a list such as `lost-after=20%,disconnect=6/h,wick` stands for.

    Raises `UsageError` for an unknown name, and for a rate of the wrong kind or out of range.
    """
    if text == "none":
        return {}
    if text == "all":
        return {kind.name: kind.rate for kind in _KINDS}
    rates: dict[str, float] = {}
    for part in text.split(","):
        name, given, rate = part.strip().partition("=")
        kind = CATALOG.get(name)
        if kind is None:
            near = get_close_matches(name, CATALOG, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "list them with --faults help"
            raise UsageError(f"there is no fault {name!r}", hint)
        rates[name] = _rate(kind, rate) if given else kind.rate
    return rates


def _rate(kind: FaultKind, text: str) -> float:
    unit, example = ("%", "20%") if kind.share else ("/h", "6/h")
    try:
        value = Decimal(text.removesuffix(unit)) if text.endswith(unit) else Decimal("NaN")
    except InvalidOperation:
        value = Decimal("NaN")
    most = Decimal(100 if kind.share else 3_600)
    if not value.is_finite() or not 0 < value <= most:
        of = "a share of messages" if kind.share else "a number per hour of market time"
        raise UsageError(f"rate {text!r} of {kind.name} is not {of}", f"give it as {kind.name}={example}")
    return float(value / 100 if kind.share else value)


def describe_faults() -> tuple[tuple[str, str, str], ...]:
    """Return name, default rate and text of every fault, in the order of the catalogue."""
    return tuple(
        (kind.name, f"{kind.rate * 100:g}%" if kind.share else f"{kind.rate:g}/h", kind.text) for kind in _KINDS
    )
