"""What the kernel offers, behind names that do not depend on it.

Owns no state.  ``linux`` has the calls that only Linux has, ``posix`` the portable
way to the same end; callers import from here and never ask which system they run on.
"""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from procession.system.linux import die_with, process_fd, usable_cores
else:
    from procession.system.posix import die_with, process_fd, usable_cores
from procession.system.posix import anonymous_file, write_all

__all__ = [
    "anonymous_file",
    "die_with",
    "process_fd",
    "usable_cores",
    "write_all",
]
