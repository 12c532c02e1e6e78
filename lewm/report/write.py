"""From a run to a folder that can be opened, moved and sent: index.html, and in files/ what it shows."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lewm.checkpoints import run
from lewm.errors import LewmError
from lewm.provenance import versions
from lewm.report import elements
from lewm.report.page import MARK, Section, page
from lewm.report.sections import PARTS, Part
from lewm_data.envs.registry import known_world

INDEX, FILES = "index.html", "files"


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


def write_report(directory: Path, out: Path | None = None) -> ReportPage:
    """Gather what a run holds, the newest of each kind, into one page.

    Args:
        directory: A run.
        out: The page's folder, "report" in the run if None. An earlier report there is replaced as a whole.

    Raises:
        LewmError: It is no run, a file of it is damaged, or `out` holds something that is not a report.
    """
    config, _ = run.read_config(directory)
    out = (out or directory / "report").resolve()
    _refuse_foreign(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        built, replaced = Path(scratch) / "new", Path(scratch) / "old"
        (built / FILES).mkdir(parents=True)
        sections = [_section(part, directory, config.env, built) for part in PARTS]
        made = f"Made by lewm {versions()['lewm']} on {datetime.now(UTC):%Y-%m-%d at %H:%M} UTC."
        text = page(directory.resolve().name, f"LeWorldModel in {config.env}", sections, made)
        (built / INDEX).write_text(text, encoding="utf-8", errors="replace")
        if out.exists():
            out.rename(replaced)
        try:
            built.rename(out)
        except OSError:
            if replaced.exists():
                replaced.rename(out)
            raise
    return ReportPage(str(out / INDEX), tuple(one.name for one in sections if one.source))


def _section(part: Part, directory: Path, env: str, built: Path) -> Section:
    world = shlex.quote(env)
    named = f" --env {world}" if ":" in env else ""
    command = part.command.format(run=shlex.quote(str(directory)), env=world, named=named)
    begun = [one for one in directory.glob(part.pattern) if one.stat().st_size]  # a run that just began has no metrics
    path = max(begun, key=lambda one: one.stem, default=None)
    if path is None and part.acts and ":" not in env and known_world(env) is None:
        needs = f"Not there: needs a simulator, and lewm has none of {env}."
        return Section(part.name, part.title, "", elements.paragraph(needs, "quiet"))
    if path is None:
        return Section(
            part.name, part.title, "", elements.command_line("Not there yet:", command, f" shows {part.tells}.")
        )

    def take(file: Path) -> str:
        (built / FILES / part.name).mkdir(exist_ok=True)
        shutil.copyfile(file, built / FILES / part.name / file.name)
        return f"{FILES}/{part.name}/{quote(os.fsencode(file.name))}"

    try:
        content = part.content(path, take)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        if isinstance(error, LewmError):
            raise
        raise LewmError(
            f"{path}: not as this version of lewm writes it ({type(error).__name__}: {error})",
            f'Move it away, or make it again with "{command}".',
        ) from error
    return Section(part.name, part.title, path.name, content.body, content.numbers)


def _refuse_foreign(out: Path) -> None:
    """Only a report may be replaced, and nothing that someone put beside it be lost."""
    if not out.exists():
        return
    names = {one.name for one in out.iterdir()} if out.is_dir() else {out.name}
    index = out / INDEX
    ours = index.is_file() and MARK in index.read_text(encoding="utf-8", errors="replace")
    foreign = names - {INDEX, FILES} if ours else names
    if foreign or not out.is_dir():
        raise LewmError(
            f"{out}: holds {min(foreign)}, which is not part of a report, so it is not replaced",
            "Give --out another folder, or move that away.",
        )
