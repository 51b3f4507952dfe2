"""The joblib backend: ``register()``, then ``joblib.parallel_config("procession")``.

``Parallel`` sends batches of calls and has a callback of its own called when one is done, which takes the result and
sends the next batch.  Here the thread that waits in ``Parallel`` makes these callbacks itself, between two looks at the
engine that it drives: results cross no other thread, nothing sleeps, and a generator whose results are not taken
sends nothing more.  joblib leaves two places for that: it asks the callback of the first batch that is missing
for its status, and, where any batch will do, for the length of the list of those that have come.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import joblib
from joblib.parallel import (
    AutoBatchingMixin,
    BatchCompletionCallBack,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
)

from procession.engine.interning import installed_modules
from procession.executor import ProcessPoolExecutor
from procession.integrations.batches import NAME, run_batch
from procession.integrations.kept import take_all, warm_executor
from procession.launch.start import preload
from procession.mapping.frames import KNOWN_ARRAYS
from procession.task import Task
from procession.wire.parcel import Known
from procession.worker.nesting import nesting

__all__ = ["ProcessionBackend", "register", "shutdown"]

_PENDING = "Pending"  #: the status of a batch; joblib's name for it is not public

#: What joblib tells every backend, and does not concern one that sends arrays through shared memory.
_NOT_OURS = ("context", "max_nbytes", "mmap_mode", "prefer", "require", "temp_folder", "verbose")

#: Seconds after which the workers of an executor that is kept end; they come back with the next call.  As joblib's.
_IDLE_SECONDS = 300.0

#: Batches of a generator that are under way or whose results were not taken, for every worker.
_WINDOW_PER_WORKER = 4

_preloaded: set[tuple[Any, Any]] = set()  # the names of the functions whose modules the zygote knows


def register(*, make_default: bool = False) -> None:
    """Have joblib know ``"procession"``; with ``make_default`` also use it where no backend is named."""
    joblib.register_parallel_backend(NAME, ProcessionBackend, make_default=make_default)


def shutdown() -> None:
    """End the workers that are kept for the next call of ``Parallel``."""
    for executor in take_all():
        executor.shutdown()


class ProcessionBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """``joblib.Parallel`` on Procession's workers.

    Its parameters, those of ``Parallel`` and of ``parallel_config`` alike, are ``initializer``, ``initargs``,
    ``idle_worker_timeout``, and the options of ``ProcessPoolExecutor`` for its workers and for retries.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True

    # A call costs some 20 us where joblib's own backends need 150, so a tenth of their batches is enough.
    MIN_IDEAL_BATCH_DURATION = 0.02
    MAX_IDEAL_BATCH_DURATION = 0.2

    parallel: Any = None

    def __init__(
        self, nesting_level: int | None = None, inner_max_num_threads: int | None = None, **settings: Any
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._settings = settings  # joblib would keep them from 1.5 on
        self._calls: WeakKeyDictionary[Any, _Call] = WeakKeyDictionary()

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many workers ``n_jobs`` means: -1 is all cores; in a worker, this process's part of them."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        if n_jobs > 0:
            return n_jobs
        cores = max(1, int(joblib.cpu_count()) // nesting.sharers)
        return max(cores + 1 + n_jobs, 1)

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        prefer: str | None = None,
        require: str | None = None,
        idle_worker_timeout: float | None = None,
        **settings: Any,
    ) -> int:
        """Have workers for ``parallel``; return how many.

        On failure: ``FallbackToBackend`` when one is enough; ``TypeError``, ``ValueError`` for unknown settings.
        """
        workers = self.effective_n_jobs(n_jobs)
        if workers == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        chosen = {**self._settings, **settings}
        for name in _NOT_OURS:
            chosen.pop(name, None)
        for name in ("timeout", "on_error"):
            if name in chosen:
                raise ValueError(f"{name} is for single calls, and joblib sends batches; see Parallel(timeout=...)")
        idle = chosen.pop("idle_worker_timeout", None) if idle_worker_timeout is None else idle_worker_timeout
        chosen.setdefault("idle_timeout", _IDLE_SECONDS if idle is None else idle)
        self.parallel = parallel
        self._calls[parallel] = _Call(parallel, warm_executor(workers, self._prepare_worker_env(workers), chosen))
        return workers

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Task[Any]:
        """Run a batch in a worker; ``callback`` gets its task when it is done."""
        call = self._calls[getattr(callback, "parallel", self.parallel)]
        if type(callback) is BatchCompletionCallBack:
            return call.send(func, callback)
        task = call.executor.submit(run_batch, func)
        if callback is not None:
            task.add_done_callback(callback)
        return task

    def apply_async(self, func: Callable[[], Any], callback: Any = None) -> Task[Any]:
        """``submit``, as joblib before 1.5 calls it."""
        return self.submit(func, callback)

    def retrieve_result_callback(self, out: Task[Any]) -> Any:
        """The results of a batch that is done.  On failure: the error of the first call in it that failed."""
        return out.result()

    def retrieve_result(self, out: Task[Any], timeout: float | None = None) -> Any:
        """The results of a batch, when it is done."""
        return out.result(timeout)

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Drop and stop what is left of a call that has failed; the workers are ready for the next."""
        tasks = [task for call in list(self._calls.values()) if call.aborting for task in call.give_up()]
        if sys.exc_info()[0] is GeneratorExit:
            # Perhaps by the garbage collector, in the midst of anything that this thread does: it must not wait.
            threading.Thread(target=_stop_all, args=(tasks,), name="procession-abort", daemon=True).start()
        else:
            _stop_all(tasks)

    def terminate(self) -> None:
        """The end of a call; its workers are kept."""
        for parallel, call in list(self._calls.items()):
            if call.is_over:
                del self._calls[parallel]
        self.reset_batch_stats()


class _Call:
    """What a ``Parallel`` object has sent, and what of that has come back.

    Used by one thread at a time: the one that is in ``Parallel``.  Only ``arrived`` is filled by whichever drives.
    """

    def __init__(self, parallel: Any, executor: ProcessPoolExecutor) -> None:
        self.executor = executor
        self.arrived: deque[_Batch] = deque()
        self.ordered = bool(getattr(parallel, "return_ordered", True))  # joblib 1.3 knows no other way
        self.late = False  #: nothing has come for as long as the caller would wait
        # joblib says when a call ends, but not when one begins whose workers were there already.
        self._parallel = parallel
        self._known = Known(KNOWN_ARRAYS, verify=True)
        self._under_way: dict[_Batch, None] = {}
        context: Any = executor._mp_context
        self._start_method = context.get_start_method()
        self._sent = 0
        self._bounded = bool(getattr(parallel, "return_generator", False))
        self._window = _WINDOW_PER_WORKER * executor._max_workers
        self._head = 0  # the number of the first batch that the caller has not got

    @property
    def aborting(self) -> bool:
        """Whether the call has failed, or was given up."""
        return bool(self._parallel._aborting)

    @property
    def is_over(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way

    def send(self, batch: Any, tracker: Any) -> _Batch:
        """Have a batch run; its callback is for ``deliver``."""
        tracker.__class__ = _Tracker
        tracker.call, tracker.number = self, self._sent
        self._sent += 1
        if not self.ordered and type(self._parallel._jobs) is deque:
            self._parallel._jobs = _Arrivals(self, self._parallel._jobs)
        self._preload(batch.items[0][0])
        task = _Batch(self, tracker)
        self._under_way[task] = None
        self.late = False
        try:
            self.executor._send(task, run_batch, (batch,), {}, self._known)
        except BaseException:
            del self._under_way[task]
            raise
        return task

    def _preload(self, function: Any) -> None:
        """Have workers that will be started know the modules of a function."""
        function = getattr(function, "__wrapped__", function)  # as scikit-learn's wrapper says
        name = (getattr(function, "__module__", None), getattr(function, "__qualname__", None))
        if name not in _preloaded and self._start_method == "forkserver":
            _preloaded.add(name)
            preload({"joblib.parallel", *installed_modules(function)})

    def deliver(self) -> None:
        """Make the callbacks of what has arrived, which send what comes next; of a generator, as there is room."""
        while self.arrived and (not self._bounded or self._sent - self._head < self._window):
            self._finish(self.arrived.popleft())

    def _finish(self, task: _Batch) -> None:
        del self._under_way[task]
        self.late = False
        task.tracker(task)
        if not self._under_way:
            self._known.clear()

    def wait_for(self, tracker: _Tracker, seconds: float | None) -> None:
        """Wait for a batch, and make the callbacks meanwhile; ``seconds`` at most."""
        end = None if seconds is None else time.monotonic() + seconds
        self._head = tracker.number
        while True:
            self.deliver()
            task = tracker.job
            if tracker.status == _PENDING and task in self.arrived:
                # There is no room for the others before the caller has this one.
                self.arrived.remove(task)
                self._finish(task)
            if tracker.status != _PENDING or self.aborting or not self._wait(end, task):
                return

    def wait_for_any(self) -> None:
        """Wait for the first batch to arrive of those that have not, and make its callback."""
        seconds = self._parallel.timeout
        end = None if seconds is None else time.monotonic() + seconds
        self._head = self._sent - len(self._under_way)  # what has arrived has been taken
        while self._under_way and not self.arrived and not self.aborting:
            if not self._wait(end, None):
                self.late = True
                return
        if self.arrived and not self.aborting:
            self._finish(self.arrived.popleft())  # whether or not there is room for more
            self.deliver()

    def _wait(self, end: float | None, task: _Batch | None) -> bool:
        """Drive until something arrives that can be delivered; return False when it is too late."""
        left = None if end is None else end - time.monotonic()
        if left is not None and left <= 0:
            return False
        full = task is not None and self._bounded and self._sent - self._head >= self._window
        arrived = self.arrived

        def ready() -> bool:
            return task in arrived if full else bool(arrived)

        return self.executor._backend.wait(ready, left)

    def give_up(self) -> list[_Batch]:
        """Forget all that is under way, which the caller is to stop.  Takes no lock."""
        tasks = list(self._under_way)
        self._under_way = {}
        self.arrived = deque()
        self._known.clear()
        # joblib (1.6) keeps the batches that it has not sent; the next call would return their results with its own.
        self._parallel._ready_batches = queue.Queue()
        return tasks


def _stop_all(tasks: list[_Batch]) -> None:
    """Drop what is queued, and stop what runs."""
    for task in tasks:
        task.cancel(interrupt=True)


class _Batch(Task[Any]):
    """The task of a batch."""

    def __init__(self, call: _Call, tracker: _Tracker) -> None:
        super().__init__(call.executor._backend)
        self.tracker = tracker
        self._arrived = call.arrived

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Take the outcome, and tell the call."""
        if not self.done():
            super().settle(value, error)
            self._arrived.append(self)


class _Tracker(BatchCompletionCallBack):  # type: ignore[misc]
    """joblib's callback for a batch, whose status is worth waiting for."""

    call: _Call
    number: int

    def get_status(self, timeout: float | None) -> Any:
        """The status; where the results are wanted in order, not before it is known."""
        call = self.call
        if call.ordered:
            super().get_status(timeout)  # from here on the time counts
            call.wait_for(self, timeout)
        elif call.late:
            self._completion_timeout_counter = 0.0
        return super().get_status(timeout)


class _Arrivals(deque[Any]):
    """joblib's list of the batches that have arrived, where their order does not matter: waits rather than be empty."""

    def __init__(self, call: _Call, before: deque[Any]) -> None:
        super().__init__(before)
        self._call = call

    def __len__(self) -> int:
        """How many have arrived; 0 only if none will, or not in time."""
        if not super().__len__():
            self._call.wait_for_any()
        return super().__len__()
