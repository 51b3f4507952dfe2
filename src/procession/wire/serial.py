"""Pickling, by reference where the other side can import and by value where it cannot.

Owns a reusable pickler per thread.  Plain data goes through the C pickler at its own speed; only
functions and classes reach the override, which asks the scope.  When one of them must travel by
value the whole object is pickled again by cloudpickle.  Both ways yield one pickle that
``pickle.loads`` reads.  User code runs in here (``__reduce__``), so no lock may be held around it.
"""

from __future__ import annotations

import functools
import importlib
import pickle
import sys
import threading
import types
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, cast

from procession.wire.passing import is_passing, passing
from procession.wire.pickled import BATCH_THRESHOLD, BUFFER_THRESHOLD, Pickled, start_collecting, stop_collecting
from procession.wire.reducers import dispatch_table
from procession.wire.scope import LRU_WRAPPER, Scope, Where, has_reducer, importable, is_definition
from procession.wire.segments import Segment

if TYPE_CHECKING:
    from typing import Protocol

    class Dumping(Protocol):
        """What this module needs of a pickler."""

        def dump(self, obj: object) -> None:
            """Pickle ``obj``."""


PROTOCOL = 5
loads = pickle.loads


class _MustGoByValue(Exception):
    """A function or class was met that the other side cannot find by name."""


class _HasBuffers(Exception):
    """A large buffer or shared memory was met, which has no place in a plain pickle."""


class _Pickler(pickle.Pickler):
    """The C pickler, with one question asked of functions and classes."""

    refuses_segments = False  #: nothing could travel with what it writes

    def __init__(
        self,
        file: Any,
        scope: Scope,
        table: dict[type, Callable[[Any], Any]],
        keep_within: Callable[[pickle.PickleBuffer], bool],
    ) -> None:
        super().__init__(file, PROTOCOL, buffer_callback=keep_within)
        self.dispatch_table = table
        self.scope = scope

    def reducer_override(self, obj: Any) -> Any:
        if self.refuses_segments and type(obj) is Segment:
            raise _HasBuffers
        if is_definition(obj) and not has_reducer(obj) and self.scope.locate(obj) is Where.NOWHERE:
            raise _MustGoByValue
        return NotImplemented


class Encoder:
    """Pickles objects for one kind of receiver, described by ``main_names`` (see ``Scope``)."""

    def __init__(self, main_names: set[str] | None = None) -> None:
        self._main_names = main_names
        self._local = _Scratch()

    def dumps(self, obj: object) -> bytes:
        """Pickle ``obj`` for a receiver that needs nothing but our modules and known names."""
        return self._encode(obj, Buffers.WITHIN).join()

    def encode(self, obj: object) -> Pickled:
        """Pickle ``obj``, with its large buffers beside the pickle.

        On failure: whatever the object's own reduction raises.
        """
        return self._encode(obj, Buffers.BESIDE)

    def encode_apart(self, obj: object) -> Pickled:
        """Pickle ``obj``, with every buffer beside the pickle, however small."""
        return self._encode(obj, Buffers.ALL)

    def encode_batch(self, items: object) -> Pickled | None:
        """Pickle items as one object; None if some have large buffers or shared memory, which belong apart."""
        try:
            return self._encode(items, Buffers.BATCH)
        except _HasBuffers:
            return None

    def _encode(self, obj: object, buffers: Buffers) -> Pickled:
        try:
            return self._encode_plainly(obj, buffers)
        except RuntimeError:
            if buffers is Buffers.WITHIN or is_passing():
                raise
        with passing():  # it may have been a lock or a queue, which knows of starting children only
            return self._encode_plainly(obj, buffers)

    def _encode_plainly(self, obj: object, buffers: Buffers) -> Pickled:
        scratch = self._local
        if scratch.busy:  # a __reduce__ that pickles, inside of our own dump
            return encode_by_value(obj, Scope(self._main_names), buffers)
        scratch.busy = True
        try:
            pickler = scratch.pickler_for(self._main_names)
            pickled = scratch.store.fill(pickler, obj, buffers, pickler.scope)
            if pickled.needs:
                scratch.reset()
            else:
                pickler.clear_memo()
                scratch.busy = False
            return pickled
        except _MustGoByValue:
            scratch.reset()
            return encode_by_value(obj, Scope(self._main_names), buffers)
        finally:
            if scratch.busy:
                scratch.reset()

    def pickler(self, file: Any) -> _Pickler:
        """A fast pickler that writes to ``file``; it raises for what it cannot write, which ``encode`` then can."""
        pickler = _Pickler(file, Scope(self._main_names), dispatch_table(), _refuse_large)
        pickler.refuses_segments = True
        return pickler


_NOTHING: frozenset[str] = frozenset()


class Buffers(Enum):
    """What becomes of the large buffers of an object."""

    WITHIN = auto()  #: they are copied into the pickle
    BESIDE = auto()  #: they are collected
    ALL = auto()  #: they are collected, and the small ones too
    BATCH = auto()  #: those of medium size are collected, others are an error, ``_HasBuffers``


