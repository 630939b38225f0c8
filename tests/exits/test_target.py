from decimal import Decimal

import pytest

from tpctl.exits.instrument import Unavailable
from tpctl.exits.ladder import Levels
from tpctl.exits.rules import StopRules, TargetRules
from tpctl.exits.target import Target, hybrid, settle, target
from tpctl.exits.units import Ratio

NOTHING = Unavailable("not measured")
RULES = TargetRules()


def pct(text: str) -> Ratio:
    return Ratio.percent(text)


def shown(ratio: Ratio) -> str:
    return ratio.show(3)


# exit-rules 3, mode normal.
@pytest.mark.parametrize(
    ("confidence", "volatility", "suggestion", "expected"),
    [
        ("0.40", NOTHING, NOTHING, ("5.625%", "3.750%", "2.250%")),
        ("0.75", NOTHING, NOTHING, ("6.818%", "2.159%", "2.727%")),
        ("0.90", NOTHING, NOTHING, ("8.455%", "2.114%", "3.382%")),
        ("0.75", pct("2"), NOTHING, ("7.273%", "2.303%", "2.909%")),
        ("0.75", NOTHING, pct("8"), ("7.291%", "2.159%", "2.916%")),
    ],
)
def test_vectors(
    confidence: str,
    volatility: Ratio | Unavailable,
    suggestion: Ratio | Unavailable,
    expected: tuple[str, str, str],
) -> None:
    result = target(Decimal(confidence), volatility, suggestion, RULES, StopRules())

    assert (shown(result.take_profit), shown(result.stop), shown(result.trail)) == expected


@pytest.mark.parametrize(
    ("mode", "take_profit", "stop"),
    [
        ("normal", "6.818%", "2.159%"),
        ("optimistic", "7.841%", "1.960%"),
        ("aggressive", "8.864%", "2.216%"),
        ("critical", "5.000%", "2.807%"),
    ],
)
def test_modes_scale_both(mode: str, take_profit: str, stop: str) -> None:
    rules = TargetRules(mode=mode)  # type: ignore[arg-type]  # parametrized words

    result = target(Decimal("0.75"), NOTHING, NOTHING, rules, StopRules())

    assert (shown(result.take_profit), shown(result.stop)) == (take_profit, stop)


def test_unavailable_confidence_leaves_the_scale_at_one_and_says_so() -> None:
    result = target(NOTHING, NOTHING, NOTHING, RULES, StopRules())

    assert (result.take_profit, result.stop) == (pct("6"), pct("2.5"))
    assert "confidence unavailable (not measured): factor skipped" in [reason.text for reason in result.reasons]


def test_a_given_stop_is_not_moved_by_the_target() -> None:
    assert settle(pct("8"), pct("1"), RULES, fixed_stop=True).stop == pct("1")
    assert settle(pct("8"), pct("6"), RULES, fixed_stop=True).take_profit == pct("9")


STATIC: Levels = ((pct("1.25"), Decimal("0.25")), (pct("2.5"), Decimal("0.25")), (pct("5"), Decimal("0.50")))
LEAVING: Levels = ((pct("1.25"), Decimal("0.15")), (pct("2.5"), Decimal("0.20")), (pct("5"), Decimal("0.30")))
GOAL = Target(pct("6.8"), pct("2"), pct("2.72"))


@pytest.mark.parametrize("confidence", [Decimal("0.19"), NOTHING])
def test_hybrid_without_confidence_is_static_and_does_not_trail(confidence: Decimal | Unavailable) -> None:
    result = hybrid(confidence, STATIC, GOAL, RULES)

    assert (result.levels, result.stop_factor, result.trail) == (STATIC, 1, None)
    assert len(result.reasons) == 1


def test_hybrid_without_a_trail_closes_what_the_profile_left_to_it() -> None:
    levels = hybrid(Decimal("0.1"), LEAVING, GOAL, RULES).levels

    assert levels == (LEAVING[0], LEAVING[1], (pct("5"), Decimal("0.65")))


@pytest.mark.parametrize("confidence", ["0.20", "0.79"])
def test_hybrid_in_the_middle_trails_at_half_the_targets_trail(confidence: str) -> None:
    result = hybrid(Decimal(confidence), LEAVING, GOAL, RULES)

    assert (result.levels, result.stop_factor, result.trail) == (LEAVING, 1, pct("1.36"))


def test_hybrid_with_confidence_aims_half_of_the_size_at_the_target() -> None:
    result = hybrid(Decimal("0.80"), STATIC, GOAL, RULES)

    assert result.levels == (
        (pct("1.25"), Decimal("0.125")),
        (pct("2.5"), Decimal("0.125")),
        (pct("5"), Decimal("0.25")),
        (pct("6.8"), Decimal("0.5")),
    )
    assert (result.stop_factor, result.trail) == (Decimal("0.9"), pct("2.72"))


def test_hybrid_keeps_a_static_level_that_is_farther_than_the_target() -> None:
    result = hybrid(Decimal("0.9"), STATIC, Target(pct("4"), pct("2"), pct("1.6")), RULES)

    assert result.levels == (
        (pct("1.25"), Decimal("0.125")),
        (pct("2.5"), Decimal("0.125")),
        (pct("4"), Decimal("0.25")),
        (pct("5"), Decimal("0.50")),
    )


def test_hybrid_merges_the_target_with_a_static_level_at_the_same_distance() -> None:
    result = hybrid(Decimal("0.9"), STATIC, Target(pct("5"), pct("2"), pct("2")), RULES)

    assert [distance for distance, _ in result.levels] == [pct("1.25"), pct("2.5"), pct("5")]
    assert [share for _, share in result.levels] == [Decimal("0.125"), Decimal("0.125"), Decimal("0.75")]
