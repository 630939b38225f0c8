"""How durations are spelled in a file or on a command line: `500ms`, `30s`, `10m`, `1h30m`, `2d`."""

import re

from tpctl.exits.errors import InputsError
from tpctl.exits.units import Millis

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")
_WHOLE = re.compile(rf"({_PART.pattern})+")


def parse_duration(text: str, what: str) -> Millis:
    """Return the length in milliseconds; `what` names it in the error (`InputsError`)."""
    stripped = text.strip().lower()
    if stripped.isascii() and stripped.isdecimal():
        raise InputsError(f"{what} {text!r} has no unit", f"write {stripped}s, {stripped}m or {stripped}h")
    if not _WHOLE.fullmatch(stripped):
        raise InputsError(f"{what} {text!r} is not a duration", "write 30s, 10m, 1h30m or 2d")
    parts = _PART.findall(stripped)
    scales = [_UNITS[unit] for _, unit in parts]
    if scales != sorted(set(scales), reverse=True):
        raise InputsError(f"{what} {text!r} is not a duration", "write each unit once, the largest first: 1h30m")
    return sum(int(count) * scale for (count, _), scale in zip(parts, scales, strict=True))


def show_duration(length: Millis) -> str:
    """Return the shortest spelling that `parse_duration` reads back."""
    text = ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, length = divmod(length, _UNITS[unit])
        if count:
            text += f"{count}{unit}"
    return text or "0s"
