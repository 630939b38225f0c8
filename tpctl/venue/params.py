"""Reads request parameters as the exchange does: strings in, typed values out, or the refusal the exchange gives.

Decides what a parameter means on its own; what parameters mean together is decided where they are used.
"""

import re
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import TypeAlias

from tpctl.venue.refusals import refusal

Params: TypeAlias = Mapping[str, str]

_NUMBER = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
_NUMBER_PATTERN = re.compile(_NUMBER)
_CLIENT_ID = re.compile(r"^[.A-Z:/a-z0-9_-]{1,36}$")


def required(params: Params, name: str) -> str:
    """Return a mandatory parameter; -1102 where it is missing or empty."""
    value = params.get(name, "")
    if not value:
        raise refusal(-1102, name.lower())
    return value


def choice(params: Params, name: str, allowed: Collection[str], code: int, default: str = "") -> str:
    """Return an enumerated parameter, `default` where absent (mandatory without one); `code` for a foreign value."""
    value = params.get(name, "") or default
    if not value:
        raise refusal(-1102, name.lower())
    if value not in allowed:
        raise refusal(code, name)
    return value


def number(params: Params, name: str) -> Decimal:
    """Return a mandatory plain decimal; -1102 where missing, -1100 for signs, exponents and anything else."""
    text = required(params, name)
    if text.startswith("-") and _NUMBER_PATTERN.match(text[1:]):
        return Decimal(text)
    if not _NUMBER_PATTERN.match(text):
        raise refusal(-1100, name.lower(), _NUMBER)
    return Decimal(text)


def integer(params: Params, name: str, default: int | None = None) -> int:
    """Return an integer parameter; -1102 where a mandatory one is missing or none, -1130 for other text."""
    text = params.get(name, "")
    if not text:
        if default is None:
            raise refusal(-1102, name.lower())
        return default
    if not text.isdecimal():
        raise refusal(-1130, name)
    return int(text)


def flag(params: Params, name: str, code: int = -1130) -> bool:
    """Return a boolean parameter, false where absent; only lower-case `true` and `false` are booleans."""
    text = params.get(name, "")
    if text not in {"", "true", "false"}:
        raise refusal(code, name)
    return text == "true"


def client_id(params: Params, name: str) -> str | None:
    """Return a client id or None where absent; -4015 for one of foreign characters or above 36."""
    value = params.get(name)
    if value is None:
        return None
    if not _CLIENT_ID.match(value):
        raise refusal(-4015)
    return value


def absent(params: Params, *names: str) -> None:
    """Refuse (-1106) where a parameter was sent that the request does not take."""
    for name in names:
        if params.get(name, ""):
            raise refusal(-1106, name.lower())
