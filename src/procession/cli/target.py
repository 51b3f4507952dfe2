"""A target: the text `FILE.py:FUNCTION` or `PACKAGE.MODULE:FUNCTION`, resolved to the function that it names.

Owns the search and the words for everything that can be wrong with it. Invariant: what is returned can be imported by a
worker under the same name, because the worker is given this process's sys.path. So a file is imported by its stem with
its folder first on sys.path, as `python FILE.py` would have it, and never loaded under a name that only this process
knows.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import click


class BadTarget(click.UsageError):
    """The target does not name a function that can be called; the message says why in one line."""


def resolve(target: str) -> Callable[[Any], Any]:
    """Import what `target` names and return its function.

    On failure: BadTarget. sys.path keeps the folder that was searched.
    """
    where, colon, name = target.rpartition(":")
    if not (colon and where and name):
        raise BadTarget(f"target {target!r} is neither FILE.py:FUNCTION nor PACKAGE.MODULE:FUNCTION")
    is_file = where.endswith(".py") or os.sep in where
    module = _import_file(where) if is_file else _import_module(where)
    function = _find(module, name, where)
    if not callable(function):
        raise BadTarget(f"{where}:{name} is not a function: it is of type {type(function).__name__}")
    return function  # type: ignore[no-any-return]


def _import_file(path: str) -> ModuleType:
    if not os.path.exists(path):
        raise BadTarget(f"there is no file {path}")
    if not os.path.isfile(path):
        raise BadTarget(f"{path} is not a file")
    if not path.endswith(".py"):
        raise BadTarget(f"{path} is not a .py file: workers could not import it")
    folder, filename = os.path.split(os.path.abspath(path))
    stem = filename[: -len(".py")]
    if "." in stem:
        raise BadTarget(f"{path} cannot be imported: its name has a dot in it")
    _put_first(folder)
    module = _import(stem, path)
    found = getattr(module, "__file__", None)
    # A file called json.py loses against the json that is imported already, array.py against the built-in module.
    if found is None or not os.path.samefile(found, path):
        other = found or "built-in"
        raise BadTarget(f"{path} cannot be imported: another module is called {stem} ({other}); rename it")
    return module


def _import_module(name: str) -> ModuleType:
    # The script `procession` starts with its own folder on sys.path; `python -m procession` with the current one.
    _put_first(os.getcwd())
    return _import(name, name)


def _put_first(folder: str) -> None:
    if folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)
    importlib.invalidate_caches()


def _import(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise BadTarget(f"there is no module {error.name}" + _also_a_file(name)) from error
        raise BadTarget(_why(where, error)) from error
    except (Exception, SystemExit) as error:
        raise BadTarget(_why(where, error)) from error


def _also_a_file(name: str) -> str:
    path = name.replace(".", os.sep) + ".py"
    return f"; is {path} meant?" if os.path.exists(path) else ""


def _why(where: str, error: BaseException) -> str:
    """Name the error and the last line of a person's own code that it passed through."""
    text = f"{where} cannot be imported: {type(error).__name__}: {error}"
    place = None
    trace = error.__traceback__
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        # <frozen importlib...> between any two modules, and the import that we made ourselves.
        if not filename.startswith("<") and filename not in {__file__, importlib.__file__}:
            place = f"{filename}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return f"{text} ({place})" if place else text


def _find(module: ModuleType, name: str, where: str) -> Any:
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            near = difflib.get_close_matches(part, [n for n in dir(found) if callable(getattr(found, n, None))], n=1)
            raise BadTarget(f"{where} has no {name}" + (f"; is {near[0]} meant?" if near else "")) from None
    return found
