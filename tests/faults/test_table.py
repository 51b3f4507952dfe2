"""The table: what happens to a worker x where x through which face; and after it the pool goes on.

A row says what becomes of the one item that it happens to.  Its neighbours have their values and nothing runs
twice in any cell, everything ends within the row's bound, and 100 further tasks then run on the same pool.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.helpers import tasks
from tests.helpers.eventually import eventually
from tests.helpers.gates import Notes

import procession
from procession import OutcomeKind

from . import fates
from .faces import DEADLINE

OK, ERROR, DIED, TIMED_OUT = OutcomeKind.OK, OutcomeKind.ERROR, OutcomeKind.DIED, OutcomeKind.TIMED_OUT
COUNT = 15  # three chunks of five
PLACES = {"first": 5, "middle": 7, "last": 9}  # of the chunk in the middle
LIMIT = 0.3  # seconds, where a row has a timeout
SIGSEGV, SIGABRT = -signal.SIGSEGV, -signal.SIGABRT

pytestmark = [pytest.mark.timeout(30), pytest.mark.table]


# --------------------------------------------------------------------------------------------------------------- faces


def _as_map(pool: Any, function: Any, items: Any, **options: Any) -> list[Any]:
    found: list[Any] = pool.map(function, items, on_error="return", **options)
    return found


def _as_map_of_chunks(pool: Any, function: Any, items: Any, **options: Any) -> list[Any]:
    return _as_map(pool, function, items, chunksize=5, **options)


def _as_imap(pool: Any, function: Any, items: Any, **options: Any) -> list[Any]:
    return list(pool.imap(function, items, on_error="return", **options))


def _as_imap_of_chunks(pool: Any, function: Any, items: Any, **options: Any) -> list[Any]:
    return _as_imap(pool, function, items, chunksize=5, **options)


def _as_outcomes(pool: Any, function: Any, items: Any, **options: Any) -> list[Any]:
    found = list(pool.outcomes(function, items, **options))
    assert all(outcome.kind is _kind(outcome.error) for outcome in found)
    return [outcome.error or outcome.value for outcome in found]


def _as_apply_async(pool: Any, function: Any, items: Any, **options: Any) -> list[Any]:
    found: list[Any] = []
    for result in [pool.apply_async(function, (item,), **options) for item in items]:
        try:
            found.append(result.get(DEADLINE))
        except BaseException as error:  # SystemExit is one
            found.append(error)
    return found


def _as_submit(pool: Any, function: Any, items: Any, **options: Any) -> list[Any]:
    running = [pool.options(**options).submit(function, item) for item in items]
    return [task.exception(DEADLINE) or task.result(DEADLINE) for task in running]


def _as_module_map(_pool: Any, function: Any, items: Any, **options: Any) -> list[Any]:
    return procession.map(function, items, workers=2, on_error="return", **options)


def _as_executor(_pool: Any, function: Any, items: Any, **options: Any) -> list[Any]:
    with procession.ProcessPoolExecutor(2) as executor:
        running = [executor.options(**options).submit(function, item) for item in items]
        found = [future.exception(DEADLINE) or future.result(DEADLINE) for future in running]
        assert list(executor.map(tasks.double, range(100))) == [2 * n for n in range(100)]
        assert not executor._broken
    return found


FACES: dict[str, Callable[..., list[Any]]] = {
    "map": _as_map,
    "map-5": _as_map_of_chunks,
    "imap": _as_imap,
    "imap-5": _as_imap_of_chunks,
    "outcomes": _as_outcomes,
    "apply_async": _as_apply_async,
    "submit": _as_submit,
    "procession.map": _as_module_map,
    "executor": _as_executor,
}


# --------------------------------------------------------------------------------------------------------------- cells


@dataclass(frozen=True)
class Row:
    """What becomes of an item to which this happens; and the places and faces that are tried, as words."""

    how: str
    kinds: set[OutcomeKind]
    exitcode: int | None = None
    timeout: bool = False  #: whether the call has one
    seconds: float = 15  #: after which all must be over
    places: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One thing that happens at one place, seen through one face."""

    row: Row
    where: str
    face: str

    @property
    def name(self) -> str:
        """Its name among the tests."""
        return f"{self.row.how}-{self.where}-{self.face}"


