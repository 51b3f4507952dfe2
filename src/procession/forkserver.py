"""The standard library's ``multiprocessing.forkserver``, under our name: the very same module."""

import sys
from multiprocessing import forkserver
from multiprocessing.forkserver import *  # noqa: F403 (for those who read types)

sys.modules[__name__] = forkserver
