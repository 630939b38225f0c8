"""Keys: which source is used, what is refused, and that no message shows them."""

import os
import sys
from pathlib import Path

import pytest

from tpctl.adapters.credentials import Credentials, load_credentials
from tpctl.adapters.secrets import Secret
from tpctl.exits.errors import CredentialsError, ExitCode
from tpctl.settings.schema import Env, ProfileSettings

KEY, SECRET = "canaryKEY" * 7, "canarySECRET" * 5
CONTENT = f"# demo\napi_key = {KEY}\napi_secret = '{SECRET}'\n"
DEMO = ProfileSettings(Env.DEMO)


def key_file(folder: Path, content: str = CONTENT, mode: int = 0o600, name: str = "keys") -> Path:
    path = folder / name
    path.write_text(content)
    path.chmod(mode)
    return path


def refusal(profile: ProfileSettings, environment: dict[str, str] | None = None) -> CredentialsError:
    with pytest.raises(CredentialsError) as caught:
        load_credentials("demo", profile, environment or {})
    assert caught.value.exit_code is ExitCode.CREDENTIALS
    assert "canary" not in caught.value.message + caught.value.hint
    assert caught.value.__cause__ is None
    return caught.value


def test_a_key_file_is_read(tmp_path: Path) -> None:
    path = key_file(tmp_path)

    found = load_credentials("demo", ProfileSettings(Env.DEMO, key_file=path), {})

    assert found == Credentials(Secret(KEY), Secret(SECRET), f"key file {str(path)!r}")
    assert "canary" not in repr(found)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_a_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path, mode=mode)

    error = refusal(ProfileSettings(Env.DEMO, key_file=path))

    assert f"mode {mode:04o}" in error.message
    assert error.hint == f"close it: chmod 600 {path}"


def test_a_missing_file_a_directory_and_a_fifo_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)

    assert "no such file" in refusal(ProfileSettings(Env.DEMO, key_file=tmp_path / "none")).message
    assert "not a regular file" in refusal(ProfileSettings(Env.DEMO, key_file=tmp_path)).message
    assert "not a regular file" in refusal(ProfileSettings(Env.DEMO, key_file=tmp_path / "fifo")).message


@pytest.mark.parametrize(
    "content",
    [
        "",
        f"{KEY}\n{SECRET}\n",
        f"api_key = {KEY}\n",
        f"api_key = {KEY}\napi_secret =\n",
        f"{CONTENT}api_key = {KEY}\n",
        f"{CONTENT}passphrase = canary\n",
        f"api_key = {KEY} x\napi_secret = {SECRET}\n",
        f"api_key = {KEY}é\napi_secret = {SECRET}\n",
        "api_key = canary" + "x" * 20_000,
    ],
)
def test_a_malformed_file_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    refusal(ProfileSettings(Env.DEMO, key_file=key_file(tmp_path, content)))


def test_a_command_prints_the_keys(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    command = (sys.executable, "-c", f"print(open({str(path)!r}).read())")

    found = load_credentials("demo", ProfileSettings(Env.DEMO, key_command=command), {})

    assert (found.key, found.secret) == (Secret(KEY), Secret(SECRET))


def test_a_failing_or_missing_command_is_refused_without_its_output() -> None:
    failing = (sys.executable, "-c", f"import sys; print('{KEY}'); sys.exit('{SECRET}')")

    assert "failed with code 1" in refusal(ProfileSettings(Env.DEMO, key_command=failing)).message
    assert "cannot be run" in refusal(ProfileSettings(Env.DEMO, key_command=("/nowhere/program",))).message


def test_named_variables_are_read_with_a_warning() -> None:
    environment = {"MINE_API_KEY": KEY, "MINE_API_SECRET": SECRET, "TPCTL_API_KEY": "x", "TPCTL_API_SECRET": "y"}

    found = load_credentials("demo", ProfileSettings(Env.DEMO, key_env="MINE"), environment)

    assert (found.key, found.secret) == (Secret(KEY), Secret(SECRET))
    assert found.warning is not None


def test_a_named_source_is_the_only_one(tmp_path: Path) -> None:
    environment = {"TPCTL_API_KEY": KEY, "TPCTL_API_SECRET": SECRET}

    refusal(ProfileSettings(Env.DEMO, key_file=tmp_path / "none"), environment)
    refusal(ProfileSettings(Env.DEMO, key_env="MINE"), environment)


def test_standard_places_in_order(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    key_file(credentials, name="tpctl-demo", mode=0o400)
    named = key_file(tmp_path)
    environment = {
        "TPCTL_API_KEY_FILE": str(named),
        "CREDENTIALS_DIRECTORY": str(credentials),
        "TPCTL_API_KEY": KEY,
        "TPCTL_API_SECRET": SECRET,
    }

    sources = []
    for name in ("TPCTL_API_KEY_FILE", "CREDENTIALS_DIRECTORY", "TPCTL_API_KEY"):
        sources.append(load_credentials("demo", DEMO, environment).source)
        del environment[name]

    assert sources == [
        f"key file {str(named)!r}",
        "systemd credential 'tpctl-demo'",
        "variables TPCTL_API_KEY and TPCTL_API_SECRET",
    ]


def test_a_systemd_credential_may_show_the_mask_of_its_access_list_as_the_group_s_right(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for mode, taken in ((0o440, True), (0o400, True), (0o444, False), (0o460, False)):
        file = key_file(credentials, mode=0o600)
        file = file.rename(credentials / "tpctl-demo")
        file.chmod(mode)
        environment = {"CREDENTIALS_DIRECTORY": str(credentials)}
        if taken:
            assert load_credentials("demo", DEMO, environment).source == "systemd credential 'tpctl-demo'"
        else:
            assert "is open to others" in refusal(DEMO, environment).message


def test_no_keys_at_all_says_where_to_put_them() -> None:
    error = refusal(DEMO, {"TPCTL_API_KEY": KEY})

    assert error.message == "profile 'demo' has no API keys"
    assert "[profiles.demo]" in error.hint
