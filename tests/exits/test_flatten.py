"""Which positions are asked to close, in which order and how many at a time; and when everything is flat."""

from dataclasses import replace

from stage import XRP_LONG, Stage

from tpctl.exits.episode import Episode, Phase
from tpctl.exits.events import Requested
from tpctl.exits.flatten import AT_ONCE, is_flat, next_to_close, open_episodes
from tpctl.exits.instrument import PositionSide
from tpctl.exits.intents import ReduceAtMarket
from tpctl.exits.model import PositionKey
from tpctl.exits.requests import CloseAll

PRICES = {"XRPUSDT": "2.5", "BTCUSDT": "96000", "ETHUSDT": "3300"}


def held() -> Stage:
    stage = Stage(PRICES)
    for symbol, notional in (("XRPUSDT", 2_000), ("BTCUSDT", 5_000), ("ETHUSDT", 3_000)):
        stage.open(symbol=symbol, notional=notional)
    stage.start()
    stage.wait(5_000)
    return stage


def close_next(stage: Stage) -> None:
    stage.hear(*(Requested(stage.now, key, f"{key}", "flatten", CloseAll()) for key in next_to_close(stage.state)))


def test_the_largest_are_asked_first() -> None:
    stage = held()

    assert [key.symbol for key in next_to_close(stage.state)] == ["BTCUSDT", "ETHUSDT", "XRPUSDT"]


def test_all_are_closed_their_orders_are_swept_and_nothing_is_asked_again() -> None:
    stage = held()
    assert not is_flat(stage.state)

    close_next(stage)
    stage.wait(30_000)

    assert [stage.quantity(symbol) for symbol in PRICES] == [0, 0, 0]
    assert [list(stage.resting(symbol)) for symbol in PRICES] == [[], [], []]
    assert is_flat(stage.state)
    assert next_to_close(stage.state) == []
    sent = len(stage.sent)
    close_next(stage)
    stage.wait(30_000)
    assert len(stage.sent) == sent


def test_so_many_at_a_time_as_the_exchange_has_room_for() -> None:
    stage = held()
    guarded = stage.episode(XRP_LONG)
    closing = replace(guarded, phase=Phase.CLOSING)

    def crowd(episode: Episode, name: str, count: int) -> dict[PositionKey, Episode]:
        keys = (PositionKey(f"{name}{number}USDT", PositionSide.LONG) for number in range(count))
        return {key: replace(episode, key=key) for key in keys}

    crowded = replace(stage.state, episodes=crowd(guarded, "A", 100) | crowd(closing, "B", 3))

    assert len(open_episodes(crowded)) == 103
    asked = next_to_close(crowded)
    assert len(asked) == AT_ONCE - 3
    assert all(key.symbol.startswith("A") for key in asked)


def test_a_refused_close_is_tried_again_until_it_is_flat() -> None:
    stage = held()
    stage.fault(-1015, ReduceAtMarket, times=4)
    close_next(stage)
    stage.wait(60_000)

    assert is_flat(stage.state)
    assert stage.quantity() == 0
