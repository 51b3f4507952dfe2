"""Objects that do not survive the way, in either direction: each costs its own item, and says why."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import bombs, tasks
from tests.helpers.gates import Notes
from tests.helpers.scripts import Completed

import procession

from . import awkward
from .awkward import RAISED, RaisesWhenPickled, RaisesWhenUnpickled, nested
from .faces import DEADLINE, FACES, Face

faces = pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)
kinds = pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
#: A KeyboardInterrupt while the caller pickles is taken for its own Ctrl-C.
foreign_kinds = pytest.mark.parametrize("kind", RAISED[:-1], ids=lambda kind: kind.__name__)
depths = pytest.mark.parametrize("wrap", [lambda thing: thing, nested], ids=["plain", "nested"])
#: Faces that pickle item by item in the parent after the call has returned a handle, and those that do so before.
LAZY = tuple(face for face in FACES if face.name not in ("submit", "map_async-5"))
lazy_faces = pytest.mark.parametrize("face", LAZY, ids=lambda face: face.name)
COUNT = 11
BAD = (3, 4, 9)


def _check_usable(pool: Any) -> None:
    assert pool.map(tasks.double, range(20), 3) == [2 * n for n in range(20)]
    assert pool.broken is None


def _check_neighbours(found: list[Any], notes: Notes) -> list[Any]:
    """Check the good items; return the outcomes of the bad ones."""
    assert len(found) == COUNT
    assert [found[n] for n in range(COUNT) if n not in BAD] == [n for n in range(COUNT) if n not in BAD]
    assert sorted(set(notes.texts())) == sorted(notes.texts())
    return [found[n] for n in BAD]


def _with_bad(make: Callable[[], Any]) -> list[Any]:
    return [make() if n in BAD else n for n in range(COUNT)]


# ----------------------------------------------------------------------------------------------------------- arguments


@lazy_faces
@foreign_kinds
@depths
def test_an_item_that_cannot_be_pickled(
    pool: Any, notes: Notes, wrap: Callable[[Any], Any], kind: type[BaseException], face: Face
) -> None:
    """It gets NotPicklable, which names it and what was raised; the others run once."""
    items = _with_bad(lambda: wrap(RaisesWhenPickled(kind)))
    errors = _check_neighbours(face.run(pool, functools.partial(awkward.number_of, notes), items), notes)
    for number, error in zip(BAD, errors, strict=True):
        assert type(error) is procession.NotPicklable
        assert error.path.startswith(f"item {number}")
        assert kind.__name__ in error.reason
    _check_usable(pool)


# In a script: an interrupt that comes out at the wrong place would end the whole test run.
INTERRUPTED = """
import procession, sys
from tests.faults.awkward import InterruptedWhenPickled

bad = InterruptedWhenPickled()
items = [bad if n in (3, 4, 9) else n for n in range(11)]
chunksize = eval(sys.argv[1])
with procession.Pool(2) as pool:
    for _ in range(5):
        try:
            pool.map(abs, items, chunksize)
        except KeyboardInterrupt:
            print("interrupted", pool.map(abs, range(20), 3) == list(range(20)), pool.broken)
"""


@pytest.mark.parametrize("chunksize", [None, 1, 5])
def test_an_interrupt_while_pickling_is_the_callers(script: Callable[..., Completed], chunksize: int | None) -> None:
    """A KeyboardInterrupt out of an item's pickling ends that map with it, and no other call; the pool stays usable."""
    run = script(INTERRUPTED, args=[repr(chunksize)], timeout=20)
    assert run.check().lines == ["interrupted True None"] * 5
    assert "Traceback" not in run.stderr


@foreign_kinds
@depths
def test_a_call_with_an_argument_that_cannot_be_pickled(
    pool: Any, wrap: Callable[[Any], Any], kind: type[BaseException]
) -> None:
    """The call itself raises NotPicklable, and nothing is run."""
    bad = wrap(RaisesWhenPickled(kind))
    for call in (
        lambda: pool.submit(tasks.double, bad),
        lambda: pool.apply_async(tasks.double, (bad,)),
        lambda: pool.map_async(tasks.double, [1, bad]),
    ):
        with pytest.raises(procession.NotPicklable, match=kind.__name__):
            call()
    _check_usable(pool)


