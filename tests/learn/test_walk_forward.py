"""Walk-forward: nothing of the future teaches or judges the past, every baseline is played, and all of it repeats."""

from dataclasses import fields, replace

import numpy as np
import pytest
from market_walks import START, walk

from tpctl.exits.errors import InputsError
from tpctl.learn.baselines import BASELINES, CLAIRVOYANT, DYNAMIC, HOLD, IMMEDIATE, RANDOM, close_at, hold_terms
from tpctl.learn.cem import CemRules
from tpctl.learn.config import TrainConfig
from tpctl.learn.episodes import EpisodeRules, Episodes, sample_episodes
from tpctl.learn.evaluate import CANDIDATE, INCUMBENT, Earlier, evaluate
from tpctl.learn.folds import walk_forward
from tpctl.learn.play import Player
from tpctl.learn.regimes import UNKNOWN, Regimes, stress_thirds
from tpctl.learn.replay import Simulation
from tpctl.learn.tasks import Pool
from tpctl.learn.train import train
from tpctl.learn.walk import STRESSES, Job, Walk, do, part, rows_of, trials_of, violations
from tpctl.market.evaluation import Evaluation, Verdict
from tpctl.market.risk.prices import PriceSeries

DAY = 86_400_000
CANDLES, HORIZON = 4_000, 24
# By share of all entries: which are drawn does not depend on how long the data are.
SHARE = 0.12
EARLIER = Earlier((0.01, -0.02), unmeasured=3)


def market(until: int = CANDLES) -> dict[str, PriceSeries]:
    series = {"XRPUSDT": walk("XRPUSDT", CANDLES, 1), "BTCUSDT": walk("BTCUSDT", CANDLES, 2, 50_000.0)}
    return {
        name: PriceSeries(
            name, one.interval_ms, *(getattr(one, part)[:until] for part in ("at", "open", "high", "low", "close"))
        )
        for name, one in series.items()
    }


def made(until: int = CANDLES, **changes: object) -> Walk:
    episodes = sample_episodes(market(until), EpisodeRules(horizon=HORIZON), share=SHARE)
    span = HORIZON * episodes.interval_ms
    last = START + until * episodes.interval_ms
    folds = walk_forward(START + 8 * DAY, last, span, train_ms=14 * DAY, test_ms=5 * DAY)
    config = replace(TrainConfig(cem=CemRules(rounds=6)), **changes)
    return Walk(episodes, folds, trials_of(config), seeds=(0, 1))


@pytest.fixture(scope="module")
def whole() -> Walk:
    return made()


@pytest.fixture(scope="module")
def result(whole) -> Evaluation:
    return evaluate(whole, stress_thirds(whole.episodes, market()), earlier=EARLIER, prove=False)


def test_data_that_end_earlier_give_the_same_results_for_the_folds_they_hold(whole):
    """No look-ahead, by truncation: everything a fold says is the same where its future was never recorded."""
    fold = 1
    end = (whole.folds[fold].test_until + HORIZON * whole.episodes.interval_ms - START) // whole.episodes.interval_ms
    short = made(end + 1)

    assert len(short.folds) == fold + 1 < len(whole.folds)
    for job in (Job("baselines", fold), Job("train", fold, 0, 1), Job("apart", fold, 0, 0, 1), Job("train", 0, 2, 0)):
        here, there = do(short, job), do(whole, job)
        assert here.keys() == there.keys()
        assert all(np.array_equal(here[name], there[name], equal_nan=True) for name in here)


def test_prices_of_the_test_month_teach_nothing(whole):
    fold = whole.folds[1]
    test = fold.test(whole.episodes.started_at)
    turned = {
        name: np.where(test[:, None], getattr(whole.episodes, name)[::-1] * 1.5, getattr(whole.episodes, name))
        for name in ("open", "high", "low", "close", "drift_fast")
    }
    other = replace(whole, episodes=replace(whole.episodes, **turned))

    for job in (Job("train", 1, 0, 0), Job("train", 1, 1, 0)):
        assert np.array_equal(do(whole, job)["hash"], do(other, job)["hash"])
    assert do(whole, Job("baselines", 1))["single"] == do(other, Job("baselines", 1))["single"]


def test_no_position_judges_twice_or_judges_what_it_taught(whole):
    rows = rows_of(whole)
    assert len(np.unique(rows)) == len(rows)
    for fold in whole.folds:
        started = whole.episodes.started_at
        ends = started[fold.train(started)].max() + HORIZON * whole.episodes.interval_ms
        assert ends < started[fold.test(started)].min()


def test_every_baseline_is_told_with_its_gain_and_the_bound_is_one(result):
    rows = {row.name: row for row in result.rows}

    assert set(rows) == {CANDIDATE, INCUMBENT, *BASELINES}
    assert rows[INCUMBENT].gain is None
    assert rows[DYNAMIC].figures == rows[INCUMBENT].figures
    assert rows[DYNAMIC].gain.mean == 0.0
    assert rows[CLAIRVOYANT].capture == 1.0
    assert rows[HOLD].capture == 0.0
    assert all(row.figures.mean <= rows[CLAIRVOYANT].figures.mean for row in result.rows)
    assert rows[CLAIRVOYANT].figures.holding_minutes is None
    assert rows[IMMEDIATE].figures.holding_minutes == pytest.approx(15.0)
    assert rows[RANDOM].figures.holding_minutes == pytest.approx(rows[CANDIDATE].figures.holding_minutes, rel=0.25)


