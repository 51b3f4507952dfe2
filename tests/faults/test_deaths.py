"""How a worker dies x where x through which face: always one item is lost, and says why."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import tasks
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate, Notes
from tests.helpers.leaks import MARK
from tests.helpers.scripts import ROOT, Completed, kill_and_see_all_go

import procession
from procession.launch.server import server

from . import deadly
from .deadly import EXIT_3, SIGKILL, SYS_EXIT, WAYS, Job, Way
from .faces import DEADLINE, FACES, Face

COUNT = 15  # three chunks of five: a death at the first, a middle and the last place of one each
FATAL = (0, 7, 14)
WHERES = ("task", "result", "unpickled")

ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
faces = pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)


def _jobs(way: Way, where: str, fatal: tuple[int, ...], count: int) -> list[Job]:
    return [Job(n, way if n in fatal else None, where) for n in range(count)]


def _check_death(error: Any, way: Way, index: int | None) -> None:
    assert type(error) is procession.WorkerDied
    assert (error.exitcode, error.signal, error.index) == (way.exitcode, way.signal, index)
    assert error.pid > 0
    assert error.pid != os.getpid()


def _check_error(error: Any, where: str) -> None:
    if where == "result":
        assert type(error) is procession.NotSendable
        assert "SystemExit: 5" in str(error)
    else:
        assert type(error) is SystemExit
        assert error.code == 5


def _check_outcomes(found: list[Any], face: Face, way: Way, where: str, fatal: tuple[int, ...]) -> None:
    assert len(found) > max(fatal)
    for number, outcome in enumerate(found):
        if number not in fatal:
            assert outcome == 2 * number
        elif way.exitcode is None:
            _check_error(outcome, where)
        else:
            _check_death(outcome, way, number if face.positions else None)


def _check_ran_once(notes: Notes, where: str, fatal: tuple[int, ...], count: int) -> None:
    expected = [n for n in range(count) if where != "unpickled" or n not in fatal]
    assert sorted(map(int, notes.texts())) == expected


def _check_usable(pool: Any) -> None:
    assert pool.map(tasks.double, range(20), 3) == [2 * n for n in range(20)]
    assert pool.broken is None


@faces
@ways
@pytest.mark.parametrize("where", WHERES)
def test_a_death_costs_its_item_alone(pool: Any, notes: Notes, where: str, way: Way, face: Face) -> None:
    """Items that kill get WorkerDied with the code; their neighbours have values, nothing ran twice, the pool works."""
    found = face.run(pool, functools.partial(deadly.work, notes), _jobs(way, where, FATAL, COUNT))
    _check_outcomes(found, face, way, where, FATAL)
    _check_ran_once(notes, where, FATAL, COUNT)
    _check_usable(pool)


@faces
@pytest.mark.parametrize("place", [0, 3, 6], ids=["first", "middle", "last"])
def test_a_single_worker_may_die_at_any_place_of_a_chunk(
    make_pool: Callable[..., Any], notes: Notes, place: int, face: Face
) -> None:
    """With one worker, what it had done of its chunk counts, and its successor does the rest."""
    pool = make_pool(1)
    found = face.run(pool, functools.partial(deadly.work, notes), _jobs(EXIT_3, "task", (place,), 7))
    _check_outcomes(found, face, EXIT_3, "task", (place,))
    _check_ran_once(notes, "task", (place,), 7)
    _check_usable(pool)


@faces
def test_every_item_may_be_fatal(pool: Any, face: Face) -> None:
    """When all items kill, each has its own WorkerDied, and the pool is not broken by it."""
    deadly_task = functools.partial(deadly.die_or_double, SIGKILL, frozenset(range(8)))
    errors = face.run(pool, deadly_task, range(8))
    assert len({error.pid for error in errors}) == 8
    for number, error in enumerate(errors):
        _check_death(error, SIGKILL, number if face.positions else None)
    _check_usable(pool)


@faces
def test_values_behind_a_death_are_kept(make_pool: Callable[..., Any], face: Face) -> None:
    """Of many quick items that travel together, those before and after the fatal one have their values."""
    pool = make_pool(1)
    pool.map(tasks.double, range(5000))
    task = functools.partial(deadly.die_or_double, SIGKILL, frozenset({1111}))
    found = face.run(pool, task, range(2000))
    _check_death(found.pop(1111), SIGKILL, 1111 if face.positions else None)
    assert found == [2 * n for n in range(2000) if n != 1111]


@pytest.mark.parametrize("name", ["int", "float", "none", "text", "big"])
def test_outcomes_of_every_form_outlive_their_worker(make_pool: Callable[..., Any], name: str) -> None:
    """Whatever the form in which a worker kept its outcomes, they are read after its death."""
    task = functools.partial(_die_at_nine, name)
    found = make_pool(1).map(task, range(10), 10, on_error="return")
    assert type(found.pop()) is procession.WorkerDied
    assert found == [_VALUES[name](n) for n in range(9)]


_VALUES: dict[str, Callable[[int], Any]] = {
    "int": lambda n: n,
    "float": lambda n: n / 2,
    "none": lambda n: None,
    "text": lambda n: f"text {n}",
    "big": lambda n: [n] * 20_000,
}


def _die_at_nine(name: str, number: int) -> Any:
    return os._exit(3) if number == 9 else _VALUES[name](number)


# ------------------------------------------------------------------------------------------- between and behind tasks


def _kill_idle(pool: Any, number: int, *, wait: bool) -> None:
    for worker in pool._pool:
        os.kill(worker.pid, number)
        if wait:
            eventually(lambda worker=worker: not worker.is_alive())


@faces
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM], ids=lambda n: n.name)
@pytest.mark.parametrize("wait", [True, False], ids=["seen", "unseen"])
def test_idle_deaths_cost_nothing(pool: Any, notes: Notes, number: int, wait: bool, face: Face) -> None:
    """Workers that are killed between tasks, also just before the next one, are replaced and blame nobody."""
    assert pool.map(tasks.double, range(4)) == [0, 2, 4, 6]
    _kill_idle(pool, number, wait=wait)
    found = face.run(pool, functools.partial(tasks.note, notes), range(COUNT))
    assert found == list(range(COUNT))
    assert sorted(map(int, notes.texts())) == list(range(COUNT))


def test_what_waits_behind_a_death_runs_elsewhere(make_pool: Callable[..., Any], gate: Gate, notes: Notes) -> None:
    """A killed worker's running task gets WorkerDied; those in line behind it run once, unblamed."""
    pool = make_pool(1)
    pool.map(tasks.double, range(100))
    first = pool.submit(deadly.note_and_wait, notes, gate, 0)
    others = [pool.submit(tasks.note, notes, n) for n in range(1, 50)]
    (pid,) = gate.wait_arrived(1)
    os.kill(pid, signal.SIGKILL)
    _check_death(first.exception(DEADLINE), SIGKILL, None)
    assert first.exception().pid == pid
    assert [task.result(DEADLINE) for task in others] == list(range(1, 50))
    assert sorted(map(int, notes.texts())) == list(range(50))


