"""One watch per account: the lock of its state directory, and one of the account itself (I19)."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tpctl.adapters.files import StateDir, account_fingerprint, open_state_dir
from tpctl.adapters.lock import acquire
from tpctl.adapters.secrets import Secret
from tpctl.exits.errors import StateFileError
from tpctl.settings.load import locks_dir
from tpctl.settings.schema import Env, Settings


@contextmanager
def holding_account(
    settings: Settings, venue: str | None, key: Secret, state_dir: StateDir, warn: Callable[[str], None]
) -> Iterator[None]:
    """Hold the account for as long as the context lasts; raises `LockedError` where another process does.

    A watch with another state directory would guard it a second time, so it is also held by its key (a simulated one
    by its address, too; a twin of this process is nobody else's). Where no lock can be made for that, `warn` is told.
    """
    purpose, env = f"the account of profile {settings.name!r}", settings.profile.env
    with ExitStack() as stack:
        stack.enter_context(acquire(state_dir.lock, purpose))
        if venue is not None or env is not Env.SIM:
            where = env.value if venue is None else f"{env.value} {venue.rstrip('/')}"
            try:
                locks = open_state_dir(locks_dir())
                lock = locks.path / f"{account_fingerprint(where, key.reveal())}.lock"
                stack.enter_context(acquire(lock, purpose))
            except StateFileError as error:
                # No reason to leave a position unguarded.
                warn(f"warning: {error.message}: a watch with another state directory would not be noticed\n")
        yield
