"""A trader's desk at the twin for the tests: short ways to move the market, place orders and read what came back."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.rulebook import builtin_rules
from tpctl.venue.venue import Venue, VenueError

# A quarter past an hour that is no funding time.
START = 1_700_000_100_000
BTC = "BTCUSDT"
XRP = "XRPUSDT"


class Desk:
    """The twin with a market in BTCUSDT at 50 000 and XRPUSDT at 0.5."""

    def __init__(self, **options: Any) -> None:
        self.venue = Venue(options.pop("rules", builtin_rules()), start_ms=START, **options)
        self.prices(BTCUSDT="50000", XRPUSDT="0.5")
        self.venue.user_events()

    def prices(self, at: int | None = None, **last: str) -> None:
        """Move last and mark together, a second later."""
        quotes = tuple(Quote(symbol, Decimal(price), Decimal(price)) for symbol, price in last.items())
        self.venue.step(MarketStep(at or self.venue.now + 1000, quotes))

    def price(self, last: str, mark: str | None = None, symbol: str = BTC) -> None:
        """Move one symbol, a second later."""
        self.venue.step(MarketStep(self.venue.now + 1000, (Quote(symbol, Decimal(last), Decimal(mark or last)),)))

    def long(self, quantity: str = "0.100", symbol: str = BTC, **options: Any) -> None:
        self.venue.open_position(symbol, "LONG", quantity=Decimal(quantity), **options)
        self.venue.user_events()

    def short(self, quantity: str = "0.100", symbol: str = BTC, **options: Any) -> None:
        self.venue.open_position(symbol, "SHORT", quantity=Decimal(quantity), **options)
        self.venue.user_events()

    def order(self, **params: str) -> dict[str, Any]:
        return self.venue.new_order({"symbol": BTC, "side": "SELL", "type": "MARKET"} | params)

    def limit(self, price: str, quantity: str = "0.010", **params: str) -> dict[str, Any]:
        return self.order(**({"type": "LIMIT", "timeInForce": "GTC", "price": price, "quantity": quantity} | params))

    def algo(self, kind: str, trigger: str, **params: str) -> dict[str, Any]:
        base = {
            "algoType": "CONDITIONAL",
            "symbol": BTC,
            "side": "SELL",
            "type": kind,
            "triggerPrice": trigger,
            "workingType": "MARK_PRICE",
        }
        return self.venue.new_algo_order({key: value for key, value in (base | params).items() if value})

    def stop(self, trigger: str, quantity: str = "0.100", **params: str) -> dict[str, Any]:
        return self.algo("STOP_MARKET", trigger, **({"quantity": quantity, "reduceOnly": "true"} | params))

    def take(self, trigger: str, quantity: str = "0.100", **params: str) -> dict[str, Any]:
        return self.algo("TAKE_PROFIT_MARKET", trigger, **({"quantity": quantity, "reduceOnly": "true"} | params))

    def closing(self, kind: str, trigger: str, **params: str) -> dict[str, Any]:
        return self.algo(kind, trigger, **({"closePosition": "true"} | params))

    def algo_state(self, client_id: str) -> Mapping[str, Any]:
        return self.venue.get_algo_order({"clientAlgoId": client_id})

    def amount(self, symbol: str = BTC, side: str = "BOTH") -> Decimal:
        return self.venue.core.account.holding(symbol, side).amount

    def story(self) -> list[str]:
        """Return the user events since the last call, each in a few words."""
        return [tell(event) for event in self.venue.user_events()]

    def refused(self, code: int) -> Any:
        """Expect the exchange's refusal `code`, recorded once, with nothing told to the user stream."""
        return _Refused(self.venue, code)


class _Refused:
    def __init__(self, venue: Venue, code: int) -> None:
        self._venue, self._code = venue, code
        self._raises = pytest.raises(VenueError)

    def __enter__(self) -> None:
        self._before = len(self._venue.rejected)
        self._venue.user_events()
        self._info = self._raises.__enter__()

    def __exit__(self, *exc: object) -> bool:
        handled = self._raises.__exit__(*exc)
        assert self._info.value.code == self._code, self._info.value
        assert [row.code for row in self._venue.rejected[self._before :]] == [self._code]
        assert self._venue.user_events() == []
        return bool(handled)


def tell(event: Mapping[str, Any]) -> str:
    """Return what an event says in a few words."""
    kind = event["e"]
    if kind == "ORDER_TRADE_UPDATE":
        body = event["o"]
        return f"order {body['c']} {body['x']} {body['X']} {body['z']}/{body['q']}"
    if kind == "ALGO_UPDATE":
        return f"algo {event['o']['caid']} {event['o']['X']}"
    if kind == "TRADE_LITE":
        return f"trade {event['c']} {event['l']}"
    if kind == "ACCOUNT_UPDATE":
        return f"account {event['a']['m']} " + " ".join(f"{p['s']}={p['pa']}" for p in event["a"]["P"])
    return str(kind)
