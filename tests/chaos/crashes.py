"""Crashes: the parent of a journaled run is killed at random moments, by a seed; then the same run is made again.

    python -m tests.chaos.crashes --crashes 50 --items 2000 --seed 1

Afterwards every item has one outcome, each that was recorded as `ok` before a crash has been run once, as the log tells
that the items themselves append to, and the results are those of a run that was not interrupted.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import procession
from procession.journal.reading import iterate_journal

ROOT = Path(__file__).resolve().parents[2]

#: That an item takes, so that a run is long against the time after which an outcome is durable.
SECONDS = 0.004

#: A run, as a script: it may be killed at any line.
SCRIPT = """
import sys
from tests.chaos.crashes import run
run(sys.argv[1], int(sys.argv[2]), sys.argv[3])
"""


def work(log: str, item: int) -> tuple[int, float]:
    """Append the item to the log, and draw a number."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{item}\n".encode())
    os.close(descriptor)
    time.sleep(SECONDS)
    return item, float(procession.rng().random())


class Logged:
    """`work` with the place of its log, which is no part of the function."""

    def __init__(self, log: str) -> None:
        self.log = log

    def __call__(self, item: int) -> tuple[int, float]:
        """Run the item."""
        return work(self.log, item)


def run(folder: str, items: int, call: str) -> list[tuple[int, float]]:
    """The run, from its beginning or from where it was."""
    function = Logged(os.path.join(folder, "log"))
    journal = os.path.join(folder, "run.db")
    with procession.Pool(2, journal=journal, seed=11) as pool:
        if call == "map":
            return pool.map(function, range(items))
        return list(pool.imap(function, iter(range(items))))


def logged(folder: str) -> Counter[int]:
    """How often each item has been begun."""
    path = Path(folder, "log")
    return Counter(map(int, path.read_text().split())) if path.exists() else Counter()


def crash(folder: str, items: int, call: str, when: int) -> None:
    """Begin the run, and kill it when the log has so many lines."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    command = [sys.executable, "-c", SCRIPT, folder, str(items), call]
    with subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True) as process:
        while sum(logged(folder).values()) < when and process.poll() is None:
            time.sleep(0.001)  # the moment is meant to be any
        process.send_signal(signal.SIGKILL)


def check(folder: str, items: int, call: str, crashes: int, seed: int) -> dict[str, int]:
    """Crash the run so often, and let it end.  On failure: AssertionError."""
    chance = random.Random(seed)
    before: set[int] = set()
    for _ in range(crashes):
        done = sum(logged(folder).values())
        crash(folder, items, call, done + chance.randrange(1, max(2, 2 * items // (crashes + 1))))
        counts = logged(folder)
        recorded = (
            {row.position for row in iterate_journal(folder + "/run.db") if row.outcome == "ok"}
            if (Path(folder, "run.db").exists() and Path(folder, "run.db").stat().st_size)
            else set()
        )
        assert before <= recorded, f"seed {seed}: outcomes are lost: {sorted(before - recorded)[:5]}"
        twice = [item for item in before if counts[item] > 1]
        assert not twice, f"seed {seed}: recorded, and run again: {twice[:5]}"
        before = recorded - {item for item in recorded if counts[item] > 1}
    results = run(folder, items, call)
    counts = logged(folder)
    twice = [item for item in before if counts[item] > 1]
    assert not twice, f"seed {seed}: recorded, and run again: {twice[:5]}"
    rows = list(iterate_journal(folder + "/run.db"))
    assert [row.position for row in rows] == list(range(items)), f"seed {seed}: not one outcome for every item"
    assert [row.value for row in rows] == results
    with tempfile.TemporaryDirectory() as other:
        assert run(other, items, "map") == results, f"seed {seed}: another result than without a crash"
    return {"items": items, "begun": sum(counts.values()), "recorded before the end": len(before)}


def main() -> None:
    """Crash as often as asked for."""
    parser = argparse.ArgumentParser(prog="make crashes", description=__doc__)
    parser.add_argument("--crashes", type=int, default=50, help="how often the parent is killed")
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for call in ("map", "imap"):
        for number in range(options.crashes // 10):
            with tempfile.TemporaryDirectory() as folder:
                print(call, check(folder, options.items, call, 5, options.seed + number), flush=True)


if __name__ == "__main__":
    main()
