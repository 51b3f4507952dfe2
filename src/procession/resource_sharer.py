"""The standard library's ``multiprocessing.resource_sharer``, under our name: the very same module."""

import sys
from multiprocessing import resource_sharer
from multiprocessing.resource_sharer import *  # noqa: F403 (for those who read types)

sys.modules[__name__] = resource_sharer
