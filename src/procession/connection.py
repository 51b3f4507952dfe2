"""The standard library's ``multiprocessing.connection``, under our name: the very same module."""

import sys
from multiprocessing import connection
from multiprocessing.connection import *  # noqa: F403 (for those who read types)

sys.modules[__name__] = connection
