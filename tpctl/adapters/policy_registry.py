"""The registry of learned policies: every trial that was ever run, the candidates, and the choice among them.

Decides how they are kept under `policies/` of the state directory. A policy is a file named by its hash, written once
and read with every check of its codec. A record beside it says how it was trained and how it was judged. Trials are
lines of a file that only grows, because what was tried and thrown away counts when luck is measured (learning 6): a
line is written whole and synced before the figures of the trial are shown, and one that a crash cut short still counts.
The choice is `policy_pointer`'s and has a lock of its own. Who adds candidates and trials holds the registry's; readers
need none.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from tpctl.adapters.files import check_private_file, create_atomic, file_error, read_file, write_atomic
from tpctl.adapters.lock import FileLock, acquire
from tpctl.adapters.policy_pointer import Choice, Pointer, read_pointer, write_pointer
from tpctl.adapters.policy_use import FOLDER, POINTER, read_policy
from tpctl.exits.errors import InputsError, StateFileError
from tpctl.exits.units import Millis
from tpctl.market.policy.codec import encode_policy, policy_hash
from tpctl.market.policy.model import LearnedPolicy

RECORD_SCHEMA = "tpctl.candidate/1"
# As much of a hash as must be given: one in four billion candidates shares it.
SHORTEST = 8
# How long a change waits for another that is being written.
_PATIENCE_MS = 2_000


class GateCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One check of the gate as it is kept; `value` is None where it could not be made."""

    name: str
    ok: bool
    value: float | None
    limit: str


class GateRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the gate said, when, on how many positions, and the gain with its bounds in R."""

    verdict: str
    at: Millis
    positions: int
    checks: tuple[GateCheck, ...]
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None

    @property
    def passed(self) -> bool:
        """Whether it may be promoted: the verdict, and every check behind it."""
        return self.verdict == "passed" and bool(self.checks) and all(check.ok for check in self.checks)


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a candidate came about and what became of it. Means in R; `seconds` of the training alone.

    `interval_ms`, `symbols`, `first` and `last` (ms UTC) say what it was trained on, and `slippage` which mean it
    reckoned with at take-profits, as a fraction of price: for drift to be seen, as are `features`, the shares of
    positions each action was asked of first, `hits`, and the range of `leverage`. None and empty where not recorded.
    """

    schema: str
    hash: str
    weights_hash: str
    data_hash: str
    configuration_hash: str
    learner: str
    seed: int
    at: Millis
    episodes: int
    steps: int
    seconds: float
    mean_r: float
    incumbent_r: float
    tp_zone_accuracy: float | None
    interval_ms: int
    symbols: tuple[str, ...]
    first: Millis
    last: Millis
    code_version: str
    slippage: float = 0.0
    features: tuple["FeatureRange", ...] = ()
    gate: GateRecord | None = None
    actions: tuple[float, ...] = ()
    hits: "HitRecord | None" = None
    leverage: tuple[Decimal, Decimal] | None = None


class FeatureRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The deciles of one feature where the policy was trained, to tell when the market has left them."""

    name: str
    edges: tuple[float, ...]


class HitRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log odds of a target's hit in training, over `market.policy.hits.HIT_FEATURES`."""

    bias: float
    weights: tuple[float, ...]


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One configuration that was trained or tuned. `sharpe` is daily, of the gain out of sample, where measured."""

    at: Millis
    configuration_hash: str
    data_hash: str
    learner: str
    seed: int
    what: str
    sharpe: float | None = None


@dataclass(frozen=True, slots=True)
class Trials:
    """All trials in order; `damaged` lines were cut short by a crash and count as trials all the same."""

    rows: tuple[Trial, ...]
    damaged: int

    @property
    def count(self) -> int:
        """How many trials were run."""
        return len(self.rows) + self.damaged


class PolicyRegistry:
    """The registry under a state directory; creates nothing until something is written."""

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / FOLDER

    @property
    def checkpoint(self) -> Path:
        """Where a training that was stopped goes on from."""
        return self.path / "checkpoint.json"

    @property
    def log(self) -> Path:
        """The log of trainings, a line for each round."""
        return self.path.parent / "retrain.log"

    @property
    def _pointer(self) -> Path:
        return self.path / POINTER

    @property
    def _trials(self) -> Path:
        return self.path / "trials.jsonl"

    def lock(self, patience_ms: int = 0) -> FileLock:
        """Take the registry's lock, to train or to judge; raises `LockedError` where another holds it."""
        self._make()
        return acquire(self.path / "registry.lock", "the policy registry", patience_ms)

    def pointer(self) -> Pointer:
        """Return which policy is in use, and what led there."""
        return read_pointer(self._pointer)

    def add(self, policy: LearnedPolicy, record: Record) -> None:
        """Keep a candidate; doing so again changes nothing but the record."""
        if record.hash != policy_hash(policy):
            raise ValueError("the record is of another policy")
        self._make()
        create_atomic(self._policy_path(record.hash), encode_policy(policy))
        self.write_record(record)

    def write_record(self, record: Record) -> None:
        """Replace the record of a candidate."""
        write_atomic(self._record_path(record.hash), msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")

    def policy(self, name: str) -> LearnedPolicy:
        """Return the policy of a whole hash; raises `StateFileError` for a missing, foreign or damaged file."""
        return read_policy(self.path, name)

    def records(self) -> tuple[Record, ...]:
        """Return the records of all candidates, the oldest first; raises `StateFileError` for a damaged one."""
        if not self.path.is_dir():
            return ()
        found = [self._record(path) for path in self.path.glob("*.record.json") if not path.name.startswith(".")]
        return tuple(sorted(found, key=lambda record: (record.at, record.hash)))

    def find(self, name: str) -> Record:
        """Return the record of a hash, or of the one candidate whose hash begins so; raises `InputsError`."""
        if len(name) < SHORTEST:
            raise InputsError(
                f"policy {name!r} is too short to name one", f"give {SHORTEST} digits of its hash or more"
            )
        found = [record for record in self.records() if record.hash.startswith(name.lower())]
        if len(found) != 1:
            what = "names none" if not found else f"names {len(found)} policies"
            raise InputsError(f"policy {name!r} {what}", "see: tpctl retrain --list")
        return found[0]

    def count_trials(self, trials: Sequence[Trial]) -> None:
        """Append trials, durably, in one write."""
        if not trials:
            return
        self._make()
        check_private_file(self._trials)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(self._trials, flags, 0o600)
            try:
                size = os.fstat(handle).st_size
                # What a crash cut short is ended, so that it stays a line of its own.
                start = b"" if not size or os.pread(handle, 1, size - 1) == b"\n" else b"\n"
                rest = memoryview(start + b"".join(msgspec.json.encode(trial) + b"\n" for trial in trials))
                while rest:
                    rest = rest[os.write(handle, rest) :]
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise file_error("write", self._trials, error) from error

    def trials(self) -> Trials:
        """Return every trial that was ever counted."""
        rows, damaged = [], 0
        for line in (read_file(self._trials) or b"").splitlines():
            try:
                rows.append(msgspec.json.decode(line, type=Trial))
            except (msgspec.DecodeError, UnicodeDecodeError):
                damaged += 1
        return Trials(tuple(rows), damaged)

    def promote(self, record: Record, choice: Choice, why: str) -> Pointer:
        """Switch to a policy the gate passed; raises `InputsError` with the gate's reasons where it did not.

        The policy is read whole before, so that the choice never names one that cannot be used.
        """
        if record.gate is None:
            raise InputsError(
                f"policy {record.hash[:12]!r} was not judged yet",
                f"run: tpctl retrain --evaluate --candidate {record.hash[:12]}",
            )
        if not record.gate.passed:
            failed = ", ".join(check.name for check in record.gate.checks if not check.ok)
            raise InputsError(
                f"the gate refused policy {record.hash[:12]!r}: {failed or record.gate.verdict}",
                "it stays a candidate; train on more data, or keep what is in use",
            )
        if record.hash != choice.hash:
            raise ValueError("the choice is of another policy")
        self.policy(record.hash)
        return self._change(lambda pointer: pointer.promoted(choice, why))

    def rollback(self, at: Millis, why: str) -> Pointer:
        """Switch back to what was in use before the last promotion."""
        return self._change(lambda pointer: pointer.rolled_back(at, why))

    def suspend(self, choice: Choice, at: Millis, why: str) -> Pointer:
        """Take a choice out of use until it is promoted again; one that is not in use any more is left alone."""
        return self._change(lambda pointer: pointer.suspend(at, why) if pointer.choice == choice else pointer)

    def _change(self, change: Callable[[Pointer], Pointer]) -> Pointer:
        """Change the choice under a lock of its own: a rollback does not wait for a training."""
        self._make()
        with acquire(self.path / "choice.lock", "the choice of a policy", _PATIENCE_MS):
            before = self.pointer()
            after = change(before)
            if after != before:
                write_pointer(self._pointer, after)
        return after

    def _record(self, path: Path) -> Record:
        check_private_file(path)
        hint = "move it aside: the candidate has to be trained and judged again"
        data = read_file(path) or b""
        try:
            record = msgspec.json.decode(data, type=Record)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if _schema_of(data) not in {None, RECORD_SCHEMA}:
                raise StateFileError(f"{str(path)!r} was written by another version", hint) from None
            raise StateFileError(f"{str(path)!r} is damaged: {error}", hint) from None
        if record.schema != RECORD_SCHEMA or self._record_path(record.hash).name != path.name:
            raise StateFileError(f"{str(path)!r} is not the record its name says", hint)
        return record

    def _make(self) -> None:
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise file_error("create", self.path, error) from error

    def _policy_path(self, name: str) -> Path:
        return self.path / f"{name}.json"

    def _record_path(self, name: str) -> Path:
        return self.path / f"{name}.record.json"


def _schema_of(data: bytes) -> str | None:
    try:
        found: Any = json.loads(data)
    except ValueError:
        return None
    return str(found.get("schema")) if isinstance(found, dict) else None
