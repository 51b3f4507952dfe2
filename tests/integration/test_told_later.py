"""What a process is told after its start, in pickles that are not ours, may name anything of `__main__`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.scripts import Completed, run_main

ROOT = Path(__file__).parents[2]

SCRIPT = """
import concurrent.futures, copyreg, math, os, signal, sys, threading
import procession as multiprocessing

FACTOR, LARGE, FILE, LOCK, ROWS = 10, bytes(5_000_000), open(os.devnull), threading.Lock(), [{"a": 1}]

class Huge:
    table = list(range(1_000_000))
    def __reduce__(self):
        raise RuntimeError("nobody wants this")

class Task:
    def __init__(self, number):
        self.number = number
    def __call__(self):
        return helper(self.number)

def helper(x):
    return math.floor(x) * FACTOR * ROWS[0]["a"]

def wants_large():
    return len(LARGE)

def wants_file():
    with LOCK:
        return FILE.read()

def consume(tasks, results):
    while (task := tasks.get()) is not None:
        try:
            results.put(task())
        except Exception as error:
            results.put(str(error))

"""


def run(text: str, folder: Path) -> Completed:
    """Run a script with all of these names in it, none of which its text needs to hand over."""
    return run_main(SCRIPT, text, folder)


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_a_consumer_of_a_queue(method: str, tmp_path: Path) -> None:
    """It gets instances, functions, and what these use; the large value stays, and says so."""
    found = run(
        f"""
context = multiprocessing.get_context("{method}")
tasks, results = context.Queue(), context.Queue()
process = context.Process(target=consume, args=(tasks, results))
process.start()
for task in (Task(3.5), wants_large, wants_file, None):
    tasks.put(task)
print([results.get(timeout=10) for _ in range(3)])
process.join()
""",
        tmp_path,
    ).stdout
    assert found.startswith("[30, ")
    assert method == "fork" or "the global 'LARGE' of __main__ is not available" in found
    assert method == "fork" or "and it is large" in found
    assert method == "fork" or "the global 'FILE' of __main__ is not available" in found


def test_a_managers_server(tmp_path: Path) -> None:
    """It unpickles what is put into its dicts."""
    text = """
with multiprocessing.Manager() as manager:
    things = manager.dict()
    things["task"] = Task(4)
    print(things["task"]())
"""
    assert run(text, tmp_path).stdout == "40\n"


def test_the_standard_executor_on_our_processes(tmp_path: Path) -> None:
    """As a script under `procession run` has it, which uses nothing else of ours."""
    text = """
with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context()) as executor:
    print(list(executor.map(helper, range(4))))
"""
    assert run(text, tmp_path).stdout == "[0, 10, 20, 30]\n"


def test_workers_whose_initializer_is_all_they_do(tmp_path: Path) -> None:
    """They are started without a task to wait for."""
    text = """
tasks, results = multiprocessing.Queue(), multiprocessing.Queue()
pool = multiprocessing.Pool(2, consume, (tasks, results))
tasks.put(Task(1))
print(results.get(timeout=10))
pool.terminate()
"""
    assert run(text, tmp_path).stdout == "10\n"


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_a_process_can_be_interrupted(method: str, tmp_path: Path) -> None:
    """By SIGINT, whatever blocked it while it started."""
    text = f"""
def wait(ready):
    try:
        ready.set()
        signal.pause()
    except KeyboardInterrupt:
        sys.exit(7)

context = multiprocessing.get_context("{method}")
ready = context.Event()
process = context.Process(target=wait, args=(ready,))
process.start()
ready.wait(10)
os.kill(process.pid, signal.SIGINT)
process.join()
print(process.exitcode)
"""
    assert run(text, tmp_path).stdout == "7\n"


def test_a_metaclass_may_say_how_its_classes_are_pickled(tmp_path: Path) -> None:
    """By `copyreg`, also where the class is not found by its name, as deap's are made anew when they are read."""
    text = """
class Meta(type):
    pass

def make(name):
    return Meta(name, (list,), {})

copyreg.pickle(Meta, lambda kind: (make, (kind.__name__,)))
old = make("Thing")
with multiprocessing.Pool(1) as pool:
    print(pool.map(sum, [old([1, 2])]))
"""
    assert run(text, tmp_path).stdout == "[3]\n"


def test_nothing_is_read_that_nothing_asks_for(tmp_path: Path) -> None:
    """Neither are modules imported for it; a process of the process has it, too."""
    text = """
import decimal

def precise(x):
    return decimal.Decimal(x)

def look(results):
    before = "decimal" in sys.modules
    main = sys.modules["__main__"]
    results.put((before, hasattr(main, "precise"), hasattr(main, "nothing"), "decimal" in sys.modules))

def outer(tasks, results):
    inner = multiprocessing.Process(target=consume, args=(tasks, results))
    inner.start()
    inner.join()

results, tasks = multiprocessing.Queue(), multiprocessing.Queue()
process = multiprocessing.Process(target=look, args=(results,))
process.start()
print(results.get(timeout=10))
process.join()
process = multiprocessing.Process(target=outer, args=(tasks, results))
process.start()
tasks.put(Task(2))
tasks.put(None)
print(results.get(timeout=10))
process.join()
"""
    assert run(text, tmp_path).stdout == "(False, True, False, True)\n20\n"


def test_what_goes_along_holds_nothing_and_fails_at_nothing(tmp_path: Path) -> None:
    """A pipe that an unrelated function names comes to its end; a global that cannot be pickled stops no start."""
    text = """
class Odd:
    def __reduce__(self):
        raise SystemExit("nobody needs this")

reader, writer = multiprocessing.Pipe(duplex=False)
odd = Odd()

def produce():
    writer.send(1)
    writer.close()
    return odd

def read_all(reader):
    try:
        while True:
            print(reader.recv(), flush=True)
    except EOFError:
        print("end", flush=True)

process = multiprocessing.Process(target=read_all, args=(reader,))
process.start()
produce()
process.join()
"""
    assert run(text, tmp_path).stdout == "1\nend\n"
