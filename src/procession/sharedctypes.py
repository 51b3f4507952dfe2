"""The standard library's ``multiprocessing.sharedctypes``, under our name."""

from multiprocessing.sharedctypes import *  # noqa: F403
from multiprocessing.sharedctypes import __all__  # noqa: F401
