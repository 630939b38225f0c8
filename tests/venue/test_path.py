"""The rule that turns a bar into prices."""

from decimal import Decimal
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.market.bars import Bar
from tpctl.venue.market.path import STEPS_PER_BAR, MarkFollower, bar_prices, bar_volumes

D = Decimal

TICK = D("0.0001")


def bar(first: str, high: str, low: str, close: str, volume: str = "120") -> Bar:
    return Bar(0, D(first), D(high), D(low), D(close), D(volume))


@st.composite
def bars(draw: st.DrawFn) -> Bar:
    low = draw(st.integers(1, 10_000_000))
    high = low + draw(st.integers(0, 2_000_000))
    first, close = draw(st.integers(low, high)), draw(st.integers(low, high))
    volume = D(draw(st.integers(0, 10**12))).scaleb(-draw(st.integers(0, 4)))
    return Bar(0, first * TICK, high * TICK, low * TICK, close * TICK, volume)


def test_a_rising_bar_goes_to_its_low_first_and_a_falling_one_to_its_high() -> None:
    rising = bar_prices(bar("2.0000", "2.0900", "1.9700", "2.0600"), TICK)
    falling = bar_prices(bar("2.0600", "2.0900", "1.9700", "2.0000"), TICK)
    unchanged = bar_prices(bar("2.0000", "2.0900", "1.9700", "2.0000"), TICK)

    assert [rising[i] for i in (0, 3, 8, 11)] == [D("2.0"), D("1.97"), D("2.09"), D("2.06")]
    assert [falling[i] for i in (0, 3, 8, 11)] == [D("2.06"), D("2.09"), D("1.97"), D("2.0")]
    assert [unchanged[i] for i in (3, 8)] == [D("1.97"), D("2.09")]


def test_prices_between_lie_on_a_straight_line() -> None:
    prices = bar_prices(bar("2.0000", "2.0900", "1.9700", "2.0600"), TICK)

    assert prices[:4] == (D("2.0000"), D("1.9900"), D("1.9800"), D("1.9700"))
    assert prices[3:9] == (D("1.9700"), D("1.9940"), D("2.0180"), D("2.0420"), D("2.0660"), D("2.0900"))


@settings(max_examples=200, deadline=None)
@given(bars())
def test_the_steps_add_up_to_the_bar(one: Bar) -> None:
    prices, volumes = bar_prices(one, TICK), bar_volumes(one)

    assert len(prices) == len(volumes) == STEPS_PER_BAR
    assert (prices[0], max(prices), min(prices), prices[-1]) == (one.open, one.high, one.low, one.close)
    assert all(price % TICK == 0 for price in prices)
    assert sum(volumes) == one.volume
    assert max(volumes) - min(volumes) <= D(1).scaleb(one.volume.as_tuple().exponent)


def test_a_price_off_the_grid_is_shown_on_it_and_never_as_zero() -> None:
    prices = bar_prices(bar("187.344", "187.346", "187.341", "187.345"), D("0.01"))
    assert set(prices) == {D("187.34"), D("187.35")}

    assert set(bar_prices(bar("0.00001", "0.00001", "0.00001", "0.00001"), TICK)) == {TICK}


def test_the_mark_goes_half_of_the_way_in_fifteen_seconds() -> None:
    follower = MarkFollower(5_000)
    assert follower.follow(D(100), 0) == 100

    marks = [follower.follow(D(200), at) for at in (5_000, 10_000, 15_000)]

    assert marks[-1] == D("150.00000000")
    assert all(a < b for a, b in pairwise([D(100), *marks]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=30), st.integers(1, 900_000))
def test_the_mark_stays_within_the_prices_seen(ticks: list[int], step_ms: int) -> None:
    follower = MarkFollower(step_ms)
    lasts = [tick * TICK for tick in ticks]

    marks = [follower.follow(last, i * step_ms) for i, last in enumerate(lasts)]

    assert all(min(lasts[: i + 1]) <= mark <= max(lasts[: i + 1]) for i, mark in enumerate(marks))
    assert all(mark == round(mark, 8) for mark in marks)


def test_a_longer_pause_brings_the_mark_nearer_as_its_steps_would() -> None:
    stepwise, at_once = MarkFollower(5_000), MarkFollower(5_000)
    stepwise.follow(D(100), 0)
    at_once.follow(D(100), 0)

    for at in (5_000, 10_000, 15_000, 20_000):
        walked = stepwise.follow(D(164), at)

    assert abs(at_once.follow(D(164), 20_000) - walked) <= D("0.00000004")
