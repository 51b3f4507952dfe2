"""Scripts on a terminal, and what a person sees there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.scripts import ROOT, kill_tree

_SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


@dataclass(frozen=True)
class Shown:
    """All that a script has written to its terminal, and its exit code."""

    text: str
    code: int
    columns: int

    def rows(self, upto: str | None = None) -> list[str]:
        """The screen at the end, or just after the last time that `upto` was written; the cursor's row is the last."""
        text = self.text if upto is None else self.text[: self.text.rindex(upto) + len(upto)]
        return rows_of(text, self.columns)


def rows_of(text: str, columns: int) -> list[str]:
    """Return what stands on a terminal of so many columns, without blanks at the ends, and without end."""
    grid: dict[tuple[int, int], str] = {}
    row = column = at = 0
    while at < len(text):
        moved = _SEQUENCE.match(text, at)
        if moved is not None:
            if moved[2] == "A":
                row -= int(moved[1] or 1)
            at = moved.end()
            continue
        char = text[at]
        at += 1
        if char == "\r":
            column = 0
        elif char == "\n":
            row += 1
        else:
            if column == columns:
                row, column = row + 1, 0
            grid[row, column] = char
            column += 1
    last = max(row, max((place[0] for place in grid), default=0))
    return ["".join(grid.get((at, x), " ") for x in range(columns)).rstrip() for at in range(last + 1)]


def run_on_terminal(
    script: str,
    folder: Path,
    *,
    columns: int = 80,
    interrupt: str | None = None,
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
    output: int | None = None,
) -> Shown:
    """Run a script with its errors, and its output if that has nowhere else to go, on a terminal of a size.

    `interrupt` is a text after which Ctrl-C is pressed.
    """
    ours, theirs = pty.openpty()
    process = None
    try:
        with os.fdopen(theirs, "wb", buffering=0) as terminal:
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
            (folder / "script.py").write_text(textwrap.dedent(script))
            path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
            process = subprocess.Popen(
                [sys.executable, "script.py"],
                stdin=subprocess.DEVNULL,
                stdout=terminal if output is None else output,
                stderr=terminal,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1", **(env or {})},
                start_new_session=True,
            )
        text = _watch(ours, process, interrupt, time.monotonic() + timeout)
        return Shown(text, process.wait(timeout), columns or 80)
    finally:
        os.close(ours)
        if process is not None and process.poll() is None:
            kill_tree(process.pid)
            process.wait()


def _watch(ours: int, process: subprocess.Popen[bytes], interrupt: str | None, deadline: float) -> str:
    shown = b""
    while True:
        ready, _, _ = select.select([ours], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError(f"the terminal shows {shown.decode(errors='replace')!r}")
        block = b""
        with contextlib.suppress(OSError):  # EIO: the last process on the other side is gone
            block = os.read(ours, 65536)
        if not block:
            return shown.decode(errors="replace").replace("\r\n", "\n").replace("\n", "\r\n")
        shown += block
        if interrupt is not None and interrupt in shown.decode(errors="replace"):
            interrupt = None
            os.killpg(process.pid, signal.SIGINT)
