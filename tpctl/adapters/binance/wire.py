"""One call to the exchange through python-binance: sent, timed, counted, and its failure made harmless.

Decides nothing about orders. The client is built without any network call (binance-usdm 1.5), its answers are decoded
here (bare numbers as decimals), and no exception of it, of aiohttp or of the socket layer ever leaves: they carry
request headers (I20). Overload is retried after 0.2, 0.4 and 0.8 s, a refused clock once, with the same parameters
(binance-usdm 2.3, reliability N4, T1): in both cases the request never reached a book.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, Protocol, TypeAlias

import aiohttp
import msgspec
from binance import AsyncClient
from binance.exceptions import BinanceAPIException, BinanceRequestException

from tpctl.adapters.binance.budget import Budget, Lane
from tpctl.adapters.binance.clock import StampClock
from tpctl.adapters.binance.endpoints import Endpoints
from tpctl.adapters.binance.errors import Failure, Kind, as_error, lost, refusal
from tpctl.adapters.binance_map.account import server_time
from tpctl.adapters.binance_map.fields import Malformed
from tpctl.adapters.secrets import Secret, redacted
from tpctl.exits.errors import CredentialsError, RateLimitedError, UnavailableError

Send: TypeAlias = Callable[[Any], Awaitable[Any]]

# reliability N5. The whole call has a bound too: an answer that trickles in is as good as lost.
_TIMEOUT = aiohttp.ClientTimeout(total=10, connect=3, sock_connect=3, sock_read=5)
_RECV_WINDOW, _LONGEST_RECV_WINDOW = 5_000, 60_000
_BACKOFF = (0.2, 0.4, 0.8)
_LISTEN_KEY_PATH = "/listenKey"
# The weight these answers state is wrong (binance-usdm 2.3).
_MISCOUNTED = ("/v2/ticker/price", "/ticker/bookTicker")


class AnswerError(Exception):
    """An answer that is no success; holds its failure only, never the response."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.kind.value)
        self.failure = failure


class Session(AsyncClient):  # type: ignore[misc]  # python-binance ships no types
    """python-binance's client, stamped by our clock, observed answer by answer, and read-only where asked."""

    def __init__(
        self,
        endpoints: Endpoints,
        keys: tuple[Secret | None, Secret | None],
        clock: StampClock,
        budget: Budget,
        *,
        read_only: bool,
    ) -> None:
        self._clock = clock
        self._budget = budget
        self._read_only = read_only
        self._keys = keys
        key, secret = keys
        super().__init__(
            key.reveal() if key else None,
            secret.reveal() if secret else None,
            # A followed redirect would carry the key to another host.
            requests_params={"timeout": _TIMEOUT, "allow_redirects": False},
        )
        self.FUTURES_URL = endpoints.rest
        self.FUTURES_DATA_URL = endpoints.data
        # Nothing here may reach the spot API or the websocket API by accident.
        self.API_URL = f"{endpoints.rest}/no-spot-api"
        self.MARGIN_API_URL = endpoints.rights or f"{endpoints.rest}/no-margin-api"
        self.ws_future._url = f"{endpoints.stream}/no-websocket-api"
        self.REQUEST_TIMEOUT = _TIMEOUT.total
        # A twin at speed takes its window in its own time, of which much passes on the way.
        self.REQUEST_RECVWINDOW = min(_LONGEST_RECV_WINDOW, int(_RECV_WINDOW * max(1.0, clock.speed)))

    @property
    def timestamp_offset(self) -> float:
        """What the client adds to the wall clock to sign: taken from our clock at that very moment."""
        # Half a millisecond makes up for the time between the two readings of the wall clock, which is then cut off.
        return self._clock.stamp() + 0.5 - time.time() * 1000

    @timestamp_offset.setter
    def timestamp_offset(self, value: float) -> None:
        """Ignore what the client's constructor sets."""

    async def _request(self, method: str, uri: str, signed: bool, force_params: bool = False, **kwargs: Any) -> Any:
        if self._read_only and method != "get" and not uri.endswith(_LISTEN_KEY_PATH):
            raise RuntimeError("a read-only account sends nothing")
        return await self.carry(method, uri, signed, force_params, **kwargs)

    async def carry(self, method: str, uri: str, signed: bool, force_params: bool, **kwargs: Any) -> Any:
        """Send one request and return its decoded answer; another way to reach an exchange replaces this."""
        return await super()._request(method, uri, signed, force_params, **kwargs)

    async def _handle_response(self, response: aiohttp.ClientResponse) -> Any:
        # Counted before the body is read: the client's own "last response" is anybody's under concurrency.
        self.count(response.url.path, response.status, response.headers)
        return self.judge(response.status, response.headers, await response.read())

    def count(self, path: str, status: int, headers: Mapping[str, str]) -> None:
        """Take what an answer says about the budget."""
        if status != 200 or not path.endswith(_MISCOUNTED):
            self._budget.observe(headers)

    def judge(self, status: int, headers: Mapping[str, str], body: bytes) -> Any:
        """Return the decoded answer; raises `AnswerError` for a refusal and for what cannot be read."""
        if 200 <= status < 300:
            return _decoded(body)
        code, text = _refused_body(body)
        text = redacted(text, self._keys)
        wait = self._budget.refused(status, headers, text, code)
        raise AnswerError(refusal(status, code, text, wait))


