"""The dashboard's eyes: what they keep is bounded by what is open, and they explain trails by the rules in force."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from stage import START, Stage

from tpctl.adapters.codec import encode
from tpctl.adapters.files import StateDir, open_state_dir
from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.pulse import Pulse, PulseWriter
from tpctl.cli.beat import TrailText, marks_of
from tpctl.cli.board import position_row
from tpctl.cli.board_reader import BoardReader
from tpctl.engine import memory
from tpctl.exits.episode import Episode, State
from tpctl.exits.errors import StateFileError
from tpctl.exits.instrument import PositionSide, Unavailable
from tpctl.exits.model import Attempt, Note, NoteKind, Outcome, PositionKey
from tpctl.exits.rules import ExitRules, TrailRules
from tpctl.views.dashboard.board import Figures

DAY = 86_400_000
HOUR = replace(TrailRules(), min_age_ms=3_600_000)
PULSE = Pulse(
    at=START, written_at=0, started_at=0, pid=1, profile="sim", env="sim", mode="armed", host="", exchange=""
)  # fmt: skip


class Desk:
    """A journal and a pulse as a watch writes them, and a view of both."""

    def __init__(self, folder: Path) -> None:
        self.dir: StateDir = open_state_dir(folder, "test")
        self.journal = Journal.open(self.dir.journal, "test", at=START, code_version="test")
        self.pulse = PulseWriter.open(self.dir.pulse)
        self.heard: list[int] = []

    def view(self, rules: TrailRules | None = None, **more: int) -> BoardReader:
        return BoardReader(
            self.dir,
            rules or TrailRules(),
            profile="sim",
            env="sim",
            wall=lambda: 0,
            attached=True,
            hear=lambda note, seq: self.heard.append(seq),
            **more,
        )

    def beat(self, state: State, at: int) -> None:
        self.pulse.write(replace_pulse(PULSE, at=at, marks=marks_of(state), trail=TrailText().of(state)))

    def close(self) -> None:
        self.journal.close()
        self.pulse.close()


def replace_pulse(pulse: Pulse, **changes: object) -> Pulse:
    fields = {name: getattr(pulse, name) for name in pulse.__struct_fields__}
    return Pulse(**(fields | changes))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    opened = Desk(tmp_path / "state")
    yield opened
    opened.close()


def stage() -> Stage:
    """A guarded position whose trail is due to tighten, but for the age the rules ask of it."""
    made = Stage({"XRPUSDT": "2.5"})
    made.open()
    made.start()
    made.go("2.5", "2.51")
    key = made.episode().key
    made.state = replace(made.state, quiet={}, episodes={key: replace(made.episode(), peak=Decimal("2.64"))})
    return made


def named(episode: Episode, number: int) -> Episode:
    return replace(episode, key=PositionKey(f"S{number}USDT", PositionSide.LONG))


def closed(key: PositionKey, at: int, pnl: str) -> Note:
    return Note(at, NoteKind.CLOSED, key, "stop", {"pnl": Decimal(pnl), "naked_ms": 5})


def attempt(number: int, at: int, outcome: Outcome) -> Attempt:
    return Attempt(
        id=f"0123456789-1-{number}", strategy_id="dynamic", symbol="XRPUSDT", position_side=PositionSide.LONG, leg=1,
        entry_time=START, entry_price=Decimal(2), target_price=Decimal(3), exit_time=at, exit_price=Decimal(3),
        quantity=Decimal(1), profit_usd=Decimal(1), outcome=outcome, reason="take_profit",
    )  # fmt: skip


def test_a_view_keeps_counts_of_what_is_over_however_much_that_is(desk: Desk) -> None:
    episode, empty = stage().episode(), State(account="test", rules=ExitRules())
    view, shown = desk.view(), 0
    days, a_day = 5, 300
    for number in range(days * a_day):
        at = START + number * DAY // a_day
        one = named(replace(episode, mark_at=at), number)
        open_one = replace(empty, episodes={one.key: one})
        desk.journal.commit(Entry(at, states=(memory.position_row(open_one, one.key),)))
        desk.beat(open_one, at)
        shown += len(view.look().rows)
        desk.journal.commit(
            Entry(
                at,
                states=(memory.position_row(empty, one.key),),
                notes=(closed(one.key, at, "1.5"), Note(at, NoteKind.CANCELLED, one.key, "over")),
                attempts=(attempt(number, at, Outcome.HIT),),
            )
        )
        desk.beat(empty, at)
        board = view.look()
        assert (board.rows, len(view._episodes), len(view._courses)) == ((), 0, 0)
    sizes = {
        name: len(value)
        for name, value in vars(view).items()
        if hasattr(value, "__len__") and not isinstance(value, str)
    }

    assert shown == days * a_day
    assert len(desk.heard) == 2 * days * a_day
    assert sizes.pop("_log") == len(board.log) == 500
    assert max(sizes.values()) <= 4
    assert board.figures.closed == board.figures.hits == a_day


def test_the_day_counts_what_it_closed_and_nothing_of_the_day_before(desk: Desk) -> None:
    key, empty = PositionKey("XRPUSDT", PositionSide.LONG), State(account="test", rules=ExitRules())
    tomorrow = START - START % DAY + DAY
    before = Entry(
        tomorrow - 1,
        notes=(Note(START, NoteKind.STARTED, None, "watch started"), closed(key, tomorrow - 1, "-9")),
        attempts=(attempt(1, tomorrow - 1, Outcome.MISS),),
    )
    after = Entry(
        tomorrow,
        notes=(closed(key, tomorrow, "4"), closed(key, tomorrow + 1, "-1")),
        attempts=(attempt(2, tomorrow, Outcome.HIT), attempt(3, tomorrow + 1, Outcome.MISS)),
    )
    desk.journal.commit(before)
    desk.journal.commit(after)
    desk.beat(empty, tomorrow - 1)
    late, early = desk.view(log=0), desk.view()

    assert [day_of(view.look().figures) for view in (late, early)] == [(1, 0, Decimal(-9), 5, 0, 1)] * 2
    desk.beat(empty, tomorrow + 2)
    assert [day_of(view.look().figures) for view in (late, early)] == [(2, 1, Decimal(3), 10, 1, 2)] * 2
    assert day_of(desk.view(log=1).look().figures) == (2, 1, Decimal(3), 10, 1, 2)


def day_of(figures: Figures) -> tuple[object, ...]:
    return (
        figures.closed, figures.won, figures.realised, figures.unprotected_ms, figures.hits, figures.attempts,
    )  # fmt: skip


def test_an_account_that_begins_anew_has_closed_nothing_yet(desk: Desk) -> None:
    key, empty = PositionKey("XRPUSDT", PositionSide.LONG), State(account="test", rules=ExitRules())
    earlier = (Note(START, NoteKind.STARTED, None, "watch started"), closed(key, START + 7_200_000, "-9"))
    desk.journal.commit(Entry(START, notes=earlier, attempts=(attempt(1, START + 7_200_000, Outcome.MISS),)))
    view = desk.view()
    desk.beat(empty, START)
    assert day_of(view.look().figures) == (0, 0, 0, 0, 0, 0)
    desk.journal.commit(Entry(START, notes=(Note(START, NoteKind.STARTED, None, "watch started"),)))
    desk.journal.commit(Entry(START, notes=(closed(key, START + 5, "2"),)))
    desk.beat(empty, START + 7_200_001)

    assert day_of(view.look().figures) == (1, 1, Decimal(2), 5, 0, 0)


def test_a_view_explains_trails_by_the_rules_in_force(desk: Desk) -> None:
    made = stage()
    key = made.episode().key
    desk.journal.commit(Entry(made.now, states=(memory.position_row(made.state, key),)))
    desk.beat(made.state, made.now)
    view = desk.view(replace(HOUR, min_age_ms=7_200_000))
    before = view.look().detail_of(key)
    desk.beat(replace(made.state, rules=ExitRules(trail=HOUR)), made.now)
    board = view.look()
    after = board.detail_of(key)

    assert before is not None
    assert after is not None
    assert "changes start at 300 s" in before.trail
    assert "changes start at 3600 s" in after.trail
    assert view.look() is board


def test_rules_of_another_version_are_an_error_and_an_old_pulse_is_none(desk: Desk) -> None:
    made = stage()
    key = made.episode().key
    desk.journal.commit(Entry(made.now, states=(memory.position_row(made.state, key),)))
    desk.pulse.write(replace_pulse(PULSE, at=made.now, marks=marks_of(made.state)))
    view = desk.view(HOUR)
    detail = view.look().detail_of(key)
    assert detail is not None
    assert "changes start at 3600 s" in detail.trail
    newer = encode(TrailRules()).replace('"style"', '"mood"')
    desk.pulse.write(replace_pulse(PULSE, at=made.now, trail=newer))

    with pytest.raises(StateFileError, match="trail rules do not fit"):
        view.look()


def test_the_log_says_which_day_its_lines_are_of(desk: Desk) -> None:
    key = PositionKey("XRPUSDT", PositionSide.LONG)
    for at in (START, START + 1, START + DAY, START + DAY + 1):
        desk.journal.commit(Entry(at, notes=(closed(key, at, "1"),)))
    desk.beat(State(account="test", rules=ExitRules()), START + DAY + 2)

    words = [happening.text.split()[0] for happening in desk.view().look().log]
    assert words == ["2026-01-05", "00:00:00", "00:00:00", "2026-01-06", "00:00:00", "00:00:00"]


@pytest.mark.parametrize("known", [True, False])
def test_a_position_no_price_liquidates_is_no_unknown_one(known: bool) -> None:
    made = Stage({"XRPUSDT": "2.5"})
    if known:
        made.context = replace(made.context, brackets=made.brackets["XRPUSDT"])
    made.open()
    made.start()
    made.go("2.5", "2.51")
    found = position_row(made.episode(), ()).liquidation

    if known:
        assert found is None
    else:
        assert isinstance(found, Unavailable)
        assert found.reason.startswith("leverage brackets unavailable (not read here)")
