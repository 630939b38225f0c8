"""Whether retraining is due, and why (learning 7): new closed positions, an alarm, or age; once a day at most."""

from collections.abc import Sequence
from dataclasses import dataclass

from tpctl.exits.units import Millis
from tpctl.market.bars import DAY_MS

NEW_POSITIONS = 100
LEAST_PAUSE_MS: Millis = DAY_MS
# The newest month of the market is a twelfth of what a policy is trained on: after it, one in twelve is new.
OLDEST_MS: Millis = 30 * DAY_MS


@dataclass(frozen=True, slots=True)
class Standing:
    """What speaks for retraining. `trained_at` is None before the first training; `alarms` are sentences."""

    now: Millis
    trained_at: Millis | None
    new_positions: int
    alarms: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """The answer with its reasons; where it is not due they say what is missing."""

    due: bool
    why: tuple[str, ...]


def due(standing: Standing) -> Due:
    """Return whether retraining is due."""
    if standing.trained_at is None:
        return Due(True, ("no candidate was trained yet",))
    age = max(0, standing.now - standing.trained_at)
    closed = f"{standing.new_positions} positions closed since the last training"
    reasons = [*standing.alarms]
    if standing.new_positions >= NEW_POSITIONS:
        reasons.append(f"{closed}, {NEW_POSITIONS} are enough")
    if age >= OLDEST_MS:
        reasons.append(f"the last training is {age // DAY_MS} days old")
    if age < LEAST_PAUSE_MS:
        return Due(False, ("the last training is less than a day old", *reasons))
    if reasons:
        return Due(True, tuple(reasons))
    return Due(
        False,
        (
            f"{closed}, {NEW_POSITIONS} make it due",
            f"the last training is {age // DAY_MS} days old, {OLDEST_MS // DAY_MS} make it due",
        ),
    )
