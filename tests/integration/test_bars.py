"""Bars on a terminal: what a person sees, during a run and after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.terminals import run_on_terminal

TALKER = """
    import logging
    import sys
    import time
    import procession
    from tests.helpers.watched import watched_imap, watched_map

    def talk(item):
        print("printed", item)
        if item == 3:
            print("to stderr", file=sys.stderr)
        if item == 5:
            logging.warning("logged %d", item)
        if item == 19:
            print("without end", end="", flush=True)
        return sys.stdout.isatty()

    def outer(item):
        return item

    def stream(_):
        return type(getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)).__name__

    def hang(item):
        time.sleep(item)

    if __name__ == "__main__":
        with procession.Pool(2) as pool:
            {run}
        pool.join()
        print("after")
"""


def _script(run: str) -> str:
    return TALKER.replace("{run}", run)


@pytest.mark.parametrize("columns", [60, 80])
def test_what_workers_print_is_above_the_bar(tmp_path: Path, columns: int) -> None:
    """Each in a line of its own, whole; below them one bar, at its end, and then what comes after it."""
    shown = run_on_terminal(
        _script("print(set(watched_map(pool, talk, range(20), progress='a run')))"), tmp_path, columns=columns
    )
    assert shown.code == 0, shown.text
    *above, bar, answer, after, cursor = shown.rows()
    expected = [*(f"printed {item}" for item in range(20)), "to stderr", "logged 5", "without end"]
    assert sorted(above) == sorted(expected)
    assert bar.startswith("a run: 100%|")
    assert "20/20 [" in bar
    assert (answer, after, cursor) == ("{True}", "after", "")


def test_a_bar_within_a_bar_leaves_nothing(tmp_path: Path) -> None:
    """Of nested maps the inner one takes the line below, and is gone when it is done."""
    run = (
        "for _ in watched_imap(pool, outer, range(4), progress='outer'):\n"
        "                list(watched_imap(pool, outer, range(3), progress='inner'))"
    )
    shown = run_on_terminal(_script(run), tmp_path)
    assert shown.code == 0, shown.text
    bar, after, cursor = shown.rows()
    assert bar.startswith("outer: 100%|")
    assert (after, cursor) == ("after", "")
    during = shown.rows("inner:   0%|")
    assert [each[:6] for each in during] == ["outer:", "inner:"]


def test_the_callers_own_bar(tmp_path: Path) -> None:
    """A bar of tqdm around a map keeps its line, with the output above both; and it is tqdm's own."""
    run = (
        "from tqdm import tqdm\n"
        "            for _ in tqdm(range(2), desc='mine'):\n"
        "                watched_map(pool, talk, range(2), progress='a run')"
    )
    shown = run_on_terminal(_script(run), tmp_path)
    assert shown.code == 0, shown.text
    *above, bar, after, _cursor = shown.rows()
    assert sorted(above) == ["printed 0", "printed 0", "printed 1", "printed 1"]
    assert bar.startswith("mine: 100%|")
    assert after == "after"


def test_ctrl_c_leaves_a_fresh_line(tmp_path: Path) -> None:
    """The last state stays, and what comes next begins in a line of its own."""
    shown = run_on_terminal(
        _script("watched_map(pool, hang, [0, 0, 1000, 1000], progress='a run')"), tmp_path, interrupt=" 2/4 ["
    )
    assert "KeyboardInterrupt" in shown.text
    bar, traceback, *_rest = shown.rows()
    assert bar.startswith("a run:  50%|")
    assert "2/4 [" in bar
    assert traceback.startswith("Traceback")


@pytest.mark.parametrize("number", [1, 2])
def test_a_terminal_of_unknown_size(tmp_path: Path, number: int) -> None:
    """A bar is drawn as for 80 columns, with warnings as errors, no thread of tqdm's and no lock of processes."""
    run = (
        f"watched_map(pool, outer, range({number}), progress=True)\n"
        "            from tqdm import std\n"
        "            print(std.tqdm.monitor, hasattr(std.tqdm, '_lock'), hasattr(std.TqdmDefaultWriteLock, 'mp_lock'))"
    )
    shown = run_on_terminal(_script(run), tmp_path, columns=0, env={"PYTHONWARNINGS": "error"})
    assert shown.code == 0, shown.text
    assert shown.rows()[0].startswith("outer: 100%|")
    assert shown.rows()[1:] == ["None False False", "after", ""]


def test_output_into_a_file_is_not_touched(tmp_path: Path) -> None:
    """With only the errors on the terminal, the bar is there, and the file has what was printed."""
    with (tmp_path / "out").open("wb") as out:
        shown = run_on_terminal(
            _script("watched_map(pool, talk, range(3), progress='a run')"), tmp_path, output=out.fileno()
        )
    assert shown.code == 0, shown.text
    assert sorted((tmp_path / "out").read_text().splitlines()) == ["after", "printed 0", "printed 1", "printed 2"]
    assert [each[:12] for each in shown.rows()] == ["a run: 100%|", ""]


def test_no_bar_in_a_log(tmp_path: Path) -> None:
    """Where the errors go to a file, a short run writes nothing there."""
    shown = run_on_terminal(
        _script("sys.stderr = open('err', 'w'); watched_map(pool, outer, range(3), progress='a run')"), tmp_path
    )
    assert shown.code == 0, shown.text
    assert (tmp_path / "err").read_text() == ""
    assert shown.rows() == ["after", ""]


def test_workers_write_by_themselves_again(tmp_path: Path) -> None:
    """When the last bar has gone, what workers print goes where it went before, with the next call."""
    run = "print(*watched_map(pool, stream, [0], progress='a run'))\n            print(*pool.map(stream, [0]))"
    shown = run_on_terminal(_script(run), tmp_path)
    assert shown.code == 0, shown.text
    assert shown.rows()[1:] == ["_Forward", "FileIO", "after", ""]
