"""What a Process promises, from before its start until after its close."""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

import pytest
from tests.helpers import bombs, subclasses, tasks
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate, Notes

from .subjects import Subject

DEADLINE = 60
pytestmark = pytest.mark.needs_processes("it is about processes")


# ---------------------------------------------------------------------------------------------------- before and during


def test_a_process_that_was_not_started_knows_little(subject: Subject) -> None:
    """Before the start there is a name and no pid; `is_alive` is False, `exitcode` None."""
    process = subject.context.Process(target=tasks.double, args=(1,))
    assert isinstance(process, multiprocessing.process.BaseProcess)
    assert re.search(r"Process-\d+$", process.name)
    assert process.pid is None
    assert process.ident is None
    assert process.exitcode is None
    assert process.is_alive() is False
    assert process.daemon is multiprocessing.current_process().daemon
    assert process.authkey == multiprocessing.current_process().authkey
    assert "initial" in repr(process)
    with pytest.raises(AssertionError):
        process.join()
    with pytest.raises(ValueError):
        _ = process.sentinel


def test_name_and_daemon_may_be_given_and_changed(subject: Subject) -> None:
    """`name` and `daemon` are arguments and, before the start, attributes."""
    process = subject.context.Process(None, tasks.double, "mine", (1,), {}, daemon=True)
    assert (process.name, process.daemon) == ("mine", True)
    process.name, process.daemon = "other", False
    assert (process.name, process.daemon) == ("other", False)
    process.authkey = b"secret"
    assert process.authkey == b"secret"
    with pytest.raises(AssertionError):
        subject.context.Process(group=1)
    with pytest.raises(AssertionError):
        process.name = 5


def test_the_target_runs_in_another_process(start: Callable[..., Any], queue: Any) -> None:
    """`start` runs `target(*args, **kwargs)` in a process of its own, with the pid that the caller sees."""
    process = start(tasks.put, queue, 1, "two", kwargs={"three": [3]})
    assert queue.get(timeout=DEADLINE) == ((1, "two"), {"three": [3]})
    process.join(DEADLINE)
    assert process.exitcode == 0
    assert process.pid != os.getpid()
    assert process.ident == process.pid


def test_a_process_knows_itself_and_its_parent(start: Callable[..., Any], queue: Any) -> None:
    """In the child `current_process` and `parent_process` are what they say, and standard input is empty."""
    process = start(tasks.put_facts, queue, name="a name", daemon=True)
    facts = queue.get(timeout=DEADLINE)
    assert facts == {
        "pid": process.pid,
        "current.pid": process.pid,
        "name": "a name",
        "daemon": True,
        "authkey": bytes(multiprocessing.current_process().authkey),
        "parent.pid": os.getpid(),
        "parent.alive": True,
        "parent.name": multiprocessing.current_process().name,
        "children": [],
        "stdin": "",
    }


def test_the_main_process_has_no_parent(subject: Subject) -> None:
    """`parent_process()` is None where nobody started us; `current_process` is the MainProcess."""
    assert subject.module.parent_process() is None
    assert subject.module.current_process().name == "MainProcess"
    assert subject.module.current_process().pid == os.getpid()


