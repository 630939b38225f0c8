"""What may be asked of a guarded position, by an operator, another process or a policy: only to tighten or to reduce.

Records only. What the reducer makes of a request is `on_request`'s; every request gets one answer, with its reason.
Nothing here can open, grow or flip a position, or loosen a stop (I3, I4): there is no request that says so.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from tpctl.exits.model import Note, NoteKind
from tpctl.exits.units import ONE, Price, Ratio, trimmed


@dataclass(frozen=True, slots=True)
class StopToBreakeven:
    """Move the stop to the plan's breakeven."""

    def __str__(self) -> str:
        return "stop to breakeven"


@dataclass(frozen=True, slots=True)
class TightenStop:
    """Move the stop to a price, put on the tick toward the market. Raises `ValueError` for one not above zero."""

    price: Price

    def __post_init__(self) -> None:
        if not self.price.is_finite() or self.price <= 0:
            raise ValueError(f"stop price '{self.price}' is not above zero")

    def __str__(self) -> str:
        return f"stop to {trimmed(self.price)}"


@dataclass(frozen=True, slots=True)
class TrailNow:
    """Trail from now on, whatever the activation: by `callback`, or by the one in force where it is None.

    Raises `ValueError` for a callback not between 0 and 100 %.
    """

    callback: Ratio | None = None

    def __post_init__(self) -> None:
        if self.callback is not None and not 0 < self.callback.fraction < ONE:
            raise ValueError(f"callback '{self.callback}' is not between 0 and 100%")

    def __str__(self) -> str:
        return "trail now" if self.callback is None else f"trail now by {self.callback}"


@dataclass(frozen=True, slots=True)
class Rearm:
    """Tighten the callback where the trail's own schedule says that it is due, and say why not where it is not."""

    def __str__(self) -> str:
        return "re-arm the trail"


@dataclass(frozen=True, slots=True)
class Reduce:
    """Close a part of the position at market. Raises `ValueError` for a share not above zero and at most one."""

    share: Ratio

    def __post_init__(self) -> None:
        if not 0 < self.share.fraction <= ONE:
            raise ValueError(f"share '{self.share}' is not above 0 and at most 100%")

    def __str__(self) -> str:
        return f"reduce by {self.share}"


@dataclass(frozen=True, slots=True)
class CloseAll:
    """Close the whole position at market."""

    def __str__(self) -> str:
        return "close"


Request: TypeAlias = StopToBreakeven | TightenStop | TrailNow | Rearm | Reduce | CloseAll


class Outcome(StrEnum):
    """What became of a request.

    DONE was decided and its orders are on their way; UNCHANGED found nothing to do; REFUSED says why not; WITHHELD was
    decided by a watch that sends nothing (shadow); EXPIRED was found too late; WITHDRAWN was taken back by its sender.
    """

    DONE = "done"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    WITHHELD = "withheld"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class RequestAnswer:
    """The answer to one request: `text` is a sentence for people, with the levels or quantities it is about."""

    outcome: Outcome
    text: str


def answer_in(note: Note) -> tuple[str, RequestAnswer] | None:
    """Return the id of the request a note answers, and the answer; None for any other note."""
    name, outcome = note.data.get("request_id"), note.data.get("outcome")
    if note.kind is not NoteKind.ANSWERED or not isinstance(name, str) or not isinstance(outcome, str):
        return None
    return name, RequestAnswer(Outcome(outcome), note.reason)
