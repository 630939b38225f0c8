"""How `retrain --evaluate` shows its result: the verdict first, then tables; or the JSON contract.

Decides wording and layout only. Everything is out of sample and in R net of costs; intervals are of 95 %.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from tpctl.views.machine import rfc3339

if TYPE_CHECKING:
    from tpctl.market.evaluation import Check, Evaluation, Interval, Proof, Row, Slice, TrialRow
    from tpctl.views.machine import Json

POLICY_HEADS = (
    *("exits", "R", "gain", "95 %", "std", "CVaR 5 %", "drawdown"),
    *("zone", "hours", "closes", "cost R", "capture"),
)
SLICE_HEADS = ("slice", "positions", "incumbent R", "candidate R", "gain", "95 %")
TRIAL_HEADS = ("configuration", "R", "zone", "gain", "95 %", "daily Sharpe")
CHECK_HEADS = ("check", "holds", "value", "limit")
PROOF_HEADS = ("known answer", "holds", "known", "found", "±")


def tables(found: "Evaluation", candidate: str | None) -> str:
    """Return the evaluation for a terminal; `candidate` is the policy the verdict is of, None where it is of none."""
    parts = [
        "\n".join(answer(found, candidate)),
        _table(POLICY_HEADS, [policy_row(row) for row in found.rows]),
        *(
            _table((name, *SLICE_HEADS[1:], *extra), [slice_row(one, apart=bool(extra)) for one in slices])
            for name, slices, extra in slice_tables(found)
        ),
        _table(TRIAL_HEADS, [trial_row(one) for one in found.trials]),
        _table(CHECK_HEADS, check_rows(found)),
        _table(PROOF_HEADS, proof_rows(found)),
        "\n".join(luck(found)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def answer(found: "Evaluation", candidate: str | None) -> list[str]:
    """Return the verdict, its reasons, and what it is of."""
    judgement = found.judgement
    of = "the configuration" if candidate is None else f"candidate {candidate[:12]}"
    lines = [f"{judgement.verdict.value}: {of} against the {found.incumbent} ladder"]
    lines += [f"  {reason}" for reason in judgement.reasons]
    lines.append(
        f"{found.positions} positions of {len(found.symbols)} symbols out of sample, {len(found.folds)} folds, "
        f"{rfc3339(found.first)[:10]} to {rfc3339(found.last)[:10]}; R is net of fees, funding and slippage"
    )
    return lines


def slice_tables(found: "Evaluation") -> list[tuple[str, tuple["Slice", ...], tuple[str, ...]]]:
    """Return the tables of slices: title, rows, and the head of a further column."""
    apart = ("not taught",) if any(one.apart is not None for one in found.by_symbol) else ()
    return [
        ("regime at entry", found.by_regime, ()),
        ("symbol", found.by_symbol, apart),
        ("stress", found.stress, ()),
    ]


def luck(found: "Evaluation") -> list[str]:
    """Return what is known of luck: seeds, the search for the result, and whether it repeats."""
    middle, low, high = found.seeds_middle
    gained, sharpe = sum(one > 0 for one in found.seeds), found.deflated
    gains = f"{gained} of {len(found.seeds)} gain"
    lines = [
        f"seeds: {gains}; interquartile mean of seeds and folds {middle:+.4f} R, {low:+.4f} to {high:+.4f}",
        f"deflated Sharpe: {sharpe.probability:.3f}; {sharpe.sharpe:+.3f} a day",
        f"luck over {sharpe.trials} trials would show {sharpe.benchmark:+.3f} a day",
    ]
    if found.overfitting is not None:
        lines.append(
            f"probability of overfitting: {found.overfitting.probability:.3f} over {found.overfitting.splits} splits "
            f"of {found.overfitting.configurations} configurations"
        )
    lines.append(f"tuned single target, fold by fold: {' '.join(f'{one:g}' for one in found.single)} R")
    again = "the same weights" if found.reproducible else "OTHER WEIGHTS"
    lines.append(f"data {found.data_hash[:12]}; trained again: {again}")
    return lines


def policy_row(row: "Row") -> tuple[str, ...]:
    """Return one policy as the cells of `POLICY_HEADS`."""
    shown = row.figures
    return (
        row.name,
        f"{shown.mean:+.4f}",
        "" if row.gain is None else f"{row.gain.mean:+.4f}",
        "" if row.gain is None else _span(row.gain),
        f"{shown.deviation:.3f}",
        f"{shown.cvar:+.3f}",
        f"{shown.drawdown:.1f}",
        f"{shown.hit_rate:.1%}",
        "" if shown.holding_minutes is None else f"{shown.holding_minutes / 60:.1f}",
        f"{shown.closes:.2f}",
        f"{shown.cost:.4f}",
        "" if row.capture is None else f"{row.capture:+.1%}",
    )


def slice_row(one: "Slice", *, apart: bool = False) -> tuple[str, ...]:
    """Return one slice as the cells of `SLICE_HEADS`, and the gain of what was not taught it."""
    cells = (
        one.name,
        str(one.positions),
        f"{one.incumbent:+.4f}",
        f"{one.candidate:+.4f}",
        f"{one.gain.mean:+.4f}",
        _span(one.gain),
    )
    return (*cells, "" if one.apart is None else f"{one.apart:+.4f}") if apart else cells


def trial_row(one: "TrialRow") -> tuple[str, ...]:
    """Return one configuration as the cells of `TRIAL_HEADS`."""
    return (
        one.name,
        f"{one.mean:+.4f}",
        f"{one.hit_rate:.1%}",
        f"{one.gain.mean:+.4f}",
        _span(one.gain),
        f"{one.sharpe:+.3f}",
    )


def check_rows(found: "Evaluation") -> list[tuple[str, ...]]:
    """Return the gate's checks as the cells of `CHECK_HEADS`."""
    return [
        (one.name, "yes" if one.ok else "NO", "not known" if one.value is None else f"{one.value:.4g}", one.limit)
        for one in found.judgement.checks
    ]


