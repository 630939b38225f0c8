from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Instrument, PositionSide
from tpctl.exits.trailing import (
    DEFAULT_SCHEDULE,
    Rearm,
    callback_at,
    native_callback_ok,
    peak_profit,
    rearm,
    trail_stop,
)
from tpctl.exits.units import Ratio

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT

ETH = Instrument(
    symbol="ETHUSDT",
    status="TRADING",
    contract_type="PERPETUAL",
    margin_asset="USDT",
    tick=D("0.01"),
    min_price=D("39.86"),
    max_price=D("306177"),
    step=D("0.001"),
    min_quantity=D("0.001"),
    max_quantity=D("10000"),
    market_step=D("0.001"),
    market_min_quantity=D("0.001"),
    market_max_quantity=D("2000"),
    min_notional=D("20"),
    percent_up=D("1.05"),
    percent_down=D("0.95"),
    max_orders=200,
    trigger_protect=D("0.05"),
    market_take_bound=D("0.05"),
    liquidation_fee=D("0.0125"),
    price_precision=2,
    quantity_precision=3,
)


def pct(value: str) -> Ratio:
    return Ratio.percent(value)


def settled(original: str, current: str, profit: str, **changes: Any) -> Rearm:
    """Ask for a position that is old enough and was never changed, unless said otherwise."""
    terms: dict[str, Any] = {"position_age_ms": 3_600_000, "since_change_ms": None, **changes}
    return rearm(pct(original), pct(current), pct(profit), **terms)


@pytest.mark.parametrize(
    ("original", "profit", "callback", "changed", "row"),
    [
        ("2.0", "1", "2.0", False, None),
        ("2.0", "3", "2.0", False, 0),
        ("2.0", "8", "1.5", True, 1),
        ("2.0", "12", "1.0", True, 2),
        ("2.0", "16", "0.6", True, 3),
        ("2.0", "25", "0.4", True, 4),
        ("0.05", "8", "0.05", False, 1),
        ("0.05", "25", "0.05", False, 4),
    ],
)
def test_vectors_of_exit_rules_9(original: str, profit: str, callback: str, changed: bool, row: int | None) -> None:
    answer = settled(original, original, profit)

    assert (answer.callback, answer.changed, answer.row) == (pct(callback), changed, row)


@pytest.mark.parametrize(
    ("profit", "callback"), [("4.9999", "2"), ("5", "1.5"), ("10", "1"), ("15", "0.6"), ("19.99", "0.6"), ("20", "0.4")]
)
def test_a_row_is_reached_at_its_profit_exactly(profit: str, callback: str) -> None:
    assert callback_at(pct("2"), pct(profit), DEFAULT_SCHEDULE) == pct(callback)


percents = st.decimals(min_value=D("0.01"), max_value=D(30), places=2)
profits = st.decimals(min_value=D(-5), max_value=D(40), places=2)


@settings(max_examples=200, deadline=None)
@given(percents, profits, profits)
def test_more_profit_never_loosens_and_the_clamp_always_holds(original: Decimal, one: Decimal, other: Decimal) -> None:
    low, high = sorted([one, other])
    before = callback_at(Ratio.percent(original), Ratio.percent(low), DEFAULT_SCHEDULE)
    after = callback_at(Ratio.percent(original), Ratio.percent(high), DEFAULT_SCHEDULE)

    assert pct("0.05") <= after <= before <= pct("5")


@settings(max_examples=200, deadline=None)
@given(percents, st.lists(profits, min_size=1, max_size=8))
def test_rearming_along_a_path_neither_compounds_nor_loosens(original: Decimal, path: list[Decimal]) -> None:
    first = current = Ratio.percent(original)
    peak = Ratio.percent(-100)
    for profit in path:
        peak = max(peak, Ratio.percent(profit))
        answer = rearm(first, current, peak, position_age_ms=10**7, since_change_ms=None)
        again = rearm(first, answer.callback, peak, position_age_ms=10**7, since_change_ms=None)

        assert answer.callback <= current
        assert not again.changed
        if answer.changed:
            assert answer.callback == callback_at(first, peak, DEFAULT_SCHEDULE)
        current = answer.callback