def test_no_position_does_better_than_the_clairvoyant(whole):
    results = do(whole, Job("baselines", 0))
    best = part(results, CLAIRVOYANT).r
    for name in (*BASELINES[:-2], "incumbent"):
        assert (part(results, name).r <= best + 1e-9).all(), name


def test_gains_are_paired_on_the_positions_of_the_test_folds(whole, result):
    rows = rows_of(whole)
    assert result.positions == len(rows) == len(result.outcomes[CANDIDATE])
    gain = result.outcomes[CANDIDATE] - result.outcomes[INCUMBENT]
    assert result.judgement.interval.mean == pytest.approx(gain.mean())
    for slices in (result.folds, result.by_symbol, result.by_regime):
        assert sum(one.positions for one in slices) == len(rows)
        total = sum(one.gain.mean * one.positions for one in slices)
        assert total / len(rows) == pytest.approx(gain.mean())
    assert all(one.apart is not None for one in result.by_symbol)


def test_costs_are_paid_in_the_stress(result):
    assert [one.name for one in result.stress] == list(STRESSES)
    plain = next(row.figures.mean for row in result.rows if row.name == INCUMBENT)
    assert result.stress[0].incumbent < result.stress[1].incumbent < plain


def test_the_gate_refuses_what_was_found_in_noise_and_says_why(result):
    assert result.judgement.verdict is Verdict.REFUSED
    assert any(reason.startswith("lower bound") for reason in result.judgement.reasons)
    assert result.reproducible
    assert "known answers is not known, must be 1 (made, and held)" in result.judgement.reasons
    # Earlier trials count: two with a ratio, three without; five here, and the candidate's other seed.
    assert result.deflated.trials == 2 + 3 + len(result.trials) + 1
    assert result.overfitting is None or result.overfitting.configurations == len(result.trials)


def test_the_bonus_is_tried_at_every_size_and_without(result):
    assert [one.name for one in result.trials] == [
        "stopping, no bonus",
        "cem, no bonus",
        "stopping, bonus 5 to 1 R",
        "stopping, bonus 5 to 10 R",
        "stopping, bonus 5 to 100 R",
    ]
    with_bonus = trials_of(TrainConfig(bonus=5.0))
    assert [one.name for one in with_bonus][:2] == ["stopping, bonus 5 to 1 R", "cem, bonus 5 to 1 R"]
    assert "stopping, no bonus" in {one.name for one in with_bonus}


def test_a_pool_and_a_run_that_was_stopped_give_the_same_figures(whole, result, tmp_path):
    regimes = stress_thirds(whole.episodes, market())
    heard = []

    def stopped(done: int, count: int) -> None:
        heard.append(done)
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(whole, regimes, earlier=EARLIER, prove=False, store=tmp_path, told=stopped)
    heard.clear()
    again = evaluate(
        whole, regimes, earlier=EARLIER, prove=False, engine=Pool(2), store=tmp_path, told=lambda d, c: heard.append(d)
    )

    assert heard[0] == 9
    assert _plain(again) == _plain(result)


def _plain(value: object) -> object:
    """Everything an evaluation holds, comparable with ==."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "__dataclass_fields__"):
        return [_plain(getattr(value, one.name)) for one in fields(value)]
    return value


def test_a_request_the_simulator_should_not_let_through_is_counted(whole, monkeypatch):

    player = Player(whole.episodes.take(slice(0, 300)), compiled=False)
    config = whole.trials[0].config
    policy = train(player.episodes, config, 0).policy
    assert violations(player, policy, config) == 0

    plain = Simulation.carry_out

    def loosened(self, step):
        plain(self, step)
        if step == 3:
            self.stop[self.live] -= 1.0

    monkeypatch.setattr(Simulation, "carry_out", loosened)
    assert violations(player, policy, config) > 0


def test_closing_at_a_moment_closes_there(whole):
    player = Player(whole.episodes.take(slice(0, 200)), compiled=False)
    config = whole.trials[0].config
    outcomes = close_at(player, hold_terms(player, config), config, np.full(200, 4, dtype=np.int64))

    assert set(outcomes.exit_step[outcomes.reason == 4]) == {5}
    assert (outcomes.exit_step <= 5).all()


def test_regimes_are_thirds_of_stress_known_at_entry():
    short = market(1_000)
    episodes = sample_episodes(short, EpisodeRules(horizon=HORIZON), share=SHARE)
    unknown = stress_thirds(episodes, short)
    assert unknown.names == (UNKNOWN,)

    series = market()
    episodes: Episodes = sample_episodes(series, EpisodeRules(horizon=HORIZON), share=SHARE)
    regimes: Regimes = stress_thirds(episodes, series)
    counts = np.bincount(regimes.label, minlength=4)
    assert counts[:3].max() - counts[:3].min() <= 0.05 * counts[:3].sum()
    assert counts[3] > 0


def test_a_fold_without_positions_is_refused(whole):
    started = whole.episodes.started_at
    hole = whole.folds[1]
    kept = whole.episodes.take((started < hole.test_from) | (started >= hole.test_until))
    empty = replace(whole, episodes=kept)

    with pytest.raises(InputsError, match="no position to judge"):
        evaluate(empty, Regimes((UNKNOWN,), np.zeros(len(kept), dtype=np.int64)))
