"""Which policy is used, in words: none, one, one rolled back, one suspended; whatever is damaged leaves the ladder."""

import sys
from decimal import Decimal
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from msgspec.structs import replace
from test_policy_registry import kept

from tpctl.adapters.policy_pointer import Choice, Stage
from tpctl.adapters.policy_registry import HitRecord, PolicyRegistry, Record
from tpctl.adapters.policy_use import PolicyFile, PolicyUse, policy_in_use
from tpctl.exits.instrument import Unavailable
from tpctl.market.policy.hits import HitOdds

DAY_MS = 86_400_000


def promote(registry: PolicyRegistry, record: Record, stage: Stage = Stage.PROMOTED, share: str = "1") -> None:
    registry.promote(record, Choice(record.hash, stage, Decimal(share), DAY_MS), "the gate passed it")


def reason(found: PolicyUse | Unavailable) -> str:
    assert isinstance(found, Unavailable)
    return found.reason


def test_without_a_registry_no_policy_is_promoted(tmp_path: Path) -> None:
    assert reason(policy_in_use(tmp_path)) == "no policy is promoted"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("stage", "share", "how"),
    [
        (Stage.SHADOW, "1", "shadow, told and not used"),
        (Stage.CANARY, "0.15", "canary, 15% of the positions"),
        (Stage.PROMOTED, "1", "promoted"),
    ],
)
def test_the_policy_in_use_says_how_far_it_is_trusted(tmp_path: Path, stage: Stage, share: str, how: str) -> None:
    registry = PolicyRegistry(tmp_path)
    record = kept(registry)
    promote(registry, record, stage, share)
    use = policy_in_use(tmp_path)

    assert isinstance(use, PolicyUse)
    assert use.words == f"policy {record.hash[:12]} ({how})"
    assert use.symbols == {"XRPUSDT"}
    # The incumbent's mean and the gain over it out of sample.
    assert use.expected.mean_r == pytest.approx(0.03)
    assert use.policy == registry.policy(record.hash)


def test_a_rollback_is_told_with_what_is_used_then(tmp_path: Path) -> None:
    registry = PolicyRegistry(tmp_path)
    first, second = kept(registry, -1.0), kept(registry, -2.0)
    promote(registry, first)
    promote(registry, second)
    registry.rollback(2 * DAY_MS, "it loses")
    gone = f"{second.hash[:12]} was rolled back on 1970-01-03 (it loses)"
    use = policy_in_use(tmp_path)
    assert isinstance(use, PolicyUse)
    assert use.words == f"policy {first.hash[:12]} (promoted); {gone}"

    registry.rollback(3 * DAY_MS, "")
    assert reason(policy_in_use(tmp_path)) == (
        f"no policy is promoted: {first.hash[:12]} was rolled back on 1970-01-04"
    )


def test_a_suspension_is_told_with_its_reason(tmp_path: Path) -> None:
    registry = PolicyRegistry(tmp_path)
    record = kept(registry)
    promote(registry, record)
    choice = registry.pointer().choice
    assert choice is not None
    registry.suspend(choice, 2 * DAY_MS, "results fall short")

    assert reason(policy_in_use(tmp_path)) == (
        f"no policy is used: {record.hash[:12]} was suspended on 1970-01-03 (results fall short)"
    )


@pytest.mark.parametrize("name", ["promoted.json", "{hash}.json", "{hash}.record.json"])
@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": "tpctl.promoted/9"}', b"\x80\x04\x95.", b"[" * 100_000])
def test_a_damaged_file_leaves_the_ladder_and_says_why(tmp_path: Path, name: str, content: bytes) -> None:
    registry = PolicyRegistry(tmp_path)
    record = kept(registry)
    promote(registry, record)
    (registry.path / name.format(hash=record.hash)).write_bytes(content)

    assert reason(policy_in_use(tmp_path)).startswith("no policy is used: ")


def test_what_its_training_promised_comes_with_it(tmp_path: Path) -> None:
    registry = PolicyRegistry(tmp_path)
    record = kept(registry)
    promote(registry, record)
    use = policy_in_use(tmp_path)
    assert isinstance(use, PolicyUse)
    # A record of an earlier version.
    assert (use.expected.actions, use.expected.hits, use.expected.leverage) == ((), None, None)

    mix, hits = (0.5, 0.1, 0.1, 0.2, 0.1), HitRecord(0.5, (1.0, 2.0, 3.0, 4.0, 5.0))
    registry.write_record(replace(record, actions=mix, hits=hits, leverage=(Decimal(1), Decimal(20))))
    use = policy_in_use(tmp_path)
    assert isinstance(use, PolicyUse)
    assert use.expected.actions == mix
    assert use.expected.hits == HitOdds(hits.bias, hits.weights)
    assert use.expected.leverage == (1, 20)


@pytest.mark.parametrize(
    "changed",
    [
        {"actions": (0.5, 0.5)},
        {"actions": (1.0, 0.0, 0.0, 0.0, 0.0)},
        {"hits": HitRecord(0.5, (1.0,))},
    ],
)
def test_promises_that_do_not_fit_leave_the_ladder(tmp_path: Path, changed: dict[str, Any]) -> None:
    registry = PolicyRegistry(tmp_path)
    record = kept(registry)
    promote(registry, record)
    registry.write_record(replace(record, **changed))

    assert "does not say what the policy was trained on" in reason(policy_in_use(tmp_path))


def test_a_file_others_can_write_is_not_used(tmp_path: Path) -> None:
    registry = PolicyRegistry(tmp_path)
    record = kept(registry)
    promote(registry, record)
    (registry.path / f"{record.hash}.json").chmod(0o666)

    assert reason(policy_in_use(tmp_path)).startswith("no policy is used: ")


def test_a_change_is_seen_at_the_next_look(tmp_path: Path) -> None:
    registry = PolicyRegistry(tmp_path)
    file = PolicyFile(tmp_path)
    assert isinstance(file.current(), Unavailable)

    promote(registry, kept(registry))
    use = file.current()
    assert isinstance(use, PolicyUse)
    assert file.current() is use

    registry.rollback(2 * DAY_MS, "")
    assert isinstance(file.current(), Unavailable)


def test_reading_the_policy_in_use_needs_neither_numpy_nor_msgspec(tmp_path: Path) -> None:
    registry = PolicyRegistry(tmp_path)
    promote(registry, kept(registry))
    code = (
        "import sys\nfrom pathlib import Path\nfrom tpctl.adapters.policy_use import policy_in_use\n"
        f"print(policy_in_use(Path({str(tmp_path)!r})).words)\n"
        "print([name for name in ('numpy', 'msgspec', 'gymnasium', 'tpctl.learn') if name in sys.modules])"
    )
    said = run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()

    assert said[0].startswith("policy ")
    assert said[1] == "[]"
