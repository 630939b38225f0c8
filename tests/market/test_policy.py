"""A learned policy can only tighten or close, explains itself, and is refused when its file is not sound."""

import json
import sys
from subprocess import run

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpctl.exits.errors import StateFileError
from tpctl.exits.instrument import PositionSide
from tpctl.market.policy.codec import LARGEST_BYTES, decode_policy, encode_policy, policy_hash, weights_hash
from tpctl.market.policy.explain import explain_action, explain_zone
from tpctl.market.policy.features import (
    ENTRY_FEATURES,
    STEP_FEATURES,
    MarketReading,
    PositionReading,
    entry_features,
    step_features,
)
from tpctl.market.policy.model import Action, Layer, LearnedPolicy, Linear, Network, Origin, Score, Zone

ORIGIN = Origin("stopping", 7, 10_000, "ab" * 32, "{}")
WEIGHTS = tuple(0.1 * (index - 4) for index in range(len(STEP_FEATURES)))
LINEAR = Linear(Score(-0.25, WEIGHTS), Score(-1.0, WEIGHTS[::-1]), ((0.0, Action.CLOSE_HALF), (0.5, Action.CLOSE_ALL)))
NETWORK = Network(
    (
        Layer((WEIGHTS, WEIGHTS[::-1]), (0.1, -0.1)),
        Layer(((0.1, 0.2), (0.3, -0.1), (0.2, 0.2), (1.0, 0.4), (-0.3, 0.9)), (0.0, 0.1, 0.2, -0.5, 0.3)),
    )
)
ZONES = (
    Zone(0.75, Score(0.01, (0.0, 0.02, 0.0, -0.01))),
    Zone(1.0, Score(0.02, (0.0, 0.0, 0.0, 0.0))),
    Zone(1.5, Score(-0.01, (0.03, 0.04, -0.02, 0.01))),
)
POLICY = LearnedPolicy(900_000, 96, LINEAR, ZONES, 3.0, ORIGIN)

features = st.tuples(*(st.floats(-12, 12) for _ in STEP_FEATURES))
allowed = st.tuples(st.just(True), *(st.booleans() for _ in range(len(Action) - 1)))


def of_network() -> LearnedPolicy:
    return LearnedPolicy(900_000, 96, NETWORK, (), 3.0, ORIGIN)


@pytest.mark.parametrize("policy", [POLICY, of_network()])
def test_a_policy_comes_back_from_its_file_as_it_was(policy):
    again = decode_policy(encode_policy(policy))

    assert again == policy
    assert policy_hash(again) == policy_hash(policy)
    assert encode_policy(again) == encode_policy(policy)


def test_the_weights_hash_forgets_where_the_policy_comes_from():
    other = LearnedPolicy(900_000, 96, LINEAR, ZONES, 3.0, Origin("stopping", 8, 1, "", ""))

    assert weights_hash(other) == weights_hash(POLICY)
    assert policy_hash(other) != policy_hash(POLICY)


def test_every_truncation_is_refused():
    whole = encode_policy(POLICY)

    for length in range(0, len(whole) - 1, 37):
        with pytest.raises(StateFileError, match="is refused"):
            decode_policy(whole[:length])


def change(**keys: object) -> bytes:
    return json.dumps({**json.loads(encode_policy(POLICY)), **keys}).encode()


