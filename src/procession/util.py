"""The standard library's ``multiprocessing.util``, under our name: the very same module."""

import sys
from multiprocessing import util
from multiprocessing.util import *  # noqa: F403 (for those who read types)

sys.modules[__name__] = util
