"""The tools of docs/recipes.md see what runs in workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("coverage", minversion="7.10")

PROGRAM = """
import procession

def work(number):
    if number == 3:
        return "three"
    return number

def child():
    return 1

if __name__ == "__main__":
    with procession.ProcessPoolExecutor(2) as executor:
        assert list(executor.map(work, range(5))) == [0, 1, 2, "three", 4]
    pool = procession.Pool(1)
    pool.map(lambda number: -number, range(3))
    pool.close()
    pool.join()
    process = procession.Process(target=child)
    process.start()
    process.join()
"""


def test_coverage_sees_the_lines_of_workers(tmp_path: Path) -> None:
    """With the configuration that the page names: not one line is missed."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / ".coveragerc").write_text("[run]\nsource = .\nparallel = true\npatch = subprocess, _exit\n")

    def coverage(*arguments: str) -> str:
        command = [sys.executable, "-m", "coverage", *arguments]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stderr
        return run.stdout

    coverage("run", "program.py")
    coverage("combine")
    assert "100%" in coverage("report", "--show-missing")
