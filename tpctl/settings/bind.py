"""From a TOML table to frozen records, by their own field types. Strict: what it does not know, it refuses.

An unknown key, a wrong type or a ratio without a unit is a `ConfigError` that names the file and the key path. A field
that holds milliseconds (`…_ms`) is written without the suffix, as a duration: `reconcile_interval = "30s"`. A secret
that strayed into the file is refused without being printed (I20).
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from tpctl.exits.errors import ConfigError, InputsError
from tpctl.exits.units import Ratio
from tpctl.settings.schema import Origin, Source
from tpctl.settings.values import parse_duration

Record = TypeVar("Record")

_ARMING = frozenset({"arm", "armed", "arming", "confirm", "mode"})
_SECRET = frozenset({"api_key", "api_secret", "apikey", "apisecret", "key", "secret", "secret_key", "passphrase"})


class Binder:
    """Binds tables of one file and remembers which key paths the file set."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.origins: dict[str, Origin] = {}

    def overlay(self, base: Record, table: object, path: str = "") -> Record:
        """Return `base` with the values of a table in place of its own; raises `ConfigError`."""
        return cast("Record", self._record(type(base), table, path, base))

    def _record(self, kind: type, table: object, path: str, base: object) -> object:
        if not isinstance(table, Mapping):
            self._refuse(path, f"{_shown(table)} is not a section", f"write it as [{path}]")
        hints = get_type_hints(kind)
        known = {_spelling(f.name): f for f in fields(kind)}
        for key in table:
            if key not in known:
                self._unknown(path, key, list(known))
        values: dict[str, object] = {}
        for spelling, f in known.items():
            current = MISSING if base is None else getattr(base, f.name)
            if spelling in table:
                at = _below(path, spelling)
                values[f.name] = self._value(hints[f.name], table[spelling], at, f.name, current)
            elif base is not None:
                values[f.name] = current
            elif f.default is MISSING and f.default_factory is MISSING:
                self._refuse(path, f"{spelling!r} is missing", f"add {spelling} to it")
        try:
            return kind(**values)
        except ConfigError as error:
            self._refuse(path, error.message, error.hint)

    def _value(self, hint: Any, raw: object, path: str, name: str, current: object) -> object:
        """Return a raw TOML value as the type `hint` names; `current` is the value it replaces, where there is one."""
        origin, args = get_origin(hint), get_args(hint)
        if origin in {Union, UnionType}:
            (inner,) = [arg for arg in args if arg is not NoneType]
            return self._value(inner, raw, path, name, MISSING if current is None else current)
        if origin is tuple:
            return self._tuple(args, raw, path, name)
        if origin is not None and origin is not Literal and issubclass(origin, Mapping):
            return self._mapping(args, raw, path, current)
        if is_dataclass(hint) and hint is not Ratio:
            return self._record(cast("type", hint), raw, path, None if current is MISSING else current)
        value = self._leaf(hint, raw, path, name)
        self.origins[path] = Origin(Source.FILE, str(self.file))
        return value

    def _tuple(self, args: tuple[Any, ...], raw: object, path: str, name: str) -> tuple[object, ...]:
        if not isinstance(raw, list):
            self._refuse(path, f"{_shown(raw)} is not a list", "write it in brackets, such as [ … ]")
        if args[-1] is Ellipsis:
            kinds = [args[0]] * len(raw)
        else:
            kinds = list(args)
            if len(raw) != len(kinds):
                self._refuse(path, f"has {len(raw)} values instead of {len(kinds)}", f"give {len(kinds)} values")
        items = tuple(
            self._value(kind, item, f"{path}[{number}]", name, MISSING)
            for number, (kind, item) in enumerate(zip(kinds, raw, strict=True))
        )
        self.origins[path] = Origin(Source.FILE, str(self.file))
        return items

    def _mapping(self, args: tuple[Any, ...], raw: object, path: str, current: object) -> dict[object, object]:
        if not isinstance(raw, Mapping):
            self._refuse(path, f"{_shown(raw)} is not a section", f"write it as [{path}]")
        merged: dict[object, object] = dict(current) if isinstance(current, Mapping) else {}
        for key, item in raw.items():
            at = _below(path, key)
            name = self._value(args[0], key, at, key, MISSING)
            merged[name] = self._value(args[1], item, at, key, merged.get(name, MISSING))
        return merged

    def _leaf(self, kind: Any, raw: object, path: str, name: str) -> object:
        if get_origin(kind) is Literal:
            return self._one_of(get_args(kind), raw, path)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return kind(self._one_of(tuple(member.value for member in kind), raw, path))
        if kind is Ratio:
            return self._ratio(raw, path)
        if kind is int and name.endswith("_ms"):
            return self._duration(raw, path)
        if kind is Decimal:
            return self._number(raw, path)
        return self._builtin(kind, raw, path)

    def _builtin(self, kind: Any, raw: object, path: str) -> object:
        if kind is bool and not isinstance(raw, bool):
            self._refuse(path, f"{_shown(raw)} is neither true nor false", "write true or false")
        if kind is int and (isinstance(raw, bool) or not isinstance(raw, int)):
            self._refuse(path, f"{_shown(raw)} is not a whole number", "write a whole number without quotes")
        if kind in {str, Path} and not isinstance(raw, str):
            self._refuse(path, f"{_shown(raw)} is not text", "put it in quotes")
        if kind is Path:
            return self.file.parent / Path(cast("str", raw)).expanduser()
        return raw

    def _number(self, raw: object, path: str) -> Decimal:
        if isinstance(raw, bool) or not isinstance(raw, int | Decimal) or not Decimal(raw).is_finite():
            self._refuse(path, f"{_shown(raw)} is not a number", "write a plain number without quotes, such as 0.35")
        return Decimal(raw)

    def _ratio(self, raw: object, path: str) -> Ratio:
        if isinstance(raw, int | Decimal) and not isinstance(raw, bool):
            self._refuse(path, f"{_shown(raw)} has no unit", f'write "{raw}%" or "{raw}bps"')
        if not isinstance(raw, str):
            self._refuse(path, f"{_shown(raw)} is not a ratio", 'write it as "1.5%"')
        try:
            return Ratio.parse(raw)
        except InputsError as error:
            self._refuse(path, error.message, error.hint)

    def _duration(self, raw: object, path: str) -> int:
        if not isinstance(raw, str):
            self._refuse(path, f"{_shown(raw)} has no unit", f'write it with its unit, such as "{raw}s"')
        try:
            return parse_duration(raw, "duration")
        except InputsError as error:
            self._refuse(path, error.message, error.hint)

    def _one_of(self, allowed: tuple[object, ...], raw: object, path: str) -> object:
        names = [str(value) for value in allowed]
        near = get_close_matches(str(raw), names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(names)}"
        if raw not in allowed:
            self._refuse(path, f"{_shown(raw)} is not one of its values", hint)
        return raw

    def _unknown(self, path: str, key: str, known: list[str]) -> NoReturn:
        if key.lower() in _SECRET:
            hint = (
                "keys never stand in the configuration: name a key_file, key_command or key_env, and replace this key"
            )
        elif key.lower() in _ARMING:
            hint = "arming is per invocation: give --arm on the command line"
        else:
            near = get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        self._refuse(path, f"unknown key {key!r}", hint)

    def _refuse(self, path: str, what: str, hint: str) -> NoReturn:
        where = f"{self.file}: {path}: " if path else f"{self.file}: "
        raise ConfigError(f"{where}{what}", hint) from None


def _spelling(name: str) -> str:
    return name.removesuffix("_ms")


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _shown(raw: object) -> str:
    return repr(raw) if isinstance(raw, str) else f"'{str(raw).lower() if isinstance(raw, bool) else raw}'"
