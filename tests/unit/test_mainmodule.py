"""`__main__`, name by name: what a task needs of it, in an order in which it can be read."""

from __future__ import annotations

import os
import sys
import types
from typing import Any

import pytest

from procession.wire import mainmodule
from procession.wire.mainmodule import Definition, Mirror, pack_names
from procession.wire.mirrored import Mirrored, Unsent

PROGRAM = """
CONSTANT = 3
TABLE = {"a": 1}

class Base:
    def value(self):
        return CONSTANT

class Derived(Base):
    pass

def helper(x):
    return x + CONSTANT

def function(x):
    return helper(x) + TABLE["a"] + Derived().value()

def unrelated():
    return 0
"""


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Put a program in the place of `__main__` and give its namespace."""
    module = types.ModuleType("__main__")
    exec(PROGRAM, module.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module.__dict__


def _names(definitions: tuple[Definition, ...]) -> set[str]:
    return {name for each in definitions for name in each.names}


def _receive(definitions: tuple[Definition, ...], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Read the definitions in an empty `__main__`."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    Mirrored().receive(pack_names(definitions, []))
    return module.__dict__


def test_all_that_a_function_needs_comes_along(main: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Followed through functions and classes, and nothing else; on the other side the function works."""
    found = Mirror().closure(["function"], thorough=True)
    assert _names(found) == {"function", "helper", "CONSTANT", "TABLE", "Base", "Derived"}
    assert _receive(found, monkeypatch)["function"](1) == 1 + 3 + 1 + 3


def test_definitions_are_real_globals(main: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is assigned on the other side is what the functions there see."""
    there = _receive(Mirror().closure(["function"], thorough=True), monkeypatch)
    there["CONSTANT"] = 10
    assert there["helper"](1) == 11
    assert isinstance(there["Derived"](), there["Base"])


def test_versions_change_with_content_alone(main: dict[str, Any]) -> None:
    """Asked twice, nothing has a new version; what was changed in place or assigned has, and only that."""
    mirror = Mirror()
    first = {each.names[0]: each.version for each in mirror.closure(["function"], thorough=True)}
    assert {each.names[0]: each.version for each in mirror.closure(["function"], thorough=True)} == first
    main["TABLE"]["a"] = 2
    main["CONSTANT"] = 4
    second = {each.names[0]: each.version for each in mirror.closure(["function"], thorough=True)}
    assert {name for name in first if first[name] != second[name]} == {"TABLE", "CONSTANT"}


def test_what_is_slow_to_pickle_has_attributes(main: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """When one of a class or function is assigned, it has a new version, also where content is not compared."""
    monkeypatch.setattr(mainmodule, "_CHEAP_SECONDS", 0)
    mirror = Mirror()

    def versions() -> dict[str, int]:
        names = ["Base", "helper", "TABLE"]
        return {each.names[0]: each.version for each in mirror.closure(names, thorough=False)}

    first = versions()
    main["TABLE"]["a"] = 2
    assert versions() == first
    main["Base"].unit = 4
    main["helper"].__defaults__ = (5,)
    second = versions()
    assert {name for name in first if first[name] != second[name]} == {"Base", "helper"}
    del main["Base"].unit
    assert versions()["Base"] != second["Base"]


def test_what_is_inherited_is_not_sent(main: dict[str, Any]) -> None:
    """The very objects that a receiver has by a fork are left out."""
    inherited = dict(main)
    main["CONSTANT"] = 5
    found = Mirror().closure(["helper", "CONSTANT"], thorough=True, inherited=inherited)
    assert _names(found) == {"CONSTANT"}


def test_an_unknown_name_needs_nothing(main: dict[str, Any]) -> None:
    """A name that `__main__` has not is left to fail where it is used."""
    assert Mirror().closure(["nowhere", "__name__"], thorough=True) == ()


def test_what_cannot_be_sent_says_so_when_it_is_used(main: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A global that cannot be pickled does no harm until a task uses it, and then names itself."""
    with open(os.devnull, "rb") as file:
        main["file"] = file
        there = _receive(Mirror().closure(["file"], thorough=True), monkeypatch)
    assert isinstance(there["file"], Unsent)
    with pytest.raises(TypeError, match="the global 'file' of __main__"):
        there["file"].read()
    with pytest.raises(TypeError, match="file"), there["file"]:
        pass
