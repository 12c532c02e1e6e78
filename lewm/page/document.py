"""The page around the sections: head, style, contents."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from lewm.page.elements import text
from lewm.page.style import STYLE

MARK = '<meta name="generator" content="lewm report">'  # shows that a page is ours
COMPARISON_MARK = '<meta name="generator" content="lewm compare">'


@dataclass(frozen=True)
class KeyNumber:
    """A number for the top of the page.

    Attributes:
        value: The number, or a word.
        label: What it is of.
        detail: What else there is to know.
        warning: Whether it says that something is wrong: such numbers come before the others.
    """

    value: str
    label: str
    detail: str
    warning: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: Its anchor.
        title: Its heading.
        source: The file that it shows; empty for a part that the run does not have yet.
        body: HTML.
        numbers: Those of its numbers that the top of the page shows.
        data: URL of that file, where it is kept with the page.
        listed: Whether the contents name it although it has no source.
    """

    name: str
    title: str
    source: str
    body: str
    numbers: tuple[KeyNumber, ...] = ()
    data: str | None = None
    listed: bool = False


def page(
    title: str, subtitle: str, sections: Sequence[Section], footer: str, mark: str = MARK, before: str = ""
) -> str:
    """The whole page, which needs nothing but the files that its sections point to.

    Args:
        title: Its heading.
        subtitle: A line above that.
        sections: Its parts; the contents name those with a source, and those that are listed.
        footer: A line at its end.
        mark: `MARK`, or `COMPARISON_MARK`.
        before: HTML before the numbers of the sections.
    """
    numbers = sorted((one for section in sections for one in section.numbers), key=lambda one: not one.warning)
    contents = "".join(f'<a href="#{one.name}">{text(one.title)}</a>' for one in sections if one.source or one.listed)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{mark}
<link rel="icon" href="data:,">
<title>{text(title)} · lewm {"report" if mark == MARK else "compare"}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<p class="quiet">{text(subtitle)}</p>
<h1>{text(title)}</h1>
<nav aria-label="Contents">{contents}</nav>
</header>
<main>
{before}<dl class="numbers">{"".join(map(_number, numbers))}</dl>
{"".join(map(_section, sections))}
</main>
<footer><p class="quiet">{text(footer)}</p></footer>
</body>
</html>
"""


def _number(number: KeyNumber) -> str:
    style = ' class="warning"' if number.warning else ""
    value = f"<b>{text(number.value)}</b><span>{text(number.detail)}</span>"
    return f"<div{style}><dt>{text(number.label)}</dt><dd>{value}</dd></div>"


def _section(section: Section) -> str:
    source = f"<code>{text(section.source)}</code>" if section.source else ""
    if section.data is not None:
        kept = f'id="data-{section.name}" href="{html.escape(section.data)}" download="{text(section.source)}"'
        source = f"<a {kept}>{source}</a>"
    return (
        f'<section id="{section.name}"><div class="heading"><h2>{text(section.title)}</h2>{source}</div>\n'
        f"{section.body}</section>\n"
    )
