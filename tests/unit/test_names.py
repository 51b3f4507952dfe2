"""Replacing the word `multiprocessing` in a script is enough: every public name is there."""

from __future__ import annotations

import importlib
import multiprocessing

import pytest

import procession

SUBMODULES = (
    "connection", "context", "dummy", "managers", "pool", "process", "queues", "reduction", "shared_memory",
    "sharedctypes", "synchronize",
)  # fmt: skip
#: Names of our own, which stand beside the imitated ones.
CONSTANTS = ("SUBDEBUG", "SUBWARNING")


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
    """A submodule that people import has every name of the standard one's `__all__`."""
    theirs = importlib.import_module(f"multiprocessing.{name}")
    ours = importlib.import_module(f"procession.{name}")
    public = getattr(theirs, "__all__", [])
    assert [attribute for attribute in public if not hasattr(ours, attribute)] == []


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
