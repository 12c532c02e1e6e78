"""The pictures and videos of a report, and what to say below them."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from lewm.page import elements
from lewm.page.shelf import Shelf

VIDEOS, PICTURES = (".mp4", ".webm"), (".png", ".gif", ".jpg", ".jpeg", ".webp")

# By file name and in the order of the page; others are shown after these, with their names below.
CAPTIONS = {
    "scatter": "Predicted against true values, on episodes that no probe was fitted to",
    "distances": "Latent distance over the distance in the world",
    "map": "The latent space on its first two principal components, coloured by a quantity",
    "tsne": "The latent space by t-SNE, coloured by a quantity",
    "neighbours": "Frames, and the frames of other episodes that are nearest to them in the latent space",
    "space": "The shape of the latent space",
    "reconstructions": "Frames that the decoder was not trained on, and what it makes of their latents",
    "rollout": "What happened, and what the model imagines from the first frame and the actions",
    "surprise": "The surprise of every frame, and what was seen at its peaks",
    "suite": "Surprise at each event, beside that of the same episodes left untouched",
}

LARGEST = 2**27  # bytes of a picture or video that is shown


@dataclass(frozen=True)
class Media:
    """Pictures and videos in the order of the page.

    Attributes:
        shown: Those that can be shown.
        left_out: Names of the others.
    """

    shown: tuple[Path, ...]
    left_out: tuple[str, ...]

    def note(self) -> str:
        """Names what was left out."""
        if not self.left_out:
            return ""
        some = elements.some(self.left_out)
        limit = f"of at most {LARGEST / 2**20:.0f} MiB"
        return elements.paragraph(f"Left out, because not a regular file inside the run {limit}: {some}.", "warning")


def media_of(report: Path) -> Media:
    """Pictures and videos beside a report: those with its name, and those in the folder with its name."""
    folder = report.with_suffix("")
    beside = [one for one in report.parent.iterdir() if one.stem == report.stem]
    if folder.is_dir():
        beside += folder.iterdir()
    order = list(CAPTIONS)
    found = sorted(
        (one for one in beside if one.suffix in VIDEOS + PICTURES),
        key=lambda one: (order.index(one.stem) if one.stem in order else len(order), one.name),
    )
    shown = tuple(one for one in found if is_inside(one, report.parent, LARGEST))
    return Media(shown, tuple(one.name for one in found if one not in shown))


def is_inside(path: Path, run: Path, largest: int) -> bool:
    """Whether `path` leads to a regular file inside the run, links followed, of at most `largest` bytes."""
    try:
        target = path.resolve(strict=True)
        about = target.stat()
    except (OSError, RuntimeError):  # a link to nothing, or to itself
        return False
    return target.is_relative_to(run.resolve()) and stat.S_ISREG(about.st_mode) and about.st_size <= largest


def figure(path: Path, run: Path, shelf: Shelf) -> str:
    """A picture or video of a run with its caption.

    A picture has a link to its data: the CSV beside it where that is a file inside the run, else the report.
    """
    caption = CAPTIONS.get(path.stem, path.stem.replace("-", " "))
    if path.suffix in VIDEOS:
        return elements.video(shelf.take(path), caption)
    beside = path.with_suffix(".csv")
    if is_inside(beside, run, LARGEST):
        link = elements.data_link(shelf.take(beside), beside.name, caption)
    else:
        link = shelf.source_link(caption)
    return elements.picture(shelf.take(path), caption, link)
