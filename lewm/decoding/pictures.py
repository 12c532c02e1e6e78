"""The pictures and the film that `lewm decode` makes.

N or T frames, Y and X their sides.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from lewm.decoding.open_loop import StepError
from lewm.decoding.panels import BLUE, GREY, enlarge, framed, shown_at
from lewm.decoding.training import Fidelity
from lewm.figures import figure, import_figure
from lewm_data.video.video_writer import VideoWriter

FRAMES_PER_SECOND = 4.0  # blocks; a film of a plan shows two a second, here there is less to follow
HOLD = 4  # how many times the last frame is shown
COLUMNS = 8  # frames beside each other in a strip
GAP = 1  # pixels between them
CAPTION = 40  # pixels above a film
CAPTION_DPI = 128  # a power of two, so that inches are exact
RARE = 0.5  # share of the episodes: steps that fewer of them reach are not drawn


@dataclass(frozen=True)
class Shown:
    """An episode as it happened, as its latents decode, and as its predicted latents decode."""

    episode: int
    context: int
    true: UInt8[np.ndarray, "T Y X 3"]
    decoded: UInt8[np.ndarray, "T Y X 3"]
    imagined: UInt8[np.ndarray, "T Y X 3"]


def draw_reconstructions(
    path: Path,
    true: UInt8[np.ndarray, "N Y X 3"],
    decoded: UInt8[np.ndarray, "N Y X 3"],
    fidelity: Fidelity,
    which: str,
) -> None:
    """Draw frames, and below each what its latent decodes to; `COLUMNS` beside each other.

    Args:
        which: What the frames are called.
    """
    lines = -(-len(true) // COLUMNS)
    with figure(path, 11.0, 0.5 + lines * (_height(true, 2) + 0.2)) as drawn:
        for line, panel in enumerate(np.atleast_1d(drawn.subplots(lines, 1))):
            some = slice(line * COLUMNS, (line + 1) * COLUMNS)
            _strip(panel, {"true": true[some], "decoded": decoded[some]}, None)
        errors = f"{fidelity.error:.2g} a pixel, of the mean image {fidelity.mean_image:.2g}"
        drawn.suptitle(f"{which.capitalize()}: mean squared error {errors}", fontsize=11)


def draw_rollout(path: Path, episodes: Sequence[Shown], errors: Sequence[StepError], which: str) -> None:
    """Draw each episode over time in three rows, and the error of the rollout in latent space.

    Args:
        which: What the episodes are called that the error is the mean of.
    """
    heights = [_height(one.true, 3) + 0.4 for one in episodes]
    with figure(path, 11.0, 3 + sum(heights)) as drawn:
        panels = drawn.subplots(len(episodes) + 1, 1, height_ratios=[*heights, 2.6])
        for one, panel in zip(episodes, panels, strict=False):
            times = np.unique(np.linspace(0, len(one.true) - 1, COLUMNS).round().astype(int))
            rows = {"true": one.true[times], "decoded": one.decoded[times], "imagined": one.imagined[times]}
            _strip(panel, rows, [f"block {t}" + " (given)" * bool(t < one.context) for t in times.tolist()])
            panel.set_title(f"episode {one.episode}", fontsize=10, loc="left")
        _draw_errors(panels[-1], errors, which)


def film_rollout(path: Path, episodes: Sequence[Shown]) -> None:
    """Film one row an episode: true, decoded and imagined side by side, with a blue border where nothing is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    length = max(len(one.true) for one in episodes)
    size = shown_at(*episodes[0].true.shape[1:3])
    panels = [
        [enlarge(frames, size) for frames in (one.true, one.decoded, one.imagined)] for one in episodes
    ]  # episodes x 3 x (T, Y, X, 3)
    with VideoWriter(path, FRAMES_PER_SECOND) as video:
        for t in [*range(length), *[length - 1] * HOLD]:
            rows = []
            for one, panel in zip(episodes, panels, strict=True):
                at = min(t, len(one.true) - 1)
                colours = (GREY, GREY, GREY if at < one.context else BLUE)
                rows.append(
                    np.hstack([framed(frames[at], colour) for frames, colour in zip(panel, colours, strict=True)])
                )
            caption = _caption(["true", "decoded", f"imagined, block {t}"], rows[0].shape[1])
            video.write(np.vstack([caption, *rows]))


def _draw_errors(panel: Any, errors: Sequence[StepError], which: str) -> None:  # noqa: ANN401
    often = [error for error in errors if error.episodes >= RARE * errors[0].episodes]
    blocks = [error.blocks for error in often]
    panel.plot(blocks, [error.rollout for error in often], color="C0", marker="o", markersize=4, label="imagined")
    panel.plot(blocks, [error.still for error in often], color="grey", linestyle="--", label="nothing moves")
    title = f"Distance to the true latent, mean of {errors[0].episodes} {which}"
    panel.set(xlabel="blocks since the last frame given", ylim=(0, None))
    panel.set_title(title, fontsize=10, loc="left")
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.3)
    panel.legend(frameon=False)


def _strip(panel: Any, rows: dict[str, UInt8[np.ndarray, "T Y X 3"]], columns: list[str] | None) -> None:  # noqa: ANN401
    """Rows of frames, with the names of the rows on the left and those of the columns, where given, below."""
    count, height, width, _ = next(iter(rows.values())).shape
    canvas = np.full((len(rows) * (height + GAP) - GAP, COLUMNS * (width + GAP) - GAP, 3), 255, np.uint8)
    for i, frames in enumerate(rows.values()):
        for j, frame in enumerate(frames):
            y, x = i * (height + GAP), j * (width + GAP)
            canvas[y : y + height, x : x + width] = frame
    panel.imshow(canvas, interpolation="nearest")
    panel.set_yticks([i * (height + GAP) + height / 2 for i in range(len(rows))], list(rows))
    centres = [j * (width + GAP) + width / 2 for j in range(count)]
    panel.set_xticks(centres if columns else [], columns or [])
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.grid(False)


def _height(frames: UInt8[np.ndarray, "T Y X 3"], rows: int) -> float:
    """Inches that rows of frames take at the full width."""
    return 10 / COLUMNS * frames.shape[1] / frames.shape[2] * rows


def _caption(texts: Sequence[str], width: int) -> UInt8[np.ndarray, "Y X 3"]:
    """A line of text above each of several panels."""
    drawn = import_figure()(figsize=(width / CAPTION_DPI, CAPTION / CAPTION_DPI))
    for i, text in enumerate(texts):
        drawn.text((i + 0.5) / len(texts), 0.45, text, ha="center", va="center", fontsize=10)
    raw = io.BytesIO()
    drawn.savefig(raw, format="rgba", dpi=CAPTION_DPI)
    return np.frombuffer(raw.getvalue(), np.uint8).reshape(CAPTION, width, 4)[:, :, :3]
