"""A task whose module imports numpy: the usual cost of a worker's first result."""

from __future__ import annotations

import numpy as np


def total(count: int) -> float:
    """The sum of 0 .. count-1, by numpy."""
    return float(np.arange(count, dtype=np.float64).sum())
