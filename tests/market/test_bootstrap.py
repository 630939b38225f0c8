"""The block bootstrap: seeded, as wide as days that move together make it, and silent about too few days."""

from random import Random

from tpctl.exits.instrument import Unavailable
from tpctl.market.bootstrap import DAY_MS, MINIMUM_DAYS, Days, Spread, difference_by_days


def arms(
    seed: int, days: int, per_day: int, *, shift: float = 0.0, common: float = 0.0, apart: bool = False
) -> tuple[Days, Days]:
    """Two arms with `per_day` outcomes a day; `common` is how much a day moves all of its outcomes of both arms."""
    random, a, b = Random(seed), Days(), Days()
    for day in range(days):
        mood = random.gauss(0, common)
        for number in range(per_day):
            a.add(day * DAY_MS + number, mood + random.gauss(0, 1))
            b.add((day + (days if apart else 0)) * DAY_MS + number, mood + shift + random.gauss(0, 1))
    return a, b


def spread(a: Days, b: Days, seed: int = 0) -> Spread:
    found = difference_by_days(a, b, seed=seed)
    assert not isinstance(found, Unavailable)
    return found


def test_one_seed_gives_one_interval() -> None:
    a, b = arms(1, 40, 10)

    assert spread(a, b) == spread(a, b)
    assert spread(a, b) != spread(a, b, seed=1)


def test_the_interval_holds_the_difference_that_is_there() -> None:
    covered = 0
    for seed in range(60):
        found = spread(*arms(seed, 30, 5, shift=0.3, common=0.5))
        covered += found.low <= 0.3 <= found.high
    assert covered >= 52


def test_what_moves_both_arms_of_a_day_cancels_and_what_moves_one_does_not() -> None:
    together = spread(*arms(2, 60, 10, common=2.0))
    apart = spread(*arms(2, 60, 10, common=2.0, apart=True))

    assert together.high - together.low < 0.4
    assert apart.high - apart.low > 1.0
    assert (together.days, apart.days) == (60, 120)


def test_a_day_full_of_outcomes_is_one_block_and_not_many_independent_ones() -> None:
    few = spread(*arms(3, 20, 1, common=0.0))
    many_alike = Days(), Days()
    for source, target in zip(arms(3, 20, 1, common=0.0), many_alike, strict=True):
        for day, (value, _) in source.by_day().items():
            for number in range(50):
                target.add(day * DAY_MS + number, value)
    alike = spread(*many_alike)

    assert abs((alike.high - alike.low) - (few.high - few.low)) < 1e-9


def test_too_few_days_are_unavailable_and_say_so() -> None:
    found = difference_by_days(*arms(4, MINIMUM_DAYS - 1, 100))

    assert isinstance(found, Unavailable)
    assert f"{MINIMUM_DAYS - 1} days" in found.reason
    assert isinstance(difference_by_days(Days(), Days([(0, 1.0)])), Unavailable)


def test_the_order_of_outcomes_does_not_matter() -> None:
    outcomes = [(number * DAY_MS // 3, float(number % 7)) for number in range(60)]

    assert spread(Days(outcomes), Days(outcomes)) == spread(Days(outcomes[::-1]), Days(outcomes))
    assert Days(outcomes).count == 60
    assert Days().mean is None
