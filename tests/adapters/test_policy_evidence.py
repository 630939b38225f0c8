"""What counts as evidence on the policy in use, and that reading it back from the journal comes to the same."""

from decimal import Decimal
from pathlib import Path

import pytest

from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.policy_evidence import EvidenceBook, read_evidence
from tpctl.adapters.policy_pointer import Choice, Stage
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import Note, NoteKind, PositionKey, Scalar
from tpctl.market.policy.advice import in_share
from tpctl.market.policy.model import Action

D = Decimal
HASH = "ab" * 32
LONG, SHORT = PositionKey("XRPUSDT", PositionSide.LONG), PositionKey("XRPUSDT", PositionSide.SHORT)
KNOWN = frozenset({"XRPUSDT"})


def choice(stage: Stage = Stage.PROMOTED, share: str = "1", at: int = 5) -> Choice:
    return Choice(HASH, stage, D(share), at)


def in_use(at: int = 100, promoted_at: int = 5, policy: str = HASH) -> Note:
    return Note(at, NoteKind.POLICY, None, "in use", {"policy": policy, "promoted_at": promoted_at})


def closed(life: str = "aa", opened_at: int = 200, key: PositionKey = LONG, **changed: Scalar) -> Note:
    data: dict[str, Scalar] = {
        "generation": life,
        "opened_at": opened_at,
        "pnl": D(5),
        "entry": D(2),
        "stop_initial": D("1.9"),
        "quantity": D(100),
    }
    return Note(300, NoteKind.CLOSED, key, "stop", data | changed)


def results(*notes: Note, of: Choice | None = None) -> list[float]:
    book = EvidenceBook(of or choice(), KNOWN)
    book.see(notes)
    return book.evidence.results


def test_a_result_is_net_profit_over_what_the_first_stop_risked() -> None:
    assert results(in_use(), closed()) == [0.5]
    assert results(in_use(), closed(key=SHORT, stop_initial=D("2.1"), pnl=D(-20))) == [-2.0]


@pytest.mark.parametrize(
    "notes",
    [
        (closed(),),
        (in_use(promoted_at=4), closed()),
        (in_use(policy="cd" * 32), closed()),
        (in_use(), closed(opened_at=99)),
        (in_use(), closed(key=PositionKey("BTCUSDT", PositionSide.LONG))),
        (in_use(), closed(stop_initial=None)),
        (in_use(), closed(stop_initial=D(2))),
        (in_use(), closed(pnl=None)),
    ],
    ids=[
        "never in use",
        "another promotion",
        "another policy",
        "opened before",
        "symbol",
        "no stop",
        "no risk",
        "no pnl",
    ],
)
def test_what_says_nothing_of_this_promotion_is_left_out(notes: tuple[Note, ...]) -> None:
    assert results(*notes) == []


def test_a_canary_is_judged_by_its_own_positions_and_a_shadow_by_none() -> None:
    lives = [f"{number:010x}" for number in range(50)]
    canary = choice(Stage.CANARY, "0.3")
    mine = [life for life in lives if in_share(HASH, life, canary.share)]

    assert len(results(in_use(), *map(closed, lives), of=canary)) == len(mine)
    assert 0 < len(mine) < 50
    book = EvidenceBook(canary, KNOWN)
    book.see([in_use(), *map(closed, lives)])
    assert [arm for arm, _ in book.evidence.others] == [int(life in mine) for life in lives]
    assert results(in_use(), *map(closed, lives), of=choice(Stage.SHADOW)) == []


def test_a_later_start_does_not_forget_what_came_before() -> None:
    assert results(in_use(100), closed(), in_use(400), closed("bb", 500)) == [0.5, 0.5]


def test_slippage_is_adverse_above_zero_on_both_sides() -> None:
    book = EvidenceBook(choice(), KNOWN)
    fill: dict[str, Scalar] = {"price": D("99.9"), "trigger": D(100)}
    book.see([in_use(), Note(1, NoteKind.TP_HIT, LONG, "", fill), Note(1, NoteKind.TP_HIT, SHORT, "", fill)])

    assert book.evidence.slips == pytest.approx([0.001, -0.001])


