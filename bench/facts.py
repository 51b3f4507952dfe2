"""What a reader of the figures must know of where they were made; no path and no name of the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version

from bench.peers import POOLS
from bench.runner import ROOT


@dataclass(frozen=True)
class Facts:
    """Where and when a run was made, and of what."""

    date: str
    commit: str
    python: str
    system: str
    cores: int
    load: float
    versions: dict[str, str]


def gather() -> Facts:
    """The facts of this machine now; `load` is the mean of the last minute, before the run adds to it."""
    return Facts(
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        commit=_commit(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.machine()}",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 2),
        versions={name: found for name in _distributions() if (found := _version(name))},
    )


def _commit() -> str:
    """The commit of this tree, with a mark when files differ from it."""
    described = _git("describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+changes")
    return described or "unknown"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _distributions() -> list[str]:
    return sorted({peer.distribution for peer in POOLS.values() if peer.distribution} | {"numpy", "pandas"})


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
