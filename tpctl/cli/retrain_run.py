"""Runs a training: gathers, trains seed by seed, keeps its place, and puts candidates into the registry.

It runs nicely (niceness 10), one at a time, and promotes nothing.
"""

import hashlib
import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict, replace
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from tpctl import __version__
from tpctl.adapters.checkpoint import (
    Checkpoint,
    Search,
    begin,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from tpctl.adapters.files import open_state_dir
from tpctl.adapters.policy_registry import RECORD_SCHEMA, FeatureRange, HitRecord, PolicyRegistry, Record, Trial
from tpctl.cli.retrain_log import TrainingLog
from tpctl.cli.retrain_options import Learner, RetrainOptions, Training
from tpctl.exits.errors import ExitCode, InputsError
from tpctl.exits.units import Millis
from tpctl.market.policy.codec import policy_hash, weights_hash
from tpctl.market.policy.due import Standing, due
from tpctl.settings.load import load
from tpctl.settings.schema import Settings
from tpctl.views.retrain import RetrainView, document, training

if TYPE_CHECKING:
    from tpctl.cli.retrain_data import Material
    from tpctl.learn.cem import CemState
    from tpctl.learn.config import TrainConfig
    from tpctl.learn.episodes import Episodes
    from tpctl.learn.train import Progress

_NICENESS = 10
# Of the time the episodes cover: the last fifth judges reward weights, where several are tried.
_HELD_OUT = 0.2
_MARKET_FEATURES = ("drift_fast", "drift_slow", "swell", "reach")


def run_training(options: RetrainOptions) -> ExitCode:
    """Train what the options ask for and print the candidates."""
    if find_spec("numpy") is None or find_spec("threadpoolctl") is None:
        raise InputsError("training needs an extra", "install it: pip install 'tpctl[learn]'")
    shared = options.shared
    settings = load(shared.config, shared.profile, shared.state_dir)
    registry = PolicyRegistry(open_state_dir(settings.state_dir).path)
    with suppress(OSError):
        os.nice(_NICENESS)
    with registry.lock():
        run = _Run(options, settings, registry)
        try:
            records = run.train()
        except KeyboardInterrupt:
            sys.stderr.write("\nstopped; go on with: tpctl retrain --run --resume\n")
            raise
        view = RetrainView(
            settings.name,
            settings.profile.env.value,
            _now(),
            registry.pointer(),
            registry.records(),
            registry.trials().count,
            due(Standing(_now(), records[-1].at, 0)),
            records,
            warm_up_seconds=run.warm_up_seconds,
        )
    warnings = run.material.warnings
    if not shared.quiet and not options.json:
        sys.stderr.writelines(f"warning: {text}\n" for _, text in warnings)
    sys.stdout.write(document(view, warnings) if options.json else training(view))
    return ExitCode.OK


def _now() -> Millis:
    return time.time_ns() // 1_000_000


class _Run:
    """One training, from its options or from where an earlier one stopped."""

    def __init__(self, options: RetrainOptions, settings: Settings, registry: PolicyRegistry) -> None:
        from tpctl.cli.retrain_data import gather

        self._registry = registry
        self._place = registry.checkpoint
        held = read_checkpoint(self._place) if options.resume else None
        self._training = options.training if held is None else _training_of(held.options)
        started_at = _now() if held is None else held.started_at
        state = open_state_dir(settings.state_dir)
        self.material: Material = gather(self._training, settings, state, options.venue, started_at)
        self._data_hash = self.material.episodes.data_hash()
        if held is not None and held.data_hash != self._data_hash:
            raise InputsError(
                "the candles or the journal are not what the training was started with",
                "begin anew: tpctl retrain --run",
            )
        self._checkpoint: Checkpoint = held or begin(started_at, _text_of(self._training), self._data_hash)
        self._config = config_of(self._training, settings)
        self.warm_up_seconds: float | None = None
        self._log = TrainingLog(registry.log, self._training, show=sys.stderr.isatty() and not options.shared.quiet)

    def train(self) -> tuple[Record, ...]:
        """Train every seed that is not done; return the records of all."""
        self._keep(self._checkpoint)
        self._log.heard(self.material.feedback)
        self._warm_up()
        config = self._weighted()
        for seed in range(len(self._checkpoint.done) + 1, self._training.seeds + 1):
            record = self._one(config, seed)
            self._keep(self._with(config, done=(*self._checkpoint.done, record.hash), search=None))
        done = self._checkpoint.done
        remove_checkpoint(self._place)
        return tuple(self._registry.find(name) for name in done)

    def _warm_up(self) -> None:
        """Compile before anything is timed, or load what was: the first training on a machine would seem slow."""
        from tpctl.learn.warm_up import warm_up

        began = time.perf_counter()
        if warm_up(self.material.episodes, self._config):
            self.warm_up_seconds = time.perf_counter() - began
            self._log.note(f"warm_up_seconds={self.warm_up_seconds:.3f}")

    def _keep(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        write_checkpoint(self._place, checkpoint)

    def _with(self, config: "TrainConfig", **changes: object) -> Checkpoint:
        return structs.replace(self._checkpoint, bonus=config.bonus, scale=config.pnl_scale, **changes)

    def _weighted(self) -> "TrainConfig":
        """Return the configuration with the reward weights given, or of several those that bring most held out."""
        from tpctl.learn.feedback import informed

        heard = self.material.feedback
        tried = [
            informed(replace(self._config, bonus=float(bonus), pnl_scale=float(scale)), heard)
            for bonus, scale in self._training.weights
        ]
        if len(tried) == 1:
            return tried[0]
        if self._checkpoint.bonus is not None and self._checkpoint.scale is not None:
            return replace(tried[0], bonus=self._checkpoint.bonus, pnl_scale=self._checkpoint.scale)
        learned, judged = held_out(self.material.episodes)
        best = max(tried, key=lambda config: self._judged(config, learned, judged))
        self._keep(self._with(best))
        return best

    def _judged(self, config: "TrainConfig", learned: "Episodes", judged: "Episodes") -> float:
        """Return the true net R of a configuration on positions it was not trained on; counts as a trial."""
        from tpctl.learn.play import Player
        from tpctl.learn.train import policy_outcomes, train

        self._count(config, 1, "reward weights")
        found = train(learned, config, 1)
        mean = float(policy_outcomes(Player(judged), found.policy, config).r.mean())
        self._log.note(f"weights={config.bonus:g},{config.pnl_scale:g} held_out_r={mean:.6f}")
        return mean

    def _one(self, config: "TrainConfig", seed: int) -> Record:
        from tpctl.learn.play import Player
        from tpctl.learn.promises import promises_of
        from tpctl.learn.train import policy_outcomes, train

        self._count(config, seed, "training")
        episodes = self.material.episodes
        held = self._checkpoint.search
        # What a training that was stopped took before is its time too.
        began = time.perf_counter() - (0.0 if held is None else held.seconds)
        last: list[Progress] = []

        def told(progress: "Progress") -> None:
            last.append(progress)
            self._log.tell(seed, progress)
            if progress.state is not None:
                self._keep(self._with(config, search=_search(progress.state, time.perf_counter() - began)))

        found = train(episodes, config, seed, told, state=_state(held))
        seconds = time.perf_counter() - began
        outcomes = policy_outcomes(Player(episodes), found.policy, config)
        promised = promises_of(episodes, found.policy, config)
        record = Record(
            schema=RECORD_SCHEMA,
            hash=policy_hash(found.policy),
            weights_hash=weights_hash(found.policy),
            data_hash=self._data_hash,
            configuration_hash=_hash(config.text()),
            learner=config.learner,
            seed=seed,
            at=_now(),
            episodes=len(episodes),
            steps=last[-1].steps if last else 0,
            seconds=seconds,
            mean_r=found.mean_r,
            incumbent_r=found.incumbent_r,
            tp_zone_accuracy=float(outcomes.hit.mean()),
            interval_ms=episodes.interval_ms,
            symbols=episodes.symbols,
            first=int(episodes.started_at.min()),
            last=int(episodes.started_at.max()),
            code_version=__version__,
            slippage=_expected(config),
            features=_deciles(episodes),
            actions=promised.actions,
            hits=None if promised.hits is None else HitRecord(promised.hits.bias, promised.hits.weights),
            leverage=config.account.range if config.exits == "dynamic" else None,
        )
        self._registry.add(found.policy, record)
        self._log.end(seed, record)
        return record

    def _count(self, config: "TrainConfig", seed: int, what: str) -> None:
        trial = Trial(_now(), _hash(config.text()), self._data_hash, config.learner, seed, what)
        self._registry.count_trials([trial])


def config_of(training: Training, settings: Settings) -> "TrainConfig":
    """Return the configuration of a training, before what was measured informs it, but for its reward weights."""
    from tpctl.learn.config import TrainConfig

    return TrainConfig(
        learner=training.learner.value,
        rules=settings.exits,
        zone=float(training.zone),
    )


def held_out(episodes: "Episodes") -> "tuple[Episodes, Episodes]":
    """Return the episodes of the first four fifths of the time, and the later ones, a horizon apart."""
    at = episodes.started_at
    first, last = int(at.min()), int(at.max())
    cut = first + round((1.0 - _HELD_OUT) * (last - first))
    gap = episodes.horizon * episodes.interval_ms
    return episodes.take(at < cut - gap), episodes.take(at >= cut)


def _expected(config: "TrainConfig") -> float:
    from tpctl.cli.retrain_data import expected_slippage

    return expected_slippage(config.costs)


def _deciles(episodes: "Episodes") -> tuple[FeatureRange, ...]:
    import numpy as np

    edges = np.quantile(episodes.entry_market, np.arange(1, 10) / 10, axis=0)
    return tuple(FeatureRange(name, tuple(map(float, edges[:, row]))) for row, name in enumerate(_MARKET_FEATURES))


def _search(state: "CemState", seconds: float) -> Search:
    return Search(state.round, tuple(map(float, state.mean)), tuple(map(float, state.deviation)), state.value, seconds)


def _state(search: Search | None) -> "CemState | None":
    if search is None:
        return None
    import numpy as np

    from tpctl.learn.cem import CemState

    return CemState(search.round, np.array(search.mean), np.array(search.deviation), search.value)


def _text_of(options: Training) -> str:
    return json.dumps(asdict(options), default=str, sort_keys=True)


def _training_of(text: str) -> Training:
    found = json.loads(text)
    return Training(
        episodes=found["episodes"],
        seeds=found["seeds"],
        symbols=tuple(found["symbols"]),
        days=found["days"],
        data=tuple(map(Path, found["data"])),
        funding=tuple(map(Path, found["funding"])),
        learner=Learner(found["learner"]),
        weights=tuple((Decimal(bonus), Decimal(scale)) for bonus, scale in found["weights"]),
        zone=Decimal(found["zone"]),
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
