"""Whether a run may send orders: the one place that arms, for every command that can send.

Arming is per invocation (design 6): no configuration and no variable does it. The twin is always armed, live takes the
profile's consent and its name besides.
"""

import sys

from tpctl.exits.errors import CredentialsError, NotArmedError
from tpctl.exits.instrument import Unavailable
from tpctl.ports import KeyRights
from tpctl.settings.schema import Env, Settings


def arm(settings: Settings, *, asked: bool, confirm: str | None, no_input: bool) -> bool:
    """Return whether this run may send orders; raises `NotArmedError` where arming was asked for and refused.

    `confirm` is the profile's name repeated; where it was left out a terminal is asked, unless `no_input`.
    """
    env = settings.profile.env
    if env is Env.SIM:
        return True
    if not asked:
        return False
    if env is Env.LIVE:
        if not settings.profile.allow_live:
            raise NotArmedError(
                f"profile {settings.name!r} does not allow live orders",
                f"set allow_live = true under [profiles.{settings.name}]",
            )
        if confirm != settings.name and not _typed(settings.name, confirm, no_input=no_input):
            raise NotArmedError(
                f"arming {settings.name!r} was not confirmed", f"add --confirm {settings.name}, or type it when asked"
            )
    return True


def _typed(name: str, confirm: str | None, *, no_input: bool) -> bool:
    if confirm is not None or no_input or not sys.stdin.isatty():
        return False
    sys.stderr.write(f"This sends real orders. Type the profile's name ({name}) to arm: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == name


def check_rights(rights: KeyRights | Unavailable) -> None:
    """Refuse to arm with a key that can move funds or cannot trade; raises `CredentialsError`.

    Where the exchange does not tell (demo, the twin) there is nothing to check.
    """
    if isinstance(rights, Unavailable):
        return
    if rights.moves_funds:
        raise CredentialsError(
            "the API key can withdraw or transfer funds", "make a key with futures trading only, bound to this address"
        )
    if not rights.trades_futures:
        raise CredentialsError("the API key cannot trade futures", "enable futures for the key, or use another one")
    if not rights.bound_to_ip:
        sys.stderr.write("warning: the API key is not bound to an IP address\n")
