"""Experiments in the loop: a stable draw, logged with its probability, and the policy that was drawn in force."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage import XRP_LONG, Stage

from tpctl.exits.errors import ConfigError
from tpctl.exits.experiment import NO_EXPERIMENT, Experiment, ExperimentArm, assign
from tpctl.exits.model import NoteKind, Policy
from tpctl.exits.units import Ratio


def arm(policy: Policy, share: str) -> ExperimentArm:
    return ExperimentArm(policy, Ratio.percent(share))


SHIPPED = Experiment("tp-v3", {"dynamic": arm(Policy.DYNAMIC, "50"), "static": arm(Policy.STATIC, "50")})
UNEVEN = Experiment(
    "three", {"a": arm(Policy.DYNAMIC, "70"), "b": arm(Policy.STATIC, "20"), "c": arm(Policy.HYBRID, "10")}
)


@given(st.text("0123456789abcdef", min_size=10, max_size=10), st.sampled_from([SHIPPED, UNEVEN]))
def test_a_position_is_drawn_into_the_same_arm_by_everybody(generation: str, experiment: Experiment) -> None:
    first, again = assign(experiment, generation), assign(experiment, generation)

    assert first is not None
    assert first == again
    name = first.label.removeprefix(f"{experiment.name}/")
    assert (first.policy, first.propensity) == (experiment.arms[name].policy, experiment.arms[name].share)


def test_the_order_in_the_file_does_not_matter_and_another_name_draws_anew() -> None:
    backwards = replace(UNEVEN, arms=dict(reversed(UNEVEN.arms.items())))
    other = replace(UNEVEN, name="four")
    names = [f"{number:010x}" for number in range(300)]

    assert [assign(UNEVEN, name) for name in names] == [assign(backwards, name) for name in names]
    same = sum(assign(UNEVEN, n).policy is assign(other, n).policy for n in names)  # type: ignore[union-attr]
    assert same < 220  # 54 % would agree by chance


def test_the_shares_are_those_of_the_file() -> None:
    drawn = [assign(UNEVEN, f"{number:010x}") for number in range(10_000)]
    counts = {name: sum(one is not None and one.label == f"three/{name}" for one in drawn) for name in "abc"}

    # Four standard deviations of a fair draw.
    for name, share in (("a", 0.7), ("b", 0.2), ("c", 0.1)):
        assert abs(counts[name] - 10_000 * share) < 4 * (10_000 * share * (1 - share)) ** 0.5
    assert assign(NO_EXPERIMENT, "0123456789") is None


def generation_of_arm(stage: Stage, label: str) -> Stage:
    """Open positions until one is drawn into an arm; the stage then holds that one."""
    for _ in range(40):
        stage.open()
        if stage.episode().arm == label:
            return stage
        stage.act(lambda venue: venue.close_position("XRPUSDT", "LONG"))
        stage.wait(12_000)
    raise AssertionError(f"no position was drawn into {label}")


@pytest.fixture
def stage() -> Stage:
    made = Stage({"XRPUSDT": "2"})
    made.state = replace(made.state, experiment=SHIPPED)
    made.start()
    return made


@pytest.mark.parametrize("policy", [Policy.DYNAMIC, Policy.STATIC])
def test_the_policy_that_was_drawn_is_planned_told_and_on_record(stage: Stage, policy: Policy) -> None:
    generation_of_arm(stage, f"tp-v3/{policy.value}")

    episode = stage.episode()
    assert episode.plan is not None
    assert episode.plan.policy is policy
    planned = stage.told(NoteKind.PLANNED)[-1]
    assert (planned.data["arm"], planned.data["propensity"]) == (f"tp-v3/{policy.value}", Decimal("0.5"))
    # The targets on the exchange are those of the policy.
    assert [trigger for trigger, _ in stage.targets()] == [leg.trigger for leg in episode.plan.legs]

    before = len(stage.attempts)
    stage.go("1.9", "1.8")
    assert stage.flat()
    ended = stage.attempts[before:]
    assert len(ended) == len(episode.plan.legs)
    assert {(attempt.arm, attempt.strategy_id) for attempt in ended} == {(f"tp-v3/{policy.value}", policy.value)}
    assert stage.told(NoteKind.CLOSED)[-1].data["arm"] == f"tp-v3/{policy.value}"


def test_an_arm_lasts_through_a_restart_an_increase_and_another_configuration(stage: Stage) -> None:
    generation_of_arm(stage, "tp-v3/static")
    stage.restart()
    assert stage.episode().arm == "tp-v3/static"

    stage.open(notional=1_000)
    episode = stage.episode()
    assert (episode.plans, episode.arm) == (2, "tp-v3/static")
    assert episode.plan is not None
    assert episode.plan.policy is Policy.STATIC

    # Another experiment draws the positions to come, never one that is held.
    stage.state = replace(stage.state, experiment=replace(SHIPPED, name="later"))
    stage.open(notional=1_000)
    assert (stage.episode().plans, stage.episode().arm) == (3, "tp-v3/static")
    assert stage.told(NoteKind.PLANNED)[-1].data["arm"] is None


def test_a_position_found_before_the_experiment_is_not_part_of_it() -> None:
    stage = Stage({"XRPUSDT": "2"})
    stage.start()
    stage.open()
    stage.state = replace(stage.state, experiment=SHIPPED)
    stage.open(notional=1_000)

    assert stage.episode().plans == 2
    assert stage.state.episodes[XRP_LONG].arm is None
    assert stage.told(NoteKind.PLANNED)[-1].data["arm"] is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Experiment("", {"a": arm(Policy.STATIC, "50")}), "has arms but no name"),
        (lambda: Experiment("x"), "has fewer than two arms"),
        (lambda: Experiment("x", {"a": arm(Policy.STATIC, "50")}), "has fewer than two arms"),
        (lambda: Experiment("x", {"a": arm(Policy.STATIC, "50"), "b": arm(Policy.DYNAMIC, "40")}), "sum to 90%"),
        (lambda: Experiment("a/b", {"a": arm(Policy.STATIC, "50"), "b": arm(Policy.DYNAMIC, "50")}), "is no name"),
        (lambda: Experiment("x", {"": arm(Policy.STATIC, "50"), "b": arm(Policy.DYNAMIC, "50")}), "is no name"),
        (lambda: arm(Policy.STATIC, "0"), "is not between 0% and 100%"),
        (lambda: arm(Policy.STATIC, "100"), "is not between 0% and 100%"),
        (lambda: arm(Policy.STATIC, "-5"), "is not between 0% and 100%"),
    ],
)
def test_an_experiment_that_makes_no_sense_is_refused(make: object, words: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigError) as caught:
        make()
    assert words in caught.value.message
