"""The standard library's ``multiprocessing.managers``, under our name."""

from multiprocessing.managers import *  # noqa: F403
from multiprocessing.managers import __all__  # noqa: F401
