"""The standard library's ``multiprocessing.synchronize``, under our name: the very same module."""

import sys
from multiprocessing import synchronize
from multiprocessing.synchronize import *  # noqa: F403 (for those who read types)

sys.modules[__name__] = synchronize