def test_the_error_says_what_died_of_what(pool: Any) -> None:
    """The text of a WorkerDied names the function, the item, the signal and the worker."""
    task = functools.partial(deadly.die_or_double, SIGKILL, frozenset({5}))
    error = pool.map(task, range(6), 1, on_error="return")[5]
    for word in ("die_or_double", "5", "SIGKILL", str(error.pid)):
        assert word in str(error)


def test_map_raises_the_death_after_the_rest(pool: Any, notes: Notes) -> None:
    """Without on_error, map runs everything and then raises the WorkerDied."""
    with pytest.raises(procession.WorkerDied) as caught:
        pool.map(functools.partial(deadly.work, notes), _jobs(SIGKILL, "task", (2,), 9), 3)
    assert caught.value.index == 2
    _check_ran_once(notes, "task", (2,), 9)


def test_a_function_that_kills_costs_its_own_calls(pool: Any) -> None:
    """A function that ends every worker that reads it gives its call WorkerDied, and the pool goes on."""
    error = pool.submit(_FunctionThatKills(os.getpid())).exception(DEADLINE)
    _check_death(error, EXIT_3, None)
    _check_usable(pool)


class _FunctionThatKills:
    """A callable whose unpickling ends the process, unless it is the spared one."""

    def __init__(self, spare: int) -> None:
        self.spare = spare

    def __call__(self) -> None:
        """Do nothing."""

    def __reduce__(self) -> Any:
        return _revive_function, (self.spare,)


def _revive_function(spare: int) -> Any:
    if os.getpid() != spare:
        os._exit(3)
    return _FunctionThatKills(spare)


FATAL_ARGUMENT = """
import os, procession

class Fatal:
    def __reduce__(self):
        return os._exit, (3,)

def take(item):
    return 1

with procession.Pool(1) as pool:
    error = pool.submit(take, Fatal()).exception()
    print(type(error).__name__, error.exitcode)
    [error] = pool.map_async(take, [Fatal()], on_error="return").get()
    print(type(error).__name__, error.exitcode)
    print(pool.submit(take, 0).result())
"""


def test_the_parent_does_not_open_what_killed_a_worker(script: Callable[..., Completed]) -> None:
    """An argument whose unpickling ends any process ends a worker, and never the parent that describes it."""
    assert script(FATAL_ARGUMENT).check().lines == ["WorkerDied 3", "WorkerDied 3", "1"]


# -------------------------------------------------------------------------------------------------------- at the start