def test_a_process_sees_directory_and_path_of_its_parent(
    start: Callable[..., Any], queue: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child starts in the parent's present directory, with its present `sys.path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    start(tasks.put_surroundings, queue, "HOME")
    directory, path, _ = queue.get(timeout=DEADLINE)
    assert directory == str(tmp_path)
    assert str(tmp_path / "lib") in path


@pytest.mark.not_in_stdlib("its fork server keeps the environment in which it was started")
def test_a_process_sees_the_environment_of_its_parent(
    start: Callable[..., Any], queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child starts with the parent's present environment, also when a server forks it."""
    for value in ("first", "second", None):
        monkeypatch.delenv("BATTERY", raising=False)
        if value is not None:
            monkeypatch.setenv("BATTERY", value)
        start(tasks.put_surroundings, queue, "BATTERY")
        assert queue.get(timeout=DEADLINE)[2] == value


def test_run_may_be_overridden(subject: Subject, queue: Any) -> None:
    """A subclass that overrides `run` runs that, with the attributes of its instance."""
    process = subclasses.named(subject.library, subject.method)(queue, {"some": "value"})
    process.start()
    assert queue.get(timeout=DEADLINE) == (type(process).__name__, {"some": "value"}, process.name)
    process.join(DEADLINE)
    assert process.exitcode == 0
    process.close()


def test_run_may_be_called_here(subject: Subject) -> None:
    """`run()` without `start()` is a plain call of the target."""
    seen: list[int] = []
    process = subject.context.Process(target=seen.append, args=(1,))
    process.run()
    assert seen == [1]


def test_a_process_is_started_once(start: Callable[..., Any], gate: Gate) -> None:
    """A second `start` is an AssertionError; daemon cannot be changed any more."""
    process = start(gate.wait)
    with pytest.raises(AssertionError):
        process.start()
    with pytest.raises(AssertionError):
        process.daemon = True
    gate.open()
    process.join(DEADLINE)
    with pytest.raises(AssertionError):
        process.start()


def test_join_returns_none_done_or_not(start: Callable[..., Any], gate: Gate) -> None:
    """`join(t)` returns None after t seconds or at the end; `exitcode` tells which."""
    process = start(gate.wait)
    for timeout in (0, 0.05, -1):
        assert process.join(timeout) is None
    assert process.exitcode is None
    assert process.is_alive() is True
    assert "started" in repr(process)
    gate.open()
    assert process.join() is None
    assert process.exitcode == 0
    assert process.is_alive() is False
    assert "stopped" in repr(process)
    assert process.join() is None, "again"


def test_many_processes_at_once(start: Callable[..., Any], gate: Gate) -> None:
    """Several processes live at the same time, each in its own pid."""
    processes = [start(gate.wait, n) for n in range(5)]
    here = gate.wait_arrived(5)
    assert sorted(here) == sorted(process.pid for process in processes)
    gate.open()
    for process in processes:
        process.join(DEADLINE)
    assert [process.exitcode for process in processes] == [0] * 5


def test_active_children_are_those_that_live(subject: Subject, start: Callable[..., Any], gate: Gate) -> None:
    """`active_children` lists the started processes, and forgets (and reaps) those that have ended."""
    first, second = start(gate.wait), start(gate.wait)
    assert {first, second} <= set(subject.module.active_children())
    first.kill()
    eventually(lambda: first not in subject.module.active_children())
    assert second in subject.module.active_children()
    gate.open()
    second.join(DEADLINE)
    assert second not in subject.module.active_children()


# ------------------------------------------------------------------------------------------------------------ the end


@pytest.mark.parametrize(
    ("target", "args", "code"),
    [
        (tasks.double, (1,), 0),
        (tasks.fail, ("why",), 1),
        (sys.exit, (), 0),
        (sys.exit, (None,), 0),
        (sys.exit, (0,), 0),
        (sys.exit, (7,), 7),
        (sys.exit, (True,), 1),
        (sys.exit, ("a text",), 1),
        (os._exit, (9,), 9),
        (bombs.detonate, (bombs.How.KILL,), -signal.SIGKILL),
    ],
)
def test_the_exit_code_says_how_it_ended(start: Callable[..., Any], target: Any, args: Any, code: int) -> None:
    """0 after a return, 1 after an error, the code of `sys.exit`, -N after signal N."""
    process = start(target, *args)
    process.join(DEADLINE)
    assert process.exitcode == code
    assert process.is_alive() is False


@pytest.mark.not_in_stdlib("its fork server writes to the standard error that it was started with")
def test_an_uncaught_error_is_printed(start: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    """The traceback of an error that ends the target goes to standard error, after the name of the process."""
    process = start(tasks.fail, "why it failed", name="unlucky")
    process.join(DEADLINE)
    seen = ""

    def complete() -> bool:
        nonlocal seen
        seen += capfd.readouterr().err
        return "ValueError: why it failed" in seen

    eventually(complete)
    assert "Process unlucky:" in seen
    assert "Traceback (most recent call last)" in seen
    assert "in fail" in seen


@pytest.mark.not_in_stdlib("its fork server writes to the standard error that it was started with")
def test_the_text_of_sys_exit_is_printed(start: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    """`sys.exit("text")` in a child prints the text on standard error."""
    start(sys.exit, "some last words").join(DEADLINE)
    seen = ""

    def complete() -> bool:
        nonlocal seen
        seen += capfd.readouterr().err
        return "some last words" in seen

    eventually(complete)


@pytest.mark.parametrize(("how", "code"), [("terminate", -signal.SIGTERM), ("kill", -signal.SIGKILL)])
def test_a_process_can_be_stopped(start: Callable[..., Any], gate: Gate, how: str, code: int) -> None:
    """`terminate` ends it by SIGTERM, `kill` by SIGKILL, and both do nothing to one that has ended."""
    process = start(gate.wait)
    gate.wait_arrived(1)
    getattr(process, how)()
    process.join(DEADLINE)
    assert process.exitcode == code
    getattr(process, how)()
    assert process.exitcode == code


def test_the_sentinel_is_ready_at_the_end(start: Callable[..., Any], gate: Gate) -> None:
    """`connection.wait([p.sentinel])` waits for the end of the process."""
    process = start(gate.wait)
    assert isinstance(process.sentinel, int)
    assert connection.wait([process.sentinel], 0.05) == []
    gate.open()
    assert connection.wait([process.sentinel], DEADLINE) == [process.sentinel]
    process.join(DEADLINE)
    assert connection.wait([process.sentinel], 0) == [process.sentinel], "and stays ready"


def test_close_gives_everything_back(start: Callable[..., Any], gate: Gate) -> None:
    """`close` is a ValueError while it runs; after it only name, daemon and repr are left."""
    process = start(gate.wait, name="closing")
    with pytest.raises(ValueError):
        process.close()
    gate.open()
    process.join(DEADLINE)
    process.close()
    process.close()
    for use in ("join", "is_alive", "terminate", "kill", "start"):
        with pytest.raises(ValueError):
            getattr(process, use)()
    for attribute in ("exitcode", "pid", "ident", "sentinel"):
        with pytest.raises(ValueError):
            getattr(process, attribute)
    assert process.name == "closing"
    assert process.daemon is False
    assert "closed" in repr(process)


def test_a_process_waits_for_its_threads(start: Callable[..., Any], gate: Gate, notes: Notes) -> None:
    """A child ends after its non-daemon threads, though its target has returned."""
    process = start(tasks.finish_in_thread, gate, notes)
    gate.wait_arrived(1)
    process.join(0.05)
    assert process.is_alive()
    gate.open()
    process.join(DEADLINE)
    assert notes.texts() == ["thread done"]
    assert process.exitcode == 0


# ---------------------------------------------------------------------------------------------- what it may be given


def test_a_pipe_may_be_given(subject: Subject, start: Callable[..., Any]) -> None:
    """A Pipe made here works in both directions across the start."""
    here, there = subject.context.Pipe()
    process = start(tasks.echo, there)
    there.close()
    with here:
        for value in (1, "two", [3.0], b"x" * 200_000):
            here.send(value)
            assert here.recv() == value
        here.send(None)
    process.join(DEADLINE)
    assert process.exitcode == 0


def test_a_lock_may_be_given(subject: Subject, start: Callable[..., Any], gate: Gate) -> None:
    """A Lock held in the child cannot be taken here, and can when it was released there."""
    lock = subject.context.Lock()
    process = start(tasks.hold_and_release, lock, gate)
    gate.wait_arrived(1)
    assert not lock.acquire(timeout=0.05)
    gate.open()
    assert lock.acquire(timeout=DEADLINE)
    lock.release()
    process.join(DEADLINE)


def test_events_may_be_given(subject: Subject, start: Callable[..., Any]) -> None:
    """An Event set here wakes the child, and one set there wakes us."""
    asked, answered = subject.context.Event(), subject.context.Event()
    process = start(tasks.answer_event, asked, answered)
    assert not answered.wait(0.05)
    asked.set()
    assert answered.wait(DEADLINE)
    process.join(DEADLINE)


def test_shared_values_may_be_given(subject: Subject, start: Callable[..., Any]) -> None:
    """What the child writes into a Value or an Array is seen here."""
    value, array = subject.context.Value("i", 41), subject.context.Array("d", [1.0, 2.0])
    start(tasks.raise_values, value, array).join(DEADLINE)
    assert value.value == 42
    assert list(array) == [2.0, 3.0]


def test_a_barrier_may_be_given(subject: Subject, start: Callable[..., Any]) -> None:
    """A Barrier lets all go when all have come."""
    barrier = subject.context.Barrier(3)
    processes = [start(tasks.meet, barrier) for _ in range(2)]
    barrier.wait(DEADLINE)
    for process in processes:
        process.join(DEADLINE)
    assert [process.exitcode for process in processes] == [0, 0]


def test_a_condition_may_be_given(subject: Subject, start: Callable[..., Any]) -> None:
    """A Condition notified in the child wakes a waiter here."""
    condition, flag = subject.context.Condition(), subject.context.Value("i", 0)
    with condition:
        process = start(tasks.notify, condition, flag)
        assert condition.wait_for(lambda: flag.value == 1, DEADLINE)
    process.join(DEADLINE)


def test_a_joinable_queue_may_be_given(subject: Subject, start: Callable[..., Any]) -> None:
    """`join` of a JoinableQueue returns when the child has done all that was put."""
    made = subject.context.JoinableQueue()
    process = start(tasks.work_off, made)
    for item in (1, 2, None):
        made.put(item)
    made.join()
    process.join(DEADLINE)
    assert process.exitcode == 0
    made.close()
    made.join_thread()


def test_a_simple_queue_may_be_given(subject: Subject, start: Callable[..., Any]) -> None:
    """A SimpleQueue carries values from the child."""
    made = subject.context.SimpleQueue()
    start(tasks.put, made, 5).join(DEADLINE)
    assert made.get() == ((5,), {})
    made.close()


# ----------------------------------------------------------------------------------------------- beyond the standard


@pytest.mark.not_in_stdlib("it forgets the error")
def test_the_error_that_ended_it_is_kept(start: Callable[..., Any]) -> None:
    """`process.exception` is the error of the target, with the remote traceback as cause; None before and without."""
    process = start(tasks.fail, "why")
    process.join(DEADLINE)
    error = process.exception
    assert type(error) is ValueError
    assert error.args == ("why",)
    assert "in fail" in str(error.__cause__)
    fine = start(tasks.double, 1)
    fine.join(DEADLINE)
    assert fine.exception is None


@pytest.mark.not_in_stdlib("it forgets the error")
def test_there_is_no_exception_before_the_end(start: Callable[..., Any], gate: Gate) -> None:
    """`process.exception` is None while the process runs, and after it was killed there is no error to show."""
    process = start(gate.wait)
    assert process.exception is None
    gate.wait_arrived(1)
    process.kill()
    process.join(DEADLINE)
    assert process.exitcode == -signal.SIGKILL
    assert process.exception is None or not isinstance(process.exception, ValueError)


@pytest.mark.not_in_stdlib("functions travel by reference there")
def test_the_target_may_be_a_lambda(subject: Subject, queue: Any) -> None:
    """A closure, and a subclass defined inside a function, run in a child as they are."""
    word = "closed over"
    process = subject.context.Process(target=lambda: queue.put(word))
    process.start()
    assert queue.get(timeout=DEADLINE) == word
    process.join(DEADLINE)
    process.close()

    class Local(subject.context.Process):  # type: ignore[misc, name-defined]
        def run(self) -> None:
            queue.put(self.name)

    local = Local(name="local")
    local.start()
    assert queue.get(timeout=DEADLINE) == "local"
    local.join(DEADLINE)
    local.close()


def test_waiting_for_a_process_takes_no_time(start: Callable[..., Any], gate: Gate) -> None:
    """`join` wakes up at the end of the process, not at the next turn of some slow poll."""
    process = start(gate.wait)
    gate.wait_arrived(1)
    began = time.monotonic()
    process.kill()
    process.join(DEADLINE)
    assert time.monotonic() - began < 1
