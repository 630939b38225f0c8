"""What faults decide, as records: the fate of a request, the delivery of a message, what happens to a connection.

Plain values; the parts that carry them out are `perform` for a caller in the same process, and the server.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from tpctl.exits.units import Millis

LinkKind: TypeAlias = Literal["cut", "close", "silence", "half-open", "expire-key", "rotate-key", "flood"]
Link: TypeAlias = Literal["market", "private", "both"]


@dataclass(frozen=True, slots=True)
class Canned:
    """An answer that did not come from the matching core: HTTP status, code (0: no JSON at all), text, Retry-After."""

    status: int
    code: int
    msg: str
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one request.

    It is `delay_ms` on its way there. Where `executes` the exchange handles it, showing books as they were `lag_ms`
    ago, and positions as none where `empty`; where `rejects`, an algo order it accepted is rejected right after. Then
    comes back nothing (`lost`), `answer` in place of the exchange's own, a text that breaks off (`garbled`), or the
    answer, after `back_ms`. `faults` names what struck.
    """

    delay_ms: Millis = 0
    executes: bool = True
    lag_ms: Millis = 0
    empty: bool = False
    rejects: bool = False
    lost: bool = False
    answer: Canned | None = None
    garbled: bool = False
    back_ms: Millis = 0
    faults: tuple[str, ...] = ()


UNTOUCHED = Fate()


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that arrives `delay_ms` after it was sent; bytes are a frame that is no JSON."""

    payload: Any
    delay_ms: Millis = 0


@dataclass(frozen=True, slots=True)
class LinkFault:
    """What happens to websockets now. `ms` is how long it lasts, `frames` how many are sent at once."""

    kind: LinkKind
    link: Link
    ms: Millis = 0
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Struck:
    """One fault that struck: when, which, the how many-th of its kind in this story (from 0), and whom."""

    at: Millis
    name: str
    number: int
    detail: str = ""
