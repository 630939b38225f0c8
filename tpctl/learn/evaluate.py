"""What walk-forward found out of sample, as figures: against every baseline, by slice, under stress, and the verdict.

Decides which figures are reported and what the gate is given. All of them are of true net R on positions no policy was
trained on; gains are paired, candidate less incumbent on the same positions, with intervals over days. Pure: results of
tasks in, figures out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tpctl import __version__
from tpctl.exits.errors import InputsError
from tpctl.learn.baselines import BASELINES, CLAIRVOYANT, HOLD, RANDOM
from tpctl.learn.config import DEFAULT_LEARNERS
from tpctl.learn.gate import Evidence, GateRules, judge
from tpctl.learn.measures import Played, capture, figures, max_drawdown, tail_mean
from tpctl.learn.overfitting import backtest_overfitting, deflate, moments
from tpctl.learn.proofs import NAMES, proof_of, prove_named
from tpctl.learn.regimes import Regimes
from tpctl.learn.resample import by_day, mean_interval, seeds_interval
from tpctl.learn.tasks import Arrays, Engine, Inline, Store, run_tasks
from tpctl.learn.walk import STRESSES, Job, Walk, do, joined, numbers_of, rows_of
from tpctl.market.bars import DAY_MS
from tpctl.market.evaluation import (
    Curve,
    Evaluation,
    Interval,
    Overfitting,
    Proof,
    Row,
    Slice,
    TrialRow,
)

Floats = NDArray[np.float64]
CANDIDATE, INCUMBENT = "candidate", "incumbent"
# Points of a curve that are kept for drawing.
_POINTS = 240


@dataclass(frozen=True, slots=True)
class Earlier:
    """What was tried before: the daily Sharpe ratios of trials, and how many more have none."""

    sharpes: tuple[float, ...] = ()
    unmeasured: int = 0


def evaluate(
    walk: Walk,
    regimes: Regimes,
    *,
    engine: Engine | None = None,
    store: Path | None = None,
    earlier: Earlier | None = None,
    rules: GateRules | None = None,
    apart: bool = True,
    prove: bool = True,
    told: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Return the evaluation of a walk; `store` is a folder that keeps what is finished, of this walk alone.

    `apart` trains without each symbol in turn too. `prove` holds the learner against the known answers; without it, and
    of the challenger, of which they are not asked, the gate refuses. Raises `InputsError` where no fold has a position
    to judge, and what training raises.
    """
    if any(not len(walk.test(fold)) for fold in range(len(walk.folds))):
        raise InputsError("a fold has no position to judge", "give more episodes, or longer data")
    jobs = walk.jobs(apart=apart)
    learner = walk.trials[0].config.learner
    proofs = (
        {f"proof-{learner}-{name}": (learner, name) for name in NAMES} if prove and learner in DEFAULT_LEARNERS else {}
    )
    kept = None if store is None else Store.of(store, *walk.told(), __version__)
    results = run_tasks(
        _task, walk, {**proofs, **{job.name: job for job in jobs}}, engine or Inline(), store=kept, told=told
    )
    found = _Found(walk, regimes, jobs, results)
    return _figures(found, tuple(proof_of(results[name]) for name in proofs), earlier or Earlier(), rules)


def _task(walk: Walk, task: Job | tuple[str, str]) -> Arrays:
    return do(walk, task) if isinstance(task, Job) else prove_named(*task)


class _Found:
    """The results of a walk, joined over its folds. `block` is the horizon in days."""

    def __init__(self, walk: Walk, regimes: Regimes, jobs: tuple[Job, ...], results: Mapping[str, Arrays]) -> None:
        self.walk, self.jobs, self.results = walk, jobs, results
        self.rows, self.fold = rows_of(walk), numbers_of(walk)
        self.at = walk.episodes.started_at[self.rows]
        self.regimes = regimes.take(self.rows)
        self.horizon_ms = walk.episodes.horizon * walk.episodes.interval_ms
        self.block = self.horizon_ms / DAY_MS
        self.candidate = self.policy(0, walk.seeds[0])
        self.incumbent = self.baseline(INCUMBENT)

    @property
    def folds(self) -> range:
        return range(len(self.walk.folds))

    def policy(self, trial: int, seed: int) -> Played:
        """Return one trained policy out of sample."""
        return joined(self.results, [Job("train", fold, trial, seed) for fold in self.folds], "policy")

    def baseline(self, name: str) -> Played:
        """Return one baseline, the incumbent among them."""
        if name == RANDOM:
            first = self.walk.seeds[0]
            return joined(self.results, [Job("train", fold, 0, first) for fold in self.folds], RANDOM)
        return joined(self.results, [Job("baselines", fold) for fold in self.folds], name)

    def arrays(self, kind: str, name: str) -> NDArray[np.float64]:
        """Return a plain array of all folds, of the baselines or of the candidate."""
        first = self.walk.seeds[0]
        made = [Job("baselines", fold) if kind == INCUMBENT else Job("train", fold, 0, first) for fold in self.folds]
        return np.concatenate([self.results[job.name][name] for job in made])


