"""What the journal keeps of positions is what a start begins with."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from stage import START, XRP_LONG, Stage

from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.journal_reader import PositionRow
from tpctl.engine.memory import episode_rows, load_state, position_row
from tpctl.exits.episode import Phase, Scope, State
from tpctl.exits.errors import StateFileError
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import PositionKey
from tpctl.exits.rules import ExitRules


@pytest.fixture
def stage() -> Stage:
    """Return a long position with its exits in place."""
    stage = Stage({"XRPUSDT": "2.5000"})
    stage.venue.open_position("XRPUSDT", "LONG", notional=Decimal(2000), leverage=20)
    stage.start()
    stage.wait(5_000)
    return stage


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.open(tmp_path / "journal.db", "stage", at=START, code_version="test")


def loaded(journal: Journal) -> State:
    return load_state(journal, "stage", ExitRules(), Scope())


def test_an_empty_journal_is_an_empty_state(journal: Journal) -> None:
    assert loaded(journal) == State(account="stage", rules=ExitRules())


def test_a_running_position_comes_back_as_it_was(stage: Stage, journal: Journal) -> None:
    stage.move({"XRPUSDT": "2.5300"})
    stage.wait(5_000)
    journal.commit(Entry(START, states=(position_row(stage.state, XRP_LONG),)))

    state = loaded(journal)

    assert state.episodes == dict(stage.state.episodes)
    assert state.lives == {XRP_LONG: 1}


def test_what_a_run_may_not_touch_stays_in_the_journal_for_one_that_may(stage: Stage, journal: Journal) -> None:
    journal.commit(Entry(START, states=(position_row(stage.state, XRP_LONG),)))

    for scope in (Scope(excluded=frozenset({"XRPUSDT"})), Scope(symbols=frozenset({"BTCUSDT"}))):
        state = load_state(journal, "stage", ExitRules(), scope)
        assert (state.episodes, state.lives) == ({}, {XRP_LONG: 1})

    assert loaded(journal).episodes == dict(stage.state.episodes)


def test_a_position_that_ended_keeps_only_its_number_of_lives(stage: Stage, journal: Journal) -> None:
    journal.commit(Entry(START, states=(position_row(stage.state, XRP_LONG),)))
    gone = replace(stage.state, episodes={})
    journal.commit(Entry(START + 1, states=(position_row(gone, XRP_LONG),)))

    state = loaded(journal)

    assert (state.episodes, state.lives) == ({}, {XRP_LONG: 1})


def test_the_beginning_and_the_end_of_a_life_are_recorded_each_once(stage: Stage) -> None:
    empty = State(account="stage", rules=ExitRules())
    episode = stage.episode()
    flat = replace(episode, phase=Phase.FLAT, flat_at=START + 9, exit_quantity=episode.quantity, close_reason="stop")
    ended = replace(stage.state, episodes={XRP_LONG: flat})

    (begun,) = episode_rows(empty, stage.state, [XRP_LONG])
    (closed,) = episode_rows(stage.state, ended, [XRP_LONG])

    assert (begun.generation, begun.quantity, begun.closed_at) == (episode.generation, episode.quantity, None)
    assert (closed.generation, closed.quantity, closed.closed_at, closed.reason) == (
        episode.generation,
        episode.quantity,
        START + 9,
        "stop",
    )
    assert list(episode_rows(stage.state, stage.state, [XRP_LONG])) == []
    assert list(episode_rows(ended, ended, [XRP_LONG])) == []
    assert list(episode_rows(ended, empty, [XRP_LONG])) == []


def test_a_state_this_version_cannot_read_is_an_error_with_a_way_out(journal: Journal) -> None:
    key = PositionKey("XRPUSDT", PositionSide.LONG)
    journal.commit(Entry(START, states=(PositionRow(key, 1, "0123456789", '{"phase":"of the moon"}'),)))

    with pytest.raises(StateFileError, match="XRPUSDT LONG") as caught:
        loaded(journal)

    assert "move the journal aside" in caught.value.hint
