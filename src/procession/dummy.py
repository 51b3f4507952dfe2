"""The standard library's ``multiprocessing.dummy``, under our name: the very same module."""

import sys
from multiprocessing import dummy
from multiprocessing.dummy import *  # noqa: F403 (for those who read types)

sys.modules[__name__] = dummy
