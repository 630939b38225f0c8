"""Checks that rules make on themselves when they are built. Every refusal is a `ConfigError` with its hint."""

from collections.abc import Mapping
from decimal import Decimal

from tpctl.exits.errors import ConfigError
from tpctl.exits.units import ONE, ZERO, Ratio, trimmed


def require(condition: bool, message: str, hint: str) -> None:
    """Raise `ConfigError` unless the condition holds."""
    if not condition:
        raise ConfigError(message, hint)


def require_positive(values: Mapping[str, Decimal | Ratio | int]) -> None:
    """Raise `ConfigError` naming the first value that is not above zero."""
    for name, value in values.items():
        number = value.fraction if isinstance(value, Ratio) else Decimal(value)
        require(number.is_finite() and number > 0, f"{name} '{value}' is not above zero", f"set {name} above zero")


def require_split(name: str, split: tuple[Decimal, ...], legs: int) -> None:
    """Raise `ConfigError` unless the shares are one a level, above zero, and sum to 1."""
    shown = "/".join(trimmed(share * 100) for share in split)
    require(
        len(split) == legs,
        f"{name} '{shown}' has {len(split)} shares for {legs} levels",
        "give one share to each level",
    )
    require(all(share > 0 for share in split), f"{name} '{shown}' has a share of zero or less", "give shares above 0")
    require(sum(split, ZERO) == ONE, f"{name} '{shown}' does not sum to 100", "let the shares sum to exactly 1")
