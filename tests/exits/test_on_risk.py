"""Measured risk and take-profits that rest: a factor acts once, small changes are left alone, no stop is touched."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage import LOST_AFTER, LOST_BEFORE, Stage

from tpctl.exits.events import RiskRead
from tpctl.exits.instrument import Unavailable
from tpctl.exits.intents import CancelOrder, PlaceTakeProfit
from tpctl.exits.model import NoteKind, RiskReadings
from tpctl.exits.risk import tp_factor
from tpctl.exits.rules import RiskRules
from tpctl.venue.venue import Terms

D = Decimal
EXACT = Terms(half_spread_ticks=0, impact_bps=D(0))
MISSING = Unavailable("not measured")
CALM = RiskReadings(D("1.0"), D("0.3"), D("0.3"), D("0.4"))
STRESS = RiskReadings(D("2.8"), D("0.3"), D("0.3"), D("0.4"))
HIGH = RiskReadings(D("1.6"), D("0.3"), D("0.3"), D("0.4"))
WIDEN_MS = RiskRules().widen_after_ms


@pytest.fixture
def stage() -> Stage:
    """A long of 800 at 2.5 with its stops and three take-profits."""
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stage.start()
    stage.open()
    return stage


def read(stage: Stage, readings: RiskReadings) -> None:
    stage.hear(RiskRead(stage.now, readings))


def lasting(stage: Stage, readings: RiskReadings) -> None:
    """Read the same for as long as it takes to move levels out."""
    read(stage, readings)
    stage.wait(2_000)
    stage.now += WIDEN_MS
    read(stage, readings)
    stage.wait(2_000)


def triggers(stage: Stage) -> list[Decimal]:
    return sorted(trigger for trigger, _ in stage.targets())


def scaled(levels: list[Decimal], factor: str) -> list[Decimal]:
    """Return levels at `factor` times their distance from 2.5, on the tick toward entry."""
    return [
        (D("2.5") + (level - D("2.5")) * D(factor)).quantize(D("0.0001"), rounding="ROUND_FLOOR") for level in levels
    ]


def near(levels: list[Decimal], expected: list[Decimal]) -> bool:
    """Whether levels are within a tick: the levels they are scaled from were rounded themselves."""
    return len(levels) == len(expected) and all(
        abs(a - b) <= D("0.0001") for a, b in zip(levels, expected, strict=True)
    )


def test_stress_pulls_the_levels_in_once_and_leaves_the_stops(stage: Stage) -> None:
    planned, stops, backstops = triggers(stage), stage.stops(), stage.backstops()
    read(stage, STRESS)
    stage.wait(3_000)

    assert near(triggers(stage), scaled(planned, "0.70"))
    assert (stage.stops(), stage.backstops()) == (stops, backstops)
    note = stage.told(NoteKind.PLANNED)[-1]
    assert note.reason.startswith("risk factor 1 → 0.7: take-profits not yet hit from ")
    assert note.data["reasons"] == "High ESS (2.8) → -30% TP distance"

    sent = len(stage.sent)
    for _ in range(20):
        read(stage, STRESS)
    stage.wait(3_000)
    assert len(stage.sent) == sent


def test_the_factor_starts_from_the_levels_before_risk_however_often_it_changes(stage: Stage) -> None:
    planned = triggers(stage)
    for readings in (STRESS, HIGH, STRESS, CALM):
        lasting(stage, readings)

    assert triggers(stage) == planned


def test_a_change_within_the_hysteresis_moves_nothing(stage: Stage) -> None:
    sent = len(stage.sent)
    for _ in range(5):
        read(stage, replace(CALM, heat=D("0.8")))  # -5 %
        read(stage, CALM)
    stage.wait(2_000)

    assert len(stage.sent) == sent


def test_a_reading_that_flaps_round_its_threshold_moves_the_levels_once(stage: Stage) -> None:
    for _ in range(10):
        read(stage, STRESS)
        stage.wait(1_000)
        read(stage, CALM)
        stage.now += WIDEN_MS - 2_000
        read(stage, CALM)
        stage.wait(1_000)

    assert len([note for note in stage.told(NoteKind.PLANNED) if note.reason.startswith("risk factor")]) == 1


def test_levels_move_out_again_when_the_stress_has_been_over_for_long_enough(stage: Stage) -> None:
    planned = triggers(stage)
    read(stage, STRESS)
    stage.wait(2_000)
    pulled = triggers(stage)
    read(stage, CALM)
    stage.wait(2_000)
    stage.now += WIDEN_MS - 3_000
    read(stage, CALM)
    assert triggers(stage) == pulled
    stage.wait(2_000)
    read(stage, CALM)
    stage.wait(2_000)

    assert triggers(stage) == planned


def test_calm_that_was_interrupted_starts_anew(stage: Stage) -> None:
    read(stage, STRESS)
    stage.wait(2_000)
    pulled = triggers(stage)
    for readings in (CALM, replace(CALM, ess=MISSING), CALM):
        read(stage, readings)
        stage.now += WIDEN_MS // 2
    read(stage, CALM)
    stage.wait(2_000)

    assert triggers(stage) == pulled


def test_a_reading_that_went_missing_widens_nothing(stage: Stage) -> None:
    read(stage, STRESS)
    stage.wait(2_000)
    pulled = triggers(stage)
    stage.now += WIDEN_MS
    read(stage, replace(CALM, ess=MISSING))
    read(stage, RiskReadings(MISSING, MISSING, MISSING, MISSING))
    stage.wait(2_000)

    assert triggers(stage) == pulled


def test_what_was_hit_stays_hit_and_only_the_rest_moves(stage: Stage) -> None:
    first, second, third = triggers(stage)
    stage.go(str(first + D("0.0005")))
    assert stage.episode().legs_hit == 1
    stops = stage.stops()
    read(stage, STRESS)
    stage.wait(3_000)

    # 70 % of the second distance lies at about the first level: still beyond it, and beyond the breakeven.
    assert len(triggers(stage)) == 2
    assert triggers(stage)[0] > first
    assert near(triggers(stage)[1:], scaled([third], "0.70"))
    assert stage.stops() == stops
    assert second > triggers(stage)[0]


def test_the_ratchet_follows_the_levels_as_they_rest(stage: Stage) -> None:
    read(stage, STRESS)
    stage.wait(2_000)
    first, second, _ = triggers(stage)
    stage.go(str(first + D("0.0002")))
    stage.go(str(second + D("0.0002")))

    assert stage.episode().legs_hit == 2
    assert stage.stops() == [first]


def test_a_level_the_mark_has_passed_by_moving_in_is_taken(stage: Stage) -> None:
    first, _, _ = triggers(stage)
    stage.go(str(first - D("0.001")))
    before = stage.quantity()
    read(stage, STRESS)
    stage.wait(5_000)

    assert stage.episode().legs_hit == 1
    assert stage.quantity() < before


@pytest.mark.parametrize("outcome", [LOST_BEFORE, LOST_AFTER, -1001])
@pytest.mark.parametrize("kind", [CancelOrder, PlaceTakeProfit])
def test_faults_while_levels_move_end_in_the_same_place(
    stage: Stage, outcome: str | int, kind: type[CancelOrder] | type[PlaceTakeProfit]
) -> None:
    planned = triggers(stage)
    stage.fault(outcome, kind, times=2)
    read(stage, STRESS)
    for _ in range(60):
        stage.wait(1_000)
        assert stage.stops()

    assert near(triggers(stage), scaled(planned, "0.70"))
    assert not stage.undecided()


def test_the_factor_in_force_outlives_a_restart(stage: Stage) -> None:
    planned = triggers(stage)
    read(stage, STRESS)
    stage.wait(2_000)
    stage.restart()
    stage.wait(2_000)
    sent = len(stage.sent)
    read(stage, STRESS)
    assert len(stage.sent) == sent
    assert near(triggers(stage), scaled(planned, "0.70"))


def test_a_plan_made_under_stress_is_not_scaled_again(stage: Stage) -> None:
    stressed = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stressed.context = replace(stressed.context, risk=STRESS)
    stressed.start()
    stressed.open()
    levels = triggers(stressed)
    assert near(levels, scaled(triggers(stage), "0.70"))
    read(stressed, STRESS)
    lasting(stressed, CALM)

    assert triggers(stressed) == triggers(stage)


ONE_READING = st.one_of(st.decimals("0", "4", places=2), st.just(MISSING))
UNIT_READING = st.one_of(st.decimals("0", "1", places=2), st.just(MISSING))


@given(
    st.lists(
        st.tuples(
            st.builds(RiskReadings, ONE_READING, UNIT_READING, UNIT_READING, UNIT_READING), st.sampled_from((1, 20))
        ),
        max_size=8,
    ),
    st.lists(st.sampled_from(("2.49", "2.5", "2.51", "2.53")), max_size=4),
)
def test_no_sequence_of_readings_touches_a_stop_or_leaves_the_position_bare(
    measured: list[tuple[RiskReadings, int]], prices: list[str]
) -> None:
    """I1, I2, I4: whatever is measured, a stop rests and never loosens, and the targets never exceed the position."""
    stage = Stage({"XRPUSDT": "2.5"}, terms=EXACT)
    stage.start()
    stage.open()
    stop = max(stage.stops())
    moves = iter(prices)
    for readings, minutes in measured:
        stage.now += minutes * 60_000
        read(stage, readings)
        if stage.flat():
            return
        price = next(moves, None)
        if price is not None:
            stage.go(price)
        if stage.flat():
            return
        assert max(stage.stops()) >= stop
        stop = max(stage.stops())
        levels = triggers(stage)
        assert levels == sorted(set(levels))
        assert sum(quantity for _, quantity in stage.targets()) <= stage.quantity()
        factor, _ = tp_factor(readings, RiskRules())
        assert D("0.5") <= factor <= D("1.5")
