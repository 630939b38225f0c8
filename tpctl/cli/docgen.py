"""Writes what is generated from the command tree: man pages, completions and the README's blocks.

`python -m tpctl.cli.docgen` writes them, `--check` only says what has drifted. Everything is a function of the tree and
of constants here, so that the same tree gives the same bytes anywhere.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tpctl import __version__
from tpctl.cli import completion
from tpctl.cli import manual_operations as operations
from tpctl.cli.manual import DEFINITIONS, ENVIRONMENT, FILES, SAFETY, SCHEMAS
from tpctl.cli.tree import CommandDoc, OptionDoc, describe
from tpctl.exits.errors import EXIT_CODE_MEANINGS, ExitCode

ROOT = Path(__file__).resolve().parents[2]
UNIT = Path("contrib/tpctl-watch@.service")
MAN_DATE = "2026-11-20"


def generated(readme: str) -> dict[Path, str]:
    """Return every generated file of the repository and its text; `readme` is the README to fill in."""
    root, commands = describe()
    files = {Path("man/tpctl.1"): root_page(root, commands)}
    files[Path("man/tpctl-operations.7")] = operations_page((ROOT / UNIT).read_text(encoding="utf-8"))
    files |= {Path(f"man/tpctl-{command.name}.1"): command_page(command) for command in commands}
    files |= {
        Path("completions/tpctl.bash"): completion.bash(root, commands),
        Path("completions/tpctl.zsh"): completion.zsh(root, commands),
        Path("completions/tpctl.fish"): completion.fish(root, commands),
        Path("README.md"): filled(readme, blocks(root, commands)),
    }
    return files


def blocks(root: CommandDoc, commands: Sequence[CommandDoc]) -> Mapping[str, str]:
    """Return the README's generated blocks by name."""
    rows = [f"| `tpctl {command.name}` | {command.summary} |" for command in commands]
    codes = [f"| {code.value} | {meaning} |" for code, meaning in EXIT_CODE_MEANINGS.items()]
    return {
        "help": f"```text\n$ tpctl --help\n{root.help_text}\n```",
        "commands": "\n".join(["| command | what it does |", "|---|---|", *rows]),
        "exit-codes": "\n".join(["| code | meaning |", "|---|---|", *codes]),
    }


def filled(text: str, content: Mapping[str, str]) -> str:
    """Return `text` with each block between its markers replaced; raises `ValueError` where a marker is missing."""
    for name, block in content.items():
        start, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the README lacks the markers of block {name!r}")
        text = f"{before}{start}\n{block}\n{end}{after}"
    return text


def root_page(root: CommandDoc, commands: Sequence[CommandDoc]) -> str:
    """Return tpctl(1)."""
    lines = [*_title("tpctl", root.summary), *_synopsis("tpctl", root.usage)]
    lines += _section("DESCRIPTION", *_paragraphs(root.paragraphs))
    lines += _section("COMMANDS")
    for command in commands:
        lines += [".TP", f".BR tpctl\\-{_roff(command.name)} (1)", _roff(command.summary)]
    lines += _section("OPTIONS", *_options(root.options))
    lines += _section("PROFILES AND MODES", *_paragraphs(SAFETY))
    lines += _section("FILES", *_terms(FILES))
    lines += _section("ENVIRONMENT", *_terms(ENVIRONMENT))
    lines += _section("EXIT STATUS", *_codes(tuple(EXIT_CODE_MEANINGS)))
    lines += _section("JSON", *_paragraphs(("Within a schema's number fields are only ever added.",)), *_terms(SCHEMAS))
    others = [f".BR tpctl\\-{_roff(command.name)} (1)" for command in commands]
    others.append(".BR tpctl\\-operations (7)")
    lines += _section("SEE ALSO", *(f"{other}," for other in others[:-1]), others[-1])
    return "\n".join(lines) + "\n"


def command_page(command: CommandDoc) -> str:
    """Return tpctl-COMMAND(1)."""
    lines = [*_title(f"tpctl-{command.name}", command.summary), *_synopsis(command.path, command.usage)]
    lines += _section("DESCRIPTION", *_paragraphs(command.paragraphs))
    if command.arguments:
        rows = [(argument.value, argument.help) for argument in command.arguments]
        lines += _section("ARGUMENTS", *_terms(rows))
    lines += _section("OPTIONS", *_options(command.options))
    if command.name in DEFINITIONS:
        lines += _section("DEFINITIONS", *_terms(DEFINITIONS[command.name]))
    lines += _section("EXAMPLES")
    for example in command.examples:
        lines += [".TP", f".B {_roff(example.command)}", _roff(example.purpose)]
    lines += _section("EXIT STATUS", *_codes(command.exit_codes))
    lines += _section("SEE ALSO", ".BR tpctl (1)")
    return "\n".join(lines) + "\n"


