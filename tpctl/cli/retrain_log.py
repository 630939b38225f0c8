"""How a training is followed: a line of `retrain.log` for each round, and on a terminal one line that is redrawn."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tpctl.adapters.files import file_error
from tpctl.adapters.policy_registry import Record
from tpctl.cli.retrain_options import Training
from tpctl.views.machine import rfc3339

if TYPE_CHECKING:
    from tpctl.learn.feedback import Feedback
    from tpctl.learn.train import Progress


class TrainingLog:
    """The log of trainings, a line for each round, and the line on a terminal that shows how it goes."""

    def __init__(self, path: Path, options: Training, *, show: bool) -> None:
        self._path, self._learner, self._show = path, options.learner.value, show
        self._seeds = options.seeds
        self._began = time.perf_counter()

    def note(self, text: str) -> None:
        """Append a line."""
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "a", encoding="utf-8") as file:
                file.write(f"{rfc3339(time.time_ns() // 1_000_000)} learner={self._learner} {text}\n")
        except OSError as error:
            raise file_error("write", self._path, error) from error

    def heard(self, feedback: "Feedback") -> None:
        """Tell what was measured, and what the bonus weighs by it."""
        rates = {
            "tp_hit_rate": feedback.tp_hit_rate,
            "avg_slippage": feedback.avg_slippage,
            "premature_exit_rate": feedback.premature_exit_rate,
            "mean_r": feedback.mean_r,
        }
        told = " ".join(f"{name}={'-' if value is None else format(value, '.6f')}" for name, value in rates.items())
        weight = f"tp_reward_weight={feedback.tp_reward_weight:g}"
        self.note(f"feedback attempts={feedback.attempts} fills={feedback.fills} {told} {weight}")

    def tell(self, seed: int, progress: "Progress") -> None:
        """Tell of one round."""
        zone = "-" if progress.tp_zone_accuracy is None else f"{progress.tp_zone_accuracy:.4f}"
        mean = "-" if progress.mean_r is None else f"{progress.mean_r:.6f}"
        self.note(
            f"seed={seed} round={progress.round}/{progress.rounds} episodes={progress.episodes} steps={progress.steps} "
            f"reward={progress.reward:.6f} mean_r={mean} tp_zone_accuracy={zone}"
        )
        if self._show:
            spent = max(time.perf_counter() - self._began, 1e-9)
            done = seed - 1 + progress.round / progress.rounds
            left = spent / done * (self._seeds - done)
            sys.stderr.write(
                f"\r\x1b[Kseed {seed} of {self._seeds}, round {progress.round} of {progress.rounds}: "
                f"{progress.episodes} episodes, {progress.episodes / spent:.0f}/s, reward {progress.reward:+.4f}, "
                f"tp_zone_accuracy {zone}, {left:.0f} s left"
            )

    def end(self, seed: int, record: Record) -> None:
        """Tell of one candidate."""
        self.note(
            f"seed={seed} candidate={record.hash[:12]} seconds={record.seconds:.3f} mean_r={record.mean_r:.6f} "
            f"ladder_r={record.incumbent_r:.6f} tp_zone_accuracy={record.tp_zone_accuracy:.4f}"
        )
        if self._show:
            sys.stderr.write("\r\x1b[K")
