"""Makes of a run a page that can be opened, moved and sent: a folder with its files, or one file with all inside."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lewm.checkpoints import run
from lewm.config import Config, method_of
from lewm.errors import LewmError
from lewm.files import check_writable, write_text
from lewm.opened_run import open_run
from lewm.page import elements, places
from lewm.page.content import ODD, newest_first
from lewm.page.document import Section, page
from lewm.page.media import is_inside
from lewm.page.places import FILES, INDEX
from lewm.page.plans import newest_plans
from lewm.page.sections import LARGEST_TEXT, PARTS, Part
from lewm.page.shelf import FolderShelf, PageShelf, Room
from lewm.provenance import versions
from lewm_data.envs.registry import known_world
from lewm_data.temporary import temporary_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportPage:
    """The page that was written.

    Attributes:
        page: The file to open.
        sections: The parts that the run had something for.
    """

    page: str
    sections: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def write_page(directory: Path, out: Path | None = None, single_file: bool = False) -> ReportPage:
    """Gather what a run holds, the newest of each kind, into one page.

    Only regular files inside the run are shown. What is damaged or odd is named on the page in place of its numbers.

    Args:
        directory: A run.
        out: The page's folder, "report" in the run if None; the page itself with `single_file`, "report.html" in the
            run if None. An earlier report there is replaced as a whole.
        single_file: Whether the page holds its pictures, films and data. Those that there is no room for are named.

    Raises:
        LewmError: It is no run, its weights are damaged or not finite, or `out` cannot be written, or holds something
            that is not a report.
    """
    config = open_run(directory).config
    out = places.page_file(directory, out) if single_file else places.page_folder(directory, out)
    check_writable(out.parent, "Give --out a folder that you can write to.")
    if (directory / run.MODEL).is_file():
        run.load_run(directory)  # no page of numbers over weights that are damaged or not finite
    else:
        log.warning("%s: has no %s. %s", directory, run.MODEL, run.repair(directory))
    out.parent.mkdir(parents=True, exist_ok=True)
    newest = _newest(directory)
    parts = [part for part in PARTS if not part.further or part.name in newest]
    room = Room()
    if single_file:
        sections = [_section(part, newest, directory, config.env, PageShelf(room)) for part in parts]
        write_text(out, _page(directory, config, sections))
        return ReportPage(str(out), tuple(one.name for one in sections if one.source))
    with temporary_folder(out) as scratch:
        built = scratch / "new"
        (built / FILES).mkdir(parents=True)
        shelves = [(part, FolderShelf(built, f"{FILES}/{part.name}")) for part in parts]
        sections = [_section(part, newest, directory, config.env, shelf) for part, shelf in shelves]
        (built / INDEX).write_text(_page(directory, config, sections), encoding="utf-8")
        places.put_folder(built, out, scratch)
    return ReportPage(str(out / INDEX), tuple(one.name for one in sections if one.source))


def _page(directory: Path, config: Config, sections: list[Section]) -> str:
    made = f"Made by lewm {versions()['lewm']} on {datetime.now(UTC):%Y-%m-%d at %H:%M} UTC."
    return page(directory.resolve().name, f"{method_of(config)} in {config.env}", sections, made)


def _section(
    part: Part, newest: Mapping[str, Path], directory: Path, env: str, shelf: FolderShelf | PageShelf
) -> Section:
    world = shlex.quote(env)
    named = f" --env {world}" if ":" in env else ""
    command = part.command.format(run=shlex.quote(str(directory)), env=world, named=named)
    path = newest.get(part.name)
    if path is None and part.name in ("training", "embeddings") and run.read_origin(directory) is not None:
        elsewhere = "Not there: the run was imported, and trained elsewhere."
        return Section(part.name, part.title, "", elements.paragraph(elsewhere, "quiet"))
    if path is None and part.acts and ":" not in env and known_world(env) is None:
        needs = f"Not there: needs a simulator, and lewm has none of {env}."
        return Section(part.name, part.title, "", elements.paragraph(needs, "quiet"))
    if path is None:
        return Section(
            part.name, part.title, "", elements.command_line("Not there yet:", command, f" shows {part.tells}.")
        )

    if not is_inside(path, directory, LARGEST_TEXT):
        return _odd(part, path, "not a regular file inside the run", command)
    url = shelf.take(path) if part.has_data else None
    if url is not None:
        shelf = shelf.with_source(path.name, f"data-{part.name}")
    try:
        content = part.content(path, shelf)
    except LewmError as error:
        return _odd(part, path, error.problem.removeprefix(f"{path}: "), command)
    except ODD as error:
        reason = f"not as this version of lewm writes it ({type(error).__name__}: {error})"
        return _odd(part, path, reason, command)
    return Section(part.name, part.title, path.name, content.body + shelf.note(), content.numbers, url)


def _newest(directory: Path) -> dict[str, Path]:
    """The file that each part shows, by the part's name; without the parts that the run has no file for."""
    by_agent = newest_plans(directory)
    found = {
        part.name: next(iter(newest_first(directory, part.pattern)), None)
        if part.agent is None
        else by_agent.get(part.agent)
        for part in PARTS
    }
    return {name: path for name, path in found.items() if path is not None}


def _odd(part: Part, path: Path, reason: str, command: str) -> Section:
    """A part of which nothing is shown, and why."""
    body = elements.paragraph(f"{path.name} is not shown: {reason}.", "warning")
    body += elements.command_line("Move it away, or make it again:", command, "")
    return Section(part.name, part.title, path.name, body)
