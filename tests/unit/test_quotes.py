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


@pytest.mark.parametrize(
    "before", ["((", "$((1 + (2) + ", "$[ ", "${x:-", '"${x#', '"$(( ', "$((1)) (( x[$(", "`((2 - "]
)
def test_where_it_would_be_code_it_is_refused(before: str) -> None:
    """Arithmetic runs what it finds in an index, and what stands in a parameter has quotes of its own."""
    quotes = Quotes()
    quotes.read(before)
    with pytest.raises(ValueError, match="as code"):
        quotes.within("${1}")


@pytest.mark.parametrize(
    ("before", "within"),
    [
        ("((1)) ", '"${1}"'),
        ("( (true) ", '"${1}"'),
        ('"$(echo $((1 + (2))) ', '"${1}"'),
        ('"$(echo $((1)))', "${1}"),
        ('"${x:-"y"}', "${1}"),
        ("\"${x:-it's}", "${1}"),
        ("${x%'}'} ", '"${1}"'),
        ("$[1 << 2] ", '"${1}"'),
        ("${#x} ", '"${1}"'),
        ('"${#x} ', "${1}"),
        ("$(( 1 << 2 )) n=${#y}; # it's\n", '"${1}"'),
        ("'$[", "'\"${1}\"'"),
        ("x=${y} '", "'\"${1}\"'"),
    ],
)
def test_what_is_over_is_over(before: str, within: str) -> None:
    """Behind the end of arithmetic, or of a parameter, there are the quotes of before."""
    quotes = Quotes()
    quotes.read(before)
    assert quotes.within("${1}") == within


def test_what_shells_differ_in_is_refused() -> None:
    """Some have escapes in it."""
    with pytest.raises(ValueError, match="shells differ"):
        Quotes().read("printf $'a' ")
    Quotes().read('"$\'"')


def test_a_case_within_a_command_is_refused() -> None:
    """Its parentheses are not pairs."""
    with pytest.raises(ValueError, match="case"):
        Quotes().read("$(case x in x) true;; esac)")
    Quotes().read("case x in x) true;; esac; $(lowercase x)")
