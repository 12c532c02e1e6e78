"""Where a page is written: nothing but an earlier page may be replaced."""

from __future__ import annotations

import contextlib
import errno
import itertools
from pathlib import Path

from lewm.errors import LewmError
from lewm.page.document import MARK

INDEX, FILES = "index.html", "files"
HEAD = 2**16  # the first bytes of a page, which hold the mark


def page_folder(directory: Path, out: Path | None) -> Path:
    """Where the page goes. Only a report may be replaced, and nothing that someone put beside it may be lost."""
    if out is None:
        out = directory / "report"
        if out.is_symlink():
            raise LewmError(f"{out}: a link that leads out of the run", "Name the folder of the page with --out.")
    out = out.resolve()
    if not out.exists():
        return out
    names = {one.name for one in out.iterdir()} if out.is_dir() else {out.name}
    foreign = names - {INDEX, FILES} if is_ours(out / INDEX) else names
    if foreign or not out.is_dir():
        raise LewmError(
            f"{out}: holds {min(foreign)}, which is not part of a report, so it is not replaced",
            "Give --out another folder, or move that away.",
        )
    return out


def page_file(directory: Path, out: Path | None) -> Path:
    """The file that a page in one file becomes.

    Args:
        directory: The run.
        out: What the user named; "report.html" in the run if None.

    Raises:
        LewmError: Something is there that is not a report, or that leads out of the run.
    """
    if out is None:
        out = directory / "report.html"
        if out.is_symlink():
            raise LewmError(f"{out}: a link that leads out of the run", "Name the page with --out.")
    out = out.resolve()
    if out.is_dir():
        raise LewmError(f"{out}: a folder, expected the name of a file", "Give --out a name such as report.html.")
    if out.exists() and not is_ours(out):
        raise LewmError(f"{out}: is not a report, so it is not replaced", "Give --out another name, or move that away.")
    return out


def is_ours(index: Path, mark: str = MARK) -> bool:
    """Whether a file is a page that was written here, of the kind that the mark tells."""
    if not index.is_file():
        return False
    with index.open("rb") as file:
        return mark.encode() in file.read(HEAD)


def put_folder(built: Path, out: Path, scratch: Path) -> None:
    """Moves away what was in a folder's place, and the folder there. If two are made at once, the later one stays."""
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
