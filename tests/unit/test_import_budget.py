"""What importing costs, as the modules that come with it: they can be counted, a time cannot be trusted."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "numpy", "cloudpickle", "click", "tqdm", "psutil", "asyncio", "multiprocessing.pool", "multiprocessing.managers",
    "concurrent.futures.process", "sqlite3", "threadpoolctl", "ctypes", "logging", "subprocess", "inspect",
)  # fmt: skip


def _loaded(code: str) -> set[str]:
    command = [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; {code}; print(*sys.modules)"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def _brought(code: str) -> set[str]:
    return _loaded(code) - _loaded("pass")


def test_the_package_brings_nothing_heavy() -> None:
    """`import procession` loads none of what only some uses need."""
    assert not _brought("import procession") & set(HEAVY)


def test_the_package_is_light() -> None:
    """`import procession` loads fewer modules than `import multiprocessing` does."""
    assert len(_brought("import procession")) < len(_brought("import multiprocessing"))


def test_a_pool_brings_no_more_than_the_standard_one() -> None:
    """Looking up `procession.Pool` loads four modules, besides our own, that the standard pools do without."""
    # dataclasses, which ours are written with, loads inspect; how many that loads differs from Python to Python.
    standard = _loaded("import multiprocessing.pool, concurrent.futures.process, dataclasses")
    more = {name for name in _loaded("import procession; procession.Pool") - standard if "procession" not in name}
    public = {name for name in more if not name.startswith("_") and not name.startswith("typing.")}
    assert public <= {"copy", "mmap", "resource", "typing"}


@pytest.mark.parametrize("module", ["procession.worker.main", "procession.worker.zygote"])
def test_a_worker_is_light(module: str) -> None:
    """The worker's side loads neither the engine, nor the faces, nor anything heavy."""
    loaded = _brought(f"import {module}")
    assert not loaded & (set(HEAVY) - {"inspect"})  # dataclasses imports it
    above = ("engine", "mapping", "backends", "launch", "pool", "process", "cli", "warm", "context")
    assert not [
        name
        for name in loaded
        if name.split(".")[:1] == ["procession"] and name.split(".")[1:2] and name.split(".")[1] in above
    ]
