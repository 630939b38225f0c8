"""The yardstick of `bench_quantize`: a Typer app with the options of `tpctl quantize` that does nothing with them."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class Side(StrEnum):
    """Choices of --side."""

    LONG = "long"
    SHORT = "short"


class Role(StrEnum):
    """Choices of --for."""

    TP = "tp"
    STOP = "stop"
    LIMIT = "limit"
    MARKET = "market"


class Round(StrEnum):
    """Choices of --round."""

    DOWN = "down"
    UP = "up"
    NEAREST = "nearest"


class Format(StrEnum):
    """Choices of --format."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PLAIN = "plain"


class Color(StrEnum):
    """Choices of --color."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


Text = Annotated[str | None, typer.Option()]
Texts = Annotated[list[str] | None, typer.Option()]
Flag = Annotated[bool, typer.Option()]


@app.callback()
def root(version: Flag = False) -> None:
    """Be a group, as tpctl is one."""


@app.command()
def quantize(  # noqa: PLR0917 - one parameter per option
    symbol: Annotated[str | None, typer.Argument()] = None,
    price: Texts = None,
    stop_price: Texts = None,
    qty: Texts = None,
    side: Annotated[Side | None, typer.Option()] = None,
    role: Annotated[Role | None, typer.Option("--for")] = None,
    direction: Annotated[Round | None, typer.Option("--round")] = None,
    mark: Text = None,
    rules: Text = None,
    refresh: Flag = False,
    offline: Flag = False,
    max_age: Text = None,
    show_rules: Flag = False,
    stdin: Flag = False,
    raw: Flag = False,
    strict: Flag = False,
    output: Annotated[Format | None, typer.Option("--format")] = None,
    json: Flag = False,
    fields: Text = None,
    profile: Annotated[str | None, typer.Option("-p", "--profile")] = None,
    config: Annotated[str | None, typer.Option("-c", "--config")] = None,
    state_dir: Text = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose")] = False,
    color: Annotated[Color, typer.Option()] = Color.AUTO,
    no_input: Flag = False,
) -> None:
    """Print what was given."""
    sys.stdout.write(f"{locals()}\n")


if __name__ == "__main__":
    app()