def operations_page(unit: str) -> str:
    """Return tpctl-operations(7); `unit` is the text of the systemd unit."""
    lines = _title("tpctl-operations", "how a watch is run for weeks", section=7)
    lines += _section("DESCRIPTION", *_paragraphs(operations.INTRODUCTION))
    lines += _section("SIGNALS", *_terms(operations.SIGNALS))
    lines += _section("CHOICE OF POSITIONS", *_paragraphs(operations.CHOICE))
    look, command = operations.SYSTEMD_LOOK
    lines += _section("SYSTEMD", *_paragraphs(operations.SYSTEMD), *_example(operations.SYSTEMD_INSTALL))
    lines += [*_example(unit.rstrip()), *_paragraphs((look,)), *_example(command)]
    for title, (text, example) in (("TMUX", operations.TMUX), ("CRON", operations.CRON)):
        lines += _section(title, *_paragraphs((text,)), *_example(example))
    lines += _section("SEE ALSO", ".BR tpctl (1),", ".BR tpctl\\-watch (1)")
    return "\n".join(lines) + "\n"


def _example(text: str) -> list[str]:
    return [".PP", ".nf", ".RS", *(_roff(line) for line in text.splitlines()), ".RE", ".fi"]


def _title(name: str, summary: str, section: int = 1) -> list[str]:
    return [
        ".\\\" Generated by 'python -m tpctl.cli.docgen' from the command tree; do not edit.",
        f'.TH {_roff(name.upper())} {section} "{MAN_DATE}" "tpctl {__version__}" "tpctl manual"',
        ".SH NAME",
        f"{_roff(name)} \\- {_roff(summary.rstrip('.'))}",
    ]


def _synopsis(path: str, usage: str) -> list[str]:
    return [".SH SYNOPSIS", f".B {_roff(path)}", _roff(usage.removeprefix(path).strip())]


def _section(title: str, *lines: str) -> list[str]:
    return [f".SH {title}", *lines]


def _paragraphs(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in (".PP", _roff(text))]


def _terms(rows: Sequence[tuple[str, str]]) -> list[str]:
    return [line for term, text in rows for line in (".TP", f".B {_roff(term)}", _roff(text))]


def _options(options: Sequence[OptionDoc]) -> list[str]:
    lines = []
    for option in options:
        names = ", ".join(f"\\fB{_roff(name)}\\fR" for name in option.names)
        value = f" \\fI{_roff(option.value)}\\fR" if option.value else ""
        lines += [".TP", f"{names}{value}", _roff(option.help)]
    return lines


def _codes(codes: Sequence[ExitCode]) -> list[str]:
    return _terms([(str(code.value), EXIT_CODE_MEANINGS[code]) for code in codes])


def _roff(text: str) -> str:
    """Return `text` so that roff prints it as it stands."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("…", "...")
    return f"\\&{escaped}" if escaped.startswith((".", "\\(aq")) else escaped


def drifted(root: Path = ROOT) -> list[Path]:
    """Return the generated files whose text on disk is not what the tree gives."""
    files = generated((root / "README.md").read_text(encoding="utf-8"))
    return [path for path, text in files.items() if not _holds(root / path, text)]


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def main(arguments: Sequence[str]) -> int:
    """Write the files that drifted, or with `--check` only name them (exit 1)."""
    stale = drifted()
    if list(arguments) == ["--check"]:
        for path in stale:
            sys.stderr.write(f"error: {path} is not what the command tree gives\n")
        if stale:
            sys.stderr.write("hint: run 'python -m tpctl.cli.docgen' and commit what it writes\n")
        return 1 if stale else 0
    if arguments:
        sys.stderr.write("error: unknown arguments\nhint: give --check, or nothing\n")
        return ExitCode.USAGE
    files = generated((ROOT / "README.md").read_text(encoding="utf-8"))
    for path in stale:
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(files[path], encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
