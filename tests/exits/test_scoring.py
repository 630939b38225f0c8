from dataclasses import fields, replace
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import Attempt, Outcome
from tpctl.exits.scoring import (
    HORIZON_MS,
    Aftermath,
    Record,
    Verdict,
    feedback,
    fold,
    fold_verdict,
    judge,
    judge_bar,
    slippage,
    watch_after,
    wilson,
)

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
MINUTE = 60_000

HIT = Attempt(
    id="a1",
    strategy_id="trend",
    symbol="BTCUSDT",
    position_side=LONG,
    leg=1,
    entry_time=1_700_000_000_000,
    entry_price=D(50_000),
    target_price=D(51_000),
    exit_time=1_700_000_000_000 + 120 * MINUTE,
    exit_price=D(50_950),
    quantity=D("0.1"),
    profit_usd=D(100),
    outcome=Outcome.HIT,
    reason="tp1",
)
MISS = replace(HIT, id="a2", outcome=Outcome.MISS, exit_price=D(50_200), profit_usd=D(20), reason="closed by hand")


def test_vector_of_exit_rules_12() -> None:
    record = fold(None, HIT)

    assert (record.tp_attempts, record.tp_hits, record.tp_misses, record.tp_hit_rate) == (1, 1, 0, 1)
    assert record.avg_slippage_pct is not None
    assert round(record.avg_slippage_pct, 8) == D("0.00098039")
    assert record.avg_time_to_tp_minutes == record.fastest_tp_minutes == record.slowest_tp_minutes == 120
    assert record.total_tp_profit_usd == record.avg_tp_profit_usd == 100
    said = feedback([record])
    assert said["avg_slippage"] is not None
    assert (said["tp_hit_rate"], round(said["avg_slippage"], 8), said["premature_exit_rate"]) == (1, D("0.00098039"), 0)


def test_a_record_has_the_fields_that_operators_scripts_read() -> None:
    assert [field.name for field in fields(Record)] == [
        "strategy_id",
        "symbol",
        "tp_attempts",
        "tp_hits",
        "tp_misses",
        "tp_hit_rate",
        "avg_slippage_pct",
        "max_slippage_pct",
        "mean_signed_slippage_pct",
        "avg_time_to_tp_minutes",
        "fastest_tp_minutes",
        "slowest_tp_minutes",
        "total_tp_profit_usd",
        "avg_tp_profit_usd",
        "premature_exits",
        "missed_opportunities_usd",
        "last_updated",
    ]


def test_what_was_never_measured_is_unset() -> None:
    record = fold(None, MISS)

    assert record.tp_hit_rate == 0
    unset = [
        record.avg_slippage_pct,
        record.max_slippage_pct,
        record.mean_signed_slippage_pct,
        record.avg_time_to_tp_minutes,
        record.fastest_tp_minutes,
        record.slowest_tp_minutes,
        record.avg_tp_profit_usd,
    ]
    assert unset == [None] * 7
    assert feedback([record]) == {"tp_hit_rate": 0, "avg_slippage": None, "premature_exit_rate": 0}
    assert feedback([]) == {"tp_hit_rate": None, "avg_slippage": None, "premature_exit_rate": None}


@pytest.mark.parametrize(
    ("side", "exit_price", "signed"),
    [(LONG, "50949", "0.001"), (LONG, "51051", "-0.001"), (SHORT, "51051", "0.001"), (SHORT, "50949", "-0.001")],
)
def test_slippage_is_signed_and_favourable_is_negative(side: PositionSide, exit_price: str, signed: str) -> None:
    assert slippage(replace(HIT, position_side=side, exit_price=D(exit_price))) == D(signed)


