"""Imports run only downward, as DESIGN.md draws them; those inside of functions count too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import procession

ROOT = Path(procession.__file__).parent

#: From the top to the bottom; a module may import what is on its own line or below.
LAYERS = (
    ("cli", "integrations"),
    (
        *("__init__", "pool", "calls", "results", "process", "context", "warm", "sharing", "trigger", "executor"),
        *("reusable", "finishing", "installing", "dummy", "managers", "sharedctypes"),
    ),
    (
        *("connection", "queues", "reduction", "shared_memory", "synchronize"),
        *("forkserver", "heap", "resource_sharer", "resource_tracker", "spawn", "util"),
    ),
    ("mapping",),
    ("journal",),
    ("backends",),
    ("engine",),
    ("launch",),
    ("worker",),
    ("wire",),
    ("system",),
)
#: Words that every layer uses.
SHARED = ("checks", "endings", "errors", "outcome", "options", "task", "unread")
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def _modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def _unit(name: str) -> str:
    """The part of the package that a dotted name below `procession` belongs to."""
    return name.split(".", maxsplit=1)[0] if name else "__init__"


def _owner(path: Path) -> str:
    return _unit(".".join(path.relative_to(ROOT).with_suffix("").parts))


def _imports(path: Path, *, typing_too: bool = False) -> Iterator[tuple[int, str]]:
    """Line and dotted name below `procession` of each import that is carried out."""
    tree = ast.parse(path.read_text())
    skipped = set() if typing_too else {id(node) for block in _typing_blocks(tree) for node in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("procession"):
            module = (node.module or "").removeprefix("procession").removeprefix(".")
            yield from ((node.lineno, module or alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names if alias.name.split(".")[0] == "procession")
            yield from ((node.lineno, name.removeprefix("procession").removeprefix(".")) for name in names)


def _typing_blocks(tree: ast.Module) -> Iterator[ast.If]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield node


def test_every_part_has_its_layer() -> None:
    """A new module or package must be put on a line of LAYERS before it may be imported."""
    owners = {_owner(path) for path in _modules()} - {"__main__"}
    assert owners <= set(RANK) | set(SHARED)


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downward(path: Path) -> None:
    """A module imports nothing of a layer above its own."""
    owner = _owner(path)
    if owner not in RANK:
        return
    rank = RANK[owner]
    wrong = [f"{line}: {name}" for line, name in _imports(path) if RANK.get(_unit(name), rank) < rank]
    assert wrong == []


@pytest.mark.parametrize("folder", ["worker", "wire", "system"])
def test_the_worker_side_knows_no_engine(folder: str) -> None:
    """What runs in a worker imports neither engine, launch, backends, mappings nor faces."""
    above = set(RANK) - {"worker", "wire", "system"}
    wrong = [
        f"{path.name}:{line}: {name}"
        for path in (ROOT / folder).glob("*.py")
        for line, name in _imports(path)
        if _unit(name) in above
    ]
    assert wrong == []


@pytest.mark.parametrize("name", SHARED)
def test_shared_words_import_no_layer(name: str) -> None:
    """Errors, outcomes, options and tasks import each other at most."""
    wrong = [found for _, found in _imports(ROOT / f"{name}.py") if _unit(found) not in SHARED]
    assert wrong == []


@pytest.mark.parametrize("name", ["scheduler", "slots", "supervisor", "pace"])
def test_pure_machines_import_nothing_that_acts(name: str) -> None:
    """Scheduler, slots, supervisor and pace import no clock, system, thread or process."""
    tree = ast.parse((ROOT / "engine" / f"{name}.py").read_text())
    found = {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    found |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert found <= {"__future__", "collections", "enum", "itertools", "typing", "procession", "dataclasses"}
