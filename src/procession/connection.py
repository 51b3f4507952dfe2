"""The standard library's ``multiprocessing.connection``, under our name."""

from multiprocessing.connection import *  # noqa: F403
from multiprocessing.connection import __all__  # noqa: F401
