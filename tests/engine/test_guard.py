"""The gate before the exchange."""

from dataclasses import replace
from decimal import Decimal

import pytest
from stage import XRP_LONG, Stage

from tpctl.engine.guard import Guard
from tpctl.exits.events import Withheld
from tpctl.exits.ids import Role
from tpctl.exits.intents import CancelOrder, OrderIntent, PlaceStop, PlaceTakeProfit, ReduceAtMarket
from tpctl.exits.model import Book, PositionMode, WorkingType
from tpctl.ports import Admitted
from tpctl.venue.venue import Terms

D = Decimal
OURS = "tp1-0123456789-s-9"


@pytest.fixture(scope="module")
def stage() -> Stage:
    stage = Stage({"XRPUSDT": "2.5"}, terms=Terms(half_spread_ticks=0, impact_bps=D(0)))
    stage.start()
    stage.open()
    return stage


def stop(quantity: str | None = "800", trigger: str = "2.48", client_id: str = OURS) -> PlaceStop:
    size = None if quantity is None else D(quantity)
    return PlaceStop(XRP_LONG, client_id, size, D(trigger), WorkingType.MARK, "test")


def target(quantity: str = "100", trigger: str = "2.6") -> PlaceTakeProfit:
    return PlaceTakeProfit(XRP_LONG, "tp1-0123456789-t1-9", 1, D(quantity), D(trigger), WorkingType.MARK, "test")


def reduce(quantity: str) -> ReduceAtMarket:
    return ReduceAtMarket(XRP_LONG, "tp1-0123456789-r-9", D(quantity), "test")


def cancel(client_id: str = OURS) -> CancelOrder:
    return CancelOrder(XRP_LONG, client_id, Book.ALGO, "test")


OPEN_GATE = Guard(armed=True, halted=lambda: None)


@pytest.mark.parametrize("intent", [stop(), stop(None), target(), reduce("800"), cancel()])
def test_sound_intent_is_admitted_with_the_accounts_mode(stage: Stage, intent: OrderIntent) -> None:
    assert OPEN_GATE.admit(intent, stage.state) == Admitted(intent, PositionMode.ONE_WAY)


@pytest.mark.parametrize(
    ("intent", "reason"),
    [
        (reduce("800.1"), "not within the position"),
        (reduce("0"), "not within the position"),
        (reduce("-1"), "not within the position"),
        (stop("801"), "not within the position"),
        (target("10.05"), "off the step"),
        (stop(trigger="2.48005"), "off the tick"),
        (stop(trigger="0"), "off the tick"),
        (stop(trigger="2.4699"), "looser than the resting"),
    ],
)
def test_broken_invariant_is_withheld_but_may_be_asked_for_again(
    stage: Stage, intent: OrderIntent, reason: str
) -> None:
    answer = OPEN_GATE.admit(intent, stage.state)
    assert isinstance(answer, Withheld)
    assert reason in answer.reason
    assert answer.retry


def test_quantity_outside_the_limits_of_one_order_is_withheld(stage: Stage) -> None:
    episode = stage.episode()
    assert episode.instrument is not None
    narrow = replace(episode.instrument, market_min_quantity=D(10), market_max_quantity=D(500))
    state = replace(stage.state, episodes={XRP_LONG: replace(episode, instrument=narrow)})
    assert isinstance(OPEN_GATE.admit(reduce("9"), state), Withheld)
    assert isinstance(OPEN_GATE.admit(reduce("501"), state), Withheld)
    assert isinstance(OPEN_GATE.admit(reduce("500"), state), Admitted)


def test_backstop_may_lie_beyond_the_stop(stage: Stage) -> None:
    assert isinstance(OPEN_GATE.admit(stop(None, trigger="2.3"), stage.state), Admitted)


@pytest.mark.parametrize("client_id", ["web_1", "x-tp1-0123456789-s-1", ""])
def test_i12_foreign_order_is_never_cancelled(stage: Stage, client_id: str) -> None:
    assert isinstance(OPEN_GATE.admit(cancel(client_id), stage.state), Withheld)


@pytest.mark.parametrize("intent", [stop(), target(), reduce("100"), cancel()])
def test_i13_shadow_admits_nothing_and_waits_for_release(stage: Stage, intent: OrderIntent) -> None:
    answer = Guard(armed=False, halted=lambda: None).admit(intent, stage.state)
    assert answer == Withheld("shadow mode", retry=False)


def test_halt_withholds_targets_only(stage: Stage) -> None:
    guard = Guard(armed=True, halted=lambda: "maintenance")
    assert guard.admit(target(), stage.state) == Withheld("HALT: maintenance", retry=False)
    for intent in (stop(), reduce("100"), cancel()):
        assert isinstance(guard.admit(intent, stage.state), Admitted)


def test_halt_is_read_at_every_intent(stage: Stage) -> None:
    halts = iter(["on", None])
    guard = Guard(armed=True, halted=lambda: next(halts))
    assert isinstance(guard.admit(target(), stage.state), Withheld)
    assert isinstance(guard.admit(target(), stage.state), Admitted)


def test_intent_for_a_position_nobody_knows_is_withheld(stage: Stage) -> None:
    state = replace(stage.state, episodes={})
    answer = OPEN_GATE.admit(reduce("1"), state)
    assert isinstance(answer, Withheld)
    assert isinstance(OPEN_GATE.admit(cancel(), state), Admitted), "leftovers may always be cancelled"


def test_withheld_reduce_is_asked_for_again_when_the_position_was_smaller_than_thought(stage: Stage) -> None:
    other = Stage({"XRPUSDT": "2.5"}, terms=Terms(half_spread_ticks=0, impact_bps=D(0)))
    other.start()
    other.open()
    refuse = [True]
    admit = other.guard.admit

    def once(intent: OrderIntent, state: object) -> Admitted | Withheld:
        if isinstance(intent, ReduceAtMarket) and refuse:
            refuse.pop()
            return Withheld("quantity is not within the position", retry=True)
        return admit(intent, state)  # type: ignore[arg-type]

    other.guard.admit = once  # type: ignore[method-assign]
    other.fault(-2021, PlaceStop, role=Role.STOP)
    other.go("2.5273")
    other.wait(2_000)
    assert other.quantity() == 0


def test_a_stop_is_not_withdrawn_when_its_successor_has_gone() -> None:
    """New before old (I5): the cancel waits its turn, and meanwhile the exchange ends the new stop."""
    stage = Stage({"XRPUSDT": "2.5"})
    stage.start()
    stage.open()
    old = stage.orders(Role.STOP)[0]

    admitted = OPEN_GATE.admit(cancel(old.client_id), stage.state)

    assert isinstance(admitted, Withheld)
    assert admitted.retry
    assert admitted.reason == "without it stops cover '0' of 800"


def test_a_stop_is_withdrawn_once_its_successor_rests() -> None:
    stage = Stage({"XRPUSDT": "2.5"})
    stage.start()
    stage.open()
    episode = stage.episode()
    old = episode.of_role(Role.STOP)[0]
    new = replace(old, client_id=f"{old.client_id}9", trigger=old.trigger)
    both = replace(stage.state, episodes={XRP_LONG: replace(episode, orders=(*episode.orders, new))})

    assert isinstance(OPEN_GATE.admit(cancel(old.client_id), both), Admitted)
