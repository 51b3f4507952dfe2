"""The helpers themselves: a leak check that finds nothing, or a gate that never shuts, would make every test pass."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.helpers import leaks, tasks
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate, Notes
from tests.helpers.scripts import Completed, Via, typed

pytestmark = pytest.mark.thorough


@contextlib.contextmanager
def _descriptor() -> Iterator[None]:
    ends = os.pipe()
    yield
    for end in ends:
        os.close(end)


@contextlib.contextmanager
def _child() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE):
        yield


@contextlib.contextmanager
def _orphan() -> Iterator[None]:
    """A process whose parent has ended, in a session of its own: found by its mark alone."""
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'], start_new_session=True)"
    ours, theirs = os.pipe()
    subprocess.run([sys.executable, "-c", code], stdin=ours, check=True)
    yield
    os.close(theirs)
    os.close(ours)


@contextlib.contextmanager
def _thread() -> Iterator[None]:
    done = threading.Event()
    thread = threading.Thread(target=done.wait, daemon=True)
    thread.start()
    yield
    done.set()
    thread.join()


@contextlib.contextmanager
def _handler() -> Iterator[None]:
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGUSR2, before)


@contextlib.contextmanager
def _variable() -> Iterator[None]:
    os.environ["LEFT_BEHIND"] = "1"
    yield
    del os.environ["LEFT_BEHIND"]


@contextlib.contextmanager
def _directory() -> Iterator[None]:
    before = os.getcwd()
    os.chdir("/")
    yield
    os.chdir(before)


@contextlib.contextmanager
def _shared_memory() -> Iterator[None]:
    path = Path(f"/dev/shm/left-behind-{os.getpid()}")
    path.write_bytes(b"x")
    yield
    path.unlink()


@pytest.mark.parametrize(
    ("leak", "line"),
    [
        (_descriptor, "new descriptor: pipe:"),
        (_child, "new process: "),
        (_orphan, "new process: "),
        (_thread, "new thread: "),
        (_handler, "signal handler "),
        (_variable, "environment variable LEFT_BEHIND: None -> '1'"),
        (_directory, "cwd: "),
        (_shared_memory, "new in /dev/shm: left-behind"),
    ],
)
def test_each_kind_of_leak_is_found(leak: Callable[[], AbstractContextManager[None]], line: str) -> None:
    """Whatever a test leaves behind is named, and is gone when it is gone."""
    before = leaks.Snapshot.take()
    assert leaks.differences(before, leaks.Snapshot.take()) == []
    with leak():
        assert any(found.startswith(line) for found in leaks.wait_until_clean(before, 0))
    assert leaks.wait_until_clean(before) == []


def test_a_gate_holds_and_opens(gate: Gate) -> None:
    """A waiter is held while the gate is shut; once open, it lets all through, also copies of it."""
    copy = pickle.loads(pickle.dumps(gate))
    threads = [threading.Thread(target=g.wait, args=("hello",)) for g in (gate, copy)]
    for thread in threads:
        thread.start()
    assert gate.wait_arrived(2) == [os.getpid()] * 2
    assert all(thread.is_alive() for thread in threads)
    gate.open()
    for thread in threads:
        thread.join(10)
    copy.wait("later")
    assert gate.arrivals.texts() == ["hello", "hello", "later"]


def test_notes_keep_order_and_writer(notes: Notes) -> None:
    """Notes come back as they were written, with the pid of the writer."""
    assert notes.lines() == []
    tasks.note(notes, "one two")
    tasks.note(notes, 3)
    assert notes.lines() == [(os.getpid(), "one two"), (os.getpid(), "3")]


def test_eventually_gives_up() -> None:
    """A condition that never holds is an AssertionError that shows the state."""
    with pytest.raises(AssertionError, match="the state"):
        eventually(lambda: False, 0.01, describe=lambda: "the state")


def test_lines_are_typed_as_the_prompt_wants_them() -> None:
    """No blank line inside a statement, one after each compound one, decorators with their function."""
    text = "x = 1\n\n@d\ndef f():\n\n    return 1\n\nfor i in x:\n    pass\ny = (\n  2)\n"
    expected = ["x = 1", "@d", "def f():", "    return 1", "", "for i in x:", "    pass", "", "y = (", "  2)"]
    assert typed(text) == expected


@pytest.mark.parametrize("via", list(Via), ids=lambda via: via.value)
def test_a_script_is_run_in_each_way(script: Callable[..., Completed], via: Via) -> None:
    """Output, code and `__main__` are those of the script, whichever way it is fed."""
    run = script("class A:\n    x = 1\n\n    y = 2\nfor i in (A.x, A.y):\n    print(i, __name__)\n", via)
    assert run.check().lines == ["1 __main__", "2 __main__"]


def test_a_script_that_leaves_something_is_found_out(script: Callable[..., Completed]) -> None:
    """A process that outlives its script is named and killed."""
    run = script("import subprocess\nsubprocess.Popen(['sleep', '50'])")
    assert run.code == 0
    assert len(run.left) == 1
    assert "sleep 50" in run.left[0]


@pytest.mark.parametrize("via", [Via.FILE, Via.REPL], ids=lambda via: via.value)
def test_a_script_that_hangs_is_killed(script: Callable[..., Completed], via: Via) -> None:
    """At its deadline a script and its children are killed, and the code is None."""
    run = script("import subprocess\nprint('begun', flush=True)\nsubprocess.run(['sleep', '50'])", via, timeout=1.5)
    assert run.code is None
    assert run.lines == ["begun"]
    assert run.left == ()
