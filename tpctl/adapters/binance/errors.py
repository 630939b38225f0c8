"""What a failed call means: one classification for reads and for orders (binance-usdm 1.7, 3.3; reliability 3, 4).

Invariant I10: an order's answer is a refusal only where the exchange documents that the request never reached a book;
everything else is unknown. Invariant I20: nothing of a library's exception survives, neither its text nor itself: they
carry request headers.
"""

from dataclasses import dataclass
from enum import StrEnum

from tpctl.exits.errors import (
    CredentialsError,
    RateLimitedError,
    TpctlError,
    UnavailableError,
)
from tpctl.exits.events import Refused, Unknown

DUPLICATE_ID = -4116
NO_SUCH_ORDER = -2013
UNKNOWN_LISTEN_KEY = -1125
TOO_MANY_REQUESTS = -1003
TOO_MANY_ORDERS = -1015

_CREDENTIALS = frozenset({-2014, -2015, -1022})
_CLOCK = frozenset({-1021, -5028})
_OVERLOADED = -1008
_UNKNOWN_OUTCOME = frozenset({-1000, -1001, -1006, -1007})
_UNAVAILABLE_TEXT = "service unavailable"


class Kind(StrEnum):
    """What became of a call that brought no answer to use."""

    REFUSED = "refused"
    LOST = "lost"
    OVERLOADED = "overloaded"
    CLOCK = "clock"
    LIMITED = "limited"
    BANNED = "banned"
    CREDENTIALS = "credentials"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call: what kind, the exchange's code (or the HTTP status where it gave none) and its text, redacted."""

    kind: Kind
    code: int
    text: str
    retry_after_ms: int | None = None


def lost(what: str) -> Failure:
    """Return the failure of a call whose answer never came or cannot be read."""
    return Failure(Kind.LOST, 0, what)


def refusal(status: int, code: int, text: str, retry_after_ms: int | None = None) -> Failure:
    """Classify an answer that is no success. `code` is 0 where the body held no code; `text` must be redacted."""
    shown = code or status
    return Failure(_kind(status, code, text), shown, text or f"HTTP {status}", retry_after_ms)


def _kind(status: int, code: int, text: str) -> Kind:  # noqa: PLR0911 - one line a row of the table it states
    if status == 418:
        return Kind.BANNED
    if status == 429 or code == TOO_MANY_REQUESTS:
        return Kind.LIMITED
    if code in _UNKNOWN_OUTCOME:
        return Kind.LOST
    if code == _OVERLOADED or (status == 503 and not code and text.lower().startswith(_UNAVAILABLE_TEXT)):
        return Kind.OVERLOADED
    if code in _CREDENTIALS:
        return Kind.CREDENTIALS
    if code in _CLOCK:
        return Kind.CLOCK
    # Without a code of the exchange nobody vouches that the request stopped short of a book: a proxy may have answered.
    if status >= 500 or status == 408 or not code:
        return Kind.LOST
    return Kind.REFUSED


def as_error(failure: Failure, what: str) -> TpctlError:
    """Return the error of a failed read; `what` names it. A failed read is unknown, never empty."""
    match failure.kind:
        case Kind.CREDENTIALS:
            return credentials_error(failure)
        case Kind.LIMITED | Kind.BANNED:
            wait = failure.retry_after_ms
            hint = "wait" if wait is None else f"try again in {-(-wait // 1000)} s"
            return RateLimitedError(f"{what}: {failure.text}", hint, retry_after_ms=wait)
        case Kind.REFUSED:
            return UnavailableError(
                f"{what}: the exchange refused: {failure.text} ({failure.code})",
                "look the code up in its manual",
            )
        case Kind.CLOCK:
            return UnavailableError(
                f"{what}: the exchange does not accept our clock: {failure.text}", "synchronise the clock, try again"
            )
        case _:
            return UnavailableError(f"{what}: {failure.text}", "check the network and the exchange's status")


def credentials_error(failure: Failure) -> CredentialsError:
    """Return the error of a refused key."""
    return CredentialsError(
        f"the exchange refused the key: {failure.text} ({failure.code})",
        "check the key, its address restriction and its permission for futures",
    )


def as_answer(failure: Failure) -> Refused | Unknown:
    """Return the outcome of a failed order call; raises `CredentialsError` for a refused key.

    A duplicate id means that an earlier attempt arrived: that order must be looked up, it is neither made nor refused.
    """
    if failure.kind is Kind.CREDENTIALS:
        raise credentials_error(failure)
    if failure.code == DUPLICATE_ID:
        return Unknown("already there")
    if failure.kind is Kind.LOST:
        return Unknown(failure.text)
    return Refused(failure.code, failure.text)
