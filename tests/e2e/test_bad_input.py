"""Bad input, issue by issue: two lines that say what and what to do, the documented exit code, and nothing lost."""

import json
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import Done, Process, run, served_twin, watch, watch_args

from tpctl.adapters.files import open_state_dir
from tpctl.adapters.halt import clear_halt, set_halt
from tpctl.exits.errors import ExitCode

QUICK = ("--speed", "max", "--for", "1m")


def check(done: Done, code: ExitCode, *words: str) -> None:
    """Assert two lines for people, one object for scripts, and that the words are in the message or the hint."""
    error, hint, record = done.errors
    assert (error[:7], hint[:6]) == ("error: ", "hint: ")
    told = json.loads(record)
    assert (done.code, told["code"]) == (code, code)
    assert (told["message"], told["hint"]) == (error.removeprefix("error: "), hint.removeprefix("hint: "))
    assert not told["message"].endswith(".")
    for word in words:
        assert word in f"{error}\n{hint}"


def contents(folder: Path) -> dict[str, bytes]:
    """Return what the files of a directory hold, save those that come and go: locks, and SQLite's shared memory."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith((".lock", "-shm", "-wal"))
    }


@pytest.fixture(scope="module")
def used(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state directory with a history, to be copied."""
    state = tmp_path_factory.mktemp("used") / "state"
    assert watch(*QUICK, state=state, home=home).code == 0
    return state


@pytest.fixture
def history(used: Path, tmp_path: Path) -> Path:
    """Return a state directory with a history."""
    return Path(shutil.copytree(used, tmp_path / "history"))


def test_unknown_symbol(home: Path, history: Path) -> None:
    before = contents(history)

    check(watch("XRPUSD", *QUICK, state=history, home=home), ExitCode.INPUTS, "'XRPUSD'", "did you mean XRPUSDT?")

    assert contents(history) == before


def test_unknown_symbol_beside_a_known_one(home: Path, state: Path) -> None:
    check(watch("BTCUSDT", "ETHUSTD", *QUICK, state=state, home=home), ExitCode.INPUTS, "'ETHUSTD'", "ETHUSDT")


def test_missing_market(home: Path, state: Path) -> None:
    check(watch("--market", "nowhere.parquet", state=state, home=home), ExitCode.INPUTS, "'nowhere.parquet'")
    assert not state.exists()


def test_truncated_parquet(shared_data: Path, home: Path, state: Path, tmp_path: Path) -> None:
    market = tmp_path / "cut.parquet"
    market.write_bytes((shared_data / "bars_1m_2024-12_2025-01_eth_ltc.parquet").read_bytes()[:100_000])

    check(watch("--market", str(market), *QUICK, state=state, home=home), ExitCode.INPUTS, "cut.parquet")


@pytest.mark.parametrize(
    "text", [b"", b"garbage\n", b"1736121600000,1,2,3\n", b"\x00\xff\xfe" * 50, b"open_time,open\n1,2\n"]
)
def test_garbage_csv(home: Path, state: Path, tmp_path: Path, text: bytes) -> None:
    market = tmp_path / "XRPUSDT-1m-2026-01-05.csv"
    market.write_bytes(text)

    check(watch("--market", str(market), *QUICK, state=state, home=home), ExitCode.INPUTS, market.name)


def test_a_range_the_recording_does_not_cover(home: Path, state: Path, tmp_path: Path) -> None:
    market = tmp_path / "XRPUSDT-1m-2026-01-05.csv"
    rows = (
        f"{1_767_571_200_000 + 60_000 * i},2,2,2,2,100,{1_767_571_259_999 + 60_000 * i},200,1,1,1,0" for i in range(5)
    )
    market.write_text("\n".join(rows) + "\n")
    options = ("--market", str(market), "--from", "2026-02-01", "--until", "2026-02-02", "--speed", "max")

    check(watch(*options, state=state, home=home), ExitCode.INPUTS)


def test_an_empty_range(home: Path, state: Path) -> None:
    options = ("--from", "2026-02-02", "--until", "2026-02-01")

    check(watch(*options, state=state, home=home), ExitCode.USAGE, "--until is not after --from")


