"""`tpctl trail`: the vectors through JSON, positions from a real journal, replays, explanations, and bad input."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from stage import START, XRP_LONG, Stage

from tpctl.adapters.files import account_fingerprint, open_state_dir
from tpctl.adapters.journal import Entry, Journal
from tpctl.cli.main import run
from tpctl.cli.trail_explain import explained
from tpctl.cli.trail_options import StyleName, WhatIf
from tpctl.cli.trail_positions import trail_row
from tpctl.cli.trail_what_if import what_if_row
from tpctl.engine.memory import position_row
from tpctl.exits.episode import Episode, OrderState
from tpctl.exits.errors import ExitCode
from tpctl.exits.events import Requested
from tpctl.exits.ids import Role
from tpctl.exits.model import NoteKind, Policy, Regime
from tpctl.exits.requests import Request, StopToBreakeven, TrailNow
from tpctl.exits.rules import ExitRules, TrailRules
from tpctl.exits.trail_styles import Style
from tpctl.exits.units import Ratio
from tpctl.views.trail import COLUMNS

CONTRACT = (
    "symbol",
    "position_side",
    "peak_profit",
    "original_callback",
    "callback",
    "next_callback",
    "changed",
    "reason",
    "schedule",
    "levels",
)


class Seen:
    """What one command line printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        self.code = ExitCode(run(["trail", *arguments]))
        self.out, self.err = capsys.readouterr()

    @property
    def data(self) -> Any:
        return json.loads(self.out)["data"]

    @property
    def trail(self) -> Any:
        (only,) = self.data["trails"]
        return only


Ask = Callable[..., Seen]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    return lambda *arguments: Seen(capsys, *arguments)


# what-ifs


@pytest.mark.parametrize(
    ("original", "profit", "following", "changed"),
    [
        ("2%", "1%", "0.02", False),
        ("2%", "3%", "0.02", False),
        ("2%", "8%", "0.015", True),
        ("2%", "12%", "0.01", True),
        ("2%", "16%", "0.006", True),
        ("2%", "25%", "0.004", True),
        ("0.05%", "8%", "0.0005", False),
        ("0.05%", "25%", "0.0005", False),
    ],
)
def test_the_vectors_of_exit_rules_9(ask: Ask, original: str, profit: str, following: str, changed: bool) -> None:
    trail = ask("--profit", profit, "--callback", original, "--age", "12m", "--json").trail

    assert set(CONTRACT) <= set(trail)
    assert (trail["next_callback"], trail["changed"]) == (following, changed)
    assert Decimal(trail["original_callback"]) == Decimal(trail["callback"]) == Decimal(original.rstrip("%")) / 100


@pytest.mark.parametrize(
    ("entry", "target", "side", "prices"),
    [("100", "115", "long", ["107.5", "111.25", "115"]), ("100", "85", "short", ["92.5", "88.75", "85"])],
)
def test_the_vectors_of_exit_rules_10(ask: Ask, entry: str, target: str, side: str, prices: list[str]) -> None:
    trail = ask("--entry", entry, "--target", target, "--profit", "12%", "--json").trail

    assert trail["position_side"] == side
    assert [level["price"] for level in trail["levels"]] == prices
    assert [level["fraction"] for level in trail["levels"]] == ["0.3", "0.4", "0.3"]
    assert [level["passed"] for level in trail["levels"]] == [True, True, False]


@pytest.mark.parametrize(("profit", "prices"), [("1.99%", []), ("2%", ["115"]), ("5%", ["110", "115"])])
def test_there_are_as_many_levels_as_the_profit_has_earned(ask: Ask, profit: str, prices: list[str]) -> None:
    trail = ask("--entry", "100", "--target", "115", "--profit", profit, "--json").trail

    assert [level["price"] for level in trail["levels"]] == prices


def test_rearming_a_thousand_times_at_constant_profit_changes_the_callback_once(ask: Ask) -> None:
    """Every answer is asked about again; the last one once more through the command line."""
    current, changes = Ratio.percent(2), 0
    for _ in range(1000):
        row = what_if_row(WhatIf(profit=Ratio.percent(8), callback=Ratio.percent(2), current=current), None, None)
        assert isinstance(row.next_callback, Ratio)
        changes += row.changed
        current = row.next_callback

    assert (changes, current) == (1, Ratio.percent("1.5"))
    asked = ask("--profit", "8%", "--callback", "2%", "--current", "2%", "--json").trail
    again = ask("--profit", "8%", "--callback", "2%", "--current", "1.5%", "--json").trail
    assert [(answer["changed"], answer["next_callback"]) for answer in (asked, again)] == [
        (True, "0.015"),
        (False, "0.015"),
    ]


