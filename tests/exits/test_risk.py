from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import RiskReadings
from tpctl.exits.risk import risk_effect, stop_factor, tighten, tp_factor
from tpctl.exits.rules import RiskRules

RULES = RiskRules()
STALE = Unavailable("older than 60 s")


def readings(ess: str = "1.0", systemic: str = "0.2", correlation: str = "0.3", heat: str = "0.4") -> RiskReadings:
    return RiskReadings(Decimal(ess), Decimal(systemic), Decimal(correlation), Decimal(heat))


# exit-rules 11, heat .4; the calm ones are the rule's own bounds.
@pytest.mark.parametrize(
    ("ess", "systemic", "correlation", "factor", "tight"),
    [
        ("1.0", "0.2", "0.3", "1.00", False),
        ("2.8", "0.2", "0.3", "0.70", True),
        ("1.51", "0.2", "0.3", "0.85", True),
        ("2.5", "0.2", "0.3", "0.85", True),
        ("1.0", "0.85", "0.3", "0.75", True),
        ("1.0", "0.61", "0.3", "0.90", True),
        ("2.8", "0.85", "0.3", "0.525", True),
        ("2.8", "0.85", "0.9", "0.50", True),
        ("1.5", "0.6", "0.8", "1", False),
        ("1.0", "0.2", "0.81", "0.95", False),
        ("0.74", "0.19", "0.49", "1.10", False),
        ("0.75", "0.19", "0.49", "1", False),
        ("0.74", "0.2", "0.49", "1", False),
        ("0.74", "0.19", "0.5", "1", False),
    ],
)
def test_vectors(ess: str, systemic: str, correlation: str, factor: str, tight: bool) -> None:
    effect = risk_effect(readings(ess, systemic, correlation), RULES)

    assert (effect.tp_factor, effect.tighten) == (Decimal(factor), tight)


def test_heat_tightens() -> None:
    hot = readings(heat="0.71")

    assert tp_factor(hot, RULES)[0] == Decimal("0.95")
    assert tighten(hot, RULES)
    assert not tighten(readings(heat="0.7"), RULES)


def test_the_stop_widens_only_above_severe_systemic_risk() -> None:
    assert stop_factor(readings(systemic="0.8"), RULES) == (1, ())
    factor, (reason,) = stop_factor(readings(systemic="0.81"), RULES)

    assert factor == Decimal("1.20")
    assert reason.text == "High systemic risk (0.81) → +20% stop distance"


def test_without_readings_nothing_is_assumed() -> None:
    effect = risk_effect(STALE, RULES)

    assert (effect.tp_factor, effect.stop_factor, effect.tighten) == (1, 1, False)
    assert [reason.text for reason in effect.reasons] == ["risk unavailable (older than 60 s): factor skipped"]


@pytest.mark.parametrize("missing", ["ess", "systemic", "correlation"])
def test_a_market_is_calm_only_where_all_is_measured(missing: str) -> None:
    values: dict[str, Decimal | Unavailable] = {
        "ess": Decimal("0.5"),
        "systemic": Decimal("0.1"),
        "correlation": Decimal("0.1"),
        "heat": STALE,
    }
    assert tp_factor(RiskReadings(**values), RULES)[0] == Decimal("1.10")

    values[missing] = STALE
    factor, reasons = tp_factor(RiskReadings(**values), RULES)

    assert factor == 1
    assert len([reason for reason in reasons if "unavailable" in reason.text]) == 2


def test_each_part_is_a_reason_with_its_change() -> None:
    _, reasons = tp_factor(readings("2.8", "0.85", "0.9"), RULES)

    assert [(reason.code, reason.before, reason.after) for reason in reasons] == [
        ("high_ess", "1", "0.7"),
        ("high_systemic_risk", "0.7", "0.525"),
        ("high_correlation", "0.525", "0.4988"),
        ("risk_clamped", "0.4988", "0.5"),
    ]


level = st.one_of(st.just(STALE), st.decimals("0", "5", places=2))


@settings(max_examples=150)
@given(level, level, level, level)
def test_the_factor_stays_within_its_clamp_and_more_risk_never_loosens(
    ess: Decimal | Unavailable,
    systemic: Decimal | Unavailable,
    correlation: Decimal | Unavailable,
    heat: Decimal | Unavailable,
) -> None:
    factor, _ = tp_factor(RiskReadings(ess, systemic, correlation, heat), RULES)
    worse, _ = tp_factor(RiskReadings(Decimal(6), systemic, correlation, heat), RULES)

    assert RULES.min_factor <= worse <= factor <= RULES.max_factor
