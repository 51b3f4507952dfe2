"""The standard library's ``multiprocessing.queues``, under our name: the very same module."""

import sys
from multiprocessing import queues
from multiprocessing.queues import *  # noqa: F403 (for those who read types)

sys.modules[__name__] = queues
