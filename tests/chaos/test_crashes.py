"""Work survives the death of the process that does it; the long form is `make crashes`."""

from __future__ import annotations

from pathlib import Path

import pytest

from .crashes import check

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize("call", ["map", "imap"])
def test_a_run_survives_its_parents_deaths(tmp_path: Path, no_leaks: None, call: str) -> None:
    """Three times; what was recorded is not run again, and the results are those of an undisturbed run."""
    found = check(str(tmp_path), 800, call, 3, seed=5)
    assert found["recorded before the end"] > 50
