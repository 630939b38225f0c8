"""Which exchange a run talks to, as whom, by which addresses and in whose time. Composition only."""

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tpctl.adapters.secrets import Secret
from tpctl.exits.model import PositionMode
from tpctl.ports import Feed
from tpctl.settings.schema import Env

if TYPE_CHECKING:
    from tpctl.adapters.binance.clock import EventClock, ExchangeClock
    from tpctl.adapters.binance.endpoints import Endpoints
    from tpctl.adapters.streams.feed import ListenKeys


@dataclass(frozen=True, slots=True)
class Account:
    """Which exchange a run talks to and as whom. `embedded` is an account that ends with this process."""

    env: Env
    key: Secret
    secret: Secret
    url: str | None
    embedded: bool


@dataclass(frozen=True, slots=True)
class Link:
    """How an exchange is reached, and in whose time. A twin is read step by step, whatever its speed."""

    endpoints: "Endpoints"
    clock: "ExchangeClock | EventClock"

    @property
    def lockstep(self) -> bool:
        """Whether event time stands still between events."""
        from tpctl.adapters.binance.clock import EventClock

        return isinstance(self.clock, EventClock)

    def feed(self, keys: "ListenKeys", mode: PositionMode, wanted: Callable[[], Container[str]]) -> Feed:
        """Return the feed of this exchange; `wanted` tells whose marks are of interest."""
        from tpctl.adapters.binance.clock import EventClock
        from tpctl.adapters.streams.feed import LiveFeed
        from tpctl.adapters.streams.lockstep import LockstepFeed

        if isinstance(self.clock, EventClock):
            return LockstepFeed(self.endpoints.stream, self.clock, keys, mode=mode)
        return LiveFeed(self.endpoints.stream, self.clock, keys, mode=mode, wanted=wanted)


async def connect(account: Account) -> Link:
    """Choose addresses and clock of an account's exchange."""
    from tpctl.adapters.binance.clock import EventClock, ExchangeClock
    from tpctl.adapters.binance.endpoints import DEMO, LIVE, twin
    from tpctl.adapters.streams.discover import discover

    if account.url is None:
        return Link(LIVE if account.env is Env.LIVE else DEMO, ExchangeClock())
    status = await discover(account.url)
    return Link(twin(account.url, rights=status.rights), EventClock(status.now))
