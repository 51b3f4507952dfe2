"""How a process has ended, in words for the person who reads them at night."""

from __future__ import annotations

import signal as signals


def describe_ending(exitcode: int | None) -> str:
    """Say in words how a process ended."""
    if exitcode is None:
        return "was lost with the server process that had started it"
    if exitcode >= 0:
        return f"exited with code {exitcode}"
    try:
        return f"was killed by {signals.Signals(-exitcode).name}"
    except ValueError:
        return f"was killed by signal {-exitcode}"


def likely_cause(exitcode: int | None) -> str:
    """Say what such an end mostly comes from, if that is known."""
    if exitcode == -signals.SIGKILL:
        return "SIGKILL usually means that the kernel ran out of memory, or that someone killed it."
    if exitcode in (-signals.SIGSEGV, -signals.SIGBUS, -signals.SIGABRT, -signals.SIGILL, -signals.SIGFPE):
        return "Such a signal comes from native code: an extension module crashed."
    if exitcode is not None and exitcode >= 0:
        return "Something called os._exit(), or a native library ended the process."
    return ""
