"""Chaos: many tasks of all kinds while workers are killed, frozen and terminated at random moments, all by a seed.

    python -m tests.chaos.run --tasks 50000 --kills 3 --seed 1 --compare

Accounts for every task: each has one outcome, right if it is a value; nothing has begun twice; no more have died than
there were kills; and afterwards the pool still works. `--compare` measures what one kill a second costs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import procession
from procession.launch.server import server

WORKERS = 2
SIZES = (1_000, 40_000, 500_000)  # of arrays, in numbers of 8 bytes
HOWS = ("quick",) * 5 + ("busy", "raise", "array", "array", "grow")
BATCH = 500


@dataclass(frozen=True)
class Job:
    """A task: its number, and what it does."""

    number: int
    how: str
    size: int = 0


def work(log: str, job: Job, payload: Any) -> Any:
    """Note that the job has begun, and do it."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{job.number}\n".encode())
    os.close(descriptor)
    if job.how == "busy":
        end = time.monotonic() + 0.004
        while time.monotonic() < end:
            pass
    elif job.how == "raise":
        raise ValueError(job.number)
    elif job.how == "array":
        payload *= 2
        return payload
    elif job.how == "grow":
        return np.full(job.size, float(job.number))
    return -job.number


def star(log: str, item: tuple[Job, Any]) -> Any:
    """The same for a map."""
    return work(log, *item)


@dataclass
class Killer:
    """Sends signals to random workers, and rarely to the zygote, until it is stopped."""

    pool: Any
    seed: int
    per_second: float
    sent: Counter[str] = field(default_factory=Counter)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Wait a random time, strike, and so on."""
        draw = random.Random(self.seed)
        while not self.stopped.wait(draw.expovariate(self.per_second)):
            kind = draw.choices(("SIGKILL", "SIGTERM", "freeze", "zygote"), (10, 4, 6, 1))[0]
            pids = [process.pid for process in self.pool._backend.worker_processes() if process.is_alive()]
            pid = server.pid if kind == "zygote" else draw.choice(pids or [0])
            if pid > 0 and self._strike(kind, pid, draw.uniform(0, 0.05)):
                self.sent[kind] += 1

    def _strike(self, kind: str, pid: int, seconds: float) -> bool:
        try:
            if kind == "freeze":
                os.kill(pid, signal.SIGSTOP)
                self.stopped.wait(seconds)
                os.kill(pid, signal.SIGCONT)
            else:
                os.kill(pid, signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    @property
    def most_deaths(self) -> int:
        """How many tasks may have died of it."""
        return self.sent["SIGKILL"] + self.sent["SIGTERM"] + WORKERS * self.sent["zygote"]


def jobs(count: int, seed: int) -> list[Job]:
    """All jobs of a run."""
    draw = random.Random(seed)
    return [Job(number, draw.choice(HOWS), draw.choice(SIZES)) for number in range(1, count + 1)]


def payload(job: Job) -> Any:
    """What is sent along."""
    return np.full(job.size, float(job.number)) if job.how == "array" else None


def outcomes(pool: Any, log: str, todo: list[Job], draw: random.Random) -> Iterator[tuple[Job, Any]]:
    """Run the jobs, batch by batch, through one call or another; yield each with its value or its error."""
    for start in range(0, len(todo), BATCH):
        batch = todo[start : start + BATCH]
        way = draw.choice(("submit", "imap", "map_async", "map"))
        items = ((job, payload(job)) for job in batch)
        function = _Starred(log)
        if way == "submit":
            tasks = [pool.submit(work, log, *item) for item in items]
            found: Any = [task.exception() or task.result() for task in tasks]
        elif way == "imap":
            found = pool.imap(function, items, draw.choice((1, 7)), on_error="return")
        elif way == "map":
            found = pool.map(function, items, on_error="return")
        else:
            found = pool.map_async(function, items, draw.choice((None, 5)), on_error="return").get()
        yield from zip(batch, found, strict=True)


class _Starred:
    """`star` with its log, to be pickled by name."""

    def __init__(self, log: str) -> None:
        self.log = log

    def __call__(self, item: tuple[Job, Any]) -> Any:
        return star(self.log, item)


def kind_of(job: Job, found: Any) -> str:
    """How the job ended; it must be one of the ways in which it may."""
    if isinstance(found, procession.WorkerDied):
        return "died"
    if job.how == "raise":
        assert (type(found), found.args) == (ValueError, (job.number,)), (job, found)
        return "error"
    if job.how in ("array", "grow"):
        expected = float(job.number) * (2 if job.how == "array" else 1)
        assert not isinstance(found, BaseException), (job, found)
        assert found.shape == (job.size,), job
        assert found[0] == found[-1] == found[job.size // 2] == expected, job
    else:
        assert found == -job.number, (job, found)
    return "ok"


@dataclass(frozen=True)
class Report:
    """What a run gave."""

    kinds: Counter[str]
    sent: Counter[str]
    seconds: float

    def __str__(self) -> str:
        count = sum(self.kinds.values())
        ends = ", ".join(f"{number:,} {kind}" for kind, number in sorted(self.kinds.items()))
        strikes = ", ".join(f"{number} {kind}" for kind, number in sorted(self.sent.items())) or "none"
        return f"{count:,} tasks in {self.seconds:.1f} s ({count / self.seconds:,.0f}/s): {ends}; strikes: {strikes}"


def run(tasks: int, seed: int, kills_per_second: float) -> Report:
    """Run so many tasks under so many kills, and account for them.  On failure: ``AssertionError``."""
    with tempfile.TemporaryDirectory() as folder, procession.Pool(WORKERS) as pool:
        log = Path(folder) / "begun"
        log.touch()
        killer = Killer(pool, seed, kills_per_second or 1.0)
        thread = threading.Thread(target=killer.run, name="killer")
        begin = time.monotonic()
        if kills_per_second:
            thread.start()
        kinds: Counter[str] = Counter()
        died: set[int] = set()
        try:
            for job, found in outcomes(pool, str(log), jobs(tasks, seed), random.Random(seed)):
                kind = kind_of(job, found)
                kinds[kind] += 1
                if kind == "died":
                    died.add(job.number)
        finally:
            killer.stopped.set()
            if kills_per_second:
                thread.join()
        seconds = time.monotonic() - begin
        begun = Counter(int(line) for line in log.read_text().split())
        twice = [number for number, count in begun.items() if count > 1]
        assert not twice, f"begun twice: {twice}"
        assert set(range(1, tasks + 1)) - died <= begun.keys(), "a task has an outcome, and has never begun"
        assert sum(kinds.values()) == tasks
        assert kinds["died"] <= killer.most_deaths, (kinds, killer.sent)
        assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))
        return Report(kinds, killer.sent, seconds)


def compare(tasks: int, seed: int, rounds: int = 3) -> float:
    """The throughput with one kill a second, as a part of the undisturbed one; interleaved, medians."""
    calm, stormy = [], []
    for number in range(rounds):
        calm.append(run(tasks, seed + number, 0.0).seconds)
        stormy.append(run(tasks, seed + number, 1.0).seconds)
    return statistics.median(calm) / statistics.median(stormy)


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=50_000)
    parser.add_argument("--kills", type=float, default=3.0, help="a second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--compare", action="store_true", help="measure what one kill a second costs, too")
    options = parser.parse_args()
    print(run(options.tasks, options.seed, options.kills))
    if options.compare:
        print(f"with one kill a second {compare(options.tasks // 5, options.seed):.0%} of the undisturbed throughput")


if __name__ == "__main__":
    main()
