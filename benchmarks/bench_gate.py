"""How often the gate lets nothing through as something, and something as something: `python -m benchmarks.bench_gate`.

Null candidates are equal to the incumbent in truth; the edge is 0.1 R on 1000 positions. The paired gain deviates by
0.5 R and a day's positions share 0.15 R of it: well above the 0.29 and 0.06 R of policies on the recorded market. All
else that the gate asks for is met, so that the figures are of the statistics alone.
"""

import sys

import numpy as np

from tpctl.learn.gate import Evidence, judge
from tpctl.market.evaluation import Overfitting, Verdict

DAY_MS = 86_400_000


def evidence(seed: int, edge: float, positions: int = 1000, days: int = 250, deviation: float = 0.5) -> Evidence:
    """Return the evidence on a candidate with a true mean gain of `edge` R, days moving together."""
    draw = np.random.default_rng(seed)
    day = np.sort(draw.integers(0, days, positions))
    shared = 0.15 * draw.standard_normal(days)
    gain = edge + shared[day] + deviation * draw.standard_normal(positions)
    sharpes = tuple(0.03 * draw.standard_normal(5))
    seeds = tuple(float(gain.mean() + 0.01 * z) for z in draw.standard_normal(5))
    return Evidence(
        at=day.astype(np.int64) * DAY_MS,
        gain=gain,
        fold=(day * 24 // days).astype(np.int64),
        regime=draw.integers(0, 4, positions),
        incumbent_cvar=-1.1,
        candidate_cvar=-1.1,
        incumbent_drawdown=20.0,
        candidate_drawdown=20.0,
        stressed_gain=float(gain.mean()),
        seed_gains=seeds,
        trial_sharpes=sharpes,
        overfitting=Overfitting(0.1, 12_870, 5, np.zeros(1)),
        violations=0,
        shielded=10_000,
        known_answers=True,
        reproducible=True,
    )


def passes(edge: float, candidates: int, first_seed: int = 0) -> float:
    """Return the share of candidates the gate passes."""
    judged = [judge(evidence(first_seed + seed, edge)).verdict is Verdict.PASSED for seed in range(candidates)]
    return float(np.mean(judged))


def main() -> None:
    """Print both rates."""
    sys.stdout.write(f"false promotion, 200 null candidates: {passes(0.0, 200):.3f}, aim at most 0.05\n")
    sys.stdout.write(
        f"power, 0.1 R on 1000 positions, 200 candidates: {passes(0.1, 200, 1000):.3f}, aim at least 0.80\n"
    )


if __name__ == "__main__":
    main()
