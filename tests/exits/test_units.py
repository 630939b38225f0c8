from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.exits.errors import InputsError
from tpctl.exits.units import Ratio, parse_decimal, parse_positive, plain, trimmed


@pytest.mark.parametrize("text", ["", "abc", "1,5", "0x10", "--1", "1.2.3"])
def test_text_that_is_no_number_is_refused_and_named(text: str) -> None:
    with pytest.raises(InputsError, match=r"price .* is not a number") as caught:
        parse_decimal(text, "price")

    assert repr(text) in caught.value.message


@pytest.mark.parametrize("text", ["nan", "-Infinity", "sNaN", "1e999999", "1e-999999", "1e31"])
def test_numbers_no_exchange_prints_are_refused_before_they_are_formatted(text: str) -> None:
    with pytest.raises(InputsError, match="out of range"):
        parse_decimal(text, "price")


@pytest.mark.parametrize("text", ["7.0E-4", " 0.0007 ", "0.00070"])
def test_the_exchange_s_spellings_of_a_number_are_the_same_number(text: str) -> None:
    assert parse_decimal(text, "quantity") == Decimal("0.0007")


@pytest.mark.parametrize("text", ["0", "-1", "-0.0"])
def test_a_positive_number_is_above_zero(text: str) -> None:
    with pytest.raises(InputsError, match="not above zero"):
        parse_positive(text, "quantity")


@pytest.mark.parametrize(("value", "expected"), [("1E+2", "100"), ("1E-7", "0.0000001"), ("7.0E-4", "0.00070")])
def test_plain_never_prints_an_exponent(value: str, expected: str) -> None:
    assert plain(Decimal(value)) == expected


@pytest.mark.parametrize(
    ("value", "places", "expected"),
    [
        ("1.500", None, "1.5"),
        ("100", None, "100"),
        ("1E+2", None, "100"),
        ("0.000", None, "0"),
        ("-0.00", None, "0"),
        ("0.125", 2, "0.12"),
        ("0.135", 2, "0.14"),
        ("-0.001", 2, "0"),
    ],
)
def test_trimmed_drops_only_zeros_that_say_nothing(value: str, places: int | None, expected: str) -> None:
    assert trimmed(Decimal(value), places) == expected


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=8))
def test_printed_numbers_read_back_as_themselves(value: Decimal) -> None:
    assert parse_decimal(plain(value), "value") == value
    assert parse_decimal(trimmed(value), "value") == value


@pytest.mark.parametrize("text", ["1.5%", "150bps", "150 BPS", " 1.50 % "])
def test_a_ratio_is_a_fraction_whatever_its_unit(text: str) -> None:
    assert Ratio.parse(text) == Ratio(Decimal("0.015"))


def test_a_bare_number_is_no_ratio_and_the_hint_spells_the_choices() -> None:
    with pytest.raises(InputsError, match="has no unit") as caught:
        Ratio.parse("1.5", "callback")

    assert caught.value.hint == "write 1.5% or 1.5bps"


@pytest.mark.parametrize("text", ["%", "x%", "bps", "1.5 percent", "nan%"])
def test_a_malformed_ratio_is_refused(text: str) -> None:
    with pytest.raises(InputsError):
        Ratio.parse(text)


def test_a_ratio_is_finite() -> None:
    with pytest.raises(ValueError, match="finite"):
        Ratio(Decimal("NaN"))


@settings(deadline=None)
@given(st.decimals(min_value=-100, max_value=100, places=4))
def test_a_ratio_prints_and_parses_back(percent: Decimal) -> None:
    assert Ratio.parse(str(Ratio.percent(percent))) == Ratio.percent(percent)


def test_ratios_add_compare_and_take_their_share() -> None:
    one, two = Ratio.percent("1"), Ratio.percent("2")

    assert one + one == two
    assert two - one == one
    assert -one < one < two
    assert two / one == 2
    assert one.of(Decimal(800)) == 8
    assert one.scaled(Decimal("1.5")) == Ratio.percent("1.5")
    assert (one.as_percent, two.show(), str(Ratio.percent("1.50"))) == (1, "2.00%", "1.5%")
