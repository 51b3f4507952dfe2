"""Arrays under fire: errors, deaths and scarce descriptors leave right values and nothing else behind."""

from __future__ import annotations

import concurrent.futures
import functools
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers import arrays, bombs, tasks
from tests.helpers.eventually import eventually
from tests.helpers.leaks import MARK
from tests.helpers.scripts import ROOT, Completed, kill_and_see_all_go

import procession

DEADLINE = 60
KILLS = 30
SIZES = (1_000, 20_000, 60_000, 80_000, 120_000, 140_000, 200_000, 500_000, 1_000_000, 4_000_000)  # bytes
ODDS = (20, 20, 10, 10, 10, 10, 10, 5, 4, 1)


@pytest.fixture
def nothing_mapped(no_leaks: None) -> Iterator[None]:
    """Check that the test leaves no more shared memory mapped than it found."""
    before = arrays.mappings_here()
    yield
    eventually(lambda: arrays.mappings_here() <= before, describe=arrays.mappings)


class Job:
    """An array of bytes full of one number, of which a task makes another, larger, smaller or an error."""

    def __init__(self, number: int, size: int, answer: int, fails: bool) -> None:
        self.number = number
        self.array = np.full(size, number % 251, "u1")
        self.answer = answer
        self.fails = fails

    def check(self, result: Any) -> None:
        """Assert that this is the job's result."""
        if self.fails:
            assert type(result) is arrays.CarriesArrayError
            result = result.args[1]
        assert len(result) == self.answer
        assert arrays.uniform_value(result) == (self.number + 1) % 251


def run_job(job: Job) -> Any:
    """Do the job: check the argument, then return or raise an array."""
    assert arrays.uniform_value(job.array) == job.number % 251
    job.array[...] = 0
    result = np.full(job.answer, (job.number + 1) % 251, "u1")
    if job.fails:
        raise arrays.CarriesArrayError("planned", result)
    return result


def _jobs(count: int, seed: int) -> list[Job]:
    choose = random.Random(seed)
    sizes = choose.choices(SIZES, ODDS, k=2 * count)
    return [Job(n, sizes[2 * n], sizes[2 * n + 1], choose.random() < 0.1) for n in range(count)]


def _run_all(pool: Any, jobs: list[Job]) -> None:
    """Run the jobs by several faces, and check each result."""
    quarter = len(jobs) // 4
    parts = [jobs[n : n + quarter] for n in range(0, len(jobs), quarter)]
    submitted = [pool.submit(run_job, job) for job in parts[0]]
    for job, result in zip(parts[1], pool.imap(run_job, parts[1], 3, on_error="return"), strict=True):
        job.check(result)
    for job, result in zip(parts[2], pool.map(run_job, parts[2], on_error="return"), strict=True):
        job.check(result)
    for job, outcome in zip(parts[3], pool.outcomes(run_job, parts[3]), strict=True):
        job.check(outcome.error or outcome.value)
    for job, task in zip(parts[0], submitted, strict=True):
        job.check(task.exception(DEADLINE) or task.result())


@pytest.mark.usefixtures("nothing_mapped")
def test_two_thousand_tasks_leave_nothing(make_pool: Callable[..., Any]) -> None:
    """After mixed tasks, errors among them, the pool has no more descriptors than before, and after its end none."""
    mapped, opened = arrays.mappings_here(), arrays.descriptors()
    pool = make_pool(2)
    _run_all(pool, _jobs(400, 1))
    gc.collect()
    steady = arrays.descriptors()
    _run_all(pool, _jobs(1600, 2))
    gc.collect()
    assert arrays.descriptors() <= steady
    # What is left in the workers is recycled memory: some mappings, not one a task.
    assert max(pool.map(arrays.mappings_here, range(4), 1)) < 100
    assert arrays.mappings_here() - mapped < 100
    pool.terminate()
    pool.join()
    # Two more descriptors are the zygote's, if this pool was the first.
    eventually(lambda: arrays.mappings_here() <= mapped and arrays.descriptors() <= opened + 2)


