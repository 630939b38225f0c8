"""Fetches exchangeInfo and leverage brackets as the exchange wrote them, for the rule book to cache.

Decides nothing about them. Rules are public; brackets need keys and are left out without them.
"""

from tpctl.adapters.binance.budget import Budget, Lane
from tpctl.adapters.binance.clock import ExchangeClock
from tpctl.adapters.binance.endpoints import Endpoints
from tpctl.adapters.binance.wire import Wire
from tpctl.adapters.rulebook import Fetched
from tpctl.adapters.secrets import Secret


async def fetch_rules(endpoints: Endpoints, *, key: Secret | None = None, secret: Secret | None = None) -> Fetched:
    """Return the exchange's rules and, with keys, the account's brackets.

    Raises `UnavailableError`, `RateLimitedError` and, for keys that are refused, `CredentialsError`.
    """
    clock = ExchangeClock()
    wire = Wire(endpoints, clock, Budget(clock), key=key, secret=secret)
    try:
        rules = await wire.read(
            lambda client: client.futures_exchange_info(),
            "the trading rules",
            weight=1,
            lane=Lane.ROUTINE,
            signed=False,
        )
        brackets = None
        if key is not None and secret is not None:
            brackets = await wire.read(
                lambda client: client.futures_leverage_bracket(), "the leverage brackets", weight=1, lane=Lane.ROUTINE
            )
        return Fetched(rules, brackets, clock.now())
    finally:
        await wire.close()