def _calls(pool: Any) -> list[Callable[[], object]]:
    return [
        lambda: pool.map(tasks.double, range(5)),
        lambda: pool.submit(tasks.double, 1).result(DEADLINE),
        lambda: list(pool.imap(tasks.double, range(5))),
        lambda: pool.apply_async(tasks.double, (1,)).get(DEADLINE),
    ]


@pytest.mark.parametrize("first", range(4), ids=["map", "submit", "imap", "apply_async"])
def test_workers_that_die_at_their_start_break_the_pool(make_pool: Callable[..., Any], first: int) -> None:
    """An initializer that kills gives PoolBroken, caused by the last death, to every call, and soon."""
    pool = make_pool(2, os._exit, (3,))
    calls = _calls(pool)
    begin = time.monotonic()
    for call in calls[first:] + calls[:first]:
        with pytest.raises(procession.PoolBroken) as caught:
            call()
        assert isinstance(caught.value.__cause__, procession.WorkerDied)
        assert caught.value.__cause__.exitcode == 3
    assert time.monotonic() - begin < 20
    assert isinstance(pool.broken, procession.PoolBroken)


@pytest.mark.parametrize("first", range(4), ids=["map", "submit", "imap", "apply_async"])
def test_an_initializer_that_raises_breaks_the_pool(make_pool: Callable[..., Any], first: int) -> None:
    """Its error is the cause of the PoolBroken that every call gets, with the worker's traceback behind it."""
    pool = make_pool(2, tasks.fail, ("no database",))
    calls = _calls(pool)
    for call in calls[first:] + calls[:first]:
        with pytest.raises(procession.PoolBroken, match="no database") as caught:
            call()
        cause = caught.value.__cause__
        assert type(cause) is ValueError
        assert "in fail" in str(cause.__cause__)


def test_an_initializer_that_exits_breaks_the_pool(make_pool: Callable[..., Any]) -> None:
    """sys.exit in an initializer is an error like any other."""
    with pytest.raises(procession.PoolBroken, match="SystemExit"):
        make_pool(1, SYS_EXIT.go).map(tasks.double, range(3))


# ---------------------------------------------------------------------------------------------- the death of the others


def test_the_death_of_the_zygote_is_survived(pool: Any, gate: Gate, notes: Notes) -> None:
    """Tasks that ran under a killed zygote get WorkerDied, queued ones run once, and later calls find a new zygote."""
    running = [pool.submit(deadly.note_and_wait, notes, gate, n) for n in range(2)]
    gate.wait_arrived(2)
    queued = [pool.submit(tasks.note, notes, n) for n in range(2, 8)]
    os.kill(server.pid, signal.SIGKILL)
    for task in running:
        assert type(task.exception(DEADLINE)) is procession.WorkerDied
    assert [task.result(DEADLINE) for task in queued] == list(range(2, 8))
    assert sorted(map(int, notes.texts())) == list(range(8))
    _check_usable(pool)


def test_a_zygote_killed_before_the_first_worker_is_replaced(pool: Any) -> None:
    """A zygote that is killed before it has forked anything is started anew."""
    os.kill(server.pid, signal.SIGKILL)
    _check_usable(pool)


def test_a_zygote_killed_while_idle_is_replaced(pool: Any) -> None:
    """Workers that end with their idle zygote are replaced by those of another."""
    _check_usable(pool)
    workers = pool._pool
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: not any(worker.is_alive() for worker in workers))
    _check_usable(pool)


# ---------------------------------------------------------------------------------------------- the death of the parent

SCRIPT_OF_A_POOL = """
import sys, procession
from tests.helpers import tasks
from tests.helpers.gates import Gate
from tests.faults import deadly

kind, gate_path = sys.argv[1:]
gate = Gate(gate_path)
pool = procession.get_context(METHOD).Pool(2)
if kind == "idle":
    pool.map(tasks.double, range(4))
    assert len(pool._pool) == 2
else:
    task = deadly.spin_deaf if kind == "deaf" else tasks.through
    results = [pool.submit(task, gate) for _ in range(2)]
    gate.wait_arrived(2)
print("ready", flush=True)
sys.stdin.read()
"""


def _start_script(folder: Path, method: str, kind: str, mark: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, MARK: mark, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    text = SCRIPT_OF_A_POOL.replace("METHOD", repr(method))
    command = [sys.executable, "-c", text, kind, str(folder / "script-gate")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **pipes)


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
@pytest.mark.parametrize("kind", ["idle", "waiting", "deaf"])
def test_nothing_outlives_a_killed_parent(tmp_path: Path, method: str, kind: str) -> None:
    """When the parent is killed, workers and zygote are gone within a second, also those that spin deaf to signals."""
    mark = uuid.uuid4().hex
    with _start_script(tmp_path, method, kind, mark) as parent:
        kill_and_see_all_go(parent, mark)
