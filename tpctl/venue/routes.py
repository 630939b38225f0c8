"""Which method answers which request, and what it costs (binance-usdm 2.3). A table; decides nothing.

Paths are without `/fapi/`. ping, time, klines, listenKey and everything else without an account is the server's.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from tpctl.venue.params import Params

Weight: TypeAlias = int | Callable[[Params], int]


class Route(NamedTuple):
    """The `Venue` method to call, its request weight, whether it must be signed, and its count as orders."""

    name: str
    weight: Weight
    signed: bool
    order_count: int

    def weight_of(self, params: Params) -> int:
        """Return the request weight for these parameters."""
        return self.weight if isinstance(self.weight, int) else self.weight(params)


def _by_symbol(one: int, every: int) -> Callable[[Params], int]:
    return lambda params: one if params.get("symbol") else every


ROUTES: Final[dict[tuple[str, str], Route]] = {
    ("GET", "v1/exchangeInfo"): Route("exchange_info", 1, False, 0),
    ("GET", "v1/premiumIndex"): Route("premium_index", _by_symbol(1, 10), False, 0),
    ("GET", "v1/ticker/price"): Route("ticker_price", _by_symbol(1, 2), False, 0),
    ("GET", "v2/ticker/price"): Route("ticker_price", _by_symbol(1, 2), False, 0),
    ("GET", "v1/ticker/bookTicker"): Route("book_ticker", _by_symbol(2, 5), False, 0),
    ("GET", "v1/fundingInfo"): Route("funding_info", 0, False, 0),
    ("GET", "v1/leverageBracket"): Route("leverage_bracket", 1, True, 0),
    ("GET", "v2/positionRisk"): Route("position_risk_v2", 5, True, 0),
    ("GET", "v3/positionRisk"): Route("position_risk_v3", 5, True, 0),
    ("GET", "v2/account"): Route("account_v2", 5, True, 0),
    ("GET", "v3/account"): Route("account_v3", 5, True, 0),
    ("GET", "v2/balance"): Route("balance_v3", 5, True, 0),
    ("GET", "v3/balance"): Route("balance_v3", 5, True, 0),
    ("GET", "v1/accountConfig"): Route("account_config", 5, True, 0),
    ("GET", "v1/symbolConfig"): Route("symbol_config", 5, True, 0),
    ("GET", "v1/positionSide/dual"): Route("position_mode", 30, True, 0),
    ("POST", "v1/positionSide/dual"): Route("change_position_mode", 1, True, 0),
    ("GET", "v1/commissionRate"): Route("commission_rate", 20, True, 0),
    ("GET", "v1/rateLimit/order"): Route("rate_limit_order", 1, True, 0),
    ("POST", "v1/leverage"): Route("change_leverage", 1, True, 0),
    ("POST", "v1/marginType"): Route("change_margin_type", 1, True, 0),
    ("POST", "v1/order"): Route("new_order", 0, True, 1),
    ("PUT", "v1/order"): Route("modify_order", 1, True, 1),
    ("GET", "v1/order"): Route("get_order", 1, True, 0),
    ("DELETE", "v1/order"): Route("cancel_order", 1, True, 0),
    ("POST", "v1/batchOrders"): Route("batch_orders", 5, True, 5),
    ("GET", "v1/openOrders"): Route("open_orders", _by_symbol(1, 40), True, 0),
    ("GET", "v1/allOrders"): Route("all_orders", 5, True, 0),
    ("DELETE", "v1/allOpenOrders"): Route("cancel_all_orders", 1, True, 0),
    ("POST", "v1/countdownCancelAll"): Route("countdown_cancel_all", 10, True, 0),
    ("GET", "v1/userTrades"): Route("user_trades", 5, True, 0),
    ("GET", "v1/income"): Route("income", 30, True, 0),
    ("POST", "v1/algoOrder"): Route("new_algo_order", 0, True, 1),
    ("GET", "v1/algoOrder"): Route("get_algo_order", 1, True, 0),
    ("DELETE", "v1/algoOrder"): Route("cancel_algo_order", 1, True, 0),
    ("GET", "v1/openAlgoOrders"): Route("open_algo_orders", _by_symbol(1, 40), True, 0),
    ("GET", "v1/allAlgoOrders"): Route("all_algo_orders", 5, True, 0),
    ("DELETE", "v1/algoOpenOrders"): Route("cancel_all_algo_orders", 1, True, 0),
}
