"""One Ctrl-C, or a SIGTERM, to a program with workers: one traceback at most, all gone, the exit code of the signal."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers.scripts import Completed

HEAD = """
import os, signal, sys, time, procession

def press(number=signal.SIGINT):
    try:
        os.close(os.open("pressed", os.O_CREAT | os.O_EXCL))  # one press, whoever comes first
    except FileExistsError:
        return
    os.kill({parent}, number)

def hang(*_args):
    try:
        press()
    finally:
        while True:
            signal.pause()

def quick(number):
    return number

pool = None
"""

#: What is interrupted, by the name of the moment.
MOMENTS = {
    "in a map": "procession.map(hang, range(4))",
    "in a map of a pool": "with procession.Pool(2) as pool:\n    pool.map(hang, range(4))",
    "without a with block": "pool = procession.Pool(2)\npool.map(hang, range(4))",
    "while waiting for a task": "with procession.Pool(2) as pool:\n    pool.submit(hang).result()",
    "while waiting for a job": "with procession.Pool(2) as pool:\n    pool.apply_async(hang).get()",
    "in an imap": "with procession.Pool(2) as pool:\n    list(pool.imap(hang, range(4)))",
    "while a worker starts": "with procession.Pool(2, hang) as pool:\n    pool.map(quick, range(4))",
    "in a callback": (
        "def called(_):\n    press()\n    time.sleep(100)\n"
        "with procession.Pool(2) as pool:\n    pool.apply_async(quick, (1,), callback=called).get()"
    ),
    "with a hundred thousand tasks queued": (
        "with procession.Pool(2) as pool:\n"
        "    tasks = [pool.submit(quick, n) for n in range(100_000)]\n"
        "    tasks.append(pool.submit(hang))\n"
        "    [task.result() for task in tasks]"
    ),
    "while tasks are being submitted": (
        "with procession.Pool(2) as pool:\n    pool.submit(press)\n    while True:\n        pool.submit(quick, 1)"
    ),
    "while a generator is read": (
        "def numbers():\n    yield 1\n    press()\n    time.sleep(100)\n"
        "with procession.Pool(2) as pool:\n    pool.map(quick, numbers())"
    ),
    "in another thread's work": (
        "import threading\n"
        "pool = procession.Pool(2)\n"
        "threading.Thread(target=lambda: pool.apply_async(hang).wait(), daemon=True).start()\n"
        "time.sleep(100)"
    ),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_ends_a_script(script: Callable[..., Completed], tmp_path: Path, moment: str) -> None:
    """Within a second or two, with the parent's own traceback alone."""
    text = HEAD.replace("{parent}", "PARENT") + "PARENT = os.getpid()\n" + MOMENTS[moment]
    run = script(text)
    assert run.code == -signal.SIGINT, run
    assert not run.left
    assert run.stderr.count("Traceback (most recent call last)") == 1, run.stderr
    assert run.stderr.rstrip().endswith("KeyboardInterrupt"), run.stderr
    assert "hang" not in run.stderr.replace(MOMENTS[moment], "").split("KeyboardInterrupt")[-1]
    assert time.time() - (tmp_path / "pressed").stat().st_mtime < 10


@pytest.mark.parametrize("moment", ["in a map", "without a with block", "while waiting for a task", "in an imap"])
def test_sigterm_ends_a_script(script: Callable[..., Completed], moment: str) -> None:
    """As it ends any process, and its workers with it."""
    text = HEAD.replace("{parent}", "PARENT").replace("number=signal.SIGINT", "number=signal.SIGTERM")
    run = script(text + "PARENT = os.getpid()\n" + MOMENTS[moment])
    assert run.code == -signal.SIGTERM, run
    assert not run.left
    assert run.stderr == ""


def test_the_pool_can_be_used_after_ctrl_c(script: Callable[..., Completed]) -> None:
    """As in a REPL or a notebook: one KeyboardInterrupt, and the next call works; its workers have lived on."""
    run = script(
        HEAD.replace("{parent}", "PARENT")
        + """
def pause(*_args):
    press()
    while True:
        signal.pause()

PARENT = os.getpid()
pool = procession.Pool(2)
calls = (lambda: pool.map(pause, [1]), lambda: pool.submit(pause).result(), lambda: list(pool.imap(pause, [1])))
for call in calls:
    try:
        call()
    except KeyboardInterrupt:
        os.unlink("pressed")
        print("interrupted")
    print(pool.map(quick, range(3)))
pool.terminate()
"""
    )
    run.check()
    assert run.lines == ["interrupted", "[0, 1, 2]"] * 3