def _cells(*rows: Row) -> list[Any]:
    cells = [Cell(row, where, face) for row in rows for where, faces in row.places.items() for face in faces.split()]
    return [pytest.param(cell, id=cell.name) for cell in cells]


def _kind(error: BaseException | None) -> OutcomeKind:
    if error is None:
        return OK
    if isinstance(error, procession.WorkerDied):
        return DIED
    return TIMED_OUT if isinstance(error, procession.TaskTimeout) else ERROR


def _check_outcome(found: Any, row: Row, value: int) -> None:
    """Check the outcome of the item that it happened to."""
    kind = _kind(found if isinstance(found, BaseException) else None)
    assert kind in row.kinds, repr(found)
    if kind is OK:
        assert found == value
    if kind is DIED and row.exitcode is not None:
        assert found.exitcode == row.exitcode


def _check_others(found: list[Any], at: int) -> None:
    """Check that it cost the others nothing."""
    assert len(found) == COUNT
    assert [value for n, value in enumerate(found) if n != at] == [2 * n for n in range(COUNT) if n != at]


def _check_ran_once(notes: Notes, at: int, most: int = 1) -> None:
    """Check that each item ran once, but the one at this position: that at most once, or so often."""
    ran = sorted(map(int, notes.texts()))
    assert [n for n in ran if n != at] == [n for n in range(COUNT) if n != at]
    assert ran.count(at) <= most


def _check_goes_on(pool: Any, face: str = "map") -> None:
    """Run 100 more."""
    assert FACES[face](pool, tasks.double, range(100)) == [2 * n for n in range(100)]
    assert pool.broken is None


@contextmanager
def _bound(seconds: float) -> Iterator[None]:
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < seconds


def _run(cell: Cell, pool: Any, notes: Notes, at: int) -> list[Any]:
    """Run all items; it happens at the one at this position."""
    row, face = cell.row, FACES[cell.face]
    jobs = [fates.Job(n, row.how if n == at else "", cell.where) for n in range(COUNT)]
    with _bound(row.seconds):
        return face(pool, functools.partial(fates.work, notes), jobs, **({"timeout": LIMIT} if row.timeout else {}))


def _check_cell(cell: Cell, pool: Any, notes: Notes, at: int) -> None:
    found = _run(cell, pool, notes, at)
    _check_outcome(found[at], cell.row, 2 * at)
    _check_others(found, at)
    # A fork that leaves the unpickling of its argument goes on into the call, as nobody can keep it from doing.
    _check_ran_once(notes, at, 2 if cell.where == "argument" and cell.row.how.startswith("fork-") else 1)
    _check_goes_on(pool, cell.face)


# ----------------------------------------------------------------------------------------------- at one item of a call

