"""What trading measured goes into the next training: costs by symbol and cause, the bonus's weight, the choices."""

from dataclasses import replace

import numpy as np
import pytest

from tpctl.learn.config import TrainConfig, base_terms
from tpctl.learn.costs import ASSUMED_SLIPPAGE, Costs
from tpctl.learn.environment import synthetic_episodes
from tpctl.learn.feedback import PRIOR_FILLS, Feedback, Slipped, calibration, informed, measured_costs
from tpctl.learn.play import Player
from tpctl.learn.train import incumbent_outcomes

MEASURED = Feedback(Costs(), 0, 100, 0.6, 0.0002, 0.05, 0.4)
TIMES, SYMBOLS = np.arange(0, 900_000 * 3_000, 900_000, dtype=np.int64), np.arange(3_000, dtype=np.int64) % 3


def drawn(costs: Costs) -> np.ndarray:
    return costs.draw(TIMES, SYMBOLS, ("AAAUSDT", "BBBUSDT", "CCCUSDT"))


def test_nothing_measured_is_what_is_assumed():
    assert measured_costs([]) == (Costs(), 0)
    assert measured_costs([Slipped("AAAUSDT", "target", float("nan")), Slipped("AAAUSDT", "target", 0.7)])[1] == 0
    assert (drawn(Costs()) == ASSUMED_SLIPPAGE).all()


def test_few_fills_are_drawn_toward_the_rest_and_many_are_believed():
    few, _ = measured_costs([Slipped("AAAUSDT", "target", 0.01)] * 3)
    many, count = measured_costs([Slipped("AAAUSDT", "target", 0.01)] * 300)
    worth = {3: 3 / (3 + PRIOR_FILLS), 300: 300 / (300 + PRIOR_FILLS)}

    assert count == 300
    for costs, fills in ((few, 3), (many, 300)):
        # Of the common sample and, again, of the symbol's own drawn toward it.
        assert np.mean(np.array(costs.slippage.target) == 0.01) == pytest.approx(worth[fills])
        assert np.mean(np.array(costs.own["AAAUSDT"].target) == 0.01) > worth[fills]
        assert costs.slippage.measured


def test_each_symbol_and_cause_meets_its_own_slippage():
    fills = [Slipped("AAAUSDT", "target", 0.01)] * 3_000 + [Slipped("BBBUSDT", "stop", 0.02)] * 3_000
    stop, target, market = drawn(measured_costs(fills)[0])

    assert (target[SYMBOLS == 0] == 0.01).mean() > 0.97
    assert (stop[SYMBOLS == 1] == 0.02).mean() > 0.97
    # What was never filled meets the common distribution, and market orders what is assumed.
    assert (target[SYMBOLS == 2] == 0.01).mean() > 0.9
    assert (market == ASSUMED_SLIPPAGE).all()


def test_a_part_of_the_positions_meets_what_it_met_in_the_whole():
    costs, _ = measured_costs([Slipped("AAAUSDT", "target", 0.001 * index) for index in range(50)])
    names = ("AAAUSDT", "BBBUSDT", "CCCUSDT")

    assert (costs.draw(TIMES[::7], SYMBOLS[::7], names) == drawn(costs)[:, ::7]).all()


def test_stress_scales_every_symbol():
    costs, _ = measured_costs([Slipped("AAAUSDT", "target", 0.01)] * 40)

    assert (drawn(costs.scaled(2.0)) == 2.0 * drawn(costs)).all()
    assert (drawn(costs.slipped(2.0)) == 2.0 * drawn(costs)).all()
    assert (costs.slipped(2.0).fee_out, costs.scaled(2.0).fee_out) == (costs.fee_out, 2.0 * costs.fee_out)


def test_the_bonus_weighs_what_the_metrics_say():
    config = TrainConfig(bonus=5.0)

    assert informed(config, MEASURED).bonus == 5.0 * 1.2
    assert informed(config, replace(MEASURED, tp_hit_rate=0.8)).bonus == 5.0 * 0.5
    assert informed(config, replace(MEASURED, tp_hit_rate=0.4, mean_r=1.3)).bonus == 5.0 * 2.0
    assert informed(config, replace(MEASURED, attempts=9)).bonus == 5.0
    assert informed(config, Feedback(Costs())).bonus == 5.0


def test_premature_exits_and_rare_hits_widen_what_may_be_chosen():
    config = TrainConfig()

    assert informed(config, MEASURED) == replace(config, costs=MEASURED.costs)
    early = informed(config, replace(MEASURED, premature_exit_rate=0.2))
    assert (early.multiples[-1], early.tighten_reach) == (3.0, 1.5 * config.tighten_reach)
    assert informed(config, replace(MEASURED, tp_hit_rate=0.3)).multiples[0] == 0.35
    few = replace(MEASURED, premature_exit_rate=0.9, tp_hit_rate=0.1, attempts=9)
    assert informed(config, few) == replace(config, costs=MEASURED.costs)


def test_a_simulator_that_hits_far_more_or_fewer_targets_than_trading_is_told():
    real, config = synthetic_episodes(3, 60), TrainConfig()
    targets = np.isfinite(base_terms(real, config).targets).sum()
    rate = float(incumbent_outcomes(Player(real), config).legs.sum() / targets)

    assert calibration(real, config, replace(MEASURED, tp_hit_rate=rate)) is None
    told = calibration(real, config, replace(MEASURED, tp_hit_rate=0.99 if rate < 0.5 else 0.01))
    assert told is not None
    assert told.startswith(f"the simulator hits {rate:.0%} of the targets")
    assert calibration(real, config, replace(MEASURED, tp_hit_rate=0.99, attempts=9)) is None
