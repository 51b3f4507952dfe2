"""The standard library's ``multiprocessing.dummy``, under our name."""

from multiprocessing.dummy import *  # noqa: F403
from multiprocessing.dummy import __all__  # noqa: F401
