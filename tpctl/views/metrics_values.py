"""How `metrics` puts single figures in the words of its JSON contract. Unavailable is null beside its reason."""

from decimal import Decimal
from typing import TYPE_CHECKING

from tpctl.adapters.metrics_query import Spread
from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import trimmed

if TYPE_CHECKING:
    from tpctl.views.machine import Json

_SPREAD = ("mean", "p50", "p90", "p99", "max")


def put(row: "dict[str, Json]", name: str, value: "Json | Unavailable") -> None:
    """Set a field; what is unavailable becomes null beside its reason. Decimals lose trailing zeros, no digit else."""
    if isinstance(value, Unavailable):
        row[name] = None
        row[f"{name}_unavailable_reason"] = value.reason
    else:
        row[name] = trimmed(value) if isinstance(value, Decimal) else value


def spread_fields(spread: Spread) -> "dict[str, Json]":
    """Return the figures of some values in the contract's words."""
    values = (spread.mean, *spread.quantiles, spread.largest)
    return {"count": spread.count, **{name: trimmed(value) for name, value in zip(_SPREAD, values, strict=True)}}


def whole_fields(spread: Spread) -> "dict[str, Json]":
    """Return the figures of whole milliseconds; the mean is rounded to them."""
    values = (spread.mean, *spread.quantiles, spread.largest)
    return {"count": spread.count, **{name: int(value) for name, value in zip(_SPREAD, values, strict=True)}}


def summed_fields(spread: Spread, total: Decimal | None = None) -> "dict[str, Json]":
    """Return the figures of some values with their sum, which comes from their mean where it is not given."""
    return {"total": trimmed(total_of(spread) if total is None else total), **spread_fields(spread)}


def total_of(spread: Spread) -> Decimal:
    """Return the sum of some values."""
    return spread.mean * spread.count
