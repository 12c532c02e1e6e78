"""Text of others (names of files, what a file says of itself) where it is shown."""

from __future__ import annotations

import unicodedata

UNSEEN = ("Cc", "Cf", "Cs")  # Unicode's categories of controls, marks of direction, and bytes that are not UTF-8


def visible(text: str) -> str:
    """The text with the code of each character that could not be seen, or would do something, in its place: \\x1b."""
    return "".join(_code(one) if unicodedata.category(one) in UNSEEN else one for one in text)


def _code(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
