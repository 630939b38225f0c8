"""Episodes know nothing of what comes after, and what they know live and in training is the same."""

from dataclasses import fields, replace

import numpy as np
import pytest
from market_walks import walk

from tpctl.exits.errors import InputsError
from tpctl.exits.instrument import Unavailable
from tpctl.learn.episodes import Entry, EpisodeRules, episodes_of, sample_episodes
from tpctl.learn.market_features import market_arrays
from tpctl.market.policy.features import read_market
from tpctl.market.risk.prices import QUARTER_MS, PriceSeries
from tpctl.ports import Candle


def test_one_reading_live_equals_the_arrays_of_training():
    series = walk("XRPUSDT", 900)
    arrays = market_arrays(series)

    for row in (400, 611, 899):
        candles = [
            Candle(int(a), float(o), float(h), float(low), float(c), 0.0)
            for a, o, h, low, c in zip(series.at, series.open, series.high, series.low, series.close, strict=True)
        ][: row + 1]
        reading = read_market(candles, QUARTER_MS)
        assert not isinstance(reading, Unavailable)
        live = (reading.drift_fast, reading.drift_slow, reading.swell, reading.reach)
        trained = (arrays.drift_fast[row], arrays.drift_slow[row], arrays.swell[row], arrays.reach[row])
        assert trained == pytest.approx(live, rel=1e-9, abs=1e-12)


def test_too_short_a_past_is_unavailable_in_both():
    series = walk("XRPUSDT", 900)

    assert np.isnan(market_arrays(series).reach[383])
    assert isinstance(read_market([], QUARTER_MS), Unavailable)


@pytest.mark.parametrize("cut", [1200, 1501, 1999])
def test_what_an_episode_knows_does_not_change_when_candles_are_appended(cut):
    rules = EpisodeRules(horizon=40)
    whole = {"XRPUSDT": walk("XRPUSDT", 2_000, 1), "BTCUSDT": walk("BTCUSDT", 2_000, 2, 50_000.0)}
    short = {name: one.until(int(one.at[cut])) for name, one in whole.items()}

    early, late = sample_episodes(short, rules, share=0.2), sample_episodes(whole, rules, share=0.2)

    known = late.started_at <= early.started_at.max()
    assert len(early) > 100
    # The last path of the short data begins where nothing of the long data could have begun earlier.
    assert early.data_hash() == late.take(known).data_hash()


def test_what_an_entry_knows_does_not_change_with_its_own_path():
    series = walk("XRPUSDT", 1_500, 3)
    rules = EpisodeRules(horizon=40)
    before = sample_episodes({"XRPUSDT": series}, rules, share=0.1)
    # The market turns from one entry on: what was known at it must not.
    row = int(np.searchsorted(series.at, before.started_at[30]))
    turned = {
        name: np.r_[getattr(series, name)[:row], getattr(series, name)[row:] * 1.5]
        for name in ("open", "high", "low", "close")
    }
    after = sample_episodes({"XRPUSDT": replace(series, **turned)}, rules, share=0.1)

    assert (before.started_at == after.started_at).all()
    for name in ("side", "stop", "volatility", "entry_market"):
        assert np.array_equal(getattr(before, name)[:31], getattr(after, name)[:31])


def test_paths_that_reach_over_a_missing_candle_are_left_out():
    series = walk("XRPUSDT", 1_500, 4)
    kept = np.arange(1_500) != 1_000
    holed = PriceSeries(
        "XRPUSDT", QUARTER_MS, *(getattr(series, name)[kept] for name in ("at", "open", "high", "low", "close"))
    )
    rules = EpisodeRules(horizon=40)

    episodes = sample_episodes({"XRPUSDT": holed}, rules, share=1.0)

    gone = series.at[1_000]
    reaches = (episodes.started_at - QUARTER_MS <= gone) & (episodes.started_at + 40 * QUARTER_MS >= gone)
    assert not reaches.any()
    assert np.isfinite(episodes.reach).all()


def test_funding_is_charged_with_the_candle_it_falls_on():
    series = walk("XRPUSDT", 1_500, 5)
    due = int(series.at[1_000])
    funding = {"XRPUSDT": (np.array([due + 8], dtype=np.int64), np.array([0.0003]))}

    episodes = sample_episodes({"XRPUSDT": series}, EpisodeRules(horizon=40), share=1.0, funding=funding)

    opens_at = episodes.started_at[:, None] + QUARTER_MS * np.arange(41)
    assert np.array_equal(episodes.funding, np.where(opens_at == due, 0.0003, 0.0))


def test_real_positions_enter_with_the_first_candle_after_them():
    series = walk("XRPUSDT", 1_500, 6)
    entries = [Entry("XRPUSDT", -1, int(series.at[900]) - 1), Entry("XRPUSDT", 1, int(series.at[1_499]))]

    episodes = episodes_of({"XRPUSDT": series}, entries, EpisodeRules(horizon=40))

    assert list(episodes.started_at) == [series.at[900]]
    assert list(episodes.side) == [-1.0]


def test_asking_for_more_than_there_is_says_how_much_there_is():
    with pytest.raises(InputsError, match="99999 episodes were asked for, the data hold 7"):
        sample_episodes({"XRPUSDT": walk("XRPUSDT", 1_500)}, EpisodeRules(horizon=40), count=99_999)


def test_equal_data_have_equal_hashes_and_others_do_not():
    make = lambda seed: sample_episodes({"XRPUSDT": walk("XRPUSDT", 1_500, seed)}, EpisodeRules(horizon=40), share=0.1)  # noqa: E731

    assert make(1).data_hash() == make(1).data_hash()
    assert make(1).data_hash() != make(2).data_hash()
    assert {field.name for field in fields(make(1))} >= {"open", "high", "low", "close"}
