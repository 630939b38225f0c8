"""Whether time has passed, on a clock that is corrected now and then (reliability T2)."""

from tpctl.exits.units import Millis


def passed(now: Millis, since: Millis, ms: Millis) -> bool:
    """Whether `ms` have passed since a time.

    A time ahead of now was read before the clock was set back. It counts as long ago: what waits for it to come again
    would stand still for as long as the clock was wrong.
    """
    return not 0 <= now - since < ms
