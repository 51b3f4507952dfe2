"""The standard library's ``multiprocessing.reduction``, under our name."""

from multiprocessing.reduction import *  # noqa: F403
from multiprocessing.reduction import __all__  # noqa: F401
