"""Judges a configuration by walk-forward, shows what was found, and tells a candidate's verdict to the registry.

What is tried counts: every configuration of the walk is written to the trials, with what it came to, before anything
is shown. It runs nicely, one at a time, and promotes nothing.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from msgspec import structs

from tpctl.adapters.files import open_state_dir, write_atomic
from tpctl.adapters.policy_registry import GateCheck, GateRecord, PolicyRegistry, Record, Trial
from tpctl.cli.retrain_options import Learner, RetrainOptions, Training
from tpctl.exits.errors import ExitCode, InputsError
from tpctl.market.evaluation import Evaluation
from tpctl.settings.load import load
from tpctl.settings.schema import Settings
from tpctl.views.evaluation import record as plain
from tpctl.views.evaluation import tables
from tpctl.views.machine import document

if TYPE_CHECKING:
    from tpctl.cli.retrain_data import Material
    from tpctl.learn.config import TrainConfig
    from tpctl.learn.evaluate import Earlier
    from tpctl.learn.walk import Walk

_NICENESS = 10
# Learning 6: at least five seeds; 24 folds of a month after a year of training and the gap between them.
SEEDS, DAYS = 5, 1140
_WHAT = "walk-forward"


def run_evaluation(options: RetrainOptions) -> ExitCode:
    """Evaluate what the options ask for and print it."""
    if find_spec("numpy") is None or find_spec("threadpoolctl") is None:
        raise InputsError("evaluation needs an extra", "install it: pip install 'tpctl[learn]'")
    shared = options.shared
    settings = load(shared.config, shared.profile, shared.state_dir)
    registry = PolicyRegistry(open_state_dir(settings.state_dir).path)
    with suppress(OSError):
        os.nice(_NICENESS)
    with registry.lock():
        asked = _ask(options, settings, registry)
        try:
            found = _evaluated(options, asked, registry)
        except KeyboardInterrupt:
            sys.stderr.write("\nstopped; what is finished is kept: the same command goes on from there\n")
            raise
        now = time.time_ns() // 1_000_000
        registry.count_trials(_trials(found, asked.walk, now))
        if asked.candidate is not None:
            registry.write_record(structs.replace(asked.candidate, gate=_gate(found, now)))
    name = None if asked.candidate is None else asked.candidate.hash
    if options.report is not None:
        from tpctl.views.evaluation_page import page_html

        write_atomic(options.report, page_html(found, name, now, settings.name).encode())
    warnings = asked.material.warnings
    if options.json:
        data = {"evaluation": plain(found, name)}
        sys.stdout.write(document("retrain", now, settings.name, settings.profile.env.value, "shadow", data, warnings))
        return ExitCode.OK
    if not shared.quiet:
        sys.stderr.writelines(f"warning: {text}\n" for _, text in warnings)
        if name is None:
            sys.stderr.write("warning: no candidate has this configuration, so the verdict is kept of none\n")
    sys.stdout.write(tables(found, name))
    return ExitCode.OK


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is evaluated: the walk, what it was made of, and the candidate the verdict is of."""

    walk: "Walk"
    material: "Material"
    candidate: Record | None


def _ask(options: RetrainOptions, settings: Settings, registry: PolicyRegistry) -> _Asked:
    from tpctl.cli.retrain_data import gather
    from tpctl.learn.folds import walk_forward
    from tpctl.learn.walk import Walk, trials_of

    training, named, origin = options.training, None, None
    now = time.time_ns() // 1_000_000
    if options.named:
        named = registry.find(options.named)
        # What a candidate was trained with, and by what had been measured then.
        origin, now = json.loads(registry.policy(named.hash).origin.configuration), named.at
        training = _of_candidate(training, named, origin)
    if training.days is None and not training.data:
        training = replace(training, days=DAYS)
    material = gather(training, settings, open_state_dir(settings.state_dir), options.venue, now)
    config = _config(training, settings, material)
    if origin is not None:
        config = replace(config, bonus=float(origin["bonus"]), pnl_scale=float(origin["pnl_scale"]))
    digest = _hash(config.text())
    if named is not None and digest != named.configuration_hash:
        raise InputsError(
            f"candidate {named.hash[:12]!r} was trained under other rules or costs",
            "train again under the present ones: tpctl retrain --run",
        )
    candidates = [one for one in registry.records() if one.configuration_hash == digest]
    candidate = named or (candidates[-1] if candidates else None)
    episodes = material.episodes
    folds = walk_forward(*material.span, episodes.horizon * episodes.interval_ms)
    seed = 1 if candidate is None else candidate.seed
    others = [one for one in range(1, training.seeds + 1) if one != seed]
    seeds = (seed, *others[: training.seeds - 1])
    return _Asked(Walk(episodes, folds, trials_of(config), seeds), material, candidate)


