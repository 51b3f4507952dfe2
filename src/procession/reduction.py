"""The standard library's ``multiprocessing.reduction``, under our name: the very same module."""

import sys
from multiprocessing import reduction
from multiprocessing.reduction import *  # noqa: F403 (for those who read types)

sys.modules[__name__] = reduction
