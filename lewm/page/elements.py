"""Pieces of HTML. The texts that they are given come from others: every piece escapes them."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from lewm.shown_text import visible

LONGEST = 5000  # characters of a text that are shown
NAMED = 8  # how many names are given of many


def text(foreign: str) -> str:
    """Text as HTML: markup is escaped, and a character that cannot be seen is written as its code, such as \\x1b."""
    cut = foreign[:LONGEST] + "…" * (len(foreign) > LONGEST)
    return html.escape(visible(cut))


def paragraph(words: str, kind: str = "") -> str:
    """A line of text; `kind` names its style."""
    return f"<p{_class(kind)}>{text(words)}</p>"


def command_line(before: str, command: str, after: str) -> str:
    """A quiet line of text around a command to type."""
    line = f"{text(before)} <code>{text(command)}</code>{text(after)}"
    return f'<p class="quiet">{line}</p>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", link: str = "", kind: str = "") -> str:
    """Rows of numbers; the first cell of a row names it.

    Args:
        head: Names of the columns.
        rows: The cells.
        caption: What the table shows.
        link: HTML behind the caption.
        kind: Its style; "small" is for many columns, of which the last holds words.
    """
    columns = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{text(name)}</th>' + "".join(f"<td>{text(cell)}</td>" for cell in cells) + "</tr>"
        for name, *cells in rows
    )
    said = f"<caption><span>{text(caption)}{link}</span></caption>" if caption else ""
    parts = f"{said}<thead><tr>{columns}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table{_class(kind)}>{parts}</table></div>'


def facts(pairs: Iterable[tuple[str, str]], kind: str = "facts") -> str:
    """Names with their values; of the kind "reading", the values are sentences."""
    rows = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="{html.escape(kind)}">{rows}</dl>'


def heading(words: str) -> str:
    """A heading within a part of the page."""
    return f"<h3>{text(words)}</h3>"


def folded(title: str, words: str) -> str:
    """A text as it is, with all its lines, which unfolds when its title is clicked."""
    lines = "\n".join(html.escape(visible(line)) for line in words.split("\n"))
    return f"<details><summary>{text(title)}</summary><pre>{lines}</pre></details>"


def picture(source: str | None, caption: str, link: str = "") -> str:
    """A picture, empty without one; `link` is HTML behind its caption. One beside the page opens when clicked.

    Args:
        source: A URL, see `Shelf`.
        caption: Words below it.
        link: HTML behind the caption.
    """
    if source is None:
        return ""
    url, said = html.escape(source), text(caption)
    shown = f'<img src="{url}" alt="{said}">'
    if not source.startswith("data:"):
        shown = f'<a href="{url}">{shown}</a>'
    return f'<figure class="picture">{shown}<figcaption>{said}{link}</figcaption></figure>'


def video(source: str | None, caption: str) -> str:
    """A silent video that repeats, empty without a URL. Before it plays, its first frame is shown (#t)."""
    if source is None:
        return ""
    url, said = html.escape(source), text(caption)
    shown = f'src="{url}#t=0.01" preload="metadata" aria-label="{said}"'
    return f"<figure><video controls muted loop playsinline {shown}></video><figcaption>{said}</figcaption></figure>"


def data_link(source: str | None, name: str, title: str) -> str:
    """A link to the data of a figure or a table, empty without a URL.

    Args:
        source: A URL, see `Shelf`, or the anchor of another such link.
        name: What the file is called when it is kept.
        title: What it has the data of.
    """
    if source is None:
        return ""
    kept = "" if source.startswith("#") else f' download="{text(name)}"'
    said = f'aria-label="Data of: {text(title)}"'
    return f' <a class="data" href="{html.escape(source)}"{kept} {said}>data</a>'


def key(lines: Iterable[tuple[str, str]]) -> str:
    """What the lines of charts stand for: the style of each, and words."""
    said = "".join(f'<span class="{html.escape(style)}">{text(words)}</span>' for style, words in lines)
    return f'<p class="quiet key">{said}</p>'


def some(names: Sequence[str]) -> str:
    """The first of many names."""
    return ", ".join(names[:NAMED]) + ", ..." * (len(names) > NAMED)


def grid(figures: Iterable[str], kind: str = "grid") -> str:
    """Figures side by side, as many as fit; of the kind "pairs", two are wide enough to read."""
    return f'<div class="{html.escape(kind)}">{"".join(figures)}</div>'


def _class(kind: str) -> str:
    return f' class="{html.escape(kind)}"' if kind else ""
