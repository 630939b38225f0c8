"""The options commands share, declared once, and how values are spelled on a command line.

A value that cannot be read is a `UsageError` that names the value and shows how it is written. Nothing here touches
files, the clock or the exchange.
"""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from typer._click import Context
from typer.core import TyperCommand

from tpctl.exits.errors import EXIT_CODE_MEANINGS, ExitCode, InputsError, UsageError
from tpctl.exits.units import Millis, Ratio, parse_decimal

HELP_NAMES = {"help_option_names": ["-h", "--help"]}


class Command(TyperCommand):
    """A command whose help options keep one order (Click's own comes from a set)."""

    def get_help_option_names(self, ctx: Context) -> list[str]:
        """Return the help options as the context lists them."""
        return list(ctx.help_option_names)


class ColorMode(StrEnum):
    """When to use colour."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def colored(mode: ColorMode) -> bool:
    """Whether stdout takes colour."""
    if mode is not ColorMode.AUTO:
        return mode is ColorMode.ALWAYS
    if not sys.stdout.isatty():
        return False
    from tpctl.views.streams import detect

    return detect(sys.stdout, sys.stderr, mode).color


class Format(StrEnum):
    """How the result is written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class SharedOptions:
    """What every command takes. `profile` is None where the default profile applies."""

    profile: str | None = None
    config: Path | None = None
    state_dir: Path | None = None
    quiet: bool = False
    verbose: bool = False
    color: ColorMode = ColorMode.AUTO
    no_input: bool = False

    def __post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise UsageError("--quiet and --verbose contradict each other", "give one of them")


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast recorded or synthetic time runs against the wall clock; None is as fast as the machine allows."""

    factor: Decimal | None


@dataclass(frozen=True, slots=True)
class Entries:
    """Where the positions of a simulated account come from: a rate (per hour of market time), a file, or nowhere.

    At most one of `per_hour` and `file` is set; neither means none.
    """

    per_hour: Decimal | None = None
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """One command line that runs as it stands, and what it is for."""

    command: str
    purpose: str


def epilog(examples: tuple[Example, ...], codes: tuple[ExitCode, ...]) -> str:
    """Return the end of a command's help: its examples, and the exit codes it can end with."""
    lines = ["\b", "Examples:"]
    for example in examples:
        lines += [f"  # {example.purpose}", f"  {example.command}"]
    lines += ["", "\b", "Exit status:"]
    lines += [f"  {code.value:>3}  {EXIT_CODE_MEANINGS[code]}" for code in codes]
    lines += ["", "All exit codes: 'man tpctl', EXIT STATUS."]
    return "\n".join(lines)


def parse_ratio(text: str) -> Ratio:
    """Read `2.5%` or `250bps`."""
    try:
        return Ratio.parse(text, "ratio")
    except InputsError as error:
        raise UsageError(error.message, error.hint) from None


def parse_number(text: str) -> Decimal:
    """Read a plain decimal."""
    try:
        return parse_decimal(text, "value")
    except InputsError as error:
        raise UsageError(error.message, error.hint) from None


def parse_confidence(text: str) -> Decimal:
    """Read a confidence between 0 and 1."""
    value = parse_number(text)
    if not 0 <= value <= 1:
        raise UsageError(f"confidence {text!r} is not between 0 and 1", "write 0.85, not 85")
    return value


def parse_volatility(text: str) -> Ratio:
    """Read a daily volatility, above zero."""
    value = parse_ratio(text)
    if value.fraction <= 0:
        raise UsageError(f"volatility {text!r} is not above zero", "write the daily deviation of returns, such as 2.5%")
    return value


def parse_speed(text: str) -> Speed:
    """Read a speed: a factor above zero, or `max`."""
    if text.strip().lower() == "max":
        return Speed(None)
    try:
        factor = parse_decimal(text.strip().removesuffix("x"), "speed")
    except InputsError:
        factor = Decimal(0)
    if factor <= 0:
        raise UsageError(f"speed {text!r} is not a factor above zero", "write 60 for sixty times real time, or max")
    return Speed(factor)


_ENTRIES_HINT = "write a rate such as 4/h or 30/d of market time, a file of entries, or none"
_HOURS = {"m": Decimal(1) / 60, "h": Decimal(1), "d": Decimal(24)}


def parse_entries(text: str) -> Entries:
    """Read where simulated positions come from: `4/h`, `30/d`, `none`, or a file."""
    stripped = text.strip()
    if stripped.lower() == "none":
        return Entries()
    count, slash, unit = stripped.partition("/")
    if slash and unit in _HOURS:
        try:
            rate = parse_decimal(count, "rate")
        except InputsError:
            rate = Decimal(0)
        if rate <= 0:
            raise UsageError(f"rate {text!r} is not above zero", _ENTRIES_HINT)
        return Entries(per_hour=rate / _HOURS[unit])
    path = Path(stripped)
    if path.is_file():
        return Entries(file=path)
    raise UsageError(f"entries {text!r} is neither a rate nor a file", _ENTRIES_HINT)


def parse_seed(text: str) -> int:
    """Read a seed: a whole number from 0."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise UsageError(f"seed {text!r} is not a whole number", "write a number from 0 on, such as 7")
    return int(text)


def parse_port(text: str) -> int:
    """Read a TCP port."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65_535):
        raise UsageError(f"port {text!r} is not one", "write a number from 1 to 65535, or 0 for a free one")
    return int(text)


