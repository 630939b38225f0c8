"""The first word with the exchange: a start during a ban or a pause obeys it, as a running watch does.

A process that was started again knows nothing of a ban, and whatever asks on during one makes it longer, from two
minutes to three days (binance-usdm 2.3). So the first request is the only one until the exchange takes it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tpctl.exits.errors import RateLimitedError
from tpctl.exits.units import Millis

T = TypeVar("T")

# Our clock and the exchange's are not compared yet.
_MARGIN_MS = 1_000


async def when_allowed(ask: Callable[[], Awaitable[T]], held_up: Callable[[RateLimitedError, Millis], None]) -> T:
    """Return the first answer, after as many pauses as the exchange asks for.

    `held_up` is told of each with its reason and its length in ms. Raises `RateLimitedError` where no length is named,
    and whatever else `ask` raises.
    """
    while True:
        try:
            return await ask()
        except RateLimitedError as error:
            if error.retry_after_ms is None:
                raise
            pause = error.retry_after_ms + _MARGIN_MS
            held_up(error, pause)
        await asyncio.sleep(pause / 1000)
