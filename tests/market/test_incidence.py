"""How likely a hit is when attempts are still open: open is not missed, and not hit either."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpctl.market.incidence import band, hit_incidence

counts = st.dictionaries(st.integers(0, 12), st.integers(0, 20), max_size=8)


@given(counts, counts)
def test_without_open_attempts_it_is_the_hit_rate(hits: dict[int, int], misses: dict[int, int]) -> None:
    found = hit_incidence(hits, misses, {})
    done = sum(hits.values()) + sum(misses.values())
    if not done:
        assert found is None
        return
    assert found is not None
    assert found.estimate == pytest.approx(sum(hits.values()) / done)
    assert found.unsettled == pytest.approx(0, abs=1e-9)


@given(counts, counts, counts)
def test_it_stays_a_probability(hits: dict[int, int], misses: dict[int, int], waiting: dict[int, int]) -> None:
    found = hit_incidence(hits, misses, waiting)
    if found is not None:
        assert -1e-9 <= found.estimate <= 1 + 1e-9
        assert -1e-9 <= found.estimate + found.unsettled <= 1 + 1e-9


def test_a_hand_computed_example() -> None:
    """Ten attempts: two misses in band 1, two of eight open from band 2 on, three hits and three misses in band 5.

    Surviving band 1: 0.8. Two leave unsettled in band 2. In band 5 six are at risk, half of them hit: 0.8 · 0.5.
    """
    found = hit_incidence({5: 3}, {1: 2, 5: 3}, {2: 2})

    assert found is not None
    assert found.estimate == pytest.approx(0.4)
    assert found.unsettled == pytest.approx(0)


def test_quick_misses_do_not_make_a_low_probability_while_the_others_run() -> None:
    found = hit_incidence({}, {0: 5}, {40: 95})

    assert found is not None
    assert (found.estimate, round(found.unsettled, 3)) == (0, 0.95)


def test_bands_grow_with_age_and_start_below_a_minute() -> None:
    assert [band(age) for age in (0, 59_999, 60_000, 120_000, 240_000)] == [0, 0, 1, 5, 9]
    assert all(band(age) <= band(age + 30_000) for age in range(0, 10_000_000, 30_000))
