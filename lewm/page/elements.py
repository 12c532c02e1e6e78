"""Pieces of HTML. The texts that they are given come from others: every piece escapes them."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from lewm.shown_text import visible

LONGEST = 5000  # characters of a text that are shown


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


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of numbers; the first cell of a row names it."""
    columns = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{text(name)}</th>' + "".join(f"<td>{text(cell)}</td>" for cell in cells) + "</tr>"
        for name, *cells in rows
    )
    return f'<div class="wide"><table><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names with their values."""
    rows = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="facts">{rows}</dl>'


def picture(source: str, caption: str) -> str:
    """A picture that opens on its own when clicked; `source` is a relative URL."""
    url, said = html.escape(source), text(caption)
    return (
        f'<figure class="picture"><a href="{url}"><img src="{url}" alt="{said}"></a>'
        f"<figcaption>{said}</figcaption></figure>"
    )


def video(source: str, caption: str) -> str:
    """A silent video that repeats; `source` is a relative URL. Before it plays, its first frame is shown (#t)."""
    url, said = html.escape(source), text(caption)
    shown = f'src="{url}#t=0.01" preload="metadata" aria-label="{said}"'
    return f"<figure><video controls muted loop playsinline {shown}></video><figcaption>{said}</figcaption></figure>"


def grid(figures: Iterable[str], kind: str = "grid") -> str:
    """Figures side by side, as many as fit; of the kind "pairs", two are wide enough to read."""
    return f'<div class="{html.escape(kind)}">{"".join(figures)}</div>'


def _class(kind: str) -> str:
    return f' class="{html.escape(kind)}"' if kind else ""