def proof_rows(found: "Evaluation") -> list[tuple[str, ...]]:
    """Return the known answers as the cells of `PROOF_HEADS`."""
    return [
        (one.name, "yes" if one.ok else "NO", f"{one.known:.4f}", f"{one.found:.4f}", f"{one.error:.4f}")
        for one in found.proofs
    ]


def record(found: "Evaluation", candidate: str | None) -> "Mapping[str, Json]":
    """Return the evaluation as data for JSON: `data.evaluation` of `tpctl.retrain/1`."""
    return {
        "candidate": candidate,
        "verdict": found.judgement.verdict.value,
        "reasons": list(found.judgement.reasons),
        "positions": found.positions,
        "folds": len(found.folds),
        "from": rfc3339(found.first),
        "until": rfc3339(found.last),
        "incumbent": found.incumbent,
        "data_hash": found.data_hash,
        "policies": [_policy(row) for row in found.rows],
        "by_fold": [_slice(one) for one in found.folds],
        "by_symbol": [_slice(one) for one in found.by_symbol],
        "by_regime": [_slice(one) for one in found.by_regime],
        "stress": [_slice(one) for one in found.stress],
        "configurations": [_trial(one) for one in found.trials],
        "seed_gains_r": [_number(one) for one in found.seeds],
        "overfitting": None if found.overfitting is None else _number(found.overfitting.probability),
        "deflated_sharpe": _number(found.deflated.probability),
        "trials": found.deflated.trials,
        "reproducible": found.reproducible,
        "known_answers": [_proof(one) for one in found.proofs],
        "checks": [_check(one) for one in found.judgement.checks],
    }


def _proof(one: "Proof") -> "Json":
    return {"name": one.name, "known": _number(one.known), "found": _number(one.found), "ok": one.ok}


def _check(one: "Check") -> "Json":
    value = None if one.value is None else _number(one.value)
    return {"name": one.name, "ok": one.ok, "value": value, "limit": one.limit}


def _policy(row: "Row") -> "Json":
    shown = row.figures
    return {
        "name": row.name,
        "mean_r": _number(shown.mean),
        "deviation_r": _number(shown.deviation),
        "cvar_r": _number(shown.cvar),
        "drawdown_r": _number(shown.drawdown),
        "hit_rate": _number(shown.hit_rate),
        "holding_minutes": None if shown.holding_minutes is None else _number(shown.holding_minutes),
        "closes": _number(shown.closes),
        "cost_r": _number(shown.cost),
        "gain": None if row.gain is None else _gain(row.gain),
        "capture": None if row.capture is None else _number(row.capture),
    }


def _slice(one: "Slice") -> "Json":
    return {
        "name": one.name,
        "positions": one.positions,
        "incumbent_r": _number(one.incumbent),
        "candidate_r": _number(one.candidate),
        "gain": _gain(one.gain),
        "not_taught_r": None if one.apart is None else _number(one.apart),
    }


def _trial(one: "TrialRow") -> "Json":
    return {
        "name": one.name,
        "bonus": _number(one.bonus),
        "scale": _number(one.scale),
        "mean_r": _number(one.mean),
        "hit_rate": _number(one.hit_rate),
        "gain": _gain(one.gain),
        "daily_sharpe": _number(one.sharpe),
    }


def _gain(gain: "Interval") -> "Json":
    return {
        "r": _number(gain.mean),
        "low": _number(gain.low),
        "high": _number(gain.high),
        "lower_bound": _number(gain.lower_bound),
        "block_days": _number(gain.block_days),
    }


def _number(value: float) -> Decimal:
    return round(Decimal(repr(float(value))), 6)


def _span(gain: "Interval") -> str:
    return f"{gain.low:+.4f} to {gain.high:+.4f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is left and whose others are right aligned; nothing for no rows."""
    if not rows:
        return ""
    every = [heads, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in every
    )
