"""The risk readings a plan is given by hand: none, or those of a file."""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import RiskReadings
from tpctl.exits.units import trimmed

_READINGS = ("ess", "systemic", "correlation", "heat")
_RISK_HINT = 'write {"ess": 1.2, "systemic": 0.3, "correlation": 0.4, "heat": 0.1}; leave out or null what is not known'

NOT_WANTED = Unavailable("left out by --risk none")


def given_risk(text: str) -> RiskReadings | Unavailable | None:
    """Return the readings given by hand; None where they are to be measured."""
    if text == "auto":
        return None
    if text == "none":
        return NOT_WANTED
    return _read(Path(text))


def _read(path: Path) -> RiskReadings:
    """Return the readings of a JSON file, or of a `tpctl.risk/1` document; raises `InputsError`."""
    try:
        content = json.loads(path.read_bytes(), parse_float=Decimal, parse_int=Decimal)
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise InputsError(f"risk file {str(path)!r} cannot be read: {reason}", "give auto, none or a file") from None
    except (ValueError, RecursionError):
        raise InputsError(f"risk file {str(path)!r} is not JSON", _RISK_HINT) from None
    rows, measured = content, {*_READINGS}
    if isinstance(content, Mapping) and content.get("schema") == "tpctl.risk/1":
        data = content.get("data")
        rows = data.get("readings") if isinstance(data, Mapping) else None
        measured = {*_READINGS, "var_95", "es_95"}
    if not isinstance(rows, Mapping):
        raise InputsError(f"risk file {str(path)!r} holds no readings", _RISK_HINT)
    unknown = next((name for name in rows if name not in measured), None)
    if unknown is not None:
        raise InputsError(f"risk file {str(path)!r} has an unknown reading {unknown!r}", _RISK_HINT)
    return RiskReadings(*(_reading(path, name, rows.get(name)) for name in _READINGS))


def _reading(path: Path, name: str, value: Any) -> Decimal | Unavailable:
    if isinstance(value, Mapping):
        if value.get("value") is None:
            return Unavailable(str(value.get("unavailable_reason") or "not measured"))
        value = value["value"]
    if value is None:
        return Unavailable(f"not in {str(path)!r}")
    try:
        number = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except ArithmeticError:
        number = Decimal("NaN")
    most = Decimal(1000) if name == "ess" else Decimal(1)
    if not number.is_finite() or not 0 <= number <= most:
        raise InputsError(f"{name} '{value}' in {str(path)!r} is not between 0 and {trimmed(most)}", _RISK_HINT)
    return number
