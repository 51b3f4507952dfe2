"""The standard library's ``multiprocessing.queues``, under our name."""

from multiprocessing.queues import *  # noqa: F403
from multiprocessing.queues import __all__  # noqa: F401