@pytest.mark.parametrize(
    ("more", "changed", "words"),
    [
        (["--age", "299s"], False, "the position is 299 s old, changes start at 300 s"),
        (["--age", "5m"], True, "Callback 2% → 1.5%"),
        (["--age", "12m", "--since-change", "29s"], False, "it changed 29 s ago, changes are 30 s apart"),
        (["--since-change", "0s"], False, "it changed 0 s ago"),
        (["--current", "1.6%"], False, "not more than 10% of it"),
        (["--current", "1%"], False, "a trail never loosens"),
        (["--activation", "9%"], False, "the trail starts at a profit of 9%, the best was 8.00%"),
    ],
)
def test_why_nothing_changes_is_said(ask: Ask, more: list[str], changed: bool, words: str) -> None:
    seen = ask("--profit", "8%", "--callback", "2%", *more)

    assert words in seen.out
    assert ask("--profit", "8%", "--callback", "2%", *more, "--json").trail["changed"] is changed


@pytest.mark.parametrize("age", [["--age", "12m"], ["--age", "1m"]])
def test_check_exits_with_22_only_where_a_change_is_due(ask: Ask, age: list[str]) -> None:
    expected = ExitCode.CHANGES_DUE if age[1] == "12m" else ExitCode.OK

    assert ask("--profit", "8%", "--callback", "2%", *age, "--check").code is expected
    assert ask("--profit", "8%", "--callback", "2%", *age).code is ExitCode.OK


@pytest.mark.parametrize(
    ("side", "peak", "mark", "trigger"), [("long", "108", "107", "106.38"), ("short", "92", "93", "93.38")]
)
def test_prices_give_the_profit_the_trigger_and_its_distance(
    ask: Ask, side: str, peak: str, mark: str, trigger: str
) -> None:
    trail = ask("--entry", "100", "--side", side, "--peak", peak, "--mark", mark, "--callback", "2%", "--json").trail

    assert trail["peak_profit"] == "0.08"
    assert trail["trigger"] == trigger
    assert abs(Decimal(trail["distance"]) - abs(Decimal(mark) - Decimal(trigger)) / Decimal(mark)) < Decimal("1e-12")


def test_what_is_not_given_is_null_with_a_reason_never_a_number(ask: Ask) -> None:
    trail = ask("--profit", "8%", "--callback", "2%", "--json").trail

    for name in ("symbol", "position_side", "entry", "mark", "peak", "stop", "trigger", "distance", "age_ms"):
        assert trail[name] is None
        assert trail[f"{name}_unavailable_reason"]
    assert trail["levels"] == []
    assert trail["levels_unavailable_reason"]


def test_the_schedule_marks_the_row_the_profit_stands_on(ask: Ask) -> None:
    seen = ask("--profit", "16%", "--callback", "2%", "--schedule")
    rows = ask("--profit", "16%", "--callback", "2%", "--json").trail["schedule"]

    (marked,) = [line for line in seen.out.splitlines() if "the row it stands on" in line]
    assert marked.split()[:4] == [">", "15%", "x0.30", "0.6%"]
    assert [row["callback"] for row in rows] == ["0.02", "0.015", "0.01", "0.006", "0.004"]
    assert [row["current"] for row in rows] == [False, False, False, True, False]


def test_a_callback_the_exchange_would_not_take_is_trailed_by_tpctl_and_says_so(ask: Ask) -> None:
    assert "tpctl trails by itself" in ask("--profit", "25%", "--callback", "0.05%").out
    assert ask("--profit", "25%", "--callback", "0.05%", "--json").trail["native_fits"] is False
    assert ask("--profit", "8%", "--callback", "2%", "--json").trail["native_fits"] is True


