"""Show 8 of the learning: with no policy promoted, one promoted, one rolled back, `plan` and `watch` say which."""

import json
from decimal import Decimal
from pathlib import Path

import msgspec
from processes import of, run, watch

from tpctl.adapters.policy_pointer import Choice, Stage
from tpctl.adapters.policy_registry import GateCheck, GateRecord, PolicyRegistry, Record
from tpctl.exits.errors import ExitCode
from tpctl.market.policy.codec import policy_hash, weights_hash
from tpctl.market.policy.features import ENTRY_FEATURES, STEP_FEATURES
from tpctl.market.policy.model import LearnedPolicy, Linear, Origin, Score, Zone

NEVER = Score(-1.0, (0.0,) * len(STEP_FEATURES))
PLAIN = (0.0,) * len(ENTRY_FEATURES)
ZONES = (Zone(1.0, Score(0.0, PLAIN)), Zone(2.0, Score(0.01, (0.0, 0.0, 0.0, 0.05))))
POLICY = LearnedPolicy(900_000, 96, Linear(NEVER, NEVER), ZONES, 3.0, Origin("stopping", 1, 2, "d" * 64, "{}"))
NAME = policy_hash(POLICY)[:12]
PASSED = GateRecord("passed", 5, 400, (GateCheck("mean gain", True, 0.03, ">= 0.02"),), 0.03, 0.01, 0.05)


def promote(state: Path) -> None:
    record = Record(
        *("tpctl.candidate/1", policy_hash(POLICY), weights_hash(POLICY), "d" * 64, "c" * 64, "stopping"),
        *(1, 1, 2, 192, 0.1, 0.01, 0.0, None, 900_000, ("XRPUSDT",), 0, 9, "0"),
    )
    registry = PolicyRegistry(state)
    record = msgspec.structs.replace(record, gate=PASSED)
    registry.add(POLICY, record)
    registry.promote(record, Choice(record.hash, Stage.PROMOTED, Decimal(1), 9), "asked for")


def planned(home: Path, state: Path) -> tuple[str, Decimal]:
    """Return what a plan says of the learned policy, and how far its first target lies."""
    done = run(["plan", "XRPUSDT", "--lev", "20", "--no-odds", "--json", "--state-dir", str(state)], home)
    assert done.code == ExitCode.OK, done.err
    (plan,) = json.loads(done.out)["data"]["plans"]
    (reason,) = [reason for reason in plan["reasons"] if reason["stage"] == "blend"]
    return reason["text"], Decimal(plan["legs"][0]["distance"])


def told(home: Path, state: Path) -> tuple[str, list[str]]:
    """Return which policy a watch says it uses, and its first plans' reasons."""
    done = watch("--once", "--seed", "3", state=state, home=home)
    assert done.code == ExitCode.OK, done.err
    (used,) = of("policy", done.events)
    plans = [event for event in of("planned", done.events) if event["symbol"] == "XRPUSDT"]
    return used["reason"], ["\n".join(plan["reasons"]) for plan in plans]


def test_plan_and_watch_say_which_policy_they_use(home: Path, state: Path) -> None:
    ladder, plans = told(home, state)
    assert ladder == "in use: no policy is promoted; the ladder decides"
    assert all("no learned policy blended in: no policy is promoted" in reasons for reasons in plans)
    text, distance = planned(home, state)
    assert text == "no learned policy blended in: no policy is promoted"

    promote(state)
    used, plans = told(home, state)
    assert used == f"in use: policy {NAME} (promoted)"
    assert plans
    assert all(f"learned policy {NAME} suggests a mean TP of" in reasons for reasons in plans)
    text, blended = planned(home, state)
    assert text.startswith(f"learned policy {NAME} suggests a mean TP of ")
    assert "(volatility +" in text
    assert blended == distance * Decimal("1.4")

    assert run(["retrain", "--rollback", "--state-dir", str(state)], home).code == ExitCode.OK
    gone, _ = told(home, state)
    assert gone.startswith(f"in use: no policy is promoted: {NAME} was rolled back on ")
    text, again = planned(home, state)
    assert text.startswith(f"no learned policy blended in: no policy is promoted: {NAME} was rolled back on ")
    assert again == distance
