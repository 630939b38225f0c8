"""What `risk` is told instead of measuring: readings by `--set`, readings and a book by `--inputs`, other marks.

Decides how they are spelled. A reading that is set is for this run only; `n/a` makes one unavailable.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, NoReturn

from tpctl.exits.errors import InputsError, UsageError
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import PositionKey
from tpctl.exits.units import ZERO, Money, parse_decimal
from tpctl.market.risk.account import Account, Exposure
from tpctl.market.risk.readings import CONTRACT, DEFAULT_MARKS, Marks, Measured

_MISSING = frozenset({"n/a", "na", "none", "null", "unknown"})
_LARGEST = Decimal(1000)
_POSITION_KEYS = {
    "symbol": True,
    "position_side": True,
    "quantity": True,
    "mark": False,
    "entry": False,
    "stop": False,
    "liquidation": False,
    "margin": False,
}
_BOOK_HINT = (
    'write {"readings": {"ess": 1.2}, "equity": 10000, "positions": [{"symbol": "XRPUSDT", '
    '"position_side": "long", "quantity": 800, "mark": 2.4}]}'
)


@dataclass(frozen=True, slots=True)
class HypotheticalBook:
    """A book to measure instead of the account's. An exposure's mark of zero stands for the newest close."""

    equity: Money
    exposures: tuple[Exposure, ...]
    margins: Mapping[PositionKey, Money] = field(default_factory=dict)

    def marked(self, closes: Mapping[str, Decimal]) -> "HypotheticalBook":
        """Return the book with marks and entries that were left out taken from the newest closes."""
        exposures = []
        for exposure in self.exposures:
            mark = exposure.mark or closes.get(exposure.key.symbol, ZERO)
            if mark <= ZERO:
                raise InputsError(
                    f"{exposure.key} has no mark, and there is no candle of it", 'give its "mark" in the inputs'
                )
            exposures.append(replace(exposure, mark=mark, entry=exposure.entry or mark))
        return replace(self, exposures=tuple(exposures))

    @property
    def account(self) -> Account:
        """The account such a book would have."""
        signed = [e.key.side.sign * (e.mark - e.entry) * e.quantity for e in self.exposures]
        return Account(
            equity=self.equity,
            unrealised=sum(signed, ZERO),
            initial_margin=sum(self.margins.values(), ZERO),
            gross_notional=sum((abs(e.notional) for e in self.exposures), ZERO),
        )


@dataclass(frozen=True, slots=True)
class Told:
    """What was told: readings by name, and a book where one was given."""

    readings: Mapping[str, Measured] = field(default_factory=dict)
    book: HypotheticalBook | None = None


def parse_settings(texts: Sequence[str]) -> dict[str, Measured]:
    """Read `ess=2.1` or `systemic=n/a`; raises `UsageError`."""
    found: dict[str, Measured] = {}
    for text in texts:
        name, value = _pair(text, "--set", CONTRACT)
        if value.lower() in _MISSING:
            found[name] = Unavailable("set to n/a")
            continue
        found[name] = _value(name, value, "--set")
    return found


def parse_marks(warnings: Sequence[str], criticals: Sequence[str]) -> dict[str, Marks]:
    """Return the marks with those of `--warn NAME=VALUE` and `--crit NAME=VALUE` put over them."""
    marks = dict(DEFAULT_MARKS)
    for text in warnings:
        name, value = _pair(text, "--warn", tuple(marks))
        marks[name] = replace(marks[name], warning=_mark(value, "--warn"))
    for text in criticals:
        name, value = _pair(text, "--crit", tuple(marks))
        marks[name] = replace(marks[name], critical=_mark(value, "--crit"))
    for name, pair in marks.items():
        if pair.warning is not None and pair.critical is not None and pair.critical < pair.warning:
            raise UsageError(
                f"{name} is critical from {pair.critical} and a warning from {pair.warning}",
                "give a critical mark above the warning",
            )
    return marks


def read_inputs(name: str) -> Told:
    """Read what a JSON file, or stdin for `-`, tells; also a `tpctl.risk/1` document. Raises `InputsError`."""
    label = "inputs on stdin" if name == "-" else f"inputs file {name!r}"
    try:
        if name == "-":
            text = sys.stdin.read()
        else:
            with open(name, encoding="utf-8") as stream:  # noqa: PTH123 - the name is the operator's spelling
                text = stream.read()
        content = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise InputsError(f"{label} cannot be read: {reason}", "check the path after --inputs") from None
    except (ValueError, RecursionError):
        raise InputsError(f"{label} is not JSON", _BOOK_HINT) from None
    if not isinstance(content, Mapping):
        raise InputsError(f"{label} is not an object", _BOOK_HINT)
    if content.get("schema") == "tpctl.risk/1" and isinstance(content.get("data"), Mapping):
        return Told(_readings(content["data"].get("readings", {}), label))
    _known(content, ("readings", "equity", "positions"), label)
    return Told(_readings(content.get("readings", {}), label), _book(content, label))


def _readings(rows: Any, label: str) -> dict[str, Measured]:
    if not isinstance(rows, Mapping):
        raise InputsError(f"the readings of {label} are not an object", _BOOK_HINT)
    _known(rows, CONTRACT, label)
    found: dict[str, Measured] = {}
    for name, row in rows.items():
        value = row.get("value") if isinstance(row, Mapping) else row
        reason = row.get("unavailable_reason") if isinstance(row, Mapping) else None
        found[name] = Unavailable(str(reason or "not known")) if value is None else _value(name, value, label)
    return found


def _book(content: Mapping[str, Any], label: str) -> HypotheticalBook | None:
    if "positions" not in content and "equity" not in content:
        return None
    rows = content.get("positions", [])
    if not isinstance(rows, list) or "equity" not in content:
        raise InputsError(f"{label} needs both equity and a list of positions", _BOOK_HINT)
    exposures, margins = [], {}
    for row in rows:
        if not isinstance(row, Mapping):
            raise InputsError(f"a position of {label} is not an object", _BOOK_HINT)
        _known(row, tuple(_POSITION_KEYS), label)
        missing = next((key for key, needed in _POSITION_KEYS.items() if needed and row.get(key) is None), None)
        if missing is not None:
            raise InputsError(f"a position of {label} has no {missing!r}", _BOOK_HINT)
        side = str(row["position_side"]).lower()
        if side not in {"long", "short"}:
            raise InputsError(f"position_side {side!r} of {label} is neither long nor short", _BOOK_HINT)
        key = PositionKey(str(row["symbol"]), PositionSide(side))
        exposures.append(
            Exposure(
                key=key,
                quantity=_above_zero(row["quantity"], f"quantity of {key}", label),
                mark=_optional(row, "mark", key, label) or ZERO,
                entry=_optional(row, "entry", key, label) or ZERO,
                stop=_optional(row, "stop", key, label),
                liquidation=_optional(row, "liquidation", key, label),
            )
        )
        margins[key] = _optional(row, "margin", key, label) or ZERO
    if len(margins) < len(exposures):
        raise InputsError(f"{label} names a position twice", "give each symbol and side once")
    return HypotheticalBook(_above_zero(content["equity"], "equity", label), tuple(exposures), margins)


def _optional(row: Mapping[str, Any], name: str, key: PositionKey, label: str) -> Decimal | None:
    return None if row.get(name) is None else _above_zero(row[name], f"{name} of {key}", label)


def _above_zero(value: Any, what: str, label: str) -> Decimal:
    number = _number(value, what, label)
    if number <= 0:
        raise InputsError(f"{what} in {label} is not above zero, it is '{number}'", _BOOK_HINT)
    return number


def _number(value: Any, what: str, label: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | Decimal):
        raise InputsError(f"{what} in {label} is not a number", _BOOK_HINT)
    return parse_decimal(str(value), what)


def _value(name: str, value: Any, label: str) -> Decimal:
    try:
        number = _number(value, name, label)
    except InputsError as error:
        if label == "--set":
            raise UsageError(error.message, f"write --set {name}=2.1, or {name}=n/a") from None
        raise
    most = Decimal(1) if name in {"systemic", "correlation", "heat"} else _LARGEST
    if not ZERO <= number <= most:
        kind = UsageError if label == "--set" else InputsError
        raise kind(f"{name} '{value}' is not between 0 and {most}", f"give {name} as a number from 0 to {most}")
    return number


def _pair(text: str, option: str, names: Sequence[str]) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    name = name.strip().lower()
    if not sign or not value.strip():
        raise UsageError(f"{option} {text!r} is not NAME=VALUE", f"write {option} ess=2.1")
    if name not in names:
        near = get_close_matches(name, names, n=1)
        raise UsageError(
            f"{option} names no reading {name!r}",
            f"did you mean {near[0]!r}?" if near else f"the readings are: {', '.join(names)}",
        )
    return name, value.strip()


def _mark(text: str, option: str) -> Decimal | None:
    if text.lower() in _MISSING:
        return None
    try:
        return parse_decimal(text, "mark")
    except InputsError as error:
        raise UsageError(error.message, f"write {option} ess=2, or n/a for none") from None


def _known(row: Mapping[str, Any], names: Sequence[str], label: str) -> None:
    unknown = next((key for key in row if key not in names), None)
    if unknown is not None:
        _refuse_key(str(unknown), names, label)


def _refuse_key(key: str, names: Sequence[str], label: str) -> NoReturn:
    near = get_close_matches(key, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(names)}"
    raise InputsError(f"{label} has an unknown key {key!r}", hint)
