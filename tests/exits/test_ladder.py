from dataclasses import dataclass, replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.exits.instrument import Unavailable
from tpctl.exits.ladder import Ladder, LadderInputs, adjust_live, dynamic_ladder, one_line
from tpctl.exits.model import Leg, Regime
from tpctl.exits.rules import LadderRules
from tpctl.exits.units import Ratio

RULES = LadderRules()
NOTHING = Unavailable("not measured")


def pct(text: str) -> Ratio:
    return Ratio.percent(text)


def inputs(  # noqa: PLR0917 - the order of the factors in exit-rules 1
    leverage: str = "10",
    notional: str = "1000",
    volatility: str = "2.5",
    regime: Regime = Regime.NORMAL,
    confidence: str = "0.75",
    volume: str = "1000000000",
    pnl: str = "0",
) -> LadderInputs:
    return LadderInputs(
        Decimal(leverage), Decimal(notional), pct(volatility), regime, Decimal(confidence), Decimal(volume), pct(pnl)
    )


def ladder(given_inputs: LadderInputs) -> Ladder:
    result = dynamic_ladder(given_inputs, RULES)
    assert isinstance(result, Ladder)
    return result


@dataclass(frozen=True)
class Vector:
    inputs: LadderInputs
    distances: tuple[str, ...]
    split: tuple[int, ...]


# exit-rules 1, the table of cases.
VECTORS = {
    "XRPUSDT": Vector(inputs("20", "2000", "2.5", confidence="0.85"), ("1.092", "1.820", "2.912"), (40, 35, 25)),
    "BTCUSDT": Vector(inputs("10", "4997", "3.0", confidence="0.90"), ("1.560", "2.600", "4.160"), (40, 35, 25)),
    "SOLUSDT": Vector(
        inputs("15", "1800", "4.5", Regime.TRENDING, "0.88"), ("2.8665", "4.7775", "7.644"), (20, 30, 50)
    ),
    "ETHUSDT": Vector(inputs("20", "1750", "2.8", confidence="0.82"), ("1.050", "1.750", "2.800"), (30, 30, 40)),
    "all tightening": Vector(
        inputs("20", "5000", "1", Regime.RANGING, "0.5", "50000", "6"), ("0.5", "0.5", "0.56448"), (45, 35, 20)
    ),
    "all widening": Vector(inputs("3", "500", "5", Regime.TRENDING, "0.9"), ("5.3235", "8.8725", "10"), (20, 30, 50)),
}


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(name: str) -> None:
    vector = VECTORS[name]

    result = ladder(vector.inputs)

    assert result.distances == tuple(pct(text) for text in vector.distances)
    assert result.split == tuple(Decimal(share) / 100 for share in vector.split)


@pytest.mark.parametrize(
    ("changed", "factor"),
    [
        ({"leverage": "15"}, "0.70"),
        ({"leverage": "14.9"}, "1"),
        ({"leverage": "5"}, "1.30"),
        ({"leverage": "5.1"}, "1"),
        ({"notional": "2000"}, "0.80"),
        ({"notional": "1999.99"}, "1"),
        ({"volatility": "3.5"}, "1.40"),
        ({"volatility": "3.49"}, "1"),
        ({"volatility": "1.5"}, "0.75"),
        ({"volatility": "1.51"}, "1"),
        ({"regime": Regime.TRENDING}, "1.50"),
        ({"regime": Regime.VOLATILE}, "0.70"),
        ({"regime": Regime.RANGING}, "0.70"),
        ({"regime": Regime.CHOP}, "1"),
        ({"confidence": "0.85"}, "1.30"),
        ({"confidence": "0.84"}, "1"),
        ({"confidence": "0.60"}, "0.75"),
        ({"confidence": "0.61"}, "1"),
        ({"volume": "99999.99"}, "0.80"),
        ({"volume": "100000"}, "1"),
        ({"volume": "0"}, "0.80"),
        ({"pnl": "5"}, "0.80"),
        ({"pnl": "4.99"}, "1"),
        ({"pnl": "-20"}, "1"),
    ],
)
def test_thresholds_are_inclusive_as_written(changed: dict[str, str], factor: str) -> None:
    result = ladder(inputs(**changed))  # type: ignore[arg-type]  # one of them is a regime

    assert result.distances == tuple(base.scaled(Decimal(factor)) for base in RULES.distances)
    assert len(result.reasons) == (0 if factor == "1" else 1)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"leverage": "20"}, "High leverage (20.0x) → -30% TP distance"),
        ({"leverage": "3"}, "Low leverage (3.0x) → +30% TP distance"),
        ({"notional": "2000"}, "Large position ($2000) → -20% TP distance, front-load exits (40/35/25)"),
        ({"volatility": "4.5"}, "High volatility (4.5%) → +40% TP distance"),
        ({"volatility": "1"}, "Low volatility (1.0%) → -25% TP distance"),
        ({"regime": Regime.TRENDING}, "TRENDING regime → +50% TP distance, back-load (20/30/50)"),
        ({"regime": Regime.RANGING}, "RANGING regime → -30% TP distance"),
        ({"confidence": "0.85"}, "High confidence (85%) → +30% TP distance"),
        ({"confidence": "0.5"}, "Low confidence (50%) → -25% TP distance"),
        ({"volume": "50000"}, "Low liquidity ($50000 in 24 h) → -20% TP distance, front-load exits (45/35/20)"),
        ({"pnl": "6"}, "High unrealised PnL (6.0%) → -20% TP distance"),
    ],
)
def test_each_factor_is_one_sentence_and_its_change(changed: dict[str, str], sentence: str) -> None:
    (reason,) = ladder(inputs(**changed)).reasons  # type: ignore[arg-type]  # one of them is a regime

    assert reason.text == sentence
    assert reason.before == "1.5% / 2.5% / 4%"
    assert reason.after not in {None, reason.before}


