"""joblib on our workers: what its contract asks for, and what its own backends do not give.

joblib's own tests run against this, too: ``make clients``.
"""

from __future__ import annotations

import gc
import itertools
import operator
import os
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

joblib = pytest.importorskip("joblib")
np = pytest.importorskip("numpy")

from joblib import Parallel, delayed  # noqa: E402 (only when it is there)
from tests.helpers import tasks  # noqa: E402
from tests.helpers.eventually import eventually  # noqa: E402
from tests.helpers.gates import Gate  # noqa: E402

import procession  # noqa: E402
from procession.integrations import joblib as backend  # noqa: E402
from procession.integrations import kept  # noqa: E402


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Use our backend with two workers; end them."""
    backend.register()
    with joblib.parallel_config("procession", n_jobs=2):
        yield
    backend.shutdown()
    del joblib.parallel.BACKENDS["procession"]


def write_into(array: Any) -> tuple[bool, float]:
    """Change the array, and tell whether that could be done and its sum."""
    array[0] += 1
    return type(array) is np.ndarray, float(array.sum())


def pid_after(gate: Gate) -> int:
    """Wait at the gate; return the worker's pid."""
    gate.wait()
    return os.getpid()


def interrupt() -> None:
    """End as by a Ctrl-C."""
    raise KeyboardInterrupt


def nested(jobs: int | None) -> tuple[list[int], int, str]:
    """A Parallel call within a worker: its results, what -1 means there, and by which backend."""
    results = Parallel(n_jobs=jobs)(delayed(operator.neg)(number) for number in range(3))
    active, _jobs = joblib.parallel.get_active_backend()
    return results, backend.ProcessionBackend(nesting_level=1).effective_n_jobs(-1), type(active).__name__


def nested_by_name() -> list[int]:
    """A Parallel call within a worker that asks for processes of its own."""
    return Parallel(n_jobs=2, backend="procession")(delayed(operator.neg)(number) for number in range(3))


def thread_limits() -> tuple[str | None, list[int]]:
    """What the environment says, and what the libraries that are loaded have taken."""
    from threadpoolctl import threadpool_info

    np.dot(np.ones((50, 50)), np.ones((50, 50)))
    return os.environ.get("OMP_NUM_THREADS"), [each["num_threads"] for each in threadpool_info()]


# ------------------------------------------------------------------------------------------------------------- results


@pytest.mark.parametrize("return_as", ["list", "generator", "generator_unordered"])
@pytest.mark.parametrize("count", [0, 1, 3, 500])
def test_results_are_those_of_a_loop(return_as: str, count: int) -> None:
    """In order, unless that is not wanted."""
    found = list(Parallel(return_as=return_as)(delayed(operator.neg)(number) for number in range(count)))
    assert (sorted(found, reverse=True) if return_as.endswith("unordered") else found) == [-n for n in range(count)]


def test_functions_need_no_module() -> None:
    """Lambdas and closures run, as everywhere."""
    offset = 7
    assert Parallel()(delayed(lambda x: x + offset)(number) for number in range(20)) == list(range(7, 27))


def test_arrays_arrive_writable_and_belong_to_the_task() -> None:
    """No memory map, no "assignment destination is read-only"; the caller's array stays as it is."""
    array = np.ones(300_000)
    assert Parallel()(delayed(write_into)(array) for _ in range(6)) == [(True, 300_001.0)] * 6
    assert array.sum() == 300_000


def test_an_empty_call_on_a_warm_backend_is_quick() -> None:
    """joblib's own backends sleep 10 ms in every call; on this machine ours takes a quarter of one."""
    Parallel()(delayed(operator.neg)(number) for number in range(2))

    def seconds() -> float:
        before = time.perf_counter()
        Parallel()([])
        return time.perf_counter() - before

    assert min(seconds() for _ in range(20)) < 0.003


# ------------------------------------------------------------------------------------------------------------- workers


def test_workers_are_kept_for_the_next_call(gate: Gate) -> None:
    """Whatever the number of calls; one worker for each job."""
    gate.open()
    pids = {pid for _ in range(3) for pid in Parallel()(delayed(pid_after)(gate) for _ in range(10))}
    assert len(pids) <= 2
    with joblib.parallel_backend("procession", n_jobs=2):
        assert set(Parallel()(delayed(pid_after)(gate) for _ in range(10))) <= pids | pids


