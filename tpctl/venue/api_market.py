"""REST semantics of the public side: rules, prices, funding, limits (binance-usdm 5.1). Reads only."""

from decimal import Decimal

from tpctl.venue.core import Core
from tpctl.venue.params import Params
from tpctl.venue.requests import read_symbol
from tpctl.venue.rulebook import SymbolRules
from tpctl.venue.wire import Payload, fixed, price_text, quantity_text

_BOOK_NOTIONAL = 50_000


def exchange_info(core: Core, _params: Params) -> Payload:
    """GET exchangeInfo: the rule book as it was read; `symbol` is ignored, as on the exchange."""
    return core.rules.exchange_info | {"serverTime": core.now}


def leverage_bracket(core: Core, params: Params) -> list[Payload] | Payload:
    """GET leverageBracket: a bare object with `symbol`, a list without."""
    if params.get("symbol"):
        symbol = read_symbol(core, params).symbol
        return core.rules.brackets.get(symbol, {"symbol": symbol, "brackets": []})
    return list(core.rules.brackets.values())


def _quoted(core: Core) -> list[SymbolRules]:
    return [core.rules.symbols[symbol] for symbol in core.last if symbol in core.rules.symbols]


def _one_or_all(core: Core, params: Params) -> tuple[list[SymbolRules], bool]:
    """Return the symbols asked for and whether just one was; -1122 for one without a market."""
    if not params.get("symbol"):
        return _quoted(core), False
    rules = read_symbol(core, params)
    core.priced(rules.symbol)
    return [rules], True


def premium_index(core: Core, params: Params) -> list[Payload] | Payload:
    """GET premiumIndex. The twin's index price is its mark price."""
    chosen, single = _one_or_all(core, params)
    rows = [
        {
            "symbol": rules.symbol,
            "markPrice": fixed(core.mark[rules.symbol]),
            "indexPrice": fixed(core.mark[rules.symbol]),
            "estimatedSettlePrice": fixed(core.mark[rules.symbol]),
            "lastFundingRate": fixed(core.funding_rate(rules.symbol)),
            "interestRate": "0.00010000",
            "nextFundingTime": core.next_funding,
            "time": core.now,
        }
        for rules in chosen
    ]
    return rows[0] if single else rows


def ticker_price(core: Core, params: Params) -> list[Payload] | Payload:
    """GET ticker/price."""
    chosen, single = _one_or_all(core, params)
    rows = [
        {"symbol": rules.symbol, "price": price_text(rules, core.last[rules.symbol]), "time": core.now}
        for rules in chosen
    ]
    return rows[0] if single else rows


def book_ticker(core: Core, params: Params) -> list[Payload] | Payload:
    """GET ticker/bookTicker: the prices a small market order meets; the quantities stand for a fixed notional."""
    chosen, single = _one_or_all(core, params)
    rows = []
    for rules in chosen:
        size = quantity_text(rules, Decimal(_BOOK_NOTIONAL) / core.last[rules.symbol])
        rows.append(
            {
                "symbol": rules.symbol,
                "bidPrice": price_text(rules, core.touch(rules, buy=False)),
                "bidQty": size,
                "askPrice": price_text(rules, core.touch(rules, buy=True)),
                "askQty": size,
                "time": core.now,
                "lastUpdateId": core.now,
            }
        )
    return rows[0] if single else rows


def funding_info(_core: Core, _params: Params) -> list[Payload]:
    """GET fundingInfo: empty, every symbol settles at the standard eight hours."""
    return []


def rate_limit_order(core: Core, _params: Params) -> list[Payload]:
    """GET rateLimit/order: the order limits of the rule book."""
    limits = [row for row in core.rules.exchange_info["rateLimits"] if row["rateLimitType"] == "ORDERS"]
    return sorted(limits, key=lambda row: -len(row["interval"]))
