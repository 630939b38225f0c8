"""Money, prices, quantities and ratios: parsing and formatting in one place.

Prices, quantities and money are `Decimal`. A ratio is its own type, a fraction inside, so that a percent can never be
taken for a fraction or for a share of margin. Binary floats never enter.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import TypeAlias

from tpctl.exits.errors import InputsError

Price: TypeAlias = Decimal
Quantity: TypeAlias = Decimal
Money: TypeAlias = Decimal
Millis: TypeAlias = int

ZERO = Decimal(0)
ONE = Decimal(1)

# A number an exchange can print has far fewer digits; this bound keeps `1e999999` from filling memory when formatted.
_MAX_EXPONENT = 30


def parse_decimal(text: str, what: str) -> Decimal:
    """Return the finite decimal that `text` spells; `what` names it in the error.

    Raises `InputsError` for text that is no number, NaN, an infinity, or of absurd size.
    """
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise InputsError(f"{what} {text!r} is not a number", "write a plain decimal such as 0.5123") from None
    if not value.is_finite() or abs(value.adjusted()) > _MAX_EXPONENT:
        raise InputsError(f"{what} {text!r} is out of range", "write a plain decimal such as 0.5123")
    return value


def parse_positive(text: str, what: str) -> Decimal:
    """Return the decimal that `text` spells, which must be above zero; raises `InputsError` otherwise."""
    value = parse_decimal(text, what)
    if value <= 0:
        raise InputsError(f"{what} {text!r} is not above zero", "give a positive number")
    return value


def plain(value: Decimal) -> str:
    """Return `value` in plain digits, never an exponent: the form that goes to the exchange and into JSON."""
    return format(value, "f")


def trimmed(value: Decimal, places: int | None = None) -> str:
    """Return `value` in plain digits without trailing zeros, rounded half-even to `places` first where given."""
    if places is not None:
        value = value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


@dataclass(frozen=True, slots=True, order=True)
class Ratio:
    """A share of price (or of size), held as a fraction: `Ratio.percent("1.5").fraction == Decimal("0.015")`."""

    fraction: Decimal

    def __post_init__(self) -> None:
        if not self.fraction.is_finite():
            raise ValueError(f"a ratio must be finite, was {self.fraction}")

    @classmethod
    def percent(cls, value: Decimal | str | int) -> "Ratio":
        """Build from a percentage: `Ratio.percent("1.5")` is 0.015."""
        return cls(Decimal(value) / 100)

    @classmethod
    def parse(cls, text: str, what: str = "ratio") -> "Ratio":
        """Parse `1.5%` or `150bps`; a bare number is refused because its unit would be a guess (`InputsError`)."""
        stripped = text.strip()
        lowered = stripped.lower()
        if lowered.endswith("%"):
            return cls(parse_decimal(stripped[:-1], what) / 100)
        if lowered.endswith("bps"):
            return cls(parse_decimal(stripped[:-3], what) / 10_000)
        parse_decimal(stripped, what)
        raise InputsError(f"{what} {text!r} has no unit", f"write {stripped}% or {stripped}bps")

    @property
    def as_percent(self) -> Decimal:
        """The value in percent."""
        return self.fraction * 100

    def of(self, base: Decimal) -> Decimal:
        """Return this share of `base`."""
        return self.fraction * base

    def scaled(self, factor: Decimal) -> "Ratio":
        """Return the ratio multiplied by a plain factor."""
        return Ratio(self.fraction * factor)

    def __add__(self, other: "Ratio") -> "Ratio":
        return Ratio(self.fraction + other.fraction)

    def __sub__(self, other: "Ratio") -> "Ratio":
        return Ratio(self.fraction - other.fraction)

    def __neg__(self) -> "Ratio":
        return Ratio(-self.fraction)

    def __truediv__(self, other: "Ratio") -> Decimal:
        return self.fraction / other.fraction

    def __str__(self) -> str:
        return f"{trimmed(self.as_percent, 4)}%"

    def show(self, places: int = 2) -> str:
        """Return the percentage with a fixed number of places, for people: `1.09%`."""
        return f"{self.as_percent:.{places}f}%"
