"""REST semantics of the algo book: where stops, take-profits and trails live since 2025-12-09 (binance-usdm 2.2, 5.4).

No margin and no reduce-only check before the trigger: an accepted order can still fail there. Untriggered orders cannot
be modified.
"""

from decimal import Decimal

from tpctl.exits.units import ZERO, Price, Quantity
from tpctl.venue import params as read
from tpctl.venue import wire
from tpctl.venue.api_orders import CANCELLED_ALL
from tpctl.venue.core import Core
from tpctl.venue.filters import check_notional, check_price, check_quantity, check_stop_limit, check_trigger
from tpctl.venue.lifecycle import move_conditional, rest_conditional
from tpctl.venue.matching import check_opening
from tpctl.venue.orders import Conditional
from tpctl.venue.params import Params
from tpctl.venue.read_lag import as_shown, shown_resting
from tpctl.venue.refusals import refusal
from tpctl.venue.requests import (
    CONDITIONAL_KINDS,
    Head,
    new_client_id,
    read_head,
    read_lifetime,
    read_quantity,
    read_symbol,
    refuse_price_match,
    within,
)
from tpctl.venue.triggers import crossed
from tpctl.venue.wire import Payload

# Open conditional orders per account, over all symbols, since 2025-12-29 (binance-usdm 2.1).
MAX_CONDITIONALS = 200
_CALLBACK_RANGE = (Decimal("0.1"), Decimal(20))
_CLOSING_KINDS = frozenset({"STOP_MARKET", "TAKE_PROFIT_MARKET"})
_LIMIT_KINDS = frozenset({"STOP", "TAKE_PROFIT"})
_TRAILING = "TRAILING_STOP_MARKET"
# An order that is triggering says so for so long; one that is stuck there is unknown to a cancel (reliability F3).
_TRIGGERING_MS = 3_000


def new_algo_order(core: Core, params: Params) -> Payload:
    """POST algoOrder."""
    if read.required(params, "algoType") != "CONDITIONAL":
        raise refusal(-4500)
    head = read_head(core, params)
    kind = read.choice(params, "type", CONDITIONAL_KINDS, -1116)
    refuse_price_match(params, kind)
    closing = read.flag(params, "closePosition")
    if closing:
        _check_closing(params, kind)
    on_mark = read.choice(params, "workingType", {"MARK_PRICE", "CONTRACT_PRICE"}, -4031, "CONTRACT_PRICE")
    client_id = read.client_id(params, "clientAlgoId")
    if client_id is not None and core.books.resting_by_client(client_id) is not None:
        raise refusal(-4116)
    lifetime, good_till = read_lifetime(core, params, "GTC")
    order = Conditional(
        algo_id=next(core.ids.algo),
        client_id=client_id if client_id is not None else new_client_id(core),
        symbol=head.rules.symbol,
        buy=head.buy,
        position_side=head.position_side,
        kind=kind,
        tif="GTE_GTC" if closing else lifetime,
        quantity=ZERO if closing else read_quantity(params),
        price=ZERO,
        trigger=ZERO,
        on_mark=on_mark == "MARK_PRICE",
        falls=head.buy == (kind not in {"STOP", "STOP_MARKET", _TRAILING}),
        reduce_only=closing or head.reduce_only,
        close_position=closing,
        price_protect=read.flag(params, "priceProtect"),
        created=core.now,
        updated=core.now,
        good_till=good_till,
    )
    if not closing:
        check_quantity(head.rules, order.quantity, market=order.executes_at_market)
    last, mark = core.priced(order.symbol)
    working = mark if order.on_mark else last
    if kind == _TRAILING:
        _read_trailing(params, head, order, working)
    else:
        _read_trigger(params, head, order, working)
    if not closing and not head.reducing:
        check_notional(head.rules, order.quantity, order.price or order.trigger or mark)
    _check_book(core, head, order)
    rest_conditional(core, order)
    return wire.algo_ack(core, order)


def _check_closing(params: Params, kind: str) -> None:
    if kind not in _CLOSING_KINDS:
        raise refusal(-4136, kind, "true")
    if params.get("quantity"):
        raise refusal(-4137)
    if params.get("reduceOnly") == "false":
        raise refusal(-4138)
    read.absent(params, "reduceOnly")


