"""Records brought up to date by what is new are those of everything, whoever writes and wherever runs end (I17)."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_durability import ATTEMPT, open_journal

from tpctl.adapters import standings as module
from tpctl.adapters.journal import Entry, Journal
from tpctl.adapters.journal_reader import Hindsight
from tpctl.adapters.metrics_file import fold_all
from tpctl.adapters.standings import Standings
from tpctl.exits.model import Attempt, Outcome
from tpctl.exits.scoring import Verdict

MISS = replace(ATTEMPT, outcome=Outcome.MISS, reason="stop")


def attempt(number: int, *, hit: bool = True, cents: int = 100) -> Attempt:
    one = ATTEMPT if hit else MISS
    symbol = ("BTCUSDT", "XRPUSDT")[number % 2]
    price = Decimal(50_950) + Decimal(cents) / 7
    return replace(one, id=f"a{number}", symbol=symbol, profit_usd=Decimal(cents) / 100, exit_price=price)


def verdict(number: int) -> Entry:
    return Entry(9, hindsights=(Hindsight(f"a{number}", Verdict(number % 3 == 0, Decimal(number) / 9)),))


def same(standings: Standings, journal: Journal) -> bool:
    return dict(standings.records()) == fold_all(journal.attempts())


steps = st.lists(
    st.one_of(
        st.tuples(st.just("attempt"), st.booleans(), st.integers(-500, 500)),
        st.tuples(st.just("verdict"), st.integers(0, 40), st.none()),
        st.tuples(st.sampled_from(["ask", "restart", "damage"]), st.none(), st.none()),
    ),
    max_size=40,
)


@given(steps)
@settings(max_examples=60, deadline=None)
def test_what_is_brought_up_to_date_equals_the_fold_over_everything(story):
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_WORTH_KEEPING", 3)
        path = Path(folder) / "journal.db"
        with open_journal(path) as journal:
            standings, misses, count = Standings(path), [], 0
            for what, first, second in story:
                if what == "attempt":
                    journal.record(1, [attempt(count, hit=first, cents=second)])
                    misses += [] if first else [count]
                    count += 1
                elif what == "verdict" and misses:
                    journal.commit(verdict(misses.pop(first % len(misses))))
                elif what == "ask":
                    assert same(standings, journal)
                elif what in {"restart", "damage"}:
                    standings.close()
                    kept = path.with_name("standings.json")
                    if what == "damage" and kept.exists():
                        kept.write_bytes(kept.read_bytes()[:-40])
                    standings = Standings(path)
            assert same(standings, journal)
            standings.close()


def test_a_run_begins_where_the_last_one_kept_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORTH_KEEPING", 5)
    path = tmp_path / "journal.db"
    with open_journal(path) as journal:
        journal.record(1, [attempt(number) for number in range(7)])
        with Standings(path) as first:
            first.records()
        folded: list[str] = []
        fold = module.fold
        monkeypatch.setattr(module, "fold", lambda record, one: folded.append(one.id) or fold(record, one))
        journal.record(2, [attempt(7)])
        with Standings(path) as second:
            assert same(second, journal)
        assert folded == ["a7"]
        with Standings(path) as third:
            third.forget()
            assert same(third, journal)
        assert len(folded) == 9


def test_what_was_kept_of_another_journal_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORTH_KEEPING", 1)
    path = tmp_path / "journal.db"
    with open_journal(path) as journal, Standings(path) as standings:
        journal.record(1, [attempt(number) for number in range(3)])
        standings.records()
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    with open_journal(path) as journal:
        journal.record(1, [attempt(number, cents=7) for number in range(3)])
        with Standings(path) as standings:
            assert same(standings, journal)
