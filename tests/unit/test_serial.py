"""Pickling by reference where that can be found again, by value where it cannot; all of it read by plain pickle."""

from __future__ import annotations

import functools
import pickle
import threading
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import tasks

from procession.wire.serial import Encoder

plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner), st.tuples(inner, inner)),
    max_leaves=20,
)


@pytest.fixture
def encoder() -> Encoder:
    """Give an encoder for a receiver with no names of `__main__`."""
    return Encoder(set())


@given(value=plain)
def test_plain_data(value: Any) -> None:
    """Plain data comes back equal."""
    assert pickle.loads(Encoder(set()).dumps(value)) == value


@given(sequence=st.lists(plain, min_size=2, max_size=5))
def test_pickles_do_not_depend_on_each_other(sequence: list[Any]) -> None:
    """The pickler is used again, and no pickle refers to an earlier one."""
    encoder = Encoder(set())
    pickles = [encoder.dumps(value) for value in sequence]
    assert [pickle.loads(each) for each in reversed(pickles)] == sequence[::-1]


def test_importable_functions_go_by_reference(encoder: Encoder) -> None:
    """A function of a module comes back as itself, and its pickle is short."""
    data = encoder.dumps(tasks.double)
    assert pickle.loads(data) is tasks.double
    assert len(data) < 80


def test_local_functions_go_by_value(encoder: Encoder) -> None:
    """Lambdas, closures, partials of them, and cached ones work on the other side."""
    factor = 3
    made = lambda x: factor * x
    for function in (made, functools.partial(made), functools.lru_cache(made)):
        copy = pickle.loads(encoder.dumps(function))
        assert copy(5) == 15
        assert copy is not function


def test_local_classes_go_by_value(encoder: Encoder) -> None:
    """An instance of a local class comes back with its class."""

    class Local:
        def __init__(self, x: int) -> None:
            self.x = x

        def twice(self) -> int:
            return 2 * self.x

    copy = pickle.loads(encoder.dumps([Local(4)]))[0]
    assert copy.twice() == 8
    assert type(copy).__name__ == "Local"


def test_functions_by_value_share_the_globals_of_their_module(encoder: Encoder) -> None:
    """A function by value of an importable module sees that module's globals, not a copy of them."""
    function = types.FunctionType(tasks.double.__code__, tasks.__dict__, "not_to_be_found")
    function.__module__ = tasks.__name__
    function.__qualname__ = "not_to_be_found"
    assert pickle.loads(encoder.dumps(function)).__globals__ is tasks.__dict__


def test_a_failure_leaves_no_trace(encoder: Encoder) -> None:
    """After an object that cannot be pickled, the same encoder pickles the next as if nothing had been."""
    before = encoder.dumps([1, "text"])
    for bad in (threading.Lock(), [1, threading.Lock()], _closure(threading.Lock())):
        with pytest.raises(TypeError, match="lock"):
            encoder.dumps(bad)
        assert encoder.dumps([1, "text"]) == before


def _closure(value: Any) -> Any:
    return lambda: value


class _PicklesInside:
    """Pickles something of its own while it is pickled."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def __reduce__(self) -> Any:
        return pickle.loads, (self.encoder.dumps(["inner"]),)


def test_a_reduction_may_pickle(encoder: Encoder) -> None:
    """An object that pickles another inside of its own pickling does not disturb it."""
    assert pickle.loads(encoder.dumps(["a", _PicklesInside(encoder), "b"])) == ["a", ["inner"], "b"]


def test_threads_pickle_at_the_same_time(encoder: Encoder) -> None:
    """One encoder serves many threads."""
    found: list[bool] = []

    def work(number: int) -> None:
        values = [[number] * n for n in range(200)]
        found.append(all(pickle.loads(encoder.dumps(value)) == value for value in values))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 6


def test_a_large_pickle_does_not_keep_its_buffer(encoder: Encoder) -> None:
    """After many megabytes the next pickle is small again, and right."""
    big = b"x" * 5_000_000
    assert pickle.loads(encoder.dumps(big)) == big
    assert encoder.dumps(1) == pickle.dumps(1, 5)
