"""The learned policy in use: its weights, how far it is trusted, or the reason why there is none.

Decides what becomes of a choice that cannot be used: the ladder, with a sentence that says so. A damaged promotion file
or a policy file that is refused is such a reason and never an error, because protection may not wait for it. Needs
neither numpy nor msgspec, for `plan` and `watch` read it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tpctl.adapters.files import check_private_file, read_file
from tpctl.adapters.policy_pointer import SHOWN, Choice, read_pointer
from tpctl.exits.errors import StateFileError
from tpctl.exits.instrument import Unavailable
from tpctl.market.policy.codec import decode_policy, policy_hash
from tpctl.market.policy.drift import Expected
from tpctl.market.policy.hits import HIT_FEATURES, HitOdds
from tpctl.market.policy.model import Action, LearnedPolicy

FOLDER, POINTER = "policies", "promoted.json"


@dataclass(frozen=True, slots=True)
class PolicyUse:
    """A policy that is in use. It was trained on `symbols`; `expected` is what drift is measured against.

    `words` say which policy it is and how far it is trusted, as every command does.
    """

    choice: Choice
    policy: LearnedPolicy
    symbols: frozenset[str]
    expected: Expected
    words: str

    @property
    def name(self) -> str:
        """The beginning of its hash."""
        return self.choice.hash[:SHOWN]


def policy_in_use(state_dir: Path) -> PolicyUse | Unavailable:
    """Return the policy in use, or why there is none: the reason is a clause such as "no policy is promoted"."""
    folder = state_dir / FOLDER
    try:
        pointer = read_pointer(folder / POINTER)
        choice = pointer.choice
        if choice is None:
            return Unavailable(pointer.why_none)
        policy = read_policy(folder, choice.hash)
        symbols, expected = _trained(folder, choice.hash)
    except StateFileError as error:
        return Unavailable(f"no policy is used: {error.message}")
    return PolicyUse(choice, policy, symbols, expected, pointer.in_use)


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


def _trained(folder: Path, name: str) -> tuple[frozenset[str], Expected]:
    """Return the symbols of a policy's record, and what it promised: on others it was never judged."""
    path = folder / f"{name}.record.json"
    check_private_file(path)
    try:
        found = json.loads(read_file(path) or b"")
        gate = found["gate"] or {}
        gain = gate.get("gain")
        # What it came to out of sample, where that was measured.
        mean = found["mean_r"] if gain is None else found["incumbent_r"] + gain
        features = {str(row["name"]): tuple(map(float, row["edges"])) for row in found["features"]}
        expected = Expected(
            float(mean),
            float(found["slippage"]),
            features,
            actions=_shares(found.get("actions") or ()),
            hits=_odds(found.get("hits")),
            leverage=_range(found.get("leverage")),
        )
        return frozenset(map(str, found["symbols"])), expected
    except (ValueError, ArithmeticError, KeyError, TypeError, AttributeError, RecursionError):
        raise StateFileError(
            f"{str(path)!r} does not say what the policy was trained on", "roll back, or train again"
        ) from None


def _shares(found: Sequence[Any]) -> tuple[float, ...]:
    shares = tuple(map(float, found))
    if shares and (len(shares) != len(Action) or min(shares) <= 0.0):
        raise ValueError("shares of actions")
    return shares


def _odds(found: Mapping[str, Any] | None) -> HitOdds | None:
    if found is None:
        return None
    weights = tuple(map(float, found["weights"]))
    if len(weights) != len(HIT_FEATURES):
        raise ValueError("weights of hits")
    return HitOdds(float(found["bias"]), weights)


def _range(found: Sequence[Any] | None) -> tuple[Decimal, Decimal] | None:
    if found is None:
        return None
    low, high = (Decimal(str(value)) for value in found)
    return low, high
