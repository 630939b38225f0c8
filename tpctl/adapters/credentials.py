"""Where API keys come from: a file of the owner's, a command, a systemd credential, or the environment.

A profile may name one source, and then only that one is used. Without one the standard places are tried in order:
the file `TPCTL_API_KEY_FILE` names, the systemd credential `tpctl-PROFILE`, then `TPCTL_API_KEY` and
`TPCTL_API_SECRET`. Keys never come from a command line or the configuration. No error or message repeats what a source
held, not even when it is malformed (I20).

A file, a command's output and a credential hold two lines: `api_key = …` and `api_secret = …`.
"""

import os
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tpctl.adapters.secrets import Secret
from tpctl.exits.errors import CredentialsError
from tpctl.settings.schema import ProfileSettings

_FORM = "it must hold two lines: api_key = … and api_secret = …"
_LARGEST = 16_384
_OTHERS = 0o077
_COMMAND_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key and its secret; `source` says where they came from, `warning` what is unwise about it."""

    key: Secret
    secret: Secret
    source: str
    warning: str | None = None


def load_credentials(name: str, profile: ProfileSettings, environment: Mapping[str, str] | None = None) -> Credentials:
    """Return the keys of a profile; raises `CredentialsError` where there are none or their source is not safe."""
    env = os.environ if environment is None else environment
    if profile.key_file is not None:
        return _from_file(profile.key_file, f"key file {str(profile.key_file)!r}")
    if profile.key_command is not None:
        return _from_command(profile.key_command)
    if profile.key_env is not None:
        found = _from_environment(profile.key_env, env)
        if found is None:
            _refuse(
                f"variables {profile.key_env}_API_KEY and {profile.key_env}_API_SECRET are not both set",
                "set both, or name another source of keys in the profile",
            )
        return found
    return _from_standard_places(name, env)


def _from_standard_places(name: str, env: Mapping[str, str]) -> Credentials:
    if path := env.get("TPCTL_API_KEY_FILE"):
        return _from_file(Path(path), f"key file {path!r}")
    if directory := env.get("CREDENTIALS_DIRECTORY"):
        credential = Path(directory) / f"tpctl-{name}"
        if credential.exists():
            return _from_file(credential, f"systemd credential 'tpctl-{name}'", others=_OTHERS & ~0o040)
    found = _from_environment("TPCTL", env)
    if found is None:
        _refuse(
            f"profile {name!r} has no API keys",
            f"put them in a file of mode 0600 and set key_file in [profiles.{name}], or set TPCTL_API_KEY_FILE",
        )
    return found


def _from_file(path: Path, source: str, *, others: int = _OTHERS) -> Credentials:
    """Read a key file through one descriptor, so that what was checked is what is read; no bit of `others` may be set.

    systemd grants a service its credentials by an access list, whose mask shows as the group's right to read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        _refuse(f"{source} cannot be read: {(error.strerror or 'unknown error').lower()}", "check its path and owner")
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            _refuse(f"{source} is not a regular file", "name a plain file")
        if facts.st_uid not in {os.geteuid(), 0}:
            _refuse(f"{source} belongs to another user", f"chown it to yourself: chown $USER {path}")
        if facts.st_mode & others:
            mode = stat.S_IMODE(facts.st_mode)
            _refuse(f"{source} has mode {mode:04o} and is open to others", f"close it: chmod 600 {path}")
        content = os.read(handle, _LARGEST + 1)
    finally:
        os.close(handle)
    return _parsed(content, source)


def _from_command(command: tuple[str, ...]) -> Credentials:
    source = f"key command {command[0]!r}"
    try:
        done = subprocess.run(  # noqa: S603 - the operator's own command, without a shell
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        _refuse(f"{source} did not finish in {_COMMAND_SECONDS:.0f} s", "run it once by hand to unlock the store")
    except OSError as error:
        _refuse(f"{source} cannot be run: {(error.strerror or 'unknown error').lower()}", "check key_command")
    if done.returncode != 0:
        _refuse(f"{source} failed with code {done.returncode}", "run it by hand to see why")
    return _parsed(done.stdout, source)


def _from_environment(prefix: str, env: Mapping[str, str]) -> Credentials | None:
    key, secret = env.get(f"{prefix}_API_KEY", ""), env.get(f"{prefix}_API_SECRET", "")
    if not key or not secret:
        return None
    source = f"variables {prefix}_API_KEY and {prefix}_API_SECRET"
    return Credentials(
        Secret(_checked(key.strip(), source)),
        Secret(_checked(secret.strip(), source)),
        source,
        "keys come from the environment, where other programs of this user can read them; a key file is safer",
    )


def _parsed(content: bytes, source: str) -> Credentials:
    if len(content) > _LARGEST:
        _refuse(f"{source} is too large to hold keys", _FORM)
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        _refuse(f"{source} is not text", _FORM)
    found: dict[str, str] = {}
    for line in lines:
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        name = name.strip().lower()
        if not equals or name not in {"api_key", "api_secret"} or name in found:
            _refuse(f"{source} is malformed", _FORM)
        found[name] = value.strip().strip("\"'")
    if not found.get("api_key") or not found.get("api_secret"):
        _refuse(f"{source} lacks a key or a secret", _FORM)
    return Credentials(
        Secret(_checked(found["api_key"], source)), Secret(_checked(found["api_secret"], source)), source
    )


def _checked(value: str, source: str) -> str:
    """Refuse what could not travel in a header: white space, control characters, non-ASCII."""
    if not value.isascii() or not value.isprintable() or " " in value:
        _refuse(f"{source} holds characters no key has", _FORM)
    return value


def _refuse(message: str, hint: str) -> NoReturn:
    raise CredentialsError(message, hint) from None