def test_the_path_leads_to_the_part_at_fault(pool: Any) -> None:
    """NotPicklable names the argument and the way to the part in it that cannot be pickled."""
    handler = awkward.Holder(threading.Lock())
    with pytest.raises(procession.NotPicklable) as caught:
        pool.submit(tasks.double, awkward.Holder([1, 2, handler]))
    assert caught.value.path == "args[0].content[2].content"
    assert "lock" in caught.value.reason
    with pytest.raises(procession.NotPicklable) as caught:
        pool.submit(tasks.add, 1, z={"a": handler})
    assert "z" in caught.value.path
    assert caught.value.path.endswith("['a'].content")
    [error] = pool.map(tasks.double, [handler], on_error="return")
    assert error.path == "item 0.content"


@lazy_faces
def test_an_item_nested_too_deeply(pool: Any, notes: Notes, face: Face) -> None:
    """Real recursion in the pickler is NotPicklable for the item alone."""

    def make() -> Any:
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        return deep

    errors = _check_neighbours(face.run(pool, functools.partial(awkward.number_of, notes), _with_bad(make)), notes)
    assert {type(error) for error in errors} == {procession.NotPicklable}
    _check_usable(pool)


@faces
@kinds
@depths
def test_an_item_that_cannot_be_unpickled(
    pool: Any, notes: Notes, wrap: Callable[[Any], Any], kind: type[BaseException], face: Face
) -> None:
    """It gets the error that its unpickling raised in the worker; the others run once, the worker stays."""
    items = _with_bad(lambda: wrap(RaisesWhenUnpickled(kind, os.getpid())))
    errors = _check_neighbours(face.run(pool, functools.partial(awkward.number_of, notes), items), notes)
    assert {type(error) for error in errors} == {kind}
    assert all("on unpickling" in str(error) for error in errors)
    _check_usable(pool)


# ------------------------------------------------------------------------------------------------------------- results


@faces
@kinds
def test_a_result_that_cannot_be_pickled(pool: Any, notes: Notes, kind: type[BaseException], face: Face) -> None:
    """It is NotSendable, saying what was raised; nothing is run a second time, and no worker dies of it."""
    task = functools.partial(awkward.result_of, notes, dict.fromkeys(BAD, (RaisesWhenPickled, kind)))
    errors = _check_neighbours(face.run(pool, task, range(COUNT)), notes)
    for error in errors:
        assert type(error) is procession.NotSendable
        assert f"{kind.__name__}: on pickling" in str(error)
    _check_usable(pool)


@faces
@kinds
def test_a_result_that_cannot_be_unpickled(pool: Any, notes: Notes, kind: type[BaseException], face: Face) -> None:
    """It is NotSendable, saying what was raised here, whose exception is its cause."""
    made = (RaisesWhenUnpickled, kind, -1)
    task = functools.partial(awkward.result_of, notes, dict.fromkeys(BAD, made))
    errors = _check_neighbours(face.run(pool, task, range(COUNT)), notes)
    for error in errors:
        assert type(error) is procession.NotSendable
        assert type(error.__cause__) is kind
    _check_usable(pool)


@faces
def test_generators_are_no_results(pool: Any, face: Face) -> None:
    """A function that yields is told so: NotSendable names the generator and what to return instead."""
    for error in face.run(pool, awkward.generate, range(4)):
        assert type(error) is procession.NotSendable
        assert "generator" in str(error)
        assert "list" in str(error)
    _check_usable(pool)


# ---------------------------------------------------------------------------------------------------------- exceptions

