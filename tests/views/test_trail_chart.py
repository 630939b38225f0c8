"""The chart of a replay: what stands where, in Unicode and in ASCII, at any size."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpctl.views.trail_chart import Column, Mark, chart_lines

D = Decimal
HOUR = 3_600_000


def column(hour: int, low: str, high: str) -> Column:
    return Column(hour * HOUR, D(low), D(high))


RISE = [column(0, "100", "102"), column(1, "102", "105"), column(2, "104", "110"), column(3, "106", "109")]
STOPS = [(0, D(98)), (2 * HOUR, D(104))]


DRAWN = """\
110 +                      |||||||||||||||||||||
108 +                      |||||||||||||||||||||
106 +           |||||||||||||||||||||||||||||||X
104 +           |||||||||||=====================
102 + |||||||||||||||||||||.....................
100 + ||||||||||
 98 + ======================
    +-------------------------------------------
      1970-01-01 00:00Z        1970-01-01 04:00Z"""
UNICODE = str.maketrans("|=.", "│─·")


@pytest.mark.parametrize("ascii_only", [False, True])
def test_price_stop_entry_and_marks_stand_at_their_levels(ascii_only: bool) -> None:
    marks = [Mark(4 * HOUR - 1, D(106), "X")]
    lines = chart_lines(RISE, STOPS, D(101), marks, until=4 * HOUR, width=48, height=7, ascii_only=ascii_only)

    if ascii_only:
        assert lines == DRAWN.splitlines()
        return
    *body, ruler, dates = DRAWN.splitlines()
    body = [line.replace("+", "┤").translate(UNICODE) for line in body]
    assert lines == [*body, ruler.replace("+", "└").replace("-", "─"), dates]


def test_a_market_that_stands_still_is_drawn() -> None:
    lines = chart_lines([column(0, "1", "1")], [(0, D(1))], D(1), [], until=HOUR, width=60, height=5, ascii_only=True)

    assert len(lines) == 7


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 1000)), min_size=1, max_size=200),
    st.integers(0, 200),
    st.integers(2, 40),
    st.booleans(),
)
def test_any_path_fits_its_width_and_height(
    bars: list[tuple[int, int]], width: int, height: int, ascii_only: bool
) -> None:
    columns = [Column(i * HOUR, D(low) / 1000, D(low + span) / 1000) for i, (low, span) in enumerate(bars)]
    stop = min(each.low for each in columns) / 2
    lines = chart_lines(
        columns,
        [(0, stop)],
        columns[0].low,
        [Mark(0, columns[0].high, "^")],
        until=len(bars) * HOUR,
        width=width,
        height=height,
        ascii_only=ascii_only,
    )

    assert len(lines) == height + 2
    assert max(map(len, lines[:-1])) <= max(width, 40)
    assert any("^" in line for line in lines)
