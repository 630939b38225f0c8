"""The learned policy in use: its weights, how far it is trusted, or the reason why there is none.

Decides what becomes of a choice that cannot be used: the ladder, with a sentence that says so. A damaged promotion file
or a policy file that is refused is such a reason and never an error, because protection may not wait for it. Needs
neither numpy nor msgspec, for `plan` and `watch` read it.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tpctl.adapters.files import check_private_file, read_file
from tpctl.adapters.policy_pointer import Act, Choice, Event, Pointer, Stage, read_pointer
from tpctl.exits.errors import StateFileError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import Millis, trimmed
from tpctl.market.policy.codec import decode_policy, policy_hash
from tpctl.market.policy.model import LearnedPolicy

# How much of a hash names a policy to people.
SHOWN = 12
FOLDER, POINTER = "policies", "promoted.json"


@dataclass(frozen=True, slots=True)
class PolicyUse:
    """A policy that is in use, and how. It was trained on `symbols`; `after` tells what was rolled back to it."""

    choice: Choice
    policy: LearnedPolicy
    symbols: frozenset[str]
    after: str = ""

    @property
    def name(self) -> str:
        """The beginning of its hash."""
        return self.choice.hash[:SHOWN]

    def __str__(self) -> str:
        how = {
            Stage.SHADOW: "shadow: what it would do is told, not done",
            Stage.CANARY: f"canary on {trimmed(100 * self.choice.share)}% of positions",
            Stage.PROMOTED: "promoted",
        }[self.choice.stage]
        after = f"; {self.after}" if self.after else ""
        return f"learned policy {self.name}, {how}, since {_day(self.choice.at)}{after}"


def policy_in_use(state_dir: Path) -> PolicyUse | Unavailable:
    """Return the policy in use, or why there is none: the reason is a clause such as "no policy is promoted"."""
    folder = state_dir / FOLDER
    try:
        pointer = read_pointer(folder / POINTER)
    except StateFileError as error:
        return Unavailable(f"{error.message}; the ladder is used")
    choice = pointer.choice
    if choice is None:
        return Unavailable(_why_none(pointer))
    try:
        policy = read_policy(folder, choice.hash)
        return PolicyUse(choice, policy, _trained_on(folder, choice.hash), _rolled_back(pointer))
    except StateFileError as error:
        return Unavailable(f"{error.message}; the ladder is used")


class PolicyFile:
    """The policy in use, read again when its promotion file was replaced: a look costs one `stat`."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._seen: tuple[int, int, int] | None = None
        self._use: PolicyUse | Unavailable | None = None

    def current(self) -> PolicyUse | Unavailable:
        """Return the policy in use now."""
        seen = self._look()
        if self._use is None or seen != self._seen:
            self._seen, self._use = seen, policy_in_use(self._state_dir)
        return self._use

    def _look(self) -> tuple[int, int, int] | None:
        try:
            info = (self._state_dir / FOLDER / POINTER).stat()
        except OSError:
            return None
        return info.st_ino, info.st_size, info.st_mtime_ns


def read_policy(folder: Path, name: str) -> LearnedPolicy:
    """Return the policy of a whole hash; raises `StateFileError` for a missing, foreign or damaged file."""
    path = folder / f"{name}.json"
    check_private_file(path)
    data = read_file(path)
    if data is None:
        raise StateFileError(f"policy {name[:SHOWN]!r} is not in the registry", "see: tpctl retrain --list")
    policy = decode_policy(data, path.name)
    if policy_hash(policy) != name:
        raise StateFileError(
            f"policy file {path.name!r} is refused: it holds another policy", "train again, or roll back"
        )
    return policy


def _trained_on(folder: Path, name: str) -> frozenset[str]:
    """Return the symbols of a policy's record: on others it was never judged."""
    path = folder / f"{name}.record.json"
    check_private_file(path)
    try:
        symbols = json.loads(read_file(path) or b"")["symbols"]
    except (ValueError, KeyError, TypeError, RecursionError):
        symbols = None
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise StateFileError(f"{str(path)!r} does not say what the policy was trained on", "roll back, or train again")
    return frozenset(symbols)


def _why_none(pointer: Pointer) -> str:
    chosen = pointer.chosen
    if pointer.suspended is not None and chosen is not None:
        return f"policy {chosen.hash[:SHOWN]} {_past(pointer.suspended, 'suspended')}"
    gone = _rolled_back(pointer)
    return f"no policy is promoted: {gone}" if gone else "no policy is promoted"


def _rolled_back(pointer: Pointer) -> str:
    """Return what the last change rolled back; nothing where it was another change."""
    before = Pointer(pointer.events[:-1]).chosen
    last = pointer.events[-1] if pointer.events else None
    if last is None or last.act is not Act.ROLLBACK or before is None:
        return ""
    return f"{before.hash[:SHOWN]} {_past(last, 'rolled back')}"


def _past(event: Event, what: str) -> str:
    why = f" ({event.why})" if event.why else ""
    return f"was {what} on {_day(event.at)}{why}"


def _day(at: Millis) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d")
