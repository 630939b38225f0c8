"""The configuration: what it may say, what it refuses and how it says so, and where each value came from."""

from dataclasses import fields, is_dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpctl.exits.errors import ConfigError, InputsError
from tpctl.exits.model import Policy, Regime
from tpctl.exits.rules import ExitRules
from tpctl.exits.units import Ratio
from tpctl.settings.changes import changes, live_part
from tpctl.settings.load import load
from tpctl.settings.schema import Env, InputValues, Origin, Settings, Source
from tpctl.settings.spell import spelled
from tpctl.settings.values import parse_duration, show_duration


@pytest.fixture
def config(tmp_path: Path) -> Any:
    def write(text: str, profile: str | None = None) -> Settings:
        file = tmp_path / "config.toml"
        file.write_text(text)
        return load(file, profile)

    return write


def refused(config: Any, text: str, profile: str | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config(text, profile)
    return caught.value


def test_without_a_file_the_default_profile_is_the_simulation(own_directories: Path) -> None:
    settings = load()

    assert (settings.name, settings.profile.env, settings.path) == ("sim", Env.SIM, None)
    assert settings.state_dir == own_directories / "state" / "tpctl" / "sim"
    assert settings.exits == ExitRules()


@pytest.mark.parametrize("env", list(Env))
def test_each_environment_has_a_profile_without_a_file(env: Env) -> None:
    settings = load(profile=env.value)

    assert settings.profile.env is env
    assert not settings.profile.allow_live


def test_the_default_file_is_read_where_it_lies(own_directories: Path) -> None:
    file = own_directories / "config" / "tpctl" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[inputs]\nconfidence = 0.7\n")

    settings = load()

    assert settings.inputs.confidence == Decimal("0.7")
    assert settings.path == file


def test_a_value_of_a_file_takes_the_place_of_one_default_only(config: Any) -> None:
    settings = config('[exits.ladder]\nhigh_leverage = 20\ndistances = ["1%", "200bps", "3.5%"]\n')

    ladder = settings.exits.ladder
    assert ladder.high_leverage == 20
    assert ladder.distances == (Ratio.percent("1"), Ratio.percent("2"), Ratio.percent("3.5"))
    assert ladder.split == ExitRules().ladder.split
    assert settings.exits.stop == ExitRules().stop


def test_an_experiment_has_a_name_and_arms_whose_shares_sum_to_one(config: Any) -> None:
    text = """
        [experiment]
        name = "tp-v3"
        [experiment.arms]
        dynamic = { policy = "dynamic", share = "50%" }
        static = { policy = "static", share = "50%" }
    """
    experiment = config(text).experiment

    assert {name: (arm.policy, arm.share) for name, arm in experiment.arms.items()} == {
        "dynamic": (Policy.DYNAMIC, Ratio.percent("50")),
        "static": (Policy.STATIC, Ratio.percent("50")),
    }
    assert not config("").experiment.name
    uneven = refused(config, text.replace('"static", share = "50%"', '"static", share = "40%"'))
    assert "experiment: the shares of experiment 'tp-v3' sum to 90%, not 100%" in uneven.message
    assert "has no unit" in refused(config, text.replace('"50%"', "0.5")).message
    assert refused(config, text.replace('policy = "static"', 'policy = "statik"')).hint == "did you mean 'static'?"


def test_a_number_of_a_file_is_exact(config: Any) -> None:
    settings = config("[exits.ladder]\nsplit = [0.1, 0.2, 0.7]\n")

    assert settings.exits.ladder.split == (Decimal("0.1"), Decimal("0.2"), Decimal("0.7"))


def test_every_kind_of_value_is_read(config: Any) -> None:
    settings = config("""
[exits]
policy = "static"
[exits.trail]
min_age = "10m"
schedule = [["2%", 1], ["6%", 0.5]]
[exits.execution]
breakeven = "entry"
working = "last"
ratchet_targets_back = 2
[exits.stop]
max_margin_loss = 0.5
[exits.profiles.by_symbol]
XRPUSDT = "slow"
[exits.profiles.profiles.slow]
legs = [{ r = 1, share = 0.5 }]
trail = { callback = "1.5%", from_r = 1 }
[exits.profiles.profiles.normal]
legs = [{ r = 1, share = 0.6 }]
[exits.target]
mode = "critical"
[watch]
reconcile_interval = "1m30s"
""")

    exits = settings.exits
    assert exits.policy is Policy.STATIC
    assert exits.trail.min_age_ms == 600_000
    assert exits.trail.schedule == ((Ratio.percent(2), Decimal(1)), (Ratio.percent(6), Decimal("0.5")))
    assert (exits.execution.breakeven, exits.execution.working.value) == ("entry", "last")
    assert exits.execution.ratchet_targets_back == 2
    assert exits.stop.max_margin_loss == Decimal("0.5")
    assert exits.profiles.by_symbol == {"XRPUSDT": "slow"}
    assert exits.profiles.profiles["slow"].left == Decimal("0.5")
    assert exits.target.factors.stop == Decimal("1.30")
    assert settings.watch.reconcile_interval_ms == 90_000


def test_a_profile_of_the_ladder_keeps_what_the_file_does_not_name(config: Any) -> None:
    before = ExitRules().profiles.profiles["normal"].trail
    settings = config("[exits.profiles.profiles.normal]\nlegs = [{ r = 1, share = 0.6 }]\n")

    assert settings.exits.profiles.profiles["normal"].trail == before
    assert settings.exits.profiles.profiles["chop"] == ExitRules().profiles.profiles["chop"]


def test_a_symbols_own_input_beats_the_common_one(config: Any) -> None:
    inputs = config("""
[inputs]
confidence = 0.8
regime = "ranging"
[inputs.symbols.XRPUSDT]
confidence = 0.9
volatility = "3.1%"
""").inputs

    assert inputs.values_for("XRPUSDT") == InputValues(Decimal("0.9"), Ratio.percent("3.1"), Regime.RANGING)
    assert inputs.values_for("BTCUSDT") == InputValues(Decimal("0.8"), None, Regime.RANGING)


REFUSALS = {
    "[exit]": ("unknown key 'exit'", "did you mean 'exits'?"),
    "[exits.lader]": ("exits: unknown key 'lader'", "did you mean 'ladder'?"),
    "[exits.ladder]\nhigh_levrage = 3": (
        "exits.ladder: unknown key 'high_levrage'",
        "did you mean 'high_leverage'?",
    ),
    "[exits.trail]\nmin_age_ms = 3": ("exits.trail: unknown key 'min_age_ms'", "did you mean 'min_age'?"),
    "[exits.stop]\ndistance = 2.5": ("exits.stop.distance: '2.5' has no unit", 'write "2.5%" or "2.5bps"'),
    '[exits.stop]\ndistance = "2.5"': ("exits.stop.distance: ratio '2.5' has no unit", "write 2.5% or 2.5bps"),
    '[exits.ladder]\ndistances = ["1%", 2]': ("exits.ladder.distances[1]: '2' has no unit", 'write "2%" or "2bps"'),
    '[exits.ladder]\ndistances = "1%"': (
        "exits.ladder.distances: '1%' is not a list",
        "write it in brackets, such as [ … ]",
    ),
    '[exits.ladder]\nhigh_leverage = "20"': (
        "exits.ladder.high_leverage: '20' is not a number",
        "write a plain number without quotes, such as 0.35",
    ),
    "[exits.ladder]\nhigh_leverage = nan": (
        "exits.ladder.high_leverage: 'NaN' is not a number",
        "write a plain number without quotes, such as 0.35",
    ),
    "[exits.ladder]\nhigh_leverage = true": (
        "exits.ladder.high_leverage: 'true' is not a number",
        "write a plain number without quotes, such as 0.35",
    ),
    '[exits]\npolicy = "dynamc"': ("exits.policy: 'dynamc' is not one of its values", "did you mean 'dynamic'?"),
    '[exits.execution]\nbreakeven = "gross"': (
        "exits.execution.breakeven: 'gross' is not one of its values",
        "choose from: net, entry",
    ),
    "[exits.execution]\nratchet_targets_back = 1.5": (
        "exits.execution.ratchet_targets_back: '1.5' is not a whole number",
        "write a whole number without quotes",
    ),
    "[exits.trail]\nmin_age = 300": (
        "exits.trail.min_age: '300' has no unit",
        'write it with its unit, such as "300s"',
    ),
    '[exits.trail]\nmin_age = "soon"': (
        "exits.trail.min_age: duration 'soon' is not a duration",
        "write 30s, 10m, 1h30m or 2d",
    ),
    '[exits.trail]\nschedule = [["2%", 1, 3]]': (
        "exits.trail.schedule[0]: has 3 values instead of 2",
        "give 2 values",
    ),
    "[exits.ladder]\nsplit = [0.5, 0.6, 0.4]": (
        "exits.ladder: ladder split '50/60/40' does not sum to 100",
        "let the shares sum to exactly 1",
    ),
    "exits = 3": ("exits: '3' is not a section", "write it as [exits]"),
    "[inputs]\nconfidence = 85": ("inputs: confidence '85' is not between 0 and 1", "write 0.85, not 85"),
    '[watch]\nreconcile_interval = "10ms"': (
        "watch: reconcile_interval is below one second",
        'set reconcile_interval = "1s" or longer',
    ),
    "[profiles.x]\nallow_live = true": ("profiles.x: 'env' is missing", "add env to it"),
    '[profiles.x]\nenv = "paper"': ("profiles.x.env: 'paper' is not one of its values", "choose from: sim, demo, live"),
    '[profiles.x]\nenv = "sim"\nallow_live = true': (
        "profiles.x: 'allow_live' is set while env is 'sim'",
        'remove it, or set env = "live"',
    ),
    '[profiles.x]\nenv = "demo"\nallow_live = "yes"': (
        "profiles.x.allow_live: 'yes' is neither true nor false",
        "write true or false",
    ),
    '[profiles.x]\nenv = "demo"\nkey_file = "a"\nkey_env = "B"': (
        "profiles.x: names both 'key_file' and 'key_env'",
        "keep one source of keys",
    ),
    '[profiles.x]\nenv = "demo"\nkey_file = 3': ("profiles.x.key_file: '3' is not text", "put it in quotes"),
}


@pytest.mark.parametrize(("text", "expected"), REFUSALS.items(), ids=[text.replace("\n", " ") for text in REFUSALS])
def test_a_wrong_value_is_refused_with_file_key_path_and_hint(
    text: str, expected: tuple[str, str], config: Any, tmp_path: Path
) -> None:
    error = refused(config, text)

    assert (error.message, error.hint) == (f"{tmp_path / 'config.toml'}: {expected[0]}", expected[1])


@pytest.mark.parametrize("key", ["arm", "armed", "mode", "confirm"])
@pytest.mark.parametrize("section", ["", "[watch]\n", '[profiles.x]\nenv = "live"\n'])
def test_the_configuration_cannot_arm(config: Any, section: str, key: str) -> None:
    error = refused(config, f"{section}{key} = true\n")

    assert f"unknown key {key!r}" in error.message
    assert "--arm" in error.hint


def test_a_key_in_the_configuration_is_refused_without_being_shown(config: Any) -> None:
    error = refused(config, '[profiles.x]\nenv = "live"\napi_secret = "canary-canary-canary"\n')

    assert "unknown key 'api_secret'" in error.message
    assert "canary" not in error.message + error.hint
    assert "key_file" in error.hint


def test_no_setting_could_arm_or_hold_a_key() -> None:
    def names(kind: Any) -> set[str]:
        own = {f.name for f in fields(kind)}
        for f in fields(kind):
            if isinstance(f.type, type) and is_dataclass(f.type):
                own |= names(f.type)
        return own

    assert not {name for name in names(Settings) if "arm" in name.split("_") or "secret" in name}


def test_malformed_toml_names_the_line(config: Any, tmp_path: Path) -> None:
    error = refused(config, "[watch]\nreconcile_interval = \n")

    assert error.message == f"{tmp_path / 'config.toml'}: invalid value (at line 2, column 22)"


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load(tmp_path / "none.toml")


def test_a_directory_or_bytes_in_place_of_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(tmp_path / "bytes.toml")


def test_an_unknown_profile_suggests_the_one_that_was_meant(config: Any) -> None:
    error = refused(config, '[profiles.main]\nenv = "live"\n', profile="mian")

    assert (error.message, error.hint) == ("no such profile 'mian'", "did you mean 'main'?")


def test_a_profile_name_cannot_leave_the_state_directory(config: Any) -> None:
    error = refused(config, '[profiles."../x"]\nenv = "sim"\n', profile="../x")

    assert error.message == "profile name '../x' cannot name a directory"


def test_a_built_in_profile_can_be_changed_without_repeating_its_env(config: Any, tmp_path: Path) -> None:
    settings = config('[profiles.demo]\nkey_file = "demo.keys"\n', profile="demo")

    assert settings.profile.env is Env.DEMO
    assert settings.profile.key_file == tmp_path / "demo.keys"


def test_paths_are_relative_to_the_file_and_know_home(config: Any, own_directories: Path, tmp_path: Path) -> None:
    settings = config('[profiles.sim]\nstate_dir = "state"\nkey_file = "~/keys"\n')

    assert settings.state_dir == tmp_path / "state"
    assert settings.profile.key_file == own_directories / "keys"


def test_every_value_knows_where_it_came_from(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[profiles.main]\nenv = "demo"\nstate_dir = "there"\n[exits.stop]\ndistance = "2%"\n')

    settings = load(file, "main", tmp_path / "here")
    from_file = load(file, "main")

    assert settings.origin("exits.stop.distance") == Origin(Source.FILE, str(file))
    assert settings.origin("exits.stop.floor") == Origin(Source.DEFAULT)
    assert settings.origin("profile") == Origin(Source.OPTION, "--profile")
    assert settings.origin("state_dir") == Origin(Source.OPTION, "--state-dir")
    assert settings.state_dir == tmp_path / "here"
    assert from_file.origin("state_dir") == Origin(Source.FILE, str(file))
    assert from_file.state_dir == tmp_path / "there"


@given(st.integers(min_value=1, max_value=10**12))
def test_a_duration_survives_its_spelling(length: int) -> None:
    assert parse_duration(show_duration(length), "duration") == length


@pytest.mark.parametrize("text", ["", "5", "-5s", "1.5h", "5 s", "10x", "30m1h", "5s5s", "٣s", "s", "9" * 40 + "s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InputsError):
        parse_duration(text, "duration")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[watch]\nrollout = "120%"', "not between 0 and 100%"),
        ('[watch]\nexclude = ["btcusdt"]', "is no symbol"),
        ('[notify]\nwebhook = "hooks.example.com"', "is not an address"),
        ('[notify]\nevents = ["stop_hits"]', "is no event"),
        ("[notify]\ncommand = []", "is empty"),
        ('[notify]\nheartbeat_interval = "10ms"', "below one second"),
        ("[telemetry]\nlog_size = 10", "too small"),
        ("[telemetry]\nmetrics_port = 70000", "is no port"),
        ('[telemetry]\nprometheus_interval = "1ms"', "below one second"),
    ],
)
def test_a_setting_is_checked_where_it_is_read(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(file, None, None)


def test_addresses_are_spelled_without_what_could_be_a_secret(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        '[notify]\nwebhook = "https://who:s3cret@hooks.example.com/s3cret?key=s3cret"\n'
        'ntfy = "https://ntfy.sh/s3cret"\nheartbeat = "https://hc-ping.com/s3cret"\n'
        'apprise = ["tgram://s3cret/s3cret"]\ncommand = ["curl", "https://x.example/s3cret"]\n'
    )

    table = spelled(load(file, None, None))

    assert "s3cret" not in str(table)
    assert table["notify"]["webhook"] == "https://hooks.example.com/…"  # type: ignore[index]
    assert table["notify"]["command"] == ["curl", "…"]  # type: ignore[index]


def test_two_readings_differ_setting_by_setting(config: Any) -> None:
    old = config("[inputs.symbols.XRPUSDT]\nconfidence = 0.5\n[exits.ladder]\nsplit = [0.3, 0.3, 0.4]\n")
    new = config(
        '[exits.ladder]\nsplit = [0.4, 0.3, 0.3]\n[watch]\nrisk = false\nreconcile_interval = "1m"\n'
        '[profiles.sim]\nstate_dir = "/tmp/elsewhere"\n',
    )

    assert [(str(change), change.live) for change in changes(old, new)] == [
        ("exits.ladder.split 0.3, 0.3, 0.4 → 0.4, 0.3, 0.3", True),
        ("inputs.symbols.XRPUSDT.confidence 0.5 → unset", True),
        ("profiles.sim.state_dir unset → /tmp/elsewhere (needs a restart)", False),
        ("watch.reconcile_interval 30s → 1m", True),
        ("watch.risk true → false (needs a restart)", False),
    ]
    assert changes(old, old) == []


def test_what_was_taken_differs_no_more_and_the_rest_still_does(config: Any) -> None:
    old = config("")
    new = config('[exits.trail]\ncallback = "1%"\n[watch]\nrisk = false\nmark_max_age = "5s"\n')

    assert [change.key for change in changes(live_part(old, new), new)] == ["watch.risk"]


def test_an_address_that_changed_is_told_and_not_shown(config: Any) -> None:
    old = config('[notify]\nwebhook = "https://hooks.example.com/s3cret1"\n')
    new = config('[notify]\nwebhook = "https://hooks.example.com/s3cret2"\n')

    (change,) = changes(old, new)

    assert str(change) == "notify.webhook https://hooks.example.com/… → (not shown) (needs a restart)"
