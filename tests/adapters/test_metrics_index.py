"""The metrics index says what the journal's attempts say, however it came to be, and is thrown away when in doubt."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from metrics_desk import DAY, LIFE, START, VECTOR, commit_at_once, commit_attempts, life, open_journal, random_attempts
from tracing import every_crash

from tpctl.adapters.journal import Entry
from tpctl.adapters.journal_reader import Hindsight
from tpctl.adapters.journal_scan import JournalScan
from tpctl.adapters.lock import acquire
from tpctl.adapters.metrics_cells import month_of, month_start
from tpctl.adapters.metrics_index import MetricsIndex
from tpctl.adapters.metrics_positions import Captured, Excursions, charges, delays, excursions
from tpctl.adapters.metrics_query import MetricsQuery, Selection, Spread
from tpctl.adapters.metrics_store import drop_index, open_index
from tpctl.exits.costs import Costs
from tpctl.exits.errors import StateFileError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.mid import MidRead
from tpctl.exits.model import Attempt, Note, Outcome
from tpctl.exits.scoring import Verdict
from tpctl.exits.statistics import Dimension, Tally, measure, quantile
from tpctl.market.incidence import band

ALL = Selection()
GROUPS: dict[Dimension, Callable[[Attempt], str | int]] = {
    Dimension.STRATEGY: lambda a: a.strategy_id,
    Dimension.SYMBOL: lambda a: a.symbol,
    Dimension.LEG: lambda a: a.leg,
    Dimension.SIDE: lambda a: a.position_side.value,
    Dimension.HOUR: lambda a: a.exit_time // 3_600_000 % 24,
    Dimension.WEEKDAY: lambda a: (a.exit_time // DAY + 3) % 7,
    Dimension.REASON: lambda a: a.reason,
    Dimension.REGIME: lambda _: "",
    Dimension.ARM: lambda a: a.arm or "",
    Dimension.DISTANCE: lambda a: int(abs(a.target_price - a.entry_price) / a.entry_price * 200),
}


def index_of(path: Path) -> MetricsIndex:
    with JournalScan.open(path / "journal.db") as scan:
        index, warning = open_index(path / "metrics-index.db", scan)
    assert warning is None
    return index


def expected(
    attempts: list[Attempt], by: tuple[Dimension, ...], chosen: Selection
) -> dict[tuple[str | int, ...], Tally]:
    """Return what the index has to say, computed from the attempts alone."""
    found: dict[tuple[str | int, ...], Tally] = {}
    for attempt in attempts:
        inside = (chosen.since or 0) <= attempt.exit_time < (chosen.until or 1 << 60)
        named = attempt.strategy_id in (chosen.strategies or (attempt.strategy_id,))
        if inside and named and attempt.symbol in (chosen.symbols or (attempt.symbol,)):
            group = tuple(GROUPS[name](attempt) for name in by)
            found.setdefault(group, Tally()).add(measure(attempt, None, None))
    return found


@pytest.fixture(scope="module")
def attempts() -> list[Attempt]:
    return random_attempts(7, 400)


@pytest.fixture(scope="module")
def query(attempts: list[Attempt], tmp_path_factory: pytest.TempPathFactory) -> MetricsQuery:
    path = tmp_path_factory.mktemp("state") / "sim"
    with open_journal(path) as journal:
        commit_attempts(journal, attempts)
    return MetricsQuery(index_of(path))


EDGES = [START, month_start(month_of(START)), month_start(month_of(START) + 1), START + 40 * DAY, START + 41 * DAY + 77]
instants = st.one_of(st.none(), st.sampled_from(EDGES), st.integers(START, START + 90 * DAY))
selections = st.builds(
    Selection,
    st.sampled_from([(), ("static",), ("dynamic", "static"), ("unknown",)]),
    st.sampled_from([(), ("BTCUSDT",), ("ETHUSDT", "XRPUSDT")]),
    instants,
    instants,
)


@settings(max_examples=150)
@example([Dimension.SYMBOL], Selection(since=month_start(month_of(START) + 1), until=START + 30 * DAY))
@given(st.lists(st.sampled_from(list(Dimension)), max_size=3, unique=True), selections)
def test_every_grouping_of_every_selection_is_what_the_attempts_give(
    attempts: list[Attempt], query: MetricsQuery, by: list[Dimension], chosen: Selection
) -> None:
    assert query.tallies(tuple(by), chosen) == expected(attempts, tuple(by), chosen)


@settings(max_examples=60)
@example([Dimension.STRATEGY, Dimension.SYMBOL], Selection(until=START + 30 * DAY), 16)
@given(st.lists(st.sampled_from(list(Dimension)), max_size=2, unique=True), selections, st.integers(1, 20))
def test_a_trend_counts_every_attempt_in_its_time(
    attempts: list[Attempt], query: MetricsQuery, by: list[Dimension], chosen: Selection, buckets: int
) -> None:
    span = query.span(chosen)
    assume(span is not None)
    start, end = span or (0, 0)
    width = (end - start) // buckets + 1
    found: dict[tuple[str | int, ...], dict[int, tuple[int, int]]] = {}
    for attempt in attempts:
        for group, tally in expected([attempt], tuple(by), chosen).items():
            shares = found.setdefault(group, {})
            count, hits = shares.get((attempt.exit_time - start) // width, (0, 0))
            shares[(attempt.exit_time - start) // width] = (count + 1, hits + tally.hits)

    assert query.trend(tuple(by), chosen, start, width, buckets) == found


@settings(max_examples=40)
@given(selections)
def test_ages_slippage_equity_and_span_are_what_the_attempts_give(
    attempts: list[Attempt], query: MetricsQuery, chosen: Selection
) -> None:
    rows = [a for a in attempts if expected([a], (), chosen)]
    hits, misses = query.ages(chosen)
    slips = sorted(
        a.position_side.sign * (a.target_price - a.exit_price) / a.target_price
        for a in rows
        if a.outcome is Outcome.HIT
    )
    spread = query.slippage(chosen)
    curve = query.equity(chosen, points=50)

    assert sum(hits.values()) == sum(a.outcome is Outcome.HIT for a in rows)
    for a in rows:
        assert (hits if a.outcome is Outcome.HIT else misses)[band(a.exit_time - a.entry_time)] >= 1
    assert query.span(chosen) == ((rows[0].exit_time, rows[-1].exit_time) if rows else None)
    assert (curve[-1][1] if curve else 0) == sum(a.profit_usd for a in rows)
    assert len(curve) <= 101
    if not slips:
        assert spread is None
    else:
        assert isinstance(spread, Spread)
        assert spread.count == len(slips)
        for found, share in zip(spread.quantiles, ("0.5", "0.9", "0.99"), strict=True):
            assert abs(found - (quantile(slips, Decimal(share)) or 0)) < Decimal("1e-12")


def test_a_position_is_one_unit_with_the_risk_of_its_first_plan(tmp_path: Path) -> None:
    with open_journal(tmp_path / "sim") as journal:
        for entry in [*life(1, pnl="-4"), *life(2, pnl="6", reason="take_profit")]:
            journal.commit(entry)
    query = MetricsQuery(index_of(tmp_path / "sim"))

    # 100 at 2.00 with a first stop at 1.96: $4 at risk; the later plan's stop changes nothing.
    assert [(unit.profit, unit.r, unit.hits) for unit in query.units(ALL)] == [(-4, -1, 0), (6, Decimal("1.5"), 1)]
    assert query.tallies((), ALL)[()].average_r == Decimal("0.25")
    assert query.tallies((), ALL)[()].average_roi == Decimal("0.05")
    closes = query.closes(ALL)
    assert (closes.count, closes.pnl, closes.fees, closes.mean_r) == (2, 2, Decimal("0.4"), Decimal("0.25"))
    assert closes.reasons == {"stop": 1, "take_profit": 1}
    assert query.stop_moves(ALL) == {"trail": 2}
    assert query.stop_slippage(ALL)["stop"].mean == 0
    (worst,) = query.worst(ALL, 1)
    assert (worst.key, worst.pnl, worst.r, worst.stop) == (LIFE, -4, -1, Decimal("1.96"))
    assert query.closes(Selection(strategies=("static",))).count == 0


def test_an_outcome_from_elsewhere_is_not_given_the_risk_of_a_position_of_ours(tmp_path: Path) -> None:
    with open_journal(tmp_path / "sim") as journal:
        for entry in life(1, pnl="-4"):
            journal.commit(entry)
        own = journal.attempts()[0]
        journal.record(START, [replace(own, id="from-elsewhere", strategy_id="other")])
    query = MetricsQuery(index_of(tmp_path / "sim"))

    assert query.tallies((Dimension.STRATEGY,), ALL)["other",].average_r is None
    assert query.tallies((Dimension.STRATEGY,), ALL)["dynamic",].average_r == -1


def test_the_naked_time_is_that_of_closed_positions(tmp_path: Path) -> None:
    with open_journal(tmp_path / "sim") as journal:
        commit_at_once(journal, [entry for n in range(100) for entry in life(n, pnl="-4", naked_ms=n)])

    assert MetricsQuery(index_of(tmp_path / "sim")).naked_ms(ALL) == (100, 49, 98, 99)


def test_excursions_are_of_the_marks_and_the_capture_of_the_best_of_them(tmp_path: Path) -> None:
    query = told(tmp_path, [*life(0, pnl="2"), *life(1, pnl="-4"), *life(2, pnl="6", reason="take_profit")])
    found, stages = excursions(query, ALL), delays(query, ALL)

    assert found.mfe is not None
    # 2.04, 2.04 and 2.06 from 2.00; the first stop lies 2 % away.
    assert (found.mfe.count, found.mfe.largest, found.mfe.quantiles[0]) == (3, Decimal("0.03"), Decimal("0.02"))
    assert found.mfe_r is not None
    assert found.mfe_r.largest == Decimal("1.5")
    assert found.mae is not None
    assert found.mae.largest == Decimal("0.02")
    assert found.mae_r is not None
    assert found.mae_r.largest == 1
    assert found.capture is not None
    # 0.02 of 0.04, -0.04 of 0.04, 0.06 of 0.06.
    assert (found.capture.quantiles[0], found.capture.largest) == (Decimal("0.5"), 1)
    # 2 - 4 + 6 USD of 4 + 4 + 6 USD.
    assert found.captured == Captured(3, Decimal(4), Decimal(14))
    assert {name: (s.count, s.largest) for name, s in stages.items()} == {
        "sent": (3, 2),
        "acknowledged": (3, 20),
        "filled": (2, 31),
    }


def test_costs_and_books_are_of_the_positions_selected_and_what_is_not_told_is_left_out(tmp_path: Path) -> None:
    unknown = Unavailable("fees were paid in BNB")
    costs = (
        Costs("a", LIFE, START + 1, "static", Decimal(5), Decimal("0.5"), Decimal("-0.25")),
        Costs("b", LIFE, START + 2, "static", Decimal(7), unknown, Decimal("0.75")),
        Costs("c", LIFE, START + 3, "dynamic", Decimal(9), Decimal(1), unknown),
    )
    read = MidRead(1, LIFE, "stop", Decimal("1.98"), Decimal(1), START + 3_600_050, *[Decimal(2)] * 2, late_ms=40)
    with open_journal(tmp_path / "sim") as journal:
        commit_at_once(journal, life(1, pnl="-4"))
        journal.commit(Entry(START, costs=costs[:2]))
        index_of(tmp_path / "sim").close()
        journal.commit(Entry(START, costs=costs, mids=(read, replace(read, trade_id=2, order="close"))))
        journal.commit(Entry(START, mids=(read,)))
    query = MetricsQuery(index_of(tmp_path / "sim"))

    def sums(chosen: Selection) -> tuple[int, list[tuple[int, Decimal] | None]]:
        found = charges(query, chosen)
        spreads = (found.entry_fees, found.funding, found.net)
        return found.read, [None if one is None else (one.spread.count, one.total) for one in spreads]

    assert sums(ALL) == (3, [(2, Decimal("1.5")), (2, Decimal("0.5")), (1, Decimal("4.75"))])
    assert sums(Selection(strategies=("dynamic",))) == (1, [(1, Decimal(1)), None, None])
    assert sums(Selection(symbols=("BTCUSDT",))) == (0, [None] * 3)
    # An execution is of the plan its position had then.
    books = {name: (one.count, one.mean) for name, one in query.mid_slippage(Selection(("dynamic",))).items()}
    assert books == {"close": (1, Decimal("0.01")), "stop": (1, Decimal("0.01"))}
    assert query.mid_slippage(Selection(("static",))) == {}


def test_sums_are_exact_beyond_what_the_index_can_hold_in_a_number(tmp_path: Path) -> None:
    # In pico more than 64 bits each, or only together.
    gains = ["123456789012.000000000001", "-98765432109.5", "7000000.25", "7000000.5", "0.000000000001"]
    query = told(tmp_path, [entry for number, pnl in enumerate(gains) for entry in life(number, pnl=pnl)])
    closes, course = query.closes(ALL), excursions(query, ALL)

    assert closes.pnl == sum(map(Decimal, gains))
    assert closes.mean_r == Decimal("1235267845.1625")
    assert course.captured is not None
    assert course.captured.taken == sum(map(Decimal, gains))


def test_a_position_of_an_older_journal_has_no_excursions_rather_than_none_of_size(tmp_path: Path) -> None:
    bare = [replace(entry, notes=tuple(map(without_marks, entry.notes))) for entry in life(0, pnl="2")]

    assert excursions(told(tmp_path, bare), ALL) == Excursions(None, None, None, None, None)


def told(tmp_path: Path, entries: list[Entry]) -> MetricsQuery:
    with open_journal(tmp_path / "sim") as journal:
        for entry in entries:
            journal.commit(entry)
    return MetricsQuery(index_of(tmp_path / "sim"))


def without_marks(note: Note) -> Note:
    return replace(note, data={name: value for name, value in note.data.items() if not name.endswith("_mark")})


def test_reading_on_gives_what_reading_at_once_gives(tmp_path: Path, attempts: list[Attempt]) -> None:
    path = tmp_path / "sim"
    with open_journal(path) as journal:
        for start in range(0, len(attempts), 57):
            commit_attempts(journal, attempts[start : start + 57])
            with index_of(path) as index:
                found = MetricsQuery(index).tallies((Dimension.LEG, Dimension.HOUR), ALL)
                assert found == expected(attempts[: start + 57], (Dimension.LEG, Dimension.HOUR), ALL)
                assert sum(t.attempts for t in MetricsQuery(index).tallies((Dimension.REASON,), ALL).values()) == len(
                    attempts[: start + 57]
                )


def test_a_verdict_that_comes_after_the_index_was_read_counts(tmp_path: Path) -> None:
    path = tmp_path / "sim"
    miss = replace(VECTOR, outcome=Outcome.MISS)
    with open_journal(path) as journal:
        journal.record(START, [miss])
        index_of(path).close()
        journal.commit(Entry(START, hindsights=(Hindsight(miss.id, Verdict(True, Decimal("7.5"))),)))

    tally = MetricsQuery(index_of(path)).tallies((), ALL)[()]
    assert (tally.attempts, tally.premature, tally.judged, tally.missed_usd) == (1, 1, 1, Decimal("7.5"))


def test_amounts_beyond_64_bits_are_exact(tmp_path: Path) -> None:
    huge = replace(VECTOR, profit_usd=Decimal("123456789012345.123456789012"))
    with open_journal(tmp_path / "sim") as journal:
        journal.record(START, [huge, replace(huge, id="b"), replace(huge, id="c", profit_usd=Decimal("-0.5"))])

    query = MetricsQuery(index_of(tmp_path / "sim"))
    assert query.tallies((), ALL)[()].total_profit == Decimal("246913578024689.746913578024")
    assert query.tallies((Dimension.HOUR, Dimension.LEG), ALL)[14, 1].total_profit == Decimal(
        "246913578024689.746913578024"
    )
    assert query.equity(ALL)[-1][1] == Decimal("246913578024689.746913578024")


@pytest.mark.parametrize("harm", ["garbage", "empty", "version", "rows", "truncated"])
def test_an_index_that_cannot_be_trusted_is_built_again(tmp_path: Path, attempts: list[Attempt], harm: str) -> None:
    path = tmp_path / "sim"
    file = path / "metrics-index.db"
    with open_journal(path) as journal:
        commit_attempts(journal, attempts[:50])
    index_of(path).close()
    match harm:
        case "garbage":
            file.write_bytes(b"no database" * 1000)
        case "empty":
            file.write_bytes(b"")
        case "version":
            with closing(sqlite3.connect(file)) as db:
                db.execute("PRAGMA user_version = 99")
        case "rows":
            with closing(sqlite3.connect(file)) as db, db:
                db.execute("DELETE FROM rows WHERE n IN (SELECT n FROM rows LIMIT 3)")
        case _:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    assert MetricsQuery(index_of(path)).tallies((), ALL) == expected(attempts[:50], (), ALL)


def test_the_index_of_another_journal_is_not_used(tmp_path: Path, attempts: list[Attempt]) -> None:
    """The simulated account makes journals that look alike; what they hold tells them apart."""
    path = tmp_path / "sim"
    for part in (attempts[:30], attempts[200:250]):
        with open_journal(path) as journal:
            for entry in life(len(part), pnl="-4"):
                journal.commit(entry)
            commit_attempts(journal, part)
        found = MetricsQuery(index_of(path)).tallies((), ALL)[()]
        assert found.attempts == len(part) + 1
        for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
            (path / name).unlink(missing_ok=True)


def test_dropping_the_index_leaves_nothing_behind_but_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "sim"
    with open_journal(path) as journal:
        journal.record(START, [VECTOR])
    index_of(path).close()
    drop_index(path / "metrics-index.db")

    assert {entry.name for entry in path.iterdir() if "index" in entry.name} == {"metrics-index.db.lock"}


def test_while_another_process_updates_it_the_last_state_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sim"
    with open_journal(path) as journal, JournalScan.open(path / "journal.db") as scan:
        journal.record(START, [VECTOR])
        index_of(path).close()
        journal.record(START, [replace(VECTOR, id="newer")])
        with acquire(path / "metrics-index.db.lock"):
            index, warning = open_index(path / "metrics-index.db", scan)

    assert warning is not None
    assert "newest attempts may be missing" in warning
    assert MetricsQuery(index).tallies((), ALL)[()].attempts == 1


def test_an_index_that_cannot_be_kept_costs_time_and_not_the_answer(tmp_path: Path) -> None:
    path = tmp_path / "sim"
    with open_journal(path) as journal:
        journal.record(START, [VECTOR])
    (path / "metrics-index.db").symlink_to(path / "elsewhere")
    (path / "metrics-index.db.lock").symlink_to(path / "elsewhere")
    with JournalScan.open(path / "journal.db") as scan:
        index, warning = open_index(path / "metrics-index.db", scan)

    assert warning is not None
    assert "cannot be kept" in warning
    assert MetricsQuery(index).tallies((), ALL)[()].attempts == 1
    assert not (path / "elsewhere").exists()


def test_damage_in_the_journal_is_told_and_not_worked_around(tmp_path: Path) -> None:
    path = tmp_path / "sim"
    with open_journal(path) as journal:
        journal.record(START, [VECTOR])
    with closing(sqlite3.connect(path / "journal.db")) as db, db:
        db.execute("UPDATE attempts SET payload = replace(payload, '50950', '51950')")

    with JournalScan.open(path / "journal.db") as scan, pytest.raises(StateFileError, match=r"journal .* is damaged"):
        open_index(path / "metrics-index.db", scan)


def test_copies_of_a_journal_merge_to_what_the_newer_one_says(tmp_path: Path) -> None:
    miss = replace(VECTOR, id="m", outcome=Outcome.MISS)
    with open_journal(tmp_path / "sim") as journal:
        for entry in life(1, pnl="-4"):
            journal.commit(entry)
        journal.record(START, [VECTOR, miss])
    copy = tmp_path / "copy.db"
    copy.write_bytes((tmp_path / "sim" / "journal.db").read_bytes())
    copy.chmod(0o600)
    with open_journal(tmp_path / "sim") as journal:
        journal.commit(Entry(START, hindsights=(Hindsight("m", Verdict(True, Decimal(3))),)))
        for entry in life(2, pnl="6", reason="take_profit"):
            journal.commit(entry)
    with (
        JournalScan.open(copy) as old,
        JournalScan.open(tmp_path / "sim" / "journal.db") as new,
        MetricsIndex.temporary() as whole,
    ):
        whole.update(new)
        assert new.holds(old)
        assert not old.holds(new)
        for order in ([old, new], [new, old], [old, new, old]):
            with MetricsIndex.temporary() as index:
                for scan in order:
                    index.update(scan, merging=True)
                assert MetricsQuery(index).tallies((Dimension.SYMBOL,), ALL) == MetricsQuery(whole).tallies(
                    (Dimension.SYMBOL,), ALL
                )
                assert index.conflicts == 0


def test_one_id_with_two_contents_counts_once_and_is_told(tmp_path: Path) -> None:
    for name, attempt in (("one", VECTOR), ("two", replace(VECTOR, profit_usd=Decimal(7)))):
        with open_journal(tmp_path / name) as journal:
            journal.record(START, [attempt])
    with MetricsIndex.temporary() as index:
        for name in ("one", "two"):
            with JournalScan.open(tmp_path / name / "journal.db") as scan:
                index.update(scan, merging=True)
        assert index.conflicts == 1
        assert MetricsQuery(index).tallies((), ALL)[()].total_profit == 100


def test_killed_at_any_system_call_the_next_answer_is_right(tmp_path: Path) -> None:
    attempts = random_attempts(1, 6)
    with open_journal(tmp_path / "before") as journal:
        commit_attempts(journal, attempts[:3])
    index_of(tmp_path / "before").close()
    with open_journal(tmp_path / "before") as journal:
        commit_attempts(journal, attempts[3:])

    def prepare(directory: Path) -> Callable[[], object]:
        shutil.copytree(tmp_path / "before", directory / "sim")
        scan = JournalScan.open(directory / "sim" / "journal.db")
        return lambda: open_index(directory / "sim" / "metrics-index.db", scan)

    for directory, _ in every_crash(tmp_path, prepare):
        with index_of(directory / "sim") as index:
            assert MetricsQuery(index).tallies((), ALL) == expected(attempts, (), ALL)


def test_the_index_is_private(tmp_path: Path) -> None:
    with open_journal(tmp_path / "sim") as journal:
        journal.record(START, [VECTOR])
    index_of(tmp_path / "sim").close()

    assert (tmp_path / "sim" / "metrics-index.db").stat().st_mode & 0o777 == 0o600
