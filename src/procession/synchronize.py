"""The standard library's ``multiprocessing.synchronize``, under our name."""

from multiprocessing.synchronize import *  # noqa: F403
from multiprocessing.synchronize import __all__  # noqa: F401
