"""What can be wrong with an account before anything is guarded: each check by itself, with a verdict and a way out.

Reads only. What cannot be checked is said to be skipped, with the reason; it is never taken for good. The exit code is
that of the first thing that is wrong.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from tpctl.exits.errors import ExitCode, TpctlError
from tpctl.exits.instrument import Unavailable
from tpctl.exits.model import Book, LiveOrder, PositionMode
from tpctl.exits.units import Millis
from tpctl.ports import KeyRights

# binance-usdm 2.1: a request stamped more than a second ahead is refused, whatever recvWindow says.
_SKEW_LIMIT_MS = 1_000
_SKEW_NOTABLE_MS = 250
# reliability F2: conditional orders over all symbols.
CONDITIONAL_LIMIT = 200
# A ladder of three with its two stops, and room to place new before old.
_HEADROOM = 20
_DAY_MS = 86_400_000
# What only a key can ask.
_SIGNED = ("permissions", "position mode", "algo endpoint", "headroom")


T = TypeVar("T")


class Verdict(StrEnum):
    """What a check found."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `hint` is what to do where it is not ok, `code` what an error makes the command exit with."""

    name: str
    verdict: Verdict
    text: str
    hint: str | None = None
    code: ExitCode | None = None


class Account(Protocol):
    """The reads a doctor needs."""

    async def server_time(self) -> Millis:
        """Return the exchange's clock."""
        ...

    async def position_mode(self) -> PositionMode:
        """Return one-way or hedge."""
        ...

    async def key_rights(self) -> KeyRights | Unavailable:
        """Return what the key may do."""
        ...

    async def open_orders(self, symbol: str | None = None) -> tuple[LiveOrder, ...]:
        """Return the open orders of both books."""
        ...


def ok(name: str, text: str) -> Check:
    """Return a check that found nothing wrong."""
    return Check(name, Verdict.OK, text)


def failed(name: str, error: TpctlError) -> Check:
    """Return the check of something that raised."""
    return Check(name, Verdict.ERROR, error.message, error.hint, error.exit_code)


def exit_code(checks: Sequence[Check]) -> ExitCode:
    """Return the code of the first error, 0 where there is none."""
    return next((check.code for check in checks if check.verdict is Verdict.ERROR and check.code), ExitCode.OK)


async def examine(account: Account, local: Callable[[], Awaitable[Millis]], keys: Check) -> list[Check]:
    """Check reachability, clock, keys, rights, position mode and both order books; `keys` is what is known of keys.

    `local` is the clock to compare the exchange's with.
    """
    began = asyncio.get_running_loop().time()
    try:
        before = await local()
        server = await account.server_time()
        after = await local()
    except TpctlError as error:
        return [failed("reachability", error), keys, *_skipped("the exchange cannot be reached", "clock", *_SIGNED)]
    took = round((asyncio.get_running_loop().time() - began) * 1000)
    found = [ok("reachability", f"the exchange answers in {took} ms"), clock(server, before, after), keys]
    if keys.verdict is Verdict.ERROR:
        return [*found, *_skipped("there are no keys to ask with", *_SIGNED)]
    found.append(await _asked("permissions", account.key_rights(), _permissions))
    found.append(await _asked("position mode", account.position_mode(), lambda mode: ok("position mode", mode.value)))
    try:
        orders = await account.open_orders()
    except TpctlError as error:
        return [*found, failed("algo endpoint", error), Check("headroom", Verdict.SKIPPED, "the orders are not known")]
    algo = sum(order.book is Book.ALGO for order in orders)
    return [*found, ok("algo endpoint", f"answers, {algo} conditional orders rest"), headroom(algo)]


def _skipped(why: str, *names: str) -> list[Check]:
    return [Check(name, Verdict.SKIPPED, why) for name in names]


async def _asked(name: str, read: Awaitable[T], judge: Callable[[T], Check]) -> Check:
    try:
        return judge(await read)
    except TpctlError as error:
        return failed(name, error)


def clock(server: Millis, before: Millis, after: Millis) -> Check:
    """Judge the exchange's clock, read between two readings of ours; only what lies outside of both is a skew."""
    skew = max(0, server - after) or min(0, server - before)
    if skew == 0:
        return ok("clock", f"the exchange's clock agrees with this machine's, within {after - before} ms")
    way = "ahead of" if skew > 0 else "behind"
    text = f"the exchange's clock is {abs(skew)} ms {way} this machine's"
    hint = "keep the clock by NTP: timedatectl set-ntp true"
    if abs(skew) >= _SKEW_LIMIT_MS:
        return Check("clock", Verdict.ERROR, text, hint, ExitCode.INPUTS)
    if abs(skew) >= _SKEW_NOTABLE_MS:
        return Check("clock", Verdict.WARNING, text, hint)
    return ok("clock", text)


def _permissions(rights: KeyRights | Unavailable) -> Check:
    if isinstance(rights, Unavailable):
        return Check("permissions", Verdict.SKIPPED, f"not checked: {rights.reason}")
    if rights.moves_funds:
        return Check(
            "permissions",
            Verdict.ERROR,
            "the API key can withdraw or transfer funds",
            "make a key with futures trading only, bound to this address",
            ExitCode.CREDENTIALS,
        )
    if not rights.trades_futures:
        return Check(
            "permissions",
            Verdict.ERROR,
            "the API key cannot trade futures",
            "enable futures for the key; without it nothing can be guarded",
            ExitCode.CREDENTIALS,
        )
    if not rights.bound_to_ip:
        return Check(
            "permissions", Verdict.WARNING, "the API key is not bound to an address", "restrict it to this machine's"
        )
    return ok("permissions", "futures trading only, bound to an address")


def headroom(used: int) -> Check:
    """Judge how much room the exchange's limit of conditional orders leaves."""
    left = CONDITIONAL_LIMIT - used
    text = f"{left} of {CONDITIONAL_LIMIT} conditional orders are left"
    if left <= 0:
        return Check("headroom", Verdict.ERROR, text, "cancel orders no position needs", ExitCode.INPUTS)
    if left < _HEADROOM:
        return Check("headroom", Verdict.WARNING, text, "cancel orders no position needs; a stop needs room to move")
    return ok("headroom", text)


def rules_age(age_ms: Millis | None, shown: str) -> Check:
    """Judge the age of the cached trading rules; None is "no cache"."""
    if age_ms is None:
        return Check("filters", Verdict.SKIPPED, "no trading rules are cached; they are fetched when they are needed")
    if age_ms > _DAY_MS:
        return Check("filters", Verdict.WARNING, f"the cached trading rules are {shown} old", "tpctl plan renews them")
    return ok("filters", f"the cached trading rules are {shown} old")
