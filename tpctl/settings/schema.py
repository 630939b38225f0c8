"""What can be configured, as frozen records with their defaults. Nothing here reads a file.

There is no field that arms, and none that holds a key: arming is per invocation, keys live in their own file, command,
credential or environment (design 6).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from tpctl.exits.errors import ConfigError
from tpctl.exits.experiment import NO_EXPERIMENT, Experiment
from tpctl.exits.model import NoteKind, Regime
from tpctl.exits.rules import ExitRules
from tpctl.exits.units import ONE, Millis, Ratio


class Env(StrEnum):
    """Which exchange a profile talks to."""

    SIM = "sim"
    DEMO = "demo"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """One `[profiles.NAME]`. At most one key source may be named; without one the standard places are tried.

    `key_env` is the prefix of two variables: `NAME` reads `NAME_API_KEY` and `NAME_API_SECRET`.
    """

    env: Env
    allow_live: bool = False
    key_file: Path | None = None
    key_command: tuple[str, ...] | None = None
    key_env: str | None = None
    state_dir: Path | None = None

    def __post_init__(self) -> None:
        named = [name for name in ("key_file", "key_command", "key_env") if getattr(self, name) is not None]
        if len(named) > 1:
            raise ConfigError(f"names both {named[0]!r} and {named[1]!r}", "keep one source of keys")
        if self.key_command is not None and not self.key_command:
            raise ConfigError("'key_command' is empty", "write the program and its arguments as a list")
        if self.key_env is not None and not (self.key_env.isidentifier() and self.key_env.isascii()):
            raise ConfigError("'key_env' is not the name of a variable", "give the prefix, such as 'TPCTL_DEMO'")
        if self.allow_live and self.env is not Env.LIVE:
            raise ConfigError(f"'allow_live' is set while env is {self.env.value!r}", 'remove it, or set env = "live"')


@dataclass(frozen=True, slots=True)
class InputValues:
    """Planning inputs the operator states himself; None leaves them to measurement.

    `volatility` is the daily standard deviation of returns, `confidence` runs 0 to 1.
    """

    confidence: Decimal | None = None
    volatility: Ratio | None = None
    regime: Regime | None = None

    def __post_init__(self) -> None:
        if self.confidence is not None and not 0 <= self.confidence <= 1:
            raise ConfigError(f"confidence '{self.confidence}' is not between 0 and 1", "write 0.85, not 85")
        if self.volatility is not None and self.volatility.fraction <= 0:
            raise ConfigError(f"volatility '{self.volatility}' is not above zero", 'write it as "2.5%"')


@dataclass(frozen=True, slots=True)
class InputSettings:
    """`[inputs]` for every symbol, `[inputs.symbols.NAME]` for one; a symbol's own value wins."""

    confidence: Decimal | None = None
    volatility: Ratio | None = None
    regime: Regime | None = None
    symbols: Mapping[str, InputValues] = field(default_factory=dict)

    def __post_init__(self) -> None:
        InputValues(self.confidence, self.volatility, self.regime)

    def values_for(self, symbol: str) -> InputValues:
        """Return what is stated for a symbol."""
        own = self.symbols.get(symbol, InputValues())
        return InputValues(
            own.confidence if own.confidence is not None else self.confidence,
            own.volatility if own.volatility is not None else self.volatility,
            own.regime if own.regime is not None else self.regime,
        )


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """`[watch]`: how often the account is read in full, how old a mark may decide (I14), whether risk is followed.

    Symbols in `exclude` are never touched; of all others the share `rollout`, by a stable hash of the name, is adopted.
    """

    reconcile_interval_ms: Millis = 30_000
    mark_max_age_ms: Millis = 10_000
    risk: bool = True
    exclude: tuple[str, ...] = ()
    rollout: Ratio = field(default=Ratio(ONE))

    def __post_init__(self) -> None:
        for name in ("reconcile_interval_ms", "mark_max_age_ms"):
            if getattr(self, name) < 1_000:
                short = name.removesuffix("_ms")
                raise ConfigError(f"{short} is below one second", f'set {short} = "1s" or longer')
        for symbol in self.exclude:
            if not symbol.replace("_", "").isalnum() or symbol != symbol.upper():
                raise ConfigError(f"exclude: {symbol!r} is no symbol", "write it as the exchange does: BTCUSDT")
        if not 0 <= self.rollout.fraction <= ONE:
            raise ConfigError(f"rollout '{self.rollout}' is not between 0 and 100%", 'write it as "25%"')


