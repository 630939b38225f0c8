"""How a failure reaches the user: two lines on stderr and an exit code, in this one place.

`error: …` says what happened, `hint: …` what to do; under `--json` or `--jsonl` the error object of the JSON contract
follows as the last line. A bug writes its traceback to a private file, without local variables and with everything
that looks like a key or a signature taken out (I20).
"""

import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from itertools import pairwise
from typing import TextIO

from typer._click.exceptions import BadParameter, ClickException, MissingParameter, NoSuchOption
from typer._click.exceptions import UsageError as ClickUsageError
from typer._types import TyperChoice

from tpctl.exits.errors import RateLimitedError, TpctlError, UsageError

_OFFERED = re.compile(
    r"(?i)(signature|secret|api[_-]?key|x-mbx-apikey|listenkey|passphrase)(\W{1,5})[A-Za-z0-9+/=_\-]{6,}"
)
_QUOTED = re.compile(r"'([^']*)'")
_LONG_TOKEN = re.compile(r"[A-Za-z0-9+/_]{40,}={0,2}")


def report(error: Exception, args: Sequence[str], stream: TextIO | None = None) -> int:
    """Print `error` as the user should meet it and return the exit code; `args` is the command line it came from."""
    stream = sys.stderr if stream is None else stream
    if isinstance(error, TpctlError):
        known = error
    elif isinstance(error, ClickException):
        known = from_click(error, args)
    else:
        known = _from_bug(error, verbose=_asked(args, "-v", "--verbose"), stream=stream)
    text = f"error: {known.message}\nhint: {known.hint}\n"
    if _wants_json(args):
        from tpctl.views.machine import error_line

        text += error_line(known, known.retry_after_ms if isinstance(known, RateLimitedError) else None)
    with suppress(OSError):  # a terminal that is gone is told nothing; the exit code says it all the same
        stream.write(text)
        stream.flush()
    return known.exit_code


def from_click(error: ClickException, args: Sequence[str]) -> UsageError:
    """Turn a parser's complaint into our form: lower case, the value quoted, a hint that can be followed."""
    ctx = error.ctx if isinstance(error, ClickUsageError) else None
    command = " ".join(["tpctl", *args[:1]]) if args and args[0][:1].isalpha() else "tpctl"
    if ctx is not None:
        command = ctx.command_path
    see = f"'{command} --help' lists what it takes"
    if isinstance(error, NoSuchOption):
        near = get_close_matches(error.option_name, error.possibilities or (), n=1)
        hint = f"did you mean {near[0]}? {see}" if near else see
        return UsageError(f"no such option {error.option_name!r}", hint)
    if isinstance(error, MissingParameter):
        name = error.param.opts[0] if error.param is not None and error.param.opts else "an argument"
        return UsageError(f"{name!r} is missing", see)
    if isinstance(error, BadParameter) and error.param is not None and isinstance(error.param.type, TyperChoice):
        asked, choices = _QUOTED.search(error.message), list(error.param.type.choices)
        near = get_close_matches(asked.group(1) if asked else "", choices, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(choices)}"
        return UsageError(f"{error.param.opts[-1]} {asked.group() if asked else ''} is not one of its values", hint)
    text = error.format_message().strip().rstrip(".").removeprefix("Invalid value for ")
    return UsageError(text[:1].lower() + text[1:], see)


def redacted(text: str) -> str:
    """Return `text` without whatever looks like a key, a secret or a signature."""
    return _LONG_TOKEN.sub("***", _OFFERED.sub(r"\1\2***", text))


class _BugError(TpctlError):
    """Something tpctl did not expect: always our fault."""


def _from_bug(error: Exception, *, verbose: bool, stream: TextIO) -> TpctlError:
    import traceback

    text = redacted("".join(traceback.TracebackException.from_exception(error, capture_locals=False).format()))
    summary = redacted(f"{type(error).__name__}: {error}".splitlines()[0])
    if verbose:
        stream.write(text)
        return _BugError(f"unexpected {summary}", "this is a bug in tpctl: report it with the traceback above")
    try:
        path = _write_crash(text)
    except OSError as failure:
        stream.write(text)
        return _BugError(
            f"unexpected {summary}",
            f"this is a bug in tpctl: report it with the traceback above (no file was written: {failure.strerror})",
        )
    return _BugError(f"unexpected {summary}", f"this is a bug in tpctl: report it with the traceback in {path}")


def _write_crash(text: str) -> str:
    """Write a traceback to a new file only its owner can read, and return the path."""
    import tempfile
    from pathlib import Path

    import platformdirs

    folder = Path(platformdirs.user_state_dir("tpctl", appauthor=False)) / "crashes"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(prefix="crash-", suffix=".txt", dir=folder)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return name


def _asked(args: Sequence[str], *names: str) -> bool:
    """Whether one of the options stands on the command line; the parse that would tell may be what failed."""
    own = list(args)
    if "--" in own:
        own = own[: own.index("--")]
    return any(arg in names for arg in own)


def _wants_json(args: Sequence[str]) -> bool:
    formats = [after for before, after in pairwise(args) if before == "--format"]
    return _asked(args, "--json", "--jsonl", "--format=json", "--format=jsonl") or bool({"json", "jsonl"} & {*formats})
