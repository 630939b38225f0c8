"""The stored form is exact in both directions, and strict: what does not fit is refused with its place."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from types import UnionType
from typing import Any, TypeAlias, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.adapters.codec import CodecError, decode, encode, kinds
from tpctl.exits.episode import Episode
from tpctl.exits.events import Accepted, Answered, Event, Refused, Unknown, Withheld
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.intents import Intent
from tpctl.exits.model import Attempt, Context, MarginMode, Note, NoteKind, Plan, PositionKey, Regime, RiskReadings
from tpctl.exits.requests import Reduce, RequestAnswer, TightenStop, TrailNow
from tpctl.exits.scoring import Aftermath, Record, Verdict
from tpctl.exits.units import Ratio

DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15)
POSITIVE = st.decimals(allow_nan=False, allow_infinity=False, min_value=Decimal("0.01"), max_value=10**15)
SHARES = st.builds(Ratio, st.decimals(min_value=Decimal("0.01"), max_value=Decimal("0.99"), places=4))


def values_of(hint: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one line per kind of type
    """Any value the annotation allows, plans left out (they refuse most combinations of levels)."""
    simple = {
        Decimal: DECIMALS,
        int: st.integers(),
        str: st.text(),
        bool: st.booleans(),
        type(None): st.none(),
        Ratio: st.builds(Ratio, DECIMALS),
        # These refuse what makes no sense.
        TightenStop: st.builds(TightenStop, POSITIVE),
        TrailNow: st.builds(TrailNow, st.none() | SHARES),
        Reduce: st.builds(Reduce, SHARES),
    }
    if hint in simple:
        return simple[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        return st.one_of([values_of(member) for member in arguments if member is not Plan])
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values_of(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values_of, arguments))
    if origin is frozenset:
        return st.frozensets(values_of(arguments[0]), max_size=2)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=2)
    if issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    assert is_dataclass(hint)
    hints = get_type_hints(hint)
    return st.builds(hint, **{each.name: st.deferred(lambda h=hints[each.name]: values_of(h)) for each in fields(hint)})


STORED = (
    *get_args(Event),
    *get_args(Intent),
    Note,
    Attempt,
    Record,
    Aftermath,
    Verdict,
    Context,
    Episode,
    RequestAnswer,
)


@pytest.mark.parametrize("record", STORED, ids=lambda record: record.__name__)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_stored_record_comes_back_equal(record: type[Any], data: st.DataObject) -> None:
    value = data.draw(values_of(record))

    assert decode(encode(value), record) == value


@settings(max_examples=200, deadline=None)
@given(DECIMALS)
def test_a_decimal_comes_back_as_the_same_number_in_plain_digits(value: Decimal) -> None:
    text = encode(value)

    assert decode(text, Decimal) == value
    assert "e" not in text.lower()


def test_the_stored_form_of_a_context_tells_unavailable_from_a_ratio_and_a_number() -> None:
    context = Context(
        leverage=Unavailable("not in the answer"),
        margin=MarginMode.CROSS,
        volatility=Ratio(Decimal("0.03")),
        regime=Regime.CHOP,
        confidence=Decimal("0.5"),
        quote_volume=Unavailable("stale"),
        atr=Unavailable("stale"),
        taker_fee=Ratio(Decimal("0.0005")),
        maker_fee=Ratio(Decimal("0.0002")),
        brackets=Unavailable("no key"),
        wallet=Decimal("1E+3"),
        risk=RiskReadings(Decimal(1), Unavailable("few bars"), Unavailable("one position"), Decimal(0)),
    )

    plain = json.loads(encode(context))

    assert plain["leverage"] == {"$kind": "Unavailable", "reason": "not in the answer"}
    assert plain["volatility"] == {"$kind": "Ratio", "fraction": "0.03"}
    assert plain["regime"] == "chop"
    assert plain["confidence"] == "0.5"
    assert plain["wallet"] == "1000"
    assert decode(json.dumps(plain), Context) == context


def test_a_decimal_among_texts_is_kept_apart_from_the_text_that_looks_like_it() -> None:
    data = {"price": Decimal("0.5123"), "label": "0.5123", "leg": 2, "ok": True, "none": None}
    note = Note(1, NoteKind.TP_HIT, PositionKey("BTCUSDT", PositionSide.LONG), "leg 2", data)

    back = decode(encode(note), Note)

    assert back == note
    assert {name: type(value) for name, value in back.data.items()} == {n: type(v) for n, v in data.items()}


@pytest.mark.parametrize(
    "answer", [Accepted(None), Refused(-2021, "would trigger"), Unknown("timeout"), Withheld("HALT")]
)
def test_members_of_a_union_of_records_are_told_apart(answer: Any) -> None:
    event = Answered(1, PositionKey("BTCUSDT", PositionSide.SHORT), "tp1-0123456789-s-1", answer)

    assert decode(encode(event), Answered).answer == answer


def test_kinds_name_every_record_of_a_union() -> None:
    assert kinds(Event) == {record.__name__: record for record in get_args(Event)}


class Colour(StrEnum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


@dataclass(frozen=True, slots=True)
class Tree:
    name: str
    children: "tuple[Tree, ...]" = ()
    parent: "Tree | None" = None


@dataclass(frozen=True, slots=True)
class Shelf:
    counts: Mapping[PositionKey, int] = field(default_factory=dict)
    by_colour: Mapping[Colour, Decimal] = field(default_factory=dict)
    by_number: Mapping[int, str] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    pair: tuple[int, str] = (0, "")
    number: Number = Number.ONE
    flag: bool = False


SHELF = Shelf(
    counts={PositionKey("BTCUSDT", PositionSide.LONG): 2},
    by_colour={Colour.RED: Decimal("1.50")},
    by_number={7: "seven"},
    tags=frozenset({"b", "a"}),
    pair=(1, "x"),
)


def test_containers_come_back_equal() -> None:
    assert decode(encode(SHELF), Shelf) == SHELF


def test_a_frozenset_is_written_in_one_order() -> None:
    assert json.loads(encode(SHELF))["tags"] == ["a", "b"]


def test_a_record_may_contain_itself() -> None:
    tree = Tree("root", (Tree("leaf"),), parent=Tree("above"))

    assert decode(encode(tree), Tree) == tree


def test_a_union_is_encoded_by_its_annotation_when_it_stands_alone() -> None:
    hint: Any = Accepted | Refused

    assert decode(encode(Refused(1, "x"), hint), hint) == Refused(1, "x")


def test_text_survives_that_utf8_cannot_carry() -> None:
    tree = Tree("\ud800\x00\u2028é")

    assert decode(encode(tree).encode("ascii"), Tree) == tree


def test_a_missing_field_takes_its_default() -> None:
    assert decode('{"name": "x"}', Tree) == Tree("x")


@pytest.mark.parametrize(
    ("text", "record", "message"),
    [
        ('{"name": "x", "colour": 1}', Tree, "value has the unknown field 'colour'"),
        ("{}", Tree, "value lacks 'name'"),
        ('{"name": 1}', Tree, "name was 1, not text"),
        ('{"name": "x", "children": [{"name": "y"}, 5]}', Tree, "children[1] was 5, not a Tree"),
        ('{"name": "x", "children": [{"name": null}]}', Tree, "children[0].name was None, not text"),
        ('{"counts": [[{"symbol": "B", "side": "up"}, 1]]}', Shelf, "counts[0][0].side was 'up', not a PositionSide"),
        (
            '{"counts": [[{"symbol": "B", "side": "long"}, 1], [{"symbol": "B", "side": "long"}, 2]]}',
            Shelf,
            "counts has a key twice",
        ),
        ('{"by_colour": {"red": 1.5}}', Shelf, "by_colour['red'] was 1.5, not a decimal"),
        ('{"by_colour": {"red": "1e999999999"}}', Shelf, "by_colour['red'] was '1e999999999', not a decimal"),
        ('{"by_colour": {"red": "NaN"}}', Shelf, "by_colour['red'] was 'NaN', not a decimal"),
        ('{"pair": [1]}', Shelf, "pair has 1 items, not 2"),
        ('{"number": true}', Shelf, "number was True, not a Number"),
        ('{"flag": 1}', Shelf, "flag was 1, not true or false"),
        ('{"by_number": [[true, "x"]]}', Shelf, "by_number[0][0] was True, not an integer"),
        ('{"leverage": {"$kind": "Plan"}}', Context, "leverage was {'$kind': 'Plan'}, which none of its types can be"),
        ('{"fraction": "1", "extra": NaN}', Ratio, "value is not JSON: NaN is not a JSON number"),
        ("", Ratio, "value is not JSON: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_text_that_does_not_spell_the_record_is_refused_with_its_place(
    text: str, record: type[Any], message: str
) -> None:
    with pytest.raises(CodecError) as caught:
        decode(text, record)

    assert str(caught.value) == message


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(CodecError, match="is not JSON"):
        decode("[" * 100_000, Tree)


def test_a_record_that_refuses_its_values_is_damage() -> None:
    with pytest.raises(CodecError, match=r"^legs\[0\] is no valid Picky: never$"):
        decode('{"legs": [{"number": 1}]}', Picked)


@dataclass(frozen=True, slots=True)
class Picky:
    number: int

    def __post_init__(self) -> None:
        raise ValueError("never")


@dataclass(frozen=True, slots=True)
class Picked:
    legs: tuple[Picky, ...]


@pytest.mark.parametrize(
    "value",
    [
        Tree(5),  # type: ignore[arg-type] # wrong on purpose
        Tree("x", [Tree("y")]),  # type: ignore[arg-type] # wrong on purpose
        Shelf(by_colour={Colour.RED: 1}),  # type: ignore[dict-item] # wrong on purpose
        Shelf(by_colour={Colour.RED: Decimal("NaN")}),
        Shelf(by_colour={Colour.RED: Decimal("Infinity")}),
        Shelf(by_colour={Colour.RED: Decimal("1e999999")}),
        Shelf(flag=1),  # type: ignore[arg-type] # wrong on purpose
    ],
)
def test_a_value_its_annotation_does_not_allow_is_not_written(value: Any) -> None:
    with pytest.raises(CodecError):
        encode(value)


@dataclass(frozen=True, slots=True)
class Measured:
    value: float


Ambiguous: TypeAlias = str | Colour


@dataclass(frozen=True, slots=True)
class Unclear:
    value: Ambiguous


@pytest.mark.parametrize("value", [Measured(1.5), Unclear("red")])
def test_a_type_without_an_exact_form_is_a_bug(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)


@dataclass(frozen=True, slots=True)
class Fixed:
    """A record whose form never changes."""

    number: int
    parts: tuple[Decimal, ...] = ()


@dataclass(frozen=True, slots=True)
class Open:
    """A frozen record around something that is not."""

    facts: Mapping[str, int]
    inner: Fixed


def test_a_record_that_can_still_change_is_written_anew_each_time() -> None:
    facts = {"one": 1}
    record = Open(facts, Fixed(2))
    first = encode(record)
    facts["two"] = 2

    assert first == '{"facts":{"one":1},"inner":{"number":2,"parts":[]}}'
    assert encode(record) == '{"facts":{"one":1,"two":2},"inner":{"number":2,"parts":[]}}'


@dataclass(frozen=True, slots=True)
class Growing:
    """What becomes of one thing, in which little changes from one time to the next."""

    of: Fixed
    facts: Mapping[str, int]
    size: Decimal
    inner: Fixed | None = None


def test_a_record_of_one_thing_is_written_as_it_is_each_time() -> None:
    """What stayed the same is taken from the last time, but never what can change in itself, nor of another thing."""
    one, other, facts = Fixed(1), Fixed(2), {"a": 1}
    first = Growing(one, facts, Decimal("1.0"))
    written = [encode(first), encode(Growing(other, {}, Decimal(7), one))]
    facts["b"] = 2
    written += [encode(first), encode(replace(first, size=Decimal("2.50"), inner=other)), encode(first)]

    def text(of: int, facts: str, size: str, inner: str) -> str:
        return f'{{"of":{{"number":{of},"parts":[]}},"facts":{facts},"size":"{size}","inner":{inner}}}'

    assert written == [
        text(1, '{"a":1}', "1.0", "null"),
        text(2, "{}", "7", '{"number":1,"parts":[]}'),
        text(1, '{"a":1,"b":2}', "1.0", "null"),
        text(1, '{"a":1,"b":2}', "2.50", '{"number":2,"parts":[]}'),
        text(1, '{"a":1,"b":2}', "1.0", "null"),
    ]


def test_many_records_of_one_class_are_each_written_as_they_are() -> None:
    # More than are kept; records that are gone give their identity to new ones.
    assert [encode(Fixed(number)) for number in range(10_000)] == [
        f'{{"number":{number},"parts":[]}}' for number in range(10_000)
    ]