class Connect(Protocol):
    """Opens a session; `Session` itself is the way over the network."""

    def __call__(
        self,
        endpoints: Endpoints,
        keys: tuple[Secret | None, Secret | None],
        clock: StampClock,
        budget: Budget,
        *,
        read_only: bool,
    ) -> Session:
        """Return a session that is not connected yet."""
        ...


class Wire:
    """Calls to one exchange with one pair of keys. The session opens with the first call, inside the running loop."""

    def __init__(
        self,
        endpoints: Endpoints,
        clock: StampClock,
        budget: Budget,
        *,
        key: Secret | None = None,
        secret: Secret | None = None,
        read_only: bool = True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        connect: Connect | None = None,
    ) -> None:
        self.budget = budget
        self._connect: Connect = connect or Session
        self._endpoints = endpoints
        self._clock = clock
        self._keys = (key, secret)
        self._read_only = read_only
        self._sleep = sleep
        self._session: Session | None = None

    async def close(self) -> None:
        """Close the connections; a later call opens them again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close_connection()

    async def read(self, send: Send, what: str, *, weight: int, lane: Lane, signed: bool = True) -> Any:
        """Return the answer of a read; raises `UnavailableError`, `RateLimitedError`, `CredentialsError`."""
        outcome = await self.attempt(send, weight=weight, lane=lane, signed=signed)
        if isinstance(outcome, Failure):
            raise as_error(outcome, what)
        return outcome

    async def attempt(
        self, send: Send, *, weight: int, lane: Lane, orders: int = 0, signed: bool = True
    ) -> Any | Failure:
        """Return the answer or the failure of a call, retried only where it never reached a book.

        Raises `RateLimitedError` before sending where the budget has no room, `CredentialsError` where keys lack.
        """
        if signed and not all(self._keys):
            raise CredentialsError("this read needs a key and there is none", "give the profile an API key")
        # An order waits for nothing: a clock gone wrong is refused before any book, and measured then.
        if lane is not Lane.PROTECT and not orders and signed and self._clock.due():
            await self.synchronise()
        resynchronised = False
        delays = iter(_BACKOFF)
        while True:
            self.budget.admit(lane, weight, orders)
            outcome = await self._once(send)
            if not isinstance(outcome, Failure):
                return outcome
            if outcome.kind is Kind.CLOCK and not resynchronised:
                resynchronised = True
                if await self._measure():
                    continue
            if outcome.kind is Kind.OVERLOADED:
                delay = next(delays, None)
                if delay is not None:
                    await self._sleep(delay)
                    continue
            return outcome

    async def synchronise(self) -> int:
        """Measure the exchange's clock and return its time; raises as `read` does."""
        sent = self._clock.tick()
        payload = await self.read(
            lambda client: client.futures_time(), "the clock", weight=1, lane=Lane.ACCOUNT, signed=False
        )
        received = self._clock.tick()
        at: int = self.parsed("the clock", server_time, payload)
        self._clock.measured(at, sent, received)
        return at

    @staticmethod
    def parsed(what: str, parse: Callable[..., Any], *payload: Any) -> Any:
        """Return the parsed answer; raises `UnavailableError` where it is not shaped as documented."""
        try:
            return parse(*payload)
        except Malformed as error:
            reason = str(error)
        raise UnavailableError(f"{what}: the answer is malformed: {reason}", "the exchange may have changed its format")

    async def _measure(self) -> bool:
        """Measure the clock in the middle of a call; a failure leaves the first refusal standing."""
        try:
            self.budget.admit(Lane.PROTECT, 1)
        except RateLimitedError:
            return False
        sent = self._clock.tick()
        payload = await self._once(lambda client: client.futures_time())
        received = self._clock.tick()
        if isinstance(payload, Failure):
            return False
        try:
            self._clock.measured(server_time(payload), sent, received)
        except Malformed:
            return False
        return True

    async def _once(self, send: Send) -> Any | Failure:
        """Send once. Exceptions end here: only their kind goes on."""
        session = self._open()
        try:
            return await send(session)
        except AnswerError as error:
            return error.failure
        except BinanceAPIException as error:
            code = error.code if isinstance(error.code, int) else 0
            return refusal(error.status_code, code, redacted(str(error.message), self._keys))
        except BinanceRequestException:
            return lost("the answer cannot be read")
        except TimeoutError:
            return lost("no answer in time")
        except (aiohttp.ClientError, OSError) as error:
            return lost(f"the connection failed ({type(error).__name__})")

    def _open(self) -> Session:
        if self._session is None:
            self._session = self._connect(
                self._endpoints, self._keys, self._clock, self.budget, read_only=self._read_only
            )
        return self._session


_DECODER = msgspec.json.Decoder(float_hook=Decimal)


def _decoded(body: bytes) -> Any:
    try:
        return _DECODER.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        pass
    raise AnswerError(lost("the answer cannot be read"))


def _refused_body(body: bytes) -> tuple[int, str]:
    """Return the code and text of an error body; 0 where it holds none, as the pages of a proxy do."""
    try:
        decoded = _DECODER.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        return 0, body[:200].decode("utf-8", errors="replace")
    code, text = decoded.get("code"), decoded.get("msg")
    return (code if isinstance(code, int) and not isinstance(code, bool) else 0), str(text or "")
