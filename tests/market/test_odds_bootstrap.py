"""Bootstrap odds: the random walk's known answer, determinism, what is refused and what is unavailable."""

import math
import random
from decimal import Decimal

import pytest

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.odds import odds
from tpctl.exits.units import Ratio
from tpctl.market.odds_bootstrap import MINIMUM_BARS, bootstrap_odds
from tpctl.ports import Candle

D = Decimal
HOUR_MS = 3_600_000


def walk(bars: int = 720, *, daily: float = 0.025, drift: float = 0.0, seed: int = 1) -> list[Candle]:
    """Return hours of a random walk in minutes, with a drift per hour."""
    draw = random.Random(seed)
    price, candles = 100.0, []
    for hour in range(bars):
        path = [price]
        for _ in range(60):
            path.append(path[-1] * math.exp(draw.gauss(drift / 60, daily / math.sqrt(1440))))
        price = path[-1]
        candles.append(Candle(hour * HOUR_MS, path[0], max(path), min(path), price, 1.0))
    return candles


def ask(candles: list[Candle], *targets: str, stop: str = "97.5", price: str = "100") -> list[Decimal]:
    found = bootstrap_odds(D(price), [D(target) for target in targets], D(stop), candles, HOUR_MS)
    shares = [one.reach_before_stop for one in found]
    assert not any(isinstance(share, Unavailable) for share in shares)
    return [share for share in shares if isinstance(share, Decimal)]


def test_on_a_random_walk_it_agrees_with_the_closed_form() -> None:
    for target, share in zip(("102.5", "104"), ask(walk(), "102.5", "104"), strict=True):
        expected = odds(D(100), D(target), D("97.5"), Ratio.percent("2.5")).reach_before_stop
        assert isinstance(expected, Decimal)
        assert abs(share - expected) < D("0.05")


def test_a_drift_of_the_recording_is_taken_out() -> None:
    """Without that, a market that rose 40 % in the month would promise every long its target."""
    (up,) = ask(walk(drift=0.0005), "104", stop="96")
    (down,) = ask(walk(drift=-0.0005), "104", stop="96")

    assert abs(up - down) < D("0.06")
    assert D("0.4") < up < D("0.6")


def test_a_short_is_judged_downwards() -> None:
    (share,) = ask(walk(), "96", stop="102.5")

    assert abs(share - D("0.38")) < D("0.06")


def test_the_same_inputs_give_the_same_answer() -> None:
    candles = walk()
    first = bootstrap_odds(D(100), [D(103)], D(98), candles, HOUR_MS)

    assert first == bootstrap_odds(D(100), [D(103)], D(98), candles, HOUR_MS)
    assert first[0].model == f"block bootstrap of {len(candles) - 1} recent bars, 2000 paths, drift removed"


def test_a_farther_target_is_never_likelier_nor_sooner() -> None:
    found = bootstrap_odds(D(100), [D(101), D(102), D(104)], D("97.5"), walk(), HOUR_MS)
    shares = [one.reach_before_stop for one in found]
    minutes = [one.expected_minutes for one in found]

    assert shares == sorted(shares, reverse=True)  # type: ignore[type-var]  # all are known here
    assert minutes == sorted(minutes)  # type: ignore[type-var]  # all are known here


def test_a_reached_target_is_certain_and_takes_no_time() -> None:
    (found,) = bootstrap_odds(D(100), [D("99.9")], D("97.5"), walk(), HOUR_MS)

    assert (found.reach_before_stop, found.expected_minutes) == (1, 0)


def test_a_target_out_of_reach_has_no_expected_time() -> None:
    (found,) = bootstrap_odds(D(100), [D(400)], D("99.5"), walk(), HOUR_MS)

    assert found.reach_before_stop == 0
    assert isinstance(found.expected_minutes, Unavailable)


def test_too_few_candles_are_unavailable() -> None:
    (found,) = bootstrap_odds(D(100), [D(103)], D(98), walk(MINIMUM_BARS), HOUR_MS)

    assert isinstance(found.reach_before_stop, Unavailable)
    assert "at least" in found.reach_before_stop.reason


@pytest.mark.parametrize(("price", "target", "stop"), [("100", "97", "98"), ("100", "103", "100"), ("100", "103", "0")])
def test_levels_on_the_wrong_side_are_refused(price: str, target: str, stop: str) -> None:
    with pytest.raises(InputsError):
        bootstrap_odds(D(price), [D(target)], D(stop), walk(MINIMUM_BARS + 1), HOUR_MS)
