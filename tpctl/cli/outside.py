"""What a watch tells beside its output: messages, the event log, figures for Prometheus. Composition only."""

import time
from collections.abc import Callable
from pathlib import Path

from tpctl.adapters.debounce import Debounce
from tpctl.adapters.exposition import MetricsServer, Signs, exposition
from tpctl.adapters.files import write_atomic
from tpctl.adapters.outbox import Apprise, Channel, Command, EventLog, Message, Ntfy, Outbox, Webhook
from tpctl.adapters.pulse import Pulse
from tpctl.engine.watch import Summary
from tpctl.exits.errors import ConfigError, InputsError, StateFileError, UnavailableError
from tpctl.exits.model import Note, NoteKind
from tpctl.settings.schema import NotifySettings, Settings, TelemetrySettings
from tpctl.views.lines import sentence
from tpctl.views.machine import event_fields, event_line

_URGENT = frozenset({NoteKind.DEGRADED, NoteKind.HALTED, NoteKind.REJECTED, NoteKind.STOPPED})


class Outside:
    """The parts that are configured, for one run."""

    def __init__(self, settings: Settings, mode: str, port: int | None, say: Callable[[str], object]) -> None:
        """Build them; raises `ConfigError`, `InputsError` for a missing extra, `UnavailableError` for a taken port."""
        notify, telemetry = settings.notify, settings.telemetry
        self._who = {"profile": settings.name, "env": settings.profile.env.value, "mode": mode}
        self._debounce = Debounce(frozenset(notify.events), notify.debounce_ms)
        self._figures = _Figures(telemetry, say)
        log = _log(telemetry)
        self._logs = log is not None
        self._wanted = notify.wanted
        self._outbox = Outbox(
            _channels(notify),
            log=log,
            heartbeat=notify.heartbeat,
            heartbeat_s=notify.heartbeat_interval_ms / 1000,
            say=say,
        )
        self._used = self._logs or self._wanted or notify.heartbeat is not None
        if self._used:
            self._outbox.start()
        wanted = telemetry.metrics_port if port is None else port
        self._server = None if wanted is None else _serve(wanted, self._figures)

    @property
    def port(self) -> int | None:
        """Where figures are served, None where they are not."""
        return None if self._server is None else self._server.port

    def tell(self, note: Note, seq: int) -> None:
        """Pass one event on."""
        if self._logs:
            self._outbox.note(event_line(note, seq))
        if not self._wanted:
            return
        held = self._debounce.admit(note, _wall())
        if held is None:
            return
        where = "" if note.key is None else f"{note.key}: "
        more = f" ({held} more like it)" if held else ""
        fields = {**event_fields(note, seq), "schema": "tpctl.notification/1", **self._who, "held_back": held}
        text = f"{where}{sentence(note)}{more}"
        self._outbox.post(Message(text, note.kind in _URGENT, {**fields, "text": text}))

    def beat(self, pulse: Pulse, summary: Summary) -> None:
        """Take the loop's vital signs."""
        self._outbox.lives()
        self._figures.take(pulse, summary)

    def close(self) -> None:
        """Deliver what is waiting, and end."""
        if self._used:
            self._outbox.close()
        if self._server is not None:
            self._server.close()


class _Figures:
    """The newest figures as text, and the file they are written to now and then."""

    def __init__(self, telemetry: TelemetrySettings, say: Callable[[str], object]) -> None:
        self.text = ""
        self._file: Path | None = telemetry.prometheus_file
        self._every_s = telemetry.prometheus_interval_ms / 1000
        self._written = float("-inf")
        self._say = say
        self._troubled = False

    def take(self, pulse: Pulse, summary: Summary) -> None:
        signs = Signs(summary.positions, summary.protected, summary.orders_resting, summary.naked_ms)
        self.text = exposition(pulse, signs)
        now = time.monotonic()
        if self._file is None or (now - self._written < self._every_s and not pulse.ended):
            return
        self._written = now
        try:
            write_atomic(self._file.absolute(), self.text.encode())
            self._file.chmod(0o644)  # its reader is another user's collector
        except (OSError, StateFileError) as error:
            if not self._troubled:
                self._say(f"warning: the Prometheus file cannot be written: {error}\n")
            self._troubled = True
        else:
            self._troubled = False


def _channels(notify: NotifySettings) -> list[Channel]:
    found: list[Channel] = []
    if notify.command is not None:
        found.append(Command(notify.command))
    if notify.webhook is not None:
        found.append(Webhook(notify.webhook))
    if notify.ntfy is not None:
        found.append(Ntfy(notify.ntfy))
    if notify.apprise:
        try:
            found.append(Apprise(notify.apprise))
        except ImportError:
            raise InputsError("notify.apprise needs an extra", "install it: pip install 'tpctl[notify]'") from None
        except ValueError as error:
            raise ConfigError(f"notify.apprise: {error}", "check its addresses") from None
    return found


def _log(telemetry: TelemetrySettings) -> EventLog | None:
    if telemetry.log_file is None:
        return None
    if not telemetry.log_file.parent.is_dir():
        raise ConfigError(
            f"telemetry.log_file: the directory {str(telemetry.log_file.parent)!r} does not exist", "make it first"
        )
    return EventLog(telemetry.log_file, telemetry.log_size, telemetry.log_files)


def _serve(port: int, figures: _Figures) -> MetricsServer:
    try:
        return MetricsServer(port, lambda: figures.text)
    except OSError as error:
        raise UnavailableError(
            f"port {port} on 127.0.0.1 cannot be had: {(error.strerror or 'unknown error').lower()}",
            "give another --metrics-port",
        ) from None


def _wall() -> int:
    return time.time_ns() // 1_000_000
