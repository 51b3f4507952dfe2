"""The interpreters: where they are, the virtual environment of each, and what each has of CPython's tests.

They are found as ``.ci/run`` finds them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SUPPORTED = ("3.10", "3.11", "3.12", "3.13")
ROOT = Path(__file__).resolve().parents[2]

_DESCRIBE = """
import importlib.util, json, platform, sys, sysconfig
tests = importlib.util.find_spec("test")
places = list(tests.submodule_search_locations) if tests else []
found = {"version": platform.python_version(), "tests": places[:1], "packages": sysconfig.get_path("purelib")}
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python in a virtual environment with Procession in it."""

    executable: Path
    version: str
    tests: Path | None
    """CPython's `test` package, if it is installed."""
    packages: Path
    """The site-packages of the virtual environment."""

    @property
    def minor(self) -> str:
        """The version as in "3.12"."""
        return self.version.rsplit(".", 1)[0]

    def missing(self, source: str) -> str | None:
        """Why the source of a suite is not there, or None."""
        if self.tests is None:
            return "no `test` package"
        if (self.tests / source).exists() or (self.tests / f"{source}.py").exists():
            return None
        return f"no `test.{source.removesuffix('.py')}`"


def describe(executable: Path | str) -> Interpreter:
    """Ask an interpreter what it is and has.  On failure: ``CalledProcessError``."""
    answer = subprocess.run([executable, "-I", "-c", _DESCRIBE], check=True, capture_output=True, text=True)
    found = json.loads(answer.stdout)
    tests = [Path(place) for place in found["tests"] if (Path(place) / "support").is_dir()]
    return Interpreter(Path(executable), found["version"], tests[0] if tests else None, Path(found["packages"]))


def find_python(minor: str) -> Path | None:
    """The path of an interpreter of a version such as "3.12", or None.

    Each candidate is asked to run: a pyenv shim is on PATH for every installed version, and fails for those that are
    not the selected one.
    """
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [Path("python3"), Path("python"), Path(f"python{minor}")]
    candidates += sorted(root.glob(f"versions/{minor}.*/bin/python"))
    for candidate in candidates:
        path = shutil.which(candidate)
        if path is None:
            continue
        code = 'import sys; print("%d.%d" % sys.version_info[:2], sys.executable)'
        answer = subprocess.run([path, "-c", code], capture_output=True, text=True)
        if answer.returncode == 0 and answer.stdout.startswith(f"{minor} "):
            return Path(answer.stdout.split(" ", 1)[1].strip())
    return None


def prepare(minor: str) -> Interpreter | None:
    """The interpreter of a version in the virtual environment of ``make test``, made if need be; or None.

    On failure: ``CalledProcessError``.
    """
    python = find_python(minor)
    if python is None:
        return None
    default = shutil.which("python3") or shutil.which("python")
    is_default = default is not None and describe(default).minor == minor
    folder = ".venv" if is_default else f".venv-{minor}"
    make = ["make", "--no-print-directory", f"{folder}/.installed-test", f"PYTHON={python}", f"VENV={folder}"]
    subprocess.run(make, cwd=ROOT, check=True)
    return describe(ROOT / folder / "bin" / "python")
