"""`FaultPlan`: asked at every seam what goes wrong there, for the twin in this process and for the served one alike.

Pure decisions: time comes in, nothing is sent, no clock is read. What the exchange itself does (halts, deleveraging)
and what the operator does by hand comes back as `Act`, which the caller applies to the venue. In one story each seam
has to be asked in the same order every time; how often is the caller's (a seam is asked at every request, message or
step).
"""

from collections.abc import Container, Mapping
from typing import Any, Final

import msgspec

from tpctl.exits.units import Millis
from tpctl.venue.faults.acts import Act, act_of
from tpctl.venue.faults.catalog import CATALOG, Seam
from tpctl.venue.faults.dice import Dice
from tpctl.venue.faults.fates import UNTOUCHED, Canned, Delivery, Fate, Link, LinkFault, LinkKind
from tpctl.venue.faults.prices import Prices
from tpctl.venue.quotes import MarketStep
from tpctl.venue.venue import Venue

_encode = msgspec.json.Encoder().encode

_ORDERS: Final = frozenset({"v1/order", "v1/algoOrder", "v1/batchOrders"})
_LAGGING: Final = frozenset({"v1/order", "v1/algoOrder", "v1/openOrders", "v1/openAlgoOrders"})
_POSITIONS: Final = frozenset({"v2/positionRisk", "v3/positionRisk"})
_UNSIGNED: Final = frozenset({"v1/ping", "v1/time", "v1/exchangeInfo", "v1/klines", "v1/premiumIndex"})

# How long an outage lasts, in ms; the gravest first.
_OUTAGES: Final = {
    "maintenance": (30_000, 300_000),
    "ban": (120_000, 600_000),
    "throttle": (5_000, 60_000),
    "overload": (5_000, 90_000),
    "order-limit": (5_000, 20_000),
}
_ORDERS_ONLY: Final = frozenset({"overload", "order-limit"})
_BREAKS: Final[tuple[tuple[LinkKind, Link], ...]] = (
    ("cut", "market"),
    ("cut", "private"),
    ("cut", "both"),
    ("close", "market"),
    ("close", "private"),
    ("close", "both"),
)
_UNKNOWN: Final = (
    (-1006, "An unexpected response was received from the message bus. Execution status unknown."),
    (-1001, "Internal error; unable to process your request. Please try again."),
    (-1000, "An unknown error occurred while processing the request."),
)
_ACTS: Final = tuple(kind.name for kind in CATALOG.values() if kind.seam in {Seam.EXCHANGE, Seam.HAND})


