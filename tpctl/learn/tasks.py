"""Runs a graph of independent tasks: in this process, in a pool of processes, or on a Ray cluster.

Decides how results come about whole: a task is a pure function of what all share and of itself, so that the same
results come out bit for bit whatever runs them and in whatever order. A worker that is lost costs only the tasks it had
under way, which are run again. Finished results are kept on disk at once, and a run that is started again goes on from
them. Results are named arrays; nothing that is read back can carry code.
"""

import hashlib
import io
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from tpctl.adapters.files import read_file, write_atomic
from tpctl.exits.errors import UnavailableError

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Shared = TypeVar("Shared")
Task = TypeVar("Task")
# Given what all share and a task, its result. A function of a module, for workers import it by name.
Work: TypeAlias = Callable[[Any, Any], Arrays]
Done: TypeAlias = Callable[[int, Arrays], None]

# So many workers may be lost in a row, with nothing finished in between, before it is a fault of the task.
MOST_LOSSES = 3
_NICE = 10


class Engine(Protocol):
    """Runs tasks and hands over each result with the number of its task, in any order."""

    def run(self, work: Work, shared: object, tasks: Sequence[object], done: Done) -> None:
        """Run all; raises `UnavailableError` where workers are lost again and again."""


@dataclass(frozen=True, slots=True)
class Inline:
    """Runs tasks one by one in this process."""

    def run(self, work: Work, shared: object, tasks: Sequence[object], done: Done) -> None:
        """Run all."""
        for number, task in enumerate(tasks):
            done(number, work(shared, task))


@dataclass(frozen=True, slots=True)
class Pool:
    """Runs tasks in `workers` processes of low priority; they end with this one, however it ends."""

    workers: int

    def run(self, work: Work, shared: object, tasks: Sequence[object], done: Done) -> None:
        """Run all; raises `UnavailableError` where workers are lost again and again."""
        waiting, losses = set(range(len(tasks))), 0
        with tempfile.TemporaryDirectory(prefix="tpctl-tasks-") as folder:
            # Written once and read by each worker: what is shared may be hundreds of megabytes.
            path = Path(folder) / "shared"
            path.write_bytes(pickle.dumps(shared, protocol=5))
            while waiting:
                before = len(waiting)
                self._round(work, path, tasks, waiting, done)
                losses = 0 if len(waiting) < before else losses + 1
                if waiting and losses >= MOST_LOSSES:
                    raise UnavailableError(
                        f"{losses} workers were lost with no task finished",
                        "free memory or use fewer workers; what is finished is kept",
                    )

    def _round(self, work: Work, path: Path, tasks: Sequence[object], waiting: set[int], done: Done) -> None:
        """Run what is waiting until all is done or a worker is lost."""
        pool = ProcessPoolExecutor(
            min(self.workers, len(waiting)), multiprocessing.get_context("spawn"), _begin, (str(path),)
        )
        try:
            running: dict[Future[Arrays], int] = {}
            try:
                for number in sorted(waiting):
                    running[pool.submit(_call, work, tasks[number])] = number
                for future in as_completed(running):
                    done(running[future], future.result())
                    waiting.discard(running[future])
            except BrokenProcessPool:
                # Some that finished may not have been heard of yet.
                for future, number in running.items():
                    if number in waiting and future.done() and not future.cancelled() and not future.exception():
                        done(number, future.result())
                        waiting.discard(number)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_shared: list[object] = []


def _begin(path: str) -> None:
    """Make this process a worker: quiet on Ctrl-C, of low priority, on one thread, and gone with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["NUMBA_NUM_THREADS"] = "1"
    os.nice(max(0, _NICE - os.nice(0)))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _shared[:] = [pickle.loads(Path(path).read_bytes())]  # noqa: S301 - this run wrote it, in a folder of its own


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _call(work: Work, task: object) -> Arrays:
    return work(_shared[0], task)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Runs tasks on the Ray cluster at `address`; "local" starts one on this machine. Needs the extra `cluster`."""

    address: str
    workers: int | None = None

    def run(self, work: Work, shared: object, tasks: Sequence[object], done: Done) -> None:
        """Run all; raises `UnavailableError` without Ray, or where the cluster does not answer or loses tasks."""
        try:
            import ray  # noqa: PLC0415 - the cluster extra
        except ImportError:
            raise UnavailableError("Ray is not installed", "pip install 'tpctl[cluster]'") from None
        where = {"num_cpus": self.workers} if self.address == "local" else {"address": self.address}
        try:
            ray.init(**where, include_dashboard=False if self.address == "local" else None, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            reason = str(error).strip().split("\n")[0]
            raise UnavailableError(f"no Ray cluster at {self.address!r}: {reason}", "check --cluster") from error
        try:
            reference = ray.put(shared)
            remote = ray.remote(max_retries=MOST_LOSSES, num_cpus=1)(_on_cluster)
            waiting = {remote.remote(work, reference, task): number for number, task in enumerate(tasks)}
            while waiting:
                ready, _ = ray.wait(list(waiting), num_returns=1)
                done(waiting[ready[0]], ray.get(ready[0]))
                del waiting[ready[0]]
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.RaySystemError) as error:
            raise UnavailableError(
                "the cluster loses workers again and again", "check its memory; what is finished is kept"
            ) from error
        finally:
            ray.shutdown()


def _on_cluster(work: Work, shared: object, task: object) -> Arrays:
    return work(shared, task)


def engine_of(cluster: str | None, workers: int | None) -> Engine:
    """Return what to run tasks on: Ray where an address is given, else as many processes as this one may use cores."""
    if cluster is not None:
        return Cluster(cluster, workers)
    count = workers or len(os.sched_getaffinity(0))
    return Inline() if count == 1 else Pool(count)


@dataclass(frozen=True, slots=True)
class Store:
    """Keeps finished results under a folder, named by task and by what the whole run is of."""

    folder: Path

    @classmethod
    def of(cls, root: Path, *parts: str) -> "Store":
        """Return the store of a run that is told by `parts`; what is kept under `root` of other runs is removed."""
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        folder = root / digest[:32]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for other in root.iterdir():
            if other != folder and other.is_dir():
                cls(other).clear()
        return cls(folder)

    def read(self, name: str) -> Arrays | None:
        """Return a result; None where there is none, or none that is whole."""
        data = read_file(self._path(name))
        if data is None:
            return None
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as found:
                return {key: found[key] for key in found.files}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile):
            return None

    def write(self, name: str, result: Arrays) -> None:
        """Keep a result."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **dict(result))
        write_atomic(self._path(name), buffer.getvalue())

    def clear(self) -> None:
        """Remove everything that is kept of this run."""
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"


def run_tasks(
    work: Work,
    shared: object,
    tasks: Mapping[str, object],
    engine: Engine,
    *,
    store: Store | None = None,
    told: Callable[[int, int], None] | None = None,
) -> dict[str, Arrays]:
    """Return the result of each named task; `told` hears how many are finished, of how many."""
    found = {name: result for name in tasks if store is not None and (result := store.read(name)) is not None}
    names = [name for name in tasks if name not in found]
    if told is not None:
        told(len(found), len(tasks))

    def done(number: int, result: Arrays) -> None:
        name = names[number]
        found[name] = result
        if store is not None:
            store.write(name, result)
        if told is not None:
            told(len(found), len(tasks))

    if names:
        engine.run(work, shared, [tasks[name] for name in names], done)
    return {name: found[name] for name in tasks}