class _Store:
    """Takes what a pickler writes, piece by piece: large texts and bytes come as they are, not copied."""

    __slots__ = ("buffers", "met_buffers", "mode", "pieces", "segments", "write")

    def __init__(self) -> None:
        self.pieces: list[Any] = []
        self.write = self.pieces.append
        self.buffers: list[memoryview] = []
        self.segments: list[Segment] = []
        self.mode = Buffers.WITHIN
        self.met_buffers = False

    def keep_within(self, buffer: pickle.PickleBuffer) -> bool:
        """Whether a buffer goes into the pickle; else it is collected here."""
        self.met_buffers = True
        if self.mode is Buffers.WITHIN:
            return True
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous: pickle says so
            return True
        if self.mode is Buffers.BATCH:
            if raw.nbytes >= BUFFER_THRESHOLD:
                raise _HasBuffers
            if raw.nbytes < BATCH_THRESHOLD:
                return True
        elif raw.nbytes < (1 if self.mode is Buffers.ALL else BUFFER_THRESHOLD):
            return True
        self.buffers.append(raw)
        return False

    def fill(self, pickler: Dumping, obj: object, mode: Buffers, scope: Scope) -> Pickled:
        """Pickle ``obj`` and return what that gave; the store is empty again."""
        self.mode = mode
        if mode is Buffers.WITHIN:
            pickler.dump(obj)
        else:
            before = start_collecting(self.segments)
            try:
                pickler.dump(obj)
            finally:
                stop_collecting(before)
        needs = frozenset(scope.needs | scope.uses) if scope.needs or scope.uses else _NOTHING
        pieces = self.pieces[:]
        self.pieces.clear()
        mutable, self.met_buffers = self.met_buffers, False
        if len(pieces) > 1:  # what is longer than a frame of the pickle comes as the object itself
            pieces = [piece.raw() if type(piece) is pickle.PickleBuffer else piece for piece in pieces]
            mutable = mutable or any(type(piece) is bytearray for piece in pieces)
        if not self.buffers and not self.segments:
            return Pickled(pieces, [], (), needs, mutable)
        if self.segments and mode is Buffers.BATCH:
            raise _HasBuffers
        pickled = Pickled(pieces, self.buffers[:], self.segments[:], needs, mutable)
        self.buffers.clear()
        self.segments.clear()
        return pickled


def _refuse_large(buffer: pickle.PickleBuffer) -> bool:
    if memoryview(buffer).nbytes >= BUFFER_THRESHOLD:
        raise _HasBuffers
    return True


class _Scratch(threading.local):
    """One thread's pickler and its store: making them anew costs more than a small pickle."""

    def __init__(self) -> None:
        self.busy = False
        self.store = _Store()
        self._pickler: _Pickler | None = None

    def pickler_for(self, main_names: set[str] | None) -> _Pickler:
        table = dispatch_table()
        pickler = self._pickler
        if pickler is None or pickler.dispatch_table is not table:
            pickler = self._pickler = _Pickler(self.store, Scope(main_names), table, self.store.keep_within)
        return pickler

    def reset(self) -> None:
        """Begin anew."""
        self.store, self._pickler, self.busy = _Store(), None, False


def encode_by_value(obj: object, scope: Scope, buffers: Buffers) -> Pickled:
    """Pickle ``obj`` with cloudpickle, by value as far as ``scope`` says."""
    store = _Store()
    return store.fill(_value_pickler_class()(store, scope, store.keep_within), obj, buffers, scope)


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


def _code_reduce(code: types.CodeType) -> Any:
    """A code object that keeps its file's name, which cloudpickle 3.1.3 and later drop: tracebacks show its lines."""
    import cloudpickle

    make, args, *_ = cloudpickle.Pickler.dispatch_table[types.CodeType](code)
    return _rebuild_code, (code.co_filename, make, args)


def _rebuild_code(filename: str, make: Callable[..., types.CodeType], args: tuple[Any, ...]) -> types.CodeType:
    return make(*args).replace(co_filename=filename)


@functools.lru_cache(maxsize=1)
def _value_pickler_class() -> Callable[[Any, Scope, Any], Dumping]:
    """Make the pickler by value; cloudpickle is imported only when something needs it."""
    import cloudpickle
    from cloudpickle.cloudpickle import _dynamic_class_reduce

    class _ValuePickler(cloudpickle.Pickler):  # type: ignore[misc]
        """cloudpickle, except that functions keep the globals of their own module.

        cloudpickle copies the globals that a function uses into a namespace of its own.  Here the
        function gets the receiver's real namespace, of the imported module or of the mirrored
        ``__main__``, so that two functions see the same globals, as they do at home.
        """

        def __init__(self, file: Any, scope: Scope, keep_within: Any) -> None:
            super().__init__(file, PROTOCOL, buffer_callback=keep_within)
            self.scope = scope

        @property
        def dispatch_table(self) -> dict[type, Callable[[Any], Any]]:
            # The C pickler reads the attribute once, when it is made; an assignment would be late.
            return {**cloudpickle.Pickler.dispatch_table, **dispatch_table(), types.CodeType: _code_reduce}

        def reducer_override(self, obj: Any) -> Any:
            if not is_definition(obj) or has_reducer(obj):
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
