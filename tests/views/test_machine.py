"""JSON for scripts: schema, spelling of numbers and times."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import Note, NoteKind, PositionKey, Scalar
from tpctl.exits.units import Ratio
from tpctl.views.machine import document, error_line, event_line, rfc3339

KEY = PositionKey("XRPUSDT", PositionSide.LONG)


def read(text: str) -> Any:
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return json.loads(text)


def test_an_event_line_is_the_contracts() -> None:
    note = Note(1_738_548_420_123, NoteKind.TP_HIT, KEY, "take-profit 1", {"leg": 1, "price": Decimal("0.5067")})

    assert event_line(note, 17) == (
        '{"schema":"tpctl.event/1","seq":17,"ts":"2025-02-03T02:07:00.123Z","type":"tp_hit","symbol":"XRPUSDT",'
        '"position_side":"long","reason":"take-profit 1","leg":1,"price":"0.5067"}\n'
    )


def test_an_event_of_no_position_has_nulls() -> None:
    seen = read(event_line(Note(0, NoteKind.STARTED, None, "watch started", {"env": "sim", "armed": True}), 1))

    assert (seen["symbol"], seen["position_side"], seen["env"], seen["armed"]) == (None, None, "sim", True)


def test_reasons_are_a_list_and_instants_are_spelled_out() -> None:
    data: dict[str, Scalar] = {"reasons": "one\ntwo", "opened_at": 0, "naked_ms": 41}
    seen = read(event_line(Note(0, NoteKind.PLANNED, KEY, "", data), 1))

    assert (seen["reasons"], seen["opened_at"], seen["naked_ms"]) == (["one", "two"], "1970-01-01T00:00:00.000Z", 41)


@pytest.mark.parametrize("name", ["schema", "seq", "ts", "type", "symbol", "position_side", "reason"])
def test_a_note_cannot_overwrite_the_envelope(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        event_line(Note(0, NoteKind.PLACED, KEY, "", {name: "x"}), 1)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal("-1e20"), max_value=Decimal("1e20")))
def test_a_number_is_a_string_of_plain_digits(value: Decimal) -> None:
    seen = read(event_line(Note(0, NoteKind.PLACED, KEY, "", {"price": value}), 1))["price"]

    assert Decimal(seen) == value
    assert "e" not in seen.lower()


def test_a_document_wraps_its_data() -> None:
    text = document(
        "venue",
        ts=0,
        profile="sim",
        env="sim",
        mode="armed",
        data={"rest": "http://127.0.0.1:1", "rows": [{"price": Decimal("1E-7"), "distance": Ratio.percent("1.5")}]},
        warnings=[("clock", "the clock is off")],
    )

    assert read(text) == {
        "schema": "tpctl.venue/1",
        "ts": "1970-01-01T00:00:00.000Z",
        "profile": "sim",
        "env": "sim",
        "mode": "armed",
        "data": {"rest": "http://127.0.0.1:1", "rows": [{"price": "0.0000001", "distance": "0.015"}]},
        "warnings": [{"code": "clock", "text": "the clock is off"}],
    }


def test_a_binary_float_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="float"):
        document("x", ts=0, profile="sim", env="sim", mode="armed", data={"price": 0.1})  # type: ignore[dict-item]  # the mistake under test


def test_an_error_is_an_object() -> None:
    assert read(error_line(InputsError("no entry", "give one"))) == {
        "schema": "tpctl.error/1",
        "code": 17,
        "kind": "inputs",
        "message": "no entry",
        "hint": "give one",
    }


def test_times_before_the_epoch_and_far_ahead_are_spelled() -> None:
    assert rfc3339(-1) == "1969-12-31T23:59:59.999Z"
    assert rfc3339(4_102_444_800_000) == "2100-01-01T00:00:00.000Z"
