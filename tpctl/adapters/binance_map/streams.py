"""Stream frames to events (binance-usdm 5.6).

Decides what each frame means: ORDER_TRADE_UPDATE is an order state and, when something traded, an execution; TRADE_LITE
repeats executions and is ignored; ALGO_UPDATE is a state of a conditional order, and FINISHED there is not filled;
ACCOUNT_UPDATE gives sizes. A type not known here is ignored and counted, a frame that cannot be read raises
`MalformedFrame`: what it would have said is lost, and the reader of the stream must read the account again.

Invariants: I14 and I15 in part: a mark that is no positive finite number never becomes an event.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeVar

import msgspec

from tpctl.adapters.binance_map.fields import (
    MAX_MILLIS,
    Malformed,
    algo_kind,
    decimal,
    order_side,
    position_side,
    positive_or_none,
    regular_kind,
    status,
    working_type,
)
from tpctl.exits.events import (
    Event,
    Filled,
    LeverageChanged,
    MarginChanged,
    MarkPrice,
    ModeSeen,
    OrderSeen,
    PositionSeen,
)
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import Book, Fill, LiveOrder, OrderStatus, PositionKey, PositionMode
from tpctl.exits.units import ZERO, Millis


class MalformedFrame(Malformed):
    """A frame cannot be read; whatever it said is lost."""


_At = Annotated[int, msgspec.Meta(ge=0, le=MAX_MILLIS)]
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_T = TypeVar("_T")

# Coin-margined symbols share the all-market arrays and the account since 2026-06-30 (binance-usdm 2.1).
_COIN_MARGINED = 2
# How a frame of the all-market marks begins where it comes on a combined stream (binance-usdm 5.6).
_MARKS_TEXT = '{"stream":"!markPrice@arr'
_MARKS_HEADS = frozenset({_MARKS_TEXT, _MARKS_TEXT.encode()})
# Reasons of ACCOUNT_UPDATE that move liquidation prices without changing a size.
_MARGIN_REASONS = frozenset({"MARGIN_TRANSFER", "MARGIN_TYPE_CHANGE"})
_SMALLEST_MARK, _LARGEST_MARK = Decimal("1E-30"), Decimal("1E+30")
# CALCULATED is the execution of a liquidation or of auto-deleveraging.
_EXECUTIONS = frozenset({"TRADE", "CALCULATED"})
_REASONED = frozenset({OrderStatus.REJECTED, OrderStatus.EXPIRED, OrderStatus.CANCELED})


class _Head(msgspec.Struct):
    e: str = ""


class _Envelope(msgspec.Struct):
    e: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _Mark(msgspec.Struct, gc=False):
    """Six hundred come every second and hold nothing that could refer back: the collector need not know of them."""

    e: str
    E: _At
    s: _Text
    p: str = ""
    st: int = 1


class _MarkEnvelope(msgspec.Struct):
    data: list[_Mark] | None = None


class _Barrier(msgspec.Struct):
    E: _At
    n: int


class _Order(msgspec.Struct):
    s: _Text
    c: _Text
    S: str
    o: str
    q: str
    x: str
    X: str
    i: int
    T: _At
    p: str = "0"
    ap: str = "0"
    sp: str = "0"
    z: str = "0"
    l: str = "0"  # noqa: E741 - the exchange's key for the last executed quantity
    L: str = "0"
    n: str | None = None
    N: str | None = None
    t: int = 0
    m: bool = False
    R: bool = False
    cp: bool = False
    wt: str = "CONTRACT_PRICE"
    ps: str = "BOTH"
    rp: str = "0"
    er: str = "0"
    st: int = 1


class _OrderUpdate(msgspec.Struct):
    E: _At
    o: _Order


class _Algo(msgspec.Struct):
    s: _Text
    caid: _Text
    aid: int
    S: str
    o: str
    X: str
    ps: str = "BOTH"
    q: str | None = None
    ai: str | int | None = None
    ap: str | None = None
    aq: str | None = None
    tp: str | None = None
    p: str | None = None
    wt: str = "CONTRACT_PRICE"
    cp: bool = False
    R: bool = False
    rm: str | None = None
    st: int = 1


class _AlgoUpdate(msgspec.Struct):
    E: _At
    T: _At
    o: _Algo


class _Held(msgspec.Struct):
    s: _Text
    pa: str
    ep: str
    ps: str = "BOTH"
    st: int = 1


class _Balances(msgspec.Struct):
    m: str = ""
    P: list[_Held] = []


class _AccountUpdate(msgspec.Struct):
    E: _At
    a: _Balances


class _Leverage(msgspec.Struct):
    s: _Text
    l: int  # noqa: E741 - the exchange's key for the leverage


class _ConfigUpdate(msgspec.Struct):
    E: _At
    ac: _Leverage | None = None


class _KeyExpired(msgspec.Struct):
    E: _At


@dataclass(frozen=True, slots=True)
class Frame:
    """What one frame said. `at` is its event time, 0 where it carries none that matters.

    `barrier` is the step number of a twin's barrier frame, `key_expired` tells that the user stream has gone silent,
    `ignored` counts messages of no interest, `dropped` marks that are no price.
    """

    at: Millis = 0
    events: tuple[Event, ...] = ()
    barrier: int | None = None
    key_expired: bool = False
    ignored: int = 0
    dropped: int = 0


_IGNORED = Frame(ignored=1)


class FrameDecoder:
    """Decodes the frames of one connection.

    `mode` decides what a BOTH row of zero means: flat in one-way mode, nothing in hedge mode, where such rows only fill
    the list. It may be given, and is learned from every order that names a side. `wanted` tells which symbols' marks
    are of interest at the moment; without it all are.
    """

    def __init__(self, mode: PositionMode | None = None, wanted: Callable[[], Container[str]] | None = None) -> None:
        self.mode = mode
        self._wanted = wanted
        self._decoders: dict[type[Any], msgspec.json.Decoder[Any]] = {}
        self._readers: dict[str, Callable[[bytes | str], Frame]] = {
            "markPriceUpdate": self._mark,
            "ORDER_TRADE_UPDATE": self._order,
            "ALGO_UPDATE": self._algo,
            "ACCOUNT_UPDATE": self._account,
            "ACCOUNT_CONFIG_UPDATE": self._config,
            "listenKeyExpired": self._expired,
            "barrier": self._barrier,
        }

    def decode(self, raw: bytes | str) -> Frame:
        """Return what the frame says; raises `MalformedFrame`, never anything else, whatever the bytes."""
        try:
            return self._decode(raw)
        except MalformedFrame:
            raise
        except (msgspec.MsgspecError, Malformed, RecursionError, UnicodeError) as error:
            reason = type(error).__name__ if not isinstance(error, Malformed) else str(error)
        raise MalformedFrame(f"a stream frame of {len(raw)} bytes is malformed: {reason}")

    def _decode(self, raw: bytes | str) -> Frame:
        if raw[: len(_MARKS_TEXT)] in _MARKS_HEADS:
            # Read at once: this one is long, comes every second, and orders wait for what it says.
            return self._wanted_marks(self._as(_MarkEnvelope, raw).data or [])
        if _is_array(raw):
            return self._marks(raw)
        envelope = self._as(_Envelope, raw)
        inner = bytes(envelope.data)
        if not inner or envelope.e:
            return self._message(envelope.e, raw)
        if _is_array(inner):
            return self._marks(inner)
        if inner == b"null":
            return _IGNORED
        return self._message(self._as(_Head, inner).e, inner)

    def _message(self, kind: str, raw: bytes | str) -> Frame:
        reader = self._readers.get(kind)
        if reader is None:
            return _IGNORED
        before = self.mode
        frame = reader(raw)
        if before is None or self.mode is None or self.mode is before:
            return frame
        # First: what the frame tells leads to orders, which have to be of the new mode.
        return replace(frame, events=(ModeSeen(frame.at, self.mode), *frame.events))

    def _mark(self, raw: bytes | str) -> Frame:
        return self._wanted_marks([self._as(_Mark, raw)])

    def _config(self, raw: bytes | str) -> Frame:
        update = self._as(_ConfigUpdate, raw)
        if update.ac is None:
            return _IGNORED
        return Frame(update.E, (LeverageChanged(update.E, update.ac.s, Decimal(update.ac.l)),))

    def _expired(self, raw: bytes | str) -> Frame:
        return Frame(self._as(_KeyExpired, raw).E, key_expired=True)

    def _barrier(self, raw: bytes | str) -> Frame:
        barrier = self._as(_Barrier, raw)
        return Frame(barrier.E, barrier=barrier.n)

    def _marks(self, raw: bytes | str) -> Frame:
        return self._wanted_marks(self._as(list[_Mark], raw))

    def _wanted_marks(self, marks: list[_Mark]) -> Frame:
        return _mark_frame(marks, self._wanted() if self._wanted else None)

    def _order(self, raw: bytes | str) -> Frame:
        update = self._as(_OrderUpdate, raw)
        order = update.o
        if order.st == _COIN_MARGINED:
            return _IGNORED
        seen = _live_order(order)
        self._learn(seen.position_side)
        events: list[Event] = []
        last = _number(order.l, "l")
        if order.x in _EXECUTIONS and last > 0:
            # The execution first: an order that shows as filled may end its position, and fees belong to that end.
            events.append(Filled(update.E, _stream_fill(order, seen, last)))
        events.append(OrderSeen(update.E, seen))
        return Frame(update.E, tuple(events))

    def _algo(self, raw: bytes | str) -> Frame:
        update = self._as(_AlgoUpdate, raw)
        if update.o.st == _COIN_MARGINED:
            return _IGNORED
        seen = _live_algo(update)
        self._learn(seen.position_side)
        return Frame(update.E, (OrderSeen(update.E, seen),))

    def _account(self, raw: bytes | str) -> Frame:
        update = self._as(_AccountUpdate, raw)
        held = [item for item in update.a.P if item.st != _COIN_MARGINED]
        legged = {item.s for item in held if item.ps != "BOTH"}
        events: list[Event] = []
        for item in held:
            amount = _number(item.pa, "pa")
            side = position_side(item.ps)
            if amount != 0:
                self._learn(side)
            if side is not None:
                if self.mode is not PositionMode.ONE_WAY:
                    events.append(_position(update.E, PositionKey(item.s, side), amount, item))
            elif amount != 0 or (self.mode is not PositionMode.HEDGE and item.s not in legged):
                events.extend(_one_way(update.E, item, amount))
        if update.a.m in _MARGIN_REASONS:
            events += [MarginChanged(update.E, symbol) for symbol in dict.fromkeys(item.s for item in held)]
        return Frame(update.E, tuple(events))

    def _learn(self, side: PositionSide | None) -> None:
        self.mode = PositionMode.ONE_WAY if side is None else PositionMode.HEDGE

    def _as(self, shape: type[_T], raw: bytes | str) -> _T:
        decoder = self._decoders.get(shape)
        if decoder is None:
            decoder = self._decoders[shape] = msgspec.json.Decoder(shape)
        decoded: _T = decoder.decode(raw)
        return decoded


def _is_array(raw: bytes | str) -> bool:
    return raw.lstrip()[:1] in {b"[", "["}


def _mark_frame(marks: list[_Mark], wanted: Container[str] | None = None) -> Frame:
    events: list[Event] = []
    at = ignored = dropped = 0
    if wanted is not None and len(marks) > 1:
        # Most of some six hundred are nobody's; all are of one moment.
        at = marks[0].E
        marks = [mark for mark in marks if mark.s in wanted]
    for mark in marks:
        if mark.e != "markPriceUpdate" or mark.st == _COIN_MARGINED:
            ignored += 1
            continue
        at = max(at, mark.E)
        if wanted is not None and mark.s not in wanted:
            continue
        # A settled or halted symbol may carry an empty, zero or not-a-number price: no event, no reason to reconnect.
        # Comparing with NaN raises what reading no number raises.
        try:
            price = Decimal(mark.p)
            if _SMALLEST_MARK < price < _LARGEST_MARK:
                events.append(MarkPrice(mark.E, mark.s, price))
                continue
        except InvalidOperation:
            pass
        dropped += 1
    return Frame(at, tuple(events), ignored=ignored, dropped=dropped)


def _number(value: str | None, what: str) -> Decimal:
    return decimal(value, what) if value else ZERO


def _live_order(order: _Order) -> LiveOrder:
    quantity, executed = _number(order.q, "q"), _number(order.z, "z")
    price = _number(order.p, "p")
    state = status(order.X, executed, quantity)
    return LiveOrder(
        symbol=order.s,
        client_id=order.c,
        exchange_id=str(order.i),
        book=Book.REGULAR,
        kind=regular_kind(order.o, price),
        order_side=order_side(order.S),
        position_side=position_side(order.ps),
        status=state,
        quantity=quantity,
        trigger=positive_or_none(_number(order.sp, "sp")),
        price=positive_or_none(price),
        working=working_type(order.wt),
        close_position=order.cp,
        reduce_only=order.R,
        executed=executed,
        average_price=positive_or_none(_number(order.ap, "ap")),
        child_id=None,
        updated_at=order.T,
        reject_reason=f"expiry reason {order.er}" if state in _REASONED and order.er not in {"", "0"} else None,
    )


def _stream_fill(order: _Order, seen: LiveOrder, quantity: Decimal) -> Fill:
    price = _number(order.L, "L")
    if price <= 0 or order.t <= 0:
        raise MalformedFrame("an execution has no price or no trade id")
    return Fill(
        symbol=order.s,
        trade_id=order.t,
        order_id=seen.exchange_id,
        client_id=order.c,
        order_side=seen.order_side,
        position_side=seen.position_side,
        quantity=quantity,
        price=price,
        fee=_number(order.n, "n"),
        fee_asset=order.N or "",
        realised=_number(order.rp, "rp"),
        maker=order.m,
        at=order.T,
    )


def _live_algo(update: _AlgoUpdate) -> LiveOrder:
    order = update.o
    quantity, executed = _number(order.q, "q"), _number(order.aq, "aq")
    state = status(order.X, executed, quantity)
    return LiveOrder(
        symbol=order.s,
        client_id=order.caid,
        exchange_id=str(order.aid),
        book=Book.ALGO,
        kind=algo_kind(order.o),
        order_side=order_side(order.S),
        position_side=position_side(order.ps),
        status=state,
        quantity=quantity,
        trigger=positive_or_none(_number(order.tp, "tp")),
        price=positive_or_none(_number(order.p, "p")),
        working=working_type(order.wt),
        close_position=order.cp,
        reduce_only=order.R,
        executed=executed,
        average_price=positive_or_none(_number(order.ap, "ap")),
        child_id=None if order.ai in {None, "", "0", 0} else str(order.ai),
        updated_at=update.T,
        # The documentation shows `rm` on orders that stand; it means something only where one ended badly.
        reject_reason=order.rm or None if state in _REASONED else None,
    )


def _position(at: Millis, key: PositionKey, amount: Decimal, item: _Held) -> PositionSeen:
    return PositionSeen(at, key, abs(amount), _number(item.ep, "ep") if amount else ZERO)


def _one_way(at: Millis, item: _Held, amount: Decimal) -> list[PositionSeen]:
    """Both sides of the symbol, the flat one first, so that a flip reads as close and open (binance-usdm 4.6)."""
    held = PositionSide.SHORT if amount < 0 else PositionSide.LONG
    flat = PositionSeen(at, PositionKey(item.s, held.other), ZERO, ZERO)
    return [flat, _position(at, PositionKey(item.s, held), amount, item)]
