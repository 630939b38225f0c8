"""Speed and quality of learning, side by side in one run: `python -m benchmarks.bench_learn [CANDLES.parquet]`.

Steps are candles of positions. The share is of the known optimum of KA-4, on fresh paths. With a file of recorded
candles the training of 10 000 positions is timed too. stable-baselines3 and vectorbt are measured where they are
installed; they are in no extra of ours.
"""

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tpctl.learn.cem import CemRules, fit_cem
from tpctl.learn.config import TrainConfig, base_terms
from tpctl.learn.costs import Costs
from tpctl.learn.environment import ExitEnv, ExitVectorEnv, synthetic_episodes
from tpctl.learn.known_answers import hidden_trend
from tpctl.learn.play import Player
from tpctl.learn.proofs import fit, fresh
from tpctl.learn.replay import Trace, replay, tape_of
from tpctl.learn.stopping import StoppingRule, fit_stopping
from tpctl.learn.train import train

PATHS, STEPS = 10_000, 100


def timed(work: Callable[[], object], least: float = 1.0) -> float:
    """Return the seconds of the fastest of several runs."""
    best, spent = float("inf"), 0.0
    while spent < least:
        began = time.perf_counter()
        work()
        took = time.perf_counter() - began
        best, spent = min(best, took), spent + took
    return best


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def quality() -> None:
    """Print the learners on the hidden trend: a million steps of paths."""
    problem = hidden_trend()
    say(f"KA-4, {PATHS} paths of {STEPS} steps; share of the Bayes optimum on fresh paths")
    for learner in ("stopping", "cem"):
        fit(problem, learner, 2, 500)
        began = time.perf_counter()
        rule = fit(problem, learner, 1, PATHS)
        took = time.perf_counter() - began
        mean, _ = fresh(problem, rule, 1, 100_000)
        trace = problem.paths(PATHS, 1)
        fitting = timed(lambda trace=trace, learner=learner: _fit(trace, learner), least=0.2)  # type: ignore[misc]
        rules = CemRules()
        walked = PATHS * STEPS if learner == "stopping" else rules.candidates * rules.rounds * rules.paths * STEPS
        say(
            f"  {learner:<10} {fitting:6.2f} s, {walked / fitting / 1e6:6.1f} M steps/s walked "
            f"({took:.2f} s with making them), {100 * mean / problem.value:6.2f} %"
        )


def _fit(trace: Trace, learner: str) -> StoppingRule:
    return fit_stopping(trace) if learner == "stopping" else fit_cem(trace, 1)


def environments() -> None:
    """Print steps a second of the plain loop, of the vector form, and of what others make of the plain one."""
    env, steps = ExitEnv(synthetic_episodes()), 3_000
    draw = np.random.default_rng(0)
    actions = np.stack([np.where(draw.random(steps) < 0.02, 3, 0), draw.integers(0, 5, steps)], axis=1)

    def loop() -> None:
        env.reset(seed=0)
        for action in actions:
            if env.step(action)[2]:
                env.reset()

    plain = steps / timed(loop)
    count = 1024
    many = ExitVectorEnv(count)
    hold = np.tile([0, 2], (count, 1))

    def walk() -> None:
        many.reset(seed=0)
        for _ in range(many.episodes.horizon + 1):
            many.step(hold)

    vector = count * (many.episodes.horizon + 1) / timed(walk)
    say(f"Gymnasium loop, one position: {plain / 1e3:8.1f} k steps/s")
    say(f"vector form of {count}:        {vector / 1e3:8.1f} k steps/s, {vector / plain:.0f} x the loop")
    if find_spec("stable_baselines3") is None:
        say("stable-baselines3: not installed, not measured (pip install 'tpctl[ppo]')")
        return
    from benchmarks.stable_baselines import plain as its_loop
    from benchmarks.stable_baselines import together

    problem = hidden_trend()
    for words, (speed, share) in (
        ("DummyVecEnv(8), its defaults", its_loop(problem, 16_384)),
        ("1024 paths walked in numpy", together(problem, 10)),
    ):
        say(f"stable-baselines3 PPO, {words}: {speed / 1e3:6.1f} k steps/s, {100 * share:6.1f} % of KA-4")


def replays() -> None:
    """Print how fast ladder, ratchet and trailing are replayed."""
    episodes = synthetic_episodes(1, 2_000)
    episodes = episodes.take(np.tile(np.arange(len(episodes)), 5))
    config = TrainConfig()
    terms, tape, bars = base_terms(episodes, config), tape_of(episodes), len(episodes) * episodes.horizon
    numpy_speed = bars / timed(lambda: replay(episodes, terms, Costs(), tape=tape))
    say(f"replay, numpy:    {numpy_speed / 1e6:8.1f} M bars/s, aim 5")
    if find_spec("numba") is None:
        say("replay, compiled: numba is not installed, not measured")
        return
    player = Player(episodes, compiled=True)
    player.play(terms, Costs())
    compiled = bars / timed(lambda: player.play(terms, Costs()))
    say(f"replay, compiled: {compiled / 1e6:8.1f} M bars/s, {compiled / numpy_speed:.1f} x numpy, aim 200")
    if find_spec("vectorbt") is None:
        say("vectorbt: not installed, not measured (pip install vectorbt)")
        return
    import vectorbt as vbt

    close = episodes.close.ravel()
    entries = np.zeros(len(close), dtype=bool)
    entries[:: episodes.close.shape[1]] = True
    stops = {"sl_stop": 0.025, "tp_stop": 0.03, "freq": "15min"}
    vbt.Portfolio.from_signals(close, entries, ~entries & False, **stops)
    seconds = timed(lambda: vbt.Portfolio.from_signals(close, entries, ~entries & False, **stops))
    say(f"vectorbt, one stop and one target: {len(close) / seconds / 1e6:.1f} M bars/s")


def recorded(path: Path) -> None:
    """Print the training of 10 000 positions on recorded candles."""
    from tpctl.adapters.price_files import read_prices
    from tpctl.learn.episodes import EpisodeRules, sample_episodes

    began = time.perf_counter()
    series = read_prices([path])
    read = time.perf_counter()
    episodes = sample_episodes(series, EpisodeRules(horizon=96), count=10_000)
    built = time.perf_counter()
    say(f"recorded candles: {read - began:.2f} s to read, {built - read:.2f} s to build 10000 positions")
    for learner in ("stopping", "cem"):
        config = TrainConfig(learner="stopping" if learner == "stopping" else "cem")
        seconds = timed(lambda config=config: train(episodes, config, 1), least=1.5)  # type: ignore[misc]
        say(f"  {learner:<10} {seconds:.2f} s")


def main() -> None:
    """Print everything."""
    quality()
    environments()
    replays()
    if len(sys.argv) > 1:
        recorded(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
