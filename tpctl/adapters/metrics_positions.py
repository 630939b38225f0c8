"""Questions to the metrics index about positions beside their attempts: excursions, and how long requests took."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from tpctl.adapters.metrics_excursions import STAGES
from tpctl.adapters.metrics_query import MetricsQuery, Selection, Spread
from tpctl.exits.settlement import ALTERNATIVES, HORIZONS
from tpctl.exits.units import Money

_MEASURES = ("mfe", "mae", "mfe_r", "mae_r", "capture")


@dataclass(frozen=True, slots=True)
class Excursions:
    """How far positions went and what was kept of it; None where no position has it on record.

    `mfe` and `mae` are shares of the entry, `mfe_r` and `mae_r` in units of the first stop's distance. `capture` is the
    move that was realised over the most favourable one. Its mean is ruled by positions that hardly moved; `captured`
    weighs each position by what it was offered.
    """

    mfe: Spread | None
    mae: Spread | None
    mfe_r: Spread | None
    mae_r: Spread | None
    capture: Spread | None
    captured: "Captured | None" = None


@dataclass(frozen=True, slots=True)
class Captured:
    """What positions that were ever in profit took together, and what their best marks offered: USD before fees."""

    count: int
    taken: Money
    offered: Money

    @property
    def share(self) -> Decimal:
        """What was taken over what was offered."""
        return self.taken / self.offered


@dataclass(frozen=True, slots=True)
class Other:
    """What one other exit had given beyond the real one, in USD and, where the risk is on record, in R."""

    better: Spread
    better_r: Spread | None


@dataclass(frozen=True, slots=True)
class Amounts:
    """Amounts of money: their exact sum, and how they spread."""

    total: Money
    spread: Spread


@dataclass(frozen=True, slots=True)
class Charges:
    """What closed positions cost beside the fees of their exits, USD; funding is positive where it was paid.

    `read` is of how many the account's history was read; `net` is their PnL after everything. None where of no position
    the history tells it.
    """

    read: int
    entry_fees: Amounts | None
    funding: Amounts | None
    net: Amounts | None


@dataclass(frozen=True, slots=True)
class Early:
    """Of the misses that were judged, how many had reached their target so many minutes after the exit.

    `further` is how far the best price of those minutes lay beyond the exits of closed positions, as a share.
    """

    minutes: int
    judged: int
    premature: int
    further: Spread | None


@dataclass(frozen=True, slots=True)
class InHindsight:
    """What the paths after the exits say. `others` are by the names of `ALTERNATIVES`."""

    early: tuple[Early, ...]
    others: Mapping[str, Other]
    regret: Spread | None
    regret_r: Spread | None


def in_hindsight(query: MetricsQuery, chosen: Selection) -> InHindsight:
    """Return what is known of the selected positions and misses in hindsight."""
    others = {}
    for number, name in enumerate(ALTERNATIVES):
        better = query.spread("alternatives", "better", chosen, f"name = {number}")
        if better is not None:
            in_r = query.spread("alternatives", "better_r", chosen, f"name = {number} AND better_r IS NOT NULL")
            others[name] = Other(better, in_r)
    return InHindsight(
        early=tuple(_early(query, chosen, minutes) for minutes in HORIZONS),
        others=others,
        regret=query.spread("settled", "regret", chosen, "regret IS NOT NULL"),
        regret_r=query.spread("settled", "regret_r", chosen, "regret_r IS NOT NULL"),
    )


def _early(query: MetricsQuery, chosen: Selection, minutes: int) -> Early:
    # A verdict of an older tpctl does not say when: it counts at the end only.
    known = "premature = 1" if minutes == HORIZONS[-1] else f"premature = 1 AND after <= {minutes * 60_000}"
    return Early(
        minutes,
        query.count("verdicts", chosen, "1"),
        query.count("verdicts", chosen, known),
        query.spread("afters", "further", chosen, f"minutes = {minutes}"),
    )


def excursions(query: MetricsQuery, chosen: Selection) -> Excursions:
    """Return the excursions of the positions that closed."""
    spreads = [query.spread("excursions", name, chosen, f"{name} IS NOT NULL") for name in _MEASURES]
    mfe, mae, mfe_r, mae_r, capture = spreads
    return Excursions(mfe, mae, mfe_r, mae_r, capture, _captured(query, chosen))


def _captured(query: MetricsQuery, chosen: Selection) -> Captured | None:
    count = query.count("excursions", chosen, "offered IS NOT NULL")
    if not count:
        return None
    taken, offered = (query.total("excursions", name, chosen, "offered IS NOT NULL") for name in ("taken", "offered"))
    return Captured(count, taken, offered)


def charges(query: MetricsQuery, chosen: Selection) -> Charges:
    """Return what the positions that closed cost, as far as the account's history was read."""
    fees, funding, net = (_amounts(query, chosen, name) for name in ("entry_fees", "funding", "net"))
    return Charges(query.count("costs", chosen, "1"), fees, funding, net)


def _amounts(query: MetricsQuery, chosen: Selection, column: str) -> Amounts | None:
    told = f"{column} IS NOT NULL"
    spread = query.spread("costs", column, chosen, told)
    return None if spread is None else Amounts(query.total("costs", column, chosen, told), spread)


def delays(query: MetricsQuery, chosen: Selection) -> Mapping[str, Spread]:
    """Return how long orders took by stage of `STAGES`, in ms; a stage without an order is left out."""
    found = {
        name: query.spread("delays", "ms", chosen, f"stage = {number}", whole=True)
        for number, name in enumerate(STAGES)
    }
    return {name: spread for name, spread in found.items() if spread is not None}
