"""The configuration file itself: written for the first time, shown with its origins, read whole, or only located."""

import os
import sys
import time
from decimal import Decimal
from pathlib import Path

from tpctl.adapters.files import create_atomic
from tpctl.cli.config_options import Action, ConfigOptions
from tpctl.exits.errors import ConfigError, ExitCode
from tpctl.exits.model import Regime
from tpctl.exits.rules import ExitRules, StopRules
from tpctl.exits.units import Ratio
from tpctl.settings.load import default_config_path, load
from tpctl.settings.profile import cache_dir
from tpctl.settings.schema import FileSettings, InputSettings, NotifySettings, Settings, Source, TelemetrySettings
from tpctl.settings.spell import leaves, spelled, table_of

_HEAD = """\
# tpctl's configuration. Every setting is here, commented out: at its default or, where it has none, with an example.
# Remove the '#' to change it. 'tpctl config validate' checks it, 'tpctl config show --origin' says what is in force.
# Keys never stand in this file: a profile names one source of them.

# [profiles.demo]
# key_file = "demo.keys"            # mode 0600

# [profiles.live]
# allow_live = true
# key_command = ["pass", "show", "binance"]

# [profiles.second]
# env = "live"
# key_env = "SECOND"                # SECOND_API_KEY and SECOND_API_SECRET
# state_dir = "/var/lib/tpctl/second"

# Which policy a position gets, by a stable hash: 'tpctl metrics --compare tp-v3/dynamic tp-v3/static' compares them.
# [experiment]
# name = "tp-v3"

# [experiment.arms]
# dynamic = { policy = "dynamic", share = "50%" }
# static = { policy = "static", share = "50%" }
"""
# What has no default, with a value it could have.
_EXAMPLES = FileSettings(
    inputs=InputSettings(confidence=Decimal("0.85"), volatility=Ratio.percent("2.5"), regime=Regime.NORMAL),
    exits=ExitRules(stop=StopRules(max_margin_loss=Decimal("0.2"))),
    notify=NotifySettings(
        command=("notify-send", "tpctl", "{text}"),
        webhook="https://hooks.example.com/tpctl",
        ntfy="https://ntfy.sh/my-topic",
        heartbeat="https://hc-ping.com/my-check",
    ),
    telemetry=TelemetrySettings(
        log_file=Path("/var/log/tpctl/events.log"),
        prometheus_file=Path("/var/lib/node_exporter/tpctl.prom"),
        metrics_port=9188,
    ),
)
_SECTIONS = ("watch", "inputs", "exits", "notify", "telemetry")


def run_config(options: ConfigOptions) -> ExitCode:
    """Do what was asked for and print it; raises `ConfigError`."""
    match options.action:
        case Action.INIT:
            text = _init(options)
        case Action.PATH:
            text = _path(options)
        case Action.VALIDATE:
            text = _validate(options)
        case _:
            text = _show(options)
    sys.stdout.write(text)
    return ExitCode.OK


def _file(options: ConfigOptions) -> Path:
    return options.shared.config or default_config_path()


def starter() -> str:
    """Return the first configuration file: every setting, commented out under its section."""
    import tomli_w

    table = table_of(_EXAMPLES)
    defaults = {path for path, _ in leaves(table_of(FileSettings()))}
    shown, section = [], ""
    for line in tomli_w.dumps({name: table[name] for name in _SECTIONS}).splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        name, is_setting, _ = line.partition(" = ")
        example = is_setting and f"{section}.{name}" not in defaults and not line.startswith(" ")
        mark = "  # no default" if example else ""
        shown.append(line if not line or line.startswith("[") else f"# {line}{mark}")
    return "\n".join([_HEAD, *shown]) + "\n"


def _init(options: ConfigOptions) -> str:
    file = _file(options)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"folder {str(file.parent)!r} cannot be made: {(error.strerror or 'unknown error').lower()}",
            "name another file with --config",
        ) from None
    if not create_atomic(file, starter().encode()):
        raise ConfigError(f"configuration file {str(file)!r} exists already", "move it aside, or edit it")
    return f"{file}\n"


def _path(options: ConfigOptions) -> str:
    file = _file(options)
    if not options.json:
        return f"{file}\n"
    settings = load(options.shared.config if file.exists() else None, options.shared.profile, options.shared.state_dir)
    places = {
        "config": str(file),
        "config_exists": file.exists(),
        "state_dir": str(settings.state_dir),
        "journal": str(settings.state_dir / "journal.db"),
        "metrics": os.environ.get("TP_METRICS_PATH") or str(settings.state_dir / "tp_metrics.json"),
        "halt": str(settings.state_dir / "HALT"),
        "cache_dir": str(cache_dir()),
    }
    return _document(settings, {"paths": places})


def _validate(options: ConfigOptions) -> str:
    file = _file(options)
    settings = load(options.shared.config, options.shared.profile, options.shared.state_dir)
    if options.json:
        return _document(settings, {"file": str(file), "exists": settings.path is not None, "valid": True})
    if settings.path is None:
        return f"{file} does not exist: the defaults are in force\n"
    return f"{file} is valid\n"


def _show(options: ConfigOptions) -> str:
    settings = load(options.shared.config, options.shared.profile, options.shared.state_dir)
    table = spelled(settings)
    if options.json:
        return _document(settings, {"settings": _jsonable(table), "origins": _origins(settings, table)})
    import tomli_w

    if not options.origin:
        return tomli_w.dumps(table)
    rows = [(f"state_dir = {_value(str(settings.state_dir))}", _origin(settings, "state_dir"))]
    rows += [(f"{path} = {_value(value)}", _origin(settings, path)) for path, value in leaves(table)]
    width = min(60, max(len(row) for row, _ in rows))
    return "".join(f"{row:<{width}}  # {origin}\n" for row, origin in rows)


def _value(value: object) -> str:
    import tomli_w

    return " ".join(tomli_w.dumps({"x": value}).removeprefix("x = ").split())


def _origin(settings: Settings, path: str) -> str:
    found = settings.origin(path)
    return found.source.value if found.source is Source.DEFAULT else f"{found.source.value} {found.where}"


def _origins(settings: Settings, table: dict[str, object]) -> dict[str, str]:
    paths = ["state_dir", *(path for path, _ in leaves(table))]
    return {path: _origin(settings, path) for path in paths if settings.origin(path).source is not Source.DEFAULT}


def _jsonable(value: object) -> object:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_jsonable(item) for item in value]
    return value if isinstance(value, str | bool | int) else str(value)


def _document(settings: Settings, data: dict[str, object]) -> str:
    from tpctl.views.machine import Json, document

    plain: dict[str, Json] = data  # type: ignore[assignment]
    now = time.time_ns() // 1_000_000
    return document("config", now, settings.name, settings.profile.env.value, "shadow", plain)
