"""The reward of exit-rules 13, with its bonus for exits that reach the take-profit zone. Training only.

Evaluation and the gate use true net PnL: the bonus is a diagnostic that distorts (learning 1), so what it weighs is
chosen by what it does to net PnL.
"""

from dataclasses import dataclass

from tpctl.learn.replay import SUCCESS, ZONE

# exit-rules 13.
PNL, DRAWDOWN, EXPOSURE, ALIGNMENT, ALIVE, IDLE, BONUS = 100.0, 50.0, 10.0, 2.0, 0.1, 0.5, 5.0
VOLATILE, STILL = 0.03, 0.0001
# Fewer attempts than this say nothing about the weight.
LEAST_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Step:
    """What one step came to.

    `pnl_delta` is marked to market once; `drawdown`, `position` and `regime_alignment` as exit-rules 13 has them;
    `volatility` is daily, a fraction; `tp_zone_accuracy` counts where an exit closed, else it is zero.
    """

    pnl_delta: float
    drawdown: float = 0.0
    position: float = 0.0
    regime_alignment: float = 0.0
    volatility: float = 0.0
    tp_zone_accuracy: float = 0.0


def reward(step: Step, tp_reward_weight: float = 1.0) -> float:
    """Return the reward of one step."""
    total = PNL * step.pnl_delta - DRAWDOWN * step.drawdown**2
    if step.volatility > VOLATILE:
        total -= EXPOSURE * step.position**2
    total += ALIGNMENT * step.regime_alignment + ALIVE
    if abs(step.pnl_delta) < STILL:
        total -= IDLE
    return total + BONUS * step.tp_zone_accuracy * tp_reward_weight


def tp_reward_weight(hit_rate: float | None, mean_r: float | None, attempts: int) -> float:
    """Return what the bonus weighs, from measured hit rate (a fraction) and mean R; 1 where too little was measured."""
    if attempts < LEAST_ATTEMPTS or hit_rate is None or mean_r is None:
        return 1.0
    if mean_r >= 1.2:
        return 2.0 if hit_rate < 0.45 else 1.0
    if hit_rate > 0.70:
        return 0.5
    return 1.2 if hit_rate >= 0.45 else 1.0


def zone_taken(side: int, entry: float, exit_price: float, zone: float = ZONE) -> bool:
    """Whether an exit took at least 95 % of the distance to the zone (LONG from 100, zone 6 %: from 105.70 on)."""
    # A millionth of the distance covers the last digit of a float.
    return side * (exit_price - entry) >= SUCCESS * zone * entry * (1 - 1e-6)


def zone_accuracy(hits: int, misses: int) -> float | None:
    """Return hits over hits and misses; None where nothing closed."""
    return hits / (hits + misses) if hits + misses else None
