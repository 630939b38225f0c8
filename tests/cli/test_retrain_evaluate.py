"""`tpctl retrain --evaluate`: the verdict first, a page that opens offline, every trial counted, the verdict kept."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tpctl.adapters.policy_registry import PolicyRegistry
from tpctl.cli.main import run
from tpctl.exits.errors import ExitCode

CANDLES = "bars_15m_2022-01_2025-01.parquet"
SMALL = ("--symbols", "BTCUSDT,XRPUSDT", "--days", "450", "--episodes", "500")


@pytest.fixture
def evaluated(tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]):
    """Train one candidate on a little of the recorded market and judge it."""
    data = ("--data", str(shared_data / CANDLES), *SMALL, "--state-dir", str(tmp_path / "state"))
    assert run(["retrain", "--run", *data, "--json"]) == ExitCode.OK
    trained = json.loads(capsys.readouterr().out)["data"]["run"]
    page = tmp_path / "report.html"
    command = ["retrain", "--evaluate", *data, "--seeds", "2", "--workers", "1", "--report", str(page)]
    assert run(command) == ExitCode.OK
    return command, trained, page, PolicyRegistry(tmp_path / "state"), capsys.readouterr()


def test_the_verdict_comes_first_and_is_kept_of_the_candidate(evaluated, capsys):
    command, trained, page, registry, shown = evaluated
    record = registry.find(trained["hash"])

    assert shown.out.startswith(f"refused: candidate {trained['hash'][:12]} against the dynamic ladder\n")
    assert record.gate is not None
    assert record.gate.verdict == "refused"
    assert not record.gate.passed
    for words in ("clairvoyant", "legacy exits", "costs x 2", "cem, no bonus", "not taught", "deflated Sharpe"):
        assert words in shown.out, words
    # What was tried counts: five configurations, beside the training itself.
    measured = [one for one in registry.trials().rows if one.what == "walk-forward"]
    assert len(measured) == 5
    assert all(one.sharpe is not None for one in measured)
    # The same command again finds everything finished, and the same figures.
    assert run([*command, "--json"]) == ExitCode.OK
    data = json.loads(capsys.readouterr().out)["data"]["evaluation"]
    assert data["verdict"] == "refused"
    assert data["trials"] == 6
    assert {one["name"] for one in data["policies"]} >= {"candidate", "incumbent", "clairvoyant", "immediate exit"}
    assert all(one["ok"] for one in data["known_answers"])
    assert len(data["known_answers"]) == 8
    assert run(["retrain", "--promote", trained["hash"], "--state-dir", str(registry.path.parent)]) == ExitCode.INPUTS
    assert "the gate refused" in capsys.readouterr().err
    # By its hash, from what it was trained with.
    assert run([*command, "--candidate", trained["hash"][:12], "--quiet"]) == ExitCode.OK
    assert f"candidate {trained['hash'][:12]}" in capsys.readouterr().out
    # The page fetches nothing and runs nothing.
    text = page.read_text()
    assert not re.search(r"(src|href)=|@import|url\(|<script|https?://(?!www\.w3\.org/2000/svg)", text)
    assert text.count("<svg") >= 7
    assert "default-src 'none'" in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--report", "x.html"), ExitCode.USAGE, "--report is for an evaluation"),
        (("--run", "--cluster", "auto"), ExitCode.USAGE, "--cluster is for an evaluation"),
        (("--evaluate", "--run"), ExitCode.USAGE, "contradict each other"),
        (("--evaluate", "--report", "/nowhere/at/all/x.html"), ExitCode.USAGE, "does not exist"),
        (("--evaluate", "--candidate", "0123456789ab"), ExitCode.INPUTS, "names none"),
        (("--evaluate", "--check"), ExitCode.USAGE, "contradict each other"),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path, capsys, arguments, code, message):
    assert run(["retrain", *arguments, "--state-dir", str(tmp_path / "state")]) == code
    assert message in capsys.readouterr().err


def test_too_little_history_is_refused_with_how_much_it_takes(tmp_path, shared_data, capsys):
    data = ("--data", str(shared_data / CANDLES), "--symbols", "BTCUSDT", "--days", "200", "--episodes", "50")

    assert run(["retrain", "--evaluate", *data, "--state-dir", str(tmp_path / "state")]) == ExitCode.INPUTS
    assert "do not make one walk-forward fold" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_a_cluster_without_ray_is_refused(tmp_path, shared_data, capsys):
    data = ("--data", str(shared_data / CANDLES), *SMALL, "--cluster", "local")

    assert run(["retrain", "--evaluate", *data, "--state-dir", str(tmp_path / "state")]) == ExitCode.UNAVAILABLE
    assert "tpctl[cluster]" in capsys.readouterr().err
