"""The exchange's front door in this process: requests with their journeys, limits and faults, and streams.

Decides when a request arrives, whether it is heard, and what comes back when; the venue decides what it means. The
client's own code runs unchanged down to the point where it would open a socket (`LoopSession`).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol, TypeAlias

import msgspec

from tpctl.adapters.binance.budget import Budget
from tpctl.adapters.binance.clock import StampClock
from tpctl.adapters.binance.endpoints import Endpoints
from tpctl.adapters.binance.wire import Session
from tpctl.adapters.secrets import Secret
from tpctl.exits.units import Millis
from tpctl.rehearsal.links import Links
from tpctl.venue.faults import Delivery, Fate, FaultPlan, LinkFault, Reply, perform
from tpctl.venue.faults.perform import canned
from tpctl.venue.limits import Gate, Limits, ListenKeys, ThrottledError
from tpctl.venue.refusals import VenueError
from tpctl.venue.routes import ROUTES
from tpctl.venue.venue import Venue

_encode = msgspec.json.Encoder().encode

# One way, in seconds: a client near the exchange.
_JOURNEY_S = (0.002, 0.04)
# The client's patience (adapters.binance.wire), and the window a signed request states.
_READ_TIMEOUT_S = 5.0
_RECV_WINDOW_MS = 5_000
_EARLY_MS = 1_000
_OWN = frozenset({"v1/ping", "v1/time", "v1/klines", "v1/ticker/24hr", "v1/listenKey"})


class Sender(Protocol):
    """Who sends: the process that may have died meanwhile."""

    dead: bool


class Observer(Protocol):
    """Who looks on: told of every request as it is sent and when it was handled."""

    def sending(self, method: str, path: str, params: Mapping[str, str]) -> None:
        """Learn that a request leaves the process."""
        ...

    def handled(self, method: str, path: str, params: Mapping[str, str], status: int) -> None:
        """Learn that the exchange has handled a request, or would not."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `stamp` is the time it is signed with, None where it is not."""

    method: str
    path: str
    params: Mapping[str, str]
    stamp: Millis | None


_Answer: TypeAlias = "asyncio.Future[tuple[int, dict[str, str], bytes]]"


