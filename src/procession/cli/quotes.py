"""Quotes: where in a shell's script a text ends, so that what is put in there is one word whatever is in it.

Follows what POSIX says of quotes, ``$( )``, backquotes and comments (Shell Command Language, 2.2, 2.3 and 2.6.3), as
far as it can be followed without parsing commands.  Pure.
"""

from __future__ import annotations

_BEFORE_A_WORD = " \t\n;&|()<>`"


class _Level:
    """A script, or a command within it: the quote that is open, and what ends it."""

    def __init__(self, end: str) -> None:
        self.end = end  #: ")", "`", or nothing
        self.quote = ""
        self.depth = 0  #: of parentheses
        self.comment = False


class Quotes:
    """Which quotes of the shell are open where a text ends; a command within begins anew."""

    def __init__(self) -> None:
        self._levels = [_Level("")]
        self._before = "\n"  # the character before the next

    def read(self, text: str) -> None:
        """Go on over a text.

        On failure: ``ValueError``, for a ``case`` within ``$( )``, whose parentheses are not pairs.
        """
        place = 0
        while place < len(text):
            step = self._read_one(text, place)
            self._before = text[place + step - 1 : place + step] if step == 1 else "("
            place += step

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
        elif text.startswith("$(", place):
            self._levels.append(_Level(")"))
            return 2
        elif character == "`":
            self._read_backquote()
        elif character == '"':
            level.quote = "" if level.quote else '"'
        elif not level.quote:
            self._read_plain(level, text, place)
        return 1

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
            level.quote = "'"
        elif character == "#" and begins:
            level.comment = True
        elif character == "(":
            level.depth += 1
        elif character == ")" and level.depth:
            level.depth -= 1
        elif (character == ")" and level.end == ")") or (level.end == "))" and text.startswith("))", place)):
            self._levels.pop()
        elif begins and level.end == ")" and text[place : place + 5].rstrip() == "case" and len(text) > place + 4:
            raise ValueError("a `case` within $( ) is not understood here: put it into a script")

    def within(self, parameter: str) -> str:
        """A parameter as one word there.  On failure: ``ValueError``, within ``$(( ))``, where it would be code."""
        if any(level.end == "))" for level in self._levels):
            raise ValueError("within $(( )) an item would be read as code: set a variable to {} first, and check it")
        return {"": f'"{parameter}"', '"': parameter, "'": f"'\"{parameter}\"'"}[self._levels[-1].quote]
