"""Where a page keeps what it shows besides its text: in a folder beside it, or inside itself."""

from __future__ import annotations

import base64
import csv
import io
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import quote

from lewm.checkpoints import run
from lewm.page import elements

# Bytes that files may add to a page that holds them, in base64. Mail programs and browsers take pages of this size.
ROOM_FOR_MEDIA, ROOM_FOR_DATA = 48 * 2**20, 16 * 2**20

TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".png": "image/png",
    ".gif": "image/gif",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
}
DATA = (".csv", ".json", ".jsonl")

Cell = str | float | int | None


@runtime_checkable
class Shelf(Protocol):
    """Keeps the files of a part of a page; `take` and `write` give URLs, or None where there is no room."""

    def source_link(self, title: str) -> str:
        """HTML of a link to the file that the part shows, as the data of a figure; empty where there is none."""

    def take(self, path: Path) -> str | None:
        """Keeps a copy of a file."""

    def write(self, name: str, text: str) -> str | None:
        """Keeps a text as a file of this name."""

    def note(self) -> str:
        """HTML that names what there was no room for; empty where there was room for all."""


@dataclass(frozen=True)
class FolderShelf:
    """Keeps files in a folder beside the page.

    Attributes:
        page: The folder of the page.
        folder: The folder of the files, in that one; made when the first of them comes.
        source: Name of the file that the part shows, if it was taken.
    """

    page: Path
    folder: str
    source: str | None = None

    def with_source(self, name: str, anchor: str) -> FolderShelf:
        """The shelf of a part of which this file has been taken."""
        return replace(self, source=name)

    def source_link(self, title: str) -> str:
        """See `Shelf`."""
        return "" if self.source is None else elements.data_link(self._url(self.source), self.source, title)

    def take(self, path: Path) -> str:
        """See `Shelf`. The file of a stage of a training gets the stage's name before its own."""
        name = _name(path)
        shutil.copyfile(path, self._place(name))
        return self._url(name)

    def write(self, name: str, text: str) -> str:
        """See `Shelf`."""
        self._place(name).write_text(text, encoding="utf-8")
        return self._url(name)

    def note(self) -> str:
        """See `Shelf`. A folder has room for all."""
        return ""

    def _place(self, name: str) -> Path:
        place = self.page / self.folder
        place.mkdir(parents=True, exist_ok=True)
        return place / name

    def _url(self, name: str) -> str:
        return f"{self.folder}/{quote(os.fsencode(name))}"


@dataclass
class Room:
    """How many bytes a page that holds its files still has room for."""

    media: int = field(default_factory=lambda: ROOM_FOR_MEDIA)
    data: int = field(default_factory=lambda: ROOM_FOR_DATA)

    def is_taken(self, ending: str, size: int) -> bool:
        """Takes the room of a file of `size` bytes, if there is as much."""
        encoded = 4 * -(-size // 3)
        kind = "data" if ending in DATA else "media"
        left = getattr(self, kind) - encoded
        if left >= 0:
            setattr(self, kind, left)
        return left >= 0


@dataclass(frozen=True)
class PageShelf:
    """Keeps files in the page itself, as data URLs.

    Attributes:
        room: What all parts of the page share.
        anchor: Where the page has the link to the file that the part shows: no figure holds it once more.
        left_out: Names of the files that there was no room for.
    """

    room: Room
    anchor: str | None = None
    left_out: list[str] = field(default_factory=list)

    def with_source(self, name: str, anchor: str) -> PageShelf:
        """The shelf of a part of which this file has been taken, with a link to it at the anchor."""
        return replace(self, anchor=anchor)

    def source_link(self, title: str) -> str:
        """See `Shelf`."""
        return elements.data_link(None if self.anchor is None else f"#{self.anchor}", "", title)

    def take(self, path: Path) -> str | None:
        """See `Shelf`."""
        if not self._fits(_name(path), path.stat().st_size):
            return None
        return _data_url(path.suffix, path.read_bytes())

    def write(self, name: str, text: str) -> str | None:
        """See `Shelf`."""
        content = text.encode("utf-8")
        return _data_url(Path(name).suffix, content) if self._fits(name, len(content)) else None

    def note(self) -> str:
        """See `Shelf`."""
        if not self.left_out:
            return ""
        most = (ROOM_FOR_MEDIA + ROOM_FOR_DATA) / 2**20
        return elements.paragraph(
            f"Left out, because a page in one file holds at most {most:.0f} MiB: {elements.some(self.left_out)}. "
            "They are where the page was made, and in a page with its folder.",
            "warning",
        )

    def _fits(self, name: str, size: int) -> bool:
        fits = self.room.is_taken(Path(name).suffix, size)
        if not fits:
            self.left_out.append(name)
        return fits


def write_csv(shelf: Shelf, name: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str | None:
    """Keeps a table as CSV; an empty cell is a value that is not known."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(head)
    lines.writerows(rows)
    return shelf.write(name, text.getvalue())


def _name(path: Path) -> str:
    return path.name if path.parent.parent.name != run.STAGES else f"{path.parent.name}-{path.name}"


def _data_url(ending: str, content: bytes) -> str:
    return f"data:{TYPES.get(ending, 'application/octet-stream')};base64,{base64.b64encode(content).decode()}"