@pytest.mark.usefixtures("nothing_mapped")
def test_kept_results_are_few_descriptors(make_pool: Callable[..., Any]) -> None:
    """Results that are kept cost memory, but no descriptor each."""
    pool = make_pool(2)
    pool.map(tasks.double, [np.zeros(arrays.BIG)] * 8, 1)
    before = arrays.descriptors()
    kept = [pool.submit(arrays.make_filled, n, 30_000) for n in range(300)]
    results = [task.result(DEADLINE) for task in kept]
    assert arrays.descriptors() <= before + 8
    assert [arrays.uniform_value(result) for result in results] == list(range(300))
    assert len(os.listdir(f"/proc/{pool._pool[0].pid}/fd")) < 60


# ------------------------------------------------------------------------------------------------- deaths at a place


def _deadly_argument(number: int) -> Any:
    """An item that kills the worker that reads it, between its arrays."""
    bomb = bombs.UnpickleBomb(bombs.How.KILL, os.getpid())
    return [np.full(arrays.BIG, float(number)), bomb, np.full(arrays.BIG, float(number))]


def die_or_double(place: str, item: Any) -> Any:
    """Double the array of an item (number, array); a number that is a multiple of four dies in the way asked for."""
    number, array = item
    assert arrays.uniform_value(array) == number
    if number % 4 == 0:
        if place == "task":
            array[...] = -1
            os.kill(os.getpid(), signal.SIGKILL)
        return [array, bombs.PickleBomb(bombs.How.KILL), array * 2]
    return array * 2


@pytest.mark.usefixtures("nothing_mapped")
@pytest.mark.parametrize("chunksize", [1, 6])
@pytest.mark.parametrize("place", ["task", "result"])
def test_deaths_amid_arrays_cost_their_items(make_pool: Callable[..., Any], place: str, chunksize: int) -> None:
    """Workers that die while they work on an array, or while they pickle a result, cost their items alone."""
    pool = make_pool(2)
    items = [(n, np.full(arrays.BIG, float(n))) for n in range(40)]
    found = pool.map(functools.partial(die_or_double, place), items, chunksize, on_error="return")
    for number, result in enumerate(found):
        if number % 4 == 0:
            assert type(result) is procession.WorkerDied
        else:
            assert arrays.uniform_value(result) == 2 * number
    assert [len(item[1]) for item in items] == [arrays.BIG] * 40
    assert pool.map(tasks.double, range(20)) == [2 * n for n in range(20)]


@pytest.mark.usefixtures("nothing_mapped")
def test_deaths_while_arguments_are_read_cost_their_items(make_pool: Callable[..., Any]) -> None:
    """Workers that die between the arrays of an argument cost that item alone."""
    pool = make_pool(2)
    items = [_deadly_argument(n) if n % 4 == 0 else [np.full(arrays.BIG, float(n))] for n in range(40)]
    for chunksize in (1, 5):
        found = pool.map(_first_value, items, chunksize, on_error="return")
        assert [n for n, result in enumerate(found) if type(result) is procession.WorkerDied] == list(range(0, 40, 4))
        assert [result for n, result in enumerate(found) if n % 4] == [n for n in range(40) if n % 4]
    submitted = [pool.submit(_first_value, item) for item in items]
    errors = [task.exception(DEADLINE) for task in submitted]
    assert [n for n, error in enumerate(errors) if type(error) is procession.WorkerDied] == list(range(0, 40, 4))


def _first_value(parts: list[Any]) -> Any:
    return arrays.uniform_value(parts[0])


# ------------------------------------------------------------------------------------------------- deaths at any time


@pytest.mark.usefixtures("nothing_mapped")
def test_kills_at_any_time_leave_right_values(make_pool: Callable[..., Any]) -> None:
    """Thirty kills while arrays go both ways: every item has its value or WorkerDied, and the pool goes on."""
    pool = make_pool(2)
    choose = random.Random(3)
    kept: list[tuple[Job, Any]] = []
    deaths = kills = 0
    while kills < KILLS:
        jobs = [Job(n, 200_000 + 1000 * n, 300_000 - 1000 * n, n % 7 == 0) for n in range(24)]
        found = pool.imap(run_job, jobs, on_error="return")
        targets = [choose.randrange(24) for _ in range(3)]
        for number, (job, result) in enumerate(zip(jobs, found, strict=True)):
            if type(result) is procession.WorkerDied:
                deaths += 1
            else:
                job.check(result)
                kept += [(job, result)] if number % 6 == 0 else []
            if number in targets:
                kills += _kill_one(pool, choose)
    assert deaths <= kills
    for job, result in kept:
        job.check(result)
    jobs = _jobs(40, 4)
    _run_all(pool, jobs)
    assert pool.broken is None