attempts = st.builds(
    lambda side, hit, minutes, target, exit_price, profit, at: replace(
        HIT,
        position_side=side,
        outcome=Outcome.HIT if hit else Outcome.MISS,
        entry_time=at,
        exit_time=at + minutes,
        target_price=target,
        exit_price=exit_price,
        profit_usd=profit,
        premature=None if hit else exit_price > target,
        missed_usd=None if hit else profit,
    ),
    st.sampled_from(PositionSide),
    st.booleans(),
    st.integers(0, 10**9),
    st.decimals(min_value=D("0.01"), max_value=D(10**6), places=4),
    st.decimals(min_value=D("0.01"), max_value=D(10**6), places=4),
    st.decimals(min_value=D(-1000), max_value=D(10**6), places=8),
    st.integers(10**12, 2 * 10**12),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(attempts, min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_folding_keeps_sums_exactly_in_any_order(path: list[Attempt], shuffler: Any) -> None:
    record = reduce(fold, path, None)
    shuffled = list(path)
    shuffler.shuffle(shuffled)
    hits = [attempt for attempt in path if attempt.outcome is Outcome.HIT]

    assert record is not None
    assert reduce(fold, shuffled, None) == record
    assert (record.tp_attempts, record.tp_hits) == (len(path), len(hits))
    if not hits:
        return
    assert record.avg_slippage_pct is not None
    assert record.mean_signed_slippage_pct is not None
    assert record.avg_time_to_tp_minutes is not None
    for average, exact in [
        (record.avg_slippage_pct, sum(abs(Fraction(slippage(attempt))) for attempt in hits)),
        (record.mean_signed_slippage_pct, sum(Fraction(slippage(attempt)) for attempt in hits)),
        (record.avg_time_to_tp_minutes, sum(Fraction(a.exit_time - a.entry_time, MINUTE) for a in hits)),
    ]:
        assert abs(Fraction(average) * len(hits) - exact) < Fraction(1, 10**20)
    assert record.total_tp_profit_usd == sum(attempt.profit_usd for attempt in hits)
    assert record.max_slippage_pct == max(abs(slippage(attempt)) for attempt in hits)


def test_feedback_weighs_records_by_their_hits_and_attempts() -> None:
    clean = fold(None, replace(HIT, symbol="ETHUSDT", exit_price=D(51_000)))
    slipped = fold(fold(None, replace(HIT, exit_price=D(50_949))), replace(HIT, exit_price=D(50_949)))
    missed = fold(slipped, replace(MISS, premature=True, missed_usd=D(80)))

    said = feedback([clean, missed])

    assert (said["tp_hit_rate"], said["premature_exit_rate"]) == (D("0.75"), D("0.25"))
    assert said["avg_slippage"] is not None
    assert round(said["avg_slippage"], 12) == D("0.000666666667")


def test_an_attempt_of_another_record_is_not_folded_in() -> None:
    with pytest.raises(ValueError, match="not of trend BTCUSDT"):
        fold(fold(None, HIT), replace(HIT, symbol="ETHUSDT"))


@pytest.mark.parametrize("changes", [{"target_price": D(0)}, {"exit_time": HIT.entry_time - 1}])
def test_an_impossible_outcome_record_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputsError, match="'a1'"):
        fold(None, replace(HIT, **changes))


def test_a_late_record_does_not_turn_the_clock_back() -> None:
    older = replace(HIT, entry_time=HIT.entry_time - 10**7, exit_time=HIT.exit_time - 10**7)

    assert fold(fold(None, HIT), older).last_updated == HIT.exit_time


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(0, 10, "0", "0.2775"), (10, 10, "0.7225", "1"), (8, 10, "0.4902", "0.9433"), (75, 100, "0.6570", "0.8245")],
)
def test_wilson_intervals_of_the_textbook(hits: int, n: int, low: str, high: str) -> None:
    interval = wilson(hits, n)

    assert isinstance(interval, tuple)
    assert (round(interval[0], 4), round(interval[1], 4)) == (D(low), D(high))


def test_no_attempts_have_no_interval() -> None:
    assert wilson(0, 0) == Unavailable("no attempts yet")
    with pytest.raises(ValueError, match="3 hits of 2"):
        wilson(3, 2)


def watched(side: PositionSide = LONG) -> Aftermath:
    return Aftermath(
        "a2", side, D(110) if side is LONG else D(90), D(95) if side is LONG else D(105), HORIZON_MS, D(2), D(101)
    )


def follow(aftermath: Aftermath, path: list[tuple[int, str]]) -> Aftermath | Verdict:
    current: Aftermath | Verdict = aftermath
    for at, price in path:
        assert isinstance(current, Aftermath)
        current = judge(current, at, D(price))
    return current


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ([(1, "100"), (500, "110")], Verdict(True, D(18), 500)),
        ([(1, "100"), (HORIZON_MS, "112")], Verdict(True, D(18), HORIZON_MS)),
        ([(1, "100"), (HORIZON_MS + 1, "112")], Verdict(False, D(0))),
        ([(1, "96"), (2, "95")], Verdict(False, D(0))),
        ([(1, "96"), (HORIZON_MS + 1, "96")], Verdict(False, D(0))),
    ],
)
def test_the_path_after_a_miss_decides_whether_it_left_too_early(path: list[tuple[int, str]], verdict: Verdict) -> None:
    assert follow(watched(), path) == verdict


def test_a_short_is_judged_mirrored() -> None:
    assert follow(watched(SHORT), [(1, "100"), (2, "90")]) == Verdict(True, D(22), 2)
    assert follow(watched(SHORT), [(1, "100"), (2, "105")]) == Verdict(False, D(0))


def test_an_undecided_path_is_still_watched() -> None:
    assert follow(watched(), [(1, "100"), (HORIZON_MS, "109.99")]) == watched()


def test_a_candle_that_holds_both_levels_counts_as_stopped_first() -> None:
    assert judge_bar(watched(), 1, D(94), D(111)) == Verdict(False, D(0))
    assert judge_bar(watched(), 1, D(96), D(111), lasting=60_000) == Verdict(True, D(18), 60_001)


def test_watching_starts_at_the_exit_and_runs_for_the_horizon() -> None:
    started = watch_after(MISS, stop=D(49_000))

    assert isinstance(started, Aftermath)
    assert (started.until, started.quantity, started.exit_price) == (MISS.exit_time + HORIZON_MS, D("0.1"), D(50_200))
    assert judge(started, MISS.exit_time + HORIZON_MS, D(51_000)) == Verdict(True, D(80), HORIZON_MS)


def test_an_exit_at_its_own_stop_was_not_premature_and_a_hit_has_no_aftermath() -> None:
    assert watch_after(MISS, stop=D(50_200)) == Verdict(False, D(0))
    assert watch_after(replace(MISS, position_side=SHORT), stop=D(50_100)) == Verdict(False, D(0))
    with pytest.raises(ValueError, match="is a hit"):
        watch_after(HIT, stop=D(49_000))


def test_a_verdict_reached_later_counts_as_one_measured_by_the_caller() -> None:
    measured = fold(None, replace(MISS, premature=True, missed_usd=D(80)))
    later = fold_verdict(fold(None, MISS), Verdict(True, D(80)), MISS.exit_time)

    assert later == measured
    assert (later.premature_exits, later.missed_opportunities_usd) == (1, 80)
    assert fold_verdict(later, Verdict(False, D(0)), MISS.exit_time + 5).last_updated == MISS.exit_time + 5
