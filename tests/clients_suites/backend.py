"""A pytest plugin: the joblib backend named by PROCESSION_SUITE_BACKEND is the default of what is tested.

With PROCESSION_SUITE_JOBS it is also used, with so many jobs, where the caller asks for none.
"""

from __future__ import annotations

import os

import joblib
import pytest

BACKEND = os.environ.get("PROCESSION_SUITE_BACKEND", "loky")
JOBS = os.environ.get("PROCESSION_SUITE_JOBS")


def use_backend() -> None:
    """Register our backend if it is the one."""
    if BACKEND == "procession":
        from procession.integrations.joblib import register

        register(make_default=True)


use_backend()
if JOBS:
    joblib.parallel_config(BACKEND, n_jobs=int(JOBS))  # holds until the process ends


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Leave no worker behind."""
    if BACKEND == "procession":
        from procession.integrations.joblib import shutdown

        shutdown()
