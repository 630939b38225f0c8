"""`tpctl venue rehearse`: what it takes, prints and ends with."""

import json

import pytest

from tpctl.cli.main import run
from tpctl.exits.intents import CancelOrder
from tpctl.rehearsal.deaths import DEATHS, parse_strikes
from tpctl.venue.faults import CATALOG

SHORT = ["venue", "rehearse", "--days", "0.05", "--jobs", "1"]


def test_figures_of_a_clean_rehearsal(capsys: pytest.CaptureFixture[str]) -> None:
    code = run([*SHORT, "--seeds", "1..2", "--faults", "latency,kill-now=2/h", "--json"])

    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert document["schema"] == "tpctl.rehearse/1"
    assert document["data"]["stories"] == 2
    assert document["data"]["violations"] == 0
    assert document["data"]["injected"]["latency"] > 0
    assert document["data"]["naked_ms"] == {"count": 0, "p50": None, "p99": None, "max": None, "total": 0}
    assert set(document["data"]["traces"]) == {"1", "2"}


def test_a_broken_invariant_ends_with_21_and_its_seed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted bug places no stop at all: the seed and the shortest cause are told."""
    monkeypatch.setattr("tpctl.exits.reconcile._keep_backstop", lambda draft: None)
    monkeypatch.setattr(
        "tpctl.exits.reconcile._place_stop",
        lambda draft, *_: [
            draft.ask(CancelOrder(draft.episode.key, order.client_id, "algo", "bug")) for order in draft.episode.orders
        ],
    )

    code = run([*SHORT, "--seeds", "3", "--faults", "latency"])

    out = capsys.readouterr().out
    assert code == 21
    assert "seed 3: I1: a position found is without a stop" in out
    assert "it takes: no fault at all" in out


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--seeds", "9..2", "are none, or too many"),
        ("--seeds", "x", "are no seeds"),
        ("--days", "0", "are not from 0.05"),
        ("--days", "NaN", "NaN"),
        ("--faults", "latencyy", "did you mean 'latency'?"),
        ("--faults", "kill-now=2%", "is not a number per hour"),
        ("--plan", "missing.toml", "missing.toml"),
    ],
)
def test_bad_input(option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["venue", "rehearse", option, value])

    assert code in {2, 10, 17}
    assert message in capsys.readouterr().err


def test_all_faults_are_those_of_the_twin_and_the_machine() -> None:
    faults, deaths = parse_strikes("all")

    assert faults.keys() == CATALOG.keys()
    assert deaths.keys() == DEATHS.keys()
