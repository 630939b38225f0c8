"""A target missed is a warning, certain only where the whole interval misses it, and never said of a few attempts."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metrics_desk import VECTOR

from tpctl.exits.model import Outcome
from tpctl.exits.statistics import Tally, measure
from tpctl.exits.targets import Level, Targets, judge_targets, worst


def tally_of(hits: int, misses: int, *, premature: int = 0, slip: str = "0.001") -> Tally:
    exit_price = VECTOR.target_price * (1 - Decimal(slip))
    hit = measure(replace(VECTOR, exit_price=exit_price), None, None)
    miss = measure(replace(VECTOR, outcome=Outcome.MISS, premature=False, missed_usd=Decimal(0)), None, None)
    early = measure(replace(VECTOR, outcome=Outcome.MISS, premature=True, missed_usd=Decimal(1)), None, None)
    return Tally.of([hit] * hits + [early] * premature + [miss] * (misses - premature))


def levels(tally: Tally, min_attempts: int = 10) -> dict[str, Level]:
    return {finding.name: finding.level for finding in judge_targets(tally, Targets(), min_attempts)}


@pytest.mark.parametrize(
    ("hits", "misses", "level"),
    [(8, 2, Level.OK), (75, 25, Level.OK), (74, 26, Level.WARNING), (60, 40, Level.CRITICAL), (5, 5, Level.WARNING)],
)
def test_a_hit_rate_is_critical_only_where_its_whole_interval_is_below(hits: int, misses: int, level: Level) -> None:
    assert levels(tally_of(hits, misses))["hit_rate"] is level


def test_premature_and_slippage_have_to_stay_below() -> None:
    assert levels(tally_of(85, 15, premature=14))["premature"] is Level.OK
    assert levels(tally_of(85, 15, premature=15))["premature"] is Level.WARNING
    assert levels(tally_of(40, 60, premature=50))["premature"] is Level.CRITICAL
    assert levels(tally_of(20, 0, slip="0.00299"))["slippage"] is Level.OK
    assert levels(tally_of(20, 0, slip="0.004"))["slippage"] is Level.CRITICAL


def test_slippage_is_judged_on_hits() -> None:
    assert levels(tally_of(9, 91, slip="0.01"))["slippage"] is Level.UNJUDGED


def test_a_metrics_file_has_no_spread_of_slippage_to_be_certain_by() -> None:
    tally = replace(tally_of(100, 0, slip="0.01"), slip_squares=0)

    assert levels(tally)["slippage"] is Level.WARNING


@given(st.integers(0, 29), st.integers(0, 29), st.integers(0, 29))
def test_fewer_than_the_minimum_never_alert(hits: int, misses: int, premature: int) -> None:
    tally = tally_of(hits, misses, premature=min(premature, misses), slip="0.05")
    if tally.attempts < 30:
        assert worst(judge_targets(tally, Targets(), 30)) is Level.UNJUDGED


def test_the_worst_of_nothing_is_unjudged() -> None:
    assert worst([]) is Level.UNJUDGED
    assert worst(judge_targets(tally_of(60, 40), Targets(), 10)) is Level.CRITICAL
    assert worst(judge_targets(tally_of(60, 40), Targets(hit_rate=Decimal("0.5")), 10)) is Level.OK