# What a person wants to be told of wherever he is: losses of protection and their end, and what positions came to.
NOTIFIED = ("degraded", "recovered", "halted", "stop_hit", "tp_hit", "closed", "rejected", "stopped")


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """`[notify]`: where events go beside the screen, which, and how often the same one may.

    `command` is run with the event as JSON on its standard input, `{text}` in its arguments replaced by the sentence.
    `webhook` takes the JSON by POST, `ntfy` is a topic's address, `apprise` are addresses of that library (an extra).
    `heartbeat` is an address asked for while the loop lives.
    """

    command: tuple[str, ...] | None = None
    webhook: str | None = None
    ntfy: str | None = None
    apprise: tuple[str, ...] = ()
    events: tuple[str, ...] = NOTIFIED
    debounce_ms: Millis = 300_000
    heartbeat: str | None = None
    heartbeat_interval_ms: Millis = 60_000

    def __post_init__(self) -> None:
        if self.command is not None and not self.command:
            raise ConfigError("'command' is empty", "write the program and its arguments as a list")
        for name in ("webhook", "ntfy", "heartbeat"):
            address = getattr(self, name)
            if address is not None and not address.startswith(("http://", "https://")):
                raise ConfigError(f"{name!r} is not an address", "begin it with https://")
        known = [kind.value for kind in NoteKind]
        unknown = next((kind for kind in self.events if kind not in known), None)
        if unknown is not None:
            raise ConfigError(f"{unknown!r} is no event", f"choose from: {', '.join(known)}")
        if self.heartbeat_interval_ms < 1_000:
            raise ConfigError("heartbeat_interval is below one second", 'set heartbeat_interval = "60s"')

    @property
    def wanted(self) -> bool:
        """Whether events go anywhere."""
        return bool(self.command or self.webhook or self.ntfy or self.apprise)


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """`[telemetry]`: a log of all events as JSON lines, kept in `log_files` files of `log_size` bytes, and figures.

    `prometheus_file` is written for the textfile collector every `prometheus_interval`; `metrics_port` serves the same
    on this machine's loopback address.
    """

    log_file: Path | None = None
    log_size: int = 10_000_000
    log_files: int = 5
    prometheus_file: Path | None = None
    prometheus_interval_ms: Millis = 15_000
    metrics_port: int | None = None

    def __post_init__(self) -> None:
        if self.log_size < 10_000 or self.log_files < 1:
            raise ConfigError("log_size or log_files is too small", "give at least 10000 bytes and one file")
        if self.prometheus_interval_ms < 1_000:
            raise ConfigError("prometheus_interval is below one second", 'set prometheus_interval = "15s"')
        if self.metrics_port is not None and not 0 <= self.metrics_port <= 65_535:
            raise ConfigError(f"metrics_port '{self.metrics_port}' is no port", "give one from 1 to 65535")


@dataclass(frozen=True, slots=True)
class FileSettings:
    """The whole configuration file: its sections are these fields."""

    profiles: Mapping[str, ProfileSettings] = field(default_factory=dict)
    inputs: InputSettings = field(default_factory=InputSettings)
    exits: ExitRules = field(default_factory=ExitRules)
    watch: WatchSettings = field(default_factory=WatchSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    experiment: Experiment = NO_EXPERIMENT


class Source(StrEnum):
    """Where a value came from."""

    DEFAULT = "default"
    FILE = "file"
    OPTION = "option"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from, and which file or option that was."""

    source: Source
    where: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What one run works with. `path` is the file that was read, None where there is none."""

    name: str
    profile: ProfileSettings
    state_dir: Path
    inputs: InputSettings
    exits: ExitRules
    watch: WatchSettings
    path: Path | None
    origins: Mapping[str, Origin]
    notify: NotifySettings = field(default_factory=NotifySettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    experiment: Experiment = NO_EXPERIMENT

    def origin(self, key: str) -> Origin:
        """Return where the value at a dotted key path came from."""
        return self.origins.get(key, Origin(Source.DEFAULT))


BUILT_IN_PROFILES: Mapping[str, ProfileSettings] = {env.value: ProfileSettings(env) for env in Env}
DEFAULT_PROFILE = Env.SIM.value