def _figures(found: _Found, proofs: tuple[Proof, ...], earlier: Earlier, rules: GateRules | None) -> Evaluation:
    walk, episodes = found.walk, found.walk.episodes
    candidate, incumbent = found.candidate, found.incumbent
    gain = candidate.r - incumbent.r
    trials = _trials(found)
    seeds = [candidate, *(found.policy(0, seed) for seed in walk.seeds[1:])]
    scores = np.array([_per_fold(found, one.r - incumbent.r) for one in seeds])
    sharpes = (
        *earlier.sharpes,
        *(one.sharpe for one in trials),
        *(_sharpe(found.at, s.r - incumbent.r) for s in seeds[1:]),
    )
    overfit = _overfitting(found)
    repeat = found.results[Job("repeat", len(walk.folds) - 1, 0, walk.seeds[0]).name]
    first_time = found.results[Job("train", len(walk.folds) - 1, 0, walk.seeds[0]).name]["hash"]
    reproducible = bool(np.array_equal(repeat["hash"], first_time))
    stress = _stress(found)
    judgement = judge(
        Evidence(
            at=found.at,
            gain=gain,
            fold=found.fold,
            regime=found.regimes.label,
            incumbent_cvar=tail_mean(incumbent.r),
            candidate_cvar=tail_mean(candidate.r),
            incumbent_drawdown=_drawdown(found, incumbent),
            candidate_drawdown=_drawdown(found, candidate),
            stressed_gain=next(one.gain.mean for one in stress if one.name == STRESSES[0]),
            seed_gains=tuple(float((one.r - incumbent.r).mean()) for one in seeds),
            trial_sharpes=sharpes,
            overfitting=overfit,
            violations=int(found.arrays(CANDIDATE, "violations").sum() + repeat["violations"][0]),
            shielded=len(found.rows) + len(episodes),
            horizon_days=found.block,
            known_answers=all(one.ok for one in proofs) if proofs else None,
            unmeasured=earlier.unmeasured,
            reproducible=reproducible,
        ),
        rules,
    )
    policies = {CANDIDATE: candidate, INCUMBENT: incumbent, **{name: found.baseline(name) for name in BASELINES}}
    return Evaluation(
        configuration=walk.trials[0].config.text(),
        data_hash=episodes.data_hash(),
        positions=len(found.rows),
        symbols=episodes.symbols,
        first=walk.folds[0].test_from,
        last=walk.folds[-1].test_until,
        horizon_ms=found.horizon_ms,
        incumbent=walk.trials[0].config.exits,
        rows=_rows(found, policies),
        folds=_slices(found, found.fold, [str(one + 1) for one in found.folds]),
        by_symbol=_by_symbol(found),
        by_regime=_slices(found, found.regimes.label, found.regimes.names),
        stress=stress,
        trials=trials,
        seeds=tuple(float((one.r - incumbent.r).mean()) for one in seeds),
        seeds_middle=seeds_interval(scores),
        overfitting=overfit,
        deflated=deflate(by_day(found.at, gain).sums, sharpes, earlier.unmeasured),
        judgement=judgement,
        curves=tuple(_curve(found, name, played) for name, played in policies.items() if name != CLAIRVOYANT),
        outcomes={CANDIDATE: candidate.r, INCUMBENT: incumbent.r},
        single=tuple(float(found.results[Job("baselines", fold).name]["single"][0]) for fold in found.folds),
        reproducible=reproducible,
        proofs=proofs,
    )


