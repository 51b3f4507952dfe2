"""Digests: names for items by their content, the same in every process and on every Python.

Of plain data, what is written into the digest is defined here, type by type; of an object of a class that leaves its
pickling to Python it is the class's name and the object's state; of anything else it is the pickle, which is the same
as long as the object and the libraries are.
"""

from __future__ import annotations

import copyreg
import functools
import hashlib
import os
import struct
import sys
import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Any

from procession.journal.packing import dump

#: Bytes of a digest: two of a billion items have the same with a probability of 1e-21.
SIZE = 16

#: What an older Python can read too, so that it does not depend on the newest.
_PROTOCOL = 4

#: Bytes of an array that are copied rather than looked at in their place.
_COPIED = 1 << 20

_Add = Callable[[Any], object]


def digest(value: Any) -> bytes:
    """The digest of a value.  Equal content of the same types has the same; ``1``, ``True`` and ``1.0`` differ."""
    kind = type(value)
    if kind is str:  # these two are most of all items; 0.8 us
        return hashlib.blake2b(b"s" + value.encode("utf-8", "surrogatepass"), digest_size=SIZE).digest()
    if kind is int:
        return hashlib.blake2b(b"i%d" % value, digest_size=SIZE).digest()
    found = hashlib.blake2b(digest_size=SIZE)
    try:
        _write(found.update, value)
    except RecursionError:  # it contains itself
        found = hashlib.blake2b(digest_size=SIZE)
        found.update(_pickled(value))
    return found.digest()


def _write(add: _Add, value: Any) -> None:
    writer = _WRITERS.get(type(value))
    if writer is not None:
        writer(add, value)
    elif isinstance(value, tuple):  # with names; whatever else a subclass has counts as its type
        _sized(add, b"n", name_of(type(value)).encode())
        _write_all(b"t")(add, value)
    elif (by_content := getattr(type(value), "reduce_by_content", None)) is not None:  # in shared memory
        _sized(add, b"S", name_of(type(value)).encode())
        _write(add, by_content(value)[1])
    elif isinstance(value, PurePath):
        _sized(add, b"P", str(value).encode("utf-8", "surrogatepass"))
    elif isinstance(value, Enum):
        _sized(add, b"E", f"{name_of(type(value))}.{value.name}".encode())
    elif is_dataclass(value) and not isinstance(value, type):
        _sized(add, b"D", name_of(type(value)).encode())
        for each in fields(value):
            _write(add, getattr(value, each.name, None))
    elif type(value).__module__ == "numpy" and hasattr(value, "dtype"):
        _write_array(add, value)
    elif isinstance(value, _FUNCTIONS):
        from procession.journal.identity import digest_of_code  # which is made of digests

        _sized(add, b"F", digest_of_code(value))
    elif isinstance(value, type) or not leaves_to_python(type(value)):
        add(_pickled(value))
    else:
        _write_object(add, value)


def leaves_to_python(kind: type) -> bool:
    """Whether objects of a class are pickled as a class of one's own is that says nothing about it."""
    own = any(getattr(kind, name) is not getattr(object, name) for name in ("__reduce_ex__", "__reduce__"))
    return not own and kind not in copyreg.dispatch_table


def _write_object(add: _Add, value: Any) -> None:
    """An object: its class, what makes one, its state.  Its pickle would also tell which texts in it are one object."""
    try:
        _make, args, state, items, pairs = (*value.__reduce_ex__(_PROTOCOL), None, None, None)[:5]
        items, pairs = list(items or ()), list(pairs or ())
    except Exception:  # a lock, say
        add(_pickled(value))
        return
    _sized(add, b"O", name_of(type(value)).encode())
    _write(add, (args[1:], state, items, pairs))


def _sized(add: _Add, tag: bytes, data: bytes) -> None:
    """With its length, so that no two values have their bytes in common."""
    add(tag + struct.pack("<Q", len(data)))
    add(data)


def _write_all(tag: bytes) -> Callable[[_Add, Any], None]:
    def write(add: _Add, values: Any) -> None:
        add(tag + struct.pack("<Q", len(values)))
        for each in values:
            _write(add, each)

    return write


def _write_dict(add: _Add, value: dict[Any, Any]) -> None:
    add(b"d" + struct.pack("<Q", len(value)))
    for pair in value.items():
        _write(add, pair[0])
        _write(add, pair[1])


def _write_set(add: _Add, value: Any) -> None:
    _sized(add, b"e" if type(value) is set else b"z", b"".join(sorted(digest(each) for each in value)))


def _write_array(add: _Add, value: Any) -> None:
    """A numpy array or scalar: its type, its shape, its elements in C order."""
    if value.dtype.hasobject:
        add(_pickled(value))
        return
    described = value.dtype.descr if value.dtype.names else value.dtype.str
    _sized(add, b"a", repr((described, value.shape, type(value).__name__)).encode())
    if value.nbytes > _COPIED and value.ndim and value.flags.c_contiguous:
        add(value.reshape(-1).view("u1").data)
    else:
        add(value.tobytes())


def _pickled(value: Any) -> bytes:
    """The pickle, by value where it takes that; what cannot be pickled at all is named by its type alone."""
    try:
        data = dump(value, _PROTOCOL)
    except Exception:  # it cannot be sent to a worker either, and fails there by itself
        data = name_of(type(value)).encode()
    return b"p" + struct.pack("<Q", len(data)) + data


def name_of(thing: Any) -> str:
    """The name of a class or a function, with its module's own: in which packages that is depends on who imports it.

    A script has the same, run or imported.
    """
    module = thing.__module__ or ""  # none, of a method of a builtin type
    if module == "__main__":
        main = sys.modules.get("__main__")
        spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
        module = spec.name if spec is not None else os.path.splitext(os.path.basename(file or module))[0]
    return f"{module.rpartition('.')[2]}.{thing.__qualname__}"


_FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)

_WRITERS: dict[type, Callable[[_Add, Any], object]] = {
    type(None): lambda add, _value: add(b"N"),
    bool: lambda add, value: add(b"T" if value else b"F"),
    int: lambda add, value: _sized(add, b"i", b"%d" % value),
    float: lambda add, value: add(b"f" + struct.pack("<d", value)),
    complex: lambda add, value: add(b"c" + struct.pack("<dd", value.real, value.imag)),
    str: lambda add, value: _sized(add, b"s", value.encode("utf-8", "surrogatepass")),
    bytes: lambda add, value: _sized(add, b"b", value),
    bytearray: lambda add, value: _sized(add, b"B", bytes(value)),
    tuple: _write_all(b"t"),
    list: _write_all(b"l"),
    dict: _write_dict,
    set: _write_set,
    frozenset: _write_set,
}
