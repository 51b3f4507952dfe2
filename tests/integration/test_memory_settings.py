"""The memory behind arrays may be of another kind: chosen by PROCESSION_MEMORY, or scarce in /dev/shm."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.helpers.scripts import ROOT, Completed

pytestmark = pytest.mark.thorough

SETTINGS = {"memfd": "/memfd:", "shm": "/dev/shm/", "file": "{folder}/"}
METHODS = ("forkserver", "spawn", "fork")
settings = pytest.mark.parametrize("setting", SETTINGS)
methods = pytest.mark.parametrize("method", METHODS)

WORK = """
import os, sys
import numpy as np
import procession

method, mapped = sys.argv[1:]
context = procession.get_context(method)
folder = os.environ["TMPDIR"]

def where():
    with open("/proc/self/maps") as maps:
        kinds = {"/memfd:": 0, "/dev/shm/": 0, folder + "/": 0}
        for line in maps:
            for kind in kinds:
                kinds[kind] += kind + "procession" in line
        return sorted(kind for kind, count in kinds.items() if count)

def double(array):
    array *= 2
    return array

def write(array, handle):
    array += 1
    handle.value["a"][...] += 1

def fail(array):
    raise ValueError(array)

items = [np.full(100_000, float(n)) for n in range(30)]
with context.Pool(2) as pool:
    kept = pool.map(double, items)
    kept += pool.imap(double, items, 4)
    kept += [task.result() for task in [pool.submit(double, item) for item in items]]
    shared = procession.shared_array(100_000)
    handle = procession.share({"a": np.zeros(100_000)})
    pool.apply(write, (shared[:50_000], handle))
    try:
        pool.apply(fail, (items[5],))
    except ValueError as error:
        print("error", error.args[0][-1])
    inside = pool.apply(where)
process = context.Process(target=write, args=(shared[50_000:], handle))
process.start()
process.join()
process = context.Process(target=fail, args=(items[7],))
sys.stderr = open(os.devnull, "w")
process.start()
process.join()
print("exception", process.exception.args[0][-1])
print("values", all((k == 2 * float(n % 30)).all() for n, k in enumerate(kept)), len(kept))
print("shared", shared.min(), shared.max(), handle.value["a"].min())
print("names", os.listdir(folder), [name for name in os.listdir("/dev/shm") if "procession" in name])
print("mapped", where() == [mapped], inside == [mapped])
"""
EXPECTED = [
    "error 5.0",
    "exception 7.0",
    "values True 90",
    "shared 1.0 1.0 2.0",
    "names [] []",
    "mapped True True",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder for temporary files, empty."""
    made = tmp_path / "temporary"
    made.mkdir()
    return made


@settings
@methods
def test_every_kind_of_memory_does_the_same(
    script: Callable[..., Completed], folder: Path, setting: str, method: str
) -> None:
    """With each setting arrays, kept results, errors, shared memory and Processes work, and nothing is left."""
    mapped = SETTINGS[setting].format(folder=folder)
    run = script(WORK, args=(method, mapped), env={"PROCESSION_MEMORY": setting, "TMPDIR": str(folder)})
    assert run.check().lines == EXPECTED
    assert os.listdir(folder) == []


@methods
def test_memfd_is_the_default(script: Callable[..., Completed], folder: Path, method: str) -> None:
    """Without the setting neither /dev/shm nor the temporary folder is used."""
    run = script(WORK, args=(method, "/memfd:"), env={"TMPDIR": str(folder)})
    assert run.check().lines == EXPECTED


# ------------------------------------------------------------------------------------------------------ tiny /dev/shm

TINY = "mount -t tmpfs -o size=64k tmpfs /dev/shm"
SCARCE = """
import os
import numpy as np
import procession
from tests.helpers import tasks

assert os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize == 64 * 1024
with procession.Pool(2) as pool:
    for n in range(5):
        try:
            print("map", pool.map(tasks.double, [np.ones(1_000_000)] * 4)[3][-1])
        except MemoryError as error:
            print("MemoryError")
    print("small", pool.map(tasks.double, range(3)))
"""


def _run_with_tiny_shm(
    text: str, folder: Path, args: list[str], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script in a mount namespace of its own, whose /dev/shm holds 64 kB; skip where that is not permitted."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    for options in (["-m"], ["-Urm"]):
        probe = subprocess.run(["unshare", *options, "sh", "-c", TINY], capture_output=True, text=True)
        if probe.returncode == 0:
            break
    else:
        pytest.skip(f"no mount namespace is permitted here: {probe.stderr.strip()}")
    path = folder.parent / "script.py"
    path.write_text(textwrap.dedent(text))
    command = ["unshare", *options, "sh", "-c", f'{TINY} && exec "$@"', "sh", sys.executable, str(path), *args]
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    variables = {**os.environ, "PYTHONPATH": search, "TMPDIR": str(folder), **environment}
    return subprocess.run(command, capture_output=True, text=True, env=variables, cwd=folder.parent, timeout=60)


@methods
@pytest.mark.parametrize("setting", ["memfd", "file"])
def test_no_dev_shm_is_needed(folder: Path, setting: str, method: str) -> None:
    """With 64 kB of /dev/shm, as in some containers, everything works, in each way that does not need it."""
    mapped = SETTINGS[setting].format(folder=folder)
    run = _run_with_tiny_shm(WORK, folder, [method, mapped], PROCESSION_MEMORY=setting)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == EXPECTED


def test_a_full_dev_shm_is_a_memory_error(folder: Path) -> None:
    """Where /dev/shm is asked for and too small, the call raises MemoryError, nobody dies, and the pool goes on."""
    run = _run_with_tiny_shm(SCARCE, folder, [], PROCESSION_MEMORY="shm")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["MemoryError"] * 5 + ["small [0, 2, 4]"]
