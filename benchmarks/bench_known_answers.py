"""The known answers of learning 4, learned and held against the truth: `python -m benchmarks.bench_known_answers`.

Each rule is learned on its own paths and valued on fresh ones; shares are of the known value, with two standard errors.
"""

import sys
import time

import numpy as np

from tpctl.learn.cem import fit_cem
from tpctl.learn.known_answers import EXACT, Problem, driftless_walk
from tpctl.learn.stopping import StoppingRule, fit_stopping, values_of

LEARN, FRESH = 20_000, 100_000


def learned(problem: Problem, learner: str, seed: int, paths: int = LEARN) -> StoppingRule:
    """Return the rule a learner finds."""
    trace = problem.paths(paths, seed)
    return fit_stopping(trace) if learner == "stopping" else fit_cem(trace, seed)


def fresh_value(problem: Problem, rule: StoppingRule, seed: int, paths: int = FRESH) -> tuple[float, float]:
    """Return mean and standard error of a rule on paths it has not seen."""
    trace = problem.paths(paths, 10_000 + seed)
    values = values_of(trace, rule.scores(trace.features))
    return float(values.mean()), float(values.std() / np.sqrt(paths))


def main() -> None:
    """Print the table."""
    sys.stdout.write(f"{'problem':<28}{'known':>9}{'stopping':>20}{'s':>6}{'cem':>20}{'s':>6}\n")
    for problem in (*EXACT, driftless_walk()):
        cells = [f"{problem.name:<28}{problem.value:>9.4f}"]
        for learner in ("stopping", "cem"):
            began = time.process_time()
            rule = learned(problem, learner, 1)
            spent = time.process_time() - began
            mean, error = fresh_value(problem, rule, 1)
            share = f"{100 * mean / problem.value:.2f}%" if problem.value > 0 else ""
            cells.append(f"{mean:>9.4f} {share:>7} {'±' + format(2 * error, '.3f'):>0}{spent:>6.1f}")
        sys.stdout.write("".join(cells) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