def test_an_initializer_runs_in_every_worker() -> None:
    """With its arguments; other arguments mean other workers."""
    for value in (1, 2):
        settings: dict[str, Any] = {"initializer": tasks.set_state, "initargs": (value,)}
        with joblib.parallel_config("procession", n_jobs=2, **settings):
            assert {each[0] for each in Parallel()(delayed(tasks.get_state)() for _ in range(10))} == {value}


@pytest.mark.parametrize("limit", [None, 1, 3])
def test_native_threads_are_limited(limit: int | None) -> None:
    """To the worker's part of the cores, or to what was asked for."""
    with joblib.parallel_config("procession", n_jobs=2, inner_max_num_threads=limit):
        found = Parallel()(delayed(thread_limits)() for _ in range(4))
    expected = limit or int(os.environ.get("OMP_NUM_THREADS", max(1, joblib.cpu_count() // 2)))
    for variable, taken in found:
        assert variable == str(expected)
        assert all(each == expected for each in taken)


def test_a_call_within_a_worker_uses_threads() -> None:
    """As with joblib's own processes; and -1 would be the worker's part of the cores."""
    ((results, cores, active),) = Parallel()([delayed(nested)(-1)])
    assert results == [0, -1, -2]
    assert cores == max(1, joblib.cpu_count() // 2)
    assert active == "ThreadingBackend"


def test_a_call_within_a_worker_may_have_processes() -> None:
    """Workers know the backend by its name."""
    assert Parallel()(delayed(nested_by_name)() for _ in range(2)) == [[0, -1, -2]] * 2


@pytest.mark.parametrize(("jobs", "expected"), [(1, 1), (3, 3), (None, 1), (-1, None), (-1000, 1)])
def test_numbers_of_jobs(jobs: int | None, expected: int | None) -> None:
    """As joblib's own backends count them; 0 is an error."""
    made = backend.ProcessionBackend()
    assert made.effective_n_jobs(jobs) == (expected or joblib.cpu_count())
    with pytest.raises(ValueError, match="n_jobs == 0"):
        made.effective_n_jobs(0)


def test_an_option_for_single_calls_is_refused() -> None:
    """A batch is no single call."""
    with pytest.raises(ValueError, match="timeout"):
        Parallel(backend=backend.ProcessionBackend(timeout=3))([])


# -------------------------------------------------------------------------------------------------------------- errors


def test_an_error_ends_the_call_and_stops_the_rest(gate: Gate) -> None:
    """Not after all of it has run; the workers go on with the next call."""
    before = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        Parallel()([delayed(operator.truediv)(1, 0), *(delayed(gate.wait)() for _ in range(20))])
    assert time.monotonic() - before < 20
    assert Parallel()(delayed(operator.neg)(number) for number in range(10)) == [-n for n in range(10)]


@pytest.mark.parametrize("return_as", ["list", "generator", "generator_unordered"])
def test_a_dead_worker_is_the_error_of_the_call(return_as: str) -> None:
    """It says how the worker died, and the next call finds workers."""
    with Parallel(return_as=return_as) as parallel:
        with pytest.raises(procession.WorkerDied, match="code 3"):
            list(parallel([delayed(operator.neg)(1), delayed(os._exit)(3), *(delayed(operator.neg)(2),) * 10]))
        assert list(parallel(delayed(operator.neg)(1) for _ in range(4))) == [-1] * 4


def test_a_ctrl_c_in_a_task_is_the_error_of_the_call() -> None:
    """And not of this process's next call."""
    with pytest.raises(KeyboardInterrupt):
        Parallel()(delayed(interrupt)() for _ in range(4))
    assert Parallel()(delayed(operator.neg)(number) for number in range(3)) == [0, -1, -2]


def test_what_cannot_be_pickled_is_named() -> None:
    """As the error of the call."""
    with pytest.raises(procession.NotPicklable, match="lock"):
        Parallel()([delayed(id)(1), delayed(id)(threading.Lock())])


def test_an_error_of_the_input_is_raised() -> None:
    """Early or late."""

    def calls(last: int) -> Iterator[Any]:
        for number in range(last):
            yield delayed(operator.neg)(number)
        raise LookupError("on purpose")

    for last in (0, 3, 300):
        with pytest.raises(LookupError, match="on purpose"):
            Parallel()(calls(last))


@pytest.mark.parametrize("return_as", ["list", "generator", "generator_unordered"])
def test_a_timeout_ends_the_call(gate: Gate, return_as: str) -> None:
    """When the results have not come in that time; what runs is stopped."""
    before = time.monotonic()
    with pytest.raises(joblib.parallel.TimeoutError):
        list(Parallel(timeout=0.3, return_as=return_as)(delayed(gate.wait)() for _ in range(2)))
    assert 0.2 < time.monotonic() - before < 20
    assert Parallel()(delayed(operator.neg)(number) for number in range(3)) == [0, -1, -2]


# ---------------------------------------------------------------------------------------------------------- generators


@pytest.mark.parametrize("return_as", ["generator", "generator_unordered"])
def test_a_generator_pulls_no_more_than_is_taken(return_as: str) -> None:
    """An endless input runs in constant memory, however slow the reader is."""
    pulled = itertools.count()
    found = Parallel(return_as=return_as, batch_size=1)(delayed(operator.neg)(number) for number in pulled)
    taken = [next(found) for _ in range(50)]
    assert len(set(taken)) == 50
    eventually(lambda: not kept._kept[-1][1]._backend._driver._core.has_work)
    assert next(pulled) < 50 + 20
    with pytest.warns(UserWarning, match="cancelled"):  # joblib's
        del found


def test_a_slow_head_holds_up_a_bounded_number(gate: Gate) -> None:
    """While the first result is missing, the others pile up only so far."""
    pulled = itertools.count()

    def calls() -> Iterator[Any]:
        yield delayed(gate.wait)()
        for number in pulled:
            yield delayed(operator.neg)(number)

    found = Parallel(return_as="generator", batch_size=1)(calls())
    opener = threading.Timer(0.3, gate.open)  # what is not bounded pulls thousands in that time
    opener.start()
    next(found)
    opener.join()
    assert next(found) == 0
    assert next(pulled) < 30
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        del found


def test_unordered_results_come_as_they_are_ready(gate: Gate) -> None:
    """Not behind a slow one."""
    calls = [delayed(tasks.through)(gate, -1), *(delayed(abs)(number) for number in range(10))]
    found = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch="all")(calls)
    assert sorted(next(found) for _ in range(10)) == list(range(10))
    gate.open()
    assert list(found) == [-1]


def test_two_generators_share_the_workers() -> None:
    """And neither ends the other's when it is dropped."""
    one = Parallel(return_as="generator")(delayed(operator.neg)(number) for number in range(40))
    other = Parallel(return_as="generator")(delayed(abs)(number) for number in range(40))
    assert [next(one), next(other), next(one)] == [0, 0, -1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        del one
    assert list(other) == list(range(1, 40))


def test_calls_of_several_threads_share_the_workers() -> None:
    """Each gets its own results."""
    found: dict[int, list[int]] = {}

    def call(offset: int) -> None:
        with joblib.parallel_config("procession", n_jobs=2):
            found[offset] = Parallel()(delayed(operator.add)(offset, number) for number in range(200))

    threads = [threading.Thread(target=call, args=(1000 * number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {1000 * number: [1000 * number + each for each in range(200)] for number in range(3)}


# ------------------------------------------------------------------------------------------------------------ contract


def test_the_backend_may_be_called_by_hand() -> None:
    """With any callback, or none, under both of joblib's names."""
    made = backend.ProcessionBackend(nesting_level=0)
    parallel = Parallel(backend=made)
    assert made.configure(2, parallel) == 2
    done: list[Any] = []
    made.submit(list, done.append).result(30)
    eventually(lambda: len(done) == 1)
    assert made.retrieve_result_callback(done[0]) == []
    assert made.retrieve_result(made.apply_async(dict), 30) == {}
    made.terminate()


def test_a_fork_leaves_the_workers_alone() -> None:
    """A fork of this process that drops what it has of ours drives no workers of its parent's."""
    for _ in range(5):
        assert Parallel()(delayed(operator.neg)(number) for number in range(3)) == [0, -1, -2]
        pid = os.fork()
        if not pid:
            kept._kept.clear()
            gc.collect()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