ITEMS = _cells(
    Row(
        "error",
        {ERROR},
        places={
            "argument": "map imap apply_async procession.map executor",
            "call": "map map-5 imap outcomes apply_async submit procession.map executor",
            "result": "map imap-5 apply_async procession.map",
            "parent": "map map-5 imap apply_async submit outcomes procession.map",
        },
    ),
    Row(
        "sys.exit",
        {ERROR},
        places={
            "argument": "map-5 submit executor",
            "call": "map-5 imap apply_async submit procession.map executor",
            "result": "imap submit",
            "parent": "map-5 imap apply_async submit procession.map",
        },
    ),
    Row(
        "os._exit",
        {DIED},
        fates.EXIT_CODE,
        places={
            "argument": "map-5 apply_async",
            "call": "map imap apply_async outcomes procession.map executor",
            "result": "map-5 submit",
        },
    ),
    Row(
        "SIGKILL",
        {DIED},
        -signal.SIGKILL,
        places={
            "argument": "imap procession.map",
            "call": "map map-5 imap-5 apply_async submit procession.map executor",
            "result": "imap apply_async",
        },
    ),
    Row(
        "SIGSEGV",
        {DIED},
        SIGSEGV,
        places={"argument": "map", "call": "map-5 imap apply_async procession.map executor", "result": "outcomes"},
    ),
    Row(
        "native-abort",
        {DIED},
        SIGABRT,
        places={"argument": "imap-5", "call": "map imap-5 submit procession.map executor", "result": "apply_async"},
    ),
    Row(
        "memory",
        {ERROR},
        places={
            "argument": "map-5 submit executor",
            "call": "map imap apply_async procession.map executor",
            "result": "map submit",
        },
    ),
    Row("all-memory", {ERROR, DIED}, places={"argument": "map", "call": "map-5 submit executor", "result": "imap"}),
    Row(
        "stack",
        {DIED},
        SIGSEGV,
        places={"argument": "submit", "call": "map-5 imap apply_async procession.map executor", "result": "map"},
    ),
    Row("nested", {ERROR}, places={"result": "map map-5 imap apply_async submit procession.map"}),
    Row(
        "stop-and-continue",
        {OK},
        places={"argument": "map submit", "call": "map-5 imap apply_async procession.map executor", "result": "map-5"},
    ),
    Row("stop", {TIMED_OUT}, timeout=True, places={"call": "map submit executor", "result": "imap"}),
    Row(
        "hang",
        {TIMED_OUT},
        timeout=True,
        places={
            "argument": "map-5 imap submit",
            "call": "map map-5 imap outcomes apply_async submit procession.map executor",
            "result": "map-5 submit",
        },
    ),
    Row(
        "native-hang",
        {TIMED_OUT},
        timeout=True,
        places={"argument": "apply_async", "call": "map-5 imap submit procession.map executor", "result": "map"},
    ),
    Row(
        "fork-deadlocks",
        {OK},
        places={"argument": "map", "call": "map-5 imap apply_async procession.map executor", "result": "submit"},
    ),
    Row(
        "fork-deadlocks-then-exit",
        {DIED},
        fates.EXIT_CODE,
        places={"argument": "map-5", "call": "imap procession.map executor", "result": "submit"},
    ),
    Row(
        "fork-returns",
        {OK},
        places={
            "argument": "map-5 imap submit",
            "call": "map map-5 imap imap-5 outcomes apply_async submit procession.map executor",
            "result": "map submit",
        },
    ),
    Row(
        "fork-raises", {OK}, places={"argument": "imap", "call": "map-5 imap submit executor", "result": "apply_async"}
    ),
    Row(
        "fork-sys.exit", {OK}, places={"argument": "map", "call": "map-5 imap submit executor", "result": "apply_async"}
    ),
    # What it has sent has arrived; so its death is that of the item, or comes between items and costs none.
    Row(
        "no-descriptors",
        {DIED, OK},
        places={"argument": "imap", "call": "map map-5 imap apply_async procession.map executor", "result": "submit"},
    ),
    Row(
        "no-outputs",
        {OK},
        places={"argument": "imap-5", "call": "map-5 submit procession.map executor", "result": "submit"},
    ),
    Row(
        "no-streams",
        {OK},
        places={"argument": "map", "call": "imap apply_async procession.map executor", "result": "map"},
    ),
)


@pytest.mark.parametrize("cell", ITEMS)
def test_what_happens_to_one_item_costs_that_item(pool: Any, notes: Notes, cell: Cell) -> None:
    """The item has the outcome of its row, in time, the others have their values, and 100 more run."""
    _check_cell(cell, pool, notes, PLACES["middle"])


# --------------------------------------------------------------------------------------------- at a place in its chunk

CHUNKED = _cells(
    Row("error", {ERROR}, places={"call": "map-5 imap-5"}),
    Row("sys.exit", {ERROR}, places={"call": "imap-5"}),
    Row("os._exit", {DIED}, fates.EXIT_CODE, places={"call": "map-5"}),
    Row("SIGKILL", {DIED}, -signal.SIGKILL, places={"call": "imap-5", "result": "map-5"}),
    Row("SIGSEGV", {DIED}, SIGSEGV, places={"argument": "imap-5"}),
    Row("stack", {DIED}, SIGSEGV, places={"call": "imap-5"}),
    Row("memory", {ERROR}, places={"call": "map-5"}),
    Row("stop-and-continue", {OK}, places={"call": "imap-5"}),
    Row("hang", {TIMED_OUT}, timeout=True, places={"call": "imap-5", "result": "imap-5"}),
    Row("native-hang", {TIMED_OUT}, timeout=True, places={"call": "map-5"}),
    Row("fork-returns", {OK}, places={"call": "map-5 imap-5"}),
    Row("fork-deadlocks-then-exit", {DIED}, fates.EXIT_CODE, places={"call": "imap-5"}),
    Row("no-descriptors", {DIED, OK}, places={"call": "imap-5"}),
)