@pytest.mark.parametrize(
    ("changes", "changed", "words"),
    [
        ({"position_age_ms": 299_999}, False, "299.999 s old, changes start at 300 s"),
        ({"position_age_ms": 300_000}, True, "2% → 1.5%"),
        ({"since_change_ms": 29_999}, False, "changed 29.999 s ago, changes are 30 s apart"),
        ({"since_change_ms": 30_000}, True, "2% → 1.5%"),
    ],
)
def test_a_change_waits_for_its_time_and_says_so(changes: dict[str, int], changed: bool, words: str) -> None:
    answer = settled("2", "2", "8", **changes)

    assert answer.changed is changed
    assert words in answer.reason


@pytest.mark.parametrize(("factor", "changed"), [("0.90", False), ("0.899", True)])
def test_a_change_of_a_tenth_or_less_is_not_worth_an_order(factor: str, changed: bool) -> None:
    assert settled("2", "2", "8", schedule=((pct("2"), D(factor)),)).changed is changed


def test_a_trail_already_tighter_than_its_row_stays_and_says_why() -> None:
    answer = settled("2", "0.8", "8")

    assert (answer.callback, answer.changed) == (pct("0.8"), False)
    assert answer.reason == (
        "Callback stays 0.8%: peak profit 8.00% reached the 5% row, which asks for 1.5%, and a trail never loosens"
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (settled("2", "2", "8"), "Callback 2% → 1.5%: peak profit 8.00% reached the 5% row (x0.75)"),
        (settled("2", "2", "1"), "Callback stays 2%: peak profit 1.00% is below the first row at 2%"),
        (
            settled("2", "1", "12"),
            "Callback stays 1%: peak profit 12.00% reached the 10% row, which it already follows",
        ),
        (settled("2", "2", "1", schedule=()), "Callback stays 2%: the schedule has no rows"),
    ],
)
def test_reasons_read_as_an_operator_would_say_them(answer: Rearm, reason: str) -> None:
    assert answer.reason == reason


def test_a_schedule_cannot_loosen_beyond_the_original() -> None:
    assert callback_at(pct("2"), pct("8"), ((pct("2"), D("1.5")),)) == pct("2")


def test_a_callback_is_above_zero() -> None:
    with pytest.raises(InputsError, match="not above zero"):
        callback_at(pct("0"), pct("8"), DEFAULT_SCHEDULE)


@pytest.mark.parametrize(
    ("side", "peak", "callback", "stop"),
    [
        (LONG, "3300", "1.5", "3250.50"),
        (SHORT, "3300", "1.5", "3349.50"),
        (LONG, "3333.33", "1", "3300.00"),
        (SHORT, "3333.33", "1", "3366.66"),
    ],
)
def test_the_stop_lies_a_callback_off_the_peak_and_rounds_toward_it(
    side: PositionSide, peak: str, callback: str, stop: str
) -> None:
    assert str(trail_stop(ETH, side, D(peak), pct(callback))) == stop


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(PositionSide),
    st.decimals(min_value=D("0.5"), max_value=D(50), places=5),
    percents,
    st.sampled_from(["0.01", "0.05", "0.1"]),
)
def test_the_stop_is_never_on_its_own_peak_nor_more_than_a_tick_tighter(
    side: PositionSide, peak: Decimal, callback: Decimal, tick: str
) -> None:
    coarse = replace(ETH, tick=D(tick))
    raw = peak * (1 - side.sign * callback / 100)
    stop = trail_stop(coarse, side, peak, Ratio.percent(callback))

    assert side.sign * (peak - stop) > 0
    assert abs(stop - raw) < D(tick) or abs(stop - peak) <= D(tick)
    assert stop % D(tick) == 0


def test_peak_profit_is_the_move_in_favour() -> None:
    assert peak_profit(LONG, D(100), D(108)) == pct("8")
    assert peak_profit(SHORT, D(100), D(92)) == pct("8")
    assert peak_profit(SHORT, D(100), D(101)) == pct("-1")
    with pytest.raises(InputsError):
        peak_profit(LONG, D(0), D(1))


@pytest.mark.parametrize(("callback", "ok"), [("0.09", False), ("0.1", True), ("20", True), ("20.1", False)])
def test_the_exchange_trails_between_a_tenth_and_twenty_percent(callback: str, ok: bool) -> None:
    assert native_callback_ok(pct(callback)) is ok
