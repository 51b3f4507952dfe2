"""Promise 9, work survives you: what a journal has is not run again, and what it has not is."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from tests.helpers import tasks
from tests.helpers.eventually import eventually
from tests.helpers.gates import Gate, Notes
from tests.helpers.scripts import Completed

import procession
from procession.journal import writer as writing
from procession.journal.identity import identify
from procession.journal.journal import is_open_here, open_journal
from procession.journal.reading import iterate_journal, read_runs
from procession.sharing import SharedArray

pytestmark = pytest.mark.not_in_stdlib("journal= is ours")


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """Give the path of a journal that is not there yet."""
    return str(tmp_path / "run.db")


def square(notes: Notes, item: int) -> int:
    """Note the item, and square it; every fifth is wrong."""
    notes.write(item)
    if item % 5 == 4:
        raise ValueError(f"no {item}")
    return item * item


def expected(items: Any) -> list[Any]:
    """What `square` makes of items, in words where it is wrong."""
    return [f"ValueError('no {n}')" if n % 5 == 4 else n * n for n in items]


def in_words(found: Any) -> list[Any]:
    """Values as they are, errors in words."""
    return [repr(each) if isinstance(each, BaseException) else each for each in found]


CALLS: dict[str, Callable[..., Any]] = {
    "map": lambda pool, f, items, **how: pool.map(f, items, **how),
    "imap": lambda pool, f, items, **how: list(pool.imap(f, iter(items), **how)),
    "imap of a list": lambda pool, f, items, **how: list(pool.imap(f, list(items), **how)),
    "map_async": lambda pool, f, items, **how: pool.map_async(f, items, **how).get(60),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_same_call_does_the_rest(pool: Any, journal: str, tmp_path: Path, call: str) -> None:
    """What is done is given out again without being run, what has failed too; new items are run, wherever they are."""
    run, notes = CALLS[call], Notes(tmp_path / "notes")
    function = functools.partial(square, notes)
    how = {"journal": journal, "on_error": "return"}
    assert in_words(run(pool, function, range(10), **how)) == expected(range(10))
    assert sorted(notes.texts(), key=int) == [str(n) for n in range(10)]
    items = [30, *range(5, 15), 3, 31]
    assert in_words(run(pool, function, items, **how)) == expected(items)
    assert sorted(map(int, notes.texts()[10:])) == [10, 11, 12, 13, 14, 30, 31]
    assert in_words(run(pool, function, items, **how)) == expected(items)
    assert len(notes.texts()) == 17


def test_failures_are_run_again_if_asked(pool: Any, journal: str, tmp_path: Path) -> None:
    """`resume="failed"`, and what succeeds then is the outcome from now on."""
    notes = Notes(tmp_path / "notes")
    function = functools.partial(square, notes)
    for _ in range(2):
        pool.map(function, range(10), journal=journal, on_error="return", resume="failed")
    assert sorted(map(int, notes.texts())) == sorted([*range(10), 4, 9])
    rows = list(iterate_journal(journal))
    assert [(row.position, row.outcome) for row in rows] == [(n, "error" if n % 5 == 4 else "ok") for n in range(10)]


def test_an_error_comes_back_as_itself(pool: Any, journal: str, tmp_path: Path) -> None:
    """With the traceback of where it was raised."""
    function = functools.partial(square, Notes(tmp_path / "notes"))
    for _ in range(2):
        with pytest.raises(ValueError, match="no 4") as caught:
            pool.map(function, range(10), journal=journal)
    assert "raise ValueError" in str(caught.value.__cause__)


def test_outcomes_say_whether_they_are_replayed(pool: Any, journal: str) -> None:
    """And count in their places."""
    pool.map(abs, [1, 2], journal=journal)
    found = list(pool.outcomes(abs, [0, 1, 2], journal=journal))
    assert [(outcome.index, outcome.value, outcome.replayed) for outcome in found] == [
        (0, 0, False),
        (1, 1, True),
        (2, 2, True),
    ]


def test_equal_items_are_told_apart_by_their_number(pool: Any, journal: str, tmp_path: Path) -> None:
    """A second of the same is another item."""
    notes = Notes(tmp_path / "notes")
    function = functools.partial(square, notes)
    assert pool.map(function, [1, 1, 2], journal=journal) == [1, 1, 4]
    assert pool.map(function, [2, 1, 1, 1], journal=journal) == [4, 1, 1, 1]
    assert len(notes.texts()) == 4


def test_a_key_names_an_item(pool: Any, journal: str, tmp_path: Path) -> None:
    """Whatever else the item holds; and two of the same are an error at the call."""
    notes = Notes(tmp_path / "notes")
    function = functools.partial(square, notes)
    how: dict[str, Any] = {"journal": journal, "key": lambda item: item % 10}
    assert pool.map(function, [1, 2, 3], **how) == [1, 4, 9]
    assert pool.map(function, [11, 12, 13], **how) == [1, 4, 9]
    with pytest.raises(ValueError, match="two items have the key 1"):
        pool.map(function, [1, 11], **how)


def random_number(_item: int) -> float:
    """Draw one."""
    return float(procession.rng().random())


def test_seeded_items_are_known_by_their_position(pool: Any, journal: str) -> None:
    """A resumed run has the digits of one that was not interrupted; another seed or place is another item."""
    whole = pool.map(random_number, [0] * 8, seed=5)
    assert pool.map(random_number, [0] * 5, seed=5, journal=journal) == whole[:5]
    assert pool.map(random_number, [0] * 8, seed=5, journal=journal) == whole
    assert pool.map(random_number, [0] * 8, seed=6, journal=journal) != whole


def scale(array: Any) -> Any:
    """Twice the array."""
    return array * 2


def test_arrays_are_items_and_values(pool: Any, journal: str) -> None:
    """They are known by their content, and come back as they were."""
    arrays = [np.full(20_000, float(n)) for n in range(3)]
    first = pool.map(scale, arrays, journal=journal)
    second = list(pool.outcomes(scale, arrays, journal=journal))
    assert all(outcome.replayed for outcome in second)
    assert all(np.array_equal(outcome.value, array) for outcome, array in zip(second, first, strict=True))
    assert os.path.getsize(journal) < 100_000  # compressed


def version(number: int) -> Any:
    """One of two functions of the same name."""

    if number == 1:

        def work(item: int) -> int:
            return item + 1

    else:

        def work(item: int) -> int:
            return item + 1 + 1

    return work


def test_a_changed_function_is_noticed(pool: Any, journal: str) -> None:
    """With a warning, or an error if it is to be refused, as long as an outcome is of the other code."""
    pool.map(version(1), [1], journal=journal)
    with pytest.raises(procession.JournalChanged, match="work has changed since"):
        pool.map(version(2), [1], journal=journal, on_change="refuse")
    with pytest.warns(procession.JournalWarning, match="work has changed since"):
        assert pool.map(version(2), [1], journal=journal) == [2]
    with pytest.warns(procession.JournalWarning, match="work has changed since"):
        assert pool.map(version(2), [1, 2], journal=journal) == [2, 4]
    for each in (version(1), version(2)):
        with pytest.raises(procession.JournalChanged, match="work has changed since"):
            pool.map(each, [1], journal=journal, on_change="refuse")


def test_an_unchanged_function_is_not_told_of(pool: Any, journal: str) -> None:
    """Nor is one that has changed before it had an outcome."""
    assert pool.map(version(1), [], journal=journal) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pool.map(version(2), [1], journal=journal) == [3]
        assert pool.map(version(2), [1], journal=journal, on_change="refuse") == [3]


def test_several_functions_and_labels_share_a_file(pool: Any, journal: str) -> None:
    """Each has a run of its own."""
    assert pool.map(abs, [-1], journal=journal) == [1]
    assert pool.map(str, [-1], journal=journal) == ["-1"]
    assert pool.map(abs, [-2], journal=journal, label="again") == [2]
    assert [(run.function, run.label, run.counts, run.state) for run in read_runs(journal)] == [
        ("abs", "", {"ok": 1}, "done"),
        ("str", "", {"ok": 1}, "done"),
        ("abs", "again", {"ok": 1}, "done"),
    ]


def test_a_value_that_cannot_be_pickled_here_is_run_again(journal: str) -> None:
    """It has an outcome, and no value."""
    with procession.Pool(1, backend="inline") as pool:
        for _ in range(2):
            assert len(pool.map(lambda _item: threading.Lock(), [1], journal=journal)) == 1
    (row,) = iterate_journal(journal)
    assert (row.outcome, row.value) == ("ok", None)
    assert "cannot be pickled" in (row.error or "")


def test_the_rows_tell_all(one_pool: Any, journal: str, tmp_path: Path) -> None:
    """As a DataFrame, where pandas is."""
    function = functools.partial(square, Notes(tmp_path / "notes"))
    one_pool.map(function, range(6), journal=journal, on_error="return", retries=1)
    table = procession.read_journal(journal)
    assert list(table["outcome"]) == ["ok"] * 4 + ["error", "ok"]
    assert list(table["tries"]) == [1, 1, 1, 1, 2, 1]
    assert list(table["item"]) == [str(n) for n in range(6)]
    assert table["value"][5] == 25
    assert table["error"][4] == "ValueError: no 4"
    assert (table["memory"] > 1_000_000).all()
    assert set(table["pid"]) <= set(Notes(tmp_path / "notes").pids())


def test_early_ends_count_what_is_replayed(one_pool: Any, journal: str, tmp_path: Path) -> None:
    """Values and failures of before are values and failures."""
    function = functools.partial(square, Notes(tmp_path / "notes"))
    one_pool.map(function, range(4), journal=journal)
    assert one_pool.map(function, range(100), journal=journal, stop_when=3) == [0, 1, 4]
    with pytest.raises(procession.TooManyFailures):
        one_pool.map(function, range(100), journal=journal, max_failures=2, on_error="skip")


# The file.


def test_it_is_the_owners_alone(one_pool: Any, journal: str) -> None:
    """Reading it runs what is in it, so one that others can write is refused, before anything is read."""
    old = os.umask(0)
    try:
        one_pool.map(abs, [1], journal=journal)
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(journal).st_mode) == 0o600
    os.chmod(journal, 0o620)
    with pytest.raises(procession.JournalUnsafe, match="chmod go-w"):
        one_pool.map(abs, [1], journal=journal)
    with pytest.raises(procession.JournalUnsafe):
        procession.read_journal(journal)


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"just a text" * 50, "of another kind"), (b"SQLite format 3\0", "cut off"), (b"SQL", "cut off")],
)
def test_what_is_no_journal_is_said(one_pool: Any, journal: str, content: bytes, says: str) -> None:
    """And left as it is."""
    Path(journal).write_bytes(content)
    os.chmod(journal, 0o600)
    with pytest.raises(procession.NoJournal, match=says):
        one_pool.map(abs, [1], journal=journal)
    assert Path(journal).read_bytes() == content


def test_a_database_of_something_else(one_pool: Any, journal: str) -> None:
    """Is no journal either."""
    connection = sqlite3.connect(journal)
    connection.execute("CREATE TABLE items (a)")
    connection.commit()
    connection.close()
    os.chmod(journal, 0o600)
    with pytest.raises(procession.NoJournal, match="something else"):
        one_pool.map(abs, [1], journal=journal)


def test_a_journal_that_was_cut_off(one_pool: Any, journal: str) -> None:
    """Is an error, not a crash."""
    one_pool.map(abs, range(3000), journal=journal)
    size = os.path.getsize(journal)
    os.truncate(journal, size // 2)
    with pytest.raises(procession.JournalError):
        one_pool.map(abs, range(3000), journal=journal)


def test_a_folder_that_is_not_there(one_pool: Any, tmp_path: Path) -> None:
    """Is an error at the call, and nothing is run."""
    with pytest.raises(procession.JournalFailed, match="No such file"):
        one_pool.map(abs, [1], journal=tmp_path / "missing" / "run.db")
    with pytest.raises(procession.NoJournal, match="is no file"):
        one_pool.map(abs, [1], journal=os.devnull)


FULL = """
import resource, signal, sys
import procession

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as the disk is full: a write fails
def fat(item):
    return bytes(str(item), "ascii") * 2000
