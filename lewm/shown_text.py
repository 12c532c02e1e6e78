"""Makes text from others, such as names of files, fit to be shown."""

from __future__ import annotations

import unicodedata

UNSEEN = ("Cc", "Cf", "Cs")  # Unicode's categories of controls, marks of direction, and bytes that are not UTF-8


def visible(text: str) -> str:
    """The text with a code, such as \\x1b, in place of each character that cannot be seen or would do something."""
    return "".join(_code(one) if unicodedata.category(one) in UNSEEN else one for one in text)


def _code(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
