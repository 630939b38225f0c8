"""Intents to wire parameters: which call, with which parameters (binance-usdm 1.4, 2.2, 4.1).

Invariants: I3, every placement can only reduce: one-way mode carries reduceOnly or closePosition, hedge mode the
closing side of the named leg (where reduceOnly would be refused). I16, every number is plain digits, every flag a word,
the trigger source named. The client id is always ours: left to itself the client library invents one
(binance-usdm 1.3).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from tpctl.exits.intents import CancelOrder, OrderIntent, PlaceStop, PlaceTakeProfit, ReduceAtMarket
from tpctl.exits.model import Book, PositionKey, PositionMode, WorkingType
from tpctl.exits.units import Quantity, plain

Params: TypeAlias = Mapping[str, str]

# Characters outside this set reach the exchange encoded but are signed bare, which breaks the signature
# (binance-usdm 1.4); 36 is the exchange's length limit.
_CLIENT_ID = re.compile(r"[A-Za-z0-9_.-]{1,36}")

_WORKING = {WorkingType.MARK: "MARK_PRICE", WorkingType.LAST: "CONTRACT_PRICE"}


class Operation(StrEnum):
    """The mutating calls there are."""

    PLACE_ALGO = "place_algo"
    PLACE_REGULAR = "place_regular"
    CANCEL_ALGO = "cancel_algo"
    CANCEL_REGULAR = "cancel_regular"


@dataclass(frozen=True, slots=True)
class WireOrder:
    """One mutating call: the operation and its parameters, all texts."""

    operation: Operation
    params: Params


def wire_order(intent: OrderIntent, mode: PositionMode) -> WireOrder:
    """Return the call that carries out `intent` in a position mode.

    Raises `ValueError` for what must never leave: a client id the exchange would misread, a quantity or trigger that
    is not above zero.
    """
    match intent:
        case PlaceStop(quantity=None):
            # The exchange refuses quantity and reduceOnly beside closePosition (-1106).
            return _conditional("STOP_MARKET", intent, mode, {"closePosition": "true"})
        case PlaceStop(quantity=quantity) if quantity is not None:
            return _conditional("STOP_MARKET", intent, mode, _sized(quantity, mode))
        case PlaceTakeProfit():
            return _conditional("TAKE_PROFIT_MARKET", intent, mode, _sized(intent.quantity, mode))
        case ReduceAtMarket():
            # RESULT makes the answer carry the final state; the default ACK says NEW and nothing filled.
            params = {
                **_target(intent.key, mode),
                "type": "MARKET",
                **_sized(intent.quantity, mode),
                "newClientOrderId": _checked(intent.client_id),
                "newOrderRespType": "RESULT",
            }
            return WireOrder(Operation.PLACE_REGULAR, params)
        case CancelOrder(book=Book.ALGO):
            return WireOrder(Operation.CANCEL_ALGO, {"clientAlgoId": _checked(intent.client_id)})
        case CancelOrder():
            params = {"symbol": intent.key.symbol, "origClientOrderId": _checked(intent.client_id)}
            return WireOrder(Operation.CANCEL_REGULAR, params)
    raise TypeError(f"not an order intent: {type(intent).__name__}")


def find_params(symbol: str, client_id: str, book: Book) -> Params:
    """Return the parameters of a query by client id."""
    if book is Book.ALGO:
        return {"clientAlgoId": _checked(client_id)}
    return {"symbol": symbol, "origClientOrderId": _checked(client_id)}


def _conditional(order_type: str, intent: PlaceStop | PlaceTakeProfit, mode: PositionMode, size: Params) -> WireOrder:
    if not intent.trigger.is_finite() or intent.trigger <= 0:
        raise ValueError(f"the trigger of {intent.client_id} is not above zero")
    params = {
        "algoType": "CONDITIONAL",
        **_target(intent.key, mode),
        "type": order_type,
        "triggerPrice": plain(intent.trigger),
        "workingType": _WORKING[intent.working],
        **size,
        "clientAlgoId": _checked(intent.client_id),
    }
    return WireOrder(Operation.PLACE_ALGO, params)


def _target(key: PositionKey, mode: PositionMode) -> dict[str, str]:
    target = {"symbol": key.symbol, "side": key.side.closing.value.upper()}
    if mode is PositionMode.HEDGE:
        target["positionSide"] = key.side.value.upper()
    return target


def _sized(quantity: Quantity, mode: PositionMode) -> dict[str, str]:
    if not quantity.is_finite() or quantity <= 0:
        raise ValueError("the quantity is not above zero")
    sized = {"quantity": plain(quantity)}
    if mode is PositionMode.ONE_WAY:
        sized["reduceOnly"] = "true"
    return sized


def _checked(client_id: str) -> str:
    if not _CLIENT_ID.fullmatch(client_id):
        raise ValueError(f"client id {client_id!r} cannot be sent")
    return client_id
