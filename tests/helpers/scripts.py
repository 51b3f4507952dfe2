"""Scripts in a fresh interpreter, fed in each way in which people feed one: a file, `-c`, standard input, the prompt.

A run has a deadline, after which its whole tree is killed; what it left alive after its own end is reported and killed.
"""

from __future__ import annotations

import ast
import contextlib
import enum
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import termios
import textwrap
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.helpers.eventually import eventually
from tests.helpers.leaks import MARK, kill_all, marked_processes

SECONDS_TO_GO = 1.0  # of the tree of a killed parent, as promised
ROOT = Path(__file__).resolve().parents[2]
GRACE = 3.0  # seconds in which what a script started must be gone once it has ended; the promise is one
PROMPT = re.compile(rb">>> |\.\.\. ")


class Via(enum.Enum):
    """How the interpreter gets the script."""

    FILE = "file"
    COMMAND = "-c"
    STDIN = "stdin"
    REPL = "repl"


@dataclass(frozen=True)
class Completed:
    """What a run gave; `code` is None if it was killed at its deadline, `left` the processes that outlived it."""

    stdout: str
    stderr: str
    code: int | None
    left: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """Standard output, by lines."""
        return self.stdout.splitlines()

    def check(self) -> Completed:
        """Assert that the script ended by itself with code 0 and left nothing, and return self."""
        assert self.code == 0, f"exit code {self.code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        assert not self.left, f"left behind: {self.left}"
        return self


def run_script(
    text: str,
    via: Via = Via.FILE,
    *,
    folder: Path,
    args: Sequence[str] = (),
    timeout: float = 60,
    env: dict[str, str] | None = None,
    send: signal.Signals | None = None,
    when: str | None = None,
) -> Completed:
    """Run the script in `folder` and wait for its end.

    `send` is a signal that the script gets once a line of its output equals `when` (not at the REPL).
    """
    text = textwrap.dedent(text).lstrip("\n")
    mark = uuid.uuid4().hex
    environment = _environment(folder, mark, env or {})
    if via is Via.REPL:
        stdout, stderr, code = _run_at_prompt(text, folder, environment, timeout)
    else:
        stdout, stderr, code = _run(text, via, folder, list(args), environment, timeout, send, when)
    return Completed(stdout, stderr, code, tuple(_clear(mark)))


def run_main(definitions: str, body: str, folder: Path) -> Completed:
    """Run a script with `body` as its guarded main part behind `definitions`, and check that it ended well."""
    main = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    return run_script(f"{definitions}\nif __name__ == '__main__':\n{main}\n", folder=folder, timeout=30).check()


def _environment(folder: Path, mark: str, extra: dict[str, str]) -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    # HOME: the prompt writes its history there. TERM and BASIC_REPL: no escape codes between the lines.
    prompt = {"HOME": str(folder), "TERM": "dumb", "PYTHON_BASIC_REPL": "1", "NO_COLOR": "1"}
    return {**os.environ, **prompt, "PYTHONPATH": path, MARK: mark, **extra}


def _command(text: str, via: Via, folder: Path, args: list[str]) -> list[str]:
    if via is Via.COMMAND:
        return [sys.executable, "-c", text, *args]
    if via is Via.STDIN:
        return [sys.executable, "-", *args]
    script = folder / "script.py"
    script.write_text(text)
    return [sys.executable, str(script), *args]


