"""What a rehearsal found, for people and for scripts (`tpctl.rehearse/1`).

Decides words and fields only. Money does not appear; times without a stop are in ms of the story.
"""

from collections.abc import Sequence

from tpctl.rehearsal.stories import Broken, Tally, quantile
from tpctl.views.machine import Json

# Stretches without a stop that are told one by one.
_LONGEST = 5


def fields(total: Tally, broken: Sequence[Broken], *, days: str, seeds: str, faults: Sequence[str]) -> dict[str, Json]:
    """Return the figures as the `data` of `tpctl.rehearse/1`; a quantile of nothing is null."""
    return {
        "seeds": seeds,
        "days": days,
        "stories": total.stories,
        "position_days": f"{total.position_days:.2f}",
        "positions": total.positions,
        "orders": total.orders,
        "reduces": total.reduces,
        "requests": total.requests,
        "lives": total.lives,
        "peak_weight_1m": total.peak_weight,
        "faults": list(faults),
        "injected": {name: total.faults[name] for name in sorted(total.faults)},
        "violations": len(total.broken),
        "broken_seeds": _seeds(total),
        "broken": [
            {
                "seed": one.seed,
                "invariant": one.violation.invariant,
                "at_ms": one.violation.at,
                "text": one.violation.text,
                "strikes": None if one.strikes is None else list(one.strikes),
            }
            for one in broken
        ],
        "first_stop_ms": _spread(total.first_ms),
        "naked_ms": _spread(total.naked_ms),
        "naked_ms_by_fault": {name: _spread(values) for name, values in sorted(total.naked_by_fault.items())},
        "longest_naked": [
            {"seed": seed, "symbol": one.symbol, "at_ms": one.began, "ms": one.ms, "faults": list(one.faults)}
            for seed, one in total.longest_naked(_LONGEST)
        ],
        "traces": {str(seed): total.traces[seed] for seed in sorted(total.traces)},
    }


def _seeds(total: Tally) -> list[int]:
    """Return the seeds of all stories that broke something; only the first of them are shrunk."""
    return sorted({seed for seed, _ in total.broken})


def _spread(values: Sequence[int]) -> dict[str, Json]:
    return {
        "count": len(values),
        "p50": quantile(values, 0.5),
        "p99": quantile(values, 0.99),
        "max": max(values, default=None),
        "total": sum(values),
    }


def lines(total: Tally, broken: Sequence[Broken], *, days: str, seeds: str, faults: Sequence[str]) -> list[str]:
    """Return the report as an operator reads it."""
    found = [
        f"stories        {total.stories} (seeds {seeds}, {days} days each)",
        f"position-days  {total.position_days:,.1f} in {total.positions:,} positions",
        f"sent           {total.orders:,} orders, {total.reduces:,} of them reduces at market",
        f"requests       {total.requests:,}, at most {total.peak_weight:,} weight a minute",
        f"lives          {total.lives:,} of the process",
        "",
        f"faults         {sum(total.faults.values()):,} of {len(total.faults)} kinds",
        *(f"  {name:<18}{count:>8,}" for name, count in total.faults.most_common()),
        "",
        _row("first stop", total.first_ms, "from when a position appeared"),
        _row("naked time", total.naked_ms, "after that"),
        *(_row(f"  {name}", values, "") for name, values in sorted(total.naked_by_fault.items())),
        *(
            f"  seed {seed}: {one.symbol} {one.ms:,} ms ({', '.join(one.faults) or 'no fault'})"
            for seed, one in total.longest_naked(_LONGEST)
        ),
        "",
        f"violations     {len(total.broken)}",
    ]
    if not faults:
        found = [line for line in found if not line.startswith("faults ")]
    for one in broken:
        cause = "all strikes" if one.strikes is None else ", ".join(one.strikes) or "no fault at all"
        found += [
            f"  seed {one.seed}: {one.violation.invariant}: {one.violation.text}",
            f"    it takes: {cause}",
        ]
    others = [str(seed) for seed in _seeds(total) if seed not in {one.seed for one in broken}]
    if others:
        found.append(f"  also broken: seeds {', '.join(others)}")
    return found


def _row(name: str, values: Sequence[int], what: str) -> str:
    if not values:
        return f"{name:<15}0 ms {what}".rstrip()
    p50, p99 = quantile(values, 0.5), quantile(values, 0.99)
    spread = f"p50 {p50:,} ms, p99 {p99:,} ms, max {max(values):,} ms"
    return f"{name:<15}{len(values):,} times: {spread} {what}".rstrip()
