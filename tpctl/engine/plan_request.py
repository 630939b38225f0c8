"""What a plan is asked for: an open position, or one the operator describes, with what he gave put over the inputs.

Builds requests and reads nothing. What an input lacks stays unavailable with its reason; what is assumed for a position
that does not exist yet, its size, says so.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Bracket, Instrument, PositionSide, Unavailable
from tpctl.exits.ladder import Levels
from tpctl.exits.model import Context, MarginMode, Policy, Position, PositionKey, Reason, Regime, RiskReadings
from tpctl.exits.planner import PlanRequest
from tpctl.exits.quantize import market_step, quantity_for_notional, round_quantity
from tpctl.exits.stops import StopSpec
from tpctl.exits.units import Money, Price, Quantity, Ratio, plain, trimmed
from tpctl.ports import Fees

# A hypothetical position without a size is planned at this many units of the margin asset: enough for three legs on
# nearly every symbol, and below the ladder's threshold for large positions.
DEFAULT_NOTIONAL = Decimal(1000)
# Base rates of an account without discounts (binance-usdm 4.8), where the account's own are not read: a plan then errs
# on the expensive side, and says so.
BASE_FEES = Fees(maker=Ratio(Decimal("0.0002")), taker=Ratio(Decimal("0.0005")))


@dataclass(frozen=True, slots=True)
class Given:
    """What the operator gave; None leaves it to measurement, configuration or the documented default.

    `risk` unavailable means that none was asked for, or that nothing measures it. `quantity` and `notional` exclude
    each other.
    """

    side: PositionSide | None = None
    entry: Price | None = None
    mark: Price | None = None
    notional: Money | None = None
    quantity: Quantity | None = None
    leverage: Decimal | None = None
    margin: MarginMode | None = None
    volatility: Ratio | None = None
    regime: Regime | None = None
    confidence: Decimal | None = None
    quote_volume: Money | None = None
    pnl: Ratio | None = None
    risk: RiskReadings | Unavailable | None = None
    policy: Policy | None = None
    legs: Levels | None = None
    stop: StopSpec | None = None
    trail: StopSpec | None = None
    trail_activation: StopSpec | None = None
    fee: Ratio | None = None
    min_reward_risk: Decimal | None = None

    @property
    def hypothetical(self) -> bool:
        """Whether a position is described that the account need not hold."""
        described = (self.side, self.entry, self.notional, self.quantity, self.leverage, self.margin)
        return any(value is not None for value in described)


def bare_context(brackets: tuple[Bracket, ...] | Unavailable, reason: str) -> Context:
    """Return a context in which nothing was measured, for `reason`."""
    missing = Unavailable(reason)
    return Context(
        leverage=missing,
        margin=MarginMode.ISOLATED,
        volatility=missing,
        regime=missing,
        confidence=missing,
        quote_volume=missing,
        atr=missing,
        taker_fee=BASE_FEES.taker,
        maker_fee=BASE_FEES.maker,
        brackets=brackets,
        wallet=missing,
        risk=missing,
        fees_assumed=missing,
    )


def with_given(context: Context, given: Given) -> Context:
    """Return the context with what the operator gave put over it; what he gave wins."""
    return replace(
        context,
        leverage=context.leverage if given.leverage is None else given.leverage,
        margin=given.margin or context.margin,
        volatility=context.volatility if given.volatility is None else given.volatility,
        regime=given.regime or context.regime,
        confidence=context.confidence if given.confidence is None else given.confidence,
        quote_volume=context.quote_volume if given.quote_volume is None else given.quote_volume,
        taker_fee=given.fee or context.taker_fee,
        fees_assumed=context.fees_assumed if given.fee is None else None,
        views=without_given(context.views, given.volatility, given.regime),
        risk=context.risk if given.risk is None else given.risk,
    )


def without_given(views: tuple[Reason, ...], volatility: Ratio | None, regime: Regime | None) -> tuple[Reason, ...]:
    """Return what was chosen among timeframes, without what was given instead."""
    given = {"volatility_view": volatility is not None, "regime_view": regime is not None}
    return tuple(view for view in views if not given.get(view.code))


def position_request(position: Position, instrument: Instrument, context: Context, given: Given) -> PlanRequest:
    """Return the request for an open position: what `watch` would plan on finding it, and what the operator gave."""
    mark = position.mark_price if given.mark is None else given.mark
    context = with_given(context, given)
    return _request(
        position.key, instrument, context, given, quantity=position.quantity, entry=position.entry_price, mark=mark
    )


def hypothetical_request(
    symbol: str, instrument: Instrument, context: Context, mark: Price | Unavailable, given: Given
) -> tuple[PlanRequest, tuple[Reason, ...]]:
    """Return the request for a position that need not exist, and what was assumed for it.

    Long and at the mark unless side and entry are given. A notional is filled up to the step, so that a position of the
    asked size is planned; a quantity goes down to it. An isolated position is backed by its initial margin. Raises
    `InputsError` without an entry, without a leverage, and for a size below the step.
    """
    now = given.mark if given.mark is not None else mark
    entry = given.entry if given.entry is not None else now
    if isinstance(entry, Unavailable):
        raise InputsError(f"entry of {symbol} is unavailable ({entry.reason})", "give it with --entry")
    context = with_given(context, given)
    quantity, assumed = _size(instrument, entry, given)
    if context.margin is MarginMode.ISOLATED and not isinstance(context.leverage, Unavailable) and context.leverage > 0:
        context = replace(context, wallet=quantity * entry / context.leverage)
    key = PositionKey(symbol, given.side or PositionSide.LONG)
    known = None if isinstance(now, Unavailable) else now
    return _request(key, instrument, context, given, quantity=quantity, entry=entry, mark=known), assumed


def margin_assumption(given: Given) -> tuple[Reason, ...]:
    """Return that a position that is not open, of an unknown margin mode, is planned as isolated."""
    if given.margin is not None:
        return ()
    text = "the margin mode is not known: planned as isolated, where only its own margin backs the position"
    return (Reason("inputs", "margin_assumed", text),)


def _request(
    key: PositionKey,
    instrument: Instrument,
    context: Context,
    given: Given,
    *,
    quantity: Quantity,
    entry: Price,
    mark: Price | None,
) -> PlanRequest:
    return PlanRequest(
        key=key,
        quantity=quantity,
        entry=entry,
        mark=mark,
        instrument=instrument,
        context=context,
        policy=given.policy,
        legs=given.legs,
        stop=given.stop,
        trail=given.trail,
        trail_activation=given.trail_activation,
        pnl=given.pnl,
        min_reward_risk=given.min_reward_risk,
        anchor_stop_at_mark=True,
    )


def _size(instrument: Instrument, entry: Price, given: Given) -> tuple[Quantity, tuple[Reason, ...]]:
    notes: list[Reason] = []
    if given.quantity is not None:
        quantity = round_quantity(instrument, given.quantity, market=True)
        if quantity != given.quantity:
            text = f"quantity rounded down to the step of {plain(market_step(instrument))}"
            notes.append(Reason("inputs", "quantity_rounded", text, plain(given.quantity), plain(quantity)))
    else:
        notional = given.notional
        if notional is None:
            notional = DEFAULT_NOTIONAL
            asset = instrument.margin_asset
            text = f"no size was given: planned for {plain(DEFAULT_NOTIONAL)} {asset}; --notional or --qty name another"
            notes.append(Reason("inputs", "size_assumed", text))
        quantity = quantity_for_notional(notional, entry, market_step(instrument))
    if quantity <= 0:
        raise InputsError(
            f"a quantity of '{trimmed(given.quantity or quantity)}' {instrument.symbol} is below the step "
            f"'{plain(market_step(instrument))}'",
            "give a larger --qty",
        )
    return quantity, tuple(notes)
