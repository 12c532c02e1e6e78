"""The page of a comparison: static, offline, with the numbers of every figure beside it, or in one file."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from lewm.compare import figures, latents, words
from lewm.compare.reading import READING
from lewm.compare.result import FILES, INDEX, JSON, Comparison, WorldResult
from lewm.errors import LewmError
from lewm.files import file_name, write_text
from lewm.page import elements
from lewm.page.document import COMPARISON_MARK, KeyNumber, Section, page
from lewm.page.places import is_ours, put_folder
from lewm.page.shelf import FolderShelf, PageShelf, Room, Shelf
from lewm_data.temporary import temporary_folder

MISSING_SHOWN = 20  # results that are missing and named at the top


def write_comparison(comparison: Comparison, out: Path, single_file: bool = False) -> Path:
    """Write the page of a comparison; an earlier one is replaced.

    Args:
        comparison: What it shows.
        out: The folder of the comparison, which may hold compare.json.
        single_file: Whether the page is one file, NAME.html, with its data inside; else it is index.html, with the
            folder "files".

    Returns:
        The page.

    Raises:
        LewmError: In its place is something that is not such a page.
        OSError: It cannot be written.
    """
    check_page(comparison.name, out, single_file)
    out.mkdir(parents=True, exist_ok=True)
    place = out / page_name(comparison.name, single_file)
    if single_file:
        room = Room()
        shelves: list[Shelf] = [PageShelf(room) for _ in comparison.worlds]
        write_text(place, _page(comparison, shelves, PageShelf(room)))
        return place
    with temporary_folder(out / "page") as scratch:
        built = scratch / "new"
        (built / FILES).mkdir(parents=True)
        shelves = [FolderShelf(built, f"{FILES}/{file_name(world.world)}") for world in comparison.worlds]
        text = _page(comparison, shelves, FolderShelf(built, FILES))
        write_text(place, text)  # first: without it, nobody could tell that the folder of files is the page's
        put_folder(built / FILES, out / FILES, scratch)
    return place


def check_page(name: str, out: Path, single_file: bool) -> None:
    """Raises unless the page of a comparison of this name can be put there; see `write_comparison`."""
    place = out / page_name(name, single_file)
    taken = [path for path in (place, *([] if single_file else [out / FILES])) if path.exists()]
    if taken and not is_ours(place, COMPARISON_MARK):
        raise LewmError(
            f"{taken[0]}: is not part of a comparison's page, so it is not replaced",
            "Give --out another folder, or move that away.",
        )


def page_name(name: str, single_file: bool) -> str:
    """The file of the page of a comparison."""
    return f"{file_name(name)}.html" if single_file else INDEX


def _page(comparison: Comparison, shelves: list[Shelf], shelf: Shelf) -> str:
    """The whole page; there is a shelf for each world, and one for what is common to them."""
    sections = [_world(world, one) for world, one in zip(comparison.worlds, shelves, strict=True)]
    sections += [_reading(), _making(comparison, shelf)]
    where = ", ".join(world.world for world in comparison.worlds)
    made = f"Made by lewm {', '.join(comparison.versions.get('lewm', ()))} on {comparison.made}."
    return page(comparison.title, f"A comparison in {where}", sections, made, COMPARISON_MARK, _missing(comparison))


def _missing(comparison: Comparison) -> str:
    """What is not there or failed, or was made by another program, before anything else."""
    several = words.several_versions(comparison)
    warning = elements.paragraph(several, "warning") if several else ""
    missing = words.missing_of(comparison)
    if not missing:
        return warning and f'<section id="versions">{warning}</section>'
    rows = [(world, title, str(seed), said) for world, title, seed, said in missing[:MISSING_SHOWN]]
    count = words.counted(len(missing), "result") + (" is" if len(missing) == 1 else " are")
    more = f" The first {MISSING_SHOWN} are named." if len(missing) > MISSING_SHOWN else ""
    told = elements.paragraph(f"{count} not there, and the numbers below are without them.{more}", "warning")
    return f'<section id="missing">{warning}{told}{elements.table(("world", "method", "seed", "why"), rows)}</section>'


def _world(world: WorldResult, shelf: Shelf) -> Section:
    body = elements.paragraph(words.compared(world))
    for number, group in enumerate(world.groups, 1):
        name = f"{number}-{file_name(group.title)[:40]}"
        body += elements.heading(group.title)
        found = words.findings(group, world)
        body += elements.paragraph(found) if found else ""
        body += figures.success(group, name, world, shelf) + figures.along_axis(group, name, world, shelf)
        body += figures.details(group, name, shelf)
    for title, figure in (("Collapse over training", latents.collapse), ("Embeddings", latents.embeddings)):
        drawn = figure(world, shelf)
        body += elements.heading(title) + drawn if drawn else ""
    body += shelf.note()
    return Section(f"world-{file_name(world.world)}", world.world, "", body, _numbers(world), listed=True)


def _numbers(world: WorldResult) -> tuple[KeyNumber, ...]:
    """Success of the reference, between the bounds."""
    reference = words.reference_of(world)
    if reference is None or reference.success is None:
        return ()
    low, high = reference.success.interval_95
    bounds = [
        f"{row.title}: {row.success.value:.1%}"
        for row in words.rows_of(world)
        if words.is_bound(row) and row.success is not None
    ]
    seeds = words.counted(sum(one is not None for one in reference.solved), "seed")
    told = [f"95%: {low:.1%} to {high:.1%}", f"{seeds}, {world.tasks:,} tasks each", *bounds]
    return (KeyNumber(f"{reference.success.value:.1%}", f"{reference.title} in {world.world}", "; ".join(told)),)


def _reading() -> Section:
    return Section(
        "reading",
        "How to read this",
        "",
        elements.facts([(term, f"{said} {more}") for term, said, more in READING], "reading"),
        listed=True,
    )


def _making(comparison: Comparison, shelf: Shelf) -> Section:
    """How it was made, the whole result as data, and the specification."""
    result = json.dumps(comparison.as_dict(), indent=2)
    spec = json.dumps(comparison.spec, indent=2, ensure_ascii=False)
    machine = ", ".join(f"{name} {value}" for name, value in comparison.machine.items())
    body = elements.facts(
        [
            ("Made", comparison.made),
            (
                "Took",
                f"{words.seconds(comparison.elapsed)} in which a process was at work, and "
                f"{words.seconds(comparison.seconds)} added up over the processes",
            ),
            ("Machine", machine or "not known"),
            ("Versions", "; ".join(f"{name} {', '.join(found)}" for name, found in comparison.versions.items())),
            ("Decisions timed on", "; ".join(comparison.timed_on) or "not timed"),
        ]
    )
    link = elements.data_link(shelf.write(JSON, result), JSON, "the whole result")
    body += (
        f"<p>{elements.text('The whole result, with the task hashes and the place of each run and report:')}{link}</p>"
    )
    if comparison.call:
        body += elements.command_line("To repeat or to continue it:", shlex.join(["lewm", *comparison.call]), "")
    body += elements.folded("The specification", spec) + shelf.note()
    return Section("making", "How it was made", "", body, listed=True)
