"""`tpctl config doctor` on accounts that are well, unreachable, skewed, or whose key can withdraw."""

import json
from pathlib import Path
from typing import Any

import pytest
from processes import Done, Process, run, served_twin, watch, watch_args

from tpctl.exits.errors import ExitCode


def doctor(state: Path, home: Path, *options: str) -> Done:
    return run(["config", "doctor", "--state-dir", str(state), *options], home)


def verdicts(done: Done) -> dict[str, Any]:
    return {check["name"]: check for check in json.loads(done.out)["data"]["checks"]}


@pytest.mark.parametrize(
    ("twin", "code", "name", "words", "hint"),
    [
        (("--key-rights", "futures"), ExitCode.OK, None, "", ""),
        (
            ("--key-rights", "withdraw"),
            ExitCode.CREDENTIALS,
            "permissions",
            "can withdraw or transfer funds",
            "make a key with futures trading only",
        ),
        (("--key-rights", "read"), ExitCode.CREDENTIALS, "permissions", "cannot trade futures", "enable futures"),
        (("--skew", "7s"), ExitCode.INPUTS, "clock", "ahead of this machine's", "NTP"),
    ],
)
def test_each_account_gets_its_code_and_its_way_out(
    state: Path, home: Path, *, twin: tuple[str, ...], code: ExitCode, name: str | None, words: str, hint: str
) -> None:
    with served_twin(home, *twin) as url:
        done = doctor(state, home, "--venue", url, "--json")
    found = verdicts(done)
    wrong = [check for check in found.values() if check["verdict"] == "error"]
    assert (done.code, done.err) == (code, "")
    assert [check["name"] for check in wrong] == ([] if name is None else [name])
    for check in wrong:
        assert words in check["text"]
        assert hint in check["hint"]
        assert check["exit_code"] == code
    assert {"reachability", "clock", "keys", "permissions", "position mode", "algo endpoint", "headroom"} <= set(found)


def test_nobody_there_is_unavailable(state: Path, home: Path) -> None:
    done = doctor(state, home, "--venue", "http://127.0.0.1:9")
    assert done.code == ExitCode.UNAVAILABLE
    assert "ERROR  reachability" in done.out
    assert "hint: start one with" in done.out


def test_a_key_that_withdraws_is_refused_for_arming_too(state: Path, home: Path) -> None:
    with served_twin(home, "--key-rights", "withdraw", "--speed", "max") as url:
        done = watch("--venue", url, "--once", state=state, home=home)
    assert done.code == ExitCode.CREDENTIALS
    assert "can withdraw or transfer funds" in done.errors[0]


def test_files_lock_and_halt_are_looked_at(state: Path, home: Path) -> None:
    with Process(watch_args("--speed", "5", state=state), home) as running:
        assert running.until(lambda event: event["type"] == "adopted")
        (state / "HALT").write_text("maintenance\n")
        (state / "HALT").chmod(0o600)
        done = doctor(state, home, "--json", "--check")
        running.interrupt()
        running.finish()
    found = verdicts(done)
    assert done.code == ExitCode.CHECK_WARNING
    assert found["halt"]["text"] == "HALT is set: maintenance"
    assert "is held by another process, pid" in found["lock"]["text"]
    assert found["journal"]["verdict"] == "ok"

    (state / "journal.db").chmod(0o666)
    shared = doctor(state, home, "--json")
    assert shared.code == ExitCode.STATE_FILE
    assert verdicts(shared)["state directory"]["verdict"] == "error"