def met(life: str = "aa", chance: str | None = "0.4", at: int = 210) -> Note:
    data: dict[str, Scalar] = {"policy": HASH, "promoted_at": 5, "generation": life, "reading_swell": D(0)}
    return Note(at, NoteKind.POLICY, LONG, "sees", data | ({} if chance is None else {"hit_chance": D(chance)}))


def asks(action: Action, life: str = "aa") -> Note:
    data: dict[str, Scalar] = {"policy": HASH, "promoted_at": 5, "generation": life, "action": action.name}
    return Note(220, NoteKind.POLICY, LONG, "asks", data)


def ended(reason: str, life: str = "aa") -> Note:
    note = closed(life)
    return Note(note.at, note.kind, note.key, reason, note.data)


def hit(at: int = 230) -> Note:
    return Note(at, NoteKind.TP_HIT, LONG, "", {"price": D(2), "trigger": D(2)})


def test_what_is_asked_first_counts_once_the_position_is_closed() -> None:
    book = EvidenceBook(choice(), KNOWN)
    book.see([in_use(), met(), asks(Action.TIGHTEN), asks(Action.CLOSE_ALL)])
    assert book.evidence.actions == []

    book.see([ended("request"), met("bb"), ended("stop", "bb"), met("cc"), ended("request", "cc")])
    book.see([asks(Action.CLOSE_ALL, "dd"), ended("stop", "dd")])
    # What somebody else closed, and a position it never met, say nothing of it.
    assert book.evidence.actions == [Action.TIGHTEN, Action.HOLD]


def test_a_shadow_is_asked_first_too_but_foretells_nothing() -> None:
    book = EvidenceBook(choice(Stage.SHADOW), KNOWN)
    book.see([in_use(), met(), asks(Action.CLOSE_HALF), hit(), ended("stop")])

    assert (book.evidence.actions, book.evidence.hits, book.evidence.slips) == ([Action.CLOSE_HALF], [], [])


@pytest.mark.parametrize(
    ("story", "found"),
    [
        ((met(), hit(), hit(), ended("stop")), [(0.4, True)]),
        ((met(), ended("stop")), [(0.4, False)]),
        ((met(), hit(211 + 1_000), ended("stop")), [(0.4, False)]),
        ((met(), ended("another order")), []),
        ((met(chance=None), hit(), ended("stop")), []),
        ((met(),), []),
    ],
    ids=["hit", "stopped", "too late", "closed by others", "not foretold", "open"],
)
def test_a_target_is_hit_or_not_within_the_longest_holding(
    story: tuple[Note, ...], found: list[tuple[float, bool]]
) -> None:
    book = EvidenceBook(choice(), KNOWN, 1_000)
    book.see([in_use(), *story])

    assert book.evidence.hits == found


def test_reading_it_back_from_the_journal_comes_to_the_same(tmp_path: Path) -> None:
    seen = met()
    story = (in_use(), seen, seen, asks(Action.TIGHTEN), closed(), Note(301, NoteKind.STOPPED, None, "", {}))
    path = tmp_path / "journal.db"
    journal = Journal.open(path, "account", at=0, code_version="test")
    journal.commit(Entry(at=300, notes=story))
    told = EvidenceBook(choice(), KNOWN)
    assert [told.see([note]) for note in story] == [False, True, False, False, True, False]

    read = read_evidence(journal, choice(), KNOWN)
    journal.close()
    assert read.evidence == told.evidence
    assert (read.evidence.results, read.evidence.readings) == ([0.5], {"swell": [0.0]})
    assert (read.evidence.actions, read.evidence.hits) == ([Action.TIGHTEN], [(0.4, False)])
    assert read.met == told.met == {"aa"}