with procession.Pool(2) as pool:
    pool.map(abs, [1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
    import os
    incompressible = lambda item: os.urandom(20_000)
    try:
        pool.map(incompressible, range(2000), journal="run.db")
    except procession.JournalFailed as error:
        print("map:", len(error.results) > 0, set(map(len, error.results.values())), str(error)[:12])
    got = 0
    try:
        for value in pool.imap(incompressible, range(2000, 4000), journal="other.db"):
            got += 1
    except procession.JournalFailed as error:
        print("imap:", got > 0)
    print(pool.map(abs, [-1]))
"""


def test_a_full_disk_loses_nothing_that_is_in_hand(script: Callable[..., Completed]) -> None:
    """The run ends with an error that has the results; what was durable stays; the pool goes on."""
    run = script(FULL)
    run.check()
    assert run.stdout.splitlines() == ["map: True {20000} the journal ", "imap: True", "[1]"]


WRITER = """
import sys, time, procession
from tests.helpers.gates import Notes
def work(item):
    return item
def items():
    for item in range(3):
        yield item
    sys.stdin.readline()
with procession.Pool(1) as pool:
    for value in pool.imap(work, items(), journal=sys.argv[1]):
        print(value, flush=True)
"""


@pytest.fixture
def writer(journal: str, tmp_path: Path, no_leaks: None) -> Any:
    """Give a process that has written three items, and waits."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])}
    command = [sys.executable, "-c", WRITER, journal]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(3)] == ["0\n", "1\n", "2\n"]
        yield process
        process.kill()


def test_two_processes_do_not_write_the_same(one_pool: Any, journal: str, writer: Any) -> None:
    """The second is told which is the first; when that is gone, however it ended, the file is free."""
    with pytest.raises(procession.JournalLocked, match=f"process {writer.pid}"):
        one_pool.map(abs, [1], journal=journal)
    writer.kill()
    writer.wait()
    assert one_pool.map(abs, [1], journal=journal) == [1]


def test_it_can_be_read_while_it_is_written(journal: str, writer: Any) -> None:
    """What has arrived is there within a second, and survives the writer."""
    begin = time.monotonic()
    eventually(lambda: len(procession.read_journal(journal)) == 3, 10)
    assert time.monotonic() - begin < 5
    (run,) = read_runs(journal)
    assert (run.state, run.alive, run.counts) == ("running", True, {"ok": 3})
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    (run,) = read_runs(journal)
    assert (run.state, run.alive) == ("running", False)
    assert [row.value for row in iterate_journal(journal)] == [0, 1, 2]


def test_a_ctrl_c_leaves_what_was_done(script: Callable[..., Completed], tmp_path: Path) -> None:
    """All of it, at once."""
    run = script(
        "import os, signal, procession\n"
        "def work(item):\n"
        "    if item == 50:\n"
        "        os.kill(PARENT, signal.SIGINT)\n"
        "        while True:\n"
        "            signal.pause()\n"
        "    return item\n"
        "PARENT = os.getpid()\n"
        "with procession.Pool(1) as pool:\n"
        "    for value in pool.imap(work, range(100), journal='run.db'):\n"
        "        print(value)\n"
    )
    assert run.code == -signal.SIGINT, run
    printed = [int(line) for line in run.stdout.split()]
    (found,) = read_runs(tmp_path / "run.db")
    assert found.state == "interrupted"
    assert "ignored" not in run.stderr
    assert {row.value for row in iterate_journal(tmp_path / "run.db")} >= set(printed)


def test_a_read_only_folder_can_be_read(one_pool: Any, journal: str, tmp_path: Path) -> None:
    """As can one that is on a medium where nothing can be written."""
    one_pool.map(abs, [1], journal=journal)
    os.chmod(tmp_path, 0o500)
    try:
        assert len(procession.read_journal(journal)) == 1
    finally:
        os.chmod(tmp_path, 0o700)


@pytest.mark.needs_processes("in the caller's process nothing is ever being waited for")
def test_two_maps_of_one_process_share_a_journal(pool: Any, journal: str, make_gate: Callable[[], Gate]) -> None:
    """While one runs, another goes on with the same file."""
    gate = make_gate()
    first = pool.map_async(functools.partial(tasks.through_first, gate), [0], journal=journal)
    gate.wait_arrived()
    assert pool.map(abs, [-5], journal=journal) == [5]
    gate.open()
    assert first.get(60) == [0]
    assert [run.state for run in read_runs(journal)] == ["done", "done"]


def shared(notes: Notes, item: int) -> dict[str, Any]:
    """Note the item, and return what is in shared memory."""
    notes.write(item)
    array = procession.shared_array(4, int)
    array[:] = item
    return {"array": array, "part": array[1:3], "handle": procession.share({"item": item})}


def test_what_is_shared_is_kept_by_its_content(pool: Any, journal: str, tmp_path: Path) -> None:
    """Its memory ends with the run; what is read from the journal has memory of its own."""
    notes = Notes(tmp_path / "notes")
    for _ in range(2):
        found = pool.map(functools.partial(shared, notes), [3, 4], journal=journal)
        assert [each["array"].tolist() for each in found] == [[3] * 4, [4] * 4]
        assert [each["part"].tolist() for each in found] == [[3] * 2, [4] * 2]
        assert [each["handle"].value for each in found] == [{"item": 3}, {"item": 4}]
        assert all(type(each["array"]) is SharedArray for each in found)
    assert sorted(notes.texts()) == ["3", "4"]


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_the_files_beside_it_are_checked_too(one_pool: Any, journal: str, suffix: str) -> None:
    """SQLite takes up what is in them."""
    Path(journal + suffix).touch()
    Path(journal + suffix).chmod(0o666)
    with pytest.raises(procession.JournalUnsafe, match=f"others than its owner can write to .*{suffix}"):
        one_pool.map(abs, [1], journal=journal)


def test_a_slow_disk_holds_up_who_hands_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When more than so many bytes wait, they are written before others come."""
    monkeypatch.setattr(writing, "WAITING_BYTES", 1000)
    monkeypatch.setattr(writing, "COMMIT_SECONDS", 1000.0)  # only who waits has it written
    journal = open_journal(str(tmp_path / "run.db"))
    run = journal.run(identify(abs, None), "", options={}, total=None, on_change="warn")
    for number in range(4):
        run.put([run.row(bytes([number]), number, "item", os.urandom(400), None, 1, 0.0, 1, None)])
    assert len(journal.select("SELECT * FROM items", ())) == 3
    journal.close()


def test_any_text_can_be_an_item(pool: Any, journal: str) -> None:
    """Names of files may hold what is no Unicode; it is described with escapes."""
    items = ["a", "\udcff", "b"]
    assert pool.map(tasks.identity, items, journal=journal) == items
    assert [row.item for row in iterate_journal(journal)] == ["a", "\\udcff", "b"]
    assert [row.value for row in iterate_journal(journal)] == items


def test_equal_items_with_names_are_the_same(pool: Any, journal: str, tmp_path: Path) -> None:
    """Whatever of them are the same objects."""
    notes, text = Notes(tmp_path / "notes"), "text"
    for pair in (Pair(text, text), Pair(text, "".join(list(text)))):
        assert pool.map(functools.partial(tasks.note, notes), [pair], journal=journal) == [pair]
    assert len(notes.texts()) == 1


class Pair(NamedTuple):
    """An item."""

    one: str
    other: str


def test_threads_may_begin_the_same_run(one_pool: Any, journal: str) -> None:
    """They share it."""
    ready = threading.Barrier(4)
    errors: list[BaseException] = []

    def begin() -> None:
        ready.wait()
        try:
            assert one_pool.map(abs, [-1], journal=journal) == [1]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(read_runs(journal)) == 1


def test_an_iterator_that_is_dropped_lets_go_of_the_file(one_pool: Any, journal: str) -> None:
    """Soon; what was done is in it."""
    result = one_pool.imap(abs, itertools.count(1000), journal=journal)
    assert next(result) == 1000
    del result
    eventually(lambda: is_open_here(journal) is None, 20)
    (run,) = read_runs(journal)
    assert run.state == "interrupted"
    assert next(iterate_journal(journal)).value == 1000


def test_a_run_whose_input_failed_is_not_done(one_pool: Any, journal: str) -> None:
    """There would have been more."""
    with pytest.raises(tasks.InputError):
        list(one_pool.imap(abs, tasks.failing_input(3), journal=journal))
    (run,) = read_runs(journal)
    assert (run.state, run.counts) == ("interrupted", {"ok": 3})


def test_a_bar_that_cannot_be_made_leaves_no_journal_open(one_pool: Any, journal: str) -> None:
    """The call fails, and that is all."""

    class Broken:
        def __init__(self, **_options: Any) -> None:
            raise RuntimeError("no bar")

    for call in (one_pool.map, lambda *args, **options: list(one_pool.imap(*args, **options))):
        with pytest.raises(RuntimeError, match="no bar"):
            call(abs, [1], journal=journal, progress=Broken)
        assert is_open_here(journal) is None


@pytest.mark.leaves_things("a fork of the test runner")
def test_a_fork_leaves_an_open_journal_alone(one_pool: Any, journal: str) -> None:
    """What it drops of it is its parent's."""
    result = one_pool.imap(abs, range(10), journal=journal)
    assert next(result) == 0
    pid = os.fork()
    if not pid:
        own = [os.open(os.devnull, os.O_RDONLY) for _ in range(50)]
        del result
        gc.collect()
        for fd in own:
            os.fstat(fd)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert list(result) == list(range(1, 10))
    assert len(list(iterate_journal(journal))) == 10


def test_items_in_shared_memory_are_known_by_their_content(one_pool: Any, journal: str) -> None:
    """Another array with the same is the same item."""
    for content, known in ((1, False), (1, True), (2, False)):
        array = procession.shared_array(100, int)
        array[:] = content
        for item in (array, procession.share({"content": content})):
            (outcome,) = one_pool.outcomes(tasks.none, [item], journal=journal)
            assert outcome.replayed is known


def test_a_run_that_is_left_is_not_done(one_pool: Any, journal: str, gate: Gate) -> None:
    """Though all of its input was read, and what ran was stopped in time."""
    result = one_pool.imap(functools.partial(tasks.through, gate), [1, 2], journal=journal)
    gate.wait_arrived(2)
    result.close()
    (run,) = read_runs(journal)
    assert (run.state, run.counts) == ("interrupted", {})


def powered(notes: Notes, item: int, *, exp: int) -> int:
    """Note the call, and carry it out."""
    notes.write(f"{item} {exp}")
    return item**exp


def test_what_is_bound_to_a_function_makes_its_run(pool: Any, journal: str, tmp_path: Path) -> None:
    """A loop over a parameter has a run for each value, and each is taken up for itself."""
    notes = Notes(tmp_path / "notes")

    def sweep() -> list[list[int]]:
        functions = [functools.partial(powered, notes, exp=exp) for exp in (2, 3)]
        return [pool.map(each, [2, 3], journal=journal) for each in functions]

    assert sweep() == sweep() == [[4, 9], [8, 27]]
    assert sorted(notes.texts()) == ["2 2", "2 3", "3 2", "3 3"]
    assert [run.arguments.partition(", ")[2] for run in read_runs(journal)] == ["exp=2", "exp=3"]
    assert [row.value for row in iterate_journal(journal, run=2)] == [8, 27]


def second(_state: Any, item: Any) -> Any:
    """The item, of a call with something before it."""
    return item


def test_a_run_beside_an_unfinished_one_is_told_of(pool: Any, journal: str) -> None:
    """It may have been meant to go on with that; beside runs that are done, it is a loop over a parameter."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pool.map(functools.partial(second, 1), [1, 2], journal=journal)
        with contextlib.closing(pool.imap(functools.partial(second, 2), itertools.count(), journal=journal)) as left:
            next(left)
    told = r"second \(3\) begins a run of its own in .*: it is not what has left a run there unfinished \(2\)"
    with pytest.warns(procession.JournalWarning, match=told):
        pool.map(functools.partial(second, 3), [1, 2], journal=journal)


def test_an_outcome_of_before_has_its_time(pool: Any, journal: str) -> None:
    """That of the run in which it was run."""
    for _ in range(2):
        (outcome,) = pool.outcomes(tasks.identity, [1], journal=journal)
    (row,) = iterate_journal(journal)
    assert outcome.replayed
    assert outcome.seconds == row.seconds > 0


def test_failures_of_before_are_in_the_count(pool: Any, journal: str) -> None:
    """The bar shows them, as it did when they failed."""
    seen: list[procession.Progress] = []
    for _ in range(2):
        pool.map(tasks.fail_if_odd, range(4), journal=journal, on_error="return", progress=seen.append)
    assert (seen[-1].done, seen[-1].failed, seen[-1].replayed) == (4, 2, 4)


def test_options_of_a_journal_want_one(pool: Any, journal: str) -> None:
    """In the same call; a view may have them before."""
    with pytest.raises(ValueError, match="key= says something of journal="):
        pool.map(abs, [1], key=str)
    with pytest.raises(ValueError, match="resume= says something of journal="):
        pool.imap(abs, [1], resume="failed")
    assert pool.options(key=str).map(abs, [-1]) == [1]
    assert pool.options(key=str).map(abs, [-1], journal=journal) == [1]
