"""How `retrain` shows its result: due or not, the registry, a training, or the JSON contract.

Decides wording and layout only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from tpctl.adapters.policy_pointer import Pointer
from tpctl.adapters.policy_registry import GateRecord, Record
from tpctl.exits.units import Millis
from tpctl.market.policy.due import Due
from tpctl.views.machine import document as enveloped
from tpctl.views.machine import rfc3339

if TYPE_CHECKING:
    from tpctl.views.machine import Json

_SHORT = 12


@dataclass(frozen=True, slots=True)
class Drift:
    """What speaks against the policy in use, and which of its tests wait for more to be measured; sentences."""

    alarms: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RetrainView:
    """The registry as one run found it. `trained` are the candidates this very run made.

    `warm_up_seconds` is what compiling took before, or loading what was compiled; None where nothing is compiled.
    `refused` is why the policy chosen cannot be used.
    """

    profile: str
    env: str
    now: Millis
    pointer: Pointer
    records: tuple[Record, ...]
    trials: int
    due: Due
    trained: tuple[Record, ...] = ()
    drift: Drift = Drift()
    warm_up_seconds: float | None = None
    refused: str | None = None

    @property
    def in_use(self) -> str:
        """Which policy is used, as `plan` and `watch` say it too."""
        return self.pointer.in_use if self.refused is None else f"{self.refused}; the ladder decides"


def page(view: RetrainView) -> str:
    """Return what `retrain` prints without an option: the answer first."""
    lines = [f"{'due' if view.due.due else 'not due'}: {'; '.join(view.due.why)}", f"in use: {view.in_use}"]
    lines += [f"drift: {text}" for text in (*view.drift.alarms, *view.drift.waiting)]
    if view.due.due:
        lines.append("next: tpctl retrain --run")
    return "".join(f"{line}\n" for line in lines)


def listing(view: RetrainView) -> str:
    """Return the registry as a table, the oldest first."""
    lines = [f"in use: {view.in_use}"]
    if view.records:
        head = ("policy", "trained", "learner", "seed", "episodes", "R", "ladder R", "zone", "gate", "status")
        rows = [head, *(_row(record, view.pointer) for record in view.records)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
    lines.append(f"{len(view.records)} candidates, {view.trials} trials counted")
    return "".join(f"{line}\n" for line in lines)


def _row(record: Record, pointer: Pointer) -> tuple[str, ...]:
    zone = "-" if record.tp_zone_accuracy is None else f"{record.tp_zone_accuracy:.3f}"
    return (
        record.hash[:_SHORT],
        rfc3339(record.at)[:16].replace("T", " "),
        record.learner,
        str(record.seed),
        str(record.episodes),
        f"{record.mean_r:+.4f}",
        f"{record.incumbent_r:+.4f}",
        zone,
        "not judged" if record.gate is None else record.gate.verdict,
        status(record, pointer),
    )


def status(record: Record, pointer: Pointer) -> str:
    """Return where a candidate stands: candidate, shadow, canary, promoted or suspended."""
    chosen = pointer.chosen
    if chosen is None or chosen.hash != record.hash:
        return "candidate"
    return "suspended" if pointer.suspended is not None else chosen.stage.value


def training(view: RetrainView) -> str:
    """Return what a training came to."""
    lines = []
    if view.warm_up_seconds is not None:
        lines.append(
            f"warm-up {view.warm_up_seconds:.2f} s: compiling, or loading what was compiled; not counted below"
        )
    for record in view.trained:
        speed = record.steps / record.seconds if record.seconds > 0 else 0.0
        lines.append(
            f"candidate {record.hash[:_SHORT]}  {record.learner}, seed {record.seed}: {record.episodes} episodes, "
            f"{record.steps} steps in {record.seconds:.2f} s, {speed / 1e6:.1f} M steps/s"
        )
        zone = "" if record.tp_zone_accuracy is None else f", tp_zone_accuracy {record.tp_zone_accuracy:.3f}"
        lines.append(
            f"  on its own training episodes {record.mean_r:+.4f} R a position, "
            f"the ladder {record.incumbent_r:+.4f} R{zone}"
        )
        lines.append(f"  weights {record.weights_hash[:_SHORT]}, data {record.data_hash[:_SHORT]}")
    lines.append(f"in use: {view.in_use}; a candidate is used only after the gate and --promote")
    return "".join(f"{line}\n" for line in lines)


def document(view: RetrainView, warnings: Sequence[tuple[str, str]] = ()) -> str:
    """Return the JSON document (`tpctl.retrain/1`)."""
    newest = view.trained[-1] if view.trained else view.records[-1] if view.records else None
    data: dict[str, Json] = {
        "due": view.due.due,
        "why": list(view.due.why),
        "policy": _policy(view),
        "run": None if newest is None else _run(newest),
        "warm_up_seconds": None if view.warm_up_seconds is None else _number(view.warm_up_seconds, 3),
        "gate": None if newest is None else _gate(newest.gate),
        "candidates": [{**_run(record), "status": status(record, view.pointer)} for record in view.records],
        "trials": view.trials,
        "drift": {"alarms": list(view.drift.alarms), "waiting": list(view.drift.waiting)},
    }
    return enveloped("retrain", view.now, view.profile, view.env, "shadow", data, warnings)


def _policy(view: RetrainView) -> "Json":
    choice = view.pointer.choice
    return {
        "hash": None if choice is None else choice.hash,
        "status": "none" if choice is None else choice.stage.value,
        "share": None if choice is None else choice.share,
        "promoted_at": None if choice is None else rfc3339(choice.at),
        "text": view.in_use,
        "refused": view.refused,
    }


def _run(record: Record) -> "Mapping[str, Json]":
    return {
        "hash": record.hash,
        "at": rfc3339(record.at),
        "episodes": record.episodes,
        "steps": record.steps,
        "seconds": _number(record.seconds, 3),
        "steps_per_second": round(record.steps / record.seconds) if record.seconds > 0 else None,
        "tp_zone_accuracy": None if record.tp_zone_accuracy is None else _number(record.tp_zone_accuracy, 6),
        "learner": record.learner,
        "seed": record.seed,
        "weights_hash": record.weights_hash,
        "data_hash": record.data_hash,
        "configuration_hash": record.configuration_hash,
        "mean_r": _number(record.mean_r, 6),
        "incumbent_r": _number(record.incumbent_r, 6),
        "symbols": list(record.symbols),
    }


def _gate(gate: GateRecord | None) -> "Json":
    if gate is None:
        return {"verdict": "not judged", "checks": []}
    checks: list[Json] = [
        {
            "name": one.name,
            "ok": one.ok,
            "value": None if one.value is None else _number(one.value, 6),
            "limit": one.limit,
        }
        for one in gate.checks
    ]
    return {"verdict": gate.verdict, "at": rfc3339(gate.at), "positions": gate.positions, "checks": checks}


def _number(value: float, digits: int) -> Decimal:
    return round(Decimal(repr(value)), digits)
