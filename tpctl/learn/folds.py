"""How the years are cut for walk-forward evaluation: train, a gap that lets nothing through, test, and again.

Decides which entries may teach a policy and which may judge it. A position's outcome is known only a horizon after its
entry, so the last entries before a test are purged for one horizon, and an embargo of at least another keeps slow
features from leaking across (López de Prado, *Advances in Financial Machine Learning*, chapter 7; learning 6). Every
test entry lies in exactly one fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tpctl.exits.errors import InputsError
from tpctl.exits.units import Millis

_DAY_MS = 86_400_000
# The mean month of the Gregorian calendar, so that every fold judges the same span.
MONTH_MS: Millis = round(365.2425 * _DAY_MS / 12)
TRAIN_MONTHS = 12
EMBARGO_SHARE = 0.01
LEAST_FOLDS = 24

Flags = NDArray[np.bool_]
Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fold:
    """One step of the walk, half-open spans of entry times in ms UTC. `number` counts from 0."""

    number: int
    train_from: Millis
    train_until: Millis
    test_from: Millis
    test_until: Millis

    def train(self, entries: Times) -> Flags:
        """Return which entries may teach."""
        return (entries >= self.train_from) & (entries < self.train_until)

    def test(self, entries: Times) -> Flags:
        """Return which entries judge."""
        return (entries >= self.test_from) & (entries < self.test_until)


def walk_forward(
    first: Millis,
    last: Millis,
    horizon_ms: Millis,
    *,
    train_ms: Millis = TRAIN_MONTHS * MONTH_MS,
    test_ms: Millis = MONTH_MS,
) -> tuple[Fold, ...]:
    """Return the folds of candles that cover [first, last): 12 months of training, purge, embargo, a month of test.

    The last fold ends a horizon before `last`, so that every position in it is seen to its end. Raises `InputsError`
    where not even one fold fits.
    """
    embargo = max(horizon_ms, round(EMBARGO_SHARE * train_ms))
    gap = horizon_ms + embargo
    folds: list[Fold] = []
    start = first
    while start + train_ms + gap + test_ms <= last - horizon_ms:
        test_from = start + train_ms + gap
        folds.append(Fold(len(folds), start, start + train_ms, test_from, test_from + test_ms))
        start += test_ms
    if not folds:
        days, wanted = (last - first) // _DAY_MS, (train_ms + gap + test_ms + horizon_ms) // _DAY_MS + 1
        raise InputsError(
            f"{days} days of candles do not make one walk-forward fold, it takes {wanted}",
            "give more history with --days or --data",
        )
    return tuple(folds)


def leave_symbol_out(symbols: Sequence[str], held_out: str) -> Flags:
    """Return which of `symbols` (one for each entry) may teach when `held_out` is to be judged."""
    return np.array([symbol != held_out for symbol in symbols], dtype=np.bool_)