def test_a_state_directory_that_is_a_file(home: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("mine")

    check(watch(*QUICK, state=state, home=home), ExitCode.STATE_FILE, "is not a directory")

    assert state.read_text() == "mine"


@pytest.mark.parametrize("mode", [0o777, 0o000])
def test_a_state_directory_nobody_should_use(home: Path, history: Path, mode: int) -> None:
    before = contents(history)
    if mode == 0 and os.geteuid() == 0:
        # Root reads anything; what root may not do is trust a directory others can write to.
        mode = 0o1777
    history.chmod(mode)

    done = watch(*QUICK, state=history, home=home)

    history.chmod(0o700)
    check(done, ExitCode.STATE_FILE, str(history), "chmod 700")
    assert contents(history) == before


def test_a_second_watch_on_the_same_account(home: Path, history: Path) -> None:
    with (
        served_twin(home, "--speed", "60") as url,
        Process(watch_args("--venue", url, state=history), home) as first,
    ):
        assert first.until(lambda event: event["type"] == "accepted") is not None
        second = watch("--venue", url, "--once", state=history, home=home)
        third = watch(*QUICK, state=history, home=home)
        first.terminate()
        ended = first.finish()

    check(second, ExitCode.LOCKED, "'sim'")
    check(third, ExitCode.LOCKED, "'sim'")
    assert (second.out, third.out) == ("", "")
    assert ended.code == ExitCode.TERMINATED


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a database at all\n" * 100)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _flipped(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE positions SET state = replace(state, '\"phase\"', '\"phaze\"')")
    db.close()


def _foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
    db.close()
    path.chmod(0o600)


@pytest.mark.parametrize("damage", [_garbage, _truncated, _empty, _flipped, _foreign])
def test_a_damaged_journal_is_named_and_left_as_it_is(
    home: Path, history: Path, damage: Callable[[Path], None]
) -> None:
    damage(history / "journal.db")
    before = contents(history)

    done = watch(*QUICK, state=history, home=home)

    check(done, ExitCode.STATE_FILE, "journal.db", "move")
    assert contents(history) == before


def test_a_newer_journal(home: Path, history: Path) -> None:
    with sqlite3.connect(history / "journal.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = contents(history)

    check(watch(*QUICK, state=history, home=home), ExitCode.STATE_FILE, "schema 99", "newer")

    assert contents(history) == before


def test_a_damaged_metrics_file(home: Path, history: Path) -> None:
    (history / "tp_metrics.json").write_text("{")
    before = contents(history)

    check(watch(*QUICK, state=history, home=home), ExitCode.STATE_FILE, "tp_metrics.json")

    after = contents(history)
    assert after["tp_metrics.json"] == before["tp_metrics.json"]


def test_no_keys_for_live(home: Path, state: Path) -> None:
    check(watch("--profile", "live", state=state, home=home), ExitCode.CREDENTIALS, "live")
    assert not state.exists()


def test_live_must_be_allowed(home: Path, state: Path) -> None:
    options = ("--profile", "live", "--arm", "--confirm", "live")

    check(watch(*options, state=state, home=home), ExitCode.NOT_ARMED, "allow_live = true")


def test_arming_live_must_be_confirmed(home: Path, state: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[profiles.live]\nenv = "live"\nallow_live = true\n')
    options = ("--config", str(config), "--profile", "live", "--arm")

    check(watch(*options, state=state, home=home), ExitCode.NOT_ARMED, "--confirm live")
    check(watch(*options, "--confirm", "love", state=state, home=home), ExitCode.NOT_ARMED, "--confirm live")


def test_nothing_behind_the_address(home: Path, history: Path) -> None:
    before = contents(history)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    check(watch("--venue", f"http://127.0.0.1:{port}", state=history, home=home), ExitCode.UNAVAILABLE, str(port))

    assert contents(history) == before


def test_people_get_two_lines(home: Path, state: Path) -> None:
    done = run(["watch", "XRPUSD", "--state-dir", str(state), *QUICK], home)

    assert done.code == ExitCode.INPUTS
    assert [line.split(":")[0] for line in done.errors] == ["error", "hint"]


def test_halt_keeps_take_profits_back_until_it_is_lifted(home: Path, state: Path) -> None:
    """HALT is no error of a watch: stops are placed, take-profits wait, and the story says so."""
    folder = open_state_dir(state)
    set_halt(folder, "the exchange looks wrong")
    with served_twin(home, "--speed", "max", "--seed", "4", "--entries", "none") as idle:
        assert watch("--venue", idle, "--for", "1m", state=state, home=home).code == 0
    with served_twin(home, "--speed", "max", "--seed", "4") as url:
        halted = watch("--venue", url, "--for", "1m", state=state, home=home)
        clear_halt(folder)
        lifted = watch("--venue", url, "--for", "1m", state=state, home=home)

    accepted = [{event["order"] for event in done.events if event["type"] == "accepted"} for done in (halted, lifted)]
    assert accepted == [{"backstop", "stop"}, {"take_profit"}]
    assert [event["reason"] for event in halted.events if event["type"] == "halted"] == [
        "HALT: the exchange looks wrong; stops stay, no new take-profits"
    ]
    last = halted.events[-1]
    assert (halted.code, last["protected"]) == (0, last["positions"])
