"""The standard library's ``multiprocessing.shared_memory``, under our name: the very same module."""

import sys
from multiprocessing import shared_memory
from multiprocessing.shared_memory import *  # noqa: F403 (for those who read types)

sys.modules[__name__] = shared_memory
