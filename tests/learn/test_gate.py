"""The gate lets luck through at most as often as it says, an edge through nearly always, and each check can refuse."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.bench_gate import evidence, passes
from tpctl.learn.gate import judge
from tpctl.market.evaluation import Overfitting, Verdict

GOOD = evidence(1, 0.3)


def test_an_edge_passes_with_every_check_told():
    judgement = judge(GOOD)

    assert judgement.verdict is Verdict.PASSED
    assert judgement.reasons == ()
    assert len({one.name for one in judgement.checks}) == len(judgement.checks) == 15


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"known_answers": False}, "known answers"),
        ({"known_answers": None}, "known answers"),
        ({"reproducible": None}, "reproducible"),
        ({"stressed_gain": -0.01}, "gain at twice the costs"),
        ({"stressed_gain": None}, "gain at twice the costs"),
        ({"candidate_cvar": -1.2}, "CVaR 5 %"),
        ({"candidate_drawdown": 22.5}, "max drawdown"),
        ({"seed_gains": (0.1, 0.1, 0.1, -0.1, -0.1)}, "seeds that gain"),
        ({"seed_gains": ()}, "seeds that gain"),
        ({"overfitting": None}, "overfitting (PBO)"),
        ({"overfitting": Overfitting(0.21, 1, 2, np.zeros(1))}, "overfitting (PBO)"),
        ({"trial_sharpes": ()}, "deflated Sharpe"),
        ({"trial_sharpes": tuple(np.linspace(-1, 1, 50))}, "deflated Sharpe"),
        ({"violations": 1}, "shield violations"),
        ({"shielded": 9_999}, "shield violations"),
    ],
)
def test_each_check_refuses_alone(change, name):
    judgement = judge(replace(GOOD, **change))

    assert judgement.verdict is Verdict.REFUSED
    assert [one.name for one in judgement.checks if not one.ok] == [name]
    assert judgement.reasons[0].startswith(name)


def test_too_few_positions_or_days_refuse():
    short = evidence(1, 0.3, positions=299)
    assert [one.name for one in judge(short).checks if not one.ok] == ["test positions"]
    narrow = evidence(1, 0.3, days=59)
    assert "test days" in [one.name for one in judge(narrow).checks if not one.ok]


def test_folds_and_regimes_that_lose_refuse():
    gain = np.where(GOOD.fold < 12, GOOD.gain, GOOD.gain - 0.5)
    names = [one.name for one in judge(replace(GOOD, gain=gain)).checks if not one.ok]
    assert "folds that gain" in names
    gain = np.where(GOOD.regime < 2, GOOD.gain, -0.01)
    assert "regimes that gain" in [one.name for one in judge(replace(GOOD, gain=gain)).checks if not one.ok]


def test_no_evidence_is_refused():
    nothing = replace(GOOD, at=GOOD.at[:0], gain=GOOD.gain[:0], fold=GOOD.fold[:0], regime=GOOD.regime[:0])
    assert judge(nothing).verdict is Verdict.REFUSED


def test_luck_passes_at_most_one_time_in_twenty_and_an_edge_four_times_in_five():
    assert passes(0.0, 200) <= 0.05
    assert passes(0.1, 60, 1000) >= 0.80
