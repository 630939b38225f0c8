"""The user stream: what the exchange pushes about orders and the account (binance-usdm 5.6).

Appends raw payloads to the core's events in the order they happen; changes nothing else. E and T are event time.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from tpctl.exits.units import ZERO, Money, Price, Quantity, trimmed
from tpctl.venue import wire
from tpctl.venue.account import Holding
from tpctl.venue.core import Core
from tpctl.venue.margin import holding_maintenance, opening_part
from tpctl.venue.orders import Conditional, Order

_PRICE_PLACES = 8


def _push(core: Core, kind: str, **fields: Any) -> None:
    core.events.append({"e": kind, "T": core.now, "E": core.now, **fields})


def push_order(
    core: Core,
    order: Order,
    execution: str,
    *,
    quantity: Quantity = ZERO,
    price: Price = ZERO,
    fee: Money = ZERO,
    realised: Money = ZERO,
    trade_id: int = 0,
    maker: bool = False,
    expiry: int = 0,
) -> None:
    """Push ORDER_TRADE_UPDATE; `execution` is its `x`, `expiry` its `er`."""
    rules = core.rules.symbols[order.symbol]
    origin = order.origin
    held = opening_part(core, order) * order.price if order.open else ZERO
    body = {
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side,
        "o": order.kind,
        "f": order.tif,
        "q": wire.quantity_text(rules, order.quantity),
        "p": wire.price_text(rules, order.price),
        "ap": wire.average_text(rules, order.average) if order.executed else "0",
        "sp": wire.price_text(rules, origin.trigger) if origin else "0",
        "x": execution,
        "X": order.status,
        "i": order.order_id,
        "l": wire.quantity_text(rules, quantity),
        "z": wire.quantity_text(rules, order.executed),
        "L": wire.price_text(rules, price),
        "n": wire.money(fee),
        "N": wire.QUOTE_ASSET,
        "T": core.now,
        "t": trade_id,
        "b": trimmed(held, _PRICE_PLACES) if order.buy else "0",
        "a": "0" if order.buy else trimmed(held, _PRICE_PLACES),
        "m": maker,
        "R": order.reduce_only,
        "wt": "MARK_PRICE" if origin and origin.on_mark else "CONTRACT_PRICE",
        "ot": origin.kind if origin else order.kind,
        "ps": order.position_side,
        "cp": order.close_position,
        "rp": wire.money(realised),
        "pP": bool(origin and origin.price_protect),
        "si": 0,
        "ss": 0,
        "V": "EXPIRE_MAKER",
        "pm": "NONE",
        "gtd": order.good_till,
        "er": str(expiry),
    }
    if origin and origin.callback:
        body |= {"AP": wire.price_text(rules, origin.activate or ZERO), "cr": trimmed(origin.callback)}
    if order.modify_id:
        body["M"] = order.modify_id
    _push(core, "ORDER_TRADE_UPDATE", o=body)


def push_trade(core: Core, order: Order, quantity: Quantity, price: Price, trade_id: int, *, maker: bool) -> None:
    """Push TRADE_LITE, which runs ahead of the order update."""
    rules = core.rules.symbols[order.symbol]
    core.events.append(
        {
            "e": "TRADE_LITE",
            "E": core.now,
            "T": core.now,
            "s": order.symbol,
            "q": wire.quantity_text(rules, order.quantity),
            "p": wire.fixed(order.price, rules.price_precision),
            "m": maker,
            "c": order.client_id,
            "S": order.side,
            "L": wire.price_text(rules, price),
            "l": wire.quantity_text(rules, quantity),
            "t": trade_id,
            "i": order.order_id,
        }
    )


def push_account(core: Core, reason: str, holdings: Iterable[Holding], *, funding_of: str = "") -> None:
    """Push ACCOUNT_UPDATE with the positions that changed."""
    body: dict[str, Any] = {
        "m": reason,
        "B": [
            {
                "a": wire.QUOTE_ASSET,
                "wb": wire.fixed(core.account.wallet),
                "cw": wire.fixed(core.account.cross_wallet()),
                "bc": "0",
            }
        ],
        "P": [_position(core, holding) for holding in holdings],
    }
    if funding_of:
        body["S"] = funding_of
    _push(core, "ACCOUNT_UPDATE", a=body)


def _position(core: Core, holding: Holding) -> dict[str, str]:
    rules = core.rules.symbols[holding.symbol]
    return {
        "s": holding.symbol,
        "pa": trimmed(holding.amount, rules.quantity_precision),
        "ep": trimmed(holding.entry, _PRICE_PLACES),
        "cr": wire.money(holding.realised),
        "up": wire.money(holding.unrealised(core.mark_of(holding.symbol))),
        "mt": "isolated" if core.account.isolated(holding.symbol) else "cross",
        "iw": wire.money(holding.isolated_wallet),
        "ps": holding.side,
        "ma": rules.margin_asset,
        "bep": trimmed(holding.breakeven, _PRICE_PLACES),
    }


def push_conditional(core: Core, order: Conditional) -> None:
    """Push ALGO_UPDATE with the state the order is in now."""
    rules = core.rules.symbols[order.symbol]
    child = order.child
    body: dict[str, Any] = {
        "caid": order.client_id,
        "aid": order.algo_id,
        "at": "CONDITIONAL",
        "o": order.kind,
        "s": order.symbol,
        "S": order.side,
        "ps": order.position_side,
        "f": order.tif,
        "q": wire.quantity_text(rules, order.quantity),
        "X": order.status,
        "ai": str(child.order_id) if child else "",
        "tp": wire.price_text(rules, order.trigger),
        "p": wire.price_text(rules, order.price),
        "V": "EXPIRE_MAKER",
        "wt": "MARK_PRICE" if order.on_mark else "CONTRACT_PRICE",
        "pm": "NONE",
        "cp": order.close_position,
        "pP": order.price_protect,
        "R": order.reduce_only,
        "tt": order.triggered_at,
        "gtd": order.good_till,
        "ia": order.activated,
    }
    if child:
        body |= {
            "ap": wire.average_text(rules, child.average),
            "aq": wire.quantity_text(rules, child.executed),
            "act": child.kind,
        }
    if order.reason:
        body["rm"] = order.reason
    _push(core, "ALGO_UPDATE", o=body)


def push_leverage(core: Core, symbol: str) -> None:
    """Push ACCOUNT_CONFIG_UPDATE after a change of leverage."""
    _push(core, "ACCOUNT_CONFIG_UPDATE", ac={"s": symbol, "l": core.account.leverage(symbol)})


def push_margin_call(core: Core, holdings: Iterable[Holding], cross_wallet: Decimal) -> None:
    """Push MARGIN_CALL for positions that come close to liquidation."""
    core.events.append(
        {
            "e": "MARGIN_CALL",
            "E": core.now,
            "cw": wire.fixed(cross_wallet),
            "p": [
                {
                    "s": holding.symbol,
                    "ps": holding.side,
                    "pa": trimmed(holding.amount),
                    "mt": "ISOLATED" if core.account.isolated(holding.symbol) else "CROSSED",
                    "iw": wire.money(holding.isolated_wallet),
                    "mp": trimmed(core.mark_of(holding.symbol), _PRICE_PLACES),
                    "up": trimmed(holding.unrealised(core.mark_of(holding.symbol)), 6),
                    "mm": trimmed(holding_maintenance(core, holding), 6),
                }
                for holding in holdings
            ],
        }
    )
