"""Start methods, contexts, and what happens at the end of a script; each in a fresh interpreter."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import pytest
from tests.helpers import tasks
from tests.helpers.scripts import Completed

from .subjects import METHODS, Subject, subjects

LIBRARY = subjects()[0].library
pytestmark = pytest.mark.needs_processes("it is about processes")


def test_every_method_has_its_context(subject: Subject) -> None:
    """`get_context(m)` gives the same context each time, and that has everything that the module has."""
    context = subject.context
    assert context is subject.module.get_context(subject.method)
    assert isinstance(context, multiprocessing.context.BaseContext)
    assert context.get_start_method() == subject.method
    for name in multiprocessing.__all__:
        if name != "get_all_start_methods":
            assert getattr(context, name) is not None, name
    with pytest.raises(ValueError):
        context.set_start_method("fork")


def test_the_module_has_every_public_name(subject: Subject) -> None:
    """Every public name of `multiprocessing` is there."""
    missing = [name for name in multiprocessing.__all__ if not hasattr(subject.module, name)]
    assert missing == []


def test_the_methods_are_known() -> None:
    """`get_all_start_methods` has the three methods; a context of another name is a ValueError."""
    module = subjects()[0].module
    assert set(module.get_all_start_methods()) == set(METHODS)
    with pytest.raises(ValueError):
        module.get_context("teleport")


def test_a_child_has_the_method_of_its_process(start: Callable[..., Any], queue: Any, subject: Subject) -> None:
    """In a child, `get_start_method` is the method by which it was started."""
    start(_put_method, queue, subject.library)
    assert queue.get(timeout=60) == subject.method


def _put_method(queue: Any, library: str) -> None:
    import importlib

    queue.put(importlib.import_module(library).get_start_method())


def test_the_start_method_is_set_once(script: Callable[..., Completed]) -> None:
    """A second `set_start_method` is a RuntimeError unless forced, and an unknown one a ValueError."""
    run = script(f"""
        import {LIBRARY} as mp

        if __name__ == "__main__":
            try:
                mp.set_start_method("teleport")
            except ValueError:
                print("unknown")
            mp.set_start_method("spawn")
            print(mp.get_start_method(), mp.get_context().get_start_method())
            try:
                mp.set_start_method("fork")
            except RuntimeError:
                print("already set")
            mp.set_start_method("fork", force=True)
            print(mp.get_start_method())
            mp.set_start_method(None, force=True)
            print(mp.get_start_method(allow_none=True))
    """)
    assert run.check().lines == ["unknown", "spawn spawn", "already set", "fork", "None"]


@pytest.mark.not_in_stdlib("its default is fork before 3.14")
def test_the_default_is_our_fork_server(script: Callable[..., Completed]) -> None:
    """The start method is forkserver unless it is set, and looking at it with `allow_none` fixes nothing."""
    run = script("""
        import procession

        print(procession.get_start_method(allow_none=True))
        print(procession.get_start_method())
        print(procession.get_all_start_methods()[0])
    """)
    assert run.check().lines == ["None", "forkserver", "forkserver"]


# ---------------------------------------------------------------------------------------------- the end of a script


def _script(subject: Subject, body: str) -> str:
    indented = "\n".join(" " * 12 + line for line in body.strip().splitlines())
    return f"""
        import os, signal, sys, time
        import {subject.library} as mp

        ctx = mp.get_context("{subject.method}")

        def wait_and_say(conn, text):
            conn.recv()
            print(text, flush=True)

        def wait_for_ever(conn):
            conn.send(os.getpid())
            while True:
                time.sleep(100)

        if __name__ == "__main__":
{indented}
    """


def test_a_script_waits_for_its_children(script: Callable[..., Completed], subject: Subject) -> None:
    """At the end of the script a non-daemon child is waited for."""
    run = script(
        _script(
            subject,
            """
