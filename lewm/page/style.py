"""The style of all pages: light and dark, wide and narrow, on screen and on paper."""

from __future__ import annotations

STYLE = """
:root {
  --ground: #f6f6f4; --card: #fff; --ink: #1c1d1f; --quiet: #64676d; --line: #e2e2de; --accent: #a8321f;
  --other: #0b5fa5; --third: #00795a;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: var(--ink); background: var(--ground); color-scheme: light dark;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #131416; --card: #1c1e21; --ink: #ececea; --quiet: #9b9ea5; --line: #303338; --accent: #ff8f7a;
    --other: #6cb8ff; --third: #43cfa2;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: clamp(1.25rem, 4vw, 3.5rem) clamp(1rem, 4vw, 2.5rem); }
h1 { font-size: clamp(1.9rem, 5vw, 2.8rem); line-height: 1.15; letter-spacing: -.02em; margin: .1em 0 .5em; }
h1, h2, p, figcaption, dd, code { overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; letter-spacing: -.01em; margin: 0; }
h3 { font-size: 1.05rem; margin: 2.2rem 0 .6rem; padding-top: 1.1rem; border-top: 1px solid var(--line); }
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
.data { font-size: .8125rem; margin-left: .35em; text-decoration: underline; text-underline-offset: .2em; }
caption span { display: inline-block; max-width: min(100%, calc(100vw - 4.5rem)); }
caption { text-align: left; font-size: .875rem; color: var(--quiet); padding-bottom: .4rem; }
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
.wide tbody th { position: sticky; left: 0; background: var(--card); }
.reading > div { margin-bottom: 1rem; max-width: 44rem; }
.reading dt { font-weight: 600; color: var(--ink); }
pre { overflow-x: auto; font: .8125rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
summary { cursor: pointer; color: var(--accent); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: baseline; padding: .5rem clamp(.6rem, 2vw, 1.25rem) .5rem 0; }
th, td { border-bottom: 1px solid var(--line); }
thead th { font-size: .85rem; font-weight: 500; color: var(--quiet); }
tbody th { font-weight: 500; }
.small { font-size: .875rem; }
.small td { white-space: nowrap; }
.small td:last-child { white-space: normal; min-width: 10rem; }
figure { margin: 0; }
.picture { margin-bottom: 1.4rem; }
.picture:last-child { margin-bottom: 0; }
.picture > a { display: block; }
img, video { display: block; max-width: 100%; height: auto; border-radius: .5rem; background: #fff; }
video { width: 100%; background: #c8c8c8; }
figcaption { font-size: .875rem; margin-top: .4rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); gap: 1.1rem; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1.1rem; }
.pairs > figure { max-width: 36rem; }
.chart { width: 100%; height: auto; font-size: 12px; fill: var(--quiet); }
.chart line { stroke: var(--line); }
.chart polyline { fill: none; stroke-width: 1.5; stroke-linejoin: round; }
.chart .theirs circle { fill: var(--quiet); }
.theirs polyline { stroke: var(--quiet); stroke-opacity: .6; }
.ours polyline { stroke: var(--accent); stroke-width: 2.5; }
.ours circle { fill: var(--accent); }
.other polyline { stroke: var(--other); stroke-width: 2; stroke-dasharray: 7 3; }
.other circle { fill: var(--other); }
.third polyline { stroke: var(--third); stroke-width: 2; stroke-dasharray: 2 3; }
.third circle { fill: var(--third); }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; }
.key span::before { content: ""; display: inline-block; width: 1.6em; margin-right: .5em; vertical-align: .25em; }
.key .ours::before { border-top: 3px solid var(--accent); }
.key .theirs::before { border-top: 2px solid var(--quiet); }
.key .bound::before { border-top: 2px dashed var(--quiet); }
.key .other::before { border-top: 2px dashed var(--other); }
.key .third::before { border-top: 2px dotted var(--third); }
.forest th, .forest td { padding-block: .3rem; vertical-align: middle; }
.forest tbody th { min-width: 9rem; width: 24%; }
.small tbody th { min-width: 6rem; }
.forest .track { position: relative; min-width: 8rem; width: 20%; padding: 0; }
.forest .track svg { position: absolute; inset: 0; width: 100%; height: 100%; }
.forest .value { white-space: nowrap; padding-left: .9rem; font-size: .9375rem; }
.forest tfoot td { border: 0; height: 1.3rem; }
.forest tfoot svg { overflow: visible; }
.forest text { font-size: 12px; fill: var(--quiet); }
.forest g line { stroke: var(--other); stroke-width: 2; }
.forest g circle { fill: var(--other); }
.forest .ours line { stroke: var(--accent); }
.forest .ours circle { fill: var(--accent); }
.forest .theirs line { stroke: var(--quiet); }
.forest .theirs circle { fill: var(--quiet); }
.forest .mark { stroke: var(--quiet); stroke-width: 1; stroke-dasharray: 3 3; }
.forest .mark.zero { stroke-dasharray: none; }
.forest .mark.ours { stroke: var(--accent); stroke-dasharray: none; stroke-opacity: .55; }
.forest .mark.third { stroke: var(--third); stroke-dasharray: 1 3; stroke-width: 2; }
@media (max-width: 40rem) {
  .forest thead { display: none; }
  .forest, .forest tbody, .forest tfoot { display: block; }
  .forest caption { display: block; }
  .forest tr { display: grid; grid-template-columns: 1fr; padding: .5rem 0; border-bottom: 1px solid var(--line); }
  .forest th, .forest td { border: 0; padding: .1rem 0; max-width: none; }
  .forest .track { width: auto; height: 1.4rem; }
  .forest .empty { display: none; }
  .forest .value::before { content: attr(data-track) ": "; }
  .forest tfoot .value::before { content: attr(data-track); }
  .forest .value { white-space: normal; padding: 0; color: var(--quiet); }
}
footer { margin-top: 2rem; font-size: .875rem; }
@media print { body { max-width: none; padding: 0; } section { break-inside: avoid; } }
"""
