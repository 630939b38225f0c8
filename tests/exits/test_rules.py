from dataclasses import replace
from decimal import Decimal

import pytest

from tpctl.exits.errors import ConfigError
from tpctl.exits.model import Policy, WorkingType
from tpctl.exits.rules import (
    ExecutionRules,
    ExitRules,
    LadderRules,
    ModeFactors,
    Profile,
    ProfileLeg,
    ProfileRules,
    ProfileTrail,
    RiskRules,
    StopRules,
    TargetRules,
    TrailRules,
)
from tpctl.exits.units import Ratio


def pct(text: str) -> Ratio:
    return Ratio.percent(text)


def test_defaults_are_the_documented_ones() -> None:
    rules = ExitRules()

    assert rules.policy is Policy.DYNAMIC
    assert rules.ladder.distances == (pct("1.5"), pct("2.5"), pct("4"))
    assert rules.stop == StopRules(
        distance=pct("2.5"),
        floor=pct("0.5"),
        reward_risk=Decimal("1.5"),
        liquidation_share=Decimal("0.8"),
        min_distance=pct("0.2"),
        backstop_factor=Decimal("1.25"),
        backstop_share=Decimal("0.9"),
        max_margin_loss=None,
    )
    assert (rules.trail.callback, rules.trail.activation) == (pct("2"), pct("2"))
    assert (rules.trail.min_callback, rules.trail.max_callback) == (pct("0.05"), pct("5"))
    assert (rules.trail.min_age_ms, rules.trail.min_interval_ms, rules.trail.min_change) == (
        300_000,
        30_000,
        Decimal("0.1"),
    )
    assert rules.execution == ExecutionRules("resident", "take", "net", "previous_tp", pct("1"), 1, WorkingType.MARK)


WRONG = {
    "ladder split off 100": lambda: LadderRules(split=(Decimal("0.3"), Decimal("0.3"), Decimal("0.3"))),
    "ladder split with a zero": lambda: LadderRules(split=(Decimal(0), Decimal("0.5"), Decimal("0.5"))),
    "ladder split too short": lambda: LadderRules(low_volume_split=(Decimal("0.5"), Decimal("0.5"))),
    "ladder descending": lambda: LadderRules(distances=(pct("2"), pct("1.5"), pct("4"))),
    "ladder empty": lambda: LadderRules(distances=()),
    "ladder from zero": lambda: LadderRules(distances=(pct("0"), pct("1.5"), pct("4"))),
    "ladder factor zero": lambda: LadderRules(high_leverage_factor=Decimal(0)),
    "ladder bounds crossed": lambda: LadderRules(low_leverage=Decimal(20)),
    "ladder clamp crossed": lambda: LadderRules(min_distance=pct("11")),
    "profile without legs": lambda: Profile(()),
    "profile above 100": lambda: Profile((ProfileLeg(Decimal(1), Decimal("1.1")),)),
    "profile that leaves a rest to nobody": lambda: Profile((ProfileLeg(Decimal(1), Decimal("0.9")),)),
    "profile descending": lambda: Profile(
        (ProfileLeg(Decimal(2), Decimal("0.5")), ProfileLeg(Decimal(1), Decimal("0.5")))
    ),
    "profile trail that loosens": lambda: ProfileTrail(pct("1"), Decimal(1), ((Decimal(3), pct("2")),)),
    "profile of a regime missing": lambda: ProfileRules(profiles={}),
    "profile override unknown": lambda: ProfileRules(by_symbol={"XRPUSDT": "nromal"}),
    "target mode unknown": lambda: TargetRules(mode="brave"),  # type: ignore[arg-type]  # what a config file may say
    "target mode factor": lambda: ModeFactors(Decimal(0), Decimal(1)),
    "blend off 1": lambda: TargetRules(blend_own=Decimal("0.7")),
    "hybrid widening the stop": lambda: TargetRules(hybrid_stop_factor=Decimal("1.1")),
    "hybrid share": lambda: TargetRules(hybrid_target_share=Decimal(1)),
    "target without a stop": lambda: TargetRules(confidence_base=Decimal(1)),
    "target bounds crossed": lambda: TargetRules(min_reward_risk=Decimal(5)),
    "stop zero": lambda: StopRules(distance=pct("0")),
    "stop beyond backstop": lambda: StopRules(liquidation_share=Decimal("0.95")),
    "backstop beyond liquidation": lambda: StopRules(backstop_share=Decimal(1)),
    "backstop inside the stop": lambda: StopRules(backstop_factor=Decimal("0.9")),
    "margin loss zero": lambda: StopRules(max_margin_loss=Decimal(0)),
    "risk factor": lambda: RiskRules(heat_factor=Decimal(-1)),
    "risk bounds": lambda: RiskRules(ess_high=Decimal(3)),
    "trail outside its bounds": lambda: TrailRules(callback=pct("6")),
    "trail schedule loosening": lambda: TrailRules(schedule=((pct("2"), Decimal("0.5")), (pct("5"), Decimal("0.75")))),
    "trail schedule empty": lambda: TrailRules(schedule=()),
    "trail interval": lambda: TrailRules(min_interval_ms=-1),
    "execution word": lambda: ExecutionRules(ratchet="previous"),  # type: ignore[arg-type]  # what a file may say
    "ratchet percent": lambda: ExecutionRules(ratchet_percent=pct("100")),
    "ratchet lag": lambda: ExecutionRules(ratchet_targets_back=0),
    "not finite": lambda: LadderRules(high_leverage_factor=Decimal("NaN")),
}


@pytest.mark.parametrize("name", WRONG)
def test_contradictory_rules_are_refused_with_a_hint(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        WRONG[name]()

    assert refused.value.hint
    assert "\n" not in refused.value.message
    assert not refused.value.message.endswith(".")


def test_each_constant_can_be_changed_alone() -> None:
    rules = replace(ExitRules(), stop=StopRules(distance=pct("3")))

    assert rules.stop.distance == pct("3")
    assert rules.ladder == LadderRules()
