"""Finds and reads the configuration file and picks the profile. The only place that reads it; it never writes it."""

import tomllib
from dataclasses import replace
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path

from tpctl.exits.errors import ConfigError
from tpctl.settings.bind import Binder
from tpctl.settings.schema import (
    BUILT_IN_PROFILES,
    DEFAULT_PROFILE,
    FileSettings,
    Origin,
    ProfileSettings,
    Settings,
    Source,
)


def default_config_path() -> Path:
    """Return where the configuration file is looked for when none is named."""
    import platformdirs

    return Path(platformdirs.user_config_dir("tpctl", appauthor=False)) / "config.toml"


def default_state_dir(profile: str) -> Path:
    """Return the state directory of a profile when none is named."""
    import platformdirs

    return Path(platformdirs.user_state_dir("tpctl", appauthor=False)) / profile


def locks_dir() -> Path:
    """Return where the locks of accounts are, whatever state directories their watches have."""
    import platformdirs

    return Path(platformdirs.user_state_dir("tpctl", appauthor=False)) / "locks"


def load(path: Path | None = None, profile: str | None = None, state_dir: Path | None = None) -> Settings:
    """Return the settings of a run: defaults, then the file, then what the command line named.

    A named file must exist; the default one may be absent. The profiles sim, demo and live exist without a file.
    Raises `ConfigError`.
    """
    file = path or default_config_path()
    binder = Binder(file)
    rules = _read(file, binder, required=path is not None)
    name = profile or DEFAULT_PROFILE
    chosen = rules.profiles.get(name) if rules is not None else BUILT_IN_PROFILES.get(name)
    known = [*BUILT_IN_PROFILES] if rules is None else [*rules.profiles]
    if chosen is None:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the profiles are: {', '.join(known)}"
        raise ConfigError(f"no such profile {name!r}", hint)
    if not _plain_name(name):
        raise ConfigError(f"profile name {name!r} cannot name a directory", "use letters, digits, '-' and '_'")
    origins = dict(binder.origins)
    if profile is not None:
        origins["profile"] = Origin(Source.OPTION, "--profile")
    if state_dir is not None:
        origins["state_dir"] = Origin(Source.OPTION, "--state-dir")
    elif chosen.state_dir is not None:
        origins["state_dir"] = Origin(Source.FILE, str(file))
    found = rules or FileSettings()
    return Settings(
        name=name,
        profile=chosen,
        state_dir=state_dir or chosen.state_dir or default_state_dir(name),
        inputs=found.inputs,
        exits=found.exits,
        watch=found.watch,
        experiment=found.experiment,
        path=file if rules is not None else None,
        origins=origins,
        notify=found.notify,
        telemetry=found.telemetry,
    )


def _read(file: Path, binder: Binder, *, required: bool) -> FileSettings | None:
    """Return what the file says, or None where the default file is absent."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        if required:
            raise ConfigError(f"configuration file {str(file)!r} does not exist", "check the path after -c") from None
        return None
    except OSError as error:
        raise ConfigError(
            f"configuration file {str(file)!r} cannot be read: {error.strerror}", "check its permissions"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"configuration file {str(file)!r} is not UTF-8", "save it as UTF-8") from None
    try:
        table = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        raise ConfigError(f"{file}: {said[:1].lower()}{said[1:]}", "fix the TOML at that line") from None
    rules = binder.overlay(FileSettings(profiles=_templates(table)), table)
    return replace(rules, profiles={**BUILT_IN_PROFILES, **rules.profiles})


def _templates(table: dict[str, object]) -> dict[str, ProfileSettings]:
    """Return the built-in profiles the file changes without naming their env, so that they need not repeat it."""
    profiles = table.get("profiles")
    if not isinstance(profiles, dict):
        return {}
    return {
        name: BUILT_IN_PROFILES[name]
        for name, section in profiles.items()
        if name in BUILT_IN_PROFILES and isinstance(section, dict) and "env" not in section
    }


def _plain_name(name: str) -> bool:
    return bool(name) and name.isascii() and all(c.isalnum() or c in "-_" for c in name)
