"""Transcripts: command, exit code, stdout, stderr, as an operator would see them."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tpctl.cli.main import run

FOLDER = Path(__file__).parent / "transcripts"


@dataclass
class Step:
    command: str
    code: int = 0
    streams: dict[str, list[str]] = field(default_factory=lambda: {"stdout": [], "stderr": []})


def steps() -> Iterator[Step]:
    for path in sorted(FOLDER.glob("*.txt")):
        step: Step | None = None
        stream: list[str] = []
        for line in path.read_text().splitlines():
            if line.startswith("$ tpctl"):
                if step is not None:
                    yield step
                step = Step(line.removeprefix("$ tpctl"))
            elif step is None or not line:
                continue
            elif line.startswith("exit "):
                step.code = int(line.removeprefix("exit "))
            elif line.startswith("  "):
                stream.append(line.removeprefix("  "))
            else:
                stream = step.streams[line.removesuffix(":")]
        assert step is not None, path
        yield step


@pytest.mark.parametrize("step", list(steps()), ids=lambda step: step.command.strip() or "nothing")
def test_transcript(
    step: Step, session: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "market").write_text("")
    arguments = shlex.split(step.command.replace("{market}", "market"))

    code = run(arguments)

    seen = capsys.readouterr()
    assert seen.err.splitlines() == step.streams["stderr"]
    assert seen.out.splitlines() == step.streams["stdout"]
    assert code == step.code
