"""Which exchange a profile talks to, and where its files lie, without reading a configuration that is not there.

For commands that need nothing else of the configuration and must start fast: the records of `schema` and platformdirs
together cost more than rounding a price.
"""

import os
import sys
from pathlib import Path


def profile_env(config: Path | None, profile: str | None) -> tuple[str, str]:
    """Return the profile's name and its environment (sim, demo, live); raises `ConfigError` as `load` does."""
    name = profile or "sim"
    # The built-in profiles are named after their environment, and hold as long as no file says otherwise.
    if config is None and name in {"sim", "demo", "live"} and not _default_config().exists():
        return name, name
    from tpctl.settings.load import load

    settings = load(config, profile)
    return settings.name, settings.profile.env.value


def configured(config: Path | None) -> bool:
    """Whether a configuration file is in force: the named one, or the default one where it exists."""
    return config is not None or _default_config().exists()


def profile_state(config: Path | None, profile: str | None, state_dir: Path | None) -> tuple[str, str, Path]:
    """Return the profile's name, its environment and its state directory; raises `ConfigError` as `load` does."""
    name = profile or "sim"
    if config is None and name in {"sim", "demo", "live"} and not _default_config().exists():
        place = state_dir or (_xdg("XDG_STATE_HOME", ".local/state") or _elsewhere("user_state_dir")) / name
        return name, name, place
    from tpctl.settings.load import load

    settings = load(config, profile, state_dir)
    return settings.name, settings.profile.env.value, settings.state_dir


def cache_dir() -> Path:
    """Return the folder of files that can be fetched again."""
    return _xdg("XDG_CACHE_HOME", ".cache") or _elsewhere("user_cache_dir")


def _default_config() -> Path:
    return (_xdg("XDG_CONFIG_HOME", ".config") or _elsewhere("user_config_dir")) / "config.toml"


def _xdg(variable: str, default: str) -> Path | None:
    """Return tpctl's folder of one kind by the XDG rule, or None where another rule holds; as platformdirs does."""
    if not sys.platform.startswith("linux"):
        return None
    named = os.environ.get(variable, "").strip()
    return (Path(named) if named else Path.home() / default) / "tpctl"


def _elsewhere(kind: str) -> Path:
    import platformdirs

    return Path(getattr(platformdirs, kind)("tpctl", appauthor=False))
