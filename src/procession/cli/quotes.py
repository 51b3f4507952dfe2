"""Quotes: where in a shell's script a text ends, so that what is put in there is one word whatever is in it.

Follows what POSIX says of quotes, ``$( )``, backquotes, comments and here-documents (Shell Command Language, 2.2, 2.3,
2.6.3 and 2.7.4), as far as it can be followed without parsing commands.  Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_BEFORE_A_WORD = " \t\n;&|()<>`"

#: What opens a level, and its end; what is no text within, and its name in errors.
_OPENING = {"$(": ")", "$[": "]", "${": "}"}
_CODE = {"))": "$(( )) or (( ))", "]": "$[ ]", "}": "${ }"}

_HERE = re.compile(r"""<<(-?)[ \t]*(?:'(\w+)'|"(\w+)"|(\w+))(?=[\s;&|()<>])""")


class _Here(NamedTuple):
    """A here-document."""

    end: str  #: the line that ends it
    quoted: bool  #: nothing in it is expanded
    indented: bool  #: tabs before a line do not count
    depth: int = 0  #: of the commands that it stands in, itself included


class _Level:
    """A script, or a command within it: the quote that is open, and what ends it."""

    def __init__(self, end: str) -> None:
        self.end = end  #: ")", "`", or nothing; "))" of arithmetic, "]" of bash's old one, "}" of a parameter
        self.outer = ""  #: the quote that a parameter stands in
        self.quote = ""
        self.depth = 0  #: of parentheses
        self.comment = False
        self.here = False  #: it is the text of a here-document, which is expanded as if within double quotes


class Quotes:
    """Which quotes of the shell are open where a text ends; a command within begins anew."""

    def __init__(self) -> None:
        self._levels = [_Level("")]
        self._before = "\n"  # the character before the next
        self._coming: list[_Here] = []  # here-documents that begin with the next line
        self._here: _Here | None = None  # the one that the text is in
        self._line = ""  # what has been read of its line
        self._escapes = False  # the last character is a backslash that counts
        self.has_here = False  #: there was a here-document

    def read(self, text: str) -> None:
        """Go on over a text.

        On failure: ``ValueError``, for what is not understood: a ``case`` within ``$( )``, whose parentheses are not
        pairs, a here-document whose end is not one plain word, and ``$' '``, which is not the same in all shells.
        """
        place = 0
        self._escapes = False
        while place < len(text):
            step = 1 if self._here is not None and self._here.quoted else self._read_one(text, place)
            if self._here is not None:
                self._note_line(self._here, text[place : place + step])
            self._before = "\\" if step == 2 and text[place] == "\\" else text[place + step - 1 : place + step]
            place += step
            if self._coming and self._before == "\n" and not self._levels[-1].quote:
                self._begin_here()
        self._escapes = place > len(text)

    def _begin_here(self) -> None:
        self._here, self._line, self.has_here = self._coming.pop(0), "", True
        if not self._here.quoted:
            self._levels.append(_Level(""))
            self._levels[-1].quote, self._levels[-1].here = '"', True
        self._here = self._here._replace(depth=len(self._levels))

    def _note_line(self, here: _Here, text: str) -> None:
        """Note what has been read of a line; at its end, it may be the one that ends the document."""
        head, line_end, rest = text.rpartition("\n")
        self._line += head if line_end else rest
        if not line_end:
            return
        line = self._line.lstrip("\t") if here.indented else self._line
        self._line = rest
        if line == here.end and len(self._levels) == here.depth:
            if not here.quoted:
                self._levels.pop()
            self._here = None
            if self._coming:
                self._begin_here()

    def _read_one(self, text: str, place: int) -> int:
        """Read what stands at a place; return how many characters that is."""
        level, character = self._levels[-1], text[place]
        if level.comment:
            level.comment = character != "\n"
        elif level.quote == "'":
            level.quote = "" if character == "'" else "'"
        elif character == "\\":
            return 2
        elif text.startswith("$((", place):
            self._levels.append(_Level("))"))
            return 3
        elif self._is_command(level) and text.startswith("((", place):
            self._levels.append(_Level("))"))
            return 2
        elif not level.quote and level.end == "))" and not level.depth and text.startswith("))", place):
            self._levels.pop()
            return 2
        elif text[place : place + 2] in _OPENING:
            self._open(_OPENING[text[place : place + 2]], level)
            return 2
        elif not level.quote and text.startswith("$'", place):
            raise ValueError("$' ' is not understood here: shells differ in it; set a variable, or use a script")
        elif character == "`":
            self._read_backquote()
        elif character == '"':
            level.quote = '"' if level.here or not level.quote else ""
        elif not level.quote and level.end not in ("))", "]") and text.startswith("<<", place):
            return self._read_redirection(text, place)
        elif not level.quote:
            self._read_plain(level, text, place)
        return 1

    def _is_command(self, level: _Level) -> bool:
        """Whether a command can begin here."""
        return not level.quote and level.end in ("", ")", "`") and self._before in _BEFORE_A_WORD

    def _open(self, end: str, level: _Level) -> None:
        self._levels.append(_Level(end))
        if end == "}":
            self._levels[-1].outer = level.quote or level.outer

    def _read_redirection(self, text: str, place: int) -> int:
        if text.startswith("<<<", place):  # bash: a word follows
            return 3
        found = _HERE.match(text, place)
        if found is None:
            raise ValueError("a here-document (<<) is understood here if its end is one plain word")
        dash, *words = found.groups()
        self._coming.append(_Here(next(filter(None, words)), words[2] is None, bool(dash)))
        return len(found[0])

    def _read_backquote(self) -> None:
        ends = [level.end for level in self._levels]
        if "`" in ends:
            del self._levels[ends.index("`") :]
        else:
            self._levels.append(_Level("`"))

    def _read_plain(self, level: _Level, text: str, place: int) -> None:
        character = text[place]
        begins = self._before in _BEFORE_A_WORD
        if character == "'":
            level.quote = "" if level.outer else "'"
        elif character == "#" and begins:
            level.comment = True
        elif character == "(":
            level.depth += 1
        elif character == ")" and level.depth:
            level.depth -= 1
        elif character == level.end:  # a backquote has ended already
            self._levels.pop()
        elif begins and level.end == ")" and text[place : place + 5].rstrip() == "case" and len(text) > place + 4:
            raise ValueError("a `case` within $( ) is not understood here: put it into a script")

    def within(self, parameter: str) -> str:
        """A parameter there: one word, or in a here-document that text.

        On failure: ``ValueError``, within arithmetic and ``${ }``, where it would be code, and where nothing is
        expanded.
        """
        if self._escapes:
            raise ValueError("a backslash before {} would take away what makes it one word")
        if self._here is not None:
            if self._here.quoted:
                raise ValueError(
                    f"in a here-document that ends with a quoted word, <<'{self._here.end}', {{}} is a text"
                )
            self._line += parameter
        for end, name in _CODE.items():
            if any(level.end == end for level in self._levels):
                raise ValueError(
                    f"within {name} an item would be read as code: set a variable to {{}} first, and check it"
                )
        return {"": f'"{parameter}"', '"': parameter, "'": f"'\"{parameter}\"'"}[self._levels[-1].quote]
