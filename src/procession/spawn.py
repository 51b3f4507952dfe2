"""The standard library's ``multiprocessing.spawn``, under our name: the very same module."""

import sys
from multiprocessing import spawn
from multiprocessing.spawn import *  # noqa: F403 (for those who read types)

sys.modules[__name__] = spawn
