"""How much memory a process and its family have, as Linux counts it."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def peak() -> int:
    """The most bytes that were ever resident in this process, shared ones included.

    Not `ru_maxrss`, which survives exec: it would begin at the peak of the process that started this one.
    """
    return _field(f"/proc/{os.getpid()}/status", "VmHWM")


def family_pss() -> int:
    """The bytes of this process and all below it, those that several of them map counted once."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(_field(f"/proc/{member.pid}/smaps_rollup", "Pss") for member in family)


def _field(file: str, name: str) -> int:
    """A line such as `Pss:  1024 kB` of a file of /proc, in bytes."""
    for line in Path(file).read_text(encoding="ascii").splitlines():
        label, _, value = line.partition(":")
        if label == name:
            return int(value.split()[0]) * 1024
    raise LookupError(f"{file} has no {name}")
