"""The HALT file: an operator's stop for all new orders but reduces. Its presence is the switch, its text the reason.

Read every cycle, so presence is asked first, which costs microseconds. What cannot be read counts as set: a switch that
stops orders fails towards stopping. It never blocks a reduce; that is the guard's decision, not this file's.
"""

from pathlib import Path

from tpctl.adapters.files import StateDir, file_error, read_file, sync_directory, write_atomic
from tpctl.exits.errors import StateFileError

_MAX_REASON = 200
_NO_REASON = "no reason given"


def halted(state_dir: StateDir) -> str | None:
    """Return why orders are halted, or None when they are not."""
    path = state_dir.halt
    try:
        path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"HALT cannot be read: {file_error('read', path, error).message}"
    try:
        data = read_file(path)
    except StateFileError as error:
        return f"HALT is set, but its reason cannot be read: {error.message}"
    if data is None:
        return None
    return _one_line(data.decode("utf-8", "replace")) or _NO_REASON


def set_halt(state_dir: StateDir, reason: str) -> Path:
    """Set HALT for a reason, replacing an earlier one; return the file. Raises `StateFileError`."""
    write_atomic(state_dir.halt, f"{_one_line(reason) or _NO_REASON}\n".encode())
    return state_dir.halt


def clear_halt(state_dir: StateDir) -> bool:
    """Remove HALT, durably; return whether it was set. Raises `StateFileError`."""
    try:
        state_dir.halt.unlink()
        sync_directory(state_dir.path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise file_error("remove", state_dir.halt, error) from error
    return True


def _one_line(text: str) -> str:
    line = next((line for line in text.splitlines() if line.strip()), "")
    return "".join(character for character in line.strip() if character.isprintable())[:_MAX_REASON]
