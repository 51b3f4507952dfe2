"""The standard library's ``multiprocessing.shared_memory``, under our name."""

from multiprocessing.shared_memory import *  # noqa: F403
from multiprocessing.shared_memory import __all__  # noqa: F401
