"""Run a client's own tests on our backend and on joblib's, and tell which fail with ours alone.

    python -m tests.clients_suites.run [joblib] [sklearn] [-k EXPRESSION]

The tests are those of the installed packages; nothing of them is kept here.  joblib's name their backends, so they
run from a temporary copy in which "loky" is replaced by ours.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[2]

SKLEARN = (
    "model_selection/tests/test_search.py",
    "model_selection/tests/test_validation.py",
    "ensemble/tests/test_forest.py",
    "ensemble/tests/test_voting.py",
)

#: Tests that ask for what loky does and we do not, and why.
INTENDED = {
    "test_nested_parallel_warnings": "pools within daemons and threads work, so nobody is warned",
    "test_multiple_generator_call_separated_gc": "a generator that is dropped does not end the workers of others",
    "test_memmapping_leaks": "there are no memory maps",
    "test_auto_memmap_on_arrays_from_generator": "there are no memory maps",
    "test_error_capture": "an error does not end the workers",
    "test_parallel_pickling": "the error has another text",
    "test_parallel_with_interactively_defined_bound_method_loky": "the log of its subprocess shall name LokyProcess",
    "test_learning_curve_params": "of two errors either may come first, with loky as well in a fifth of all calls",
    "test_globals_update_at_each_parallel_call": (
        "a function within a function has the globals of its module as the worker imports it, not the caller's"
    ),
}

# A test's own subprocess does not know our backend; this stands on its path.
_SITE = """
try:
    import tests.clients_suites.backend
except ImportError:
    pass
"""


# Its last import of names, and what goes before that: where it asks whether a backend is loky's, ours will do.
_IMPORT = "from joblib.parallel import (\n"
_OURS = "from procession.integrations.joblib import ProcessionBackend as LokyBackend\n"


def main() -> int:
    """Run what was asked for; return how many tests fail with ours alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help="joblib, sklearn; both if none is given")
    parser.add_argument("-k", default="", help="as pytest's", metavar="EXPRESSION")
    chosen = parser.parse_args()
    alone = 0
    for suite in chosen.suites or ["joblib", "sklearn"]:
        ours, theirs = (run_suite(suite, backend, chosen.k) for backend in ("procession", "loky"))
        alone += report(suite, ours, theirs)
    return min(alone, 100)


def run_suite(suite: str, backend: str, expression: str) -> dict[str, str]:
    """Run a suite; return the state of every test."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "PROCESSION_SUITE_BACKEND": backend,
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        }
        package = _folder_of(suite)
        if suite == "joblib":
            text = (package / "test" / "test_parallel.py").read_text()
            paths = [str(Path(folder) / "test_parallel_adapted.py")]
            if backend == "procession":
                text = text.replace('"loky"', '"procession"').replace(_IMPORT, _OURS + _IMPORT)
                (Path(folder) / "sitecustomize.py").write_text(_SITE)
            Path(paths[0]).write_text(text)
            options = ["--rootdir", folder, "--timeout", "60", "-W", "ignore::pytest.PytestUnknownMarkWarning"]
        else:
            environment["PROCESSION_SUITE_JOBS"] = "2"
            paths = [str(package / path) for path in SKLEARN]
            options = ["--rootdir", str(package), "--timeout", "300"]
        results = Path(folder) / "results.xml"
        command = [
            *(sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "tests.clients_suites.backend"),
            *("-c", os.devnull, "-p", "no:cacheprovider", "--tb=short", f"--junitxml={results}"),
            *options,
            *(["-k", expression] if expression else []),
            *paths,
        ]
        print(f"== {suite} on {backend}", flush=True)
        subprocess.run(command, env=environment, cwd=folder, check=False)
        return _read_results(results)


def report(suite: str, ours: dict[str, str], theirs: dict[str, str]) -> int:
    """Compare two runs; return how many tests fail with ours alone, apart from what is intended."""
    failed = sorted(name for name, state in ours.items() if state == "failed")
    known = {name for name, state in theirs.items() if state == "failed"}
    alone = [name for name in failed if name.replace("procession", "loky") not in known]
    intended = [name for name in alone if name.partition("[")[0] in INTENDED]
    print(f"== {suite}: {_counts(ours)} on procession; {_counts(theirs)} on loky")
    for name in alone:
        why = INTENDED.get(name.partition("[")[0], "")
        print(f"   fails on procession alone: {name}{f' (intended: {why})' if why else ''}")
    return len(alone) - len(intended)


def _counts(states: dict[str, str]) -> str:
    return ", ".join(f"{list(states.values()).count(each)} {each}" for each in ("passed", "failed", "skipped"))


def _folder_of(package: str) -> Path:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise SystemExit(f"{package} is not installed")
    return Path(found.origin).parent


def _read_results(path: Path) -> dict[str, str]:
    states = {}
    for case in ET.parse(path).iter("testcase"):
        kinds = {child.tag for child in case}
        state = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        states[case.get("name", "?")] = state
    return states


if __name__ == "__main__":
    sys.exit(main())
