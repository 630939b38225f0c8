"""Faults of prices: gaps that stay and wicks that do not, put over the steps of any market source.

A gap scales last and mark of one symbol from its step on; a wick moves the last price of one step. Prices stay on the
symbol's tick, marks at eight decimals.
"""

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from tpctl.exits.units import ONE, Price
from tpctl.venue.faults.dice import Dice
from tpctl.venue.quotes import MarketStep, Quote
from tpctl.venue.rulebook import RuleBook

_MARK_PLACES: Final = Decimal("0.00000001")
# Gaps add up; beyond this factor a symbol is left where it is.
_WIDEST: Final = (Decimal("0.5"), Decimal(2))


class Prices:
    """The gaps there have been, and the wicks of the step at hand."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._factor: dict[str, Decimal] = {}

    def apply(self, step: MarketStep, rules: RuleBook) -> MarketStep:
        """Return the step as it is traded."""
        wick: tuple[str, Decimal] | None = None
        if step.quotes:
            if self._dice.due("price-gap", step.at):
                symbol, move = self._drawn("price-gap", step, 0.01, 0.06)
                factor = self._factor.get(symbol, ONE) * move
                if _WIDEST[0] <= factor <= _WIDEST[1]:
                    self._factor[symbol] = factor
            if self._dice.due("wick", step.at):
                wick = self._drawn("wick", step, 0.005, 0.04)
        if not self._factor and wick is None:
            return step
        return replace(step, quotes=tuple(self._moved(quote, wick, rules) for quote in step.quotes))

    def _drawn(self, name: str, step: MarketStep, low: float, high: float) -> tuple[str, Decimal]:
        numbers = self._dice.of(name)
        symbol = step.quotes[numbers.randrange(len(step.quotes))].symbol
        move = Decimal(str(round(numbers.uniform(low, high), 4)))
        move = ONE + move if numbers.random() < 0.5 else ONE - move
        self._dice.tell(f"{symbol} times {move}")
        return symbol, move

    def _moved(self, quote: Quote, wick: tuple[str, Decimal] | None, rules: RuleBook) -> Quote:
        factor = self._factor.get(quote.symbol, ONE)
        spike = wick[1] if wick is not None and wick[0] == quote.symbol else ONE
        if factor == spike == ONE:
            return quote
        known = rules.symbols.get(quote.symbol)
        tick = known.tick if known is not None and known.tick else _MARK_PLACES
        return replace(
            quote,
            last=_on_tick(quote.last * factor * spike, tick),
            mark=max((quote.mark * factor).quantize(_MARK_PLACES, rounding=ROUND_HALF_EVEN), _MARK_PLACES),
        )


def _on_tick(price: Price, tick: Price) -> Price:
    return max((price / tick).to_integral_value(rounding=ROUND_HALF_EVEN), ONE) * tick