def _run(
    text: str,
    via: Via,
    folder: Path,
    args: list[str],
    environment: dict[str, str],
    timeout: float,
    send: signal.Signals | None,
    when: str | None,
) -> tuple[str, str, int | None]:
    # Files, not pipes: a pipe ends only with the last process that holds it, which would hide what was left behind.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as source:
        if via is Via.STDIN:
            source.write(text.encode())
            source.seek(0)
        process = subprocess.Popen(
            _command(text, via, folder, args),
            stdin=source,
            stdout=out,
            stderr=err,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        deadline = time.monotonic() + timeout
        if send is not None:
            _send_when(process, send, when, out.fileno(), deadline)
        code = _wait(process, deadline - time.monotonic())
        return _contents(out.fileno()), _contents(err.fileno()), code


def _send_when(
    process: subprocess.Popen[bytes], number: signal.Signals, when: str | None, out: int, deadline: float
) -> None:
    while when is not None and when not in _contents(out).splitlines():
        if process.poll() is not None or time.monotonic() > deadline:
            return
        time.sleep(0.01)
    process.send_signal(number)


def _contents(descriptor: int) -> str:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")


def _wait(process: subprocess.Popen[bytes], timeout: float) -> int | None:
    """Return the exit code, or None after the whole tree has been killed."""
    try:
        return process.wait(max(timeout, 0))
    except subprocess.TimeoutExpired:
        kill_tree(process.pid)
        process.wait()
        return None


def kill_tree(pid: int) -> None:
    """Kill a process and all its descendants."""
    try:
        root = psutil.Process(pid)
        tree = [*root.children(recursive=True), root]
    except psutil.Error:
        return
    for member in tree:
        with contextlib.suppress(psutil.Error):
            member.kill()


def _clear(mark: str) -> Iterator[str]:
    """Wait for the rest of a run to end, then name and kill what has not."""
    end = time.monotonic() + GRACE
    left = marked_processes(mark)
    while left and time.monotonic() < end:
        time.sleep(0.01)
        left = marked_processes(mark)
    for pid in left:
        with contextlib.suppress(psutil.Error):
            yield f"{pid}: {' '.join(psutil.Process(pid).cmdline())[:200]}"
    kill_all(left)


# ---------------------------------------------------------------------------------------------------- the prompt


def _run_at_prompt(text: str, folder: Path, environment: dict[str, str], timeout: float) -> tuple[str, str, int | None]:
    """Type the script at the prompt, a line when it asks for one; what it shows, less the prompts, is the output."""
    ours, theirs = pty.openpty()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, ours)
        try:
            _no_echo(theirs)
            process = subprocess.Popen(
                [sys.executable, "-q", "-i"],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        deadline = time.monotonic() + timeout
        shown = _converse(ours, process, [*typed(text), "raise SystemExit"], deadline)
        late = time.monotonic() > deadline  # then it has been killed
        code = _wait(process, deadline - time.monotonic())
    return shown, "", None if late else code


def typed(text: str) -> list[str]:
    """Return the lines as a person types them: no blank line inside a statement, one after each compound statement."""
    lines = text.splitlines()
    result = []
    for statement in ast.parse(text).body:
        decorators = getattr(statement, "decorator_list", [])
        first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
        block = [line for line in lines[first - 1 : statement.end_lineno] if line.strip()]
        result += block
        if hasattr(statement, "body"):
            result.append("")
    return result


def _no_echo(descriptor: int) -> None:
    modes = termios.tcgetattr(descriptor)
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSANOW, modes)


def _converse(ours: int, process: subprocess.Popen[bytes], lines: list[str], deadline: float) -> str:
    shown = b""
    sent = 0
    while (part := _read(ours, deadline)) is not None:
        shown += part
        # Prompts are counted, not looked for at the end: what a child prints may come between a prompt and our look.
        if len(PROMPT.findall(shown)) > sent and sent < len(lines):
            os.write(ours, lines[sent].encode() + b"\n")
            sent += 1
    if time.monotonic() > deadline:
        kill_tree(process.pid)
    return PROMPT.sub(b"", shown).decode(errors="replace").replace("\r\n", "\n")


def _read(descriptor: int, deadline: float) -> bytes | None:
    """Return what the terminal shows next, or None at its end or at the deadline."""
    ready, _, _ = select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))
    if not ready:
        return None
    try:
        return os.read(descriptor, 65536) or None
    except OSError:  # EIO: the last process on the other side is gone
        return None


def kill_and_see_all_go(parent: subprocess.Popen[bytes], mark: str) -> None:
    """Kill a script that has said "ready": all that has its `mark`, zygote and workers, goes within a second."""
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        assert len(marked_processes(mark)) >= 3
        parent.kill()
        eventually(lambda: not marked_processes(mark) - {parent.pid}, SECONDS_TO_GO)
    finally:
        kill_all(marked_processes(mark))
