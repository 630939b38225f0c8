"""From frozen records back to the TOML they could have come from: the inverse of `bind`.

What is left at None has no spelling and is left out; milliseconds are durations, ratios keep all their digits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from tpctl.exits.units import Ratio, trimmed
from tpctl.settings.schema import NotifySettings, Settings
from tpctl.settings.values import show_duration

Table = dict[str, object]


def spelled(settings: Settings) -> Table:
    """Return the tables of a file that would give these settings, with the profile in force alone.

    Of addresses that are told events only scheme and host are left: what is behind them is as good as a password.
    """
    return {
        "profiles": {settings.name: table_of(settings.profile)},
        "inputs": table_of(settings.inputs),
        "exits": table_of(settings.exits),
        "watch": table_of(settings.watch),
        "notify": table_of(_masked(settings.notify)),
        "telemetry": table_of(settings.telemetry),
        **({"experiment": table_of(settings.experiment)} if settings.experiment.name else {}),
    }


def _masked(notify: NotifySettings) -> NotifySettings:
    """Return the settings without what could be a secret: who knows such an address may post to it (I20)."""
    return replace(
        notify,
        command=None if notify.command is None else (notify.command[0], *(["…"] if notify.command[1:] else [])),
        webhook=_host_of(notify.webhook),
        ntfy=_host_of(notify.ntfy),
        heartbeat=_host_of(notify.heartbeat),
        # In most of apprise's addresses the token stands where others have a host.
        apprise=tuple(f"{address.partition('://')[0]}://…" for address in notify.apprise),
    )


def _host_of(address: str | None) -> str | None:
    if address is None:
        return None
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}/…"


def table_of(record: object) -> Table:
    """Return a settings record as a TOML table."""
    table: Table = {}
    for each in fields(record):  # type: ignore[arg-type]
        value = getattr(record, each.name)
        if value is None:
            continue
        if each.name.endswith("_ms") and isinstance(value, int):
            table[each.name.removesuffix("_ms")] = show_duration(value) or "0s"
        else:
            table[each.name] = _plain(value)
    return table


def _plain(value: object) -> object:  # noqa: PLR0911 - one line per kind of value reads best as one list
    if isinstance(value, Ratio):
        return f"{trimmed(value.as_percent)}%"
    if is_dataclass(value):
        return table_of(value)
    if isinstance(value, Mapping):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return Decimal(trimmed(value))
    return str(value) if isinstance(value, Path) else value


def leaves(table: Mapping[str, object], path: str = "") -> Iterator[tuple[str, object]]:
    """Yield every value of nested tables with its dotted key path, as `Settings.origin` takes it."""
    for key, value in table.items():
        at = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            yield from leaves(value, at)
        else:
            yield at, value
