"""What differs between two readings of the configuration, setting by setting, and which of it a running watch can take.

Rules, inputs and the watch's own pace are read at every decision, so they can change under it. Who the account is, what
listens and what is measured is built at the start: those need a new one.
"""

from dataclasses import dataclass, replace

from tpctl.settings.schema import Settings
from tpctl.settings.spell import Table, leaves, spelled, table_of

_LIVE = ("inputs.", "exits.", "watch.reconcile_interval", "watch.mark_max_age", "watch.rollout")
_MASKED = "(not shown)"


@dataclass(frozen=True, slots=True)
class Change:
    """One setting before and after, as people read it. `live` is whether it can be taken without a new start."""

    key: str
    before: str
    after: str
    live: bool

    def __str__(self) -> str:
        restart = "" if self.live else " (needs a restart)"
        return f"{self.key} {self.before} → {self.after}{restart}"


def changes(old: Settings, new: Settings) -> list[Change]:
    """Return what `new` says differently. Addresses that are as good as a password are compared and not shown (I20)."""
    before, after = dict(leaves(_plain(old))), dict(leaves(_plain(new)))
    shown_before, shown_after = dict(leaves(spelled(old))), dict(leaves(spelled(new)))
    found = []
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) == after.get(key):
            continue
        was, is_now = _words(shown_before.get(key)), _words(shown_after.get(key))
        if was == is_now:
            is_now = _MASKED
        found.append(Change(key, was, is_now, key.startswith(_LIVE)))
    return found


def live_part(old: Settings, new: Settings) -> Settings:
    """Return `old` with what a running watch can take from `new`."""
    watch = replace(
        old.watch,
        reconcile_interval_ms=new.watch.reconcile_interval_ms,
        mark_max_age_ms=new.watch.mark_max_age_ms,
        rollout=new.watch.rollout,
    )
    return replace(old, inputs=new.inputs, exits=new.exits, watch=watch)


def _plain(settings: Settings) -> Table:
    return {**spelled(settings), "notify": table_of(settings.notify)}


def _words(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(_words, value)) if isinstance(value, list) else str(value)
