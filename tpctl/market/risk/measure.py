"""All readings of one moment, from candles, positions and account.

Decides nothing but the order: each reading fails on its own, with its reason. Old candles make every reading
unavailable: a market that was calm yesterday is not known to be calm.
"""

from tpctl.market.risk.book_readings import portfolio_readings, position_risks, read_book, tail_readings
from tpctl.market.risk.market_readings import market_readings
from tpctl.market.risk.measurement import Measurement
from tpctl.market.risk.prices import Panel
from tpctl.market.risk.readings import RiskReport


def measure(asked: Measurement) -> RiskReport:
    """Return every reading of the moment; those of value at risk are named after their level, such as `var_95`."""
    panel = asked.fresh
    book = read_book(panel, asked.exposures)
    made = [
        *market_readings(panel, asked),
        *portfolio_readings(book, asked),
        *tail_readings(book, asked),
    ]
    return RiskReport(
        at=asked.at,
        readings={reading.name: reading for reading in made},
        positions=position_risks(panel, book, asked.exposures),
        basket=asked.panel.symbols if isinstance(asked.panel, Panel) else (),
        excluded=asked.panel.excluded if isinstance(asked.panel, Panel) else {},
    )
