"""Which learned policy is in use: a small file that is replaced whole, with everything that led there.

Decides the format `tpctl.promoted/1`: events in order, promotions, rollbacks and suspensions. What is in use follows
from them, so that a rollback is one more event and needs nothing but this file. It is written atomically under the
registry's lock: every reader at every instant sees the old choice or the new one. Needs neither numpy nor msgspec, for
`plan` and `watch` read it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Any

from tpctl.adapters.files import read_file, write_atomic
from tpctl.exits.errors import StateFileError
from tpctl.exits.units import Millis, trimmed

SCHEMA = "tpctl.promoted/1"
# How much of a hash names a policy to people.
SHOWN = 12
_HASH = re.compile(r"[0-9a-f]{64}")


class Stage(StrEnum):
    """How far a policy is trusted: told but not used, used for a share of the positions, used for all."""

    SHADOW = "shadow"
    CANARY = "canary"
    PROMOTED = "promoted"


class Act(StrEnum):
    """What happened to the choice."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"
    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class Choice:
    """A policy by its hash, its stage, and the share of positions it is used for (1 but for a canary)."""

    hash: str
    stage: Stage
    share: Decimal
    at: Millis


@dataclass(frozen=True, slots=True)
class Event:
    """One change. `choice` is what a promotion chose; `why` is for the reader."""

    act: Act
    at: Millis
    why: str
    choice: Choice | None = None


@dataclass(frozen=True, slots=True)
class Pointer:
    """All changes in order; `choice` is what they come to, None where no policy is in use."""

    events: tuple[Event, ...] = ()

    @property
    def choice(self) -> Choice | None:
        """The policy that was chosen last and not rolled back; a suspended one is none."""
        stack = self._stack()
        return stack[-1] if stack and self.suspended is None else None

    @property
    def suspended(self) -> Event | None:
        """The suspension that holds; a promotion or a rollback ends it."""
        last = self.events[-1] if self.events else None
        return last if last is not None and last.act is Act.SUSPEND else None

    @property
    def before(self) -> Choice | None:
        """What a rollback would return to; None for the ladder."""
        stack = self._stack()
        return stack[-2] if len(stack) > 1 else None

    @property
    def chosen(self) -> Choice | None:
        """The policy on top, in use or suspended."""
        stack = self._stack()
        return stack[-1] if stack else None

    @property
    def in_use(self) -> str:
        """Which policy is used, in the words every command says it with."""
        choice, gone = self.choice, self._rolled_back()
        if choice is None:
            return f"{self.why_none}; the ladder decides"
        share = "" if choice.share == 1 else f", {trimmed(choice.share * 100)}% of the positions"
        told = ", told and not used" if choice.stage is Stage.SHADOW else ""
        after = f"; {gone}" if gone else ""
        return f"policy {choice.hash[:SHOWN]} ({choice.stage}{share}{told}){after}"

    @property
    def why_none(self) -> str:
        """Why no policy is used, as a clause."""
        chosen, gone = self.chosen, self._rolled_back()
        if self.suspended is not None and chosen is not None:
            return f"no policy is used: {chosen.hash[:SHOWN]} {_past(self.suspended, 'suspended')}"
        return f"no policy is promoted: {gone}" if gone else "no policy is promoted"

    def promoted(self, choice: Choice, why: str) -> "Pointer":
        """Return the pointer after a promotion."""
        return Pointer((*self.events, Event(Act.PROMOTE, choice.at, why, choice)))

    def rolled_back(self, at: Millis, why: str) -> "Pointer":
        """Return the pointer after a rollback; raises `StateFileError` where nothing is promoted."""
        if not self._stack():
            raise StateFileError("there is nothing to roll back: no policy is promoted", "see: tpctl retrain --list")
        return Pointer((*self.events, Event(Act.ROLLBACK, at, why)))

    def suspend(self, at: Millis, why: str) -> "Pointer":
        """Return the pointer after drift took the policy out of use; one that is not in use stays as it is."""
        return self if self.choice is None else Pointer((*self.events, Event(Act.SUSPEND, at, why)))

    def _rolled_back(self) -> str:
        """Return what the last change rolled back; nothing where it was another change."""
        before = Pointer(self.events[:-1]).chosen
        last = self.events[-1] if self.events else None
        if last is None or last.act is not Act.ROLLBACK or before is None:
            return ""
        return f"{before.hash[:SHOWN]} {_past(last, 'rolled back')}"

    def _stack(self) -> list[Choice]:
        stack: list[Choice] = []
        for event in self.events:
            if event.act is Act.PROMOTE and event.choice is not None:
                stack.append(event.choice)
            elif event.act is Act.ROLLBACK and stack:
                stack.pop()
        return stack


def _past(event: Event, what: str) -> str:
    day = datetime.fromtimestamp(event.at / 1000, UTC).strftime("%Y-%m-%d")
    return f"was {what} on {day}" + (f" ({event.why})" if event.why else "")


def read_pointer(path: Path) -> Pointer:
    """Return what stands in the file, nothing where there is none; raises `StateFileError` for a damaged one."""
    data = read_file(path)
    if data is None:
        return Pointer()
    try:
        return _decode(json.loads(data))
    except (ValueError, KeyError, TypeError, InvalidOperation, RecursionError):
        raise StateFileError(
            f"{str(path)!r} is damaged: it does not say which policy is promoted",
            "move it aside: no policy is used then, and 'tpctl retrain --promote' writes it anew",
        ) from None


def write_pointer(path: Path, pointer: Pointer) -> None:
    """Replace the file; the caller holds the registry's lock."""
    content = {"schema": SCHEMA, "events": [_plain(event) for event in pointer.events]}
    write_atomic(path, (json.dumps(content, indent=1) + "\n").encode())


def _plain(event: Event) -> dict[str, Any]:
    plain = asdict(event)
    if event.choice is not None:
        plain["choice"]["share"] = format(event.choice.share, "f")
    return plain


def _decode(found: Mapping[str, Any]) -> Pointer:
    if found["schema"] != SCHEMA:
        raise StateFileError(
            f"the promotion file has schema {str(found['schema'])[:40]!r}, this tpctl reads {SCHEMA!r}",
            "use the tpctl version that wrote it, or a newer one",
        )
    rows: Sequence[Mapping[str, Any]] = found["events"]
    return Pointer(tuple(_event(row) for row in rows))


def _event(row: Mapping[str, Any]) -> Event:
    act, choice = Act(row["act"]), row["choice"]
    if (act is Act.PROMOTE) != (choice is not None):
        raise ValueError("a promotion names a choice, nothing else does")
    return Event(act, int(row["at"]), str(row["why"]), None if choice is None else _choice(choice))


def _choice(row: Mapping[str, Any]) -> Choice:
    share = Decimal(str(row["share"]))
    if not 0 < share <= 1 or _HASH.fullmatch(str(row["hash"])) is None:
        raise ValueError("not a choice")
    return Choice(str(row["hash"]), Stage(row["stage"]), share, int(row["at"]))
