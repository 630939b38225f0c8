"""One seed, one story: the same command prints the same bytes, whatever the interpreter's hash seed (I21)."""

from pathlib import Path

from processes import run, watch

OPTIONS = ("--speed", "max", "--seed", "4", "--entries", "20/h", "--for", "30m")


def test_the_same_seed_tells_the_same_story_byte_by_byte(home: Path, tmp_path: Path) -> None:
    first = watch(*OPTIONS, state=tmp_path / "first", home=home, PYTHONHASHSEED="1")
    second = watch(*OPTIONS, state=tmp_path / "second", home=home, PYTHONHASHSEED="2")

    assert (first.code, first.err) == (0, "")
    assert {"adopted", "accepted", "tp_hit", "stop_moved", "closed"} <= {event["type"] for event in first.events}
    assert first.out == second.out
    metrics = [(tmp_path / name / "tp_metrics.json").read_bytes() for name in ("first", "second")]
    assert metrics[0] == metrics[1]


def test_another_seed_tells_another_story(home: Path, tmp_path: Path) -> None:
    told = [
        watch("--speed", "max", "--seed", seed, "--for", "1m", state=tmp_path / seed, home=home).out
        for seed in ("4", "5")
    ]

    assert told[0] != told[1]


def test_the_readme_tells_what_the_first_command_prints(home: Path, tmp_path: Path) -> None:
    """What is installed decides whether risk is measured; everything else of the position's story is the same."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    shown = readme.split("<!-- transcript: watch -->")[1].split("```")[1].splitlines()
    story = [line for line in shown if line.startswith(("00:", "  ")) and "because risk" not in line]
    told = run(["watch", "--speed", "max", "--for", "25m", "--state-dir", str(tmp_path / "state")], home)

    assert len(story) > 20
    lines = iter(told.out.splitlines())
    assert [line for line in story if line not in lines] == []
