"""How `metrics --compare` shows two arms side by side: means, their difference, and how sure it is."""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from tpctl.exits.instrument import Unavailable
from tpctl.exits.units import trimmed
from tpctl.market.bootstrap import Spread
from tpctl.market.sequential import ALPHA, Sequential
from tpctl.views.metrics_values import put

if TYPE_CHECKING:
    from tpctl.views.machine import Json

# A split less likely than this is no chance: what is usual for such checks.
_BROKEN = 0.001
_PLACES = {"mean_r": 3, "mean_profit_usd": 2, "hit_rate": 4}
_WORDS = {"mean_r": "mean R", "mean_profit_usd": "mean profit, USD", "hit_rate": "hit rate"}


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of both arms. Means are over positions; the intervals are of B less A."""

    name: str
    mean_a: float | None
    mean_b: float | None
    bootstrap: Spread | Unavailable
    sequential: Sequential


@dataclass(frozen=True, slots=True)
class Draw:
    """How positions were drawn: the probabilities of A and B, and that of a split as uneven as theirs."""

    shares: tuple[Decimal, Decimal]
    p: float | None

    @property
    def broken(self) -> bool:
        """Whether chance alone hardly explains the split."""
        return self.p is not None and self.p < _BROKEN


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two arms. `positions` and `attempts` are (of A, of B)."""

    arm_a: str
    arm_b: str
    positions: tuple[int, int]
    attempts: tuple[int, int]
    figures: tuple[Compared, ...]
    draw: Draw | None = None


def compare_text(found: Comparison) -> str:
    """Return the comparison for people."""
    rows = [
        ["per position", f"A: {found.arm_a}", f"B: {found.arm_b}", "B less A", "bootstrap 95%", "always valid 95%", "p"]
    ]
    rows += [_cells(figure) for figure in found.figures]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.append(
        f"positions {found.positions[0]} and {found.positions[1]}, attempts {found.attempts[0]} and {found.attempts[1]}"
    )
    if found.draw is not None:
        lines.append(_draw_text(found.draw))
    lines += [f"{_WORDS[figure.name]}: {verdict(figure, found)}" for figure in found.figures]
    lines.append(
        "always valid: however often it is looked at, if positions are independent; the bootstrap draws whole days"
    )
    return "".join(f"{line}\n" for line in lines)


def _draw_text(draw: Draw) -> str:
    a, b = (f"{trimmed(share * 100, 2)}%" for share in draw.shares)
    text = f"drawn with {a} and {b}"
    if draw.broken:
        return f"{text}, but a split this uneven has a chance of {draw.p:.1g}: the draw or the record is broken"
    return text if draw.p is None else f"{text}; a split at least this uneven has a chance of {draw.p:.2f}"


def verdict(figure: Compared, found: Comparison) -> str:
    """Return what may be said of one figure, in words."""
    test = figure.sequential
    if figure.mean_a is None or figure.mean_b is None:
        return "n/a: one of the two has no position with this figure"
    if not test.decided:
        return "no difference shown yet"
    better = found.arm_b if (test.difference or 0) > 0 else found.arm_a
    return f"{better} is higher, shown after {test.decided_after} positions"


def _cells(figure: Compared) -> list[str]:
    places, test = _PLACES[figure.name], figure.sequential
    spread = figure.bootstrap
    drawn = f"n/a ({spread.reason})" if isinstance(spread, Unavailable) else _pair(spread.low, spread.high, places)
    return [
        _WORDS[figure.name],
        _shown(figure.mean_a, places),
        _shown(figure.mean_b, places),
        _shown(test.difference, places, sign="+"),
        drawn,
        _pair(test.low, test.high, places),
        f"{test.p:.3f}",
    ]


def _shown(value: float | None, places: int, sign: str = "") -> str:
    return "n/a" if value is None else f"{value:{sign}.{places}f}"


def _pair(low: float | None, high: float | None, places: int) -> str:
    return "n/a" if low is None or high is None else f"{low:+.{places}f} to {high:+.{places}f}"


def compare_fields(found: Comparison) -> "dict[str, Json]":
    """Return the comparison in the contract's form."""
    return {
        "a": _arm(found, 0),
        "b": _arm(found, 1),
        "unit": "position",
        "alpha": _plain(ALPHA),
        "figures": [_figure(figure, found) for figure in found.figures],
        **({} if found.draw is None else {"draw": _draw_fields(found.draw)}),
    }


def _draw_fields(draw: Draw) -> "dict[str, Json]":
    row: dict[str, Json] = {"share_a": trimmed(draw.shares[0]), "share_b": trimmed(draw.shares[1])}
    put(row, "p", Unavailable("no position of either arm ended") if draw.p is None else _plain(draw.p))
    row["broken"] = draw.broken
    return row


def _arm(found: Comparison, number: int) -> "dict[str, Json]":
    return {
        "name": (found.arm_a, found.arm_b)[number],
        "positions": found.positions[number],
        "attempts": found.attempts[number],
    }


def _figure(figure: Compared, found: Comparison) -> "dict[str, Json]":
    test, spread = figure.sequential, figure.bootstrap
    row: dict[str, Json] = {"name": figure.name, "decided": test.decided, "verdict": verdict(figure, found)}
    none = Unavailable("no position with this figure")
    for name, value in (("a", figure.mean_a), ("b", figure.mean_b), ("difference", test.difference)):
        put(row, name, none if value is None else _plain(value))
    if isinstance(spread, Unavailable):
        put(row, "bootstrap", spread)
    else:
        row["bootstrap"] = {"low": _plain(spread.low), "high": _plain(spread.high), "days": spread.days, "block": "day"}
    sequential: dict[str, Json] = {"count_a": test.count_a, "count_b": test.count_b, "p": _plain(test.p)}
    for name, bound in (("low", test.low), ("high", test.high)):
        put(sequential, name, Unavailable("too few positions") if bound is None else _plain(bound))
    sequential["decided_after"] = test.decided_after
    row["sequential"] = sequential
    return row


def _plain(value: float) -> str:
    """Return a computed number in plain digits, to twelve significant ones."""
    return format(Decimal(f"{value:.12g}"), "f")