def altered(path: tuple[str | int, ...], value: object) -> bytes:
    found = json.loads(encode_policy(POLICY))
    at = found
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (change(schema="tpctl.policy/2"), "has schema 'tpctl.policy/2'"),
        (change(schema=None), "has schema 'None'"),
        (change(extra=1), "its keys differ: extra"),
        (change(horizon=0), "horizon must be above zero"),
        (change(horizon=1.5), "a whole number was expected"),
        (change(horizon=97), "does not match its hash"),
        (change(step_features=["age"]), "its step features are not those of this version"),
        (change(body={"kind": "pickle", "data": "gASV"}), "neither linear nor a network"),
        (change(body={"kind": "network", "layers": []}), "no layers"),
        (altered(("body", "close", "weights"), [1.0]), "does not hold 11 finite weights"),
        (altered(("body", "close", "bias"), True), "a number was expected"),
        (altered(("body", "close", "bias"), "1"), "a number was expected"),
        (altered(("body", "close", "bias"), 0.5), "does not match its hash"),
        (altered(("body", "shares"), [[0.0, "open"]]), "a close share is not a pair"),
        (altered(("body", "shares"), [[0.0, "tighten"]]), "names no share to close"),
        (altered(("zones", 0, "multiple"), -1.0), "zone multiple"),
        (altered(("origin", "seed"), None), "a whole number was expected"),
        (encode_policy(POLICY).replace(b'"bias": -0.25', b'"bias": NaN'), "it holds 'NaN'"),
        (encode_policy(POLICY).replace(b'"bias": -0.25', b'"bias": 1e999'), "finite weights"),
        (b"[" * 100_000, "it is not JSON"),
        (b"\x80\x04\x95", "it is not JSON"),
        (b"[]", "it is not an object"),
        (b" " * (LARGEST_BYTES + 1), "more than any policy"),
    ],
)
def test_a_file_that_is_not_sound_is_refused_with_its_reason(data, why):
    with pytest.raises(StateFileError) as caught:
        decode_policy(data, "candidate.json")
    assert why in caught.value.message
    assert "candidate.json" in caught.value.message


@pytest.mark.parametrize("policy", [POLICY, of_network()])
@given(seen=features, mask=allowed)
def test_only_what_the_position_takes_is_asked_for(policy, seen, mask):
    assert mask[policy.choose(seen, mask)]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_feature_that_is_no_number_is_refused(bad):
    with pytest.raises(ValueError, match="finite features"):
        POLICY.choose((bad, *WEIGHTS[1:]))


@given(seen=features)
def test_the_parts_of_a_linear_explanation_sum_to_its_score(seen):
    told = explain_action(POLICY, seen, Action.CLOSE_ALL)

    assert told.exact
    assert sum(part.effect for part in told.influences) == pytest.approx(told.score, abs=1e-9)
    assert [abs(part.effect) for part in told.influences] == sorted(
        (abs(p.effect) for p in told.influences), reverse=True
    )


def test_a_zone_is_explained_against_the_plan_as_it_is():
    seen = (2.0, 1.0, 0.0, 1.0)
    zone = POLICY.zone(seen)
    assert zone is not None
    told = explain_zone(POLICY, seen, zone)

    assert zone.multiple == 1.5
    assert told.answer == "1.5 x the plan's mean take-profit"
    assert told.score == pytest.approx(zone.value(seen) - ZONES[1].value(seen))
    assert told.influences[0].feature == "drift_fast"
    assert {part.feature for part in told.influences} == {"bias", *ENTRY_FEATURES}


@given(move=st.floats(-0.05, 0.05), best=st.floats(0, 0.1), drift=st.floats(-3, 3))
def test_a_short_sees_in_a_mirrored_market_what_a_long_sees(move, best, drift):
    def seen(side: PositionSide, sign: int) -> tuple[float, ...]:
        market = MarketReading(sign * drift, -sign * drift / 2, 0.3, 0.01)
        # A mirror of prices around the entry; ranges are of the close, so they are held equal by their product.
        close = 100.0 * (1 + sign * move)
        market = MarketReading(market.drift_fast, market.drift_slow, market.swell, 1.0 / close)
        target = 100.0 * (1 + sign * 0.12)
        position = PositionReading(
            side, 100.0, close, 100.0 * (1 + sign * best), 100.0 * (1 - sign * 0.06), target, 0.025, 0.5, 0.6, 0.0
        )
        return step_features(position, market)

    assert seen(PositionSide.LONG, 1) == pytest.approx(seen(PositionSide.SHORT, -1), abs=1e-9)


def test_entry_features_are_mirrored_and_in_stops():
    market = MarketReading(0.5, -0.25, 0.1, 0.01)

    assert entry_features(PositionSide.SHORT, market, 0.05, 0.025) == (-0.5, 0.25, 0.1, 2.0)


def test_inference_needs_no_numpy():
    code = "import sys, tpctl.market.policy.codec, tpctl.market.policy.explain; sys.exit('numpy' in sys.modules)"

    assert run([sys.executable, "-c", code], check=False).returncode == 0