class Gateway:
    """One exchange and everybody's way to it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, venue: Venue, plan: FaultPlan, rng: Random) -> None:
        self._loop = loop
        self._start: Millis = venue.now
        self.venue = venue
        self.plan = plan
        self.gate = Gate(Limits())
        self.keys = ListenKeys(Limits().listen_key_ms)
        self._rng = rng
        refuses: Callable[[], str | None] = lambda: "HTTP 502" if plan.in_maintenance(self.now) else None  # noqa: E731
        self.links = Links(loop, rng, self.keys, refuses)
        self.observer: Observer | None = None
        self.requests = 0

    @property
    def now(self) -> Millis:
        """The exchange's time."""
        return self._start + round(self._loop.time() * 1000)

    async def request(self, sender: Sender, request: Request) -> tuple[int, dict[str, str], bytes]:
        """Carry a request there and its answer back; raises `TimeoutError` and `OSError` as a connection does."""
        if sender.dead:
            raise asyncio.CancelledError
        self.requests += 1
        if self.observer is not None:
            self.observer.sending(request.method, request.path, request.params)
        if sender.dead:
            raise asyncio.CancelledError
        fate = self.plan.on_request(self.now, request.method, request.path, request.params)
        answer: _Answer = self._loop.create_future()
        there = self._rng.uniform(*_JOURNEY_S) + fate.delay_ms / 1000
        # Once on its way it arrives, whatever becomes of the process.
        patience = self._loop.time() + _READ_TIMEOUT_S
        self._loop.call_later(there, self._arrive, answer, fate, request, patience)
        if there >= _READ_TIMEOUT_S:
            self._loop.call_at(patience, _give_up, answer)
        try:
            return await answer
        finally:
            if sender.dead:
                raise asyncio.CancelledError

    def _arrive(self, answer: _Answer, fate: Fate, request: Request, patience: float) -> None:
        now = self.venue.core.now = max(self.now, self.venue.core.now)
        reply = self._reply(fate, request, now)
        self.flush()
        if self.observer is not None:
            status = 0 if reply is None else reply.status
            self.observer.handled(request.method, request.path, request.params, status)
        route = ROUTES.get((request.method, request.path))
        headers = self.gate.headers(now, order=route is not None and route.order_count > 0)
        back = self._rng.uniform(*_JOURNEY_S)
        if reply is None:
            # Half of the broken connections say so, the others say nothing.
            if self._rng.random() < 0.5:
                self._loop.call_later(back, _fail, answer)
            else:
                self._loop.call_at(patience, _give_up, answer)
            return
        if reply.retry_after_s is not None:
            headers["Retry-After"] = str(reply.retry_after_s)
        body = reply.body if isinstance(reply.body, bytes) else _encode(reply.body)
        back += reply.back_ms / 1000
        if self._loop.time() + back >= patience:
            self._loop.call_at(patience, _give_up, answer)
        else:
            self._loop.call_later(back, _settle, answer, (reply.status, headers, body))

    def _reply(self, fate: Fate, request: Request, now: Millis) -> Reply | None:
        refused = self._refused(request, now) if fate.executes else None
        if refused is not None:
            return None if fate.lost else refused
        if request.path in _OWN:
            return self._own_reply(fate, request, now)
        if (request.method, request.path) not in ROUTES:
            return Reply(404, {"code": -5000, "msg": f"Path /fapi/{request.path} is invalid"})
        return perform(self.venue, fate, request.method, request.path, dict(request.params))

    def _refused(self, request: Request, now: Millis) -> Reply | None:
        """Apply limits and the time window."""
        route, stamp = ROUTES.get((request.method, request.path)), request.stamp
        try:
            self.gate.charge(1 if route is None else route.weight_of(dict(request.params)), now)
            if route is not None and route.order_count:
                self.gate.count_orders(route.order_count, now)
        except VenueError as error:
            wait = error.retry_after_s if isinstance(error, ThrottledError) else None
            return Reply(error.http_status, error.body, wait)
        if stamp is not None and not stamp - _EARLY_MS <= now <= stamp + _RECV_WINDOW_MS:
            return Reply(400, {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."})
        return None

    def _own_reply(self, fate: Fate, request: Request, now: Millis) -> Reply | None:
        if fate.lost:
            return None
        if fate.answer is not None:
            return canned(fate.answer, fate.back_ms)
        try:
            return Reply(200, self._own(request.method, request.path, request.params, now), back_ms=fate.back_ms)
        except VenueError as error:
            return Reply(error.http_status, error.body)

    def _own(self, method: str, path: str, params: Mapping[str, str], now: Millis) -> Any:
        match path:
            case "v1/ping":
                return {}
            case "v1/time":
                return {"serverTime": now}
            case "v1/klines":
                return []
            case "v1/ticker/24hr":
                return {"symbol": params.get("symbol", ""), "quoteVolume": "250000000.00"}
            case _:
                if method == "PUT":
                    return {"listenKey": self.keys.extend(params.get("listenKey") or None, now)}
                return {"listenKey": self.keys.open(now)}

    def flush(self) -> None:
        """Send the user events that are waiting."""
        for event in self.venue.user_events():
            connections = self.links.private(self.now)
            for delivery in self.plan.on_user_event(self.now, event):
                _deliver(connections, delivery)

    def publish(self, frame: list[dict[str, Any]]) -> None:
        """Send the marks of a step."""
        connections = self.links.market()
        for delivery in self.plan.on_frame(self.now, frame):
            _deliver(connections, delivery)

    def strike(self, fault: LinkFault) -> None:
        """Let a fault happen to the websockets."""
        match fault.kind:
            case "cut":
                self.links.break_all(fault.link, "the connection broke")
            case "close":
                self.links.break_all(fault.link, "the exchange closed the connection (1001)")
            case "silence":
                self.links.silence(fault.link, fault.ms)
            case "half-open":
                self.links.half_open(fault.link)
            case "expire-key":
                self._expire(tell=True)
            case "rotate-key":
                self._expire(tell=False)
            case "flood":
                for connection in self.links.market():
                    for _ in range(fault.frames):
                        connection.send_frame(b'{"stream":"!markPrice@arr@1s","data":[]}')

    def _expire(self, *, tell: bool) -> None:
        if tell:
            for connection in self.links.private(self.now):
                notice = {"e": "listenKeyExpired", "E": self.now, "listenKey": connection.key}
                connection.send_frame(_encode(notice))
        self.keys.close()

    def age(self) -> None:
        """Let the listen key run out where nobody extended it."""
        expired = self.keys.expire(self.now)
        if expired is not None:
            for connection in self.links.each("private"):
                connection.send_frame(_encode({"e": "listenKeyExpired", "E": self.now, "listenKey": expired}))


def _deliver(connections: Iterable[Any], delivery: Delivery) -> None:
    raw = delivery.payload if isinstance(delivery.payload, bytes) else _encode(delivery.payload)
    for connection in connections:
        connection.send_frame(raw, delivery.delay_ms)


def _settle(answer: "asyncio.Future[Any]", value: object) -> None:
    if not answer.done():
        answer.set_result(value)


def _give_up(answer: "asyncio.Future[Any]") -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


def _fail(answer: "asyncio.Future[Any]") -> None:
    if not answer.done():
        answer.set_exception(ConnectionResetError("the connection broke"))


class LoopSession(Session):
    """python-binance's client, with the gateway where its sockets would be."""

    def __init__(  # noqa: PLR0917 - two of its own, then those of a session
        self,
        gateway: Gateway,
        sender: Sender,
        endpoints: Endpoints,
        keys: tuple[Secret | None, Secret | None],
        clock: StampClock,
        budget: Budget,
        *,
        read_only: bool,
    ) -> None:
        self._gateway = gateway
        self._sender = sender
        self._base = f"{endpoints.rest}/"
        super().__init__(endpoints, keys, clock, budget, read_only=read_only)

    def _init_session(self) -> None:
        """Open nothing."""

    async def carry(self, method: str, uri: str, signed: bool, force_params: bool, **kwargs: Any) -> Any:  # noqa: ARG002
        """Send one request through the gateway."""
        params = {name: _text(value) for name, value in (kwargs.get("data") or kwargs.get("params") or {}).items()}
        path = uri.removeprefix(self._base)
        request = Request(method.upper(), path, params, self._clock.stamp() if signed else None)
        status, headers, body = await self._gateway.request(self._sender, request)
        self.count(path, status, headers)
        return self.judge(status, headers, body)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
