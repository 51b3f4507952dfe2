"""What the documents show is what happens: every snippet that has an output gives that output."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.helpers.scripts import ROOT, Completed

pytestmark = pytest.mark.thorough

SNIPPET = re.compile(r"^```python\n((?:(?!```).)*)^```\n+```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IMPORT = re.compile(r"^(?:import|from) (\w+)", re.MULTILINE)
DOCUMENTS = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))]


def snippets() -> Iterator[object]:
    """Every snippet with its output, by document and number; one that is shown again is left out."""
    seen = set()
    for name in DOCUMENTS:
        text = Path(ROOT, name).read_text()
        for number, match in enumerate(SNIPPET.finditer(text)):
            if match.groups() not in seen:
                seen.add(match.groups())
                yield pytest.param(*match.groups(), id=f"{name}-{number}")


def skip_without_imports(code: str) -> None:
    """Skip the test when a library that the snippet imports, a peer's, is not installed."""
    for name in IMPORT.findall(code):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")


def without_numbers(text: str) -> str:
    """The same with every number replaced that is of the moment: those of four digits, and fractions."""
    return re.sub(r"\d+\.\d+(e-\d+)?|\d[\d,]{3,}", "N", text).strip()


@pytest.mark.parametrize(("code", "output"), list(snippets()))
def test_a_snippet_gives_its_output(script: Callable[..., Completed], code: str, output: str) -> None:
    """But for pids, seconds and bytes."""
    skip_without_imports(code)
    run = script(code)
    run.check()
    assert without_numbers(run.stdout) == without_numbers(output)
