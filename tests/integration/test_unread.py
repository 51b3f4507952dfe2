"""What is sent off and forgotten does not fail in silence: it is told when the interpreter exits."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.scripts import run_script

import procession

HEAD = """
import asyncio, concurrent.futures, os, sys, time
import procession

def bad(item):
    raise ValueError(f"no {item}")

"""


def told(text: str, folder: Path) -> list[str]:
    """What a script says on stderr."""
    return run_script(HEAD + text, folder=folder).check().stderr.splitlines()


@pytest.mark.parametrize(
    "text",
    [
        "with procession.Pool(2) as pool:\n    pool.apply_async(bad, (1,)); pool.close(); pool.join()",
        "with procession.Pool(2) as pool:\n    pool.submit(bad, 1); pool.close(); pool.join()",
        "with procession.Pool(2) as pool:\n    pool.apply_async(bad, (1,), callback=print); pool.close(); pool.join()",
        "with procession.Pool(2) as pool:\n    concurrent.futures.wait([pool.submit(bad, 1)])",
        "procession.ProcessPoolExecutor(2).submit(bad, 1)",
        "with procession.Pool(2, backend='inline') as pool:\n    pool.submit(bad, 1)",
    ],
)
def test_a_failure_that_nobody_asks_for_is_told(text: str, tmp_path: Path) -> None:
    """With the place where it was raised."""
    head, failure = told(text, tmp_path)
    assert head == "procession: a call has failed, and nobody has asked for the outcome:"
    assert failure.startswith("  ValueError: no 1 (File ")
    assert failure.endswith(", line 5, in bad)")


def test_failures_of_one_kind_are_told_together(tmp_path: Path) -> None:
    """And no more than ten kinds."""
    text = """
        with procession.ProcessPoolExecutor(2) as executor:
            for number in range(24):
                executor.submit(bad, number // 2)
        """
    head, *failures = told(text.replace("\n        ", "\n"), tmp_path)
    assert head == "procession: 24 calls have failed, and nobody has asked for the outcome:"
    assert len(failures) == 11
    assert all(each.startswith("  2 x ValueError: no ") for each in failures[:10])
    assert failures[10] == "  and others of 2 kinds"


@pytest.mark.parametrize(
    "ask",
    [
        "task = pool.submit(bad, 1); print(repr(task.exception()))",
        "task = pool.submit(bad, 1); concurrent.futures.wait([task]); print(repr(task.exception()))",
        "task = pool.submit(bad, 1); task.add_done_callback(print)",
        "task = pool.submit(bad, 1); concurrent.futures.wait([task]); task.add_done_callback(print)",
        "result = pool.apply_async(bad, (1,)); result.wait(); result.successful()",
        "pool.apply_async(bad, (1,), error_callback=print)",
        "asyncio.run(wait_for(pool.submit(bad, 1)))",
        "pool.submit(time.sleep, 1000).cancel(interrupt=True)",
        "list(pool.imap(bad, [1], on_error='return'))",
        "try:\n        pool.map(bad, [1])\n    except ValueError:\n        pass",
        "try:\n        pool.submit(bad, 1).result()\n    except ValueError:\n        pass",
        "try:\n        pool.map_async(bad, [1]).get()\n    except ValueError:\n        pass",
    ],
)
def test_a_failure_that_somebody_asks_for_is_not(ask: str, tmp_path: Path) -> None:
    """In whatever way, before it comes or after."""
    text = f"""
async def wait_for(task):
    try:
        await task
    except ValueError:
        pass

with procession.Pool(2) as pool:
    {ask}
    pool.close()
    pool.join()
"""
    assert told(text, tmp_path) == []


@pytest.mark.parametrize("end", ["kill_workers", "terminate_workers"])
def test_who_kills_the_workers_knows(end: str, tmp_path: Path) -> None:
    """What they ran then is told to who asks; another death is told at the exit all the same."""
    text = f"""
def begin(event):
    event.set()
    time.sleep(1000)

executor = procession.ProcessPoolExecutor(2)
concurrent.futures.wait([executor.submit(os._exit, 3)])
event = procession.Event()
running = executor.submit(begin, event)
event.wait()
executor.{end}()
concurrent.futures.wait([running])
"""
    head, *failures = told(text, tmp_path)
    assert head == "procession: a call has failed, and nobody has asked for the outcome:"
    assert len(failures) == 1
    assert "WorkerDied" in failures[0]
    assert "exited with code 3" in failures[0]


def test_a_forked_child_tells_nothing_of_its_parents(tmp_path: Path) -> None:
    """The failures are the parent's to tell."""
    text = """
pool = procession.Pool(2)
concurrent.futures.wait([pool.submit(bad, 1)])
if not os.fork():
    sys.exit()
os.wait()
"""
    assert [line.partition(":")[0] for line in told(text, tmp_path)].count("procession") == 1


def test_a_death_that_cost_several_items_is_wanted_for_all() -> None:
    """Each has a death of its own, which is the same."""
    death = procession.WorkerDied(1, -9)
    death.was_wanted = True
    assert death.copy().was_wanted
