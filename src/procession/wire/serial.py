"""Pickling, by reference where the other side can import and by value where it cannot.

Owns a reusable pickler per thread.  Plain data goes through the C pickler at its own speed; only
functions and classes reach the override, which asks the scope.  When one of them must travel by
value the whole object is pickled again by cloudpickle.  Both ways yield one pickle that
``pickle.loads`` reads.  User code runs in here (``__reduce__``), so no lock may be held around it.
"""

from __future__ import annotations

import copyreg
import functools
import importlib
import io
import pickle
import sys
import threading
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from procession.wire.scope import LRU_WRAPPER, Scope, Where, importable, is_definition

if TYPE_CHECKING:
    from typing import Protocol

    class ValuePickler(Protocol):
        """What this module needs of the pickler by value."""

        def dump(self, obj: object) -> None:
            """Pickle ``obj``."""


PROTOCOL = 5
loads = pickle.loads


class _MustGoByValue(Exception):
    """A function or class was met that the other side cannot find by name."""


class _Pickler(pickle.Pickler):
    """The C pickler, with one question asked of functions and classes."""

    def __init__(self, file: Any, scope: Scope, table: dict[type, Callable[[Any], Any]]) -> None:
        super().__init__(file, PROTOCOL)
        self.dispatch_table = table
        self.scope = scope

    def reducer_override(self, obj: Any) -> Any:
        if is_definition(obj) and self.scope.locate(obj) is Where.NOWHERE:
            raise _MustGoByValue
        return NotImplemented


class Encoder:
    """Pickles objects for one kind of receiver, described by ``main_names`` (see ``Scope``)."""

    def __init__(self, main_names: set[str] | None = None) -> None:
        self._main_names = main_names
        self._local = _Scratch()

    def dumps(self, obj: object) -> bytes:
        """Pickle ``obj`` for a receiver that needs nothing but our modules and known names."""
        return self.dumps_with_needs(obj)[0]

    def dumps_with_needs(self, obj: object) -> tuple[bytes, frozenset[str]]:
        """Pickle ``obj``, and name what of ``__main__`` the receiver must have to read it.

        On failure: whatever the object's own reduction raises.
        """
        scratch = self._local
        if scratch.busy:  # a __reduce__ that pickles, inside of our own dump
            return self._dumps_slowly(obj)
        scratch.busy = True
        try:
            pickler = scratch.pickler_for(self._main_names)
            file = scratch.file
            pickler.dump(obj)
            data = file.getvalue()
            needs = pickler.scope.needs
            if needs or len(data) > _KEEP:
                return data, scratch.reset()
            pickler.clear_memo()
            file.seek(0)
            file.truncate()
            scratch.busy = False
            return data, _NOTHING
        except _MustGoByValue:
            scratch.reset()
            return self._dumps_slowly(obj)
        finally:
            if scratch.busy:
                scratch.reset()

    def _dumps_slowly(self, obj: object) -> tuple[bytes, frozenset[str]]:
        scope = Scope(self._main_names)
        return dumps_by_value(obj, scope), frozenset(scope.needs | scope.uses)

    def pickler(self, file: Any) -> _Pickler:
        """A fast pickler that writes to ``file``; it raises ``MUST_GO_BY_VALUE`` when it cannot."""
        return _Pickler(file, Scope(self._main_names), dispatch_table())


MUST_GO_BY_VALUE = _MustGoByValue
_NOTHING: frozenset[str] = frozenset()
_KEEP = 1 << 20  #: a pickle longer than this is not worth keeping its buffer for


class _Scratch(threading.local):
    """One thread's pickler and its buffer: making them anew costs more than a small pickle."""

    def __init__(self) -> None:
        self.busy = False
        self.file = io.BytesIO()
        self._pickler: _Pickler | None = None

    def pickler_for(self, main_names: set[str] | None) -> _Pickler:
        table = dispatch_table()
        pickler = self._pickler
        if pickler is None or pickler.dispatch_table is not table:
            pickler = self._pickler = _Pickler(self.file, Scope(main_names), table)
        return pickler

    def reset(self) -> frozenset[str]:
        """Begin anew, with a buffer that was not blown up; return the names that were needed."""
        pickler = self._pickler
        needs = frozenset(pickler.scope.needs) if pickler is not None else _NOTHING
        self.file, self._pickler, self.busy = io.BytesIO(), None, False
        return needs


_table: dict[type, Callable[[Any], Any]] = {}
_table_sizes = (-1, -1)


def dispatch_table() -> dict[type, Callable[[Any], Any]]:
    """The reducers registered with ``copyreg`` and with multiprocessing, as one plain dict.

    multiprocessing keeps its own as a ChainMap, which the C pickler can only look up by calling
    Python, for every object.
    """
    global _table, _table_sizes
    reduction = sys.modules.get("multiprocessing.reduction")
    extra = reduction.ForkingPickler._extra_reducers if reduction else {}
    sizes = (len(copyreg.dispatch_table), len(extra))
    if sizes != _table_sizes:
        _table = {**copyreg.dispatch_table, **extra}
        _table_sizes = sizes
    return _table


def dumps_by_value(obj: object, scope: Scope) -> bytes:
    """Pickle ``obj`` with cloudpickle, by value as far as ``scope`` says."""
    file = io.BytesIO()
    _value_pickler_class()(file, scope).dump(obj)
    return file.getvalue()


def module_globals(module_name: str) -> dict[str, Any]:
    """The namespace in which a function by value finds its globals, on the receiving side."""
    return importlib.import_module(module_name).__dict__


class _GlobalsOf:
    """Pickles as the receiver's namespace of a module."""

    def __init__(self, module_name: str) -> None:
        self.module_name = module_name

    def __reduce__(self) -> Any:
        return module_globals, (self.module_name,)


def _lru_reduce(obj: Any) -> Any:
    return _rebuild_lru, (obj.cache_parameters(), obj.__wrapped__)


def _rebuild_lru(parameters: dict[str, Any], wrapped: Callable[..., Any]) -> Any:
    return functools.lru_cache(**parameters)(wrapped)


@functools.lru_cache(maxsize=1)
def _value_pickler_class() -> Callable[[io.BytesIO, Scope], ValuePickler]:
    """Make the pickler by value; cloudpickle is imported only when something needs it."""
    import cloudpickle
    from cloudpickle.cloudpickle import _dynamic_class_reduce

    class _ValuePickler(cloudpickle.Pickler):  # type: ignore[misc]
        """cloudpickle, except that functions keep the globals of their own module.

        cloudpickle copies the globals that a function uses into a namespace of its own.  Here the
        function gets the receiver's real namespace, of the imported module or of the mirrored
        ``__main__``, so that two functions see the same globals, as they do at home.
        """

        def __init__(self, file: io.BytesIO, scope: Scope) -> None:
            super().__init__(file, PROTOCOL)
            self.scope = scope

        @property
        def dispatch_table(self) -> dict[type, Callable[[Any], Any]]:
            # The C pickler reads the attribute once, when it is made; an assignment would be late.
            return {**cloudpickle.Pickler.dispatch_table, **dispatch_table()}

        def reducer_override(self, obj: Any) -> Any:
            if not is_definition(obj):
                return NotImplemented
            if self.scope.locate(obj) is not Where.NOWHERE:
                return NotImplemented
            if type(obj) is types.FunctionType:
                return self._dynamic_function_reduce(obj)
            if type(obj) is LRU_WRAPPER:
                return _lru_reduce(obj)
            reduced = super().reducer_override(obj)
            return _dynamic_class_reduce(obj) if reduced is NotImplemented else reduced

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

    return _ValuePickler
