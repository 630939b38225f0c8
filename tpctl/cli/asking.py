"""Asking the process that guards an account, instead of acting beside it: one owner for each position."""

import time
from collections.abc import Sequence

from tpctl.adapters.files import StateDir
from tpctl.adapters.lock import acquire
from tpctl.adapters.requests import RequestDesk
from tpctl.exits.errors import LockedError, NotArmedError, PartialError, UnavailableError
from tpctl.exits.model import PositionKey
from tpctl.exits.requests import Outcome, Request, RequestAnswer
from tpctl.exits.units import Millis

_UNANSWERED = frozenset({Outcome.WITHDRAWN, Outcome.EXPIRED})


def is_guarded(state_dir: StateDir) -> bool:
    """Whether a process holds the account's lock; raises `StateFileError` where the lock file is not ours."""
    try:
        acquire(state_dir.lock).release()
    except LockedError:
        return True
    return False


def ask_running(
    state_dir: StateDir, wanted: Sequence[tuple[PositionKey, Request]], source: str, timeout_ms: Millis
) -> list[RequestAnswer]:
    """File requests with the process that holds the lock; return their answers, in order, within `timeout_ms` in all.

    What it does not answer in time is taken back.
    """
    with RequestDesk.open(state_dir.journal) as desk:
        names = [desk.file(key, request, source, timeout_ms) for key, request in wanted]
        deadline = time.monotonic() + timeout_ms / 1000
        return [desk.wait(name, max(0, round((deadline - time.monotonic()) * 1000))) for name in names]


def check_answers(answers: Sequence[tuple[PositionKey, RequestAnswer]], timeout_ms: Millis) -> None:
    """Raise what the answers amount to: nobody answered, nothing is sent (shadow), or some were refused."""
    outcomes = {answer.outcome for _, answer in answers}
    if outcomes & _UNANSWERED:
        raise UnavailableError(
            f"the process that guards the account did not answer within {timeout_ms / 1000:g} s; "
            "the request was taken back",
            "see whether it is alive and its market moves, or give it longer with --timeout",
        )
    if Outcome.WITHHELD in outcomes:
        raise NotArmedError(
            "the watch that guards the account runs in shadow mode and sends nothing", "start it with --arm"
        )
    refused = [(key, answer) for key, answer in answers if answer.outcome is Outcome.REFUSED]
    if refused:
        key, answer = refused[0]
        raise PartialError(f"{len(refused)} of {len(answers)} requests were refused: {key}: {answer.text}", "see above")
