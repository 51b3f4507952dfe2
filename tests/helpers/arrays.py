"""Arrays of every kind, importable tasks on them, and what can be seen of the memory behind them.

`facts(value)` says all that a pickle keeps of a value, in a few words, so that it can be compared in another process.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import hashlib
import os
import pickle
from collections.abc import Callable, Iterator
from multiprocessing import resource_sharer
from pathlib import Path
from typing import Any

import numpy as np
from tests.helpers.gates import Gate

BIG = 65_536  # elements: 512 KiB of float64, well above the threshold of about 128 KiB
SMALL = 128
MIDDLE = 10_240  # 80 KiB of float64: more than a frame of a pickle, less than the threshold

kept: list[Any] = []  # what tasks keep in this process


class Holder:
    """An object with arrays in it, and methods that are tasks."""

    def __init__(self, array: Any, **more: Any) -> None:
        self.array = array
        self.more = more

    def total(self, factor: float = 1) -> float:
        """Return the sum of the array, times the factor."""
        return float(self.array.sum() * factor)

    def raise_all(self, by: float) -> None:
        """Add to every element."""
        self.array += by


class CarriesArrayError(Exception):
    """An error with an array among its arguments, and another in an attribute."""

    def __init__(self, text: str, array: Any) -> None:
        super().__init__(text, array)
        self.half = array[: len(array) // 2].copy()


# ---------------------------------------------------------------------------------------------------- kinds and facts


def ramp(count: int = BIG, start: float = 0) -> Any:
    """Return an array of floats: start, start + 1, ..."""
    return np.arange(start, start + count, dtype=float)


def _read_only(count: int) -> Any:
    array = ramp(count)
    array.flags.writeable = False
    return array


def _structured(count: int) -> Any:
    array = np.zeros(count, [("number", "<i4"), ("name", "S5"), ("place", "<f8", (2,))])
    array["number"] = range(count)
    array["place"] = ramp(2 * count).reshape(count, 2)
    return array


def _objects(count: int) -> Any:
    array = np.empty(count, object)
    array[:] = [None if n % 3 == 0 else str(n) for n in range(count)]
    return array


KINDS: dict[str, Callable[[int], Any]] = {
    "float64": ramp,
    "int8": lambda n: np.arange(8 * n).astype("i1"),
    "bool": lambda n: np.arange(8 * n) % 3 == 0,
    "complex": lambda n: ramp(n) * (1 + 2j),
    "float16": lambda n: (ramp(4 * n) % 1000).astype("f2"),
    "big-endian": lambda n: ramp(n).astype(">f8"),
    "text": lambda n: ramp(n).astype("U7"),
    "bytes-items": lambda n: ramp(n).astype("S7"),
    "c-order": lambda n: ramp(n).reshape(4, -1),
    "fortran": lambda n: np.asfortranarray(ramp(n).reshape(4, -1)),
    "transposed": lambda n: ramp(n).reshape(2, 4, -1).T,
    "axes-moved": lambda n: ramp(n).reshape(2, 4, -1).transpose(1, 0, 2),
    "strided": lambda n: ramp(2 * n)[::2],
    "reversed": lambda n: ramp(n)[::-1],
    "both-reversed": lambda n: ramp(n).reshape(4, -1)[::-1, ::-1],
    "column": lambda n: ramp(4 * n).reshape(-1, 4)[:, 1],
    "slice": lambda n: ramp(n + 10)[5:-5],
    "broadcast": lambda n: np.broadcast_to(ramp(n // 4), (4, n // 4)),
    "read-only": _read_only,
    "structured": _structured,
    "field": lambda n: _structured(n)["place"],
    "datetime64": lambda n: np.arange(n).view("M8[s]"),
    "timedelta64": lambda n: np.arange(n).view("m8[ns]"),
    "objects": _objects,
    "masked": lambda n: np.ma.masked_greater(ramp(n), n // 2),
    "zero-length": lambda n: np.empty((0, n), "f4"),
    "0-d": lambda n: np.array(float(n)),
    "0-d-huge": lambda n: np.array(b"x" * (8 * n)),
    "scalar": np.float32,
    "bytes": lambda n: bytes(range(256)) * (n // 32),
    "bytearray": lambda n: bytearray(range(256)) * (n // 32),
    "str": lambda n: "\N{GREEK SMALL LETTER PI}" * (8 * n),
}


def reference(value: Any) -> Any:
    """Return what a pickle makes of the value."""
    return pickle.loads(pickle.dumps(value, 5))


def facts(value: Any) -> Any:
    """Return type, form, flags and content of a value, deeply; equal facts are equal values."""
    name = type(value).__name__
    if isinstance(value, np.ma.MaskedArray):
        return name, facts(np.asarray(value.data)), facts(np.asarray(value.mask)), value.fill_value
    if isinstance(value, np.ndarray):
        content = repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes()
        form = value.dtype.descr if value.dtype.names else value.dtype.str
        flags = (value.flags.c_contiguous, value.flags.f_contiguous, value.flags.writeable, value.flags.aligned)
        return name, form, value.shape, value.strides, flags, _digest(content)
    if isinstance(value, memoryview):
        return name, value.format, value.shape, value.readonly, _digest(value.tobytes())
    if isinstance(value, (bytes, bytearray)):
        return name, len(value), _digest(value)
    if isinstance(value, str):
        return name, len(value), _digest(value.encode())
    if isinstance(value, (list, tuple)):
        return name, [facts(part) for part in value]
    if isinstance(value, dict):
        return name, {key: facts(part) for key, part in value.items()}
    if isinstance(value, Holder):
        return name, facts(value.array), facts(value.more)
    return name, value


def _digest(content: Any) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def address(array: Any) -> int:
    """Where the first element is."""
    found: int = array.__array_interface__["data"][0]
    return found


# ------------------------------------------------------------------------------------------------------------- tasks


def same(value: Any, *_: object) -> Any:
    """Return the value."""
    return value


def pair(value: Any, *_: object) -> Any:
    """Return the value twice, in a tuple."""
    return value, value


def facts_of(*values: Any) -> Any:
    """Return the facts of the arguments."""
    return [facts(value) for value in values]


def facts_of_one(value: Any) -> Any:
    """Return the facts of the argument."""
    return facts(value)


def make_kind(name: str, count: int) -> Any:
    """Return an array of a kind, made here."""
    return KINDS[name](count)


def make_filled(value: float, count: int = BIG) -> Any:
    """Return an array full of one value."""
    return np.full(count, value)


def make_many_small(count: int) -> list[Any]:
    """Return so many arrays of three."""
    return [np.arange(n, n + 3) for n in range(count)]


def total_of_all(arrays: Any) -> int:
    """Return the sum of the sums."""
    return sum(int(array.sum()) for array in arrays)


def ends(array: Any) -> tuple[Any, Any, int]:
    """Return first element, last element and length."""
    return array[0].item(), array[-1].item(), len(array)


def is_uniform(array: Any) -> bool:
    """Say whether all elements are the same."""
    return bool((array == array.flat[0]).all())


def uniform_value(array: Any) -> Any:
    """Return the value that all elements have, or None if they differ."""
    return array.flat[0].item() if is_uniform(array) else None


def double_or_fail(array: Any) -> Any:
    """Return twice the array; a negative first element is a ValueError with the array in it."""
    if array[0] < 0:
        raise CarriesArrayError("negative", array)
    return array * 2


def raise_with(array: Any) -> None:
    """Raise an error that carries the array."""
    raise CarriesArrayError("on purpose", array)


def scribble(array: Any, *_: object) -> Any:
    """Return what all elements are, then overwrite all of them."""
    found = uniform_value(array)
    array[...] = -1
    return found


def scribble_in(container: Any) -> Any:
    """Return what is in each array of a list, having overwritten those before it."""
    return [scribble(array) for array in container]


def write_and_wait(gate: Gate, array: Any) -> int:
    """Overwrite the array, then wait at the gate with it."""
    array[...] = -1
    gate.wait()
    return os.getpid()


def is_writable_and_aligned(array: Any) -> bool:
    """Say whether the array can be written, and begins at a multiple of 64."""
    array[...] = array
    return bool(array.flags.writeable) and address(array) % 64 == 0


def same_objects(parts: Any) -> list[int]:
    """Return, for each part, the position of the first part that is the same object."""
    return [next(place for place, first in enumerate(parts) if first is part) for part in parts]


def keep(value: Any) -> int:
    """Keep the value in this process for ever; return how many are kept."""
    kept.append(value)
    return len(kept)


def keep_and_write(value: float, array: Any) -> None:
    """Overwrite the array and keep it."""
    array[...] = value
    kept.append(array)


def kept_facts(*_: object) -> Any:
    """Return the facts of all that is kept."""
    return [facts(value) for value in kept]


def kept_lists(*_: object) -> list[Any]:
    """Return all that is kept, as lists."""
    return [value.tolist() for value in kept]


def kept_apply(function: Callable[..., Any], *args: Any) -> Any:
    """Run a function on what was kept last."""
    return function(kept[-1], *args)


def drop_kept(*_: object) -> None:
    """Forget all that is kept."""
    kept.clear()
    gc.collect()


def return_and_go_on(value: float) -> Any:
    """Return the same array each time, with the new value in it."""
    if not kept:
        kept.append(np.zeros(BIG))
    kept[0][...] = value
    return kept[0]


def raise_elements(array: Any, by: float = 1) -> Any:
    """Add to every element, in place."""
    array += by
    return None


def set_element(array: Any, index: Any, value: Any) -> None:
    """Set one element."""
    array[index] = value


def to_list(array: Any) -> Any:
    """Return the elements."""
    return array.tolist()


def type_name(value: Any) -> str:
    """Return the name of the type."""
    return type(value).__name__


def count_up_shared(lock: Any, array: Any, times: int) -> None:
    """Add one to the first element so many times, under the lock."""
    for _ in range(times):
        with lock:
            array[0] = array[0] + 1


def put_facts(queue: Any, *values: Any) -> None:
    """Put the facts of the arguments on a queue."""
    queue.put(facts_of(*values))


def facts_through(gate: Gate, queue: Any, value: Any) -> None:
    """Put the facts of the value on a queue, twice: at once, and once the gate is open."""
    queue.put(facts(value))
    gate.wait()
    queue.put(facts(value))


def put_list(queue: Any, array: Any) -> None:
    """Put the elements on a queue."""
    queue.put(array.tolist())


# ------------------------------------------------------------------------------------------- what is seen of the memory


def mappings(pid: int | str = "self") -> int:
    """Return how many mappings of anonymous shared memory a process has."""
    return sum("/memfd:" in line for line in Path(f"/proc/{pid}/maps").read_text().splitlines())


def mappings_here(*_: object) -> int:
    """Return `mappings()` once all that can be collected is collected: a task."""
    gc.collect()
    return mappings()


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd")) - 1


def shared_bytes() -> int:
    """Return the bytes of memory behind the anonymous shared memory that this process has descriptors of."""
    files: dict[int, int] = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            path = f"/proc/self/fd/{name}"
            if os.readlink(path).startswith("/memfd:"):
                found = os.stat(path)
                files[found.st_ino] = found.st_blocks * 512
    return sum(files.values())


@contextlib.contextmanager
def without_resource_sharer() -> Iterator[None]:
    """Stop, in the end, the thread through which the standard library's queues and pipes hand out descriptors."""
    try:
        yield
    finally:
        sharer: Any = resource_sharer
        sharer.stop(timeout=5)
        gc.collect()


class Record(ctypes.Structure):
    """A structure of C, whose memoryview has a format that only its own type knows."""

    _fields_ = [("number", ctypes.c_int32), ("share", ctypes.c_double)]
