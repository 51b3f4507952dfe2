"""Functions run as they were written: every kind of thing that a `__main__` may define, fed in every way there is.

Each body is a whole script without a guard. It prints lines that begin with `=>`, which are what is asserted.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest
from tests.helpers.scripts import Completed, Via

everywhere = pytest.mark.parametrize("via", list(Via), ids=lambda via: via.value)
Script = Callable[..., Completed]


def said(run: Completed) -> list[str]:
    """Return what the script said, after checking that it ended well and left nothing."""
    return [line.removeprefix("=> ") for line in run.check().lines if line.startswith("=> ")]


@everywhere
def test_lambdas_and_closures(script: Script, via: Via) -> None:
    """A lambda, a closure and a nested function are mapped as they are."""
    run = script(
        """
        import procession
        def outer(offset):
            def inner(x):
                return x + offset
            return inner
        with procession.Pool(2) as pool:
            print("=>", pool.map(lambda x: x * x, range(5)))
            print("=>", pool.map(outer(10), range(3)))
            print("=>", [f(1) for f in pool.map(outer, [1, 2])])
            print("=>", pool.submit(lambda x, *, y: x - y, 5, y=3).result())
        print("=>", procession.map(lambda x: -x, range(3)))
        """,
        via,
    )
    assert said(run) == ["[0, 1, 4, 9, 16]", "[10, 11, 12]", "[2, 3]", "2", "[0, -1, -2]"]


@everywhere
def test_instances_come_back_as_instances_of_the_callers_class(script: Script, via: Via) -> None:
    """Classes of `__main__` are the same classes after the journey, in arguments, results and errors."""
    run = script(
        """
        import collections, dataclasses, enum, typing
        import procession
        class Plain:
            count = 7
            def __init__(self, x):
                self.x = x
            def __eq__(self, other):
                return isinstance(other, Plain) and self.x == other.x
        @dataclasses.dataclass(frozen=True)
        class Data:
            x: int
        class Sub(Plain):
            def __init__(self, x):
                super().__init__(x + 1)
            @property
            def twice(self):
                return 2 * self.x
        class Colour(enum.Enum):
            RED = 1
            BLUE = 2
        class Row(typing.NamedTuple):
            a: int
            b: str
        Point = collections.namedtuple("Point", "x y")
        class Oops(Exception):
            pass
        def same(thing):
            return thing
        def make(x):
            return [Plain(x), Data(x), Sub(x), Colour(x), Row(x, "b"), Point(x, 0)]
        def check(things):
            return [type(t).__name__ for t in things] + [things[2].twice, Plain.count, isinstance(things[2], Plain)]
        def fail(x):
            raise Oops(x)
        kinds = [Plain, Data, Sub, Colour, Row, Point]
        with procession.Pool(2) as pool:
            made = pool.map(make, [1, 2])
            print("=>", [type(t) is k for row in made for t, k in zip(row, kinds)] == [True] * 12)
            print("=>", all(isinstance(t, k) for row in made for t, k in zip(row, kinds)))
            print("=>", made == [make(1), make(2)], made[0][3] is Colour.RED)
            print("=>", pool.apply(check, (made[1],)))
            sent = make(1)
            print("=>", pool.map(same, sent) == sent, [type(t) is k for t, k in zip(pool.map(same, sent), kinds)])
            try:
                pool.map(fail, [5])
            except Oops as error:
                print("=>", "caught", error.args, type(error) is Oops)
        """,
        via,
    )
    assert said(run) == [
        "True",
        "True",
        "True True",
        "['Plain', 'Data', 'Sub', 'Colour', 'Row', 'Point', 6, 7, True]",
        "True [True, True, True, True, True, True]",
        "caught (5,) True",
    ]


@everywhere
def test_decorated_bound_and_partial(script: Script, via: Via) -> None:
    """Decorated functions, bound methods, static and class methods, callable instances and partials are tasks."""
    run = script(
        """
        import functools
        import procession
        def shout(f):
            @functools.wraps(f)
            def wrapper(*args):
                return str(f(*args)) + "!"
            return wrapper
        @shout
        def add(x, y=1):
            return x + y
        @functools.lru_cache(maxsize=None)
        def cached(x):
            return x + 100
        class Scale:
            unit = 10
            def __init__(self, k):
                self.k = k
            def times(self, x):
                return self.k * x
            def __call__(self, x):
                return -self.k * x
            @classmethod
            def units(cls, x):
                return cls.unit * x
            @staticmethod
            def plain(x):
                return x
        with procession.Pool(2) as pool:
            print("=>", pool.map(add, [1, 2]))
            print("=>", pool.map(cached, [1, 2]))
            print("=>", pool.map(Scale(3).times, [1, 2]), pool.map(Scale(3), [1, 2]))
            print("=>", pool.map(Scale.units, [1, 2]), pool.map(Scale.plain, [1, 2]))
            print("=>", pool.map(functools.partial(pow, 2), [3]))
            print("=>", pool.map(functools.partial(lambda a, b: a - b, 10), [1, 2]))
        """,
        via,
    )
    assert said(run) == [
        "['2!', '3!']",
        "[101, 102]",
        "[3, 6] [-3, -6]",
        "[10, 20] [1, 2]",
        "[8]",
        "[9, 8]",
    ]


@everywhere
def test_functions_of_main_call_each_other(script: Script, via: Via) -> None:
    """A function finds itself, the functions it calls, in both directions, and the modules that main imported."""
    run = script(
        """
        import math
        import os.path as p
        import procession
        def factorial(n):
            return 1 if n < 2 else n * factorial(n - 1)
        def even(n):
            return True if n == 0 else odd(n - 1)
        def odd(n):
            return False if n == 0 else even(n - 1)
        def floor(x):
            return math.floor(x) + len(p.basename("/a/bc"))
        with procession.Pool(2) as pool:
            print("=>", pool.map(factorial, [5, 10]))
            print("=>", pool.map(even, [4, 7]))
            print("=>", pool.map(floor, [1.5]))
        """,
        via,
    )
    assert said(run) == ["[120, 3628800]", "[True, False]", "[3]"]


@everywhere
def test_an_initializer_sets_what_the_tasks_read(script: Script, via: Via) -> None:
    """A global that the initializer of `__main__` sets is seen by its tasks, also where main has it as None."""
    run = script(
        """
        import procession
        data = None
        def prepare(value):
            global data, other
            data = value
            other = [value]
        def read(i):
            return data[i], other[0][i]
        with procession.Pool(2, initializer=prepare, initargs=("abc",)) as pool:
            print("=>", pool.map(read, range(3)))
            print("=>", pool.map(lambda i: data[i], range(3)))
            print("=>", pool.apply(read, (1,)))
        print("=>", data)
        """,
        via,
    )
    assert said(run) == ["[('a', 'a'), ('b', 'b'), ('c', 'c')]", "['a', 'b', 'c']", "('b', 'b')", "None"]


@everywhere
def test_a_changed_global_is_seen_by_the_next_call(script: Script, via: Via) -> None:
    """A global changed in `__main__` between two calls is seen by the second one, in the same workers."""
    run = script(
        """
        import procession
        factor = 2
        def scale(x):
            return x * factor
        def helper(x):
            return x + 1
        def indirect(x):
            return helper(x) * factor
        with procession.Pool(1) as pool:
            print("=>", pool.map(scale, [1, 2]), pool.map(indirect, [1]))
            factor = 3
            print("=>", pool.map(scale, [1, 2]), pool.map(indirect, [1]))
            def helper(x):
                return x + 10
            print("=>", pool.map(indirect, [1]))
            def scale(x):
                return "edited"
            print("=>", pool.map(scale, [1]))
        """,
        via,
    )
    assert said(run) == ["[2, 4] [4]", "[3, 6] [6]", "[33]", "['edited']"]


@everywhere
def test_a_worker_keeps_its_globals_between_tasks(script: Script, via: Via) -> None:
    """What a task sets in a global stays in its worker for the next task: caches work as in a plain script."""
    run = script(
        """
        import procession
        cache = {}
        calls = 0
        def count(x):
            global calls
            calls += 1
            cache[x] = calls
            return calls, len(cache)
        with procession.Pool(1) as pool:
            print("=>", [pool.apply(count, (x,)) for x in range(3)])
            print("=>", pool.map(count, [3, 4], 1))
        print("=>", calls, cache)
        """,
        via,
    )
    assert said(run) == ["[(1, 1), (2, 2), (3, 3)]", "[(4, 4), (5, 5)]", "0 {}"]


@everywhere
def test_a_generator_is_refused_clearly(script: Script, via: Via) -> None:
    """A task that returns a generator, or is one, fails with an error that says what to do, and the pool goes on."""
    run = script(
        """
        import procession
        def numbers(n):
            yield from range(n)
        def hidden(n):
            return {"numbers": (x for x in range(n))}
        with procession.Pool(2) as pool:
            for task in (numbers, hidden):
                try:
                    pool.map(task, [3])
                except Exception as error:
                    print("=>", "generator" in str(error), isinstance(error, procession.pool.MaybeEncodingError))
            print("=>", pool.map(lambda n: list(numbers(n)), [2, 3]))
        """,
        via,
    )
    assert said(run) == ["True True", "True True", "[[0, 1], [0, 1, 2]]"]


@everywhere
def test_processes_of_main(script: Script, via: Via) -> None:
    """A Process takes a lambda or a function of `__main__`; a subclass of `__main__` runs its own `run`."""
    run = script(
        """
        import procession
        class Greeter(procession.Process):
            def __init__(self, queue):
                super().__init__(name="greeter")
                self.queue = queue
            def run(self):
                self.queue.put(self.name + " of " + type(self).__name__)
        queue = procession.Queue()
        process = procession.Process(target=lambda: queue.put("from a lambda"))
        process.start()
        print("=>", queue.get(timeout=30))
        process.join()
        print("=>", process.exitcode)
        greeter = Greeter(queue)
        greeter.start()
        print("=>", queue.get(timeout=30))
        greeter.join()
        print("=>", greeter.exitcode, greeter.exception)
        """,
        via,
    )
    assert said(run) == ["from a lambda", "0", "greeter of Greeter", "0 None"]


@everywhere
def test_main_is_run_once(script: Script, via: Via) -> None:
    """`__main__` is never run again in a child: what it prints is printed once, and `__name__` is `__main__` there."""
    run = script(
        """
        import procession
        print("=>", "main runs")
        def who(_):
            return __name__
        print("=>", procession.map(who, [1]))
        def talk():
            print("=>", "child runs", flush=True)
        process = procession.Process(target=talk)
        process.start()
        process.join()
        """,
        via,
    )
    assert said(run) == ["main runs", "['__main__']", "child runs"]


GUARDED = """
import sys
import {library} as multiprocessing

