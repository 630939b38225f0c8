"""Generated files say what the code says: man pages, completions, README."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tpctl.cli import docgen
from tpctl.cli.tree import CommandDoc, describe
from tpctl.exits.errors import EXIT_CODE_MEANINGS, ExitCode
from tpctl.settings.load import load

ROOT, COMMANDS = describe()


def _command(readme: str, name: str) -> str:
    found = re.search(rf"^<!-- command: {name} -->\n```sh\n(.+?)\n```$", readme, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.fixture(scope="module")
def readme(repository: Path) -> str:
    return (repository / "README.md").read_text()


def test_no_generated_file_has_drifted(repository: Path) -> None:
    assert docgen.drifted(repository) == []


def test_drift_is_noticed_whichever_file_drifts(repository: Path, tmp_path: Path) -> None:
    names = docgen.generated((repository / "README.md").read_text())
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / name, tmp_path / name)
    for name in names:
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text.replace("| 19 |", "| 29 |") if name.suffix == ".md" else f"{text}\n")
        assert docgen.drifted(tmp_path) == [name]
        (tmp_path / name).write_text(text)


def test_exit_codes_are_the_same_in_code_man_page_and_readme(repository: Path, readme: str) -> None:
    code = {str(number.value): meaning for number, meaning in EXIT_CODE_MEANINGS.items()}
    section = (repository / "man/tpctl.1").read_text().partition(".SH EXIT STATUS\n")[2].partition(".SH")[0]
    man = dict(re.findall(r"^\.TP\n\.B (\d+)\n(.+)$", section, re.MULTILINE))

    assert set(code) == {str(number.value) for number in ExitCode}
    assert {key: text.replace("\\-", "-") for key, text in man.items()} == code
    assert dict(re.findall(r"^\| (\d+) \| (.+) \|$", readme, re.MULTILINE)) == code


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_man_page_holds_every_option(command: CommandDoc, repository: Path) -> None:
    text = (repository / f"man/tpctl-{command.name}.1").read_text().replace("\\-", "-")

    for option in command.options:
        assert all(f"\\fB{name}\\fR" in text for name in option.names)
    assert len(command.options) > 10


@pytest.mark.skipif(shutil.which("man") is None or shutil.which("groff") is None, reason="man and groff are not here")
@pytest.mark.parametrize("page", ["tpctl", "tpctl-watch", "tpctl-venue"])
def test_a_man_page_renders_without_a_warning(page: str, repository: Path) -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", repository / "man" / f"{page}.1"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr == ""


BASH = """
source completions/tpctl.bash
complete_line() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _tpctl
    printf '%s\\n' "${COMPREPLY[*]}"
}
set -u
complete_line tpctl ''
complete_line tpctl wa
complete_line tpctl watch --se
complete_line tpctl watch XRPUSDT --policy ''
complete_line tpctl watch --color = ne
complete_line tpctl venue --brackets READ
complete_line tpctl watch --state-dir ma
complete_line tpctl watch --seed ''
complete_line tpctl watch --speed m
complete_line tpctl venue --po
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
def test_bash_completes_commands_options_choices_and_files_without_python(repository: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [shutil.which("bash") or "bash", "--norc", "-c", BASH],
        cwd=repository,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        " ".join(["--version -h --help", *(command.name for command in COMMANDS)]),
        "watch",
        "--seed",
        "dynamic static target hybrid",
        "never",
        "README.md",
        "man",
        "",
        "max",
        "--port",
    ]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_completions_know_every_option(shell: str, repository: Path) -> None:
    text = (repository / f"completions/tpctl.{shell}").read_text()

    for command in COMMANDS:
        for option in command.options:
            for name in option.names:
                spelled = name if shell == "zsh" else f"-{'l' if name.startswith('--') else 's'} {name.lstrip('-')}"
                assert spelled in text


def test_ci_runs_the_commands_the_readme_gives(repository: Path, readme: str) -> None:
    """The script takes them from the README by these markers; here its own extraction runs and is compared."""
    script = (repository / ".ci/run").read_text()
    extraction = script[script.index("readme_command() {") : script.index("watch=$(")]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{extraction}\nreadme_command watch; readme_command test"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == [_command(readme, "watch"), _command(readme, "test")]
    assert _command(readme, "watch").endswith("tpctl watch")
    assert "pytest" in _command(readme, "test")


def test_the_readmes_configuration_loads(readme: str, tmp_path: Path) -> None:
    found = re.findall(r"^<!-- example: config -->\n```toml\n(.+?)```$", readme, re.MULTILINE | re.DOTALL)
    assert len(found) > 1
    file = tmp_path / "config.toml"
    file.write_text("\n".join(found))

    settings = load(file, "main")

    assert settings.profile.allow_live
    assert settings.watch.reconcile_interval_ms == 30_000
    assert settings.notify.wanted
