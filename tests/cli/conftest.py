"""Helpers of the command line's tests: the command runs as a person runs it, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

# Longer than any run here takes on a loaded machine, shorter than pytest's own limit.
DEADLINE = 60

TARGETS = '''
"""Functions for the tests of the command line."""
import os
import signal
import threading

number = 3

def upper(item):
    return item.upper()

def picky(item):
    if item.startswith("bad"):
        raise ValueError(f"{item} is bad")
    return item

def two_lines(item):
    raise RuntimeError("first line\\nsecond line")

def die(item):
    if item == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return item

def hang(item):
    while item == "hang":
        signal.pause()
    return item

def fail_once(item):
    try:
        open(f"{item}.tried", "x").close()
    except FileExistsError:
        return item
    raise OSError(item)

def pid(item):
    return os.getpid()

def say(item):
    print("said", item, flush=True)
    return item

def value(item):
    """Returns what the item says as Python."""
    return eval(item)

def meet(item):
    """`first` ends only after `second` has begun: they meet at a FIFO."""
    if item == "first":
        with open("meeting") as meeting:
            meeting.read()
    elif item == "second":
        with open("meeting", "w"):
            pass
    return item

def gate(item):
    """Says that it has begun, by a FIFO, and waits for ever."""
    if item.startswith("hang"):
        with open("begun", "w") as begun:
            begun.write(f"{os.getpid()}\\n")
        threading.Event().wait()
    return item

class Shouter:
    @staticmethod
    def shout(item):
        return item + "!"
'''


class CommandLine:
    """A folder with `targets.py` in it, and the command run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = f"cli-test-{uuid.uuid4()}"
        (folder / "targets.py").write_text(TARGETS)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start `python -m procession` with these arguments, in a process group of its own."""
        environment = {**os.environ, "PROCESSION_TEST_MARK": self.mark, **options.pop("env", {})}
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(
            [sys.executable, "-m", "procession", *arguments],
            cwd=self.folder,
            env=environment,
            text=True,
            encoding="utf-8",
            start_new_session=True,
            **options,
        )

    def run(self, *arguments: str, input: str | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        if input is not None:
            options["stdin"] = subprocess.PIPE
        process = self.start(*arguments, **options)
        try:
            out, err = process.communicate(input, timeout=DEADLINE)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def map(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `procession map`, on two workers."""
        return self.run("map", "-j", "2", *arguments, **options)

    def records(self, *arguments: str, **options: Any) -> list[dict[str, Any]]:
        """Return the JSON lines that `procession map --output -` writes."""
        return lines_of(self.map(*arguments, "--output", "-", **options).stdout)

    def processes(self) -> list[psutil.Process]:
        """Return every living process of this folder's runs: the environment is inherited, whatever else is cut."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("PROCESSION_TEST_MARK") == self.mark:
                    found.append(process)
            except psutil.Error:  # gone meanwhile, a zombie, or another user's
                continue
        return found

    def left_over(self) -> list[psutil.Process]:
        """Return what still lives of this folder's runs, after a moment to end in."""
        _gone, alive = psutil.wait_procs(self.processes(), timeout=5)
        return alive


def lines_of(text: str) -> list[dict[str, Any]]:
    """Return the objects of JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[CommandLine]:
    """The command line in an empty folder; a test that leaves a process behind fails."""
    command_line = CommandLine(tmp_path)
    yield command_line
    left = command_line.left_over()
    for process in left:
        process.kill()
    assert not left, f"the command left processes behind: {left}"


@pytest.fixture
def refused(cli: CommandLine) -> Callable[..., str]:
    """Run a command that cannot be carried out: exit code 2, and the one line on standard error is returned."""

    def run(*arguments: str, **options: Any) -> str:
        finished = cli.run("map", *arguments, **options)
        lines = finished.stderr.splitlines()
        assert (finished.returncode, finished.stdout, len(lines)) == (2, "", 1), finished
        assert lines[0].startswith("procession map: ")
        return lines[0].removeprefix("procession map: ")

    return run
