"""Records of incidents: the reducer decides the same again (I21), and a file that is not whole says where."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from stage import Stage

from tpctl.adapters.recording import SCHEMA, End, Header, Heard, Recorder, read_record, trace_of
from tpctl.exits.decide import step
from tpctl.exits.episode import State
from tpctl.exits.errors import InputsError, StateFileError
from tpctl.exits.model import Note, NoteKind

HEADER = Header(SCHEMA, "0.1.0", "sim", "sim", "armed", 1)


def recorded(path: Path) -> Stage:
    """Record a position that meets two targets, a change of rules, and its stop."""
    stage = Stage({"XRPUSDT": "2.4201"})
    recorder = Recorder.create(path, HEADER)
    stage.after_step = recorder.took
    recorder.said(Note(1, NoteKind.STARTED, None, "watch started"))
    stage.start()
    stage.open()
    stage.go("2.4300", "2.4500", "2.4600")
    stage.state = replace(stage.state, rules=replace(stage.state.rules, trail=stage.state.rules.trail))
    stage.go("2.4700", "2.4400", "2.3000")
    recorder.close()
    return stage


def test_the_same_reducer_decides_the_same_again(tmp_path: Path) -> None:
    stage = recorded(tmp_path / "record.jsonl")
    header, entries = read_record(tmp_path / "record.jsonl")
    state: State | None = None
    notes: list[Note] = []
    states = events = 0
    for entry in entries:
        if isinstance(entry, State):
            state, states = entry, states + 1
        elif isinstance(entry, Heard):
            assert state is not None
            decision = step(state, entry.event)
            lasting = decision.intents or decision.notes or decision.attempts
            assert (trace_of(decision) if lasting else "") == entry.trace, entry.line
            state, events = decision.state, events + 1
            notes += decision.notes
        elif isinstance(entry, End):
            assert entry.events == events

    assert header == HEADER
    assert states == 2
    assert notes == stage.notes
    assert state is not None
    assert state.episodes == stage.state.episodes


def test_a_changed_lost_or_moved_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    recorded(path)
    lines = path.read_bytes().splitlines(keepends=True)
    at = len(lines) // 2
    for damaged in (
        [*lines[:at], lines[at].replace(b'"at"', b'"aT"'), *lines[at + 1 :]],
        [*lines[:at], *lines[at + 1 :]],
        [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
    ):
        path.write_bytes(b"".join(damaged))
        with pytest.raises(InputsError, match=rf"line {at + 1} "):
            list(read_record(path)[1])
    path.write_bytes(b"".join([*lines, lines[-1]]))
    with pytest.raises(InputsError, match="behind the end"):
        list(read_record(path)[1])


def test_a_cut_file_says_how_much_of_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    recorded(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:20]) + lines[20][:40])

    with pytest.raises(InputsError, match="cut within line 21") as found:
        list(read_record(path)[1])
    assert "head -n 20" in found.value.hint
    path.write_bytes(b"".join(lines[:20]))
    assert not any(isinstance(entry, End) for entry in read_record(path)[1])


def test_a_newer_or_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    recorded(path)
    path.write_text(path.read_text().replace("tpctl.record/1", "tpctl.record/2"))

    with pytest.raises(InputsError, match=r"schema 'tpctl\.record/2'"):
        read_record(path)
    path.write_text("[]\n")
    with pytest.raises(InputsError, match="is no record"):
        read_record(path)
    with pytest.raises(InputsError, match="cannot be read"):
        read_record(tmp_path / "none")


def test_a_record_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    recorded(path)

    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(StateFileError, match="exists already"):
        Recorder.create(path, HEADER)


def test_a_disk_that_takes_no_more_ends_the_record_not_the_watch() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("/dev/full is not there")
    recorder = Recorder(full, os.open(full, os.O_WRONLY))
    recorder.said(Note(1, NoteKind.STARTED, None, "watch started"))
    recorder.said(Note(2, NoteKind.STARTED, None, "watch started"))
    recorder.close()

    assert recorder.fault == "No space left on device"


def test_every_line_is_json_with_a_number(tmp_path: Path) -> None:
    recorded(tmp_path / "record.jsonl")
    lines = (tmp_path / "record.jsonl").read_text().splitlines()

    assert [json.loads(line)["n"] for line in lines] == list(range(1, len(lines) + 1))
