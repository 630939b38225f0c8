"""Decides when a figure is bad: take-profit targets, and what chance alone may explain.

A figure that rests on fewer attempts than the operator asked for is never judged. Source: exit-rules 12 (the targets).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tpctl.exits.instrument import Unavailable
from tpctl.exits.statistics import Tally


class Level(StrEnum):
    """How a figure stands against its target, worst last; `unjudged` rests on too few attempts to say."""

    OK = "ok"
    UNJUDGED = "unjudged"
    WARNING = "warning"
    CRITICAL = "critical"


_SEVERITY = {Level.OK: 0, Level.UNJUDGED: 0, Level.WARNING: 1, Level.CRITICAL: 2}


@dataclass(frozen=True, slots=True)
class Targets:
    """What is aimed at (exit-rules 12): hit rate at least, mean |slippage| and premature rate below. Fractions."""

    hit_rate: Decimal = Decimal("0.75")
    slippage: Decimal = Decimal("0.003")
    premature: Decimal = Decimal("0.15")


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure against its target; `low` and `high` bound it at 95 %, None where there is no interval."""

    name: str
    value: Decimal | None
    low: Decimal | None
    high: Decimal | None
    target: Decimal
    level: Level


def judge_targets(tally: Tally, targets: Targets, min_attempts: int) -> tuple[Finding, ...]:
    """Return each figure against its target.

    A figure beyond its target is a warning, and critical where its whole 95 % interval is beyond it, so that chance
    alone is no alarm. Fewer than `min_attempts` attempts are never judged; slippage counts hits.
    """
    enough = tally.attempts >= min_attempts
    return (
        _finding("hit_rate", tally.hit_rate, tally.hit_interval, targets.hit_rate, enough=enough, at_least=True),
        _finding(
            "slippage",
            tally.average_slippage,
            tally.slippage_interval,
            targets.slippage,
            enough=enough and tally.hits >= min_attempts,
            at_least=False,
        ),
        _finding(
            "premature",
            tally.premature_rate,
            tally.premature_interval,
            targets.premature,
            enough=enough,
            at_least=False,
        ),
    )


def _finding(
    name: str,
    value: Decimal | None,
    interval: tuple[Decimal, Decimal] | Unavailable,
    target: Decimal,
    *,
    enough: bool,
    at_least: bool,
) -> Finding:
    low, high = (None, None) if isinstance(interval, Unavailable) else interval
    if value is None or not enough:
        level = Level.UNJUDGED
    elif value >= target if at_least else value < target:
        level = Level.OK
    else:
        bound = high if at_least else low
        certain = bound is not None and (bound < target if at_least else bound >= target)
        level = Level.CRITICAL if certain else Level.WARNING
    return Finding(name, value, low, high, target, level)


def worst(findings: Iterable[Finding]) -> Level:
    """Return the worst level; unjudged where nothing was judged."""
    levels = [finding.level for finding in findings]
    judged = [level for level in levels if level is not Level.UNJUDGED]
    return max(judged, key=_SEVERITY.__getitem__, default=Level.UNJUDGED)
