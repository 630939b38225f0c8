"""The vital signs of a watch for Prometheus: a text file for its collector, or a port on loopback.

The pulse is where they come from; a sign that is not known is absent, never zero.
"""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tpctl.adapters.pulse import Pulse
from tpctl.exits.units import Millis

_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(pulse: Pulse, signs: "Signs") -> str:
    """Return the signs in Prometheus' text format."""
    labels = f'{{profile="{pulse.profile}",env="{pulse.env}",mode="{pulse.mode}"}}'
    used, limit = pulse.budget or (None, None)
    rows: list[tuple[str, str, str, float | int | None]] = [
        ("watch_up", "gauge", "Whether the watch runs.", 0 if pulse.ended else 1),
        ("watch_started_timestamp_seconds", "gauge", "When the watch was started.", pulse.started_at / 1000),
        ("watch_beat_timestamp_seconds", "gauge", "When this was written.", pulse.written_at / 1000),
        ("watch_positions", "gauge", "Open positions.", signs.positions),
        ("watch_positions_protected", "gauge", "Open positions with a live stop.", signs.protected),
        ("watch_orders_resting", "gauge", "Orders of ours that rest.", signs.orders),
        ("watch_naked_seconds_total", "counter", "Time positions were without a live stop.", signs.naked_ms / 1000),
        ("watch_rejected_total", "counter", "Orders the exchange refused.", pulse.rejected),
        ("watch_halted", "gauge", "Whether HALT is set.", int(pulse.halt is not None)),
        ("watch_clock_skew_seconds", "gauge", "The exchange's clock less this machine's.", _seconds(pulse.skew_ms)),
        ("watch_feed_age_seconds", "gauge", "Time since the last market data.", _seconds(pulse.feed_age_ms)),
        ("watch_request_weight_used", "gauge", "Request weight used in this minute.", used),
        ("watch_request_weight_limit", "gauge", "Request weight a minute allows.", limit),
    ]
    lines: list[str] = []
    for name, kind, words, value in rows:
        if value is not None:
            lines += [f"# HELP tpctl_{name} {words}", f"# TYPE tpctl_{name} {kind}", f"tpctl_{name}{labels} {value}"]
    return "".join(f"{line}\n" for line in lines)


class Signs:
    """What the pulse does not hold: counts of the running state."""

    __slots__ = ("naked_ms", "orders", "positions", "protected")

    def __init__(self, positions: int, protected: int, orders: int, naked_ms: Millis) -> None:
        self.positions, self.protected, self.orders, self.naked_ms = positions, protected, orders, naked_ms


class MetricsServer:
    """Serves the newest text on 127.0.0.1, in threads of its own. `port` is the one it got."""

    def __init__(self, port: int, text: Callable[[], str]) -> None:
        """Take the port; raises `OSError` where it is taken."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path.partition("?")[0] in {"/", "/metrics"}
                body = text().encode() if found else b"see /metrics\n"
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", _TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as inherited
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000
