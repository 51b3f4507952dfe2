"""What the kernel offers, behind names that do not depend on it.

Owns no state.  ``linux`` has the calls that only Linux has, ``posix`` the portable
way to the same end; callers import from here and never ask which system they run on.
"""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from procession.system.linux import (
        die_with,
        is_frozen,
        oom_kills,
        own_memory,
        process_fd,
        usable_cores,
        usable_memory,
    )
else:
    from procession.system.posix import (
        die_with,
        is_frozen,
        oom_kills,
        own_memory,
        process_fd,
        usable_cores,
        usable_memory,
    )
from procession.system.posix import (
    STACKS_SIGNAL,
    STOP_SIGNAL,
    Descriptor,
    anonymous_file,
    close_all,
    hold_standard_descriptors,
    is_open,
    nap,
    peak_memory,
    wait_readable,
    write_all,
)

__all__ = [
    "STACKS_SIGNAL",
    "STOP_SIGNAL",
    "Descriptor",
    "anonymous_file",
    "close_all",
    "die_with",
    "hold_standard_descriptors",
    "is_frozen",
    "is_open",
    "nap",
    "oom_kills",
    "own_memory",
    "peak_memory",
    "process_fd",
    "usable_cores",
    "usable_memory",
    "wait_readable",
    "write_all",
]
