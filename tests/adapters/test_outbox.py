"""What leaves beside the output: bounded, debounced, told once when it fails, and never with an address in it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import pytest

from tpctl.adapters.debounce import Debounce
from tpctl.adapters.exposition import MetricsServer, Signs, exposition
from tpctl.adapters.outbox import Command, EventLog, Message, Ntfy, Outbox, Webhook
from tpctl.adapters.pulse import Pulse
from tpctl.exits.instrument import PositionSide
from tpctl.exits.model import Note, NoteKind, PositionKey

XRP = PositionKey("XRPUSDT", PositionSide.LONG)
ALL = frozenset(kind.value for kind in NoteKind)
MESSAGE = Message("XRPUSDT LONG: stop hit", True, {"type": "stop_hit", "profile": "main"})


def note(kind: NoteKind, reason: str, key: PositionKey | None = XRP) -> Note:
    return Note(0, kind, key, reason, {})


def test_the_same_trouble_is_told_once_in_its_window_and_then_with_its_count():
    debounce = Debounce(ALL, 60_000)
    trouble = note(NoteKind.DEGRADED, "the account cannot be read: timeout after 3012 ms")
    again = note(NoteKind.DEGRADED, "the account cannot be read: timeout after 2999 ms")

    assert debounce.admit(trouble, 0) == 0
    assert [debounce.admit(again, at) for at in (1_000, 2_000, 59_999)] == [None, None, None]
    assert debounce.admit(again, 60_000) == 3
    assert debounce.admit(note(NoteKind.DEGRADED, "another thing"), 60_001) == 0


def test_recovery_is_always_told_and_makes_the_trouble_news_again():
    debounce = Debounce(ALL, 60_000)
    trouble, recovered = note(NoteKind.DEGRADED, "blind"), note(NoteKind.RECOVERED, "it sees again")

    assert [debounce.admit(one, 10) for one in (trouble, recovered, trouble, recovered)] == [0, 0, 0, 0]


def test_what_was_held_back_is_counted_for_so_many_troubles_and_no_more():
    debounce = Debounce(ALL, 60_000)
    words = ["".join(chr(97 + int(digit)) for digit in str(number)) for number in range(3_000)]
    for at, word in enumerate(words):
        trouble = note(NoteKind.DEGRADED, word)
        assert [debounce.admit(trouble, at), debounce.admit(trouble, at)] == [0, None]
        assert debounce.admit(note(NoteKind.RECOVERED, "it works"), at) == 0

    assert len(debounce._held) == 1_000
    assert debounce.admit(note(NoteKind.DEGRADED, words[-1]), 3_000) == 1


def test_fills_are_never_held_back_and_unwanted_kinds_never_told():
    debounce = Debounce(frozenset({"tp_hit"}), 60_000)
    hit = note(NoteKind.TP_HIT, "take-profit 1")

    assert [debounce.admit(hit, 10) for _ in range(3)] == [0, 0, 0]
    assert debounce.admit(note(NoteKind.PLACED, "x"), 10) is None


@contextmanager
def listener(status: int = 200) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    heard: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            heard.append((dict(self.headers), body))
            self.send_response(status)
            self.end_headers()

        do_GET = do_POST  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/token-123", heard
    finally:
        server.shutdown()
        server.server_close()


def delivered(outbox: Outbox, *messages: Message) -> None:
    outbox.start()
    for message in messages:
        outbox.post(message)
    outbox.close()


def test_a_webhook_takes_json_and_ntfy_the_sentence():
    said: list[str] = []
    with listener() as (address, heard):
        delivered(Outbox([Webhook(address), Ntfy(address)], say=said.append), MESSAGE)

    (json_headers, body), (headers, text) = heard
    assert json.loads(body) == {"type": "stop_hit", "profile": "main"}
    assert json_headers["Content-Type"] == "application/json"
    assert (text, headers["Priority"], headers["Title"]) == (b"XRPUSDT LONG: stop hit", "high", "tpctl main")
    assert said == []


def test_a_channel_that_fails_is_told_once_without_its_address_and_the_others_deliver(tmp_path: Path):
    said: list[str] = []
    out = tmp_path / "out"
    with listener(500) as (address, heard):
        command = Command(["/bin/sh", "-c", f"cat >> {out}; echo ' {{text}}' >> {out}"])
        delivered(Outbox([Webhook(address), command], say=said.append, sleep=lambda _: None), MESSAGE, MESSAGE)

    assert len(heard) == 4  # three tries, then one a message
    assert said == ["warning: webhook at 127.0.0.1 fails: answered 500; positions stay guarded\n"]
    assert out.read_text().count("XRPUSDT LONG: stop hit") == 2
    assert "token-123" not in "".join(said)


def test_a_channel_that_works_again_says_so(tmp_path: Path):
    said: list[str] = []
    flag = tmp_path / "flag"
    works = Command(["/bin/sh", "-c", f"test -e {flag} || {{ touch {flag}; exit 3; }}"])
    outbox = Outbox([works], say=said.append, sleep=lambda _: flag.unlink(missing_ok=True))
    delivered(outbox, MESSAGE, MESSAGE)

    assert said == [
        "warning: command 'sh' fails: ended with 3; positions stay guarded\n",
        "warning: command 'sh' works again\n",
    ]


@pytest.mark.parametrize("argv", [["/nonexistent/program"], ["/bin/false"]])
def test_a_command_that_cannot_run_is_no_reason_to_stop(argv: list[str]):
    said: list[str] = []
    delivered(Outbox([Command(argv)], say=said.append, sleep=lambda _: None), MESSAGE)
    assert len(said) == 1


def test_nobody_waits_for_a_full_queue():
    outbox = Outbox([], say=lambda _: None)
    for _ in range(5_000):
        outbox.post(MESSAGE)  # the thread was never started
    assert outbox._left_out == 4_000


def test_the_heartbeat_beats_while_the_loop_lives_and_stops_with_it():
    with listener() as (address, heard):
        alive = Outbox([], heartbeat=address, heartbeat_s=3_600.0)
        alive.lives()
        delivered(alive, MESSAGE, MESSAGE)
        assert len(heard) == 1
        dead = Outbox([], heartbeat=address, heartbeat_s=3_600.0)
        delivered(dead, MESSAGE)
        assert len(heard) == 1


def test_the_log_is_rotated_by_size_and_keeps_so_many_files(tmp_path: Path):
    path = tmp_path / "events.log"
    log = EventLog(path, 100, 3)
    for number in range(12):
        log.write(f"{number:02d}{'x' * 47}\n")

    kept = sorted(one.name for one in tmp_path.iterdir())
    assert kept == ["events.log", "events.log.1", "events.log.2"]
    lines = [line[:2] for name in reversed(kept) for line in (tmp_path / name).read_text().splitlines()]
    assert lines == ["06", "07", "08", "09", "10", "11"]


def test_one_file_alone_begins_anew(tmp_path: Path):
    log = EventLog(tmp_path / "events.log", 100, 1)
    for number in range(5):
        log.write(f"{number}{'x' * 47}\n")
    assert [one.name for one in tmp_path.iterdir()] == ["events.log"]


PULSE = Pulse(
    at=1,
    written_at=1_795_890_000_123,
    started_at=1_795_889_000_000,
    pid=1,
    profile="main",
    env="live",
    mode="armed",
    host="vm",
    exchange="fapi.binance.com",
    skew_ms=None,
    feed_age_ms=450,
    budget=(85, 2400),
    halt="storm",
    rejected=2,
)


def test_figures_are_prometheus_text_and_unknown_ones_absent():
    text = exposition(PULSE, Signs(3, 2, 12, 1_500))
    rows = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    labels = '{profile="main",env="live",mode="armed"}'

    assert rows[f"tpctl_watch_positions_protected{labels}"] == "2"
    assert rows[f"tpctl_watch_naked_seconds_total{labels}"] == "1.5"
    assert rows[f"tpctl_watch_beat_timestamp_seconds{labels}"] == "1795890000.123"
    assert rows[f"tpctl_watch_halted{labels}"] == "1"
    assert not any("skew" in name for name in rows)
    assert text.count("# TYPE") == len(rows)


def test_figures_are_served_on_loopback_only():
    server = MetricsServer(0, lambda: "tpctl_watch_up 1\n")
    try:
        with urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
            assert answer.read() == b"tpctl_watch_up 1\n"
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        with pytest.raises(OSError, match="404"):
            urlopen(f"http://127.0.0.1:{server.port}/other", timeout=5)
        with pytest.raises(OSError, match="in use"):
            MetricsServer(server.port, lambda: "")
    finally:
        server.close()
