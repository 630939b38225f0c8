"""A child of the test whose n-th system call is struck, for every n: no crash point is sampled.

The kernel does it: the child runs under ptrace, so each write, sync, rename and truncate inside Python and SQLite is a
point. It is killed before the call, or after half of a write, or the call is refused as a full or failing disk does.
"""

import ctypes
import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path

import pytest

_TRACEME, _POKEUSER, _SYSCALL, _SETOPTIONS, _SYSCALL_INFO = 0, 6, 24, 0x4200, 0x420E
_MARK_SYSCALL_STOPS = 1
_ENTRY = 1
_MACHINE = os.uname().machine
# System calls that change nothing on disk: being killed before them is being killed before the next one that does.
# Where the numbers are not known, every call counts.
_HARMLESS = {
    "x86_64": frozenset(
        {
            *(
                0,
                3,
                4,
                5,
                6,
                8,
                9,
                10,
                11,
                12,
                13,
                14,
            ),  # read close stat fstat lstat lseek mmap mprotect munmap brk sig*
            *(17, 21, 28, 39, 72, 73, 79, 107, 202),  # pread64 access madvise getpid fcntl flock getcwd geteuid futex
            *(217, 228, 230, 262, 439),  # getdents64 clock_* newfstatat faccessat2
        }
    )
}.get(_MACHINE, frozenset[int]())
_WRITES = frozenset({1, 18})  # write pwrite64
_GROWING = _WRITES | {82, 86, 264, 265, 285, 316}  # rename link renameat linkat fallocate renameat2
_SYNCS = frozenset({74, 75})  # fsync fdatasync
_BY_HANDLE = _WRITES | _SYNCS | {285}
# Where the registers of a stopped child lie: the third argument, the result, the number of the call.
_SIZE, _RESULT, _NUMBER = 96, 80, 120
# Far above what any scenario takes; a scenario that needs more does something it should not.
_MOST_CALLS = 2_000


class Strike(Enum):
    """What happens at a call.

    KILL: kill -9 before it. TORN: half of what a write writes, then kill -9. FULL: no space from this call on. FAILED:
    a sync fails, once. The last two end, or never come, where the child says so (`mend`). All but the first strike
    files under one directory only, so that what the child says reaches whoever listens.
    """

    KILL = "killed before"
    TORN = "killed halfway through"
    FULL = "refused for want of space"
    FAILED = "refused by the disk"


_STRUCK = {Strike.TORN: _WRITES, Strike.FULL: _GROWING, Strike.FAILED: _SYNCS}
_CODES = {Strike.FULL: errno.ENOSPC, Strike.FAILED: errno.EIO}


class _SyscallInfo(ctypes.Structure):
    """The head of the kernel's ptrace_syscall_info, up to the arguments of the call being entered."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("arch", ctypes.c_uint32),
        ("instruction", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
    )


def _ptrace(request: int, pid: int, address: int = 0, data: object = None) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    library.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    library.ptrace.restype = ctypes.c_long
    result: int = library.ptrace(request, pid, address, data)
    return result


def mend() -> None:
    """Let nothing fail from here on in a child that is struck."""
    os.kill(os.getpid(), signal.SIGSTOP)


class _Child:
    """A traced child, stopped before its action."""

    def __init__(self, prepare: Callable[[], Callable[[], object]]) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            with suppress(BaseException):
                action = prepare()
                if _ptrace(_TRACEME, 0) == 0:
                    os.kill(os.getpid(), signal.SIGSTOP)
                    action()
                    status = 0
            os._exit(status)
        _, self.state = os.waitpid(self.pid, 0)
        if not os.WIFSTOPPED(self.state):
            pytest.skip("this system does not let a process trace its child")
        assert _ptrace(_SETOPTIONS, self.pid, 0, _MARK_SYSCALL_STOPS) == 0

    def go_on(self) -> bool:
        """Let it run to its next stop; return False where it has ended instead."""
        assert _ptrace(_SYSCALL, self.pid) == 0
        _, self.state = os.waitpid(self.pid, 0)
        return os.WIFSTOPPED(self.state)

    def entered(self) -> _SyscallInfo | None:
        """Return the call it is about to make, None where it was stopped by anything else."""
        info = _SyscallInfo()
        assert _ptrace(_SYSCALL_INFO, self.pid, ctypes.sizeof(info), ctypes.byref(info)) > 0
        return info if info.op == _ENTRY else None

    def aims_at(self, info: _SyscallInfo, place: Path) -> bool:
        """Return whether the call is about a file under `place`; one that names its files by path is taken for one."""
        if info.number not in _BY_HANDLE:
            return True
        return Path(f"/proc/{self.pid}/fd/{info.arguments[0]}").readlink().is_relative_to(place)

    def halve(self, info: _SyscallInfo) -> None:
        """Let a write write half of its bytes."""
        self._set(_SIZE, info.arguments[2] // 2)
        assert self.go_on()

    def refuse(self, code: int) -> None:
        """Let a call change nothing and fail."""
        self._set(_NUMBER, -1)
        assert self.go_on()
        self._set(_RESULT, -code)

    def _set(self, register: int, value: int) -> None:
        assert _ptrace(_POKEUSER, self.pid, register, ctypes.c_void_p(value)) == 0

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    @property
    def mends(self) -> bool:
        return os.WSTOPSIG(self.state) == signal.SIGSTOP


def run_struck_at(
    call: int, prepare: Callable[[], Callable[[], object]], strike: Strike = Strike.KILL, place: Path = Path("/")
) -> bool:
    """Run the action `prepare` returns in a child, struck at its `call`-th system call that `strike` can strike.

    Return whether it finished without being struck.
    """
    if strike is not Strike.KILL and _MACHINE != "x86_64":
        pytest.skip("the system calls of this machine are not known here")
    child, left, works = _Child(prepare), call, False
    while child.go_on():
        info = child.entered()
        works = works or child.mends
        if works or info is None or info.number in _HARMLESS:
            continue
        if strike is not Strike.KILL and not (info.number in _STRUCK[strike] and child.aims_at(info, place)):
            continue
        left -= 1
        if left >= 0:
            continue
        if strike in _CODES:
            works = strike is Strike.FAILED
            child.refuse(_CODES[strike])
            continue
        if strike is Strike.TORN:
            child.halve(info)
        child.kill()
        return False
    assert os.WIFEXITED(child.state), f"the child died of signal {os.WTERMSIG(child.state)}"
    assert os.WEXITSTATUS(child.state) == 0, "the child failed by itself"
    return left >= 0


def every_crash(
    tmp_path: Path, prepare: Callable[[Path], Callable[[], object]], fewest: int = 6, strike: Strike = Strike.KILL
) -> Iterator[tuple[Path, bool]]:
    """Yield a fresh directory after each possible strike at the action in it, and last after no strike at all."""
    for call in range(_MOST_CALLS):
        directory = tmp_path / str(call)
        directory.mkdir()
        finished = run_struck_at(call, lambda directory=directory: prepare(directory), strike, directory)
        yield directory, finished
        shutil.rmtree(directory)
        if finished:
            assert call >= fewest, "the scenario made hardly a system call worth striking"
            return
    pytest.fail("the scenario never finished")
