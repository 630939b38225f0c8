"""What is counted of attempts, and that sums give the figures of exit-rules 12 whatever order they are made in."""

from dataclasses import replace
from decimal import Decimal
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metrics_desk import VECTOR, random_attempts

from tpctl.adapters.metrics_file import fold_all
from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import Outcome
from tpctl.exits.record_merge import merge_records
from tpctl.exits.statistics import Tally, from_pico, join, measure, quantile, quantile_rank, to_pico, total

MISS = replace(VECTOR, id="m", outcome=Outcome.MISS, profit_usd=Decimal(-40), reason="stop")


def tally_of(*attempts: object) -> Tally:
    return Tally.of(measure(attempt, None, None) for attempt in attempts)  # type: ignore[arg-type]  # attempts


def test_the_vector_of_the_exit_rules() -> None:
    tally = tally_of(VECTOR)

    assert (tally.attempts, tally.hits, tally.hit_rate) == (1, 1, 1)
    assert round(tally.average_slippage or 0, 8) == Decimal("0.00098039")
    assert tally.average_minutes == 120
    assert tally.hit_profit == 100
    assert tally.premature_rate == 0


def test_r_share_and_roi_come_from_the_first_stop_and_the_leverage() -> None:
    measured = measure(VECTOR, Decimal(49_000), Decimal(10))

    # 1000 to the stop, 0.1 of it: $100 at risk; $5000 of notional, $500 of margin.
    assert measured.r == to_pico(Decimal(1))
    assert measured.risk == to_pico(Decimal(100))
    assert measured.share == to_pico(Decimal("0.02"))
    assert measured.roi == to_pico(Decimal("0.2"))


def test_what_is_not_on_record_is_none_and_does_not_count_in_its_mean() -> None:
    tally = Tally.of([measure(VECTOR, Decimal(49_000), None), measure(MISS, None, None)])

    assert (tally.average_r, tally.with_r) == (1, 1)
    assert tally.average_roi is None
    assert tally_of(MISS).average_slippage is None
    assert Tally().hit_rate is None
    assert isinstance(Tally().hit_interval, Unavailable)


def test_a_stop_at_the_entry_gives_no_r() -> None:
    assert measure(VECTOR, Decimal(50_000), None).r is None


def test_a_short_that_left_below_its_target_did_better_than_planned() -> None:
    short = replace(VECTOR, position_side=PositionSide.SHORT, target_price=Decimal(49_000), exit_price=Decimal(48_951))

    assert tally_of(short).signed_slippage == Decimal("-0.001")
    assert tally_of(short).average_slippage == Decimal("0.001")


def test_only_a_judged_miss_is_in_the_verdicts() -> None:
    early = replace(MISS, premature=True, missed_usd=Decimal("7.5"))
    tally = tally_of(early, MISS, replace(MISS, premature=False, missed_usd=Decimal(0)))

    assert (tally.premature, tally.judged, tally.missed_usd) == (1, 2, Decimal("7.5"))
    assert round(tally.premature_rate or 0, 6) == Decimal("0.333333")


def test_a_verdict_that_comes_later_gives_the_same_sums() -> None:
    late = tally_of(MISS)
    late.add_verdict(True, to_pico(Decimal("7.5")))

    assert late == tally_of(replace(MISS, premature=True, missed_usd=Decimal("7.5")))


def test_an_attempt_without_a_target_price_is_refused() -> None:
    with pytest.raises(InputsError, match="target price"):
        measure(replace(VECTOR, target_price=Decimal(0)), None, None)


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(0, 30), st.randoms(use_true_random=False))
def test_sums_are_the_same_in_any_order_and_in_any_parts(seed: int, count: int, cut: int, random: object) -> None:
    rows = [measure(attempt, Decimal(90), Decimal(5)) for attempt in random_attempts(seed, count)]
    whole = Tally.of(rows)
    shuffled = rows[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a Random
    parts = iter(shuffled)

    assert total([Tally.of(islice(parts, cut)), Tally.of(parts)]) == whole
    sums = Tally().numbers()
    for row in shuffled:
        join(sums, Tally.of([row]).numbers())
    assert Tally(*sums) == whole


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_the_sums_give_the_figures_of_the_metrics_file(seed: int, count: int) -> None:
    attempts = [replace(a, strategy_id="s", symbol="X") for a in random_attempts(seed, count)]
    record, tally = fold_all(attempts)["s:X"], tally_of(*attempts)

    assert (tally.attempts, tally.hits, tally.misses) == (record.tp_attempts, record.tp_hits, record.tp_misses)
    assert tally.hit_rate == record.tp_hit_rate
    assert tally.average_slippage == record.avg_slippage_pct
    assert tally.largest_slippage == record.max_slippage_pct
    assert tally.signed_slippage == record.mean_signed_slippage_pct
    # The record's average goes through minutes that are rounded at the last of its 34 digits.
    assert abs((tally.average_minutes or 0) - (record.avg_time_to_tp_minutes or 0)) < Decimal("1e-24")
    assert tally.fastest_minutes == record.fastest_tp_minutes
    assert tally.slowest_minutes == record.slowest_tp_minutes
    assert abs(tally.hit_profit - record.total_tp_profit_usd) <= count * Decimal("1e-12")
    assert tally.premature == record.premature_exits
    assert tally.missed_usd == record.missed_opportunities_usd
    assert tally.updated == record.last_updated


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(0, 40))
def test_records_of_two_files_add_up_to_the_record_of_all(seed: int, count: int, cut: int) -> None:
    attempts = [replace(a, strategy_id="s", symbol="X") for a in random_attempts(seed, count)]
    whole = fold_all(attempts)["s:X"]
    merged = merge_records([*fold_all(attempts[:cut]).values(), *fold_all(attempts[cut:]).values()])["s:X"]

    for name in type(whole).__slots__:
        one, two = getattr(whole, name), getattr(merged, name)
        if isinstance(one, Decimal):
            # A file's averages carry 28 digits and more, so their sums come back that exactly.
            assert abs(one - two) <= abs(one) * Decimal("1e-24"), name
        else:
            assert one == two, name


def test_records_of_different_keys_stay_apart() -> None:
    rows = fold_all([VECTOR, replace(VECTOR, id="b", symbol="ETHUSDT")])

    assert merge_records(rows.values()) == rows


def test_a_quantile_is_a_value_that_occurred() -> None:
    ten = [Decimal(number) for number in range(1, 11)]

    assert [quantile(ten, Decimal(share)) for share in ("0", "0.5", "0.9", "0.99", "1")] == [1, 5, 9, 10, 10]
    assert quantile([], Decimal("0.5")) is None
    with pytest.raises(ValueError, match="no rank"):
        quantile_rank(0, Decimal("0.5"))


@given(st.decimals(-(10**12), 10**12, places=12))
def test_pico_is_exact_to_twelve_places(value: Decimal) -> None:
    assert from_pico(to_pico(value)) == value


def test_the_slippage_interval_is_that_of_the_mean() -> None:
    slips = [Decimal(number) / 1000 for number in (1, 2, 3, 4, 5)]
    rows = [replace(VECTOR, id=str(slip), target_price=Decimal(1000), exit_price=1000 * (1 - slip)) for slip in slips]
    interval = tally_of(*rows).slippage_interval

    assert not isinstance(interval, Unavailable)
    # Mean 0.003, sample deviation 0.001581, error 0.000707: plus and minus 1.96 of it.
    assert round(interval[0], 5) == Decimal("0.00161")
    assert round(interval[1], 5) == Decimal("0.00439")
    assert isinstance(tally_of(VECTOR).slippage_interval, Unavailable)