@pytest.mark.parametrize("place", ["first", "last"])
@pytest.mark.parametrize("cell", CHUNKED)
def test_the_place_in_the_chunk_does_not_matter(
    make_pool: Callable[..., Any], notes: Notes, cell: Cell, place: str
) -> None:
    """With one worker, so that nobody else takes what lies behind: the first or last item of a chunk, and it alone."""
    _check_cell(cell, make_pool(1), notes, PLACES[place])


# --------------------------------------------------------------------------------------------------------- as garbage

#: Its item goes on to its end, or has died: the object is collected as the call returns, or after it.
GARBAGE = _cells(
    Row("error", {OK}, places={"garbage": "map map-5 imap submit procession.map"}),
    Row("sys.exit", {OK}, places={"garbage": "map-5 apply_async"}),
    Row("os._exit", {OK, DIED}, fates.EXIT_CODE, places={"garbage": "map map-5 imap apply_async procession.map"}),
    Row("SIGKILL", {OK, DIED}, -signal.SIGKILL, places={"garbage": "map map-5 imap-5 submit procession.map"}),
    Row("native-abort", {OK, DIED}, SIGABRT, places={"garbage": "map-5 submit"}),
    Row("hang", {OK, TIMED_OUT}, timeout=True, places={"garbage": "map-5 imap submit"}),
    Row("native-hang", {OK, TIMED_OUT}, timeout=True, places={"garbage": "imap submit"}),
)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("cell", GARBAGE)
def test_what_happens_when_an_argument_is_collected_costs_its_item_at_most(pool: Any, notes: Notes, cell: Cell) -> None:
    """A `__del__` that fails, kills or hangs costs its own item or none, never a neighbour."""
    _check_cell(cell, pool, notes, PLACES["middle"])


# --------------------------------------------------------------------------------------------------- in the function

FUNCTIONS = _cells(
    Row("error", {ERROR}, places={"function": "map map-5 imap apply_async submit procession.map"}),
    Row("sys.exit", {ERROR}, places={"function": "map-5 submit"}),
    Row("os._exit", {DIED}, fates.EXIT_CODE, places={"function": "map imap apply_async"}),
    Row("SIGKILL", {DIED}, -signal.SIGKILL, places={"function": "map-5 submit procession.map"}),
    Row("native-abort", {DIED}, SIGABRT, places={"function": "imap"}),
    Row("stack", {DIED}, SIGSEGV, places={"function": "submit"}),
    Row("memory", {ERROR}, places={"function": "map"}),
    Row("hang", {TIMED_OUT}, timeout=True, places={"function": "map-5 imap submit"}),
    Row("native-hang", {TIMED_OUT}, timeout=True, places={"function": "apply_async"}),
    Row("stop-and-continue", {OK}, places={"function": "map submit"}),
    Row("fork-returns", {OK}, places={"function": "map-5 submit"}),
    Row("no-descriptors", {DIED, OK}, places={"function": "imap"}),
    Row("no-outputs", {OK}, places={"function": "map"}),
)


@pytest.mark.parametrize("cell", FUNCTIONS)
def test_what_happens_when_the_function_is_read_costs_its_call(pool: Any, notes: Notes, cell: Cell) -> None:
    """Every item of that call has the outcome of the row, and the pool goes on with other functions."""
    row = cell.row
    function = fates.Function(row.how, notes)
    with _bound(row.seconds):
        found = FACES[cell.face](pool, function, range(4), **({"timeout": LIMIT} if row.timeout else {}))
    assert len(found) == 4
    for number, one in enumerate(found):
        _check_outcome(one, row, 2 * number)
    assert len(set(notes.texts())) == len(notes.texts())
    _check_goes_on(pool, cell.face)


