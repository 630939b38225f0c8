"""The engine under virtual time and faults; the exchange's own ledger is the judge (I1 to I25)."""

import os
import subprocess
import sys
from decimal import Decimal

import pytest

from tpctl.exits.rules import ExecutionRules, ExitRules
from tpctl.rehearsal.deaths import DEATHS
from tpctl.rehearsal.report import fields, lines
from tpctl.rehearsal.stories import Broken, Tally, tally, tell, vary
from tpctl.rehearsal.witness import Violation
from tpctl.rehearsal.world import Story
from tpctl.venue.faults import parse_faults

ALL = parse_faults("all")
DYING = {name: rate for name, (rate, _) in DEATHS.items()}


def test_a_story_is_told_the_same_way_twice() -> None:
    """One seed, one story (I21), whatever the hash seed of the process."""
    program = (
        "from decimal import Decimal; from tpctl.rehearsal.stories import tell;"
        "from tpctl.rehearsal.world import Story;"
        "from tpctl.rehearsal.deaths import DEATHS; from tpctl.venue.faults import parse_faults;"
        "deaths = {name: rate for name, (rate, _) in DEATHS.items()};"
        "print(tell(Story(7, Decimal('0.1'), parse_faults('all'), deaths)).trace)"
    )
    traces = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "random")
    }

    assert len(traces) == 1


@pytest.mark.parametrize("hedge", [False, True])
def test_nothing_is_naked_after_the_first_placement(*, hedge: bool) -> None:
    """Through ratchets, partial fills and restarts: 0 ms without a stop where no fault is injected."""
    dying = {"kill-now": 1.0, "kill-write": 1.0, "kill-send": 1.0, "kill-twice": 0.5, "terminate": 0.5}
    story = Story(3, Decimal("0.6"), deaths=dying, depth=Decimal(900), hedge=hedge)

    told = tell(story)

    assert told.violations == ()
    assert [one for one in told.naked if not one.first] == []
    assert told.lives > 20
    assert told.positions > 3


@pytest.mark.parametrize("seed", range(11, 15))
def test_faults_break_nothing(seed: int) -> None:
    """All faults at once, deaths included: every invariant holds at every instant."""
    resident = "resident" if seed % 2 else "software"
    rules = ExitRules(execution=ExecutionRules(take_profit=resident))
    told = tell(Story(seed, Decimal("0.4"), ALL, DYING, hedge=seed % 4 == 3, rules=rules))

    assert told.violations == ()
    assert told.strikes


@pytest.mark.parametrize("seed", range(21, 33))
def test_stories_that_differ_in_what_is_rare_break_nothing_either(seed: int) -> None:
    """Rates and volatility drawn by the seed, as `tpctl rehearse` tells them: consequences have time to unfold."""
    told = tell(vary(Story(seed, Decimal(2), ALL, DYING, hedge=seed % 3 == 0)))

    assert told.violations == ()
    assert told.position_ms > 3 * 86_400_000


def test_drawn_rates_are_the_seeds_own_and_none_is_above_the_whole() -> None:
    """The same seed draws the same; every fault stays possible in every story."""
    one, again, other = (vary(Story(seed, Decimal(1), ALL, DYING)) for seed in (1, 1, 2))

    assert one == again
    assert one.faults != other.faults
    assert one.faults.keys() == ALL.keys()
    assert all(ALL[name] / 300 <= rate <= ALL[name] for name, rate in one.faults.items())
    assert all(DYING[name] / 300 <= rate <= DYING[name] for name, rate in one.deaths.items())
    assert 0.25 <= one.swing <= 1


def test_a_shadow_run_sends_nothing() -> None:
    """What is not armed is silent (I13)."""
    told = tell(Story(5, Decimal("0.1"), parse_faults("disconnect=6/h,lost-after"), armed=False))

    assert told.violations == ()
    assert told.orders == 0
    assert told.requests > 0


def test_stories_add_up() -> None:
    """What many stories came to names every fault and every stretch without a stop."""
    total = tally([tell(Story(seed, Decimal("0.1"), ALL, DYING)) for seed in (1, 2)])

    assert total.stories == 2
    assert total.position_days > 0
    assert total.faults["latency"] > 0
    assert len(total.first_ms) >= total.positions


def test_every_broken_seed_is_named_though_only_the_first_are_shrunk() -> None:
    """What cannot be told again was not found."""
    violations = [(seed, Violation("I1", 0, "a position is without a stop")) for seed in (9, 4, 9)]
    total, shrunk = Tally(broken=violations), [Broken(9, violations[0][1], ("wick#0",))]

    assert fields(total, shrunk, days="1", seeds="1..9", faults=["wick"])["broken_seeds"] == [4, 9]
    assert lines(total, shrunk, days="1", seeds="1..9", faults=["wick"])[-1] == "  also broken: seeds 4"