offset = 5

def work(x):
    return x * 2 + offset

def prepare():
    global offset
    offset = 6

def main():
    with multiprocessing.Pool(2) as pool:
        print("=>", pool.map(work, range(4)))
        print("=>", sorted(pool.imap_unordered(work, range(4))))
    with multiprocessing.Pool(2, prepare) as pool:
        print("=>", pool.map(work, range(4)))
    process = multiprocessing.Process(target=print, args=("=> child",), kwargs=dict(flush=True))
    process.start()
    process.join()
    print("=>", process.exitcode, sys.argv[1:])

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("via", [Via.FILE, Via.COMMAND, Via.STDIN], ids=lambda via: via.value)
def test_a_script_with_a_guard_works_the_same(script: Script, via: Via) -> None:
    """An old script with a guard gives the same under Procession as under `multiprocessing`."""
    ours = said(script(GUARDED.format(library="procession"), via, args=["an", "argument"]))
    theirs = said(script(GUARDED.format(library="multiprocessing"), Via.FILE, args=["an", "argument"]))
    assert ours == theirs
    assert len(ours) == 5


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
@pytest.mark.parametrize("via", [Via.FILE, Via.STDIN], ids=lambda via: via.value)
def test_no_guard_is_needed_with_any_start_method(script: Script, via: Via, method: str) -> None:
    """Without a guard, under each start method, a script runs once and its functions run in the workers."""
    body = f"""
        import procession
        ctx = procession.get_context("{method}")
        class Thing:
            pass
        def make(x):
            return Thing()
        with ctx.Pool(2) as pool:
            print("=>", pool.map(lambda x: x + 1, range(3)))
            print("=>", all(type(t) is Thing for t in pool.map(make, range(3))))
        process = ctx.Process(target=lambda: print("=> child", flush=True))
        process.start()
        process.join()
        print("=>", process.exitcode)
    """
    assert said(script(body, via)) == ["[1, 2, 3]", "True", "child", "0"]


