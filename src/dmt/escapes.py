"""Text from outside made safe to look at: in a terminal, in JSON, in a page. Reads nothing.

A name may hold codes that a terminal obeys, line breaks that fake a line of ours, or marks that
turn the direction of reading; all of these are shown instead, as Python writes them.
"""

from __future__ import annotations

import re
import unicodedata

# Zs is blanks, of which our own sentences use narrow ones; Zl and Zp break lines.
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Joins of letters and of pictures: a name in Persian, or a family, is spoilt without them.
_JOINERS = frozenset("\u200c\u200d")
_MAY_HARM = re.compile(r"[^\x20-\x7e\xa0-\xac\xae-\u02ff]")


def visible(text: str, keep: str = "") -> str:
    r"""`text` on one line, with what would not be seen written as `\n`, `\x1b`, `\u202e` …

    Args:
        text: anything, lone surrogates too.
        keep: characters that may stay as they are.
    """

    def show(match: re.Match[str]) -> str:
        letter = match[0]
        if letter in keep or letter in _JOINERS or unicodedata.category(letter) not in _HARMFUL:
            return letter
        return repr(letter)[1:-1]

    return _MAY_HARM.sub(show, text)


def visible_lines(text: str) -> str:
    """As `visible`, but lines stay lines: for text that has lines of its own, as YAML does."""
    return visible(text, keep="\n")


def visible_json(text: str) -> str:
    r"""JSON with the same values, in which harmful characters are written as `\u001b`.

    JSON escapes control characters itself, but not C1's, marks of direction or lone surrogates.
    """

    def show(match: re.Match[str]) -> str:
        letter = match[0]
        if letter == "\n" or unicodedata.category(letter) not in _HARMFUL:
            return letter
        units = letter.encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))

    return _MAY_HARM.sub(show, text)