def _of_candidate(training: Training, record: Record, origin: Mapping[str, Any]) -> Training:
    """Return the training a candidate came from, on the data that are named now."""
    return replace(
        training,
        learner=Learner(origin["learner"]),
        zone=Decimal(str(origin["zone"])),
        symbols=training.symbols or record.symbols,
    )


def _config(training: Training, settings: Settings, material: "Material") -> "TrainConfig":
    from tpctl.cli.retrain_run import config_of
    from tpctl.learn.feedback import informed

    if len(training.weights) != 1:
        raise InputsError("an evaluation is of one reward", "give --reward-weights once: other bonuses are tried too")
    bonus, scale = training.weights[0]
    plain_config = replace(config_of(training, settings), bonus=float(bonus), pnl_scale=float(scale))
    return informed(plain_config, material.feedback)


def _evaluated(options: RetrainOptions, asked: _Asked, registry: PolicyRegistry) -> "Evaluation":
    from tpctl.learn.evaluate import evaluate
    from tpctl.learn.regimes import stress_thirds
    from tpctl.learn.tasks import engine_of

    show = sys.stderr.isatty() and not options.shared.quiet
    began = time.perf_counter()
    first: list[int] = []

    def told(done: int, count: int) -> None:
        first.append(done)
        if show:
            fresh = done - first[0]
            left = (time.perf_counter() - began) / fresh * (count - done) if fresh else 0.0
            rest = f", {left:.0f} s left" if fresh else ""
            sys.stderr.write(f"\r\x1b[K{done} of {count} tasks of {len(asked.walk.folds)} folds{rest}")

    found = evaluate(
        asked.walk,
        stress_thirds(asked.material.episodes, asked.material.series),
        engine=engine_of(options.cluster, options.workers),
        store=registry.path / "evaluation",
        earlier=_earlier(registry, asked.walk),
        told=told,
    )
    if show:
        sys.stderr.write("\r\x1b[K")
    return found


def _earlier(registry: PolicyRegistry, walk: "Walk") -> "Earlier":
    """Return what was tried before: each configuration on each data once, and none that is tried now."""
    from tpctl.learn.evaluate import Earlier

    now = {_hash(one.config.text()) for one in walk.trials}
    trials = registry.trials()
    others = [one for one in trials.rows if one.configuration_hash not in now]
    measured = {
        (one.configuration_hash, one.data_hash, one.seed): one.sharpe for one in others if one.sharpe is not None
    }
    known = {name for name, _, _ in measured}
    unmeasured = {one.configuration_hash for one in others} - known
    return Earlier(tuple(measured.values()), len(unmeasured) + trials.damaged)


def _trials(found: "Evaluation", walk: "Walk", now: int) -> Sequence[Trial]:
    seed = walk.seeds[0]
    return [
        Trial(now, _hash(trial.config.text()), found.data_hash, trial.config.learner, seed, _WHAT, row.sharpe)
        for trial, row in zip(walk.trials, found.trials, strict=True)
    ]


def _gate(found: "Evaluation", now: int) -> GateRecord:
    judgement = found.judgement
    gain = judgement.interval
    return GateRecord(
        judgement.verdict.value,
        now,
        found.positions,
        tuple(GateCheck(one.name, one.ok, one.value, one.limit) for one in judgement.checks),
        None if gain is None else gain.mean,
        None if gain is None else gain.low,
        None if gain is None else gain.high,
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
