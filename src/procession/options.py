"""The options of maps and pools, and their validation: one place, one meaning each.

A wrong value is an error at the call that has it, and says what would be right.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any


class OnError(Enum):
    """What the error of an item does to its map."""

    RAISE = "raise"  #: the other items run to their ends, then the error is raised
    STOP = "stop"  #: the other items are stopped, and the error is raised
    RETURN = "return"  #: the error stands in the result, in its item's place
    SKIP = "skip"  #: the item is left out of the result


def check_on_error(value: Any) -> OnError:
    """The policy of this name.  On failure: ``ValueError``."""
    try:
        return OnError(value)
    except ValueError:
        names = ", ".join(repr(each.value) for each in OnError)
        raise ValueError(f"on_error must be one of {names}, not {value!r}") from None


def check_workers(value: Any) -> int:
    """A number of workers.  On failure: ``ValueError`` or ``TypeError``."""
    count = _integer(value, "the number of processes")
    if count < 1:
        raise ValueError("Number of processes must be at least 1")
    return count


def check_chunksize(value: Any) -> int | None:
    """A chunk size, or None for the clock's choice.  On failure: ``ValueError`` or ``TypeError``."""
    if value is None:
        return None
    size = _integer(value, "chunksize")
    if size < 1:
        raise ValueError(f"Chunksize must be 1+, not {size:n}")
    return size


def check_tasks_per_child(value: Any) -> int | None:
    """How many chunks a worker runs, or None for no limit.  On failure: ``ValueError``."""
    if value is None:
        return None
    if not isinstance(value, int) or value <= 0:
        raise ValueError("maxtasksperchild must be a positive int or None")
    return value


_UNITS = {"": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZES = {unit.lower(): factor for unit, factor in _UNITS.items()}


def check_bytes(value: Any, name: str) -> int | None:
    """A number of bytes, also as text ("300MB", "2 GiB"), or None.  On failure: ``ValueError``, ``TypeError``."""
    if value is None:
        return None
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*", value)
        factor = _SIZES.get(match[2].lower().removesuffix("b") + "b" if match[2] else "") if match else None
        if match is None or factor is None:
            units = ", ".join(unit for unit in _UNITS if unit)
            raise ValueError(f"{name} must be a number of bytes, with a unit or without ({units}), not {value!r}")
        size = int(float(match[1]) * factor)
    else:
        size = _integer(value, name)
    if size < 1:
        raise ValueError(f"{name} must be at least one byte, not {value!r}")
    return size


def _integer(value: Any, name: str) -> int:
    index = getattr(value, "__index__", None)
    if index is None:
        raise TypeError(f"{name} must be an integer, not {value!r}")
    number: int = index()
    return number
