"""Random streams: each item of a run draws from a stream of its own, that of its position.

Runs in the worker, in the thread that calls the function; with the inline backend in the caller's.  Owns the stream
of the item that runs.  The stream of position ``i`` is ``SeedSequence(seed).spawn(n)[i]`` of numpy, so that anybody
can draw the same numbers without us; ``random`` and numpy's legacy state, which want seeds of their own, get words of
that child's first child.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from procession.checks import Seed

#: Words of 32 bits for each of the two older generators.
_WORDS = 8


class _Current:
    """The stream of the item that runs."""

    def __init__(self) -> None:
        self.sequence: Any = None  # of numpy; None outside of items with a seed
        self.generator: Any = None


_current = _Current()
_has_numpy: bool | None = None


def rng() -> Any:
    """The ``numpy.random.Generator`` of the item that runs: under ``seed=`` the same for the same position, always.

    Elsewhere one of this process alone, which nobody can repeat.  On failure: ``ImportError`` without numpy.
    """
    if _current.generator is None:
        import numpy as np

        _current.generator = np.random.default_rng(_current.sequence)
    return _current.generator


class Seeded:
    """A function, and the root of the streams that its calls draw from."""

    __slots__ = ("func", "seed")

    def __init__(self, func: Callable[..., Any], seed: Seed) -> None:
        self.func = func
        self.seed = seed

    def __reduce__(self) -> Any:
        return Seeded, (self.func, self.seed)

    def __call__(self, position: int, /, *args: Any, **kwargs: Any) -> Any:
        """A single call, as if it were the item at ``position``."""
        before = self._begin(position)
        try:
            return self.func(*args, **kwargs)
        finally:
            _current.sequence, _current.generator = before

    def in_order(self, call: Callable[[Any], Any], start: int) -> Callable[[Any], Any]:
        """``call``, made for one item after another from that at position ``start`` on."""
        positions, begin = count(start), self._begin

        def run(item: Any) -> Any:
            before = begin(next(positions))
            try:
                return call(item)
            finally:
                _current.sequence, _current.generator = before

        return run

    def _begin(self, position: int) -> tuple[Any, Any]:
        """Set the generators; return what ``rng`` draws from in the item that this one runs within, if any."""
        before = _current.sequence, _current.generator
        entropy, key = self.seed.entropy, (*self.seed.spawn_key, position)
        if not _numpy_is_there():
            import hashlib

            text = f"{entropy!r} {key!r}".encode()
            random.seed(int.from_bytes(hashlib.sha512(text).digest(), "little"))
            return before
        import numpy as np

        _current.sequence, _current.generator = np.random.SeedSequence(entropy, spawn_key=key), None
        words = np.random.SeedSequence(entropy, spawn_key=(*key, 0)).generate_state(2 * _WORDS)
        random.seed(int.from_bytes(words[:_WORDS].tobytes(), "little"))
        np.random.seed(words[_WORDS:])
        return before


def renew() -> None:
    """Give this process random numbers that no other draws.

    Forks of one server have one state; and two workers may have ended with the same position of a seeded run.
    """
    _current.sequence = _current.generator = None
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


@contextmanager
def kept() -> Iterator[None]:
    """Put the caller's own generators back in the end, where items run in its process."""
    state, numpy_random = random.getstate(), sys.modules.get("numpy.random")
    legacy = None if numpy_random is None else numpy_random.get_state()
    try:
        yield
    finally:
        random.setstate(state)
        if numpy_random is not None:
            numpy_random.set_state(legacy)
        elif "numpy.random" in sys.modules:
            sys.modules["numpy.random"].seed()


def _numpy_is_there() -> bool:
    """Whether numpy can be imported: then it is, since the function may do so at any time."""
    global _has_numpy
    if _has_numpy is None:
        import importlib.util

        _has_numpy = importlib.util.find_spec("numpy") is not None
    return _has_numpy
