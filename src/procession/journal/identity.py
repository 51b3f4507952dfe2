"""Identity: what makes two calls of a function the same run.

That is the function's name, a label, and the values that are bound to it: the arguments of a ``partial``, the object of
a method, what a function within another takes from there, the state of an object that can be called.  With other values
its items have other outcomes, so each set of them is a run of its own.  A function that is bound counts by its name,
and one without a name of its own by its code.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from procession.engine.interning import function_name
from procession.journal.digest import digest, is_plain
from procession.journal.fingerprint import fingerprint, is_code, is_made_anew

#: Characters of a value that is bound, and of all of them, in the words for a run.
_VALUE_LIMIT = 40
_WORDS_LIMIT = 160


@dataclass(frozen=True)
class Identity:
    """A run's."""

    function: str
    label: str
    bound: bytes  #: the digest of the values that are bound; empty if there are none
    words: str  #: what is bound, for people, as in "alpha=0.1"
    unsure: str  #: the first bound value that may differ though it is the same, as in "model, a Model"; or empty
    fingerprint: str


class _Function(NamedTuple):
    """A function or a class that is bound."""

    name: str
    code: str  #: its fingerprint, if its name does not tell which it is

    def __repr__(self) -> str:
        return self.name


def identify(function: Callable[..., Any], label: str | None) -> Identity:
    """The identity of the run of a function.  Never fails."""
    name, code = function_name(function), fingerprint(function)
    try:
        bound = list(_bound_to(function, "", set()))
    except Exception:  # a ``__getattr__`` of somebody's, say
        bound = []
    # What a decorator has around it is the same function, and so is one that calls itself.
    bound = [each for each in bound if not (isinstance(each[1], _Function) and each[1].name == name)]
    known = [digest(bound)] if bound else []
    if "<lambda>" in name:
        known.append(code.encode())
    unsure = next((f"{each or 'itself'}, a {type(value).__name__}" for each, value in bound if not is_plain(value)), "")
    return Identity(name, label or "", b"".join(known), _in_words(bound), unsure, code)


def _bound_to(thing: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """The values that are bound to something that can be called, each with its name."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    values: list[tuple[str, Any]] = []
    if isinstance(thing, functools.partial):
        values = [(f"{name}{place}", value) for place, value in enumerate(thing.args)]
        values += sorted(thing.keywords.items())
        yield from _bound_to(thing.func, name, seen)
    elif isinstance(thing, types.MethodType):
        values = [("self", thing.__self__)]
        yield from _bound_to(thing.__func__, name, seen)
    elif isinstance(thing, types.FunctionType):
        values = list(_bound_to_function(thing))
    elif isinstance(thing, types.BuiltinFunctionType):
        if not isinstance(thing.__self__, (types.ModuleType, type(None))):
            values = [("self", thing.__self__)]
    elif not isinstance(thing, type):
        wrapped = getattr(thing, "__wrapped__", None)
        if wrapped is None:
            yield name, thing
        else:
            yield from _bound_to(wrapped, name, seen)
    for each, value in values:
        if is_code(value):
            yield each, _Function(function_name(value), fingerprint(value) if "<" in function_name(value) else "")
            yield from _bound_to(value, each, seen)
        else:
            yield each, value


def _bound_to_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not filled yet
            continue
    if is_made_anew(function):
        count = len(function.__defaults__ or ())
        names = function.__code__.co_varnames[function.__code__.co_argcount - count : function.__code__.co_argcount]
        yield from zip(names, function.__defaults__ or (), strict=True)
        yield from sorted((function.__kwdefaults__ or {}).items())
    wrapped = function.__dict__.get("__wrapped__")
    if wrapped is not None:
        yield "wrapped", wrapped


def _in_words(bound: list[tuple[str, Any]]) -> str:
    words = []
    for name, value in bound:
        try:
            text = repr(value)
        except Exception:  # it is the user's
            text = type(value).__name__
        if text.startswith("<") and not isinstance(value, _Function):  # with an address in it, most likely
            text = type(value).__name__
        text = text if len(text) <= _VALUE_LIMIT else f"{text[: _VALUE_LIMIT - 3]}..."
        words.append(f"{name}={text}" if name and not name.isdigit() else text)
    text = ", ".join(words)
    return text if len(text) <= _WORDS_LIMIT else f"{text[: _WORDS_LIMIT - 3]}..."
