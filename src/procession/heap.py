"""The standard library's ``multiprocessing.heap``, under our name: the very same module."""

import sys
from multiprocessing import heap
from multiprocessing.heap import *  # noqa: F403 (for those who read types)

sys.modules[__name__] = heap
