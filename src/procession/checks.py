"""The values of options, checked: one function for each kind of value.

A wrong value is an error at the call that has it, and says what would be right.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any


class OnError(Enum):
    """What the error of an item does to its map."""

    RAISE = "raise"  #: the other items run to their ends, then the error is raised
    STOP = "stop"  #: the other items are stopped, and the error is raised
    RETURN = "return"  #: the error stands in the result, in its item's place
    SKIP = "skip"  #: the item is left out of the result


@dataclass(frozen=True, slots=True)
class Seed:
    """The root of the random streams of a run, as in ``numpy.random.SeedSequence``."""

    entropy: int | tuple[int, ...]
    spawn_key: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of items, or a share of all."""

    count: int | None = None
    share: float | None = None

    def __str__(self) -> str:
        return f"{self.count:,}" if self.share is None else f"{self.share:.4g}"


def check_seconds(value: Any, name: str) -> float | None:
    """A span of time, or None for no limit.  On failure: ``ValueError``, ``TypeError``."""
    if value is None:
        return None
    if isinstance(value, bool) or (not isinstance(value, (int, float)) and not hasattr(value, "__float__")):
        raise TypeError(f"{name} must be a number of seconds or None, not {value!r}")
    seconds = float(value)
    if not seconds > 0:
        raise ValueError(f"{name} must be more than 0 seconds, not {value!r}")
    return None if math.isinf(seconds) else seconds


def check_retries(value: Any) -> int:
    """How often to try again.  On failure: ``ValueError``, ``TypeError``."""
    count = _integer(value, "retries")
    if count < 0:
        raise ValueError(f"retries must be 0 or more, not {value!r}")
    return count


def check_retry_on(value: Any) -> tuple[type[BaseException], ...]:
    """One exception type, or several.  On failure: ``TypeError``."""
    types = tuple(value) if isinstance(value, (tuple, list, set, frozenset)) else (value,)
    for each in types:
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            raise TypeError(f"retry_on must be an exception type or a tuple of them, not {value!r}")
    return types


def check_backoff(value: Any) -> tuple[float, ...]:
    """The delays before the retries, in seconds: of an endless series (itertools), the first thousand.

    On failure: ``ValueError``, ``TypeError``.
    """
    wrong = TypeError(f"backoff must be a number of seconds or an iterable of them, not {value!r}")
    if isinstance(value, (str, bytes)):
        raise wrong
    try:
        delays = tuple(float(each) for each in islice(value if hasattr(value, "__iter__") else (value,), 1000))
    except (TypeError, ValueError):
        raise wrong from None
    if any(not 0 <= each < math.inf for each in delays):
        raise ValueError(f"backoff must be seconds of 0 or more, not {value!r}")
    return delays


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


def check_seed(value: Any) -> Seed | None:
    """An integer of 0 or more, several of them, or a ``SeedSequence``.  On failure: ``ValueError``, ``TypeError``."""
    if value is None:
        return None
    if hasattr(value, "entropy") and hasattr(value, "spawn_key"):  # a SeedSequence, without importing numpy
        if value.entropy is None:
            raise ValueError("seed must be a SeedSequence with entropy, not one without")
        return Seed(_entropy(value.entropy), tuple(int(each) for each in value.spawn_key))
    return Seed(_entropy(value))


def _entropy(value: Any) -> int | tuple[int, ...]:
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        words = tuple(_integer(each, "seed") for each in value)
    else:
        words = (_integer(value, "seed"),)
    if not words or min(words) < 0:
        raise ValueError(f"seed must be 0 or more, not {value!r}")
    return words[0] if len(words) == 1 else words


def check_stop_when(value: Any) -> Any:
    """A number of values, a function of a value, or None.  On failure: ``ValueError``, ``TypeError``."""
    if value is None or callable(value):
        return value
    if isinstance(value, bool):
        raise TypeError(f"stop_when must be a number of values or a function of a value, not {value!r}")
    count = _integer(value, "stop_when")
    if count < 1:
        raise ValueError(f"stop_when must be at least one value, not {value!r}")
    return count


def check_max_failures(value: Any) -> Limit | None:
    """A number of items, or a share of all as 0.1 or "10%", or None.  On failure: ``ValueError``, ``TypeError``."""
    if value is None:
        return None
    text = "max_failures must be a number of items, or a share of all between 0 and 1 or as in '10%'"
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(%?)\s*", value)
        if match is None:
            raise ValueError(f"{text}, not {value!r}")
        value = float(match[1]) / 100 if match[2] else float(match[1]) if "." in match[1] else int(match[1])
    if isinstance(value, float):
        if not 0 <= value <= 1:
            raise ValueError(f"{text}, not {value!r}")
        return Limit(share=value)
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{text}, not {value!r}")
    count = _integer(value, "max_failures")
    if count < 0:
        raise ValueError(f"{text}, not {value!r}")
    return Limit(count)


def check_count(value: Any, name: str) -> int | None:
    """A number of at least one, or None.  On failure: ``ValueError``, ``TypeError``."""
    if value is None:
        return None
    count = _integer(value, name)
    if count < 1:
        raise ValueError(f"{name} must be 1 or more, not {value!r}")
    return count


def check_label(value: Any) -> str | None:
    """A text, or None.  On failure: ``TypeError``."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"label must be a text, not {value!r}")
    return value


def check_journal(value: Any) -> str | None:
    """The absolute path of a journal, or None.  On failure: ``TypeError``."""
    if value is None:
        return None
    try:
        return os.path.abspath(os.fsdecode(value))
    except TypeError:
        raise TypeError(f"journal must be a path, not {value!r}") from None


def check_key(value: Any) -> Any:
    """A function of an item, or None.  On failure: ``TypeError``."""
    if value is not None and not callable(value):
        raise TypeError(f"key must be a function of an item that names it, not {value!r}")
    return value


def check_word(value: Any, name: str, words: tuple[str, ...]) -> str:
    """One of some words.  On failure: ``ValueError``."""
    if value not in words:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, words))}, not {value!r}")
    return str(value)


def check_progress(value: Any) -> Any:
    """What shows how a run goes on, as ``make_meter`` takes it.  On failure: ``TypeError``."""
    if value is None or isinstance(value, (bool, str)) or callable(value):
        return value
    if callable(getattr(value, "update", None)) and not isinstance(value, (dict, set)):
        return value
    hint = "; the class in a module of that name is tqdm.tqdm" if getattr(value, "__name__", "") == "tqdm" else ""
    raise TypeError(
        "progress must be True, a description, a class of bars (tqdm), a bar, or a function of a procession.Progress, "
        f"not {value!r}{hint}"
    )


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
