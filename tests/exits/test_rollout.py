"""Which positions are managed: named, excluded, and a share of symbols by a hash that never changes."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage import XRP_LONG, Stage

from tpctl.exits.episode import Phase, Scope
from tpctl.exits.rollout import rollout_place

D = Decimal
SYMBOLS = st.from_regex(r"[A-Z0-9]{1,12}(USDT|USDC)", fullmatch=True)
SHARES = st.decimals(0, 1, places=4)


@pytest.mark.parametrize(
    ("symbol", "place"),
    [("BTCUSDT", "0.4496"), ("ETHUSDT", "0.8763"), ("XRPUSDT", "0.7792"), ("BNBUSDT", "0.0317")],
)
def test_a_symbol_has_its_place_for_ever(symbol: str, place: str) -> None:
    """These figures may not change: a rollout would reach other symbols after an update."""
    assert f"{rollout_place(symbol):.4f}" == place


@given(SYMBOLS, SHARES, SHARES)
def test_a_larger_share_only_adds_symbols(symbol: str, one: Decimal, other: Decimal) -> None:
    small, large = sorted((one, other))
    assert not Scope(share=small).covers(symbol) or Scope(share=large).covers(symbol)


@given(SYMBOLS)
def test_none_and_all_are_none_and_all(symbol: str) -> None:
    assert Scope(share=D(1)).covers(symbol)
    assert not Scope(share=D(0)).covers(symbol)


def test_the_share_is_met() -> None:
    names = [f"{letter}{number}USDT" for letter in "ABCDEFGHIJ" for number in range(100)]

    reached = sum(Scope(share=D("0.25")).covers(name) for name in names)

    assert reached == pytest.approx(250, abs=45)  # three standard deviations of 1000 draws


def test_why_a_position_is_not_adopted() -> None:
    some = Scope(frozenset({"XRPUSDT", "BTCUSDT"}), frozenset({"BTCUSDT"}), D(0))

    assert some.why_not("XRPUSDT") is None  # naming it is asking for it
    assert some.why_not("BTCUSDT") == "excluded"
    assert some.why_not("ETHUSDT") == "not named"
    assert Scope(share=D("0.05")).why_not("ETHUSDT") == "outside the rollout of 5%"


def test_outside_the_rollout_nothing_is_done_and_what_is_guarded_stays_guarded() -> None:
    stage = Stage({"XRPUSDT": "2.5"})
    stage.state = replace(stage.state, scope=Scope(share=D(0)))
    stage.open()
    stage.start()
    stage.wait(5_000)
    assert (stage.sent, stage.state.episodes) == ([], {})

    stage.state = replace(stage.state, scope=Scope())
    stage.start()
    stage.wait(5_000)
    stage.state = replace(stage.state, scope=Scope(share=D(0)))
    stage.go("2.52", "2.54", "2.56")

    assert stage.episode(XRP_LONG).phase is Phase.GUARDED
    assert stage.stops() > [D("2.5")]


@pytest.mark.parametrize(("scope", "swept"), [(Scope(), True), (Scope(excluded=frozenset({"XRPUSDT"})), False)])
def test_leftovers_of_an_excluded_symbol_are_not_swept(scope: Scope, swept: bool) -> None:
    stage = Stage({"XRPUSDT": "2.5"})
    stage.open()
    stage.start()
    stage.wait(5_000)
    stage.state = replace(stage.state, scope=scope, episodes={})
    stage.lose_user_events()
    stage.venue.close_position("XRPUSDT", "LONG")
    resting = len(stage.resting())
    stage.start()
    stage.wait(60_000)

    assert resting > 0
    assert (len(stage.resting()) == 0) is swept
