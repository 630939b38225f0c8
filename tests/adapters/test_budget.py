"""The request budget by lanes (binance-usdm 2.3; reliability I22, R1, R2)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.adapters.binance.budget import Budget, Lane
from tpctl.exits.errors import RateLimitedError

MINUTE = 60_000
START = 1_700_000_000_000 // MINUTE * MINUTE


class Hand:
    """A clock set by hand."""

    def __init__(self, at=START):
        self.at = at

    def now(self):
        return self.at


@pytest.fixture
def clock():
    return Hand()


@pytest.fixture
def budget(clock):
    return Budget(clock)


def refused(budget, lane, weight=1, orders=0):
    try:
        budget.admit(lane, weight, orders)
    except RateLimitedError as error:
        return error.retry_after_ms
    return None


def test_routine_calls_stop_at_two_fifths_and_account_reads_at_seven_tenths(budget):
    budget.observe({"x-mbx-used-weight-1m": "960"})
    assert refused(budget, Lane.ROUTINE) == MINUTE
    assert refused(budget, Lane.ACCOUNT) is None

    budget.observe({"x-mbx-used-weight-1m": "1680"})
    assert refused(budget, Lane.ACCOUNT) == MINUTE


def test_protection_goes_whatever_was_used(budget):
    budget.observe({"x-mbx-used-weight-1m": "2399", "x-mbx-order-count-10s": "300"})

    assert refused(budget, Lane.PROTECT, 40, 1) is None


def test_calls_under_way_count_before_they_are_answered(budget):
    for _ in range(24):
        budget.admit(Lane.ROUTINE, 40)

    assert budget.used_weight == 960
    assert refused(budget, Lane.ROUTINE) is not None


def test_an_answer_that_was_overtaken_does_not_lower_the_count(budget):
    budget.observe({"x-mbx-used-weight-1m": "500"})
    budget.observe({"x-mbx-used-weight-1m": "460"})

    assert budget.used_weight == 500


def test_a_new_minute_is_a_new_budget(budget, clock):
    budget.observe({"x-mbx-used-weight-1m": "2000"})
    clock.at += MINUTE - 1
    assert refused(budget, Lane.ROUTINE) == 1
    clock.at += 1
    assert refused(budget, Lane.ROUTINE) is None


def test_take_profits_wait_at_two_fifths_of_the_order_rate(budget, clock):
    budget.observe({"x-mbx-order-count-10s": "120"})
    assert refused(budget, Lane.ROUTINE, 0, 1) == 10_000

    clock.at += 10_000
    assert refused(budget, Lane.ROUTINE, 0, 1) is None


def test_the_limits_the_exchange_states_replace_ours(budget):
    budget.set_limits(6000, None, None)
    budget.observe({"x-mbx-used-weight-1m": "2000"})

    assert refused(budget, Lane.ROUTINE) is None


def test_after_429_only_protection_goes_until_told(budget, clock):
    wait = budget.refused(429, {"Retry-After": "20"})

    assert wait == 20_000
    assert refused(budget, Lane.ACCOUNT) == 20_000
    assert refused(budget, Lane.PROTECT) is None
    assert budget.blocked
    clock.at += 20_000
    assert refused(budget, Lane.ACCOUNT) is None


def test_after_429_the_routine_share_is_halved_for_a_while(budget, clock):
    budget.refused(429, {"Retry-After": "60"})
    clock.at += MINUTE
    budget.observe({"x-mbx-used-weight-1m": "480"})
    assert refused(budget, Lane.ROUTINE) is not None

    clock.at += 10 * MINUTE
    budget.observe({"x-mbx-used-weight-1m": "480"})
    assert refused(budget, Lane.ROUTINE) is None


@pytest.mark.parametrize(("window", "wait"), [("10 SECOND", 10_000), ("1 MINUTE", MINUTE)])
def test_too_many_orders_hold_back_orders_alone(budget, clock, window, wait):
    text = f"Too many new orders; current limit is 300 orders per {window}."

    assert budget.refused(429, {}, text, -1015) == wait
    assert not budget.blocked
    assert refused(budget, Lane.ACCOUNT) is None
    assert refused(budget, Lane.ROUTINE, 0, 1) == wait
    assert refused(budget, Lane.PROTECT, 0, 1) is None
    clock.at += wait
    assert refused(budget, Lane.ROUTINE, 0, 1) is None


def test_nothing_goes_while_banned(budget, clock):
    text = f"Way too many requests; IP(1.2.3.4) banned until {START + 500_000}. Please use the websocket."
    budget.refused(418, {"Retry-After": "10"}, text)

    assert budget.banned_until == START + 500_000
    assert refused(budget, Lane.PROTECT) == 500_000
    clock.at += 500_000
    assert budget.banned_until is None
    assert refused(budget, Lane.PROTECT) is None


def test_a_ban_without_an_end_lasts_two_minutes(budget):
    budget.refused(418, {})

    assert refused(budget, Lane.PROTECT) == 120_000


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["x-mbx-used-weight-1m", "Retry-After"]), st.text(max_size=12)), st.text())
def test_no_header_whatever_breaks_the_count(headers, text):
    budget = Budget(Hand())
    for status in (200, 418, 429):
        budget.observe(headers)
        budget.refused(status, headers, text)

    assert budget.used_weight >= 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([Lane.ROUTINE, Lane.ACCOUNT]), st.integers(1, 60)), max_size=120))
def test_lanes_keep_to_their_share_whatever_is_asked(calls):
    """I22: three tenths of the weight are left to protection."""
    budget = Budget(Hand())
    routine = total = 0
    for lane, weight in calls:
        if refused(budget, lane, weight) is None:
            total += weight
            routine += weight if lane is Lane.ROUTINE else 0

    assert total <= 1680
    assert routine <= 960