#: An error that a task raises, with arguments; and the class that arrives.
ERRORS: dict[str, tuple[Any, type[BaseException]]] = {
    "carries-data": ((bombs.CarriesDataError, (7,), {"text": "seven"}), bombs.CarriesDataError),
    "needs-arguments": ((bombs.NeedsArgsError, (7, "seven"), {}), procession.RemoteError),
    "holds-a-lock": ((bombs.HoldsLockError, (), {}), procession.RemoteError),
    "unpicklable-part": ((ValueError, (RaisesWhenPickled(SystemExit, os.getpid()),), {}), procession.RemoteError),
    "unpickles-badly": ((bombs.UnpicklesBadlyError, (), {}), procession.RemoteError),
    "unpickles-fatally": ((ValueError, (RaisesWhenUnpickled(SystemExit, -1),), {}), procession.RemoteError),
    "unprintable": ((bombs.UnprintableError, (), {}), bombs.UnprintableError),
    "keyboard-interrupt": ((KeyboardInterrupt, ("mine",), {}), KeyboardInterrupt),
    "system-exit": ((SystemExit, (3,), {}), SystemExit),
    "generator-exit": ((GeneratorExit, (), {}), GeneratorExit),
    "stop-iteration": ((StopIteration, (5,), {}), StopIteration),
    "recursion": ((RecursionError, ("deep",), {}), RecursionError),
    "unicode": ((UnicodeDecodeError, ("utf-8", b"\xff", 0, 1, "why"), {}), UnicodeDecodeError),
    "os": ((FileNotFoundError, (2, "none", "/nowhere"), {}), FileNotFoundError),
}


@faces
@pytest.mark.parametrize("name", [name for name in ERRORS if name != "unpickles-fatally"])
def test_whatever_is_raised_arrives(pool: Any, notes: Notes, name: str, face: Face) -> None:
    """An error comes as its own class, or a RemoteError that says what it was, with its traceback."""
    made, expected = ERRORS[name]
    task = functools.partial(awkward.raise_for, notes, dict.fromkeys(BAD, made))
    for error in _check_neighbours(face.run(pool, task, range(COUNT)), notes):
        assert type(error) is expected
        assert "in raise_for" in str(error.__cause__)
        if expected is procession.RemoteError:
            assert made[0].__name__ in str(error)
    _check_usable(pool)


def test_an_error_keeps_its_data(pool: Any) -> None:
    """Attributes of an exception that pickles properly arrive; one that does not still tells its text."""
    error = pool.submit(tasks.throw, bombs.CarriesDataError, 7, text="seven").exception(DEADLINE)
    assert (error.code, error.text) == (7, "seven")
    error = pool.submit(tasks.throw, bombs.NeedsArgsError, 7, "seven").exception(DEADLINE)
    assert "NeedsArgsError: 7: seven" in str(error)
    assert "missing" in error.reason


def test_an_error_that_cannot_be_read_here(pool: Any) -> None:
    """An exception whose unpickling exits the reader is a RemoteError, and this process goes on."""
    error = pool.submit(_raise_fatal).exception(DEADLINE)
    assert type(error) is procession.RemoteError
    assert "SystemExit" in error.reason
    _check_usable(pool)


def _raise_fatal() -> None:
    raise ValueError(RaisesWhenUnpickled(SystemExit, os.getpid()))


# --------------------------------------------------------------------------------------------- what is refused at once


CALLS: dict[str, Callable[[Any, Any], object]] = {
    "map": lambda pool, function: pool.map(function, [1]),
    "starmap": lambda pool, function: pool.starmap(function, [(1,)]),
    "map_async": lambda pool, function: pool.map_async(function, [1]),
    "imap": lambda pool, function: pool.imap(function, [1]),
    "imap_unordered": lambda pool, function: pool.imap_unordered(function, [1]),
    "outcomes": lambda pool, function: pool.outcomes(function, [1]),
    "submit": lambda pool, function: pool.submit(function, 1),
    "apply": lambda pool, function: pool.apply(function, (1,)),
    "apply_async": lambda pool, function: pool.apply_async(function, (1,)),
}
calls = pytest.mark.parametrize("name", CALLS)


@calls
@pytest.mark.parametrize("thing", [3, None, "double", [tasks.double]], ids=["int", "None", "str", "list"])
def test_what_cannot_be_called_is_refused(pool: Any, name: str, thing: object) -> None:
    """A non-callable is a TypeError, at the call and in the caller."""
    with pytest.raises(TypeError):
        CALLS[name](pool, thing)
    _check_usable(pool)


@calls
def test_a_function_that_cannot_be_sent_is_refused(pool: Any, name: str) -> None:
    """A closure over what cannot be pickled is NotPicklable at the call, with the name of the closed-over variable."""
    lock = threading.Lock()
    with pytest.raises(procession.NotPicklable, match="lock"):
        CALLS[name](pool, lambda item: lock)
    _check_usable(pool)


