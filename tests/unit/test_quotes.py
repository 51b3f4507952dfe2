"""Where in a shell's script a text is put, it is one word."""

from __future__ import annotations

import subprocess

import pytest

from procession.cli.quotes import Quotes

ITEM = "a  *  $(b) 'c' \"d\""


@pytest.mark.parametrize(
    "before",
    [
        "",
        '"',
        "'",
        '"$(printf %s ',
        '"$( (true); printf %s ',
        '"$( (true); printf %s "',
        '"`printf %s ',
        "# don't\nprintf %s ",
        '": $(true)" ',
        r"\"\' ",
        "$((1 + 2)) ",
    ],
)
def test_it_is_one_word(before: str) -> None:
    """Whatever stands before it."""
    quotes = Quotes()
    quotes.read(before)
    ends = {
        '"$(printf %s ': ')"',
        '"$( (true); printf %s ': ' )"',
        '"$( (true); printf %s "': '")"',
        '"`printf %s ': '`"',
    }
    end = ends.get(before, before if before in ("'", '"') else "")
    command = before if before.startswith("#") else f"printf '<%s>' {before}"
    script = f"{command}{quotes.within('${1}')}{end}"
    found = subprocess.run(["/bin/sh", "-c", script, "sh", ITEM], capture_output=True, text=True, check=True).stdout
    assert ITEM in found


def test_a_case_within_a_command_is_refused() -> None:
    """Its parentheses are not pairs."""
    with pytest.raises(ValueError, match="case"):
        Quotes().read("$(case x in x) true;; esac)")
    Quotes().read("case x in x) true;; esac; $(lowercase x)")
