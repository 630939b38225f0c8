"""Which pace a twin is served at, which it says at /twin/v1/status."""

import os
from dataclasses import dataclass

import aiohttp
import msgspec

from tpctl.adapters.streams.feed import MARKET_STALE_S
from tpctl.exits.errors import UnavailableError
from tpctl.exits.units import Millis

_STATUS_PATH = "/twin/v1/status"
_TIMEOUT = aiohttp.ClientTimeout(total=5)
_START_IT = "start one with `tpctl venue`, or check its address"


@dataclass(frozen=True, slots=True)
class TwinStatus:
    """A twin's event time and pace. `speed` is event ms per real ms; None is step by step, as fast as we follow.

    `rights` is whether it tells what the key may do.
    """

    now: Millis
    speed: float | None
    rights: bool = False

    @property
    def lockstep(self) -> bool:
        """Whether the twin waits for its reader, so that a `LockstepFeed` must read it."""
        return self.speed is None

    @property
    def stale_s(self) -> float:
        """How long a live feed should believe this twin's silence: longer where its market crawls."""
        return MARKET_STALE_S / min(1.0, self.speed or 1.0)


class _Status(msgspec.Struct):
    now: int
    speed: float | str
    rights: bool = False


async def discover(url: str) -> TwinStatus:
    """Ask the twin at an http address for its pace; raises `UnavailableError` where there is no twin."""
    try:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT) as session,
            session.get(url.rstrip("/") + _STATUS_PATH, allow_redirects=False) as response,
        ):
            status = response.status
            body = await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number).lower() if number else type(error).__name__
    else:
        if status == 200:
            return _parsed(url, body)
        reason = f"HTTP {status}"
    raise UnavailableError(f"no twin answers at {url!r}: {reason}", _START_IT)


def _parsed(url: str, body: bytes) -> TwinStatus:
    try:
        found = msgspec.json.decode(body, type=_Status)
        speed = None if found.speed == "max" else float(found.speed)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        speed = -1.0
        now, rights = 0, False
    else:
        now, rights = found.now, found.rights
    if speed is not None and not 0 < speed < 1e9:
        raise UnavailableError(f"what answers at {url!r} is no twin", _START_IT)
    return TwinStatus(now, speed, rights)
