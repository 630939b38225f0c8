"""The registry of policies: nothing half-written at any crash, nothing used that is not sound and passed the gate.

Show 7 of the learning: killed at every system call that can change the disk, a promotion is made or is not.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from tracing import every_crash

from tpctl.adapters.policy_pointer import Act, Choice, Pointer, Stage, read_pointer
from tpctl.adapters.policy_registry import GateCheck, GateRecord, PolicyRegistry, Record, Trial
from tpctl.exits.errors import InputsError, LockedError, StateFileError
from tpctl.market.policy.codec import encode_policy, policy_hash, weights_hash
from tpctl.market.policy.features import STEP_FEATURES
from tpctl.market.policy.model import LearnedPolicy, Linear, Origin, Score
from tpctl.views.retrain import status

FLAT = (0.0,) * len(STEP_FEATURES)
PASSED = GateRecord("passed", 5, 400, (GateCheck("mean gain", True, 0.03, ">= 0.02"),), 0.03, 0.01, 0.05)
REFUSED = GateRecord("refused", 5, 400, (GateCheck("mean gain", False, 0.001, ">= 0.02"),))


def policy(bias: float = -1.0) -> LearnedPolicy:
    body = Linear(Score(bias, FLAT), Score(-1.0, FLAT))
    return LearnedPolicy(900_000, 96, body, (), 3.0, Origin("stopping", 1, 10, "d" * 64, "{}"))


def record(one: LearnedPolicy, at: int = 1, gate: GateRecord | None = PASSED) -> Record:
    return Record(
        schema="tpctl.candidate/1",
        hash=policy_hash(one),
        weights_hash=weights_hash(one),
        data_hash="d" * 64,
        configuration_hash="c" * 64,
        learner="stopping",
        seed=1,
        at=at,
        episodes=10,
        steps=960,
        seconds=0.5,
        mean_r=0.01,
        incumbent_r=0.0,
        tp_zone_accuracy=None,
        interval_ms=900_000,
        symbols=("XRPUSDT",),
        first=0,
        last=9,
        code_version="0",
        gate=gate,
    )


def kept(registry: PolicyRegistry, bias: float = -1.0, gate: GateRecord | None = PASSED) -> Record:
    one = policy(bias)
    registry.add(one, record(one, gate=gate))
    return record(one, gate=gate)


def promote(registry: PolicyRegistry, one: Record, at: int = 9, stage: Stage = Stage.PROMOTED) -> Pointer:
    share = Decimal("0.1") if stage is Stage.CANARY else Decimal(1)
    return registry.promote(one, Choice(one.hash, stage, share, at), "asked for")


@pytest.fixture
def registry(tmp_path: Path) -> PolicyRegistry:
    return PolicyRegistry(tmp_path)


def test_reading_an_empty_registry_creates_nothing(registry: PolicyRegistry, tmp_path: Path) -> None:
    assert (registry.records(), registry.trials().count, registry.pointer().choice) == ((), 0, None)
    assert list(tmp_path.iterdir()) == []


def test_a_candidate_comes_back_whole_and_is_found_by_its_first_digits(registry: PolicyRegistry) -> None:
    one = kept(registry)

    assert registry.records() == (one,)
    assert registry.find(one.hash[:12].upper()) == one
    assert registry.policy(one.hash) == policy()
    assert status(one, registry.pointer()) == "candidate"
    for name, why in ((one.hash[:7], "too short"), ("0" * 12, "names none")):
        with pytest.raises(InputsError, match=why):
            registry.find(name)


def test_rollback_returns_to_what_was_in_use_before_and_then_to_the_ladder(registry: PolicyRegistry) -> None:
    first, second = kept(registry, -1.0), kept(registry, -2.0)
    promote(registry, first, 10)
    promote(registry, second, 20, Stage.CANARY)
    assert (status(first, registry.pointer()), status(second, registry.pointer())) == ("candidate", "canary")

    chosen = registry.rollback(30, "worse").choice
    assert chosen is not None
    assert (chosen.hash, chosen.stage) == (first.hash, Stage.PROMOTED)
    assert registry.rollback(40, "worse too").choice is None
    with pytest.raises(StateFileError, match="nothing to roll back"):
        registry.rollback(50, "again")


def test_drift_takes_a_policy_out_of_use_until_it_is_promoted_again(registry: PolicyRegistry) -> None:
    one = kept(registry)
    choice = promote(registry, one).choice
    assert choice is not None

    pointer = registry.suspend(choice, 20, "slippage ratio 2.4")
    assert pointer.choice is None
    assert pointer.suspended is not None
    assert (pointer.suspended.act, status(one, registry.pointer())) == (Act.SUSPEND, "suspended")
    assert registry.suspend(choice, 21, "again") == pointer
    again = promote(registry, one, 30)
    assert again.choice is not None
    # An alarm about what was in use before says nothing of what is in use now.
    assert registry.suspend(choice, 31, "late") == again


@pytest.mark.parametrize("gate", [None, REFUSED, msgspec.structs.replace(PASSED, checks=REFUSED.checks)])
def test_what_the_gate_did_not_pass_is_not_promoted(registry: PolicyRegistry, gate: GateRecord | None) -> None:
    one = kept(registry, gate=gate)

    with pytest.raises(InputsError, match="was not judged yet" if gate is None else "the gate refused"):
        promote(registry, one)
    assert registry.pointer() == Pointer()


def test_what_cannot_be_read_is_not_promoted(registry: PolicyRegistry) -> None:
    one, other = kept(registry), policy(-3.0)
    path = registry.path / f"{one.hash}.json"
    for data, why in (
        (path.read_bytes()[:-20], "not JSON"),
        (encode_policy(other), "holds another policy"),
        (path.read_bytes().replace(b"-1.0", b"-1e999"), "is refused"),
    ):
        sound = path.read_bytes()
        path.write_bytes(data)
        with pytest.raises(StateFileError, match=why):
            promote(registry, one)
        path.write_bytes(sound)
    path.unlink()
    with pytest.raises(StateFileError, match="not in the registry"):
        promote(registry, one)
    assert registry.pointer() == Pointer()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"schema": "tpctl.promoted/1", "events": [{"act": "promote"}]}', "is damaged"),
        ('{"schema": "tpctl.promoted/9", "events": []}', "has schema"),
    ],
)
def test_a_damaged_choice_is_refused_and_left_as_it_is(registry: PolicyRegistry, text: str, why: str) -> None:
    kept(registry)
    path = registry.path / "promoted.json"
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(StateFileError, match=why):
        registry.pointer()
    assert path.read_text() == text


def test_a_damaged_or_newer_record_is_refused(registry: PolicyRegistry) -> None:
    one = kept(registry)
    path = registry.path / f"{one.hash}.record.json"
    for text, why in (("{", "is damaged"), ('{"schema": "tpctl.candidate/2"}', "another version")):
        path.write_text(text)
        with pytest.raises(StateFileError, match=why):
            registry.records()


def test_one_writer_at_a_time(registry: PolicyRegistry) -> None:
    with registry.lock(), pytest.raises(LockedError, match="the policy registry is held"):
        registry.lock()


def test_a_rollback_does_not_wait_for_a_training(registry: PolicyRegistry) -> None:
    promote(registry, kept(registry))
    with registry.lock():
        assert registry.rollback(10, "at once").choice is None


TRIAL = Trial(1, "c" * 64, "d" * 64, "cem", 3, "training")


def test_every_trial_counts_even_one_that_a_crash_cut_short(tmp_path: Path) -> None:
    counts = set()

    def prepare(directory: Path) -> Callable[[], None]:
        registry = PolicyRegistry(directory)
        registry.count_trials([TRIAL])
        return lambda: registry.count_trials([TRIAL, TRIAL])

    for directory, finished in every_crash(tmp_path, prepare, fewest=3):
        registry = PolicyRegistry(directory)
        before = registry.trials().count
        assert before == 3 or not finished
        counts.add(before)
        registry.count_trials([TRIAL])
        assert registry.trials().count == before + 1
    assert counts == {1, 3}


def test_a_line_that_was_cut_short_stays_a_line_of_its_own(registry: PolicyRegistry) -> None:
    registry.count_trials([TRIAL])
    file = registry.path / "trials.jsonl"
    file.write_bytes(file.read_bytes()[:-9])
    registry.count_trials([TRIAL])

    assert (registry.trials().rows, registry.trials().damaged) == ((TRIAL,), 1)


def test_a_promotion_is_made_or_not_at_every_crash(tmp_path: Path) -> None:
    seen = set()
    old, new = record(policy(-1.0)), record(policy(-2.0))

    def prepare(directory: Path) -> Callable[[], object]:
        registry = PolicyRegistry(directory)
        registry.add(policy(-1.0), old)
        registry.add(policy(-2.0), new)
        promote(registry, old)
        return lambda: promote(registry, new)

    for directory, finished in every_crash(tmp_path, prepare):
        registry = PolicyRegistry(directory)
        choice = registry.pointer().choice
        assert choice is not None
        assert choice.hash == new.hash or not finished
        seen.add(choice.hash)
        registry.policy(choice.hash)
        assert registry.rollback(50, "back").choice == (
            None if choice.hash == old.hash else replace(choice, hash=old.hash)
        )
    assert seen == {old.hash, new.hash}


def test_a_candidate_is_kept_whole_or_not_at_every_crash(tmp_path: Path) -> None:
    seen = set()
    for directory, finished in every_crash(
        tmp_path, lambda directory: lambda: PolicyRegistry(directory).add(policy(), record(policy()))
    ):
        registry = PolicyRegistry(directory)
        found = registry.records()
        assert found or not finished
        seen.add(len(found))
        for one in found:
            registry.policy(one.hash)
        registry.add(policy(), record(policy()))
        assert registry.records() == (record(policy()),)
        assert read_pointer(registry.path / "promoted.json") == Pointer()
    assert seen == {0, 1}
