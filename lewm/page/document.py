"""The page around the sections: head, style, contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lewm.page.elements import text

GENERATOR = "lewm report"
MARK = f'<meta name="generator" content="{GENERATOR}">'  # shows that a page is ours


@dataclass(frozen=True)
class KeyNumber:
    """A number for the top of the page."""

    value: str
    label: str
    detail: str


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: Its anchor.
        title: Its heading.
        source: The file that it shows; empty for a part that the run does not have yet.
        body: HTML.
        numbers: Those of its numbers that the top of the page shows.
    """

    name: str
    title: str
    source: str
    body: str
    numbers: tuple[KeyNumber, ...] = ()


def page(title: str, subtitle: str, sections: Sequence[Section], footer: str) -> str:
    """The whole page, which needs nothing but the files that its sections point to."""
    numbers = "".join(
        f"<div><dt>{text(one.label)}</dt><dd><b>{text(one.value)}</b><span>{text(one.detail)}</span></dd></div>"
        for section in sections
        for one in section.numbers
    )
    contents = "".join(f'<a href="#{one.name}">{text(one.title)}</a>' for one in sections if one.source)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
{MARK}
<link rel="icon" href="data:,">
<title>{text(title)} · lewm report</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<p class="quiet">{text(subtitle)}</p>
<h1>{text(title)}</h1>
<nav aria-label="Contents">{contents}</nav>
</header>
<main>
<dl class="numbers">{numbers}</dl>
{"".join(map(_section, sections))}
</main>
<footer><p class="quiet">{text(footer)}</p></footer>
</body>
</html>
"""


def _section(section: Section) -> str:
    source = f"<code>{text(section.source)}</code>" if section.source else ""
    return (
        f'<section id="{section.name}"><div class="heading"><h2>{text(section.title)}</h2>{source}</div>\n'
        f"{section.body}</section>\n"
    )


STYLE = """
:root {
  --ground: #f6f6f4; --card: #fff; --ink: #1c1d1f; --quiet: #64676d; --line: #e2e2de; --accent: #a8321f;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: var(--ink); background: var(--ground); color-scheme: light dark;
}
@media (prefers-color-scheme: dark) {
  :root { --ground: #131416; --card: #1c1e21; --ink: #ececea; --quiet: #9b9ea5; --line: #303338; --accent: #ff8f7a; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: clamp(1.25rem, 4vw, 3.5rem) clamp(1rem, 4vw, 2.5rem); }
h1 { font-size: clamp(1.9rem, 5vw, 2.8rem); line-height: 1.15; letter-spacing: -.02em; margin: .1em 0 .5em; }
h1, h2, p, figcaption, dd, code { overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; letter-spacing: -.01em; margin: 0; }
p { margin: 0 0 1rem; max-width: 44rem; }
.quiet, figcaption, dt { color: var(--quiet); }
header .quiet { margin: 0; }
code { font: .86em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
p code { background: var(--ground); border: 1px solid var(--line); border-radius: .35rem; padding: .1rem .35rem; }
nav { display: flex; flex-wrap: wrap; gap: .35rem 1.25rem; }
a { color: var(--accent); text-decoration: none; }
a:hover, a:focus-visible { text-decoration: underline; }
section, .numbers > div { background: var(--card); border: 1px solid var(--line); border-radius: .9rem; }
section { padding: clamp(1rem, 3vw, 1.9rem); margin: 1.25rem 0; }
.warning { color: var(--accent); }
section > :last-child { margin-bottom: 0; }
.heading {
  display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; gap: .2rem 1rem;
  margin-bottom: 1rem;
}
.heading code { color: var(--quiet); }
dl, dd { margin: 0; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .9rem; }
.numbers { margin-top: 1.75rem; }
.numbers > div { padding: .9rem 1.1rem 1rem; }
.numbers dt, .numbers span { font-size: .85rem; }
.numbers b { display: block; font-size: 1.6rem; line-height: 1.25; letter-spacing: -.02em; }
.numbers span { color: var(--quiet); }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(max(9rem, 22%), 1fr)); gap: .8rem 1.2rem; }
.facts, .wide, .grid, .pairs { margin-bottom: 1.4rem; }
.facts dt { font-size: .85rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: baseline; padding: .5rem clamp(.6rem, 2vw, 1.25rem) .5rem 0; }
th, td { border-bottom: 1px solid var(--line); }
thead th { font-size: .85rem; font-weight: 500; color: var(--quiet); }
tbody th { font-weight: 500; }
figure { margin: 0; }
.picture { margin-bottom: 1.4rem; }
.picture:last-child { margin-bottom: 0; }
.picture a { display: block; }
img, video { display: block; max-width: 100%; height: auto; border-radius: .5rem; background: #fff; }
video { width: 100%; background: #c8c8c8; }
figcaption { font-size: .875rem; margin-top: .4rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); gap: 1.1rem; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1.1rem; }
.chart { width: 100%; height: auto; font-size: 12px; fill: var(--quiet); }
.chart line { stroke: var(--line); }
.chart polyline { fill: none; stroke-width: 1.5; stroke-linejoin: round; }
.theirs polyline { stroke: var(--quiet); stroke-opacity: .6; }
.ours polyline { stroke: var(--accent); stroke-width: 2.5; }
.ours circle { fill: var(--accent); }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; }
.key span::before { content: ""; display: inline-block; width: 1.6em; margin-right: .5em; vertical-align: .25em; }
.key .ours::before { border-top: 3px solid var(--accent); }
.key .theirs::before { border-top: 2px solid var(--quiet); }
footer { margin-top: 2rem; font-size: .875rem; }
@media print { body { max-width: none; padding: 0; } section { break-inside: avoid; } }
"""
