"""`tpctl config`: the file it writes, shows, checks and finds."""

import json
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from tpctl.cli.config_file import starter
from tpctl.cli.main import run
from tpctl.exits.errors import ExitCode
from tpctl.settings.load import load
from tpctl.settings.schema import FileSettings
from tpctl.settings.spell import leaves, table_of

SECTIONS = ("watch", "inputs", "exits", "notify", "telemetry")

Ask = Callable[..., tuple[ExitCode, str, str]]

OWN = """
[profiles.main]
env = "live"
allow_live = true
key_file = "main.keys"

[inputs.symbols.XRPUSDT]
volatility = "3.25%"
regime = "trending"

[exits]
policy = "hybrid"

[exits.trail]
callback = "1.75%"
min_interval = "45s"

[watch]
reconcile_interval = "1m30s"
"""


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    def ask(*arguments: str) -> tuple[ExitCode, str, str]:
        code = ExitCode(run(["config", *arguments]))
        out, err = capsys.readouterr()
        return code, out, err

    return ask


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    return file


def test_the_first_file_is_private_valid_and_changes_nothing(ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "new" / "config.toml"
    assert ask("init", "-c", str(file)) == (ExitCode.OK, f"{file}\n", "")
    assert file.stat().st_mode & 0o777 == 0o600
    assert ask("validate", "-c", str(file)) == (ExitCode.OK, f"{file} is valid\n", "")
    with_file, without = load(file), load()
    assert (with_file.exits, with_file.watch, with_file.inputs) == (without.exits, without.watch, without.inputs)
    code, _, err = ask("init", "-c", str(file))
    assert code is ExitCode.CONFIG
    assert "exists already" in err


def test_the_first_file_has_every_setting_at_its_default_or_with_an_example(tmp_path: Path) -> None:
    lines = starter().splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("["))
    file = tmp_path / "all.toml"
    file.write_text("\n".join(line.removeprefix("# ") for line in lines[begin:]))
    settings = load(file)
    stated = dict(leaves({name: table_of(getattr(settings, name)) for name in SECTIONS}))
    defaults = dict(leaves({name: table_of(getattr(FileSettings(), name)) for name in SECTIONS}))
    assert {path: stated[path] for path in defaults} == defaults
    assert sum("# no default" in line for line in lines) == len(stated) - len(defaults)
    assert [name for section in SECTIONS for name in unset(getattr(settings, section))] == []


def unset(record: object) -> Iterator[str]:
    """Yield the settings of a section that have no value."""
    for each in fields(record):  # type: ignore[arg-type]
        value = getattr(record, each.name)
        if value is None:
            yield each.name
        elif is_dataclass(value):
            yield from unset(value)


def test_what_show_prints_gives_the_same_settings_again(ask: Ask, own: Path, tmp_path: Path) -> None:
    code, out, _ = ask("show", "-c", str(own), "-p", "main")
    assert code is ExitCode.OK
    again = tmp_path / "again.toml"
    again.write_text(out)
    first, second = load(own, "main"), load(again, "main")
    assert (first.profile, first.exits, first.inputs, first.watch) == (
        *(second.profile, second.exits),
        *(second.inputs, second.watch),
    )


def test_origins_tell_files_options_and_defaults_apart(ask: Ask, own: Path, tmp_path: Path) -> None:
    _, out, _ = ask("show", "-c", str(own), "-p", "main", "--state-dir", str(tmp_path), "--origin")
    rows = dict(line.rsplit("  # ", 1) for line in out.splitlines())
    origins = {row.split(" = ")[0].strip(): origin for row, origin in rows.items()}
    assert origins["state_dir"] == "option --state-dir"
    assert origins["exits.trail.callback"] == f"file {own}"
    assert origins["exits.trail.min_interval"] == f"file {own}"
    assert origins["exits.trail.activation"] == "default"
    assert origins["inputs.symbols.XRPUSDT.volatility"] == f"file {own}"


def test_show_as_json_keeps_values_and_names_what_is_not_default(ask: Ask, own: Path) -> None:
    _, out, _ = ask("show", "-c", str(own), "-p", "main", "--json")
    document = json.loads(out)
    assert document["schema"] == "tpctl.config/1"
    assert document["data"]["settings"]["exits"]["trail"]["callback"] == "1.75%"
    assert document["data"]["origins"]["watch.reconcile_interval"] == f"file {own}"
    assert "exits.trail.activation" not in document["data"]["origins"]


def test_path_is_one_line_for_a_shell(ask: Ask, own: Path) -> None:
    assert ask("path", "-c", str(own)) == (ExitCode.OK, f"{own}\n", "")
    paths = json.loads(ask("path", "-c", str(own), "-p", "main", "--json")[1])["data"]["paths"]
    assert paths["config_exists"] is True
    assert paths["journal"] == paths["state_dir"] + "/journal.db"


def test_a_mistake_is_reported_with_its_place(ask: Ask, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('[exits.trail]\ncalback = "2%"\n')
    code, out, err = ask("validate", "-c", str(file))
    assert (code, out) == (ExitCode.CONFIG, "")
    assert "exits.trail: unknown key 'calback'" in err
    assert "did you mean 'callback'?" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("validate", "--origin"), "--origin does nothing for validate"),
        (("show", "--venue", "http://127.0.0.1:1"), "--venue does nothing for show"),
        (("path", "--check"), "--check does nothing for path"),
        (("init", "--json"), "--json has no form for init"),
    ],
)
def test_options_of_another_action_are_refused(ask: Ask, arguments: tuple[str, ...], words: str) -> None:
    code, _, err = ask(*arguments)
    assert code is ExitCode.USAGE
    assert words in err