def _rows(found: _Found, policies: Mapping[str, Played]) -> tuple[Row, ...]:
    means = {name: float(played.r.mean()) for name, played in policies.items()}
    incumbent = policies[INCUMBENT]
    rows = []
    for name, played in policies.items():
        gain = None if name == INCUMBENT else _interval(found, played.r - incumbent.r)
        share = capture(means[name], means[HOLD], means[CLAIRVOYANT])
        rows.append(Row(name, figures(found.at, played), gain, share))
    return tuple(rows)


def _interval(found: _Found, values: Floats, mine: NDArray[np.bool_] | slice = slice(None)) -> Interval:
    return mean_interval(by_day(found.at[mine], values[mine]), least_block=found.block)


def _slice(
    found: _Found, name: str, candidate: Floats, incumbent: Floats, mine: NDArray[np.bool_] | slice = slice(None)
) -> Slice:
    gain = _interval(found, candidate - incumbent, mine)
    here, there = candidate[mine], incumbent[mine]
    return Slice(name, len(here), float(there.mean()), float(here.mean()), gain)


def _slices(found: _Found, label: NDArray[np.int64], names: Sequence[str]) -> tuple[Slice, ...]:
    return tuple(
        _slice(found, name, found.candidate.r, found.incumbent.r, label == number)
        for number, name in enumerate(names)
        if (label == number).any()
    )


def _by_symbol(found: _Found) -> tuple[Slice, ...]:
    episodes = found.walk.episodes
    label = episodes.symbol[found.rows]
    apart: dict[str, float] = {}
    worth = dict(zip(found.rows.tolist(), found.incumbent.r.tolist(), strict=True))
    for number, symbol in enumerate(episodes.symbols):
        mine = [found.results[job.name] for job in found.jobs if job.kind == "apart" and job.symbol == number]
        if mine:
            rows, r = (np.concatenate([one[name] for one in mine]) for name in ("rows", "policy"))
            apart[symbol] = float((r - np.array([worth[row] for row in rows.tolist()])).mean())
    return tuple(replace(one, apart=apart.get(one.name)) for one in _slices(found, label, episodes.symbols))


def _stress(found: _Found) -> tuple[Slice, ...]:
    return tuple(_slice(found, name, found.arrays(CANDIDATE, name), found.arrays(INCUMBENT, name)) for name in STRESSES)


def _trials(found: _Found) -> tuple[TrialRow, ...]:
    rows = []
    for number, trial in enumerate(found.walk.trials):
        played = found.policy(number, found.walk.seeds[0])
        gain = played.r - found.incumbent.r
        rows.append(
            TrialRow(
                trial.name,
                trial.config.bonus,
                trial.config.pnl_scale,
                float(played.r.mean()),
                float(played.hit.mean()),
                _interval(found, gain),
                _sharpe(found.at, gain),
            )
        )
    return tuple(rows)


def _sharpe(at: NDArray[np.int64], gain: Floats) -> float:
    return moments(by_day(at, gain).sums)[0]


def _overfitting(found: _Found) -> Overfitting | None:
    """Return PBO over the daily gains of all trials; None where days or trials are too few for it."""
    daily = [
        by_day(found.at, found.policy(number, found.walk.seeds[0]).r - found.incumbent.r).sums
        for number in range(len(found.walk.trials))
    ]
    try:
        return backtest_overfitting(np.stack(daily, axis=1))
    except ValueError:
        return None


def _per_fold(found: _Found, gain: Floats) -> Floats:
    means: Floats = np.bincount(found.fold, weights=gain) / np.bincount(found.fold)
    return means


def _drawdown(found: _Found, played: Played) -> float:
    return max_drawdown(found.at + played.holding_ms.astype(np.int64), played.r)


def _curve(found: _Found, name: str, played: Played) -> Curve:
    """Return the running sum in order of closing, thinned to what can be drawn."""
    at = found.at + played.holding_ms.astype(np.int64)
    order = np.argsort(at, kind="stable")
    total = np.cumsum(played.r[order])
    kept = np.unique(np.linspace(0, len(total) - 1, min(_POINTS, len(total))).round().astype(np.int64))
    return Curve(name, at[order][kept], total[kept])
