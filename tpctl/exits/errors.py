"""The error tree: every failure a user can meet, with its hint and its exit code.

TpctlError
  UsageError            2   the command line asks for something impossible
  ConfigError          10   the configuration file is wrong
  CredentialsError     11   keys missing, refused or too powerful
  UnavailableError     12   the exchange cannot be reached
  RateLimitedError     13   the exchange asked us to wait
  ExchangeRejected     14   the exchange refused, definitively
  StateFileError       15   a state file is damaged, newer or not writable
  LockedError          16   another process holds the account
  InputsError          17   inputs are missing, stale or refused
  NotArmedError        18   orders were asked for without arming, or HALT is set
  PartialError         19   part of the work was done
  EmptyError           25   there is nothing to show

The same table is printed by the man page and the README; a test holds them equal.
"""

from enum import IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """Process exit codes, stable for scripts."""

    OK = 0
    BUG = 1
    USAGE = 2
    CONFIG = 10
    CREDENTIALS = 11
    UNAVAILABLE = 12
    RATE_LIMITED = 13
    REJECTED = 14
    STATE_FILE = 15
    LOCKED = 16
    INPUTS = 17
    NOT_ARMED = 18
    PARTIAL = 19
    CHECK_WARNING = 20
    CHECK_CRITICAL = 21
    CHANGES_DUE = 22
    NOT_PLACEABLE = 23
    RETRAIN_DUE = 24
    EMPTY = 25
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143


EXIT_CODE_MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "success",
    ExitCode.BUG: "a bug in tpctl",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.CONFIG: "the configuration is wrong",
    ExitCode.CREDENTIALS: "credentials are missing, refused or too powerful",
    ExitCode.UNAVAILABLE: "the exchange is unavailable",
    ExitCode.RATE_LIMITED: "the exchange limits our rate",
    ExitCode.REJECTED: "the exchange rejected the request",
    ExitCode.STATE_FILE: "a state file is damaged, newer or not writable",
    ExitCode.LOCKED: "another watch holds the account",
    ExitCode.INPUTS: "inputs are missing, stale or refused",
    ExitCode.NOT_ARMED: "not armed, or HALT is set",
    ExitCode.PARTIAL: "part of the work was done",
    ExitCode.CHECK_WARNING: "with --check: warning",
    ExitCode.CHECK_CRITICAL: "with --check: critical",
    ExitCode.CHANGES_DUE: "with --check: changes are due",
    ExitCode.NOT_PLACEABLE: "the value cannot be placed",
    ExitCode.RETRAIN_DUE: "with --check: retraining is due",
    ExitCode.EMPTY: "nothing to show",
    ExitCode.INTERRUPTED: "interrupted (SIGINT)",
    ExitCode.PIPE_CLOSED: "the output pipe was closed (SIGPIPE)",
    ExitCode.TERMINATED: "terminated (SIGTERM)",
}


class TpctlError(Exception):
    """A failure a user can act on: one line what happened, one line what to do."""

    exit_code: ClassVar[ExitCode] = ExitCode.BUG
    kind: ClassVar[str] = "bug"

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the way from one process to another whole."""
        return _raised, (type(self), self.args, vars(self))


def _raised(kind: type[TpctlError], args: tuple[Any, ...], parts: dict[str, Any]) -> TpctlError:
    error = kind.__new__(kind, *args)
    vars(error).update(parts)
    return error


class UsageError(TpctlError):
    """The command line asks for something impossible."""

    exit_code = ExitCode.USAGE
    kind = "usage"


class ConfigError(TpctlError):
    """The configuration file is wrong."""

    exit_code = ExitCode.CONFIG
    kind = "config"


class CredentialsError(TpctlError):
    """Keys are missing, refused or can do more than they should."""

    exit_code = ExitCode.CREDENTIALS
    kind = "credentials"


class UnavailableError(TpctlError):
    """The exchange cannot be reached, or a read failed for good."""

    exit_code = ExitCode.UNAVAILABLE
    kind = "unavailable"


class RateLimitedError(TpctlError):
    """The exchange asked us to wait."""

    exit_code = ExitCode.RATE_LIMITED
    kind = "rate_limited"

    def __init__(self, message: str, hint: str, retry_after_ms: int | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after_ms = retry_after_ms


class ExchangeRejected(TpctlError):  # noqa: N818 - reads as the fact it states
    """The exchange refused the request definitively; `code` is its error code."""

    exit_code = ExitCode.REJECTED
    kind = "rejected"

    def __init__(self, message: str, hint: str, code: int) -> None:
        super().__init__(message, hint)
        self.code = code


class StateFileError(TpctlError):
    """A state file is damaged, written by a newer version, or not writable."""

    exit_code = ExitCode.STATE_FILE
    kind = "state_file"


class LockedError(TpctlError):
    """Another process holds the account."""

    exit_code = ExitCode.LOCKED
    kind = "locked"


class InputsError(TpctlError):
    """Inputs are missing, stale, malformed or refused."""

    exit_code = ExitCode.INPUTS
    kind = "inputs"


class NotArmedError(TpctlError):
    """Orders were asked for without arming, or HALT is set."""

    exit_code = ExitCode.NOT_ARMED
    kind = "not_armed"


class PartialError(TpctlError):
    """Part of the work was done; the message says which part was not."""

    exit_code = ExitCode.PARTIAL
    kind = "partial"


class EmptyError(TpctlError):
    """There is nothing to show."""

    exit_code = ExitCode.EMPTY
    kind = "empty"
