"""Questions to the metrics index about positions beside their attempts: excursions, and how long requests took."""

from collections.abc import Mapping
from dataclasses import dataclass

from tpctl.adapters.metrics_excursions import STAGES
from tpctl.adapters.metrics_query import MetricsQuery, Selection, Spread

_MEASURES = ("mfe", "mae", "mfe_r", "mae_r", "capture")


@dataclass(frozen=True, slots=True)
class Excursions:
    """How far positions went and what was kept of it; None where no position has it on record.

    `mfe` and `mae` are shares of the entry, `mfe_r` and `mae_r` in units of the first stop's distance. `capture` is the
    move that was realised over the most favourable one.
    """

    mfe: Spread | None
    mae: Spread | None
    mfe_r: Spread | None
    mae_r: Spread | None
    capture: Spread | None


def excursions(query: MetricsQuery, chosen: Selection) -> Excursions:
    """Return the excursions of the positions that closed."""
    return Excursions(*(query.spread("excursions", name, chosen, f"{name} IS NOT NULL") for name in _MEASURES))


def delays(query: MetricsQuery, chosen: Selection) -> Mapping[str, Spread]:
    """Return how long orders took by stage of `STAGES`, in ms; a stage without an order is left out."""
    found = {
        name: query.spread("delays", "ms", chosen, f"stage = {number}", whole=True)
        for number, name in enumerate(STAGES)
    }
    return {name: spread for name, spread in found.items() if spread is not None}
