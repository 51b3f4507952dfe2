"""The pickler by value: functions, classes and what else the other side cannot find under its name.

Owns nothing.  It is imported when something is first pickled by value, since it imports cloudpickle.
"""

from __future__ import annotations

import functools
import importlib
import sys
import types
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NewType, cast
from weakref import WeakKeyDictionary, WeakValueDictionary

import cloudpickle
from cloudpickle.cloudpickle import _dynamic_class_reduce

from procession.wire.classes import reduce_class
from procession.wire.reducers import dispatch_table
from procession.wire.scope import (
    LRU_WRAPPER,
    OF_THREADS,
    Scope,
    Where,
    has_reducer,
    importable,
    is_definition,
    names_itself,
)


class ValuePickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle, except that functions keep the globals of their own module.

    cloudpickle copies the globals that a function uses into a namespace of its own.  Here the
    function gets the receiver's real namespace, of the imported module or of the mirrored
    ``__main__``, so that two functions see the same globals, as they do at home.
    """

    def __init__(self, file: Any, protocol: int, scope: Scope, keep_within: Any) -> None:
        super().__init__(file, protocol, buffer_callback=keep_within)
        self.scope = scope

    @property
    def dispatch_table(self) -> dict[type, Callable[[Any], Any]]:
        """Every reducer there is.  The C pickler reads it once, when it is made; an assignment would be late."""
        return {**cloudpickle.Pickler.dispatch_table, **_WEAK, **dispatch_table(), types.CodeType: _reduce_code}

    def reducer_override(self, obj: Any) -> Any:
        """How to pickle what the C pickler does not know, by name or by value."""
        if not is_definition(obj):
            if self.scope.is_defining:
                if type(obj) in OF_THREADS:
                    return OF_THREADS[type(obj)], ()
                if type(obj) is ContextVar:
                    return _reduce_context_var(obj)
            return self.scope.reduce_named(obj) if names_itself(obj) else NotImplemented
        if has_reducer(obj) or self.scope.locate(obj) is not Where.NOWHERE:
            return NotImplemented
        reduce = _REDUCERS.get(type(obj))
        if reduce is not None:
            return reduce(obj)
        if type(obj) is types.FunctionType:
            return self._dynamic_function_reduce(obj)
        reduced = super().reducer_override(obj)
        return reduce_class(_dynamic_class_reduce(obj) if reduced is NotImplemented else reduced, obj)

    def _dynamic_function_reduce(self, func: types.FunctionType) -> Any:
        make, newargs, state, *rest = super()._dynamic_function_reduce(func)
        home = func.__globals__.get("__name__")
        module = sys.modules.get(home) if isinstance(home, str) else None
        if module is None or module.__dict__ is not func.__globals__:
            return (make, newargs, state, *rest)
        if home == "__main__":
            state[1]["__globals__"] = self.scope.unshared(state[1]["__globals__"])
        elif importable(cast("str", home)):
            state[1]["__globals__"] = {}
        else:
            return (make, newargs, state, *rest)
        code, _globals, *others = newargs
        return (make, (code, _GlobalsOf(cast("str", home)), *others), state, *rest)


def module_globals(module_name: str) -> dict[str, Any]:
    """The namespace in which a function by value finds its globals, on the receiving side."""
    return importlib.import_module(module_name).__dict__


class _GlobalsOf:
    """Pickles as the receiver's namespace of a module."""

    def __init__(self, module_name: str) -> None:
        self.module_name = module_name

    def __reduce__(self) -> Any:
        return module_globals, (self.module_name,)


def _reduce_lru(obj: Any) -> Any:
    return _rebuild_lru, (obj.cache_parameters(), obj.__wrapped__)


def _rebuild_lru(parameters: dict[str, Any], wrapped: Callable[..., Any]) -> Any:
    return functools.lru_cache(**parameters)(wrapped)


def _reduce_new_type(obj: Any) -> Any:
    return _rebuild_new_type, (obj.__qualname__, obj.__module__, obj.__supertype__)


def _rebuild_new_type(name: str, module: str, supertype: Any) -> Any:
    made: Any = NewType(name, supertype)  # type: ignore[misc]
    made.__module__ = module  # else that of whoever calls it
    return made


def _reduce_weak(items: Any) -> Any:
    """A dict of weak references, as ``functools.singledispatch`` has one, with what is alive."""
    return type(items), (dict(items),)


def _reduce_context_var(variable: ContextVar[Any]) -> Any:
    """A new one: nobody tells its default, so that is the value which it has here."""
    try:
        return _rebuild_context_var, (variable.name, (variable.get(),))
    except LookupError:
        return _rebuild_context_var, (variable.name, ())


def _rebuild_context_var(name: str, default: tuple[Any, ...]) -> ContextVar[Any]:
    return ContextVar(name, default=default[0]) if default else ContextVar(name)


def _reduce_code(code: types.CodeType) -> Any:
    """A code object that keeps its file's name, which cloudpickle 3.1.3 and later drop: tracebacks show its lines."""
    make, args, *_ = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
    return _rebuild_code, (code.co_filename, make, args)


def _rebuild_code(filename: str, make: Callable[..., types.CodeType], args: tuple[Any, ...]) -> types.CodeType:
    return make(*args).replace(co_filename=filename)


_WEAK: dict[type, Callable[[Any], Any]] = dict.fromkeys((WeakKeyDictionary, WeakValueDictionary), _reduce_weak)
_REDUCERS: dict[type, Callable[[Any], Any]] = {LRU_WRAPPER: _reduce_lru, cast("type", NewType): _reduce_new_type}
