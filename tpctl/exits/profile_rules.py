"""The static profiles as configuration: legs in R, trailing terms, and who overrides what (exit-rules 2).

It holds numbers and refuses contradictory ones when they are built (`ConfigError`); `profiles` gives them meaning.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise

from tpctl.exits.model import Regime
from tpctl.exits.rule_checks import require, require_positive
from tpctl.exits.units import ONE, ZERO, Ratio, trimmed


def _pct(text: str) -> Ratio:
    return Ratio.percent(text)


@dataclass(frozen=True, slots=True)
class ProfileLeg:
    """One level of a static profile: `r` stop distances from entry, closing `share` of the initial size."""

    r: Decimal
    share: Decimal


@dataclass(frozen=True, slots=True)
class ProfileTrail:
    """Trailing of a static profile: `callback` from a profit of `from_r` on; `tighter` rows are (from R, callback)."""

    callback: Ratio
    from_r: Decimal
    tighter: tuple[tuple[Decimal, Ratio], ...] = ()

    def __post_init__(self) -> None:
        require_positive({"trail callback": self.callback, "trail from_r": self.from_r})
        rows = ((self.from_r, self.callback), *self.tighter)
        require(
            all(a[0] < b[0] and a[1] > b[1] > Ratio(ZERO) for a, b in pairwise(rows)),
            "a profile's trail does not tighten from row to row",
            "order the rows by R ascending, each callback below the one before",
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """A static profile (exit-rules 2). What the legs leave over, only the trail closes."""

    legs: tuple[ProfileLeg, ...]
    trail: ProfileTrail | None = None

    def __post_init__(self) -> None:
        require(bool(self.legs), "a profile has no legs", "give at least one leg")
        for leg in self.legs:
            require_positive({"leg r": leg.r, "leg share": leg.share})
        require(
            all(near.r < far.r for near, far in pairwise(self.legs)),
            "a profile's legs are not ascending",
            "order the legs from near to far",
        )
        total = sum((leg.share for leg in self.legs), ZERO)
        require(total <= ONE, f"a profile's legs sum to '{trimmed(total * 100)}' %", "let the shares sum to at most 1")
        require(
            total == ONE or self.trail is not None,
            f"a profile's legs sum to '{trimmed(total * 100)}' % and nothing closes the rest",
            "give the profile a trail, or let its legs sum to 1",
        )

    @property
    def left(self) -> Decimal:
        """The share of the initial size that the legs leave to the trail."""
        return ONE - sum((leg.share for leg in self.legs), ZERO)


def _profile(*legs: tuple[str, str], trail: ProfileTrail | None = None) -> Profile:
    return Profile(tuple(ProfileLeg(Decimal(r), Decimal(share)) for r, share in legs), trail)


def default_profiles() -> dict[str, Profile]:
    """Return the five profiles of exit-rules 2, by name."""
    one = _pct("1")
    return {
        "normal": _profile(
            ("0.5", "0.25"), ("1", "0.25"), ("2", "0.50"), trail=ProfileTrail(_pct("1.5"), ONE, ((Decimal(3), one),))
        ),
        "trending": _profile(
            ("0.5", "0.15"),
            ("1", "0.20"),
            ("2", "0.30"),
            trail=ProfileTrail(_pct("2"), Decimal("1.5"), ((Decimal(3), _pct("1.5")), (Decimal(5), one))),
        ),
        "ranging": _profile(("0.2", "0.35"), ("0.4", "0.35"), ("0.7", "0.30")),
        "volatile": _profile(("0.4", "0.25"), ("0.8", "0.35"), ("1.5", "0.40"), trail=ProfileTrail(_pct("2.5"), ONE)),
        "chop": _profile(("0.15", "0.40"), ("0.35", "0.40"), ("0.6", "0.20")),
    }


@dataclass(frozen=True, slots=True)
class ProfileRules:
    """Static profiles by name, and which symbol or strategy overrides the one its regime would choose.

    The regime names its profile; a symbol's override beats a strategy's, which beats the regime (exit-rules 2).
    """

    profiles: Mapping[str, Profile] = field(default_factory=default_profiles)
    by_symbol: Mapping[str, str] = field(default_factory=dict)
    by_strategy: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for regime in Regime:
            require(
                regime.value in self.profiles,
                f"profile '{regime.value}' is missing",
                "every regime needs a profile of its name: normal, trending, ranging, volatile, chop",
            )
        known = ", ".join(sorted(self.profiles))
        for what, overrides in (("symbol", self.by_symbol), ("strategy", self.by_strategy)):
            for key, name in overrides.items():
                require(name in self.profiles, f"{what} '{key}' names no profile: '{name}'", f"choose from: {known}")
