"""Records of the core as JSON text and back, exactly: what is decoded equals what was encoded.

Decides the stored form of every type the core uses, from its annotations alone:

    Decimal          a string of plain digits, never an exponent
    enum             its value
    tuple, frozenset an array (a frozenset sorted)
    mapping          an object; with keys other than text, an array of [key, value] pairs
    record           an object with every field
    union            the member's own form; a record among several members carries its class name under "$kind", and a
                     Decimal that could be taken for text is written {"$decimal": "0.51"}

A field the record does not know is refused, because dropping it would lose what a newer version decided; a field with
a default may be missing. Floats have no form. Text is checked on the way in as strictly as on the way out.

Standard library only: msgspec cannot tell apart two records, or Decimal and text, in one union (`Ratio | Unavailable`,
`Answer`, `Scalar`), and costs 30 ms of start-up that `metrics` must not pay.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import Enum
from functools import cache
from json.encoder import encode_basestring_ascii as _quoted
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from tpctl.adapters.kept import Kept

_KIND = "$kind"
_DECIMAL = "$decimal"
# Far beyond any price; keeps a damaged or absurd exponent from becoming megabytes of zeros.
_MAX_DIGITS = 1000
_PLAIN = re.compile(r"-?[0-9]{1,1000}(\.[0-9]{1,1000})?")

T = TypeVar("T")
Plain = Any  # what json.loads returns


class CodecError(ValueError):
    """The text does not spell the type, or the value does not fit its annotation; says where and why."""

    def __init__(self, problem: str, where: str = "") -> None:
        super().__init__(f"{where.lstrip('.') or 'value'} {problem}")
        self.problem = problem
        self.where = where

    def inside(self, step: str) -> "CodecError":
        """Return the same problem seen from one level further out."""
        return CodecError(self.problem, step + self.where)


@dataclasses.dataclass(frozen=True, slots=True)
class _Form:
    """How one type is written, as JSON text. `shapes` are the JSON shapes it takes, `kind` its name as a record."""

    encode: Callable[[Any], str]
    decode: Callable[[Plain], Any]
    shapes: frozenset[str]
    accepts: Callable[[Any], bool]
    kind: str | None = None


def encode(value: object, hint: object = None) -> str:
    """Return `value` as JSON text; `hint` is its annotation where that is not simply its class (a union, a tuple).

    Raises `CodecError` where a field holds what its annotation does not allow, and `TypeError` for a type without form.
    """
    return _form(type(value) if hint is None else hint).encode(value)


def decode(text: str | bytes, hint: type[T]) -> T:
    """Return the value of type `hint` that `text` spells; raises `CodecError` where it does not."""
    try:
        plain = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"is not JSON: {error}") from None
    form: _Form = _form(cast("Any", hint))
    value: T = form.decode(plain)
    return value


def kinds(union: object) -> dict[str, type[Any]]:
    """Return the records of a union by class name, for tables that keep the name in a column of its own."""
    return {member.__name__: member for member in get_args(union)}


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")


def _shape(plain: Plain) -> str:
    if isinstance(plain, dict):
        if _KIND in plain:
            return f"{_KIND} {plain[_KIND]}"
        return _DECIMAL if _DECIMAL in plain else "object"
    return type(plain).__name__


@cache
def _form(hint: Any) -> _Form:  # noqa: PLR0911 - one line per kind of type reads best as one list
    if hint in _SCALARS:
        return _SCALARS[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        return _union_form(arguments)
    if origin is tuple:
        return _tuple_form(arguments)
    if origin is frozenset:
        return _frozenset_form(arguments[0])
    if origin is Literal:
        return _literal_form(arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping_form(*arguments)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum_form(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _record_form(hint)
    raise TypeError(f"no stored form for {hint!r}")


def _scalar(cls: type, encode: Callable[[Any], str], decode: Callable[[Plain], Any], shape: str) -> _Form:
    return _Form(encode, decode, frozenset({shape}), lambda value: type(value) is cls)


def _exactly(cls: type, name: str) -> Callable[[Plain], Any]:
    def check(value: Plain) -> Any:
        # An exact comparison, so that True does not pass for 1.
        if type(value) is not cls:
            raise CodecError(f"was {value!r:.60}, not {name}")
        return value

    return check


def _null_out(value: Any) -> str:
    if value is not None:
        raise CodecError(f"was {value!r:.60}, not null")
    return "null"


def _flag_out(value: Any) -> str:
    if value is True:
        return "true"
    if value is False:
        return "false"
    raise CodecError(f"was {value!r:.60}, not true or false")


def _whole_out(value: Any) -> str:
    if type(value) is not int:
        raise CodecError(f"was {value!r:.60}, not an integer")
    return str(value)


def _text_out(value: Any) -> str:
    if not isinstance(value, str):
        raise CodecError(f"was {value!r:.60}, not text")
    # ASCII with escapes: survives lone surrogates and zero characters in the exchange's texts.
    return _quoted(str(value.value) if type(value) is not str and isinstance(value, Enum) else value)


def _decimal_out(value: Any) -> str:
    if not isinstance(value, Decimal) or not value.is_finite() or abs(value.adjusted()) >= _MAX_DIGITS:
        raise CodecError(f"was {value!r:.60}, not a finite decimal")
    return f'"{value:f}"'


def _decimal_in(value: Plain) -> Decimal:
    if not isinstance(value, str) or _PLAIN.fullmatch(value) is None:
        raise CodecError(f"was {value!r:.60}, not a decimal")
    return Decimal(value)


_SCALARS: dict[Any, _Form] = {
    NoneType: _scalar(NoneType, _null_out, _exactly(NoneType, "null"), "NoneType"),
    bool: _scalar(bool, _flag_out, _exactly(bool, "true or false"), "bool"),
    int: _scalar(int, _whole_out, _exactly(int, "an integer"), "int"),
    str: _Form(_text_out, _exactly(str, "text"), frozenset({"str"}), lambda value: isinstance(value, str)),
    Decimal: _scalar(Decimal, _decimal_out, _decimal_in, "str"),
}


def _enum_form(cls: type[Enum]) -> _Form:
    by_value = {member.value: member for member in cls}
    written = {member: json.dumps(member.value) for member in cls}

    def encode(value: Any) -> str:
        if not isinstance(value, cls):
            raise CodecError(f"was {value!r:.60}, not a {cls.__name__}")
        return written[value]

    def decode(plain: Plain) -> Enum:
        # The type is compared too: to a dict, True and 1 are the same key.
        if isinstance(plain, str | int) and plain in by_value and type(plain) is type(by_value[plain].value):
            return by_value[plain]
        raise CodecError(f"was {plain!r:.60}, not a {cls.__name__}")

    shapes = frozenset(type(member.value).__name__ for member in cls)
    if not shapes <= {"str", "int"}:
        raise TypeError(f"no stored form for {cls!r}")
    return _Form(encode, decode, shapes, lambda value: isinstance(value, cls))


def _literal_form(words: tuple[Any, ...]) -> _Form:
    """Return the form of a choice of texts."""
    if not all(isinstance(word, str) for word in words):
        raise TypeError(f"no stored form for the choice {words!r}")

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise CodecError(f"was {value!r:.60}, not one of {', '.join(words)}")
        return value

    return _Form(
        lambda value: _quoted(check(value)),
        check,
        frozenset({"str"}),
        lambda value: isinstance(value, str) and value in words,
    )


def _each(convert: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
    result: list[Any] = []
    try:
        for value in values:
            result.append(convert(value))  # noqa: PERF401 - the index of the offender is len(result)
    except CodecError as error:
        raise error.inside(f"[{len(result)}]") from None
    return result


def _listed(parts: Iterable[str]) -> str:
    return f"[{','.join(parts)}]"


def _array(plain: Plain) -> list[Plain]:
    if not isinstance(plain, list):
        raise CodecError(f"was {plain!r:.60}, not an array")
    return plain


def _tuple_form(arguments: tuple[Any, ...]) -> _Form:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        item = _form(arguments[0])

        def encode(value: Any) -> str:
            if not isinstance(value, tuple):
                raise CodecError(f"was {value!r:.60}, not a tuple")
            return _listed(_each(item.encode, value))

        return _Form(
            encode,
            lambda plain: tuple(_each(item.decode, _array(plain))),
            frozenset({"list"}),
            lambda value: isinstance(value, tuple),
        )
    items = tuple(_form(argument) for argument in arguments)

    def pair_up(values: Any, side: str) -> list[Any]:
        if len(values) != len(items):
            raise CodecError(f"has {len(values)} items, not {len(items)}")
        return _each(lambda item: getattr(item[0], side)(item[1]), zip(items, values, strict=True))

    def encode_fixed(value: Any) -> str:
        if not isinstance(value, tuple):
            raise CodecError(f"was {value!r:.60}, not a tuple")
        return _listed(pair_up(value, "encode"))

    return _Form(
        encode_fixed,
        lambda plain: tuple(pair_up(_array(plain), "decode")),
        frozenset({"list"}),
        lambda value: isinstance(value, tuple),
    )


def _frozenset_form(argument: Any) -> _Form:
    item = _form(argument)

    def encode(value: Any) -> str:
        if not isinstance(value, frozenset):
            raise CodecError(f"was {value!r:.60}, not a frozenset")
        return _listed(sorted(_each(item.encode, value)))

    return _Form(
        encode,
        lambda plain: frozenset(_each(item.decode, _array(plain))),
        frozenset({"list"}),
        lambda value: isinstance(value, frozenset),
    )


def _mapping_form(key_hint: Any, value_hint: Any) -> _Form:
    key, item = _form(key_hint), _form(value_hint)
    reserved = {_quoted(_KIND), _quoted(_DECIMAL)}
    if key.shapes != {"str"} or key_hint is Decimal:
        pairs = _tuple_form((tuple[key_hint, value_hint], Ellipsis))
        return _Form(
            lambda value: pairs.encode(tuple(_mapping(value).items())),
            lambda plain: _distinct(pairs.decode(plain)),
            frozenset({"list"}),
            lambda value: isinstance(value, Mapping),
        )

    def encode(value: Any) -> str:
        parts = []
        for name, content in _mapping(value).items():
            text = key.encode(name)
            if text in reserved:
                raise CodecError(f"has the reserved key {json.loads(text)!r}")
            try:
                parts.append(f"{text}:{item.encode(content)}")
            except CodecError as error:
                raise error.inside(f"[{json.loads(text)!r}]") from None
        return f"{{{','.join(parts)}}}"

    def decode(plain: Plain) -> dict[Any, Any]:
        if not isinstance(plain, dict):
            raise CodecError(f"was {plain!r:.60}, not an object")
        result = {}
        for text, content in plain.items():
            try:
                result[key.decode(text)] = item.decode(content)
            except CodecError as error:
                raise error.inside(f"[{text!r}]") from None
        return result

    return _Form(encode, decode, frozenset({"object"}), lambda value: isinstance(value, Mapping))


def _mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise CodecError(f"was {value!r:.60}, not a mapping")
    return value


def _distinct(pairs: tuple[tuple[Any, Any], ...]) -> dict[Any, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise CodecError("has a key twice")
    return result


class _Record:
    """The form of one record class; its fields are compiled on first use, so that a record may contain itself.

    What a frozen record without mappings is written as never changes, so it is kept while it is written again. Of one
    with mappings, whose first field is such a record and says what it is of (a position), the fields are: most are the
    same the next time.
    """

    def __init__(self, cls: type[Any]) -> None:
        self._cls = cls
        # A field's name, its form, and whether it must be there.
        self._fields: list[tuple[str, _Form, bool]] = []
        # The text before a field's value, what writes the value, and whether the same value is always written alike.
        self._writers: list[tuple[str, Callable[[Any], str], bool]] = []
        self._values: Callable[[Any], tuple[Any, ...]] = lambda _: ()
        self._kept = Kept() if _never_changes(cls) else None
        # By the first field: the values that were written last, and as what.
        self._last: Kept | None = None

    def _compiled(self) -> list[tuple[str, _Form, bool]]:
        if not self._fields:
            hints = get_type_hints(self._cls)
            for field in dataclasses.fields(self._cls):
                required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
                self._fields.append((field.name, _form(hints[field.name]), required))
            self._writers = [
                (f"{_quoted(name)}:", form.encode, _never_changes(hints[name])) for name, form, _ in self._fields
            ]
            names = [name for name, _, _ in self._fields]
            if len(names) > 1:
                self._values = attrgetter(*names)
            else:  # an attrgetter of one name returns the value itself
                self._values = lambda value: tuple(getattr(value, name) for name in names)
            if self._kept is None and dataclasses.is_dataclass(hints[names[0]]) and self._writers[0][2]:
                self._last = Kept()
        return self._fields

    def encode(self, value: Any) -> str:
        if type(value) is not self._cls:
            raise CodecError(f"was {value!r:.60}, not a {self._cls.__name__}")
        kept = self._kept
        if kept is None:
            return self._written(value)
        text: str | None = kept.find(value)
        if text is None:
            text = self._written(value)
            kept.keep(value, text)
        return text

    def _written(self, value: Any) -> str:
        fields = self._compiled()
        contents = self._values(value)
        last = None if self._last is None else self._last.find(contents[0])
        parts: list[str] = []
        try:
            if last is None:
                for (before, write, _), content in zip(self._writers, contents, strict=True):
                    parts.append(before + write(content))
            else:
                for (before, write, fixed), content, old, part in zip(self._writers, contents, *last, strict=True):
                    parts.append(part if fixed and content is old else before + write(content))
        except CodecError as error:
            raise error.inside(f".{fields[len(parts)][0]}") from None
        if self._last is not None:
            self._last.keep(contents[0], (contents, parts))
        return f"{{{','.join(parts)}}}"

    def decode(self, plain: Plain) -> Any:
        if not isinstance(plain, dict):
            raise CodecError(f"was {plain!r:.60}, not a {self._cls.__name__}")
        values: dict[str, Any] = {}
        for name, form, required in self._compiled():
            if name in plain:
                try:
                    values[name] = form.decode(plain[name])
                except CodecError as error:
                    raise error.inside(f".{name}") from None
            elif required:
                raise CodecError(f"lacks {name!r}")
        if len(values) != len(plain):
            unknown = next(name for name in plain if name not in values)
            raise CodecError(f"has the unknown field {unknown!r}")
        try:
            return self._cls(**values)
        except ValueError as error:
            raise CodecError(f"is no valid {self._cls.__name__}: {error}") from None


def _never_changes(hint: Any, inside: tuple[Any, ...] = ()) -> bool:
    """Whether a value of this type stays as it is: frozen all the way down, with no mapping in it."""
    parts = [each for each in get_args(hint) if each is not Ellipsis]
    origin = get_origin(hint)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return False
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if not hint.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            return False
        # A record that contains itself is as fixed as the rest of it.
        parts = [] if hint in inside else [*get_type_hints(hint).values()]
    return all(_never_changes(part, (*inside, hint)) for part in parts)


def _record_form(cls: type[Any]) -> _Form:
    record = _Record(cls)
    return _Form(record.encode, record.decode, frozenset({"object"}), lambda value: type(value) is cls, cls.__name__)


def _tagged(form: _Form) -> _Form:
    head = f"{{{_quoted(_KIND)}:{_quoted(form.kind or '')}"

    def encode(value: Any) -> str:
        text = form.encode(value)
        return f"{head}}}" if text == "{}" else f"{head},{text[1:]}"

    def decode(plain: Plain) -> Any:
        return form.decode({name: content for name, content in plain.items() if name != _KIND})

    return dataclasses.replace(form, encode=encode, decode=decode, shapes=frozenset({f"{_KIND} {form.kind}"}))


def _wrapped_decimal(form: _Form) -> _Form:
    def decode(plain: Plain) -> Any:
        if len(plain) != 1:
            raise CodecError(f"was {plain!r:.60}, not a decimal")
        return form.decode(plain[_DECIMAL])

    return dataclasses.replace(
        form,
        encode=lambda value: f"{{{_quoted(_DECIMAL)}:{form.encode(value)}}}",
        decode=decode,
        shapes=frozenset({_DECIMAL}),
    )


def _member_forms(members: tuple[Any, ...]) -> list[_Form]:
    forms = [(member, _form(member)) for member in members]
    if len(members) - (NoneType in members) < 2:
        return [form for _, form in forms]
    several_texts = sum("str" in form.shapes for _, form in forms) > 1
    result = []
    for member, form in forms:
        if form.kind is not None:
            result.append(_tagged(form))
        elif member is Decimal and several_texts:
            result.append(_wrapped_decimal(form))
        else:
            result.append(form)
    return result


def _union_form(members: tuple[Any, ...]) -> _Form:
    # Plain text comes last when encoding, because an enum of text is text too.
    forms = sorted(_member_forms(members), key=lambda form: form is _SCALARS[str])
    by_shape: dict[str, _Form] = {}
    for form in forms:
        for shape in form.shapes:
            if by_shape.setdefault(shape, form) is not form:
                raise TypeError(f"nothing in the stored form tells the members of {members!r} apart")

    nullable = NoneType in members
    others = [form for form in forms if form is not _SCALARS[NoneType]]

    def encode(value: Any) -> str:
        # What is mostly None comes first: a position has thirty such fields.
        if value is None and nullable:
            return "null"
        for form in others:
            if form.accepts(value):
                return form.encode(value)
        raise CodecError(f"was {value!r:.60}, not one of {', '.join(str(member) for member in members)}")

    def decode(plain: Plain) -> Any:
        if plain is None and nullable:
            return None
        found = by_shape.get(_shape(plain))
        if found is None:
            raise CodecError(f"was {plain!r:.60}, which none of its types can be")
        return found.decode(plain)

    return _Form(encode, decode, frozenset(by_shape), lambda value: any(form.accepts(value) for form in forms))
