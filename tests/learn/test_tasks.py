"""Tasks give the same results whatever runs them; lost workers and interrupted runs cost time, never results."""

import os
import signal
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tpctl.exits.errors import InputsError, UnavailableError
from tpctl.learn.config import TrainConfig
from tpctl.learn.environment import synthetic_episodes
from tpctl.learn.episodes import Episodes
from tpctl.learn.tasks import Cluster, Inline, Pool, Store, engine_of, run_tasks
from tpctl.learn.train import train
from tpctl.market.policy.codec import weights_hash

TASKS = {f"task-{number}": number for number in range(7)}


def drawn(shared: np.ndarray, task: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(task)
    return {"values": draw.standard_normal(50) @ shared, "pid": np.array([0])}


def dies_once(folder: str, task: int) -> dict[str, np.ndarray]:
    marker = Path(folder) / str(task)
    if task in {2, 5} and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"values": np.array([task])}


def learns(shared: tuple[Episodes, tuple[TrainConfig, ...]], task: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return the hash of the weights that a learner finds with a seed."""
    episodes, configs = shared
    learner, seed = task
    return {"values": np.array(weights_hash(train(episodes, configs[learner], seed).policy))}


def either(shared: tuple[np.ndarray, object], task: object) -> dict[str, np.ndarray]:
    return learns(shared[1], task) if isinstance(task, tuple) else drawn(shared[0], task)  # type: ignore[arg-type]


def always_dies(shared: object, task: int) -> dict[str, np.ndarray]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def refuses(shared: object, task: int) -> dict[str, np.ndarray]:
    raise InputsError("too little", "give more")


def same(one: dict, other: dict) -> bool:
    return list(one) == list(other) and all(np.array_equal(one[name]["values"], other[name]["values"]) for name in one)


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((50, 20))


@pytest.fixture(scope="module")
def plain(matrix):
    return run_tasks(drawn, matrix, TASKS, Inline())


@pytest.mark.parametrize("workers", [1, 3])
def test_processes_give_the_same_results_bit_for_bit(matrix, plain, workers):
    heard = []
    found = run_tasks(drawn, matrix, TASKS, Pool(workers), told=lambda done, count: heard.append((done, count)))

    assert same(plain, found)
    assert heard == [(done, 7) for done in range(8)]


@pytest.fixture(scope="module")
def lesson() -> tuple[Episodes, tuple[TrainConfig, ...]]:
    return synthetic_episodes(2, 600), (TrainConfig(), TrainConfig(learner="cem"))


LESSONS = {f"{learner}-{seed}": (learner, seed) for learner in (0, 1) for seed in (1, 2)}


@pytest.fixture(scope="module")
def learned(lesson):
    return run_tasks(learns, lesson, LESSONS, Inline())


def test_a_seed_gives_the_same_weights_in_a_process_of_its_own(lesson, learned):
    assert same(learned, run_tasks(learns, lesson, LESSONS, Pool(2)))
    assert len({str(one["values"]) for one in learned.values()}) >= 3


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (pip install 'tpctl[cluster]')")
def test_a_local_ray_gives_the_same_results_and_weights_bit_for_bit(matrix, plain, lesson, learned):
    # One cluster for both: begun a second time after compiled code ran, Ray did not start in this process.
    found = run_tasks(either, (matrix, lesson), TASKS | LESSONS, Cluster("local", 2))

    assert same(plain | learned, found)


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_a_cluster_is_refused_with_the_way_out(matrix):
    with pytest.raises(UnavailableError, match="Ray is not installed") as caught:
        run_tasks(drawn, matrix, TASKS, Cluster("local"))
    assert "tpctl[cluster]" in caught.value.hint


def test_tasks_of_a_worker_that_was_killed_are_run_again(tmp_path):
    found = run_tasks(dies_once, str(tmp_path), TASKS, Pool(2))

    assert [int(found[name]["values"][0]) for name in TASKS] == list(range(7))
    assert {path.name for path in tmp_path.iterdir()} == {"2", "5"}


def test_a_task_that_kills_every_worker_ends_the_run():
    with pytest.raises(UnavailableError, match="workers were lost"):
        run_tasks(always_dies, None, {"one": 1}, Pool(1))


@pytest.mark.parametrize("engine", [Inline(), Pool(2)])
def test_what_a_task_refuses_is_told(engine):
    with pytest.raises(InputsError, match="too little"):
        run_tasks(refuses, None, TASKS, engine)


def test_finished_results_are_kept_and_not_run_again(tmp_path, matrix, plain):
    store = Store.of(tmp_path, "data", "configuration")
    run_tasks(drawn, matrix, {name: TASKS[name] for name in list(TASKS)[:4]}, Inline(), store=store)
    ran = []

    def counted(shared, task):
        ran.append(task)
        return drawn(shared, task)

    assert same(plain, run_tasks(counted, matrix, TASKS, Inline(), store=store))
    assert ran == [4, 5, 6]
    assert Store.of(tmp_path, "data", "another").read("task-0") is None
    assert not store.folder.exists()


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut short", b"\x80\x05nothing of ours"])
def test_a_result_that_is_not_whole_is_run_again(tmp_path, matrix, plain, damage):
    store = Store.of(tmp_path, "x")
    run_tasks(drawn, matrix, TASKS, Inline(), store=store)
    (store.folder / "task-3.npz").write_bytes(damage)

    assert same(plain, run_tasks(drawn, matrix, TASKS, Inline(), store=store))
    store.clear()
    assert not store.folder.exists()


def test_a_result_that_carries_code_is_not_read(tmp_path):
    store = Store.of(tmp_path, "x")
    np.savez(store.folder / "task.npz", values=np.array([object()], dtype=object))

    assert store.read("task") is None


def test_the_engine_is_the_cluster_where_one_is_named_and_processes_elsewhere():
    assert engine_of("ray://head:10001", None) == Cluster("ray://head:10001", None)
    assert engine_of(None, 3) == Pool(3)
    assert engine_of(None, 1) == Inline()