class FaultPlan:
    """The faults of one story.

    `rates` are shares or frequencies by name (`catalog.parse_faults`). Faults strike from `start_ms` on and before
    `stop_ms`; an outage that has begun goes on to its end. `kept` leaves only single strikes in, `remembered` bounds
    what is told of them (see `Dice`). `dice` tells what struck; `clock_offset_ms` is how far the exchange's clock has
    jumped from where it was.
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
        self.dice = Dice(rates, seed, start_ms=start_ms, stop_ms=stop_ms, kept=kept, remembered=remembered)
        self.clock_offset_ms: Millis = 0
        self._until: dict[str, Millis] = {}
        self._prices = Prices(self.dice)

    # requests

    def on_request(self, at: Millis, method: str, path: str, params: Mapping[str, str]) -> Fate:
        """Return what becomes of a request; `path` is without `/fapi/`, `params` as in `Venue.call`."""
        if not self.dice.rates:
            return UNTOUCHED
        placing = method == "POST" and path in _ORDERS
        barred = self._barred(at, placing=placing)
        if barred is not None:
            return barred
        early = self._unarrived(at, path)
        if early is not None:
            return early
        return self._arrived(at, method, path, params, placing=placing)

    def _barred(self, at: Millis, *, placing: bool) -> Fate | None:
        """Refuse as long as an outage lasts; of several the gravest speaks."""
        lasting = [name for name in _OUTAGES if self._lasts(name, at)]
        for name in lasting:
            if placing or name not in _ORDERS_ONLY:
                return Fate(executes=False, answer=self._outage(name, at), faults=(name,))
        return None

    def _lasts(self, name: str, at: Millis) -> bool:
        if self.dice.due(name, at):
            self._until[name] = at + self.dice.of(name).randint(*_OUTAGES[name])
            self.dice.tell(f"until {self._until[name]}")
        return at < self._until.get(name, 0)

    def _outage(self, name: str, at: Millis) -> Canned:
        until = self._until[name]
        wait_s = max(1, -(-(until - at) // 1000))
        match name:
            case "maintenance":
                return Canned(502, 0, "<html><body><h1>502 Bad Gateway</h1></body></html>")
            case "ban":
                text = f"Way too many requests; IP(127.0.0.1) banned until {until + self.clock_offset_ms}. "
                return Canned(418, -1003, text + "Please use the websocket for live updates to avoid bans.", wait_s)
            case "throttle":
                text = "Too many requests; current limit of IP(127.0.0.1) is 2400 requests per minute. "
                return Canned(429, -1003, text + "Please use the websocket for live updates.", wait_s)
            case "overload":
                return Canned(503, -1008, "Request throttled by system-level protection. Please try again.")
            case _:
                return Canned(429, -1015, "Too many new orders; current limit is 300 orders per 10 SECOND.")

    def _unarrived(self, at: Millis, path: str) -> Fate | None:
        """Return the fate of a request that never reaches the matching core, None for one that does."""
        if self.dice.share("lost-before", at):
            return Fate(executes=False, lost=True, faults=("lost-before",))
        if self.dice.share("unavailable", at):
            return Fate(executes=False, answer=Canned(503, 0, "Service Unavailable."), faults=("unavailable",))
        if path not in _UNSIGNED and self.dice.share("clock-skew", at):
            late = self.dice.of("clock-skew").random() < 0.5
            code, text = (-1021, "is outside of the recvWindow") if late else (-5028, "has exceeded the recvWindow")
            return Fate(
                executes=False,
                answer=Canned(400, code, f"Timestamp for this request {text}."),
                faults=("clock-skew",),
            )
        return None

    def _arrived(self, at: Millis, method: str, path: str, params: Mapping[str, str], *, placing: bool) -> Fate:
        dice = self.dice
        faults: list[str] = []
        delay = back = lag = 0
        executes, answer = True, None

        def strikes(name: str) -> bool:
            if not dice.share(name, at):
                return False
            faults.append(name)
            return True

        if strikes("latency"):
            numbers = dice.of("latency")
            delay, back = numbers.randint(5, 400), numbers.randint(5, 400)
        if strikes("stall"):
            numbers = dice.of("stall")
            held = numbers.randint(5_000, 30_000)
            delay, back = (held, back) if numbers.random() < 0.5 else (delay, held)
        if method == "GET" and path in _LAGGING and strikes("read-lag"):
            lag = dice.of("read-lag").randint(100, 2_000)
        if strikes("unknown"):
            numbers = dice.of("unknown")
            executes = numbers.random() < 0.5
            answer = _unknown(numbers.randrange(3), at)
            dice.tell("executed" if executes else "not executed")
        lost, garbled = strikes("lost-after"), strikes("garbled")
        if not faults and not (placing or path in _POSITIONS):
            return UNTOUCHED
        return Fate(
            delay_ms=delay,
            executes=executes,
            lag_ms=lag,
            empty=method == "GET" and path in _POSITIONS and strikes("empty-positions"),
            rejects=placing and path == "v1/algoOrder" and self._rejects(params, strikes("late-reject")),
            lost=lost,
            answer=answer,
            garbled=garbled,
            back_ms=back,
            faults=tuple(faults),
        )

    def _rejects(self, params: Mapping[str, str], struck: bool) -> bool:
        if struck:
            self.dice.tell(params.get("clientAlgoId", ""))
        return struck

    # messages

    def on_user_event(self, at: Millis, event: dict[str, Any]) -> tuple[Delivery, ...]:
        """Return what arrives of a user event, and when."""
        dice = self.dice
        if dice.share("drop-events", at):
            dice.tell(str(event["e"]))
            return ()
        payload: Any = event
        if dice.share("malformed-event", at):
            payload = _encode(event)[:-7]
        delay = dice.of("reorder-events").randint(50, 2_000) if dice.share("reorder-events", at) else 0
        first = Delivery(payload, delay)
        if dice.share("duplicate-events", at):
            return first, Delivery(event, delay + dice.of("duplicate-events").randint(0, 3_000))
        return (first,)

    def on_frame(self, at: Millis, payload: dict[str, Any] | list[dict[str, Any]]) -> tuple[Delivery, ...]:
        """Return what arrives of a market payload: one event, or the array of all marks."""
        dice = self.dice
        if dice.share("malformed-frame", at):
            return (Delivery(_encode(payload)[:-3]),)
        found = [Delivery(payload)]
        for name, spoil in (("late-marks", _older), ("bad-marks", _bad)):
            if dice.share(name, at):
                rows = payload if isinstance(payload, list) else [payload]
                numbers = dice.of(name)
                row = rows[numbers.randrange(len(rows))] if rows else {}
                if row.get("e") == "markPriceUpdate":
                    spoilt = spoil(row, numbers.random())
                    found.append(Delivery([spoilt] if isinstance(payload, list) else spoilt))
        return tuple(found)

    # time

    def on_links(self, at: Millis) -> tuple[LinkFault, ...]:
        """Return what happens to the websockets now."""
        dice = self.dice
        found: list[LinkFault] = []
        if dice.due("disconnect", at):
            numbers = dice.of("disconnect")
            found.append(LinkFault(*numbers.choice(_BREAKS)))
        if dice.due("silence", at):
            numbers = dice.of("silence")
            found.append(
                LinkFault("silence", numbers.choice(("market", "private")), ms=numbers.randint(5_000, 120_000))
            )
        if dice.due("half-open", at):
            found.append(LinkFault("half-open", dice.of("half-open").choice(("market", "private"))))
        if dice.due("day-cut", at):
            found.append(LinkFault("close", "both"))
        if dice.due("key-expiry", at):
            found.append(LinkFault("expire-key", "private"))
        if dice.due("key-rotation", at):
            found.append(LinkFault("rotate-key", "private"))
        if dice.due("flood", at):
            found.append(LinkFault("flood", "market", frames=2_000))
        if self._lasts("maintenance", at):
            found.append(LinkFault("cut", "both"))
        return tuple(found)

    def in_maintenance(self, at: Millis) -> bool:
        """Return whether the exchange takes no connections."""
        return at < self._until.get("maintenance", 0)

    def on_step(self, step: MarketStep, venue: Venue) -> MarketStep:
        """Return the market step with the faults of prices in it; ask before `Venue.step`."""
        if self.dice.due("clock-jump", step.at):
            self.clock_offset_ms = self.dice.of("clock-jump").randint(-30_000, 30_000)
            self.dice.tell(f"{self.clock_offset_ms} ms")
        return self._prices.apply(step, venue.core.rules)

    def on_account(self, at: Millis, venue: Venue) -> tuple[Act, ...]:
        """Return what the exchange and the operator do now; ask after `Venue.step`, apply in this order."""
        found = []
        for name in _ACTS:
            if self.dice.due(name, at):
                act = act_of(name, venue, self.dice.of(name))
                if act is not None:
                    self.dice.tell(act.detail)
                    found.append(act)
        return tuple(found)


def _unknown(which: int, at: Millis) -> Canned:
    if which == 0:
        return Canned(503, 0, "Unknown error, please check your request or try again later.")
    if which == 1:
        return Canned(408, -1007, "Timeout waiting for response from backend server. Send status unknown.")
    code, text = _UNKNOWN[at % len(_UNKNOWN)]
    return Canned(503, code, text)


def _older(row: dict[str, Any], share: float) -> dict[str, Any]:
    return {**row, "E": row["E"] - 1_000 - int(share * 59_000)}


def _bad(row: dict[str, Any], share: float) -> dict[str, Any]:
    spoilt = ({"p": "0.00000000"}, {"p": f"-{row['p']}"}, {"p": "NaN"}, {"s": "NOSUCHUSDT"})
    return {**row, **spoilt[int(share * len(spoilt))]}