def _read_trigger(params: Params, head: Head, order: Conditional, working: Price) -> None:
    read.absent(params, "activatePrice", "callbackRate")
    order.trigger = read.number(params, "triggerPrice")
    check_trigger(head.rules, order.trigger)
    if order.kind in _LIMIT_KINDS:
        order.price = read.number(params, "price")
        check_price(head.rules, order.price)
        check_stop_limit(head.rules, order.price, order.trigger, buy=order.buy)
    else:
        read.absent(params, "price")
    if crossed(order, working):
        raise refusal(-2021)


def _read_trailing(params: Params, head: Head, order: Conditional, working: Price) -> None:
    if params.get("triggerPrice"):
        raise refusal(-2021)
    read.absent(params, "price")
    order.callback = read.number(params, "callbackRate")
    low, high = _CALLBACK_RANGE
    if not low <= order.callback <= high:
        raise refusal(-2007)
    order.extreme = working
    order.activated = not params.get("activatePrice")
    if order.activated:
        return
    order.activate = read.number(params, "activatePrice")
    if order.activate <= 0:
        raise refusal(-4135)
    check_trigger(head.rules, order.activate)
    # A sell waits for a higher price, a buy for a lower one: activation that is already reached is refused.
    if order.activate >= working if order.buy else order.activate <= working:
        raise refusal(-2021)


def _check_book(core: Core, head: Head, order: Conditional) -> None:
    if core.books.resting_count() >= MAX_CONDITIONALS:
        raise refusal(-4045)
    if not order.close_position:
        if not head.reducing:
            check_opening(head.rules)
        return
    if not _covered(core, order):
        raise refusal(-4509)
    twin = (order.buy, order.position_side, order.kind)
    if any(
        other.close_position and (other.buy, other.position_side, other.kind) == twin
        for other in core.books.resting(order.symbol)
    ):
        raise refusal(-4130)


def _covered(core: Core, order: Conditional) -> Quantity:
    return core.account.holding(order.symbol, order.position_side).closable(buy=order.buy)


def _find(core: Core, params: Params, missing: int) -> Conditional:
    algo_id = read.integer(params, "algoId", 0)
    client_id = params.get("clientAlgoId") or None
    if not algo_id and client_id is None:
        raise refusal(-1102, "algoid")
    order = core.books.find_conditional(algo_id, client_id, core.now)
    if order is None:
        raise refusal(missing)
    return order


def cancel_algo_order(core: Core, params: Params) -> Payload:
    """DELETE algoOrder; -4117 while it triggers, -2011 once it no longer waits. The code in the answer is a string."""
    order = _find(core, params, -2011)
    if order.status == "TRIGGERING" and core.now - order.triggered_at < _TRIGGERING_MS:
        raise refusal(-4117)
    if order.status != "NEW":
        raise refusal(-2011)
    move_conditional(core, order, "CANCELED")
    return {"algoId": order.algo_id, "clientAlgoId": order.client_id, "code": "200", "msg": "success"}


def get_algo_order(core: Core, params: Params) -> Payload:
    """GET algoOrder; -2013 for one the exchange does not know, or no longer."""
    order = as_shown(core, _find(core, params, -2013))
    if order is None:
        raise refusal(-2013)
    return wire.algo_row(core, order)


def open_algo_orders(core: Core, params: Params) -> list[Payload]:
    """GET openAlgoOrders: those that wait for their trigger, with numbers as doubles."""
    symbol = read_symbol(core, params).symbol if params.get("symbol") else None
    return [wire.open_algo_row(core, order) for order in shown_resting(core, symbol)]


def all_algo_orders(core: Core, params: Params) -> list[Payload]:
    """GET allAlgoOrders of a symbol, oldest first."""
    symbol = read_symbol(core, params).symbol
    first = read.integer(params, "algoId", 0)
    limit = min(read.integer(params, "limit", 500), 1000)
    rows = [
        wire.algo_row(core, order)
        for order in core.books.conditionals(symbol, core.now)
        if order.algo_id >= first and within(order.created, params)
    ]
    return rows[:limit] if first else rows[-limit:]


def cancel_all_algo_orders(core: Core, params: Params) -> Payload:
    """DELETE algoOpenOrders: leaves the regular book alone."""
    for order in core.books.resting(read_symbol(core, params).symbol):
        if order.status == "NEW":
            move_conditional(core, order, "CANCELED")
    return dict(CANCELLED_ALL)
