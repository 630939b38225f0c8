"""How `metrics` shows what is known in hindsight: for people and as JSON."""

from decimal import Decimal
from typing import TYPE_CHECKING

from tpctl.adapters.metrics_positions import Early, InHindsight, Other
from tpctl.exits.instrument import Unavailable
from tpctl.exits.scoring import wilson
from tpctl.views.metrics_values import put, spread_fields, summed_fields, total_of

if TYPE_CHECKING:
    from tpctl.views.machine import Json

NOT_SETTLED = "no closed position was settled yet: see --settle"
OTHER_WORDS = {
    "no_exit": "no exit",
    "as_planned": "as planned",
    "dynamic": "dynamic ladder",
    "static": "static ladder",
    "trail_tighter": "tighter trail",
    "trail_looser": "looser trail",
    "clairvoyant": "clairvoyant",
}


def hindsight_lines(found: InHindsight) -> list[str]:
    """Return the lines for people; what nobody settled has none."""
    lines = []
    judged = found.early[-1].judged
    if judged:
        parts = ", ".join(f"{span(one.minutes)} {one.premature}" for one in found.early)
        lines.append(f"left early   of {judged} judged misses the target was reached within {parts}")
    further = ", ".join(
        f"{span(one.minutes)} {one.further.quantiles[0]:+.2%}" for one in found.early if one.further is not None
    )
    if further:
        lines.append(f"went on      best price after the exit against it, p50: {further}")
    head = "instead"
    for name, other in found.others.items():
        in_r = "" if other.better_r is None else f", mean {other.better_r.mean:+.2f} R"
        gained = f"{total_of(other.better):+,.2f} USD{in_r}"
        lines.append(f"{head:<12} {OTHER_WORDS[name]:<14} {gained}, of {other.better.count} positions")
        head = ""
    if found.regret is not None:
        in_r = "" if found.regret_r is None else f", mean {found.regret_r.mean:.2f} R"
        lines.append(f"regret       {total_of(found.regret):,.2f} USD{in_r} behind the best price there was")
    return lines


def hindsight_fields(found: InHindsight | Unavailable) -> "dict[str, Json]":
    """Return what is known in hindsight as the JSON contract has it."""
    rows: dict[str, Json] = {}
    if isinstance(found, Unavailable):
        for name in ("premature_within", "after_exit", "counterfactuals", "regret", "regret_r"):
            put(rows, name, found)
        return rows
    judged = found.early[-1].judged
    within: list[Json] = [_early_fields(one) for one in found.early]
    put(rows, "premature_within", within if judged else Unavailable("no miss was judged yet"))
    after: list[Json] = [
        {"minutes": one.minutes, **spread_fields(one.further)} for one in found.early if one.further is not None
    ]
    put(rows, "after_exit", after or Unavailable(NOT_SETTLED))
    others: list[Json] = [_other_fields(name, other) for name, other in found.others.items()]
    put(rows, "counterfactuals", others or Unavailable(NOT_SETTLED))
    for name, spread in (("regret", found.regret), ("regret_r", found.regret_r)):
        put(rows, name, Unavailable(NOT_SETTLED) if spread is None else summed_fields(spread))
    return rows


def _early_fields(one: Early) -> "dict[str, Json]":
    row: dict[str, Json] = {"minutes": one.minutes, "judged": one.judged, "premature": one.premature}
    for name, value in zip(("rate", "rate_low", "rate_high"), early_rates(one), strict=True):
        put(row, name, Unavailable("no miss was judged yet") if value is None else value)
    return row


def early_rates(one: Early) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
    """Return which share of the judged misses was premature, with its 95% interval; None where none was judged."""
    interval = wilson(one.premature, one.judged)
    if isinstance(interval, Unavailable):
        return None, None, None
    return Decimal(one.premature) / one.judged, *interval


def _other_fields(name: str, other: Other) -> "dict[str, Json]":
    row: dict[str, Json] = {"name": name, "difference_usd": summed_fields(other.better)}
    put(
        row,
        "difference_r",
        Unavailable("the first stop of these positions is not on record")
        if other.better_r is None
        else spread_fields(other.better_r),
    )
    return row


def span(minutes: int) -> str:
    """Return a length of time for people."""
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
