"""`tpctl retrain`: due or not, training that survives kill -9, candidates, and a choice only the gate allows."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tpctl.adapters import checkpoint
from tpctl.adapters.policy_registry import GateCheck, GateRecord, PolicyRegistry, Record
from tpctl.cli.main import run
from tpctl.exits.errors import ExitCode

CANDLES = "bars_15m_2022-01_2025-01.parquet"
SMALL = ("--symbols", "BTCUSDT,XRPUSDT", "--days", "40", "--episodes", "120")
PASSED = GateRecord("passed", 5, 400, (GateCheck("mean gain", True, 0.03, ">= 0.02"),), 0.03, 0.01, 0.05)


class Desk:
    """A state directory and the commands run on it."""

    def __init__(self, path: Path, candles: Path | None, capsys: pytest.CaptureFixture[str]) -> None:
        self.path, self.candles, self._capsys = path, candles, capsys
        self.registry = PolicyRegistry(path)
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> ExitCode:
        code = ExitCode(run(["retrain", *arguments, "--state-dir", str(self.path)]))
        self.out, self.err = self._capsys.readouterr()
        return code

    def train(self, *arguments: str) -> Any:
        """Train on a little of the recorded market; return the JSON data."""
        assert self("--run", "--data", str(self.candles), *SMALL, *arguments, "--json") is ExitCode.OK, self.err
        return self.data

    @property
    def data(self) -> Any:
        return json.loads(self.out)["data"]

    def judged(self, record: Record) -> Record:
        """Let the gate have passed a candidate."""
        passed = msgspec.structs.replace(record, gate=PASSED)
        self.registry.write_record(passed)
        return passed


@pytest.fixture
def empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path / "state", None, capsys)


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], shared_data: Path) -> Desk:
    return Desk(tmp_path / "state", shared_data / CANDLES, capsys)


def test_without_anything_it_is_due_and_creates_nothing(empty: Desk) -> None:
    assert empty() is ExitCode.OK
    assert empty.out.splitlines() == [
        "due: no candidate was trained yet",
        "in use: no policy is promoted; the ladder decides",
        "next: tpctl retrain --run",
    ]
    assert empty("--check") is ExitCode.RETRAIN_DUE
    assert empty("--list") is ExitCode.OK
    assert empty.out.endswith("0 candidates, 0 trials counted\n")
    assert not empty.path.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--rollback",), ExitCode.STATE_FILE, "holds no policies"),
        (("--promote", "0123456789ab"), ExitCode.STATE_FILE, "holds no policies"),
        (("--run", "--list"), ExitCode.USAGE, "contradict each other"),
        (("--run", "--check"), ExitCode.USAGE, "contradict each other"),
        (("--resume",), ExitCode.USAGE, "add --run"),
        (("--run", "--resume", "--episodes", "7"), ExitCode.USAGE, "--run --resume alone"),
        (("--run", "--resume"), ExitCode.INPUTS, "there is no training to go on with"),
        (("--episodes", "7"), ExitCode.USAGE, "do nothing without one"),
        (("--run", "--episodes", "1"), ExitCode.USAGE, "episodes"),
        (("--run", "--zone", "nan%"), ExitCode.USAGE, "nan"),
        (("--run", "--zone", "120%"), ExitCode.USAGE, "not between 0 and 100%"),
        (("--run", "--zone", "8"), ExitCode.USAGE, "8"),
        (("--run", "--reward-weights", "-1"), ExitCode.USAGE, "out of range"),
        (("--run", "--reward-weights", "5,0"), ExitCode.USAGE, "out of range"),
        (("--run", "--learner", "magic"), ExitCode.USAGE, "magic"),
        (("--run", "--data", "/nowhere.csv"), ExitCode.INPUTS, "does not exist"),
        (("--run", "--funding", "/nowhere.parquet"), ExitCode.INPUTS, "does not exist"),
        (("--run", "--symbols", ","), ExitCode.USAGE, "name none"),
        (("--stage", "canary"), ExitCode.USAGE, "--stage is for --promote"),
        (("--promote", "0123456789ab", "--share", "10%"), ExitCode.USAGE, "--share is for a canary"),
        (("--promote", "0123456789ab", "--stage", "canary", "--share", "100%"), ExitCode.USAGE, "not between"),
    ],
)
def test_bad_input_is_refused_in_two_lines(
    empty: Desk, arguments: tuple[str, ...], code: ExitCode, message: str
) -> None:
    assert empty(*arguments) is code
    assert message in empty.err
    assert (empty.out, "hint: " in empty.err) == ("", True)


def test_a_training_makes_a_candidate_a_log_and_no_promotion(desk: Desk) -> None:
    data = desk.train()

    assert data["run"]["episodes"] == 120
    assert data["run"]["steps"] == 120 * 96 * 4
    assert (data["policy"]["status"], data["gate"]["verdict"], data["trials"]) == ("none", "not judged", 1)
    record = desk.registry.find(data["run"]["hash"])
    assert desk.registry.policy(record.hash).origin.seed == 1
    assert [one.name for one in record.features] == ["drift_fast", "drift_slow", "swell", "reach"]
    assert record.hits is not None
    assert (len(record.actions), len(record.hits.weights)) == (5, 5)
    assert record.leverage == (1, 20)
    assert not desk.registry.checkpoint.exists()
    heard, *lines = desk.registry.log.read_text().splitlines()
    assert "feedback attempts=0 fills=0 tp_hit_rate=- " in heard
    assert len(lines) == 6
    assert " warm_up_seconds=" in lines[0]
    assert all(" tp_zone_accuracy=" in line for line in lines[1:])
    assert desk("--check") is ExitCode.OK
    assert desk.out.startswith("not due: the last training is less than a day old\n")


def test_compiling_is_told_apart_from_training(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def compiles(*_: object) -> bool:
        clock[0] += 14.0
        return True

    monkeypatch.setattr("tpctl.cli.retrain_run.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("tpctl.learn.warm_up.warm_up", compiles)
    data = desk.train()

    assert (data["warm_up_seconds"], data["run"]["seconds"]) == ("14.000", "0.000")
    assert " warm_up_seconds=14.000\n" in desk.registry.log.read_text()
    assert desk("--run", "--data", str(desk.candles), *SMALL) is ExitCode.OK
    assert desk.out.startswith("warm-up 14.00 s: compiling, or loading what was compiled; not counted below\n")

    monkeypatch.setattr("tpctl.learn.warm_up.warm_up", lambda *_: False)
    assert desk.train()["warm_up_seconds"] is None


def test_the_same_seed_and_data_give_the_same_weights(desk: Desk) -> None:
    first, second = desk.train("--learner", "cem"), desk.train("--learner", "cem")

    assert first["run"]["weights_hash"] == second["run"]["weights_hash"]
    assert first["run"]["hash"] == second["run"]["hash"]
    assert (len(second["candidates"]), second["trials"]) == (1, 2)
    assert desk.train("--learner", "cem", "--seeds", "2")["run"]["weights_hash"] != first["run"]["weights_hash"]


def test_of_several_reward_weights_held_out_profit_chooses_and_every_one_counts(desk: Desk) -> None:
    data = desk.train("--reward-weights", "0,1", "--reward-weights", "5,1", "--zone", "2%")

    held = [line for line in desk.registry.log.read_text().splitlines() if "held_out_r=" in line]
    found = {line.split("weights=")[1].split()[0]: float(line.split("held_out_r=")[1]) for line in held}
    assert set(found) == {"0,1", "5,1"}
    configuration = json.loads(desk.registry.policy(data["run"]["hash"]).origin.configuration)
    assert f"{configuration['bonus']:g},{configuration['pnl_scale']:g}" == max(found, key=found.__getitem__)
    assert data["trials"] == 3


@pytest.mark.parametrize("learner", ["stopping", "cem"])
def test_killed_after_any_round_a_training_goes_on_to_the_same_weights(
    desk: Desk, learner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Show 7: kill -9 at every step that is kept, then --resume."""
    options = ("--learner", learner, "--seeds", "2")
    whole = desk.train(*options)
    expected = sorted(one["weights_hash"] for one in whole["candidates"])
    writes = _writes(desk, options, monkeypatch)
    # Every write of a stopping run; of a search, which writes after each of its rounds, some.
    for number in range(1, writes + 1, 1 if learner == "stopping" else 21):
        killed = Desk(desk.path.parent / f"{learner}-{number}", desk.candles, desk._capsys)
        assert _killed_at_write(killed, options, number)
        assert killed("--run", "--resume", "--json") is ExitCode.OK, killed.err
        assert sorted(one["weights_hash"] for one in killed.data["candidates"]) == expected
        assert not killed.registry.checkpoint.exists()


