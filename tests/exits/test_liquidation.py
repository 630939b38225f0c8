import gzip
import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Bracket, PositionSide
from tpctl.exits.liquidation import (
    bracket_for,
    check_leverage,
    cums,
    liquidation_price,
    maintenance,
    max_leverage,
)

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT

ROWS = [
    (0, 50_000, 125, "0.004"),
    (50_000, 250_000, 100, "0.005"),
    (250_000, 1_000_000, 50, "0.01"),
    (1_000_000, 10_000_000, 20, "0.025"),
    (10_000_000, 20_000_000, 10, "0.05"),
]
CUMS = cums([(D(floor), D(rate)) for floor, _, _, rate in ROWS])
BRACKETS = tuple(
    Bracket(D(floor), D(cap), leverage, D(rate), cum)
    for (floor, cap, leverage, rate), cum in zip(ROWS, CUMS, strict=True)
)


def test_cum_makes_the_maintenance_margin_continuous() -> None:
    assert CUMS == (0, 50, 1300, 16_300, 266_300)
    for lower, upper in pairwise(BRACKETS):
        assert lower.cap * lower.maintenance_rate - lower.cum == upper.floor * upper.maintenance_rate - upper.cum
    assert cums([]) == ()


@pytest.mark.parametrize(
    ("side", "quantity", "entry", "wallet", "expected"),
    [
        (LONG, "1", "20000", "1000", "19076.3052"),
        (SHORT, "1", "20000", "1000", "20916.3347"),
        (LONG, "10", "50000", "25000", "47848.4848"),
    ],
)
def test_vectors_of_exit_rules_15(side: PositionSide, quantity: str, entry: str, wallet: str, expected: str) -> None:
    price = liquidation_price(side, D(quantity), D(entry), D(wallet), BRACKETS)

    assert price is not None
    assert round(price, 4) == D(expected)


def test_the_bracket_is_that_of_the_notional_at_liquidation_not_at_entry() -> None:
    long = liquidation_price(LONG, D(1), D(51_000), D(2000), BRACKETS)
    short = liquidation_price(SHORT, D(1), D(49_000), D(2000), BRACKETS)

    assert long == (D(2000) - 51_000) / (D("0.004") - 1)
    assert short == (D(2000) + 50 + 49_000) / (D("0.005") + 1)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(PositionSide),
    st.decimals(min_value=D("0.001"), max_value=D(300), places=3),
    st.decimals(min_value=D(1), max_value=D(60_000), places=2),
    st.decimals(min_value=D("0.005"), max_value=D(2), places=3),
)
def test_at_the_liquidation_price_equity_is_the_maintenance_margin(
    side: PositionSide, quantity: Decimal, entry: Decimal, margin_rate: Decimal
) -> None:
    wallet = quantity * entry * margin_rate
    price = liquidation_price(side, quantity, entry, wallet, BRACKETS)

    if price is None:
        assert side is LONG
        assert wallet >= quantity * entry
        return
    equity = wallet + side.sign * quantity * (price - entry)
    assert price > 0
    assert abs(equity - maintenance(quantity * price, BRACKETS)) < D("1e-12")


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(PositionSide), st.integers(2, 125))
def test_more_margin_moves_liquidation_away_from_entry(side: PositionSide, leverage: int) -> None:
    quantity, entry = D("2.5"), D(40_000)
    wallet = quantity * entry / leverage
    near = liquidation_price(side, quantity, entry, wallet, BRACKETS)
    far = liquidation_price(side, quantity, entry, wallet * D("1.1"), BRACKETS)

    assert near is not None
    assert far is not None
    assert side.sign * (near - far) > 0


def test_a_long_that_its_wallet_covers_to_zero_has_no_liquidation_price() -> None:
    assert liquidation_price(LONG, D(1), D(100), D(100), BRACKETS) is None
    assert liquidation_price(LONG, D(1), D(100), D("99.99"), BRACKETS) is not None


def test_a_short_always_has_one_even_beyond_the_last_bracket() -> None:
    price = liquidation_price(SHORT, D(1000), D(19_000), D(5_000_000), BRACKETS)

    assert price is not None
    assert price * 1000 > BRACKETS[-1].cap


@pytest.mark.parametrize(
    ("quantity", "entry", "wallet", "brackets"),
    [("0", "100", "10", BRACKETS), ("1", "0", "10", BRACKETS), ("1", "100", "-100", BRACKETS), ("1", "100", "10", ())],
)
def test_inputs_that_have_no_answer_are_refused(
    quantity: str, entry: str, wallet: str, brackets: tuple[Bracket, ...]
) -> None:
    with pytest.raises(InputsError):
        liquidation_price(SHORT, D(quantity), D(entry), D(wallet), brackets)


@pytest.mark.parametrize(
    ("notional", "leverage"),
    [("0", 125), ("50000", 125), ("50000.01", 100), ("1000000", 50), ("20000000", 10)],
)
def test_a_bracket_includes_its_cap_and_not_its_floor(notional: str, leverage: int) -> None:
    assert bracket_for(D(notional), BRACKETS).max_leverage == leverage
    assert max_leverage(D(notional), BRACKETS) == leverage


def test_a_leverage_above_the_bracket_s_is_refused_with_the_numbers() -> None:
    check_leverage(D(50), D(600_000), BRACKETS)

    with pytest.raises(InputsError, match="'51x' is above '50x'") as caught:
        check_leverage(D(51), D(600_000), BRACKETS)
    assert "50x or less" in caught.value.hint


def test_a_notional_above_the_last_bracket_may_not_be_held_at_any_leverage() -> None:
    with pytest.raises(InputsError, match="above the last leverage bracket"):
        check_leverage(D(1), D(20_000_001), BRACKETS)


def test_cums_agree_with_every_recorded_bracket_table(shared_data: Path) -> None:
    with gzip.open(shared_data / "leverage_tiers_20250814.json.gz") as file:
        tables = json.load(file, parse_float=D, parse_int=D)

    for symbol, tiers in tables.items():
        raw = [tier["info"] for tier in tiers]
        rows = [(D(row["notionalFloor"]), D(row["maintMarginRatio"])) for row in raw]
        assert cums(rows) == tuple(D(row["cum"]) for row in raw), symbol