def _kill_one(pool: Any, choose: random.Random) -> int:
    alive = [worker for worker in pool._pool if worker.is_alive()]
    if not alive:
        return 0
    try:
        os.kill(choose.choice(alive).pid, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


@pytest.mark.usefixtures("nothing_mapped")
def test_a_pool_may_be_terminated_amid_transfers(make_pool: Callable[..., Any]) -> None:
    """Terminating a pool while arrays go both ways ends every call, and results that were there stay whole."""
    for number in range(5):
        pool = make_pool(2)
        found = pool.imap_unordered(tasks.double, (np.full(arrays.BIG, float(n)) for n in range(200)))
        first = [next(found) for _ in range(number * 5 + 1)]
        submitted = [pool.submit(tasks.double, np.zeros(arrays.BIG)) for _ in range(5)]
        pool.terminate()
        pool.join()
        for result in first:
            assert arrays.is_uniform(result)
        for task in submitted:
            concurrent.futures.wait([task], DEADLINE)
            assert task.cancelled() or task.exception() is None


@pytest.mark.usefixtures("nothing_mapped")
def test_an_abandoned_stream_gives_its_memory_back(make_pool: Callable[..., Any]) -> None:
    """An imap that is dropped half read leaves nothing, and the pool goes on."""
    pool = make_pool(2)
    for _ in range(5):
        found = pool.imap(tasks.double, (np.full(arrays.BIG, float(n)) for n in range(100)))
        assert arrays.uniform_value(next(found)) == 0
        del found
    assert pool.map(arrays.uniform_value, [np.full(arrays.BIG, 3.0)] * 4) == [3] * 4


@pytest.mark.usefixtures("nothing_mapped")
def test_threads_and_kills_together(make_pool: Callable[..., Any]) -> None:
    """Threads that map arrays on one pool get their own values while workers are killed under them."""
    pool = make_pool(2)
    wrong: list[Any] = []
    done: list[int] = []

    def run(base: int) -> None:
        items = [np.full(50_000, float(base + n)) for n in range(20)]
        for _ in range(3):
            for n, result in enumerate(pool.imap(tasks.double, items, 2, on_error="return")):
                done.append(n)
                expected = 2 * (base + n)
                if isinstance(result, Exception):
                    wrong.extend([result] if type(result) is not procession.WorkerDied else [])
                elif arrays.uniform_value(result) != expected:
                    wrong.append((expected, result[0], result[-1]))

    threads = [threading.Thread(target=run, args=(base,)) for base in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    choose = random.Random(5)
    # A kill for every few results: workers that cannot do anything before they are killed would break the pool.
    for count in range(5, 150, 12):
        eventually(functools.partial(_has_come_to, count, done, threads))
        _kill_one(pool, choose)
    for thread in threads:
        thread.join(DEADLINE)
    assert wrong == []
    assert len(done) == 3 * 3 * 20
    assert pool.map(tasks.double, range(20)) == [2 * n for n in range(20)]


def _has_come_to(count: int, done: list[int], threads: list[threading.Thread]) -> bool:
    return len(done) >= count or not any(thread.is_alive() for thread in threads)


# ------------------------------------------------------------------------------------------------------- in scripts

SCRIPT = """
import os, sys, threading
import numpy as np
import procession
from tests.helpers import arrays, tasks

shared = procession.shared_array(100_000)
handle = procession.share({"a": np.zeros(100_000)})

def work(array):
    shared[0] = 1
    handle.value["a"][0] = 1
    return array * 2

pool = procession.get_context(METHOD).Pool(2)
items = [np.full(200_000, float(n)) for n in range(20)]
kept = pool.map(work, items)
process = procession.Process(target=arrays.keep, args=(items[0],))
process.start()
rounds = 0
while True:
    for result in pool.imap(work, items, 2):
        kept.append(result)
    submitted = [pool.submit(work, item) for item in items]
    kept = kept[-20:]
    rounds += 1
    if rounds == 3:
        print("ready", flush=True)
"""


def named_memory() -> set[str]:
    """The shared memory that has a name; semaphores have some, too, and other tests make these at the same time."""
    return {name for name in os.listdir("/dev/shm") if not name.startswith("sem.")}


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_nothing_outlives_a_parent_killed_amid_arrays(tmp_path: Path, method: str) -> None:
    """When the parent is killed amid array work, its processes are gone within a second, and no memory has a name."""
    mark = uuid.uuid4().hex
    before = named_memory()
    environment = {**os.environ, MARK: mark, "TMPDIR": str(tmp_path)}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    command = [sys.executable, "-c", SCRIPT.replace("METHOD", repr(method))]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as parent:
        kill_and_see_all_go(parent, mark)
    assert named_memory() <= before
    assert os.listdir(tmp_path) == []


SCARCE = """
import os, resource
import numpy as np
import procession
from tests.helpers import arrays, tasks

pool = procession.get_context(METHOD).Pool(2)
pool.map(tasks.double, [np.zeros(25_000)] * 4, 1)
limit = len(os.listdir("/proc/self/fd")) - 1 + 64
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
"""


@pytest.mark.parametrize("method", ["forkserver", "fork"])
def test_many_arrays_take_few_descriptors(script: Callable[..., Completed], method: str) -> None:
    """With 64 descriptors to spare, 500 arrays may be under way, and 500 results be kept."""
    run = script(
        SCARCE.replace("METHOD", repr(method))
        + """
items = [np.full(25_000, float(n)) for n in range(500)]
print([arrays.uniform_value(r) for r in pool.map_async(tasks.double, items).get(60)] == [2 * n for n in range(500)])
submitted = [pool.submit(tasks.double, item) for item in items]
kept = [task.result(60) for task in submitted]
print([arrays.uniform_value(r) for r in kept] == [2 * n for n in range(500)])
more = list(pool.imap(tasks.double, items, 5))
print([arrays.uniform_value(r) for r in kept + more] == [2 * n for n in range(500)] * 2)
one = pool.submit(tuple, items).result(60)
print(len(one), arrays.uniform_value(one[499]))
pool.terminate()
pool.join()
print(arrays.uniform_value(kept[7]))
"""
    )
    assert run.check().lines == ["True", "True", "True", "500 499.0", "14.0"]


def test_workers_need_few_descriptors_too(script: Callable[..., Completed]) -> None:
    """Workers that were started with few descriptors keep hundreds of arrays, and return hundreds at once."""
    run = script(
        """
        import os, resource
        import numpy as np
        import procession
        from tests.helpers import arrays, tasks

        limit = len(os.listdir("/proc/self/fd")) - 1 + 64
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        with procession.Pool(1) as pool:
            for n in range(300):
                pool.apply(arrays.keep, (np.full(25_000, float(n)),))
            print(pool.apply(arrays.kept_apply, (arrays.uniform_value,)), len(pool.apply(arrays.kept_facts)))
            made = pool.map(arrays.make_filled, range(300), 100)
            print([arrays.uniform_value(array) for array in made] == list(range(300)))
        """
    )
    assert run.check().lines == ["299.0 300", "True"]


def test_too_few_descriptors_for_anything_is_an_error(script: Callable[..., Completed]) -> None:
    """With hardly a descriptor to spare an array call works or raises OSError or MemoryError; it does not hang."""
    run = script(
        SCARCE.replace("METHOD", "'forkserver'").replace("64", "2")
        + """
for _ in range(20):
    try:
        assert arrays.uniform_value(pool.apply(tasks.double, (np.ones(25_000),))) == 2
    except (OSError, MemoryError):
        pass
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
print(pool.apply(tasks.double, (1,)))
pool.terminate()
pool.join()
"""
    )
    assert run.check().lines == ["2"]