# --------------------------------------------------------------------------------------------------- in the initializer

POOL_FACES = "map imap apply_async submit"
BREAKING = _cells(
    Row("error", {ERROR}, places={"initializer": POOL_FACES}),
    Row("sys.exit", {ERROR}, places={"initializer": "map"}),
    Row("os._exit", {DIED}, places={"initializer": "imap"}),
    Row("SIGKILL", {DIED}, places={"initializer": POOL_FACES}),
    Row("SIGSEGV", {DIED}, places={"initializer": "submit"}),
    Row("native-abort", {DIED}, places={"initializer": "map"}),
    Row("memory", {ERROR}, places={"initializer": "apply_async"}),
    Row("all-memory", {ERROR, DIED}, places={"initializer": "map"}),
    Row("stack", {DIED}, places={"initializer": "imap"}),
    Row("fork-deadlocks-then-exit", {DIED}, places={"initializer": "submit"}),
    Row("no-descriptors", {ERROR, DIED}, places={"initializer": "map submit"}),
)


@pytest.mark.parametrize("cell", BREAKING)
def test_what_ends_every_worker_at_its_start_breaks_the_pool(make_pool: Callable[..., Any], cell: Cell) -> None:
    """Whatever the initializer meets: the call gets PoolBroken, and so does the next, soon."""
    pool = make_pool(2, fates.meet, (cell.row.how,))
    for _ in range(2):
        with _bound(cell.row.seconds), pytest.raises(procession.PoolBroken) as caught:
            _raise_first(FACES[cell.face](pool, tasks.double, range(5)))
        assert _kind(caught.value.__cause__) in cell.row.kinds
    assert isinstance(pool.broken, procession.PoolBroken)


def _raise_first(found: list[Any]) -> None:
    """Raise the error that a face has put in its item's place."""
    for one in found:
        if isinstance(one, BaseException):
            raise one


SURVIVED = _cells(
    Row("stop-and-continue", {OK}, places={"initializer": "map"}),
    Row("fork-deadlocks", {OK}, places={"initializer": "imap submit"}),
    Row("fork-returns", {OK}, places={"initializer": "map"}),
    Row("fork-raises", {OK}, places={"initializer": "imap"}),
    Row("fork-sys.exit", {OK}, places={"initializer": "submit"}),
    Row("no-outputs", {OK}, places={"initializer": "map"}),
    Row("no-streams", {OK}, places={"initializer": "submit"}),
)


@pytest.mark.parametrize("cell", SURVIVED)
def test_what_a_worker_survives_at_its_start_changes_nothing(
    make_pool: Callable[..., Any], notes: Notes, cell: Cell
) -> None:
    """A worker whose initializer has come through works like any other, and a fork of it does not work at all."""
    pool = make_pool(2, fates.meet, (cell.row.how,))
    with _bound(cell.row.seconds):
        found = FACES[cell.face](pool, functools.partial(fates.work, notes), [fates.Job(n) for n in range(COUNT)])
    assert found == [2 * n for n in range(COUNT)]
    assert sorted(map(int, notes.texts())) == list(range(COUNT))
    _check_goes_on(pool)


# -------------------------------------------------------------------------------------------------------- while idle

IDLE = _cells(
    Row("SIGKILL", {OK}, places={"idle": "imap apply_async procession.map"}),
    Row("SIGSEGV", {OK}, places={"idle": "map"}),
    Row("SIGABRT", {OK}, places={"idle": "submit"}),
    Row("SIGTERM", {OK}, places={"idle": "outcomes"}),
    Row("SIGINT", {OK}, places={"idle": "map submit"}),
)


@pytest.mark.parametrize("cell", IDLE)
def test_a_signal_to_an_idle_worker_costs_nothing(pool: Any, notes: Notes, cell: Cell) -> None:
    """A worker that is killed while it has nothing to do costs no item of the next call."""
    pids = set(FACES[cell.face](pool, tasks.pid, range(20)))
    for pid in pids:
        os.kill(pid, signal.Signals[cell.row.how])
    with _bound(cell.row.seconds):
        found = FACES[cell.face](pool, functools.partial(tasks.note, notes), range(COUNT))
    assert found == list(range(COUNT))
    _check_ran_once(notes, COUNT)
    _check_goes_on(pool, cell.face)


