from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import PositionSide
from tpctl.exits.partials import partial_levels
from tpctl.exits.units import Ratio

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT


@pytest.mark.parametrize(
    ("side", "target", "prices"),
    [(LONG, "115", ("107.50", "111.25", "115.00")), (SHORT, "85", ("92.50", "88.75", "85.00"))],
)
def test_vector_of_exit_rules_10(side: PositionSide, target: str, prices: tuple[str, ...]) -> None:
    levels = partial_levels(side, D(100), D(target), Ratio.percent("12"))

    assert [level.price for level in levels] == [D(price) for price in prices]
    assert [level.fraction for level in levels] == [D("0.3"), D("0.4"), D("0.3")]
    assert [level.passed for level in levels] == [True, True, False]


@pytest.mark.parametrize(
    ("profit", "shape"),
    [
        ("1.99", []),
        ("2", [("115", "1")]),
        ("4.99", [("115", "1")]),
        ("5", [("110", "0.5"), ("115", "0.5")]),
        ("9.99", [("110", "0.5"), ("115", "0.5")]),
        ("10", [("107.5", "0.3"), ("111.25", "0.4"), ("115", "0.3")]),
    ],
)
def test_more_profit_means_more_levels_thresholds_included(profit: str, shape: list[tuple[str, str]]) -> None:
    levels = partial_levels(LONG, D(100), D(115), Ratio.percent(profit))

    assert [(level.price, level.fraction) for level in levels] == [(D(price), D(part)) for price, part in shape]


def test_a_level_reached_exactly_is_passed() -> None:
    levels = partial_levels(SHORT, D(100), D(80), Ratio.percent("10"))

    assert [(level.price, level.passed) for level in levels] == [(90, True), (85, False), (80, False)]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(PositionSide), st.integers(1, 99), st.integers(2, 50))
def test_levels_run_from_entry_to_target_and_take_the_position_whole(side: PositionSide, way: int, profit: int) -> None:
    entry, target = D(100), D(100) + side.sign * way
    levels = partial_levels(side, entry, target, Ratio.percent(profit))

    distances = [side.sign * (level.price - entry) for level in levels]
    assert distances == sorted(set(distances))
    assert distances[-1] == way
    assert sum(level.fraction for level in levels) == 1
    assert [level.passed for level in levels] == [profit >= distance for distance in distances]


@pytest.mark.parametrize(
    ("side", "entry", "target"), [(LONG, "100", "100"), (LONG, "100", "99"), (SHORT, "100", "101"), (LONG, "0", "10")]
)
def test_a_target_that_is_not_in_profit_is_refused(side: PositionSide, entry: str, target: str) -> None:
    with pytest.raises(InputsError):
        partial_levels(side, D(entry), D(target), Ratio.percent("12"))