here, there = ctx.Pipe()
process = ctx.Process(target=wait_and_say, args=(there, "child done"))
process.start()
print("main done", flush=True)
here.send("go")
""",
        )
    )
    assert run.check().lines == ["main done", "child done"]


def test_a_script_shows_the_errors_of_its_children(script: Callable[..., Completed], subject: Subject) -> None:
    """The traceback of an uncaught error, and the text of `sys.exit`, are on the script's standard error."""
    run = script(
        _script(
            subject,
            """
for target, args in ((int, ("no number",)), (sys.exit, ("last words",))):
    process = ctx.Process(target=target, args=args, name="unlucky")
    process.start()
    process.join()
    print(process.exitcode)
""",
        )
    )
    assert run.check().lines == ["1", "1"]
    assert "Process unlucky:" in run.stderr
    assert "Traceback (most recent call last)" in run.stderr
    assert "ValueError: invalid literal" in run.stderr
    assert "last words" in run.stderr


def test_a_script_ends_its_daemons(script: Callable[..., Completed], subject: Subject) -> None:
    """At the end of the script a daemon child is terminated, not waited for."""
    run = script(
        _script(
            subject,
            """
here, there = ctx.Pipe()
process = ctx.Process(target=wait_for_ever, args=(there,), daemon=True)
process.start()
here.recv()
print("main done", flush=True)
""",
        ),
        timeout=30,
    )
    assert run.check().lines == ["main done"]


def test_only_the_parent_may_ask(script: Callable[..., Completed], subject: Subject) -> None:
    """`join`, `is_alive` in a process that is not the parent are AssertionErrors."""
    run = script(
        _script(
            subject,
            """
here, there = ctx.Pipe()
process = ctx.Process(target=wait_and_say, args=(there, "child done"))
process.start()
pid = os.fork()
if pid == 0:
    for ask in (process.join, process.is_alive):
        try:
            ask()
        except AssertionError:
            print("refused", flush=True)
    os._exit(0)
os.waitpid(pid, 0)
here.send("go")
process.join()
""",
        ),
        env={"PYTHONWARNINGS": "ignore::DeprecationWarning"},
    )
    assert run.check().lines == ["refused", "refused", "child done"]


def test_a_script_may_forget_its_pool(script: Callable[..., Completed], subject: Subject) -> None:
    """A pool that is still open at the end of a script does not keep it from ending."""
    run = script(
        _script(
            subject,
            """
pool = ctx.Pool(2)
print(pool.map(abs, [-1, 2]), flush=True)
""",
        ),
        timeout=30,
    )
    assert run.check().lines == ["[1, 2]"]


def test_a_script_leaves_nothing_when_it_fails(script: Callable[..., Completed], subject: Subject) -> None:
    """An error that ends a script inside `with Pool` is shown, gives code 1, and leaves no process."""
    run = script(
        _script(
            subject,
            """
with ctx.Pool(2) as pool:
    pool.apply_async(time.sleep, (100,))
    raise SystemError("the end")
""",
        ),
        timeout=30,
    )
    assert run.code == 1
    assert "SystemError: the end" in run.stderr
    assert run.left == ()


@pytest.mark.not_in_stdlib("children of a killed parent may stay for ever")
def test_nothing_outlives_a_killed_script(script: Callable[..., Completed], subject: Subject) -> None:
    """`kill -9` of the script ends its workers and helpers within seconds."""
    import signal

    run = script(
        _script(
            subject,
            """
here, there = ctx.Pipe()
process = ctx.Process(target=wait_for_ever, args=(there,))
process.start()
here.recv()
pool = ctx.Pool(2)
pool.map(abs, [-1, 2])
print("ready", flush=True)
signal.pause()
""",
        ),
        send=signal.SIGKILL,
        when="ready",
        timeout=30,
    )
    assert run.code == -signal.SIGKILL
    assert run.left == ()


def test_the_helpers_of_this_file_are_importable() -> None:
    """The battery's tasks travel by reference, so that it can run on the standard library."""
    assert tasks.double.__module__ == "tests.helpers.tasks"
