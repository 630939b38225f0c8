"""Outcome records: what a line must hold to count, and that a written one is read back as it was."""

import io
import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_desk import VECTOR, random_attempts

from tpctl.adapters.outcomes import LONGEST_LINE, differing, numbered_lines, outcome_line, parse_outcome
from tpctl.exits.errors import InputsError
from tpctl.exits.model import Outcome

LINE = {
    "id": "a1",
    "strategy_id": "tp",
    "symbol": "BTCUSDT",
    "position_side": "long",
    "leg": 1,
    "entry_time": "2025-11-20T12:00:00Z",
    "entry_price": "50000",
    "target_price": "51000",
    "exit_time": "2025-11-20T14:00:00Z",
    "exit_price": "50950",
    "quantity": "0.1",
    "profit_usd": "100",
    "outcome": "hit",
    "reason": "take_profit",
}


def line(**changes: object) -> str:
    return json.dumps({**LINE, **changes})


def test_the_vector_is_read() -> None:
    assert parse_outcome(line()) == VECTOR


def test_numbers_may_be_json_numbers_and_keep_their_digits() -> None:
    text = line().replace('"50950"', "50950.000000000000000001")

    assert parse_outcome(text).exit_price == Decimal("50950.000000000000000001")


@settings(max_examples=60)
@given(st.integers(0, 100_000))
def test_what_is_written_is_read_back(seed: int) -> None:
    (attempt,) = random_attempts(seed, 1)

    assert parse_outcome(outcome_line(attempt)) == attempt


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (line(symbl="X"), "unknown field 'symbl'"),
        (line().replace('"leg": 1, ', ""), "field 'leg' is missing"),
        (line(leg=0), "leg '0' is not a number from 1"),
        (line(leg="1.5"), "leg '1.5'"),
        (line(leg=10**9), "leg '1000000000'"),
        (line(position_side="LONG"), "position_side 'LONG' is not one of its values"),
        (line(outcome="win"), "outcome 'win'"),
        (line(entry_time="2025-11-20T12:00:00"), "has no time zone"),
        (line(entry_time=1763640000), "is not an RFC 3339 time"),
        (line(entry_time="1960-01-01T00:00:00Z"), "before 1970"),
        (line(exit_time="2025-11-20T11:00:00Z"), "ended before it began"),
        (line(target_price="0"), "target_price '0' is not above zero"),
        (line(quantity="-1"), "quantity '-1' is not above zero"),
        (line(exit_price="NaN"), "exit_price 'NaN'"),
        (line().replace('"50950"', "NaN"), "not JSON"),
        (line(profit_usd="1e999999"), "out of range"),
        (line(profit_usd=None), "profit_usd None is not a value"),
        (line(profit_usd=True), "profit_usd True is not a value"),
        (line(id=""), "id '' is not a name"),
        (line(id="x" * 201), "is not a name"),
        (line(reason="a\nb"), "is not a name"),
        (line(premature=True), "'premature' of a hit"),
        (line(outcome="miss", premature="yes"), "premature 'yes' is neither true nor false"),
        (line(outcome="miss", missed_usd="3"), "'missed_usd' stands without 'premature'"),
    ],
)
def test_a_line_that_is_no_record_says_why(text: str, complaint: str) -> None:
    with pytest.raises(InputsError) as caught:
        parse_outcome(text)

    assert complaint in caught.value.message
    assert "\n" not in caught.value.message


def test_lines_are_numbered_and_what_is_no_text_is_its_own_error() -> None:
    long = b"x" * (LONGEST_LINE * 2) + b"\n"
    found = list(numbered_lines(io.BytesIO(b"\xef\xbb\xbfone\n\n  \ntwo\n\xff\n" + long + b"last")))

    assert [number for number, _ in found] == [1, 4, 5, 6, 7]
    assert [text if isinstance(text, str) else text.message for _, text in found] == [
        "one\n",
        "two\n",
        "the line is not UTF-8",
        "the line is too long",
        "last",
    ]


def test_records_differ_in_what_they_say_and_not_in_what_one_does_not_know_yet() -> None:
    miss = replace(VECTOR, outcome=Outcome.MISS)

    assert differing(miss, replace(miss, premature=True, missed_usd=Decimal(1))) == ()
    assert differing(VECTOR, replace(VECTOR, exit_price=Decimal(1), leg=2)) == ("leg", "exit_price")