@pytest.mark.parametrize("size", [0, -1, 1.5, "2"], ids=repr)
def test_a_bad_chunksize_is_refused(pool: Any, size: Any) -> None:
    """A chunksize that is no positive integer is an error at the call."""
    for call in (pool.map, pool.map_async, pool.imap, pool.imap_unordered, pool.outcomes):
        with pytest.raises((ValueError, TypeError)):
            call(tasks.double, [1], size)


@pytest.mark.parametrize("count", [0, -1, 1.5, "2"], ids=repr)
def test_a_bad_count_is_refused(count: Any) -> None:
    """A number of workers, or of tasks for each, that is no positive integer is an error when the pool is made."""
    with pytest.raises((ValueError, TypeError)):
        procession.Pool(count)
    with pytest.raises((ValueError, TypeError)):
        procession.Pool(1, maxtasksperchild=count)


def test_a_bad_policy_is_refused(pool: Any) -> None:
    """An unknown on_error is a ValueError that lists those there are."""
    with pytest.raises(ValueError, match="skip"):
        pool.map(tasks.double, [1], on_error="ignore")


def test_a_pool_cannot_be_sent(pool: Any) -> None:
    """A pool as an argument is refused with a reason."""
    with pytest.raises(procession.NotPicklable, match="pool objects cannot be passed"):
        pool.submit(tasks.double, pool)


@pytest.mark.parametrize("chunksize", [1, 4])
@pytest.mark.parametrize("unordered", [False, True])
def test_an_input_that_raises_midway_in_a_stream(pool: Any, chunksize: int, unordered: bool) -> None:
    """What was pulled before is delivered first; then the input's own error is raised, and then it is over."""
    run = pool.imap_unordered if unordered else pool.imap
    found, stream = [], run(tasks.double, tasks.failing_input(10), chunksize)
    with pytest.raises(tasks.InputError):
        _drain(stream, found)
    assert sorted(found) == [2 * n for n in range(10)]
    with pytest.raises(StopIteration):
        next(stream)
    _check_usable(pool)


def _drain(stream: Any, found: list[int]) -> None:
    for value in stream:
        found.append(value)  # noqa: PERF402 - what came before the error must be kept


@pytest.mark.parametrize("call", ["map", "map_async", "starmap"])
def test_an_input_that_raises_midway_in_a_map(pool: Any, call: str) -> None:
    """The input's own error is raised in the caller, and the pool stays."""
    for items in (tasks.failing_input(3), tasks.FailingSequence(10, 3)):
        with pytest.raises(tasks.InputError):
            getattr(pool, call)(tasks.double, items)
    _check_usable(pool)


# --------------------------------------------------------------------------- a function that the worker cannot import

FRAGILE = """
import os, sys
if os.getpid() != {pid}:
    {failure}
def function(item):
    return item
"""
FAILURES = {
    "ImportError": "raise ImportError('only at home')",
    "SystemExit": "sys.exit('only at home')",
    "KeyboardInterrupt": "raise KeyboardInterrupt('only at home')",
    "SyntaxError": "compile('only at home', 'fragile', 'exec')",
}


@pytest.fixture
def fragile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Give a function that makes a module which only this process can import."""

    def make(failure: str) -> Any:
        name = f"fragile_{failure.lower()}"
        text = FRAGILE.format(pid=os.getpid(), failure=FAILURES[failure])
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        module = __import__(name)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return make


@faces
@pytest.mark.parametrize("failure", FAILURES)
def test_a_function_that_the_worker_cannot_import(
    pool: Any, fragile: Callable[[str], Any], failure: str, face: Face
) -> None:
    """Each of its items gets the error of the import; other functions run on the same workers."""
    function = fragile(failure).function
    errors = face.run(pool, function, range(7))
    assert [type(error).__name__ for error in errors] == [failure] * 7
    _check_usable(pool)
    assert type(pool.submit(function, 1).exception(DEADLINE)).__name__ == failure


def test_a_module_that_only_the_parent_has(pool: Any) -> None:
    """A function of a module that was made by hand travels by value."""
    import types

    module = types.ModuleType("made_by_hand")
    exec("def function(item):\n    return item + 1", module.__dict__)
    sys.modules["made_by_hand"] = module
    try:
        assert pool.map(module.function, [1, 2]) == [2, 3]
    finally:
        del sys.modules["made_by_hand"]