@pytest.mark.parametrize("face", ["map", "imap", "submit"])
def test_a_worker_that_is_stopped_while_idle_goes_on(pool: Any, notes: Notes, face: str) -> None:
    """Items that are handed to a stopped worker, or to others in its place, run once each."""
    pids = [worker.pid for worker in pool._pool]
    pool.map(tasks.double, range(20))
    os.kill(pids[0], signal.SIGSTOP)
    running = [pool.submit(tasks.note, notes, n) for n in range(COUNT)]
    os.kill(pids[0], signal.SIGCONT)
    with _bound(15):
        assert [task.result(DEADLINE) for task in running] == list(range(COUNT))
    _check_ran_once(notes, COUNT)
    _check_goes_on(pool, face)


# -------------------------------------------------------------------------------------------------------- in a callback


def _result_with_callbacks(pool: Any, how: str, which: str) -> Any:
    def meet(_: object) -> None:
        fates.meet(how)

    if which == "callback":
        return pool.apply_async(tasks.double, (1,), callback=meet)
    if which == "error_callback":
        return pool.apply_async(tasks.fail, ("first",), error_callback=meet)
    if which == "callback-of-map":
        return pool.map_async(tasks.double, range(5), callback=meet)
    return pool.map_async(tasks.fail_if_odd, range(5), error_callback=meet)


@pytest.mark.parametrize("which", ["callback", "error_callback", "callback-of-map", "error_callback-of-map"])
@pytest.mark.parametrize(("how", "error"), [("error", ValueError), ("sys.exit", SystemExit)])
def test_what_a_callback_raises_is_the_error_of_its_call(
    pool: Any, how: str, error: type[BaseException], which: str
) -> None:
    """It is raised by `get`, once the callback has run, and the pool goes on."""
    result = _result_with_callbacks(pool, how, which)
    with _bound(15), pytest.raises(error) as caught:
        result.get(DEADLINE)
    assert str(caught.value) in ("on purpose", "5")
    _check_goes_on(pool)


def test_a_task_with_a_callback_that_raises_keeps_its_value(pool: Any) -> None:
    """As of every future: the error of a done callback is logged, and is nobody's."""
    task = pool.submit(tasks.double, 1)
    task.add_done_callback(lambda _: fates.meet("error"))
    with _bound(15):
        assert task.result(DEADLINE) == 2
    _check_goes_on(pool)


# ------------------------------------------------------------------------------------------------------------- at exit


@pytest.mark.parametrize(
    "how",
    [
        *(
            "error",
            "sys.exit",
            "os._exit",
            "SIGKILL",
            "SIGSEGV",
            "native-abort",
            "memory",
            "stack",
            "stop-and-continue",
        ),
        *("fork-deadlocks", "fork-returns", "fork-raises", "no-descriptors", "no-outputs", "no-streams"),
    ],
)
def test_what_happens_at_the_exit_of_a_worker_costs_nothing(make_pool: Callable[..., Any], how: str) -> None:
    """A worker that dies in an exit function has done its work: results are kept, and `join` returns."""
    pool = make_pool(2, fates.meet_at_exit, (how,))
    _check_goes_on(pool, "imap")
    result = pool.map_async(tasks.double, range(100))
    with _bound(8):
        pool.close()
        pool.join()
    assert result.get(DEADLINE) == [2 * n for n in range(100)]


def test_a_worker_that_hangs_at_its_exit_is_killed(make_pool: Callable[..., Any]) -> None:
    """`join` waits 10 s for exit functions and no longer, be they in native code and deaf to signals."""
    pool = make_pool(1, fates.meet_at_exit, ("native-hang",))
    _check_goes_on(pool)
    with _bound(20):
        pool.close()
        pool.join()


