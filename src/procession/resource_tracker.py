"""The standard library's ``multiprocessing.resource_tracker``, under our name: the very same module."""

import sys
from multiprocessing import resource_tracker
from multiprocessing.resource_tracker import *  # noqa: F403 (for those who read types)

sys.modules[__name__] = resource_tracker