def test_the_configured_schedule_and_limits_apply(ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[exits.trail]\ncallback = "3%"\nmin_age = "1h"\n')

    trail = ask("--profit", "8%", "--age", "12m", "-c", str(file), "--json").trail

    assert (trail["original_callback"], trail["changed"]) == ("0.03", False)
    assert "changes start at 3600 s" in trail["reason"]


@pytest.mark.parametrize("form", ["jsonl", "csv", "plain"])
def test_other_formats_print_the_columns_asked_for(ask: Ask, form: str) -> None:
    seen = ask("--profit", "8%", "--callback", "2%", "--format", form, "--fields", "next_callback,changed,row")

    assert (
        seen.out
        == {
            "jsonl": '{"next_callback":"0.015","changed":true,"row":2}\n',
            "csv": "next_callback,changed,row\n0.015,yes,2\n",
            "plain": "0.015\tyes\t2\n",
        }[form]
    )


def test_ascii_output_is_ascii(ask: Ask) -> None:
    assert ask("--profit", "8%", "--callback", "2%", "--ascii", "--schedule", "--partials").out.isascii()


def test_a_what_if_loads_nothing_heavy() -> None:
    heavy = ("binance", "aiohttp", "websockets", "numpy", "duckdb", "rich", "asyncio", "sqlite3", "tpctl.exits.rules")
    code = (
        "import sys; from tpctl.cli.main import run; "
        "run(['trail', '--profit', '8%', '--callback', '2%', '--age', '12m', '--schedule']); "
        f"print([m for m in {heavy} if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


# positions


def _told() -> Stage:
    """A story with a plan, ratchets, a trail, a re-arm, and a position that still runs."""
    stage = Stage({"XRPUSDT": "2.4"}, rules=ExitRules(policy=Policy.STATIC))
    stage.context = replace(stage.context, regime=Regime.TRENDING)
    stage.start()
    stage.open()
    price = Decimal("2.4")
    for change in [*["1"] * 7, *["-0.1", "0.1"] * 6, *["0.5"] * 10]:
        price = (price * (1 + Decimal(change) / 100)).quantize(Decimal("0.0001"))
        stage.move({"XRPUSDT": str(price)}, after_ms=20_000)
    return stage


@pytest.fixture(scope="module")
def stage() -> Stage:
    return _told()


@pytest.fixture
def state_dir(stage: Stage, tmp_path: Path) -> Path:
    """A state directory whose journal tells the stage's story."""
    path = tmp_path / "state"
    _journal(path, stage)
    return path


def _journal(path: Path, stage: Stage) -> None:
    fingerprint = account_fingerprint("sim", "sim")
    place = open_state_dir(path, fingerprint)
    states = tuple(position_row(stage.state, key) for key in stage.state.lives)
    with Journal.open(place.journal, fingerprint, at=START, code_version="0") as journal:
        journal.commit(Entry(at=stage.now, states=states, notes=tuple(stage.notes)))


def test_a_position_shows_where_its_trail_stands_as_the_reducer_left_it(
    ask: Ask, state_dir: Path, stage: Stage
) -> None:
    episode = stage.episode(XRP_LONG)
    assert episode.callback is not None
    assert episode.callback_at is not None
    trail = ask("--state-dir", str(state_dir), "--json").trail

    assert (trail["symbol"], trail["position_side"], trail["changed"]) == ("XRPUSDT", "long", False)
    assert Decimal(trail["callback"]) == episode.callback.fraction < Decimal(trail["original_callback"])
    assert Decimal(trail["stop"]) == episode.stop
    assert trail["stop_cause"] == "trail"
    assert Decimal(trail["peak"]) == episode.peak
    assert trail["since_change_ms"] == episode.mark_at - episode.callback_at
    assert trail["age_ms"] == episode.mark_at - episode.opened_at
    assert sum(row["current"] for row in trail["schedule"]) == 1
    assert 0 < Decimal(trail["distance"]) < Decimal("0.03")


def test_positions_read_beside_the_writer(ask: Ask, state_dir: Path) -> None:
    fingerprint = account_fingerprint("sim", "sim")
    with Journal.open(state_dir / "journal.db", fingerprint, at=START, code_version="0"):
        seen = ask("xrpusdt", "--state-dir", str(state_dir))

    assert seen.code is ExitCode.OK
    assert seen.out.startswith("symbol")


def test_a_due_rearm_is_told_by_check(stage: Stage) -> None:
    """A watch that is not running leaves a re-arm due; the row says so, and from when on."""
    episode = stage.episode(XRP_LONG)
    assert episode.plan is not None
    assert episode.plan.trail is not None
    lagging = replace(episode, callback=episode.plan.trail.callback, callback_at=None)

    due = trail_row(lagging, episode.mark_at, TrailRules())
    young = trail_row(lagging, episode.opened_at + 1_000, TrailRules())

    assert due.changed
    assert due.next_callback == episode.callback
    assert not young.changed
    assert "1 s old" in young.reason


def _resting_at(episode: Episode, stop: Decimal) -> Episode:
    moved = tuple(replace(order, trigger=stop) if order.trigger == episode.stop else order for order in episode.orders)
    return replace(episode, stop=stop, orders=moved)


def test_why_a_stop_is_not_where_the_trail_would_have_it_is_said(stage: Stage) -> None:
    episode = stage.episode(XRP_LONG)
    assert episode.stop is not None
    assert episode.instrument is not None
    tick = episode.instrument.tick
    tighter = replace(_resting_at(episode, episode.stop + 10 * tick), stop_cause="ratchet")
    behind = _resting_at(episode, episode.stop - tick)

    assert "set by the ratchet: the trail's" in str(trail_row(tighter, episode.mark_at, TrailRules()).stop_reason)
    assert "not worth an order" in str(trail_row(behind, episode.mark_at, TrailRules()).stop_reason)


def test_a_stop_that_does_not_rest_is_said_not_shown_as_protection(stage: Stage) -> None:
    episode = stage.episode(XRP_LONG)
    shadow = replace(
        episode, orders=tuple(replace(order, state=OrderState.WITHHELD) for order in episode.of_role(Role.STOP))
    )
    rows = [trail_row(each, each.mark_at, TrailRules()) for each in (episode, shadow, replace(episode, orders=()))]

    assert [row.stop_rests for row in rows] == [True, False, False]
    assert "withheld (shadow mode, HALT or the guard)" in str(rows[1].stop_reason)
    assert "does not rest on the exchange as far as the journal knows" in str(rows[2].stop_reason)


def test_a_position_without_plan_or_mark_is_unavailable_not_zero(stage: Stage) -> None:
    bare = replace(stage.episode(XRP_LONG), plan=None, mark=None, peak=None, stop=None, callback=None)
    row = trail_row(bare, bare.opened_at, TrailRules())

    assert row.reason == "the position has no plan yet"
    assert not row.changed
    assert {type(value).__name__ for value in (row.callback, row.peak_profit, row.stop, row.levels)} == {"Unavailable"}


def test_no_journal_and_no_position_exit_with_25_and_a_hint(ask: Ask, tmp_path: Path) -> None:
    nowhere = ask("--state-dir", str(tmp_path / "none"), "--json")
    empty = tmp_path / "empty"
    _journal(empty, Stage({"XRPUSDT": "2.4"}))
    flat = ask("--state-dir", str(empty))

    assert nowhere.code is flat.code is ExitCode.EMPTY
    assert nowhere.err.splitlines()[1].startswith("hint: start 'tpctl watch'")
    assert json.loads(nowhere.err.splitlines()[-1])["kind"] == "empty"
    assert not (tmp_path / "none").exists()
    assert flat.err.startswith("error: profile 'sim' has no open position\nhint: ")


def test_a_symbol_without_a_position_exits_with_25_and_a_suggestion(ask: Ask, state_dir: Path) -> None:
    seen = ask("XRPUSD", "--state-dir", str(state_dir))

    assert seen.code is ExitCode.EMPTY
    assert seen.err.splitlines()[1] == "hint: did you mean XRPUSDT?"


# explanations


def test_every_move_of_the_stop_is_explained_with_rule_inputs_and_alternative(
    ask: Ask, state_dir: Path, stage: Stage
) -> None:
    moves = ask("--explain", "--state-dir", str(state_dir), "--json").data["moves"]
    told = [note for note in stage.notes if note.kind in {NoteKind.STOP_MOVED, NoteKind.TRAIL_MOVED}]

    assert [move["cause"] for move in moves[:2]] == ["plan", "ratchet"]
    assert [(move["from"], move["to"]) for move in moves[1:]] == [
        (str(note.data["from"]), str(note.data["to"])) for note in told
    ]
    for before, after in pairwise(moves):
        assert before["to"] == after["from"]
    for move in moves:
        assert move["rule"]
        assert move["alternative"]
        assert move["order"].startswith("tp1-")
        assert move["answer"] == "accepted"


def test_a_rearm_is_explained_by_the_peak_and_what_the_callback_before_would_have_held(
    ask: Ask, state_dir: Path
) -> None:
    """Held against the reducer's own wording: the stage's notes are read here."""
    moves = ask("--explain", "--state-dir", str(state_dir), "--json").data["moves"]
    rearmed = [move for move in moves if "callback_before" in move["inputs"]]

    assert len(rearmed) >= 2
    for move in rearmed:
        inputs = move["inputs"]
        assert Decimal(inputs["callback"]) < Decimal(inputs["callback_before"])
        assert Decimal(inputs["peak_profit"]) > 0
        assert Decimal(inputs["peak"]) > Decimal(inputs["entry"])
        assert "with the callback left at" in move["alternative"]
    trails = [move for move in moves if move["cause"] == "trail"]
    assert all(move["inputs"]["peak"] is not None for move in trails)


def test_an_explanation_reads_as_a_story(ask: Ask, state_dir: Path) -> None:
    seen = ask("--explain", "XRPUSDT", "--state-dir", str(state_dir), "--ascii")

    assert seen.out.isascii()
    assert "XRPUSDT LONG  stop none -> " in seen.out
    assert "  because      TP1 filled: stop to breakeven" in seen.out
    assert "  alternative  with the callback left at" in seen.out


def test_a_note_that_says_less_leaves_its_inputs_unavailable(stage: Stage) -> None:
    moved = next(note for note in stage.notes if note.kind is NoteKind.TRAIL_MOVED)
    (only,) = explained([(1, replace(moved, reason="moved"))], {})

    assert type(dict(only.inputs)["peak"]).__name__ == "Unavailable"
    assert only.before == moved.data["from"]


def test_a_trail_that_follows_the_atr_is_explained_by_the_range() -> None:
    stage = _hung()
    stage.context = replace(stage.context, atr=Decimal("0.01"))
    stage.move({"XRPUSDT": "2.45"}, after_ms=601_000)
    stage.move({"XRPUSDT": "2.45"})
    move = explained([*enumerate(stage.notes, 1)], {})[-1]

    inputs = dict(move.inputs)
    assert (move.cause, inputs["ATR"], inputs["ATR multiple"]) == ("trail", Decimal("0.01"), Decimal(3))
    assert move.alternative.startswith("with the callback left at 2.5%: no move")


def test_where_a_trail_that_follows_the_atr_stands_is_shown_with_what_bounds_it() -> None:
    episode = _hung().episode(XRP_LONG)
    row = trail_row(episode, episode.mark_at, TrailRules(style="atr"))

    shown = [value.show() for value in (row.original, row.callback, row.scheduled) if isinstance(value, Ratio)]
    assert shown == ["2.50%", "2.50%", "5.00%"]
    assert [str(each.callback) for each in row.schedule] == ["5%", "3.75%", "2.5%", "1.5%", "1%"]
    assert "3atr at an ATR of 0.02 behind 2.46" in row.reason


def _hung() -> Stage:
    """Return a stage whose trail hangs three ranges of 0.02 behind the best price of 2.46."""
    stage = Stage({"XRPUSDT": "2.4"}, rules=ExitRules(trail=TrailRules(style="atr")))
    stage.context = replace(stage.context, atr=Decimal("0.02"))
    stage.start()
    stage.open()
    stage.move({"XRPUSDT": "2.4"}, after_ms=301_000)
    stage.go("2.46", "2.46")
    return stage


@pytest.mark.parametrize(
    ("request_", "cause", "rule"),
    [(StopToBreakeven(), "request", "asked for by"), (TrailNow(Ratio.percent("0.5")), "trail", "the best price less")],
)
def test_what_was_asked_for_is_explained_as_such(request_: Request, cause: str, rule: str) -> None:
    stage = Stage({"XRPUSDT": "2.4"})
    stage.start()
    stage.open()
    stage.go("2.42")
    stage.hear(Requested(stage.now, XRP_LONG, "1", "test", request_))
    move = explained([*enumerate(stage.notes, 1)], {})[-1]

    assert (move.cause, move.rule[: len(rule)]) == (cause, rule)
    assert move.reason.startswith("asked for: ")
    if cause == "trail":
        assert dict(move.inputs)["callback"] == Ratio.percent("0.5")


def test_past_lives_are_told_when_asked_for(stage: Stage) -> None:
    notes = [*enumerate(stage.notes, 1)]
    closing = replace(stage.notes[-1], kind=NoteKind.CLOSED, reason="stop", data={})
    again = [(number + len(notes) + 1, note) for number, note in notes]
    whole = [*notes, (len(notes) + 1, closing), *again]

    newest, every = explained(whole, {}), explained(whole, {}, every_life=True)

    assert len(every) == 2 * len(newest)
    assert newest == every[len(newest) :]


def test_a_journal_without_moves_exits_with_25(ask: Ask, tmp_path: Path) -> None:
    _journal(tmp_path / "empty", Stage({"XRPUSDT": "2.4"}))

    assert ask("--explain", "--state-dir", str(tmp_path / "empty")).code is ExitCode.EMPTY


# replays


ROW = "{at},{open},{high},{low},{close},10,{end},0,1,0,0,0"


def _candles(folder: Path, prices: list[str], symbol: str = "XRPUSDT") -> Path:
    """Write minutes that open where the one before closed, through these closes."""
    rows, last = [], prices[0]
    for index, price in enumerate(prices):
        at = START + index * 60_000
        high, low = max(last, price, key=Decimal), min(last, price, key=Decimal)
        rows.append(ROW.format(at=at, open=last, high=high, low=low, close=price, end=at + 59_999))
        last = price
    file = folder / f"{symbol}-1m-2026-01-05.csv"
    file.write_text("\n".join(rows) + "\n")
    return file


@pytest.fixture
def rising(tmp_path: Path) -> Path:
    """Six quiet minutes, then a rise by 9 %, then a fall."""
    return _candles(tmp_path, [*["2.0000"] * 6, "2.0500", "2.1200", "2.1800", "2.1750", "2.1300", "2.0800"])


def test_a_replay_prints_every_rearm_the_exit_and_a_chart(ask: Ask, rising: Path) -> None:
    seen = ask("--simulate", str(rising), "--callback", "2%")
    lines = seen.out.splitlines()

    assert seen.code is ExitCode.OK
    assert lines[0].startswith("XRPUSDT LONG  tiered  entry 2 at 2026-01-05 00:00:00Z  first stop 1.95")
    assert sum("  rearmed  " in line for line in lines) == 1
    assert sum("  exit  " in line for line in lines) == 1
    assert any(line.startswith("closed by the trail after 10m") for line in lines)
    assert any("┤" in line and "│" in line for line in lines)
    assert lines[-1] == "│ price  ─ stop  · entry  ▲ re-arm  ◆ target  ✕ exit"
    assert max(map(len, lines[lines.index("") :])) <= 80


def test_a_replay_as_json_holds_every_move(ask: Ask, rising: Path) -> None:
    seen = ask("XRPUSDT", "--simulate", str(rising), "--callback", "2%", "--json")
    replay, trail = seen.data["replay"], seen.trail

    assert (replay["style"], replay["rearms"], replay["first_stop"]) == ("tiered", 1, "1.9500")
    assert replay["exit"]["cause"] == trail["stop_cause"] == "trail"
    assert replay["exit"]["trigger"] == replay["moves"][-1]["to"]
    levels = [Decimal(move["to"]) for move in replay["moves"]]
    assert levels == sorted(levels)
    assert trail["callback"] == "0.015"
    assert trail["reason"].startswith("the price reached the trail at ")


@pytest.mark.parametrize("style", StyleName)
@pytest.mark.parametrize("side", ["long", "short"])
def test_every_style_replays_on_either_side(ask: Ask, rising: Path, style: str, side: str) -> None:
    seen = ask("--simulate", str(rising), "--style", style, "--side", side, "--stop", "20%", "--ascii", "-v")

    assert seen.code is ExitCode.OK
    assert seen.out.isascii()


def test_the_styles_are_those_of_the_core() -> None:
    assert [style.value for style in StyleName] == [style.value for style in Style]


def test_a_replay_begins_at_the_entry_and_ends_with_the_range(ask: Ask, rising: Path) -> None:
    times = ["--entry-time", "2026-01-05T00:02:00Z", "--to", "2026-01-05T00:07:00Z"]
    replay = ask("--simulate", str(rising), *times, "--callback", "2%", "--json").data["replay"]

    assert replay["entry_time"] == "2026-01-05T00:02:00.000Z"
    assert replay["exit"] is None
    assert replay["exit_unavailable_reason"] == "the candles ended first"
    assert replay["end"] < "2026-01-05T00:07:00.000Z"


def test_following_the_mark_sees_less_of_a_wick(ask: Ask, tmp_path: Path) -> None:
    spike = _candles(tmp_path, ["2.0000", "2.0000", "2.1000", "2.0000", "2.0000"])
    last = ask("--simulate", str(spike), "--stop", "20%", "--json").trail
    mark = ask("--simulate", str(spike), "--stop", "20%", "--follow", "mark", "--json").trail

    assert Decimal(mark["peak"]) < Decimal(last["peak"])


def test_a_recorded_crash_is_replayed_from_parquet(ask: Ask, shared_data: Path) -> None:
    file = shared_data / "bars_1m_2025-01_02.parquet"
    times = ["--entry-time", "2025-02-03T02:10:00Z", "--to", "2025-02-04"]
    replay = ask("XRPUSDT", "--simulate", str(file), *times, "--stop", "8%", "--json").data["replay"]

    assert replay["exit"]["cause"] == "trail"
    assert replay["rearms"] == 1
    assert Decimal("0.07") < Decimal(replay["profit"]) < Decimal("0.08")


def test_the_atr_of_a_replay_is_that_of_bars_closed_before(ask: Ask, shared_data: Path) -> None:
    file = shared_data / "bars_1h_last_2019_2025-04.parquet"
    asked = ["XRPUSDT", "--simulate", str(file), "--style", "atr", "--callback", "3atr", "--stop", "8%", "--json"]
    short = ask(*asked, "--entry-time", "2024-11-10", "--to", "2024-11-10T12:00:00Z").data["replay"]
    long = ask(*asked, "--entry-time", "2024-11-10", "--to", "2024-11-12").data["replay"]

    assert short["moves"]
    assert long["moves"][: len(short["moves"])] == short["moves"]


def test_a_tick_given_replaces_the_rules(ask: Ask, tmp_path: Path) -> None:
    file = _candles(tmp_path, ["1.0000", "1.1000", "1.0000"], symbol="NEWUSDT")

    unknown = ask("--simulate", str(file))
    known = ask("--simulate", str(file), "--tick", "0.05", "--stop", "20%", "--json")

    assert unknown.code is ExitCode.INPUTS
    assert "give --tick 0.0001, or --rules FILE" in unknown.err
    assert Decimal(known.data["replay"]["first_stop"]) % Decimal("0.05") == 0


# bad input


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--profit 8", 2, "ratio '8' has no unit"),
        ("--profit x%", 2, "ratio 'x' is not a number"),
        ("--callback 2%", 2, "there is no profit to judge"),
        ("--callback -2% --profit 8%", 2, "ratio '-2%' is not above zero"),
        ("--callback 0% --profit 8%", 2, "ratio '0%' is not above zero"),
        ("--callback 3atr --profit 8%", 2, "callback '3atr' needs candles"),
        ("--callback xatr --profit 8%", 2, "callback 'x' is not a number"),
        ("--profit 8% --peak 108 --entry 100 --side long", 2, "--profit and --peak contradict each other"),
        ("--peak 108 --side long", 2, "--peak does nothing without --entry"),
        ("--peak 108 --entry 100", 2, "--peak needs a side"),
        ("--profit 8% --target 115", 2, "--target does nothing without --entry"),
        ("--profit 8% --target 115 --entry 100 --side short", 2, "target '115' is not in profit for a short"),
        ("--profit 8% --target 100 --entry 100", 2, "target '100' is not in profit"),
        ("--profit 8% --entry 0", 2, "price '0' is not above zero"),
        ("--profit 8% --entry nan", 2, "value 'nan' is out of range"),
        ("--profit 8% --age 12", 2, "duration '12' has no unit"),
        ("--profit 8% --age soon", 2, "duration 'soon' is not a duration"),
        ("--profit 8% --side up", 2, "--side 'up' is not one of its values"),
        ("--profit 8% --fields nonsense", 2, "no such field 'nonsense'"),
        ("--profit 8% --json --format csv", 2, "--json and --format contradict each other"),
        ("XRPUSDT BTCUSDT --profit 8%", 2, "a what-if is about one position"),
        ("XRP/USDT", 2, "symbol 'XRP/USDT' is not one"),
        ("--explain --profit 8%", 2, "--explain and a what-if contradict each other"),
        ("--explain --check", 2, "--check and --explain contradict each other"),
        ("--explain --format csv", 2, "--format csv has no form for a story of moves"),
        ("--style atr", 2, "--style needs recorded candles"),
        ("--from 2025-02-03", 2, "--from needs recorded candles"),
        ("--simulate nowhere.csv", 17, "candle file 'nowhere.csv' does not exist"),
        ("--profit 8% -c nowhere.toml", 10, "configuration file 'nowhere.toml' does not exist"),
        ("-p nowhere", 10, "no such profile 'nowhere'"),
    ],
)
def test_bad_input_is_two_lines(ask: Ask, arguments: str, code: int, message: str) -> None:
    seen = ask(*arguments.split())
    error, hint = seen.err.splitlines()[:2]

    assert seen.code == code
    assert error.startswith(f"error: {message}")
    assert hint.startswith("hint: ")
    assert seen.out == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--profit 8%", 2, "--profit and --simulate contradict each other"),
        ("--check", 2, "--check and --simulate contradict each other"),
        ("--explain", 2, "--explain and --simulate contradict each other"),
        ("--format plain", 2, "--format plain has no form"),
        ("--targets 1%,2%", 2, "--targets does nothing for style 'tiered'"),
        ("--targets 2%,1% --style moving_target", 2, "targets '2%,1%' do not rise from entry"),
        ("--targets 2% --style moving_target --callback 1%", 2, "--callback does nothing for style 'moving_target'"),
        ("--activation 2% --style breakeven", 2, "--activation does nothing for style 'breakeven'"),
        ("--callback 3atr", 2, "style 'tiered' cannot keep a distance of '3atr'"),
        ("--callback 2% --style atr", 2, "style 'atr' cannot keep a distance of '2%'"),
        ("--callback 9%", 2, "callback '9%' is outside 0.05% to 5%"),
        ("--style spiral", 2, "--style 'spiral' is not one of its values"),
        ("--atr-bar 1h", 2, "--atr-bar does nothing without --style atr"),
        ("--atr-bar 90s --style atr", 2, "--atr-bar is not a multiple of the candles' length"),
        ("--stop 0.00001%", 2, "stop '0%' is less than a tick from entry"),
        ("--stop 150%", 2, "stop '150%' is not below 100%"),
        ("--tick 0.1 --rules x.json", 2, "--tick and --rules contradict each other"),
        ("--rules nowhere.json", 17, "rules file 'nowhere.json'"),
        ("--from 2026-01-05 --to 2026-01-05", 2, "--to is not after --from"),
        ("--from yesterday", 2, "time 'yesterday' is neither a date"),
        ("--from 2026-01-05 --entry-time 2026-01-04", 2, "--entry-time is before --from"),
        ("--to 2026-01-05 --entry-time 2026-01-06", 2, "--entry-time is not before --to"),
        ("--from 2027-01-05", 17, "holds no bar of XRPUSDT in the range asked for"),
        ("XRPUSD", 17, "symbol 'XRPUSD' is not in"),
        ("XRPUSDT BTCUSDT", 2, "a replay is about one position"),
        ("--target 1 ", 2, "target '1' is not in profit for a long"),
    ],
)
def test_bad_input_to_a_replay_is_two_lines(ask: Ask, rising: Path, arguments: str, code: int, message: str) -> None:
    seen = ask("--simulate", str(rising), *arguments.split())
    error, hint = seen.err.splitlines()[:2]

    assert message in error
    assert seen.code == code
    assert hint.startswith("hint: ")
    assert seen.out == ""


def test_damaged_candles_are_refused_with_their_place(ask: Ask, rising: Path) -> None:
    rising.write_text(rising.read_text().replace("2.1200", "much", 1))

    seen = ask("--simulate", str(rising))

    assert seen.code is ExitCode.INPUTS
    assert "is damaged" in seen.err


def test_a_damaged_journal_is_refused_and_left_alone(ask: Ask, state_dir: Path) -> None:
    journal = state_dir / "journal.db"
    for name in ("journal.db-wal", "journal.db-shm"):
        (state_dir / name).unlink(missing_ok=True)
    journal.write_bytes(b"not a database")

    assert ask("--state-dir", str(state_dir)).code is ExitCode.STATE_FILE
    assert journal.read_bytes() == b"not a database"


def test_the_contracts_fields_come_first() -> None:
    assert COLUMNS[: len(CONTRACT)] == CONTRACT
