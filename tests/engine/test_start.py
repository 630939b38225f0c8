"""A start during a ban: one request, then silence until it is over."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tpctl.engine.start import when_allowed
from tpctl.exits.errors import RateLimitedError, UnavailableError
from tpctl.exits.units import Millis
from tpctl.rehearsal.loop import VirtualLoop, run


def refusing(loop: VirtualLoop, until_s: float, asked: list[float]) -> Callable[[], Awaitable[str]]:
    """Return a read that is refused until a time, and notes when it was asked."""

    async def ask() -> str:
        asked.append(loop.time())
        left = until_s - loop.time()
        if left > 0:
            raise RateLimitedError("banned", "wait", retry_after_ms=round(left * 1000))
        return "one-way"

    return ask


def test_a_ban_is_waited_out_with_one_request() -> None:
    loop, asked, told = VirtualLoop(), list[float](), list[Millis]()
    answer = run(when_allowed(refusing(loop, 240.0, asked), lambda _, pause: told.append(pause)), loop)

    assert (answer, asked, told) == ("one-way", [0.0, 241.0], [241_000])


def test_a_ban_that_became_longer_is_waited_out_again() -> None:
    loop, asked = VirtualLoop(), list[float]()
    first = refusing(loop, 120.0, asked)
    longer = refusing(loop, 600.0, asked)

    async def ask() -> str:
        return await (first if not asked else longer)()

    assert run(when_allowed(ask, lambda *_: None), loop) == "one-way"
    assert asked == [0.0, 121.0, 601.0]


@pytest.mark.parametrize(
    "error", [RateLimitedError("full", "wait"), UnavailableError("no answer", "check the network")]
)
def test_what_names_no_end_is_not_waited_for(error: Exception) -> None:
    async def ask() -> str:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(type(error)):
        run(when_allowed(ask, lambda *_: None), VirtualLoop())
