"""The known answers of learning 4, learned and held against the truth: `python -m benchmarks.bench_known_answers`.

Each rule is learned on its own paths and valued on fresh ones; shares are of the known value, with two standard errors.
KA-6 compares the level to sell from, KA-7 the distortion by the bonus with the published table, and KA-1 is asked of
the gate too: what is learned where there is nothing may not be promoted. Where stable-baselines3 is installed (extra
`ppo`), PPO is asked too, within a budget: by the last column, its steps, and by none of the marks a learner of ours
must reach.
"""

import sys
import time
from importlib.util import find_spec

from tpctl.learn.distortion import PUBLISHED, SCALES, TARGETS, distorted, optimum
from tpctl.learn.known_answers import EXACT, driftless_walk
from tpctl.learn.liquidation import perpetual_sale
from tpctl.learn.proofs import judge_nothing, prove, prove_bonus
from tpctl.market.evaluation import Verdict

LEARN, FRESH = 20_000, 100_000
NULL_SEEDS = 20


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def problems() -> None:
    """Print what both learners make of every problem."""
    say(f"{'problem':<28}{'known':>9}{'stopping':>28}{'s':>6}{'cem':>28}{'s':>6}")
    sales = (perpetual_sale(0.05, 0.0), perpetual_sale(0.1, 0.1))
    for problem in (*EXACT, driftless_walk(), *sales):
        cells = [f"{problem.name:<28}{problem.value:>9.4f}"]
        for learner in ("stopping", "cem"):
            began = time.process_time()
            proof = prove(problem, learner, paths=LEARN, judged=FRESH)
            spent = time.process_time() - began
            share = f"{100 * proof.found / problem.value:.2f}%" if problem.value > 0 else ""
            told = "holds" if proof.ok else "FAILS"
            cells.append(f"{proof.found:>8.4f} {share:>7} ±{proof.error:.3f} {told:>5}{spent:>6.1f}")
        say("".join(cells))


def challenger() -> None:
    """Print what PPO makes of every problem; KA-6 asks for a level, which a network does not have."""
    if find_spec("stable_baselines3") is None:
        say("PPO: stable-baselines3 is not installed, not asked (pip install 'tpctl[ppo]')")
        return
    from benchmarks.stable_baselines import BUDGET, MOST_ROUNDS, asked

    say(f"PPO, at most {BUDGET} steps and {MOST_ROUNDS} rounds a problem, one seed")
    say(f"{'problem':<28}{'known':>9}{'found':>9}{'share':>9}{'':>9}{'CPU s':>7}{'steps':>9}")
    for problem in (*EXACT, driftless_walk()):
        began = time.process_time()
        mean, error, steps = asked(problem, LEARN, FRESH)
        spent = time.process_time() - began
        share = f"{100 * mean / problem.value:.2f}%" if problem.value > 0 else ""
        cells = f"{problem.name:<28}{problem.value:>9.4f}{mean:>9.4f}{share:>9}{f'±{2 * error:.3f}':>9}"
        say(f"{cells}{spent:>7.1f}{steps:>9}")


def bonus() -> None:
    """Print KA-7: profit and hit rate under the bonus, published and solved."""
    most = optimum()
    say(f"KA-7: net R as % of the optimum of {most:.5f} (known 0.57727) / hit rate %, published in brackets")
    say(f"{'target R':>8}" + "".join(f"{f'k = {scale:g}':>28}" for scale in SCALES))
    for target in TARGETS:
        row = f"{target:>8}"
        for scale in SCALES:
            found, (share, hits) = distorted(target, scale), PUBLISHED[target, scale]
            row += f"{100 * found.mean_r / most:>10.1f} ({share:.1f}) {100 * found.hit_rate:.1f} ({hits:g})".rjust(28)
        say(row)
    proof = prove_bonus()
    say(f"largest difference of profit {proof.found:.2f} points: {'holds' if proof.ok else 'FAILS'}")


def nothing() -> None:
    """Print what the gate says of rules learned on a walk without drift."""
    refused = sum(judge_nothing(seed).verdict is Verdict.REFUSED for seed in range(NULL_SEEDS))
    say(f"KA-1 before the gate: {refused} of {NULL_SEEDS} seeds refused, aim all")


def main() -> None:
    """Print everything."""
    problems()
    challenger()
    bonus()
    nothing()


if __name__ == "__main__":
    main()
