"""Makes a package from the ``test`` package of an interpreter: its tests, with the names of their subject replaced.

The package is in a folder of its own, and a ``.pth`` file in the site-packages of the interpreter names that folder:
CPython's tests start scripts by ``python -I``, for which neither PYTHONPATH nor the working directory counts.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .interpreters import Interpreter
from .suites import FUTURES, FUTURES_MODULES, MAIN_HANDLING, METHODS, MULTIPROCESSING, Suite

HERE = Path(__file__).parent
RECORDER = "recorder"

_WRAPPER = """\
import unittest
from {package}._test_multiprocessing import install_tests_in_module_dict
install_tests_in_module_dict(globals(), {method!r})
"""


@dataclass(frozen=True)
class Subject:
    """What is tested: the name that takes the place of `multiprocessing`, and the name of the generated package."""

    name: str
    package: str

    @property
    def is_standard(self) -> bool:
        """Whether this is the standard library, which is tested by the same machinery, for comparison."""
        return self.name == "multiprocessing"


PROCESSION = Subject("procession", "cpython_on_procession")
STANDARD = Subject("multiprocessing", "cpython_on_standard")


def rewrite(source: str, subject: Subject) -> str:
    """The source of a module of CPython's tests, about a subject, as a module of the generated package."""
    package = subject.package
    needs_adapter = "_repopulate_pool" in source or "futures.ProcessPoolExecutor" in source
    source = re.sub(
        r"\btest\.(_test_multiprocessing|mp_preload|mp_fork_bomb|test_concurrent_futures)\b",
        rf"{package}.\1",
        source,
    )
    # What the forkserver imports in advance: the package that CPython has the tests of forkserver in.
    source = re.sub(r"\btest\.test_multiprocessing_forkserver\b", package, source)
    if subject.is_standard:
        return source
    # Of a pool's warning both say "multiprocessing pool".
    source = re.sub(r"\bmultiprocessing\b(?! pool')", subject.name, source)
    source = source.replace(
        "from concurrent.futures import {executor_type}", f"from {package}.adapter import {{executor_type}}"
    )
    source = re.sub(r"\bfutures\.ProcessPoolExecutor\b", "adapter.ProcessPoolExecutor", source)
    # The first line, whatever it is: line numbers stay what they are in CPython.
    return f"from {package} import adapter; {source}" if needs_adapter else source


def modules_of(suite: Suite, method: str, subject: Subject, interpreter: Interpreter) -> list[str]:
    """The modules of the generated package that have the tests of a suite for a start method."""
    if suite.source == MULTIPROCESSING:
        return [f"{subject.package}.test_{method}"]
    if suite.source == MAIN_HANDLING:
        return [f"{subject.package}.{MAIN_HANDLING.removesuffix('.py')}"]
    assert interpreter.tests is not None
    folder = interpreter.tests / FUTURES
    if not folder.is_dir():
        return [f"{subject.package}.{FUTURES}"]
    return [f"{subject.package}.{FUTURES}.{name}" for name in FUTURES_MODULES if (folder / f"{name}.py").exists()]


@contextlib.contextmanager
def generated(interpreter: Interpreter, subject: Subject) -> Iterator[Path]:
    """Have the package of a subject importable by an interpreter; give the folder it is in, to run it there."""
    folder = Path(tempfile.mkdtemp(prefix="procession-conformance-"))
    # Two runs at the same time must not see each other's packages.
    pointer = interpreter.packages / f"{folder.name}.pth"
    try:
        package = folder / subject.package
        package.mkdir()
        _fill(package, interpreter, subject)
        pointer.write_text(f"{folder}\n")
        yield folder
    finally:
        pointer.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _fill(package: Path, interpreter: Interpreter, subject: Subject) -> None:
    """Write the modules of the package: CPython's that are there, the wrappers, the recorder, and the adapter."""
    assert interpreter.tests is not None
    (package / "__init__.py").write_text("")
    for name in (RECORDER, "adapter"):
        if name == RECORDER or not subject.is_standard:
            shutil.copyfile(HERE / f"{name}.py", package / f"{name}.py")
    for method in METHODS:
        wrapper = _WRAPPER.format(package=subject.package, method=method)
        (package / f"test_{method}.py").write_text(wrapper)
    names = [MULTIPROCESSING, MAIN_HANDLING, "mp_fork_bomb.py", "mp_preload.py", f"{FUTURES}.py"]
    futures = interpreter.tests / FUTURES
    if futures.is_dir():
        (package / FUTURES).mkdir()
        names += [os.path.join(FUTURES, path.name) for path in futures.glob("*.py")]
    for name in names:
        source = interpreter.tests / name
        if source.exists():
            (package / name).write_text(rewrite(source.read_text(encoding="utf-8"), subject), encoding="utf-8")
