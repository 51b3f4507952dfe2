"""Replacing the word `multiprocessing` in a script is enough: every public name is there."""

from __future__ import annotations

import concurrent.futures
import importlib
import inspect
import multiprocessing
import multiprocessing.pool
from typing import Any

import pytest

import procession
import procession.pool

SUBMODULES = (
    "connection", "context", "dummy", "forkserver", "heap", "managers", "pool", "process", "queues", "reduction",
    "resource_sharer", "resource_tracker", "shared_memory", "sharedctypes", "spawn", "synchronize", "util",
)  # fmt: skip
#: Names of our own, which stand beside the imitated ones.
CONSTANTS = ("SUBDEBUG", "SUBWARNING")
#: Made by the pool only.
NOT_FOR_USERS = {(procession.pool.AsyncResult, "__init__"), (procession.pool.IMapIterator, "__init__")}


@pytest.mark.parametrize("name", sorted({*multiprocessing.__all__, *CONSTANTS}))
def test_every_public_name_is_there(name: str) -> None:
    """A name of multiprocessing is a name of ours, of the same kind."""
    ours, theirs = getattr(procession, name), getattr(multiprocessing, name)
    assert callable(ours) == callable(theirs)
    assert name in dir(procession)


def test_all_names_are_exported() -> None:
    """`from procession import *` gives at least what `from multiprocessing import *` gives, and no builtin's name."""
    assert set(multiprocessing.__all__) <= set(procession.__all__)
    assert "map" not in procession.__all__
    assert all(hasattr(procession, name) for name in procession.__all__)


@pytest.mark.parametrize("name", SUBMODULES)
def test_submodules_have_the_names_of_theirs(name: str) -> None:
    """A submodule that people import has every name of the standard one, private ones too: clients look there."""
    theirs = importlib.import_module(f"multiprocessing.{name}")
    ours = importlib.import_module(f"procession.{name}")
    assert [attribute for attribute in dir(theirs) if not hasattr(ours, attribute)] == []


@pytest.mark.parametrize("method", [None, *multiprocessing.get_all_start_methods()])
def test_contexts_have_the_names_of_theirs(method: str | None) -> None:
    """A context of ours has every public name of a standard one, and is one."""
    ours, theirs = procession.get_context(method), multiprocessing.get_context(method)
    missing = [name for name in dir(theirs) if not name.startswith("_") and not hasattr(ours, name)]
    assert missing == []
    assert isinstance(ours, multiprocessing.context.BaseContext)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that neither has is an AttributeError that names it."""
    with pytest.raises(AttributeError, match="nonsense"):
        procession.nonsense


def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # written in C
        return None


def _extend(ours: inspect.Signature, theirs: inspect.Signature) -> bool:
    """Whether each call of theirs is one of ours: the same parameters in order, and more by keyword only."""
    mine = list(ours.parameters.values())
    for wanted in theirs.parameters.values():
        found = ours.parameters.get(wanted.name)
        if wanted.kind is inspect.Parameter.VAR_KEYWORD or wanted.kind is inspect.Parameter.VAR_POSITIONAL:
            if not any(each.kind is wanted.kind for each in mine):
                return False
        elif found is None or found.kind is not wanted.kind or found.default != wanted.default:
            return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [[each.name for each in many if each.kind in positional] for many in (mine, theirs.parameters.values())]
    return names[0] == names[1]


CLASSES = [
    (procession.Pool, multiprocessing.pool.Pool),
    (procession.Process, multiprocessing.Process),
    (procession.ProcessPoolExecutor, concurrent.futures.ProcessPoolExecutor),
    (procession.pool.AsyncResult, multiprocessing.pool.AsyncResult),
    (procession.pool.IMapIterator, multiprocessing.pool.IMapIterator),
    *((type(procession.get_context(each)), type(multiprocessing.get_context(each))) for each in ("fork", "spawn")),
]


@pytest.mark.parametrize(("ours", "theirs"), CLASSES)
def test_signatures_are_those_of_theirs(ours: type, theirs: type) -> None:
    """Of every public method; what we take beyond is by keyword only."""
    different = []
    for name in dir(theirs):
        if name.startswith("_") and name != "__init__":
            continue
        mine, wanted = getattr(ours, name), getattr(theirs, name)
        if (ours, name) in NOT_FOR_USERS or not callable(wanted) or mine is wanted:
            continue
        signatures = _signature(mine), _signature(wanted)
        if signatures[0] is None or signatures[1] is None or not _extend(signatures[0], signatures[1]):
            different.append(f"{name}: {signatures[0]}, not {signatures[1]}")
    assert different == []


# `procession.Pool` is the class itself, which also takes a context: see above.
@pytest.mark.parametrize("name", sorted({*multiprocessing.__all__} - {"Pool"}))
def test_functions_have_the_signatures_of_theirs(name: str) -> None:
    """Of the module."""
    mine, wanted = _signature(getattr(procession, name)), _signature(getattr(multiprocessing, name))
    if mine is not None and wanted is not None and mine != wanted:
        assert _extend(mine, wanted), f"{mine}, not {wanted}"
