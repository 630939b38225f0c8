"""`tpctl metrics` from the command line: what an operator types, what he gets, and with which exit code."""

import io
import json
import shutil
import subprocess
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from metrics_desk import (
    START,
    VECTOR,
    commit_at_once,
    commit_attempts,
    drawn_into,
    journal_of,
    life,
    open_journal,
    random_attempts,
)

from tpctl.adapters.journal import Entry
from tpctl.adapters.journal_reader import JournalReader, PositionRow
from tpctl.adapters.metrics_file import MetricsFile, fold_all
from tpctl.adapters.outcomes import outcome_line
from tpctl.cli.main import run
from tpctl.exits.errors import ExitCode
from tpctl.exits.model import Attempt, Outcome, PositionKey, PositionSide


class Shell:
    """Runs commands on one state directory and keeps what they said."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def __call__(self, *arguments: str | Path) -> int:
        code = run(["metrics", "--state-dir", str(self.path), *map(str, arguments)])
        self.out, self.err = self._capsys.readouterr()
        return code

    def json(self, *arguments: str | Path) -> Any:
        self(*arguments, "--json")
        return json.loads(self.out, parse_float=pytest.fail)["data"]

    @property
    def file(self) -> Path:
        return self.path / "tp_metrics.json"


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.delenv("TP_METRICS_PATH", raising=False)
    return Shell(tmp_path / "sim", capsys)


def lines_of(tmp_path: Path, *attempts: Attempt | str) -> Path:
    path = tmp_path / "outcomes.jsonl"
    path.write_text("".join(f"{a if isinstance(a, str) else outcome_line(a)}\n" for a in attempts))
    return path


MISS = replace(VECTOR, id="m1", outcome=Outcome.MISS, profit_usd=Decimal(-40), reason="stop")


def test_the_vector_of_the_exit_rules_by_record(shell: Shell, tmp_path: Path) -> None:
    assert shell("--record", lines_of(tmp_path, VECTOR)) == ExitCode.OK
    assert shell.out == "1 outcomes recorded, 0 known already\n"

    data = shell.json()
    record = data["records"][0]
    assert (record["tp_attempts"], record["tp_hits"], record["tp_hit_rate"]) == (1, 1, "1")
    assert round(Decimal(record["avg_slippage_pct"]), 8) == Decimal("0.00098039")
    assert record["avg_time_to_tp_minutes"] == "120"
    assert record["total_tp_profit_usd"] == "100"
    assert {name: round(Decimal(value), 8) for name, value in data["feedback"].items()} == {
        "tp_hit_rate": 1,
        "avg_slippage": Decimal("0.00098039"),
        "premature_exit_rate": 0,
    }


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_line_operators_know_works_on_the_file(shell: Shell, tmp_path: Path) -> None:
    shell("--record", lines_of(tmp_path, VECTOR))
    line = ".[] | {strategy: .strategy_id, symbol: .symbol, hit_rate: .tp_hit_rate, slippage: .avg_slippage_pct}"
    answer = subprocess.run(["jq", "-c", line, str(shell.file)], check=True, capture_output=True, text=True)

    found = json.loads(answer.stdout)
    assert (found["strategy"], found["symbol"], found["hit_rate"]) == ("tp", "BTCUSDT", 1)
    assert round(found["slippage"], 8) == 0.00098039


def test_an_outcome_counts_once_however_often_it_is_given(shell: Shell, tmp_path: Path) -> None:
    path = lines_of(tmp_path, VECTOR, MISS, VECTOR)
    for _ in range(3):
        assert shell("--record", path) == ExitCode.OK
        assert shell.json()["totals"]["tp_attempts"] == 2
    assert shell("--record", path) == ExitCode.OK
    assert shell.out == "0 outcomes recorded, 3 known already\n"
    assert MetricsFile(shell.file).read() == fold_all([VECTOR, MISS])


def test_another_content_under_a_known_id_is_told_and_changes_nothing(shell: Shell, tmp_path: Path) -> None:
    shell("--record", lines_of(tmp_path, VECTOR))

    assert shell("--record", lines_of(tmp_path, replace(VECTOR, profit_usd=Decimal(7)))) == ExitCode.OK
    assert shell.err == "warning: a1: profit_usd differ from what is on record, which stays\n"
    assert shell.json()["totals"]["profit_usd"] == "100"


def test_stdin_is_read_where_the_file_is_a_dash(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(outcome_line(VECTOR).encode())))

    assert shell("--record", "-") == ExitCode.OK
    assert shell.json()["totals"]["tp_attempts"] == 1


def test_every_bad_line_is_named_and_the_others_count(shell: Shell, tmp_path: Path) -> None:
    path = lines_of(tmp_path, VECTOR, "{nonsense", "", outcome_line(MISS).replace('"leg":1', '"leg":0'), MISS)

    assert shell("--record", path) == ExitCode.PARTIAL
    first, second, *rest = shell.err.splitlines()
    assert first.startswith("line 2: not JSON")
    assert second == "line 4: leg '0' is not a number from 1"
    assert rest[0] == "error: 2 of 4 lines were left out, the first at line 2"
    assert shell.json()["totals"]["tp_attempts"] == 2


@pytest.mark.parametrize("text", ["", "\n\n", "{}\n{}\n"])
def test_nothing_that_counts_is_an_input_error(shell: Shell, tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)

    assert shell("--record", path) == ExitCode.INPUTS
    assert shell("--record", tmp_path / "nowhere") == ExitCode.INPUTS
    assert "cannot read" in shell.err


def test_a_real_accounts_journal_is_made_by_watch_and_not_by_record(shell: Shell, tmp_path: Path) -> None:
    assert shell("--record", lines_of(tmp_path, VECTOR), "-p", "live") == ExitCode.INPUTS
    assert "run tpctl watch once" in shell.err
    assert not shell.path.exists()


@pytest.mark.parametrize("content", ["{", '{"x": 1}', '{"tp:X": {"schema": "tpctl.tp_metrics/9"}}', ""])
def test_a_metrics_file_that_may_not_be_replaced_stops_a_record_before_it_begins(
    shell: Shell, tmp_path: Path, content: str
) -> None:
    shell("--record", lines_of(tmp_path, VECTOR))
    shell.file.write_text(content)

    assert shell("--record", lines_of(tmp_path, MISS)) == ExitCode.STATE_FILE
    assert shell.file.read_text() == content
    with JournalReader.read_only(shell.path / "journal.db") as journal:
        assert len(journal.attempts()) == 1
    assert shell("--verify") == ExitCode.STATE_FILE
    assert shell("--rebuild") == ExitCode.STATE_FILE
    assert shell.file.read_text() == content


def test_nothing_on_record_is_exit_25(shell: Shell) -> None:
    assert shell() == ExitCode.EMPTY
    assert shell.out == ""
    assert "no attempts on record" in shell.err
    assert shell("--json") == ExitCode.EMPTY
    assert json.loads(shell.out)["data"]["records"] == []
    assert shell("--since", "2030-01-01") == ExitCode.EMPTY
    assert not shell.path.exists()


@pytest.fixture(scope="module")
def attempts() -> list[Attempt]:
    return random_attempts(17, 300)


@pytest.fixture
def filled(shell: Shell, attempts: list[Attempt]) -> Shell:
    journal_of(shell.path, attempts)
    return shell


def test_the_report_says_what_the_attempts_say(filled: Shell, attempts: list[Attempt]) -> None:
    records = {f"{row['strategy_id']}:{row['symbol']}": row for row in filled.json()["records"]}

    truth = fold_all(attempts)
    assert set(records) == set(truth)
    for key, row in records.items():
        for name in truth[key].__slots__:
            value = getattr(truth[key], name)
            if isinstance(value, Decimal):
                assert abs(Decimal(row[name]) - value) <= Decimal("1e-9"), (key, name)
            elif name != "last_updated":
                assert row[name] == value, (key, name)


def test_filters_groups_and_order(filled: Shell, attempts: list[Attempt]) -> None:
    data = filled.json("--by", "leg", "--symbol", "btcusdt", "--strategy", "static", "--sort", "tp_attempts")
    legs = [a.leg for a in attempts if (a.symbol, a.strategy_id) == ("BTCUSDT", "static")]

    assert {row["leg"]: row["tp_attempts"] for row in data["records"]} == {n: legs.count(n) for n in sorted(set(legs))}
    counts = [row["tp_attempts"] for row in data["records"]]
    assert counts == sorted(counts, reverse=True)
    assert data["totals"]["tp_attempts"] == len(legs)


def test_an_age_counts_from_the_newest_exit_in_sim(filled: Shell, attempts: list[Attempt]) -> None:
    newest = attempts[-1].exit_time

    assert filled.json("--since", "7d")["totals"]["tp_attempts"] == sum(
        a.exit_time > newest - 7 * 86_400_000 for a in attempts
    )
    assert filled.json("--since", "2026-02-01")["totals"]["tp_attempts"] == sum(
        a.exit_time >= 1_769_904_000_000 for a in attempts
    )


def test_open_attempts_are_counted_apart_and_not_as_misses(shell: Shell) -> None:
    journal_of(shell.path, [VECTOR])
    state = (
        '{"phase":"guarded","opened_at":5,"plan":{"policy":"tp"},"legs":[{"number":1,"status":"waiting"},'
        '{"number":2,"status":"waiting"}]}'
    )
    with open_journal(shell.path) as journal:
        key = PositionKey("BTCUSDT", PositionSide.LONG)
        journal.commit(Entry(START, states=(PositionRow(key, 1, "0000000001", state),)))

    record = shell.json()["records"][0]
    assert (record["tp_attempts"], record["tp_open"], record["tp_hit_rate"]) == (1, 2, "1")
    by_leg = {row["leg"]: (row["tp_attempts"], row["tp_open"]) for row in shell.json("--by", "leg")["records"]}
    assert by_leg == {1: (1, 1), 2: (0, 1)}
    assert shell.json("--by", "hour")["records"][0]["tp_open_unavailable_reason"] == "an open attempt has no hour yet"


@pytest.mark.parametrize(
    ("hits", "misses", "minimum", "code"),
    [
        (30, 2, "10", ExitCode.OK),
        (20, 8, "10", ExitCode.CHECK_WARNING),
        (10, 20, "10", ExitCode.CHECK_CRITICAL),
        (10, 20, "31", ExitCode.OK),
    ],
)
def test_check_exits_with_how_bad_it_is(shell: Shell, hits: int, misses: int, minimum: str, code: ExitCode) -> None:
    many = [replace(VECTOR, id=f"h{n}") for n in range(hits)] + [replace(MISS, id=f"m{n}") for n in range(misses)]
    journal_of(shell.path, many)

    assert shell("--check", "--min-attempts", minimum, "-q") == code
    assert shell("-q") == ExitCode.OK
    with pytest.raises(SystemExit) as left:
        shell("--nagios", "--min-attempts", minimum)
    assert left.value.code == {ExitCode.OK: 0, ExitCode.CHECK_WARNING: 1, ExitCode.CHECK_CRITICAL: 2}[code]


def test_targets_can_be_named(shell: Shell) -> None:
    journal_of(shell.path, [replace(VECTOR, id=f"h{n}") for n in range(20)])

    assert shell("--check", "-q") == ExitCode.OK
    assert shell("--check", "-q", "--target-slippage", "5bps") == ExitCode.CHECK_CRITICAL
    assert shell("--targets", "--target-hit-rate", "90%") == ExitCode.OK
    assert "≥ 90%" in shell.out
    assert shell("--target-hit-rate", "90") == ExitCode.USAGE


def test_nagios_is_unknown_where_nothing_can_be_said(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    for prepare in (lambda: None, lambda: (shell.path.mkdir(mode=0o700), (shell.path / "journal.db").touch(0o600))):
        prepare()
        with pytest.raises(SystemExit) as left:
            shell("--nagios")
        assert left.value.code == 3
        assert capsys.readouterr().out.startswith("TPCTL UNKNOWN - ")


def test_verify_finds_what_rebuild_mends(filled: Shell) -> None:
    assert filled("--verify") == ExitCode.STATE_FILE
    assert "does not exist" in filled.err
    assert filled("--rebuild") == ExitCode.OK
    assert filled("--verify") == ExitCode.OK
    assert "agrees with the journal: 300 attempts" in filled.out
    with open_journal(filled.path) as journal:
        journal.record(START, [VECTOR])
    assert filled("--verify") == ExitCode.STATE_FILE
    assert "tp:BTCUSDT: the file lacks it" in filled.err
    assert filled("--rebuild") == ExitCode.OK
    assert filled("--verify") == ExitCode.OK


def test_a_metrics_file_alone_is_shown_and_can_be_named(filled: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    filled("--rebuild")
    elsewhere = filled.path.parent / "elsewhere.json"
    elsewhere.write_bytes(filled.file.read_bytes())

    assert filled("--file", elsewhere) == ExitCode.OK
    assert filled.json("--file", elsewhere)["totals"]["tp_attempts"] == 300
    assert filled("--file", elsewhere, "--by", "leg") == ExitCode.INPUTS
    assert filled("--file", elsewhere, "--since", "7d") == ExitCode.INPUTS
    assert filled("--file", filled.path.parent / "nowhere.json") == ExitCode.INPUTS
    monkeypatch.setenv("TP_METRICS_PATH", str(filled.path.parent / "named.json"))
    assert filled("--rebuild") == ExitCode.OK
    assert (filled.path.parent / "named.json").read_bytes() == elsewhere.read_bytes()


def test_merging_counts_an_attempt_once_and_says_where_it_cannot(
    filled: Shell, attempts: list[Attempt], tmp_path: Path
) -> None:
    other = journal_of(tmp_path / "host2", [*attempts[:50], VECTOR])
    own = filled.path / "journal.db"

    data = filled.json("--merge", own, "--merge", other)
    assert data["totals"]["tp_attempts"] == 301
    assert {
        row["leg"]: row["tp_attempts"]
        for row in filled.json("--merge", own, "--merge", other, "--by", "leg")["records"]
    } == {n: sum(a.leg == n for a in [*attempts, VECTOR]) for n in (1, 2, 3)}
    filled("--rebuild")
    assert filled("--merge", other, "--merge", filled.file) == ExitCode.OK
    assert "metrics files name no attempts" in filled.err
    assert filled.json("--merge", other, "--merge", filled.file)["totals"]["tp_attempts"] == 351
    assert filled("--merge", tmp_path / "nowhere") == ExitCode.INPUTS


def test_two_policies_are_compared_position_by_position(shell: Shell) -> None:
    entries = []
    for number in range(600):
        better = number % 2 == 1
        won = number % 5 != 0 if better else number % 5 == 2
        policy, reason = "dynamic" if better else "static", "take_profit" if won else "stop"
        entries += life(number, pnl="6" if won else "-4", reason=reason, policy=policy)
    with open_journal(shell.path) as journal:
        commit_at_once(journal, entries)

    assert shell("--compare", "static", "dynamic") == ExitCode.OK
    assert "mean R: dynamic is higher, shown after" in shell.out
    figures = {row["name"]: row for row in shell.json("--compare", "static", "dynamic")["compare"]["figures"]}
    # Of five positions the dynamic policy wins four: (4 · 1.5 - 1) / 5; the static one wins one.
    assert (figures["mean_r"]["a"], figures["mean_r"]["b"], figures["hit_rate"]["difference"]) == ("-0.5", "1", "0.6")
    low, high = (Decimal(figures["mean_r"]["bootstrap"][bound]) for bound in ("low", "high"))
    assert Decimal(1) < low <= Decimal("1.5") <= high < Decimal(2)
    assert shell("--compare", "static", "dynamc") == ExitCode.INPUTS
    assert "did you mean 'dynamic'?" in shell.err
    periods = ("2026-01-05..2026-01-15", "2026-01-15..2026-01-30")
    compare = shell.json("--compare", *periods)["compare"]
    assert compare["a"]["positions"] + compare["b"]["positions"] == 600
    assert not any(figure["decided"] for figure in compare["figures"])


def test_the_arms_of_an_experiment_are_compared_as_they_were_drawn(shell: Shell) -> None:
    entries = []
    for number in range(400):
        arm = "tp-v3/dynamic" if number % 2 else "tp-v3/static"
        won = number % 4 != 0
        # A dynamic ladder that lacked an input fell back to the static one: it counts where it was drawn.
        policy = "static" if number % 3 == 0 else arm.removeprefix("tp-v3/")
        entries += drawn_into(
            arm, life(number, pnl="6" if won else "-4", reason="take_profit" if won else "stop", policy=policy)
        )
    with open_journal(shell.path) as journal:
        commit_at_once(journal, entries)

    assert shell("--compare", "tp-v3/static", "tp-v3/dynamic") == ExitCode.OK
    assert "mean R: tp-v3/dynamic is higher, shown after" in shell.out
    assert "drawn with 50% and 50%; a split at least this uneven has a chance of 1.00" in shell.out
    compare = shell.json("--compare", "tp-v3/static", "tp-v3/dynamic")["compare"]
    assert (compare["a"]["positions"], compare["b"]["positions"]) == (200, 200)
    assert compare["draw"] == {"share_a": "0.5", "share_b": "0.5", "p": "1", "broken": False}
    assert {row["name"]: row["b"] for row in compare["figures"]}["mean_r"] == "1.5"
    by_arm = {row["arm"]: (row["tp_attempts"], row["tp_hit_rate"]) for row in shell.json("--by", "arm")["records"]}
    assert by_arm == {"tp-v3/dynamic": (200, "1"), "tp-v3/static": (200, "0.5")}
    both = shell.json("--by", "arm,strategy")["records"]
    assert {(row["arm"], row["strategy_id"]): row["tp_attempts"] for row in both}["tp-v3/dynamic", "static"] == 67
    assert shell("--compare", "tp-v3/static", "tp-v3/dynamc") == ExitCode.INPUTS
    assert shell.err.splitlines()[-1] == "hint: did you mean 'tp-v3/dynamic'?"
    assert shell("--compare", "tp-v3/static", "dynamic") == ExitCode.USAGE


def test_a_draw_that_chance_does_not_explain_is_called_broken(shell: Shell) -> None:
    entries = []
    for number in range(120):
        arm = "x/a" if number % 4 else "x/b"
        entries += drawn_into(arm, life(number, pnl="-4"))
    with open_journal(shell.path) as journal:
        commit_at_once(journal, entries)

    assert shell("--compare", "x/a", "x/b") == ExitCode.OK
    assert "the draw or the record is broken" in shell.out
    assert shell.json("--compare", "x/a", "x/b")["compare"]["draw"]["broken"] is True


def test_exports(filled: Shell, attempts: list[Attempt], tmp_path: Path) -> None:
    assert filled("--export", "csv") == ExitCode.OK
    assert len(filled.out.splitlines()) == 301
    assert filled("--export", "csv", "-o", tmp_path / "a.csv", "--symbol", "XRPUSDT") == ExitCode.OK
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + sum(a.symbol == "XRPUSDT" for a in attempts)
    assert filled("--export", "prom", "--by", "side") == ExitCode.OK
    assert 'tpctl_tp_attempts_total{position_side="long",env="sim"}' in filled.out
    assert filled("--export", "prom", "-o", tmp_path / "tpctl.prom") == ExitCode.OK
    assert "# TYPE tpctl_tp_hits_total counter" in (tmp_path / "tpctl.prom").read_text()


def test_the_report_is_one_html_file(shell: Shell, tmp_path: Path) -> None:
    with open_journal(shell.path) as journal:
        for number in range(12):
            for entry in life(number, pnl="-4" if number % 2 else "6", reason="stop" if number % 2 else "take_profit"):
                journal.commit(entry)
    page = tmp_path / "exits.html"

    assert shell("--report", page) == ExitCode.OK
    html = page.read_text()
    assert html.count("<article>") == 6
    assert "first stop 1.96" in html
    assert shell("--heatmap", "hour", "--plot", tmp_path / "heat.svg") == ExitCode.OK
    assert (tmp_path / "heat.svg").read_text().startswith("<?xml")
    assert shell("--plot", tmp_path / "equity.html", "-q") == ExitCode.OK
    for name, kind in (("heat.png", ("--heatmap", "hour")), ("equity.png", ())):
        assert shell(*kind, "--plot", tmp_path / name, "-q") == ExitCode.OK
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "equity.html").read_text()


def test_the_table_fits_and_the_trend_is_in_it(filled: Shell) -> None:
    assert filled("--by", "symbol", "--trend") == ExitCode.OK
    head, *rows = filled.out.split("\n\n")[0].splitlines()
    assert head.split()[-1] == "trend"
    assert len(rows[0].split()[-1]) == 16
    assert filled("--heatmap", "weekday") == ExitCode.OK
    assert filled.out.splitlines()[1].split() == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    assert filled("--feedback") == ExitCode.OK
    assert filled.out.startswith("tp_hit_rate 0.")


@pytest.mark.parametrize("kind", ["csv", "plain", "jsonl"])
def test_fields_choose_what_scripts_get(filled: Shell, kind: str) -> None:
    assert filled("--format", kind, "--fields", "tp_attempts,tp_open", "--by", "symbol") == ExitCode.OK
    assert "BTCUSDT" in filled.out
    assert "hit_rate" not in filled.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--by", "phase"),
        ("--sort", "luck"),
        ("--fields", "luck"),
        ("--min-attempts", "0"),
        ("--compare", "a", "a"),
        ("--compare", "a", "2025-01-01..2025-02-01"),
        ("--compare", "2025-02-01..2025-01-01", "2025-02-01..2025-03-01"),
        ("--export", "parquet"),
        ("--output", "x"),
        ("--plot", "x.gif"),
        ("--verify", "--rebuild"),
        ("--json", "--format", "csv"),
        ("--merge", "x", "--report", "y"),
        ("--by", "reason", "--check"),
        ("--since", "yesterday"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert shell(*arguments) == ExitCode.USAGE
    assert shell.err.startswith("error: ")
    assert "\nhint: " in shell.err


def test_sorting_by_what_the_rows_lack_says_what_to_add(filled: Shell) -> None:
    assert filled("--by", "leg", "--sort", "symbol") == ExitCode.INPUTS
    assert "add it to --by" in filled.err


def test_every_figure_of_the_report_is_what_the_journal_gives(shell: Shell) -> None:
    """Recomputed from the journal's own records, by other code than the index."""
    with open_journal(shell.path) as journal:
        for number in range(40):
            won = number % 3 == 0
            pnl = str(Decimal(number % 7 + 1) * (1 if won else -1))
            for entry in life(number, pnl=pnl, reason="take_profit" if won else "stop", naked_ms=number * 10):
                journal.commit(entry)
        commit_attempts(journal, random_attempts(2, 60))
    data = shell.json()
    with JournalReader.read_only(shell.path / "journal.db") as journal:
        records, notes = journal.attempts(), [note for _, note in journal.notes()]
    closes = [note for note in notes if note.kind.value == "closed"]
    naked = sorted(int(str(note.data["naked_ms"])) for note in closes)
    slips = sorted(
        a.position_side.sign * (a.target_price - a.exit_price) / a.target_price
        for a in records
        if a.outcome is Outcome.HIT
    )
    hits = sum(a.outcome is Outcome.HIT for a in records)

    assert data["totals"]["tp_attempts"] == 100
    assert data["totals"]["tp_hits"] == hits
    assert abs(Decimal(data["totals"]["profit_usd"]) - sum(a.profit_usd for a in records)) < Decimal("1e-9")
    assert data["naked_ms"] == {"count": 40, "p50": naked[19], "p99": naked[39], "max": naked[39]}
    assert data["positions"]["closed"] == 40
    assert Decimal(data["positions"]["pnl"]) == sum(Decimal(str(n.data["pnl"])) for n in closes)
    assert Decimal(data["positions"]["exit_fees"]) == Decimal("8.0")
    # $4 are at risk to the first stop of each.
    mean_r = sum(Decimal(str(n.data["pnl"])) / 4 for n in closes) / 40
    assert abs(Decimal(data["positions"]["mean_r"]) - mean_r) < Decimal("1e-9")
    assert data["positions"]["reasons"] == {"stop": 26, "take_profit": 14}
    assert data["stop_moves"] == {"trail": 40}
    taken = next(row for row in data["slippage"] if row["order"] == "take_profit")
    assert taken["count"] == len(slips)
    assert abs(Decimal(taken["p50"]) - slips[(len(slips) + 1) // 2 - 1]) < Decimal("1e-12")
    assert abs(Decimal(taken["mean"]) - sum(slips) / len(slips)) < Decimal("1e-11")