def test_what_a_stopped_training_took_before_counts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, left, write = [0.0], [12], checkpoint.write_checkpoint

    def takes_a_second(path: Path, one: checkpoint.Checkpoint) -> None:
        write(path, one)
        clock[0] += 1.0
        left[0] -= 1
        if not left[0]:
            raise Killed

    monkeypatch.setattr("tpctl.cli.retrain_run.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("tpctl.cli.retrain_run.write_checkpoint", takes_a_second)
    with pytest.raises(Killed):
        desk("--run", "--data", str(desk.candles), *SMALL, "--learner", "cem", "--json")
    assert desk("--run", "--resume", "--json") is ExitCode.OK, desk.err

    # Thirty rounds, and the second in which it was killed is lost.
    assert desk.data["run"]["seconds"] == "29.000"


def _writes(desk: Desk, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> int:
    count = 0
    write = checkpoint.write_checkpoint

    def counted(path: Path, one: checkpoint.Checkpoint) -> None:
        nonlocal count
        count += 1
        write(path, one)

    with monkeypatch.context() as patched:
        patched.setattr("tpctl.cli.retrain_run.write_checkpoint", counted)
        desk.train(*options)
    return count


class Killed(BaseException):
    """What no handler may catch, as none catches a SIGKILL."""


def _killed_at_write(desk: Desk, options: tuple[str, ...], number: int) -> bool:
    """Train until right after the `number`-th checkpoint; return whether there was one."""
    left = number
    write = checkpoint.write_checkpoint

    def dying(path: Path, one: checkpoint.Checkpoint) -> None:
        nonlocal left
        write(path, one)
        left -= 1
        if not left:
            raise Killed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tpctl.cli.retrain_run.write_checkpoint", dying)
        try:
            desk("--run", "--data", str(desk.candles), *SMALL, *options, "--json")
        except Killed:
            return True
    return False


def test_a_training_is_not_resumed_on_other_data(desk: Desk) -> None:
    assert _killed_at_write(desk, (), 1)
    held = checkpoint.read_checkpoint(desk.registry.checkpoint)
    checkpoint.write_checkpoint(desk.registry.checkpoint, msgspec.structs.replace(held, data_hash="0" * 64))

    assert desk("--run", "--resume") is ExitCode.INPUTS
    assert "not what the training was started with" in desk.err
    for text in ("{", '{"schema": "tpctl.retraining/2"}'):
        desk.registry.checkpoint.write_text(text)
        assert desk("--run", "--resume") is ExitCode.STATE_FILE
        assert desk.registry.checkpoint.read_text() == text


def test_one_training_at_a_time(desk: Desk) -> None:
    desk.train()
    with desk.registry.lock():
        assert desk("--run", "--data", str(desk.candles), *SMALL) is ExitCode.LOCKED
    assert "the policy registry is held" in desk.err


def test_only_what_passed_the_gate_is_promoted_and_rollback_is_instant(desk: Desk) -> None:
    record = desk.registry.find(desk.train()["run"]["hash"])
    name = record.hash[:12]
    assert desk("--promote", name) is ExitCode.INPUTS
    assert "was not judged yet" in desk.err
    desk.judged(record)

    assert desk("--promote", name, "--stage", "canary", "--share", "20%", "--json") is ExitCode.OK
    assert (desk.data["policy"]["status"], desk.data["policy"]["share"]) == ("canary", "0.2")
    assert desk.data["candidates"][0]["status"] == "canary"
    assert desk.data["policy"]["status"] == "canary"
    (warning,) = json.loads(desk.out)["warnings"]
    assert "it was not in shadow before: 14 days and 100 positions are advised" in str(warning)
    assert desk("--promote", name, "--stage", "promoted") is ExitCode.OK
    assert desk.err == ""
    assert f"in use: policy {name} (promoted)" in desk.out
    assert desk("--list") is ExitCode.OK
    assert "passed  promoted" in desk.out
    assert desk("--rollback") is ExitCode.OK
    assert f"in use: policy {name} (canary, 20% of the positions)" in desk.out
    assert desk("--rollback") is ExitCode.OK
    assert f"in use: no policy is promoted: {name} was rolled back on 2" in desk.out
    assert desk("--rollback") is ExitCode.STATE_FILE


def test_a_shadow_that_was_short_is_told_when_the_policy_is_to_be_used(desk: Desk) -> None:
    name = desk.judged(desk.registry.find(desk.train()["run"]["hash"])).hash[:12]

    assert desk("--promote", name) is ExitCode.OK
    assert (desk.err, f"in use: policy {name} (shadow, told and not used)" in desk.out) == ("", True)
    assert desk("--promote", name, "--stage", "canary") is ExitCode.OK
    assert desk.err == ("warning: it was in shadow for 0 days and 0 positions: 14 days and 100 positions are advised\n")


def test_a_policy_file_that_is_refused_is_not_said_to_be_in_use(desk: Desk) -> None:
    record = desk.judged(desk.registry.find(desk.train()["run"]["hash"]))
    assert desk("--promote", record.hash[:12], "--stage", "promoted") is ExitCode.OK
    (desk.registry.path / f"{record.hash}.json").write_bytes(b"\x80\x04\x95.")

    assert desk() is ExitCode.OK
    (used,) = [line for line in desk.out.splitlines() if line.startswith("in use: ")]
    assert used.startswith(f"in use: no policy is used: policy file '{record.hash}.json' is refused: ")
    assert used.endswith("; the ladder decides")
    assert desk("--json") is ExitCode.OK
    assert desk.data["policy"]["refused"] in desk.data["policy"]["text"]


def test_what_of_drift_cannot_be_judged_yet_is_told(desk: Desk) -> None:
    name = desk.judged(desk.registry.find(desk.train()["run"]["hash"])).hash[:12]
    assert desk() is ExitCode.OK
    assert "drift: " not in desk.out

    assert desk("--promote", name, "--stage", "promoted") is ExitCode.OK
    assert "drift: whether the market has moved is judged from 200 positions on, 0 so far\n" in desk.out
    assert desk("--json") is ExitCode.OK
    assert desk.data["drift"]["alarms"] == []
    assert [text.split(" is judged from ")[0] for text in desk.data["drift"]["waiting"]] == [
        "slippage",
        "whether the market has moved",
        "what is asked first",
        "how often targets are hit",
    ]


def test_candles_come_from_a_folder_too(empty: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "candles"
    folder.mkdir()
    assert empty("--run", "--data", str(folder)) is ExitCode.INPUTS
    begin, quarter = 1_640_995_200_000, 900_000
    for month in range(2):
        rows = []
        for number in range(1_500 * month, 1_500 * (month + 1)):
            price = 0.8 + 0.01 * ((number * 7919) % 13) / 13
            at = begin + number * quarter
            rows.append(f"{at},{price},{price + 0.004},{price - 0.004},{price + 0.001},9,{at + quarter - 1},0,1,0,0,0")
        (folder / f"XRPUSDT-15m-2022-0{month + 1}.csv").write_text("\n".join(rows) + "\n")

    assert empty("--run", "--data", str(folder), "--episodes", "50", "--json") is ExitCode.OK, empty.err
    assert (empty.data["run"]["episodes"], empty.registry.records()[0].symbols) == (50, ("XRPUSDT",))
