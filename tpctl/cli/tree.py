"""The command tree as data: what man pages, completions and the README are generated from.

Walks the tree Typer builds (its Click is vendored, so tools that know Click see a tree without options).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import cleandoc

from typer._click import Command, Context
from typer._click.core import Parameter
from typer._types import TyperChoice

from tpctl.cli.main import ENTRIES, Entry, command_tree, load_command
from tpctl.cli.options import Example
from tpctl.exits.errors import ExitCode

_WIDTH = 80
_PROFILES = ("sim", "demo", "live")


@dataclass(frozen=True, slots=True)
class OptionDoc:
    """One option or argument. `words`, `files` and `folders` say what can complete its value."""

    names: tuple[str, ...]
    value: str
    help: str
    repeatable: bool
    words: tuple[str, ...]
    files: bool
    folders: bool


@dataclass(frozen=True, slots=True)
class CommandDoc:
    """One command, or the root (`name` empty)."""

    name: str
    section: str
    summary: str
    usage: str
    paragraphs: tuple[str, ...]
    arguments: tuple[OptionDoc, ...]
    options: tuple[OptionDoc, ...]
    examples: tuple[Example, ...]
    exit_codes: tuple[ExitCode, ...]
    help_text: str

    @property
    def path(self) -> str:
        """The command as it is typed."""
        return f"tpctl {self.name}".strip()


def describe() -> tuple[CommandDoc, tuple[CommandDoc, ...]]:
    """Return the root and its commands, in the order of the root help."""
    root = command_tree()
    ctx = root.make_context("tpctl", [], resilient_parsing=True, terminal_width=_WIDTH)
    top = _command(root, ctx, "", "", (), ())
    commands = []
    for name, entry in ENTRIES.items():
        command = load_command(entry)
        own = command.make_context(name, [], parent=ctx, resilient_parsing=True, terminal_width=_WIDTH)
        examples, codes = _extras(entry)
        commands.append(_command(command, own, name, entry.section, examples, codes))
    return top, tuple(commands)


def _extras(entry: Entry) -> tuple[tuple[Example, ...], tuple[ExitCode, ...]]:
    module = import_module(entry.module)
    return module.EXAMPLES, module.EXIT_CODES


def _command(
    command: Command,
    ctx: Context,
    name: str,
    section: str,
    examples: tuple[Example, ...],
    codes: tuple[ExitCode, ...],
) -> CommandDoc:
    paragraphs = tuple(" ".join(block.split()) for block in cleandoc(command.help or "").split("\n\n"))
    params = command.get_params(ctx)
    return CommandDoc(
        name=name,
        section=section,
        summary=paragraphs[0],
        usage=" ".join([ctx.command_path, *command.collect_usage_pieces(ctx)]),
        paragraphs=paragraphs[1:],
        arguments=_params(params, ctx, "argument"),
        options=_params(params, ctx, "option"),
        examples=examples,
        exit_codes=codes,
        help_text=command.get_help(ctx),
    )


def _params(params: Sequence[Parameter], ctx: Context, kind: str) -> tuple[OptionDoc, ...]:
    return tuple(_param(param, ctx) for param in params if param.param_type_name == kind)


def _param(param: Parameter, ctx: Context) -> OptionDoc:
    record = param.get_help_record(ctx)
    if record is None:
        raise ValueError(f"{param.opts} is hidden: every option is documented")
    flag = bool(getattr(param, "is_flag", False))
    value = "" if flag else param.make_metavar(ctx).strip("<>")
    choices = tuple(param.type.choices) if isinstance(param.type, TyperChoice) else ()
    parts = value.split("|")
    words = choices or tuple(part for part in parts if part.isalpha() and part.islower())
    if not words and value in {"NAME", "PROFILE"}:
        words = _PROFILES
    return OptionDoc(
        names=tuple(param.opts) if param.param_type_name == "option" else (),
        value=value,
        help=" ".join(record[1].split()),
        repeatable=bool(getattr(param, "multiple", False)) or param.nargs == -1,
        words=words,
        files="FILE" in parts,
        folders="DIR" in parts,
    )
