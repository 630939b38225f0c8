"""Every constant of the exit rules, as defaults the configuration can change (exit-rules 1-11).

This file decides no exit: it holds numbers, and refuses numbers that contradict each other (`ConfigError`) when they
are built, so that planning never meets them. Names say what a number is; units are in the type (`Ratio` is a fraction
of price unless the name says `share`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Literal, TypeAlias

from tpctl.exits.model import Policy, WorkingType
from tpctl.exits.profile_rules import Profile, ProfileLeg, ProfileRules, ProfileTrail
from tpctl.exits.rule_checks import require, require_positive, require_split
from tpctl.exits.trailing import DEFAULT_SCHEDULE, MAX_CALLBACK, MIN_CALLBACK
from tpctl.exits.units import ONE, ZERO, Millis, Money, Ratio

__all__ = [
    "ExecutionRules",
    "ExitRules",
    "LadderRules",
    "ModeFactors",
    "Profile",
    "ProfileLeg",
    "ProfileRules",
    "ProfileTrail",
    "RiskRules",
    "StopRules",
    "TargetRules",
    "TrailRules",
]

TakeProfitMode: TypeAlias = Literal["resident", "software"]
IfCrossed: TypeAlias = Literal["take", "skip"]
BreakevenMode: TypeAlias = Literal["net", "entry"]
RatchetStyle: TypeAlias = Literal[
    "previous_tp", "breakeven", "moving_target", "percent_below_trigger", "percent_below_highest"
]
TrailStyle: TypeAlias = Literal["tiered", "percent", "atr"]
TargetMode: TypeAlias = Literal["normal", "optimistic", "aggressive", "critical"]


# A range read more often than its shortest candles close says nothing new.
_LEAST_ATR_INTERVAL_MS = 60_000


def _pct(text: str) -> Ratio:
    return Ratio.percent(text)


@dataclass(frozen=True, slots=True)
class LadderRules:
    """The dynamic ladder (exit-rules 1). Distances are fractions of entry, splits are shares of the initial size."""

    distances: tuple[Ratio, ...] = (_pct("1.5"), _pct("2.5"), _pct("4"))
    split: tuple[Decimal, ...] = (Decimal("0.30"), Decimal("0.30"), Decimal("0.40"))
    high_leverage: Decimal = Decimal(15)
    high_leverage_factor: Decimal = Decimal("0.70")
    low_leverage: Decimal = Decimal(5)
    low_leverage_factor: Decimal = Decimal("1.30")
    large_notional: Money = Decimal(2000)
    large_notional_factor: Decimal = Decimal("0.80")
    large_notional_split: tuple[Decimal, ...] = (Decimal("0.40"), Decimal("0.35"), Decimal("0.25"))
    high_volatility: Ratio = field(default=_pct("3.5"))
    high_volatility_factor: Decimal = Decimal("1.40")
    low_volatility: Ratio = field(default=_pct("1.5"))
    low_volatility_factor: Decimal = Decimal("0.75")
    trending_factor: Decimal = Decimal("1.50")
    trending_split: tuple[Decimal, ...] = (Decimal("0.20"), Decimal("0.30"), Decimal("0.50"))
    sideways_factor: Decimal = Decimal("0.70")
    high_confidence: Decimal = Decimal("0.85")
    high_confidence_factor: Decimal = Decimal("1.30")
    low_confidence: Decimal = Decimal("0.60")
    low_confidence_factor: Decimal = Decimal("0.75")
    low_volume: Money = Decimal(100000)
    low_volume_factor: Decimal = Decimal("0.80")
    low_volume_split: tuple[Decimal, ...] = (Decimal("0.45"), Decimal("0.35"), Decimal("0.20"))
    high_pnl: Ratio = field(default=_pct("5"))
    high_pnl_factor: Decimal = Decimal("0.80")
    min_distance: Ratio = field(default=_pct("0.5"))
    max_distance: Ratio = field(default=_pct("10"))
    live_pnl: Ratio = field(default=_pct("8"))
    live_factor: Decimal = Decimal("0.70")
    dollar_assets: tuple[str, ...] = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USD1", "BNFCR")

    def __post_init__(self) -> None:
        require(bool(self.distances), "the ladder has no distances", "give at least one distance")
        require(
            all(near < far for near, far in pairwise(self.distances)),
            f"ladder distances '{' / '.join(map(str, self.distances))}' are not ascending",
            "order the distances from near to far",
        )
        require_positive({"ladder distance": self.distances[0]})
        for name in ("split", "large_notional_split", "trending_split", "low_volume_split"):
            require_split(f"ladder {name}", getattr(self, name), len(self.distances))
        require_positive(
            {
                f"ladder {name}": getattr(self, name)
                for name in (
                    "high_leverage_factor",
                    "low_leverage_factor",
                    "large_notional_factor",
                    "high_volatility_factor",
                    "low_volatility_factor",
                    "trending_factor",
                    "sideways_factor",
                    "high_confidence_factor",
                    "low_confidence_factor",
                    "low_volume_factor",
                    "high_pnl_factor",
                    "live_factor",
                    "min_distance",
                )
            }
        )
        for name, low, high in (
            ("leverage", self.low_leverage, self.high_leverage),
            ("volatility", self.low_volatility.fraction, self.high_volatility.fraction),
            ("confidence", self.low_confidence, self.high_confidence),
            ("distance clamp", self.min_distance.fraction, self.max_distance.fraction),
        ):
            require(
                low < high,
                f"ladder {name} bounds '{low}' and '{high}' are out of order",
                "set the low one below the high",
            )


@dataclass(frozen=True, slots=True)
class ModeFactors:
    """How a target mode scales take-profit and stop."""

    take_profit: Decimal
    stop: Decimal

    def __post_init__(self) -> None:
        require_positive({"mode take_profit": self.take_profit, "mode stop": self.stop})


def default_modes() -> dict[TargetMode, ModeFactors]:
    """Return the four modes of exit-rules 3, by name."""
    return {
        "normal": ModeFactors(ONE, ONE),
        "optimistic": ModeFactors(Decimal("1.15"), Decimal("0.90")),
        "aggressive": ModeFactors(Decimal("1.30"), Decimal("0.85")),
        "critical": ModeFactors(Decimal("0.70"), Decimal("1.30")),
    }


@dataclass(frozen=True, slots=True)
class TargetRules:
    """Target and hybrid policies, and the scales they share with the stop (exit-rules 3, 4)."""

    take_profit: Ratio = field(default=_pct("6"))
    mode: TargetMode = "normal"
    modes: Mapping[TargetMode, ModeFactors] = field(default_factory=default_modes)
    confidence_floor: Decimal = Decimal("0.40")
    confidence_span: Decimal = Decimal("0.55")
    confidence_base: Decimal = Decimal("0.5")
    volatility_base: Decimal = Decimal("0.8")
    volatility_slope: Decimal = Decimal("0.4")
    volatility_reference: Ratio = field(default=_pct("3"))
    volatility_min: Decimal = Decimal("0.8")
    volatility_max: Decimal = Decimal("1.5")
    blend_own: Decimal = Decimal("0.6")
    blend_suggested: Decimal = Decimal("0.4")
    min_take_profit: Ratio = field(default=_pct("5"))
    min_stop: Ratio = field(default=_pct("1.5"))
    min_reward_risk: Decimal = Decimal("1.5")
    max_reward_risk: Decimal = Decimal("4.0")
    trail_share: Decimal = Decimal("0.4")
    hybrid_low: Decimal = Decimal("0.20")
    hybrid_high: Decimal = Decimal("0.80")
    hybrid_trail: Decimal = Decimal("0.5")
    hybrid_target_share: Decimal = Decimal("0.5")
    hybrid_stop_factor: Decimal = Decimal("0.9")

    def __post_init__(self) -> None:
        require(
            self.mode in self.modes, f"target mode '{self.mode}' is unknown", f"choose from: {', '.join(self.modes)}"
        )
        require_positive(
            {
                f"target {name}": getattr(self, name)
                for name in (
                    "take_profit",
                    "confidence_span",
                    "volatility_reference",
                    "volatility_min",
                    "min_take_profit",
                    "min_stop",
                    "min_reward_risk",
                    "trail_share",
                    "hybrid_trail",
                    "hybrid_stop_factor",
                )
            }
        )
        require(
            self.confidence_base >= 0 and self.confidence_base + ONE < 2,
            f"target confidence_base '{self.confidence_base}' leaves no stop at full confidence",
            "set confidence_base from 0 to below 1",
        )
        require(
            self.blend_own >= 0 and self.blend_suggested >= 0 and self.blend_own + self.blend_suggested == ONE,
            f"blend weights '{self.blend_own}' and '{self.blend_suggested}' do not sum to 1",
            "let blend_own and blend_suggested sum to 1",
        )
        require(
            self.hybrid_stop_factor <= ONE,
            f"hybrid_stop_factor '{self.hybrid_stop_factor}' would widen the stop",
            "set it to 1 or below",
        )
        require(
            ZERO < self.hybrid_target_share < ONE,
            f"hybrid_target_share '{self.hybrid_target_share}' is not between 0 and 1",
            "set the share of the size that aims at the target, such as 0.5",
        )
        for name, low, high in (
            ("volatility scale", self.volatility_min, self.volatility_max),
            ("reward_risk", self.min_reward_risk, self.max_reward_risk),
            ("hybrid confidence", self.hybrid_low, self.hybrid_high),
        ):
            require(
                low <= high,
                f"target {name} bounds '{low}' and '{high}' are out of order",
                "set the low one below the high",
            )

    @property
    def factors(self) -> ModeFactors:
        """The factors of the chosen mode."""
        return self.modes[self.mode]


@dataclass(frozen=True, slots=True)
class StopRules:
    """The stop and its backstop (exit-rules 6). `max_margin_loss` is a share of margin; None switches it off."""

    distance: Ratio = field(default=_pct("2.5"))
    floor: Ratio = field(default=_pct("0.5"))
    reward_risk: Decimal = Decimal("1.5")
    liquidation_share: Decimal = Decimal("0.80")
    min_distance: Ratio = field(default=_pct("0.2"))
    backstop_factor: Decimal = Decimal("1.25")
    backstop_share: Decimal = Decimal("0.90")
    max_margin_loss: Decimal | None = None

    def __post_init__(self) -> None:
        require_positive(
            {
                f"stop {name}": getattr(self, name)
                for name in ("distance", "floor", "reward_risk", "liquidation_share", "min_distance", "backstop_factor")
            }
        )
        require(
            self.liquidation_share <= self.backstop_share < ONE,
            f"liquidation shares '{self.liquidation_share}' and '{self.backstop_share}' are out of order",
            "keep liquidation_share <= backstop_share < 1",
        )
        require(
            self.backstop_factor >= ONE,
            f"backstop_factor '{self.backstop_factor}' puts the backstop inside the stop",
            "set it to 1 or above",
        )
        if self.max_margin_loss is not None:
            require_positive({"stop max_margin_loss": self.max_margin_loss})


@dataclass(frozen=True, slots=True)
class RiskRules:
    """How measured risk scales take-profits and stops (exit-rules 11). Thresholds are exclusive.

    Levels that rest follow a change of the factor by at least `hysteresis` (a share of it), and move out only when
    every measurement of the last `widen_after_ms` asked for it.
    """

    ess_severe: Decimal = Decimal("2.5")
    ess_severe_factor: Decimal = Decimal("0.70")
    ess_high: Decimal = Decimal("1.5")
    ess_high_factor: Decimal = Decimal("0.85")
    systemic_severe: Decimal = Decimal("0.8")
    systemic_severe_factor: Decimal = Decimal("0.75")
    systemic_high: Decimal = Decimal("0.6")
    systemic_high_factor: Decimal = Decimal("0.90")
    correlation_high: Decimal = Decimal("0.8")
    correlation_factor: Decimal = Decimal("0.95")
    heat_high: Decimal = Decimal("0.7")
    heat_factor: Decimal = Decimal("0.95")
    min_factor: Decimal = Decimal("0.5")
    max_factor: Decimal = Decimal("1.5")
    calm_ess: Decimal = Decimal("0.75")
    calm_systemic: Decimal = Decimal("0.2")
    calm_correlation: Decimal = Decimal("0.5")
    calm_factor: Decimal = Decimal("1.10")
    stop_factor: Decimal = Decimal("1.20")
    hysteresis: Decimal = Decimal("0.10")
    widen_after_ms: Millis = 1_800_000

    def __post_init__(self) -> None:
        require_positive(
            {
                f"risk {name}": getattr(self, name)
                for name in (
                    "ess_severe_factor",
                    "ess_high_factor",
                    "systemic_severe_factor",
                    "systemic_high_factor",
                    "correlation_factor",
                    "heat_factor",
                    "min_factor",
                    "calm_factor",
                    "stop_factor",
                    "hysteresis",
                    "widen_after_ms",
                )
            }
        )
        for name, low, high in (
            ("ess", self.ess_high, self.ess_severe),
            ("systemic", self.systemic_high, self.systemic_severe),
            ("factor", self.min_factor, self.max_factor),
        ):
            require(
                low <= high,
                f"risk {name} bounds '{low}' and '{high}' are out of order",
                "set the low one below the high",
            )


@dataclass(frozen=True, slots=True)
class TrailRules:
    """Trailing (exit-rules 9). `schedule` rows are (profit, factor on the original callback), ascending.

    `style` is how a callback changes: tighter with profit by the schedule, with the average true range within the
    schedule's bounds (`atr_multiple` times it, read again every `atr_interval_ms`), or not at all.
    `min_change` is the share of the callback a change of it must exceed; `min_step` is the share of the callback the
    resting stop may lie behind the trail before it is moved, so that not every tick costs an order.
    """

    style: TrailStyle = "tiered"
    callback: Ratio = field(default=_pct("2"))
    activation: Ratio = field(default=_pct("2"))
    atr_multiple: Decimal = Decimal(3)
    atr_interval_ms: Millis = 600_000
    schedule: tuple[tuple[Ratio, Decimal], ...] = DEFAULT_SCHEDULE
    min_callback: Ratio = MIN_CALLBACK
    max_callback: Ratio = MAX_CALLBACK
    min_age_ms: int = 300_000
    min_interval_ms: int = 30_000
    min_change: Decimal = Decimal("0.10")
    min_step: Decimal = Decimal("0.10")

    def __post_init__(self) -> None:
        require_positive(
            {
                "trail callback": self.callback,
                "trail activation": self.activation,
                "trail min_callback": self.min_callback,
                "trail atr_multiple": self.atr_multiple,
            }
        )
        require(
            self.style in {"tiered", "percent", "atr"},
            f"trail style '{self.style}' is unknown",
            "choose from: tiered, percent, atr",
        )
        require(
            self.atr_interval_ms >= _LEAST_ATR_INTERVAL_MS,
            f"trail atr_interval '{self.atr_interval_ms} ms' is below a minute",
            "set a minute or more: the range is measured on candles of 5 minutes and longer",
        )
        require(
            self.min_callback <= self.callback <= self.max_callback,
            f"trail callback '{self.callback}' is outside '{self.min_callback}' to '{self.max_callback}'",
            "set callback between min_callback and max_callback",
        )
        require(bool(self.schedule), "the trail schedule is empty", "give at least one row of profit and factor")
        require(
            all(a[0] < b[0] and a[1] >= b[1] for a, b in pairwise(self.schedule))
            and all(ZERO < factor <= ONE for _, factor in self.schedule),
            "the trail schedule does not tighten with profit",
            "order rows by profit ascending, factors from 1 down, above 0",
        )
        require(
            self.min_age_ms >= 0 and self.min_interval_ms >= 0 and self.min_change >= 0 and self.min_step >= 0,
            "a trail limit is below zero",
            "set min_age_ms, min_interval_ms and min_change to zero or above",
        )


@dataclass(frozen=True, slots=True)
class ExecutionRules:
    """How exits are carried out (exit-rules 7, 8).

    The ratchet `breakeven` stays there. `ratchet_percent` serves the two percent styles. `ratchet_targets_back` serves
    `moving_target`: how many targets the stop stays behind the one that filled; one is what `previous_tp` does.
    """

    take_profit: TakeProfitMode = "resident"
    if_crossed: IfCrossed = "take"
    breakeven: BreakevenMode = "net"
    ratchet: RatchetStyle = "previous_tp"
    ratchet_percent: Ratio = field(default=_pct("1"))
    ratchet_targets_back: int = 1
    working: WorkingType = WorkingType.MARK

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("take_profit", self.take_profit, ("resident", "software")),
            ("if_crossed", self.if_crossed, ("take", "skip")),
            ("breakeven", self.breakeven, ("net", "entry")),
            (
                "ratchet",
                self.ratchet,
                ("previous_tp", "breakeven", "moving_target", "percent_below_trigger", "percent_below_highest"),
            ),
        ):
            require(value in allowed, f"{name} '{value}' is unknown", f"choose from: {', '.join(allowed)}")
        require(
            ZERO < self.ratchet_percent.fraction < ONE,
            f"ratchet_percent '{self.ratchet_percent}' is not between 0 and 100 %",
            "set a distance such as 1%",
        )
        require(
            self.ratchet_targets_back >= 1,
            f"ratchet_targets_back '{self.ratchet_targets_back}' is below 1",
            "set 1 or more",
        )


@dataclass(frozen=True, slots=True)
class ExitRules:
    """All exit rules of one profile of the configuration."""

    policy: Policy = Policy.DYNAMIC
    ladder: LadderRules = field(default_factory=LadderRules)
    profiles: ProfileRules = field(default_factory=ProfileRules)
    target: TargetRules = field(default_factory=TargetRules)
    stop: StopRules = field(default_factory=StopRules)
    risk: RiskRules = field(default_factory=RiskRules)
    trail: TrailRules = field(default_factory=TrailRules)
    execution: ExecutionRules = field(default_factory=ExecutionRules)