def test_later_split_wins() -> None:
    trending_and_large = inputs(notional="5000", regime=Regime.TRENDING)
    illiquid_too = inputs(notional="5000", regime=Regime.TRENDING, volume="1")

    assert ladder(trending_and_large).split == RULES.trending_split
    assert ladder(illiquid_too).split == RULES.low_volume_split


@pytest.mark.parametrize("missing", ["leverage", "notional"])
def test_without_leverage_or_notional_there_is_no_ladder(missing: str) -> None:
    result = dynamic_ladder(replace(inputs(), **{missing: Unavailable("the endpoint lacks it")}), RULES)

    assert result == Unavailable(f"{missing} unavailable (the endpoint lacks it)")


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("volatility", "volatility"),
        ("regime", "regime"),
        ("confidence", "confidence"),
        ("quote_volume", "quote volume"),
        ("pnl", "unrealised PnL"),
    ],
)
def test_a_missing_optional_input_skips_its_factor_and_says_so(field: str, name: str) -> None:
    result = ladder(replace(inputs(), **{field: NOTHING}))

    assert result.distances == RULES.distances
    assert [reason.text for reason in result.reasons] == [f"{name} unavailable (not measured): factor skipped"]


def test_clamping_is_a_reason() -> None:
    assert [reason.code for reason in ladder(VECTORS["all widening"].inputs).reasons][-1] == "clamped"
    assert "clamped" not in [reason.code for reason in ladder(VECTORS["SOLUSDT"].inputs).reasons]


def test_rules_change_the_ladder() -> None:
    rules = LadderRules(high_leverage_factor=Decimal("0.5"), max_distance=pct("1"))

    result = dynamic_ladder(inputs("20"), rules)

    assert isinstance(result, Ladder)
    assert result.distances == (pct("0.75"), pct("1"), pct("1"))
    assert result.reasons[0].text == "High leverage (20.0x) → -50% TP distance"


def test_one_line_form() -> None:
    vector = ladder(VECTORS["XRPUSDT"].inputs)
    legs = [
        Leg(number, distance, Decimal(1), share, Decimal(1))
        for number, (distance, share) in enumerate(zip(vector.distances, vector.split, strict=True), 1)
    ]

    assert one_line("XRPUSDT", legs) == "XRPUSDT: TP1=1.09%(40%), TP2=1.82%(35%), TP3=2.91%(25%)"


@pytest.mark.parametrize("regime", [Regime.VOLATILE, Regime.RANGING])
def test_live_adjustment_pulls_remaining_levels_in(regime: Regime) -> None:
    after, reason = adjust_live((pct("2.5"), pct("4")), pct("8"), regime, RULES)

    assert after == (pct("1.75"), pct("2.8"))
    assert reason is not None
    assert (reason.before, reason.after) == ("2.5% / 4%", "1.75% / 2.8%")


@pytest.mark.parametrize(
    ("pnl", "regime"),
    [
        (pct("7.99"), Regime.RANGING),
        (pct("8"), Regime.TRENDING),
        (NOTHING, Regime.RANGING),
        (pct("9"), NOTHING),
    ],
)
def test_live_adjustment_leaves_levels_otherwise(pnl: Ratio | Unavailable, regime: Regime | Unavailable) -> None:
    assert adjust_live((pct("4"),), pnl, regime, RULES) == ((pct("4"),), None)


def test_live_adjustment_clamps_and_never_pushes_out() -> None:
    after, _ = adjust_live((pct("0.3"), pct("0.6"), pct("2")), pct("8"), Regime.RANGING, RULES)

    assert after == (pct("0.3"), pct("0.5"), pct("1.4"))


readings = st.decimals("0", "1", places=3)


any_inputs = st.builds(
    LadderInputs,
    leverage=st.integers(1, 125).map(Decimal),
    notional=st.integers(1, 10**6).map(Decimal),
    volatility=st.one_of(st.just(NOTHING), st.decimals("0", "20", places=2).map(Ratio.percent)),
    regime=st.one_of(st.just(NOTHING), st.sampled_from(Regime)),
    confidence=st.one_of(st.just(NOTHING), readings),
    quote_volume=st.one_of(st.just(NOTHING), st.integers(0, 10**6).map(Decimal)),
    pnl=st.one_of(st.just(NOTHING), st.decimals("-50", "50", places=2).map(Ratio.percent)),
)


@settings(max_examples=150)
@given(any_inputs)
def test_any_ladder_is_clamped_ascending_and_whole(given_inputs: LadderInputs) -> None:
    result = ladder(given_inputs)

    assert list(result.distances) == sorted(result.distances)
    assert all(RULES.min_distance <= distance <= RULES.max_distance for distance in result.distances)
    assert sum(result.split) == 1
