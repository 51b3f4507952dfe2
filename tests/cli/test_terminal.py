"""`procession map` at a terminal: the bar, and Ctrl-C."""

from __future__ import annotations

import os
import signal

from .conftest import DEADLINE, CommandLine, lines_of


def _read_all(descriptor: int) -> str:
    """Return all that a terminal shows, up to when its last writer has gone."""
    shown = b""
    while True:
        try:
            block = os.read(descriptor, 4096)
        except OSError:  # EIO: how Linux says that the other side of a terminal is closed
            break
        if not block:
            break
        shown += block
    return shown.decode()


def _on_terminal(cli: CommandLine, *arguments: str) -> tuple[int, str]:
    """Run the command with standard error on a terminal; returns its exit code and what the terminal shows."""
    parent, terminal = os.openpty()
    process = cli.start(*arguments, stderr=terminal)
    os.close(terminal)
    try:
        shown = _read_all(parent)
    finally:
        os.close(parent)
    process.communicate(timeout=DEADLINE)
    return process.returncode, shown


def test_a_bar_on_a_terminal(cli: CommandLine) -> None:
    """On a terminal a bar moves to the full count, and the summary is below it."""
    status, shown = _on_terminal(cli, "map", "targets.py:upper", *"abcde")
    assert status == 0
    assert "0/5" in shown
    assert "5/5" in shown
    assert "100%" in shown
    assert "5 done, in " in shown.splitlines()[-1]


def test_the_bar_knows_the_number_of_lines_of_a_file(cli: CommandLine) -> None:
    """With --from FILE the bar has a total: the lines are counted first."""
    (cli.folder / "list").write_text("a\nb\nc")
    status, shown = _on_terminal(cli, "map", "targets.py:upper", "--from", "list")
    assert status == 0
    assert "3/3" in shown


def test_the_bar_counts_failures(cli: CommandLine) -> None:
    """The bar says how many items have failed; they are listed below it."""
    status, shown = _on_terminal(cli, "map", "targets.py:picky", "a", "bad")
    assert status == 1
    assert "1 failed" in shown
    assert "  bad: ValueError: bad is bad" in shown


def test_no_bar_when_not_a_terminal(cli: CommandLine) -> None:
    """Into a file or a pipe no bar is written."""
    finished = cli.map("targets.py:upper", *"abcde")
    assert finished.returncode == 0
    assert "%" not in finished.stderr
    assert "\r" not in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


def _interrupt(cli: CommandLine, *arguments: str, done: int) -> tuple[int, str, str]:
    """Start a run of `gate`, press Ctrl-C when two of its items hang and `done` lines have been written.

    Returns the exit code, the output and the errors.
    """
    os.mkfifo(cli.folder / "begun")
    # For reading and writing: opening does not wait for a worker, and reading never meets an end of file.
    with os.fdopen(os.open(cli.folder / "begun", os.O_RDWR), "rb", buffering=0) as begun:
        process = cli.start("map", "targets.py:gate", *arguments, "-j2", "--chunksize=1")
        assert process.stdout is not None
        out = "".join(process.stdout.readline() for _ in range(done))
        for _ in range(2):
            assert begun.readline()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to the command and to every worker
        rest, err = process.communicate(timeout=DEADLINE)
    return process.returncode, out + rest, err


def test_ctrl_c_ends_with_130_and_no_worker_left(cli: CommandLine) -> None:
    """Ctrl-C while items hang ends the command with exit code 130, without a traceback and with no process left."""
    status, _out, err = _interrupt(cli, "hang1", "hang2", "after", done=0)
    assert status == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("0 done, interrupted after ")
    assert cli.left_over() == []


def test_ctrl_c_keeps_what_was_done(cli: CommandLine) -> None:
    """The lines of the items that were done before Ctrl-C are in the output, each of them whole."""
    status, out, err = _interrupt(cli, "a", "b", "hang1", "hang2", "--output=-", done=2)
    assert status == 130
    assert [line["item"] for line in lines_of(out)] == ["a", "b"]
    assert err.splitlines()[-1].startswith("2 done, interrupted after ")
