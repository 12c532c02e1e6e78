"""Pieces of HTML say what they were given."""

import html
import json
import re

from lewm.page.elements import LONGEST, folded


def test_a_folded_text_has_all_its_lines():
    words = json.dumps({"<b> & 'x'": ["a\x1b"] * LONGEST}, indent=2)
    (held,) = re.findall(r"<pre>(.*)</pre>", folded("a", words), re.DOTALL)
    assert html.unescape(held) == words


def test_a_folded_text_shows_what_cannot_be_seen():
    assert "<pre>a\\x1b[31m\n\\r\\u202e</pre>" in folded("a", "a\x1b[31m\n\r\u202e")
