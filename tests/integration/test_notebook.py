"""Procession in a notebook, run by a real kernel: functions of cells, prints in the cell, edited cells."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers.scripts import Completed

Execute = Callable[..., list[str]]


@pytest.fixture
def execute(tmp_path: Path, script: Callable[..., Completed]) -> Execute:
    """Give a function that runs cells in a fresh kernel, which must leave nothing, and returns what each shows."""
    folders = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    env = {folder: str(tmp_path / folder.lower()) for folder in folders}
    env |= {"JUPYTER_PLATFORM_DIRS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}

    def run(*cells: str) -> list[str]:
        path = tmp_path / "cells.json"
        path.write_text(json.dumps([textwrap.dedent(cell).strip() for cell in cells]))
        start = "import runpy; runpy.run_module('tests.helpers.notebook', run_name='__main__', alter_sys=True)"
        script(start, args=[str(path)], env=env, timeout=100).check()
        shown: list[str] = json.loads(path.read_text())
        return shown

    return run


def test_functions_of_cells_run_in_workers(execute: Execute) -> None:
    """Functions, lambdas and classes of cells are mapped as they are, and instances come back as the cell's class."""
    shown = execute(
        """
        import os
        import procession
        """,
        """
        class Thing:
            def __init__(self, x):
                self.x = x

        def make(x):
            return Thing(x), os.getpid()
        """,
        """
        made = procession.map(make, range(4))
        [t.x for t, _ in made], all(type(t) is Thing for t, _ in made), os.getpid() in {pid for _, pid in made}
        """,
        "procession.map(lambda x: x + 1, range(3))",
        """
        with procession.Pool(2) as pool:
            print(pool.map(lambda t: t.x * 2, [Thing(1), Thing(2)]))
        """,
    )
    assert shown[2:] == ["([0, 1, 2, 3], True, False)", "[1, 2, 3]", "[2, 4]"]


def test_an_edited_cell_is_seen_by_the_next_call(execute: Execute) -> None:
    """When a function, or one that it calls, or a global is defined anew, the same pool runs the new one."""
    shown = execute(
        """
        import procession
        pool = procession.Pool(1)
        unit = 1
        def helper(x):
            return x + unit
        def task(x):
            return helper(x)
        pool.map(task, range(3))
        """,
        """
        def helper(x):
            return x + 10 * unit
        pool.map(task, range(3))
        """,
        """
        unit = 2
        pool.map(task, range(3))
        """,
        """
        def task(x):
            return "edited", x
        pool.map(task, range(2))
        """,
        """
        pool.close()
        pool.join()
        """,
    )
    assert shown[:4] == ["[1, 2, 3]", "[10, 11, 12]", "[20, 21, 22]", "[('edited', 0), ('edited', 1)]"]


def test_an_edited_class_is_seen_by_the_next_call(execute: Execute) -> None:
    """Instances are of the class as it is now, after its cell was run again."""
    shown = execute(
        """
        import procession
        pool = procession.Pool(1)
        class Thing:
            version = 1
        pool.apply(lambda: Thing()).version
        """,
        """
        class Thing:
            version = 2
        thing = pool.apply(lambda: Thing())
        thing.version, type(thing) is Thing
        """,
        "pool.terminate()",
    )
    assert shown[:2] == ["1", "(2, True)"]


def test_prints_of_workers_appear_in_the_cell(execute: Execute) -> None:
    """What a worker prints is shown in the output of the cell that runs the call."""
    shown = execute(
        """
        import procession
        def talk(x):
            print("worker says", x)
            return x
        """,
        "procession.map(talk, range(3));",
        "print('only this')",
    )
    assert sorted(shown[1].splitlines()) == ["worker says 0", "worker says 1", "worker says 2"]
    assert shown[2] == "only this"


def test_the_kernel_goes_on_after_an_error(execute: Execute) -> None:
    """An error of a task is the cell's own class, and later cells work."""
    shown = execute(
        """
        import procession
        class Oops(Exception):
            pass
        def fail(x):
            raise Oops(x)
        try:
            procession.map(fail, [1])
        except Oops as error:
            print("caught", error)
        """,
        "procession.map(lambda x: x, [1, 2])",
    )
    assert shown == ["caught 1", "[1, 2]"]


def test_a_task_can_be_awaited_in_a_cell(execute: Execute) -> None:
    """`await` at the top of a cell works on a task, though the kernel's loop is running."""
    shown = execute(
        """
        import procession
        pool = procession.Pool(1)
        """,
        "await pool.submit(lambda x: x + 1, 4)",
        "pool.terminate()",
    )
    assert shown[1] == "5"


def test_the_bar_is_a_widget_where_there_are_widgets(execute: Execute) -> None:
    """It ends full, and with the counts beside it."""
    pytest.importorskip("ipywidgets")
    *_cells, shown = execute(
        """
        import procession

        def check(item):
            if item == 3:
                raise ValueError(item)
            return item
        """,
        """
        with procession.Pool(2) as pool:
            found = pool.map(check, range(40), progress="a run", on_error="return")
        """,
        """
        from ipywidgets.widgets.widget import _instances
        widgets = list(_instances.values())
        bars = [(each.value, each.max) for each in widgets if type(each).__name__ == "FloatProgress"]
        texts = " ".join(each.value for each in widgets if type(each).__name__ == "HTML")
        texts = " ".join(texts.split())  # tqdm has spaces of its own there
        print(bars, "a run: 100%" in texts, "40/40" in texts, "1 failed" in texts)
        """,
    )
    assert shown == "[(40.0, 40.0)] True True True"
