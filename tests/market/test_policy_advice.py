"""What a policy makes of one position: the share it speaks for, and that it never asks to loosen (I3, I4)."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from test_policy import LINEAR, ORIGIN, POLICY

from tpctl.exits.instrument import PositionSide
from tpctl.market.policy.advice import advise_step, advise_zone, in_share, words
from tpctl.market.policy.features import MarketReading, PositionReading
from tpctl.market.policy.model import Action, LearnedPolicy

HASH = "ab" * 32
prices = st.floats(50.0, 200.0)
drifts = st.floats(-4.0, 4.0)


def test_a_share_holds_about_its_part_of_positions_and_grows_without_letting_go_of_any():
    lives = [f"{number:010x}" for number in range(4_000)]
    small, large = ({life for life in lives if in_share(HASH, life, Decimal(share))} for share in ("0.1", "0.2"))

    assert small < large
    assert 0.08 < len(small) / len(lives) < 0.12
    assert all(in_share(HASH, life, Decimal(1)) for life in lives)
    # Another policy draws anew.
    assert small != {life for life in lives if in_share("cd" * 32, life, Decimal("0.1"))}


positions = st.builds(
    PositionReading,
    side=st.sampled_from(PositionSide),
    entry=prices,
    close=prices,
    best=prices,
    stop=prices,
    target=st.none() | prices,
    stop_distance=st.floats(0.001, 0.2),
    age=st.floats(0.0, 1.5),
    remaining=st.floats(0.01, 1.0),
    hits=st.floats(0.0, 1.0),
)
markets = st.builds(MarketReading, drifts, drifts, st.floats(-1.0, 4.0), st.floats(0.0001, 0.3))


@given(position=positions, market=markets, partly=st.booleans())
def test_whatever_it_sees_it_only_closes_or_tightens(position, market, partly):
    advice = advise_step(POLICY, position, market, partly=partly)

    if advice is None:
        return
    assert position.age <= 1.0
    assert partly or advice.action not in {Action.CLOSE_QUARTER, Action.CLOSE_HALF}
    assert (advice.stop is not None) == (advice.action is Action.TIGHTEN)
    if advice.stop is not None:
        assert position.side.sign * (advice.stop - position.stop) > 0
        assert position.side.sign * (position.close - advice.stop) > 0


def test_a_zone_is_told_with_what_moved_it():
    advice = advise_zone(POLICY, PositionSide.LONG, MarketReading(2.0, 1.0, 0.0, 0.004), 0.02, 0.02)

    assert advice is not None
    assert advice.zone.multiple == 1.5
    assert words(advice.why) == "drift_fast +0.060 R, drift_slow +0.040 R, volatility +0.010 R"


def test_a_policy_that_was_not_taught_zones_suggests_none():
    untaught = LearnedPolicy(900_000, 96, LINEAR, (), 3.0, ORIGIN)

    assert advise_zone(untaught, PositionSide.SHORT, MarketReading(0.0, 0.0, 0.0, 0.004), 0.02, 0.02) is None
