"""Pickling, by reference where the other side can import and by value where it cannot.

Owns a reusable pickler per thread, and a set of types.  Plain data goes through the C pickler at its own speed; only
functions and classes reach the override, which asks the scope.  When one of them must travel by
value the whole object is pickled again by cloudpickle.  Both ways yield one pickle that
``pickle.loads`` reads.  User code runs in here (``__reduce__``), so no lock may be held around it.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from procession.wire.passing import is_passing, passing
from procession.wire.pickled import BATCH_THRESHOLD, BUFFER_THRESHOLD, Pickled, start_collecting, stop_collecting
from procession.wire.reducers import dispatch_table
from procession.wire.scope import Scope, Where, has_reducer, is_definition, names_itself
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


#: Types of C, which live for ever, whose instances pickle as they say.
_indifferent: set[type] = set()
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: the type was made by running Python


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
        kind = type(obj)
        if kind in _indifferent:
            return NotImplemented
        if self.refuses_segments and kind is Segment:
            raise _HasBuffers
        if not is_definition(obj):
            if not kind.__flags__ & _HEAP_TYPE:
                _indifferent.add(kind)
            elif kind.__module__ == "__main__" and names_itself(obj):
                return self.scope.reduce_named(obj)
            return NotImplemented
        if not has_reducer(obj) and self.scope.locate(obj) is Where.NOWHERE:
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
    from procession.wire.byvalue import ValuePickler  # which imports cloudpickle: only when something needs it

    store = _Store()
    return store.fill(ValuePickler(store, PROTOCOL, scope, store.keep_within), obj, buffers, scope)