def parse_length(text: str) -> Millis:
    """Read a duration such as `10m` or `1h30m`, above zero, in milliseconds."""
    from tpctl.settings.values import parse_duration

    try:
        length = parse_duration(text, "duration")
    except InputsError as error:
        raise UsageError(error.message, error.hint) from None
    if length == 0:
        raise UsageError(f"duration {text!r} is not above zero", "write 30s, 10m, 1h30m or 2d")
    return length


def parse_instant(text: str) -> Millis:
    """Read a date (midnight UTC) or an RFC 3339 time, in milliseconds UTC."""
    stripped = text.strip()
    hint = "write a date such as 2025-02-03, or a time such as 2025-02-03T01:30:00Z"
    try:
        moment = datetime.fromisoformat(stripped)
    except ValueError:
        raise UsageError(f"time {text!r} is neither a date nor an RFC 3339 time", hint) from None
    if moment.tzinfo is None:
        if "T" in stripped or ":" in stripped:
            raise UsageError(f"time {text!r} has no zone", f"write {stripped}Z for UTC")
        moment = moment.replace(tzinfo=UTC)
    since_epoch = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since_epoch.days * 86_400 + since_epoch.seconds) * 1000 + since_epoch.microseconds // 1000


def parse_url(text: str) -> str:
    """Read the address of a served twin; only this machine is allowed."""
    from urllib.parse import urlsplit

    hint = "write the address 'tpctl venue' printed, such as http://127.0.0.1:8790"
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise UsageError(f"address {text!r} cannot be read", hint) from None
    if parts.scheme != "http" or port is None or parts.path.strip("/") or parts.query:
        raise UsageError(f"address {text!r} is not that of a twin", hint)
    if parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
        raise UsageError(f"address {text!r} is not on this machine", hint)
    return text.strip().rstrip("/")


def existing_files(paths: list[Path] | None, what: str) -> tuple[Path, ...]:
    """Return the paths, each of which must be a file; raises `InputsError` otherwise."""
    for path in paths or ():
        if not path.is_file():
            raise InputsError(f"{what} file {str(path)!r} does not exist", "check the path")
    return tuple(paths or ())


def existing_recordings(paths: list[Path] | None, what: str) -> tuple[Path, ...]:
    """Return the paths, each of which must be a file or a folder of files; raises `InputsError` otherwise."""
    folders = [path for path in paths or () if path.is_dir()]
    existing_files([path for path in paths or () if path not in folders], what)
    return tuple(paths or ())


def parse_listed(text: str) -> str:
    """Return the list, or that of the file `@FILE` names: entries by line or comma, `#` starts a comment."""
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    existing_files([path], "list")
    try:
        rows = [row.partition("#")[0].strip().strip(",") for row in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise InputsError(f"list file {str(path)!r} is not text", "give one entry a line") from error
    found = ",".join(row for row in rows if row)
    if not found:
        raise InputsError(f"list file {str(path)!r} holds no entry", "give one entry a line")
    return found


def window(since: Millis | None, until: Millis | None) -> None:
    """Check that a time window is not empty."""
    if since is not None and until is not None and until <= since:
        raise UsageError("--until is not after --from", "give a later --until")


ProfileOption = Annotated[
    str | None,
    typer.Option("-p", "--profile", metavar="NAME", help="Profile to use.  [default: sim]"),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="Configuration file, instead of the default one."),
]
StateDirOption = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="DIR", help="Directory of the journal, the lock and HALT."),
]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="Print less.")]
VerboseOption = Annotated[bool, typer.Option("-v", "--verbose", help="Print more; on a bug, print the traceback.")]
ColorOption = Annotated[ColorMode, typer.Option("--color", help="When to use colour; auto honours NO_COLOR.")]
NoInputOption = Annotated[bool, typer.Option("--no-input", help="Never ask; fail where an answer is needed.")]
TimeoutOption = Annotated[
    Millis | None,
    typer.Option("--timeout", metavar="DURATION", parser=parse_length, help="How long to wait.  [default: 10s]"),
]
ArmOption = Annotated[bool, typer.Option("--arm", help="Send orders; outside sim nothing is sent without it.")]
ConfirmOption = Annotated[
    str | None,
    typer.Option("--confirm", metavar="PROFILE", help="Repeat the profile's name; live needs it to arm."),
]
TwinOption = Annotated[
    str | None,
    typer.Option("--venue", metavar="URL", parser=parse_url, help="Use the twin 'tpctl venue' serves at URL."),
]
MarketOption = Annotated[
    list[Path] | None,
    typer.Option("--market", metavar="FILE", help="Recorded market to run on; repeatable.  [default: synthetic]"),
]
FromOption = Annotated[
    Millis | None,
    typer.Option("--from", metavar="TIME", parser=parse_instant, help="Start of the recording: date or RFC 3339."),
]
UntilOption = Annotated[
    Millis | None,
    typer.Option("--until", metavar="TIME", parser=parse_instant, help="End of the recording: date or RFC 3339."),
]
SpeedOption = Annotated[
    Speed | None,
    typer.Option("--speed", metavar="N|max", parser=parse_speed, help="Market time per wall time.  [default: 300]"),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", parser=parse_seed, help="Seed of the synthetic market: one seed, one story."),
]
EntriesOption = Annotated[
    Entries | None,
    typer.Option(
        "--entries",
        metavar="RATE|FILE|none",
        parser=parse_entries,
        help="Positions the simulated account opens: 4/h or 30/d of market time, a file, or none.",
    ),
]
