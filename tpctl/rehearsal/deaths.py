"""What befalls the process and its disk: death at an instant or a boundary, a full disk, an order to leave.

The faults of the exchange and the network are the twin's (`venue.faults`); these are of the machine the tool runs on.
Decides when one strikes; `life` carries it out.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from random import Random

from tpctl.exits.errors import UsageError
from tpctl.exits.units import Millis
from tpctl.venue.faults import describe_faults, parse_faults

_HOUR_MS = 3_600_000

# How often each strikes, per hour of the story, and what it is.
DEATHS: Mapping[str, tuple[float, str]] = {
    "kill-now": (0.05, "kill -9 at any instant (D1)"),
    "kill-write": (0.05, "kill -9 before or after a write of the journal (D1)"),
    "kill-send": (0.05, "kill -9 before or after a request leaves (D1)"),
    "kill-twice": (0.02, "kill -9 again while it recovers (D1)"),
    "disk-full": (0.02, "the disk is full for 1 to 60 s: nothing can be written (D2)"),
    "fsync-failure": (0.01, "a write of the journal fails once (D2)"),
    "lost-state": (0.005, "the state directory is gone at the next start (D3)"),
    "terminate": (0.03, "SIGTERM: leaves in order, is started again (I25)"),
}


def describe_strikes() -> tuple[tuple[str, str, str], ...]:
    """Return name, default rate and text of every fault of the twin and every death."""
    return (*describe_faults(), *((name, f"{rate:g}/h", text) for name, (rate, text) in DEATHS.items()))


def parse_strikes(text: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return the rates of the twin's faults and of deaths that `all`, `none` or a list of both stands for.

    A death's rate is a number per hour, as `kill-now=2/h`. Raises `UsageError` for an unknown name or rate.
    """
    if text in {"all", "none"}:
        return parse_faults(text), {name: rate for name, (rate, _) in DEATHS.items()} if text == "all" else {}
    deaths: dict[str, float] = {}
    others: list[str] = []
    for part in text.split(","):
        name, given, rate = part.strip().partition("=")
        if name not in DEATHS:
            others.append(part)
            continue
        number = rate.removesuffix("/h")
        plain = number.replace(".", "", 1)
        if given and not (rate.endswith("/h") and plain.isascii() and plain.isdecimal() and 0 < float(number) <= 3_600):
            raise UsageError(f"rate {rate!r} of {name} is not a number per hour", f"give it as {name}=2/h")
        deaths[name] = float(number) if given else DEATHS[name][0]
    return (parse_faults(",".join(others)) if others else {}), deaths


@dataclass(frozen=True, slots=True)
class Death:
    """One strike. `number` counts those of its kind, `draw` shapes it (0 to 1)."""

    at: Millis
    name: str
    number: int
    draw: float


class Deaths:
    """When the process is struck. `kept` limits the strikes to these (name, number); the draws stay the same."""

    def __init__(
        self,
        rates: Mapping[str, float],
        seed: int,
        *,
        start_ms: Millis,
        stop_ms: Millis | None = None,
        kept: Container[tuple[str, int]] | None = None,
    ) -> None:
        self._rates = {name: rates[name] for name in DEATHS if rates.get(name)}
        # Not for secrets: a story that can be told again.
        self._random = {name: Random(f"{seed}:{name}") for name in self._rates}  # noqa: S311
        self._due = {name: start_ms + self._gap(name) for name in self._rates}
        self._drawn: dict[str, int] = {}
        self._stop_ms = stop_ms
        self._kept = kept
        self.struck: list[Death] = []

    def due(self, at: Millis) -> list[Death]:
        """Return what strikes now."""
        found: list[Death] = []
        if self._stop_ms is not None and at >= self._stop_ms:
            return found
        for name, when in self._due.items():
            if at < when:
                continue
            self._due[name] = at + self._gap(name)
            number, draw = self._drawn.get(name, 0), self._random[name].random()
            self._drawn[name] = number + 1
            if self._kept is None or (name, number) in self._kept:
                found.append(Death(at, name, number, draw))
        self.struck += found
        return found

    def _gap(self, name: str) -> Millis:
        return 1 + int(self._random[name].expovariate(self._rates[name]) * _HOUR_MS)