@pytest.mark.parametrize("how", ["hang", "native-hang", "os._exit", "SIGKILL", "fork-deadlocks"])
def test_terminate_does_not_wait_for_exit_functions(make_pool: Callable[..., Any], how: str) -> None:
    """`terminate` ends workers at once, whatever they would do at their exit."""
    pool = make_pool(2, fates.meet_at_exit, (how,))
    _check_goes_on(pool)
    with _bound(8):
        pool.terminate()
        pool.join()


@pytest.mark.parametrize("how", ["os._exit", "SIGKILL", "no-descriptors", "fork-deadlocks"])
def test_what_happens_at_the_exit_of_a_replaced_worker_costs_nothing(
    make_pool: Callable[..., Any], notes: Notes, how: str
) -> None:
    """Workers that are replaced after every chunk, and die in their exit functions, lose nothing."""
    pool = make_pool(2, fates.meet_at_exit, (how,), 1)
    with _bound(15):
        assert pool.map(functools.partial(tasks.note, notes), range(COUNT), 5) == list(range(COUNT))
    _check_ran_once(notes, COUNT)
    _check_goes_on(pool)


# ---------------------------------------------------------------------------------------------------- what is left over


@pytest.mark.parametrize("end", ["close", "terminate"])
def test_a_child_that_hangs_is_gone_with_its_pool(pool: Any, end: str) -> None:
    """What a task has forked and left behind, hanging, does not outlive the pool."""
    children = pool.map(fates.pid_of_a_deadlock, range(4))
    _check_goes_on(pool)
    with _bound(15):
        getattr(pool, end)()
        pool.join()
    eventually(lambda: not any(os.path.exists(f"/proc/{child}") for child in children))


# ----------------------------------------------------------------------------------------------------------- a Process


@dataclass(frozen=True)
class Ending:
    """How a process ends to which this happens, and the type of its `exception`."""

    how: str
    exitcode: int
    error: type[BaseException] | None = None
    where: str = "call"
    over: bool = False  #: whether its target comes to its end

    @property
    def name(self) -> str:
        """Its name among the tests."""
        return f"{self.how}-{self.where}"


ENDINGS = (
    Ending("error", 1, ValueError),
    Ending("error", 1, ValueError, "argument"),
    Ending("sys.exit", 5),
    Ending("os._exit", fates.EXIT_CODE),
    Ending("os._exit", fates.EXIT_CODE, None, "argument"),
    Ending("SIGKILL", -signal.SIGKILL),
    Ending("SIGKILL", -signal.SIGKILL, None, "argument"),
    Ending("SIGSEGV", SIGSEGV),
    Ending("native-abort", SIGABRT),
    Ending("memory", 1, MemoryError),
    Ending("stack", SIGSEGV),
    Ending("stop-and-continue", 0, over=True),
    Ending("fork-returns", 0, over=True),
    Ending("fork-raises", 0, over=True),
    Ending("fork-sys.exit", 0, over=True),
    Ending("no-descriptors", 0, over=True),
    Ending("no-outputs", 0, over=True),
    Ending("no-streams", 0, over=True),
)


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.name)
def test_a_process_tells_how_it_ended(notes: Notes, ending: Ending) -> None:
    """Whatever happens to it: `join` returns, `exitcode` and `exception` say what it was."""
    job = fates.Job(0, ending.how if ending.where == "argument" else "", "argument")
    how = ending.how if ending.where == "call" else ""
    process = procession.Process(target=fates.double_and_meet, args=(notes, how, job))
    with _bound(15):
        process.start()
        process.join(DEADLINE)
    assert process.exitcode == ending.exitcode
    assert type(process.exception) is (ending.error or type(None))
    assert notes.texts() == (["over"] if ending.over else [])
    process.close()


@pytest.mark.parametrize("how", ["stop", "hang", "native-hang"])
def test_a_process_that_hangs_can_be_killed(notes: Notes, how: str) -> None:
    """`kill` ends it, be it stopped, or in native code and deaf to signals."""
    process = procession.Process(target=fates.double_and_meet, args=(notes, how))
    process.start()
    assert process.is_alive()
    with _bound(15):
        process.kill()
        process.join(DEADLINE)
    assert process.exitcode == -signal.SIGKILL
    process.close()
