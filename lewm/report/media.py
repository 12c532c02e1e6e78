"""The pictures and videos of a report, and what to say below them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lewm.report import elements

VIDEOS, PICTURES = (".mp4", ".webm"), (".png", ".gif", ".jpg", ".jpeg", ".webp")

# By file name and in the order of the page; others are shown after these, with their names below.
CAPTIONS = {
    "scatter": "Predicted against true values, on episodes that no probe was fitted to",
    "distances": "Latent distance over the distance in the world",
    "map": "The latent space on its first two principal components, coloured by a quantity",
    "tsne": "The latent space by t-SNE, coloured by a quantity",
    "neighbours": "Frames, and those of other episodes that are nearest to them in the latent space",
    "space": "The shape of the latent space",
    "reconstructions": "Frames that training has not seen, and what a decoder makes of their latents",
    "rollout": "What happened, and what the model imagines from the first frame and the actions",
    "surprise": "The surprise of every frame, and what was seen at its peaks",
    "suite": "Surprise at each event, beside that of the same episodes left untouched",
}

Take = Callable[[Path], str]  # copies a file beside the page, and gives its URL there


def media_of(report: Path) -> list[Path]:
    """Pictures and videos beside a report: those of its name, and those in the folder of its name."""
    folder = report.with_suffix("")
    beside = [*report.parent.glob(f"{report.stem}.*"), *(folder.iterdir() if folder.is_dir() else ())]
    order = list(CAPTIONS)
    return sorted(
        (one for one in beside if one.suffix in VIDEOS + PICTURES),
        key=lambda one: (order.index(one.stem) if one.stem in order else len(order), one.name),
    )


def figure(path: Path, take: Take) -> str:
    """A picture or video with its caption."""
    caption = CAPTIONS.get(path.stem, path.stem.replace("-", " "))
    return (elements.video if path.suffix in VIDEOS else elements.picture)(take(path), caption)
