"""Makes of a run a folder that can be opened, moved and sent: index.html, and the files/ that it shows."""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import re
import shlex
import shutil
import stat
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lewm.checkpoints import run
from lewm.errors import LewmError
from lewm.files import check_writable
from lewm.opened_run import open_run
from lewm.page import elements
from lewm.page.document import MARK, Section, page
from lewm.page.media import is_inside
from lewm.page.sections import LARGEST_TEXT, PARTS, Part
from lewm.provenance import versions
from lewm_data.envs.registry import known_world
from lewm_data.temporary import temporary_folder

log = logging.getLogger(__name__)

INDEX, FILES = "index.html", "files"
HEAD = 2**16  # the first bytes of a page, which hold the mark
ODD = (ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError, RecursionError)


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


def write_page(directory: Path, out: Path | None = None) -> ReportPage:
    """Gather what a run holds, the newest of each kind, into one page.

    Only regular files inside the run are shown. What is damaged or odd is named on the page in place of its numbers.

    Args:
        directory: A run.
        out: The page's folder, "report" in the run if None. An earlier report there is replaced as a whole.

    Raises:
        LewmError: It is no run, its weights are damaged or not finite, or `out` cannot be written, or holds something
            that is not a report.
    """
    config = open_run(directory).config
    out = _folder(directory, out)
    check_writable(out.parent, "Give --out a folder that you can write to.")
    if (directory / run.MODEL).is_file():
        run.load_run(directory)  # no page of numbers over weights that are damaged or not finite
    else:
        log.warning("%s: has no %s. %s", directory, run.MODEL, run.repair(directory))
    out.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(out) as scratch:
        built = scratch / "new"
        (built / FILES).mkdir(parents=True)
        parts = [part for part in PARTS if not part.further or _newest(part, directory) is not None]
        sections = [_section(part, directory, config.env, built) for part in parts]
        made = f"Made by lewm {versions()['lewm']} on {datetime.now(UTC):%Y-%m-%d at %H:%M} UTC."
        text = page(directory.resolve().name, f"LeWorldModel in {config.env}", sections, made)
        (built / INDEX).write_text(text, encoding="utf-8")
        _put(built, out, scratch)
    return ReportPage(str(out / INDEX), tuple(one.name for one in sections if one.source))


def _put(built: Path, out: Path, scratch: Path) -> None:
    """Moves away what was in the page's place, and the page there. If two are made at once, the later one stays."""
    for attempt in itertools.count():
        replaced = scratch / f"old-{attempt}"
        with contextlib.suppress(FileNotFoundError):
            out.rename(replaced)
        try:
            built.rename(out)
            return
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                continue
            if replaced.exists():
                replaced.rename(out)
            raise


def _section(part: Part, directory: Path, env: str, built: Path) -> Section:
    world = shlex.quote(env)
    named = f" --env {world}" if ":" in env else ""
    command = part.command.format(run=shlex.quote(str(directory)), env=world, named=named)
    path = _newest(part, directory)
    if path is None and part.name == "training" and run.read_origin(directory) is not None:
        elsewhere = "Not there: the run was imported, and trained elsewhere."
        return Section(part.name, part.title, "", elements.paragraph(elsewhere, "quiet"))
    if path is None and part.acts and ":" not in env and known_world(env) is None:
        needs = f"Not there: needs a simulator, and lewm has none of {env}."
        return Section(part.name, part.title, "", elements.paragraph(needs, "quiet"))
    if path is None:
        return Section(
            part.name, part.title, "", elements.command_line("Not there yet:", command, f" shows {part.tells}.")
        )

    def take(file: Path) -> str:
        (built / FILES / part.name).mkdir(exist_ok=True)
        name = file.name if file.parent.parent.name != run.STAGES else f"{file.parent.name}-{file.name}"
        shutil.copyfile(file, built / FILES / part.name / name)
        return f"{FILES}/{part.name}/{quote(os.fsencode(name))}"

    if not is_inside(path, directory, LARGEST_TEXT):
        return _odd(part, path, "not a regular file inside the run", command)
    try:
        content = part.content(path, take)
    except LewmError as error:
        return _odd(part, path, error.problem.removeprefix(f"{path}: "), command)
    except ODD as error:
        reason = f"not as this version of lewm writes it ({type(error).__name__}: {error})"
        return _odd(part, path, reason, command)
    return Section(part.name, part.title, path.name, content.body, content.numbers)


def _newest(part: Part, directory: Path) -> Path | None:
    """The file that a part shows; None where the run has none."""
    begun = [one for one in directory.iterdir() if fnmatchcase(one.name, part.pattern) and _has_content(one)]
    return max(begun, key=_place, default=None)


def _odd(part: Part, path: Path, reason: str, command: str) -> Section:
    """A part of which nothing is shown, and why."""
    body = elements.paragraph(f"{path.name} is not shown: {reason}.", "warning")
    body += elements.command_line("Move it away, or make it again:", command, "")
    return Section(part.name, part.title, path.name, body)


def _has_content(path: Path) -> bool:
    """False for the empty metrics of a run that has just begun."""
    about = path.lstat()
    return not stat.S_ISREG(about.st_mode) or about.st_size > 0


def _place(path: Path) -> list[str | int]:
    """Sort key that puts names in the order in which they were given: "plan", "plan-9", "plan-10"."""
    return [int(one) if one.isdecimal() else one for one in re.split(r"([0-9]+)", path.stem)]


def _folder(directory: Path, out: Path | None) -> Path:
    """Where the page goes. Only a report may be replaced, and nothing that someone put beside it may be lost."""
    if out is None:
        out = directory / "report"
        if out.is_symlink():
            raise LewmError(f"{out}: a link that leads out of the run", "Name the folder of the page with --out.")
    out = out.resolve()
    if not out.exists():
        return out
    names = {one.name for one in out.iterdir()} if out.is_dir() else {out.name}
    foreign = names - {INDEX, FILES} if _is_ours(out / INDEX) else names
    if foreign or not out.is_dir():
        raise LewmError(
            f"{out}: holds {min(foreign)}, which is not part of a report, so it is not replaced",
            "Give --out another folder, or move that away.",
        )
    return out


def _is_ours(index: Path) -> bool:
    if not index.is_file():
        return False
    with index.open("rb") as file:
        return MARK.encode() in file.read(HEAD)