def test_a_module_run_by_m_works_the_same(script: Script, tmp_path: object) -> None:
    """`python -m module` is a `__main__` like others."""
    module = textwrap.dedent("""
        import procession
        class C:
            pass
        def make(x):
            return C()
        print("=>", all(type(c) is C for c in procession.map(make, range(3))))
    """)
    run = script(f"""
        import pathlib, runpy
        pathlib.Path("a_module.py").write_text({module!r})
        runpy.run_module("a_module", run_name="__main__", alter_sys=True)
    """)
    assert said(run) == ["True"]


def test_the_traceback_of_a_function_of_main_shows_its_source(script: Script) -> None:
    """An uncaught error of a task prints the worker's traceback with the lines of the script."""
    run = script("""
        import procession

        def divide(x):
            return 1 / x  # the guilty line

        procession.map(divide, [1, 0])
    """)
    assert run.code == 1
    assert run.left == ()
    assert "in divide" in run.stderr
    assert "the guilty line" in run.stderr
    assert run.stderr.rstrip().endswith("ZeroDivisionError: division by zero")


def test_prints_of_workers_are_seen(script: Script) -> None:
    """What workers print is in the script's output, in whole lines, before the script ends."""
    run = script("""
        import procession

        def talk(x):
            print("=>", "worker", x)

        procession.map(talk, range(20))
    """)
    assert sorted(said(run)) == sorted(f"worker {n}" for n in range(20))
