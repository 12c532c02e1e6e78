"""Pictures of a dataset: a grid of frames, and episodes as videos with their actions.

Letters: T steps of an episode, A action dimension, Y and X the sides of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from lewm_data.errors import missing
from lewm_data.store.dataset import Dataset
from lewm_data.store.schema import ACTION
from lewm_data.temporary import replacing
from lewm_data.video.video_writer import VideoWriter

if TYPE_CHECKING:
    from PIL import Image

EPISODES, FRAMES = 6, 8  # of the grid
LEAST_SIDE, MOST_SIDE = 96, 192  # of a frame in the grid, in pixels
FILM_SIDE = 320  # the least width of a video: small frames are enlarged by a whole factor
GAP, LINE, MARGIN = 6, 16, 12
LABEL, LONGEST = 110, 10  # width of the words beside a curve, and the letters of a name that fit
CURVE, MOST_CURVES = 34, 8  # height of the curve of an action's dimension; more dimensions than that are not drawn
INK, GREY, PAPER, RED = (35, 40, 48), (160, 165, 172), (255, 255, 255), (192, 57, 43)
TOGETHER = 32  # frames that are read at a time


def draw_grid(dataset: Dataset, path: Path) -> None:
    """Writes a PNG with frames of some episodes, from the first to the last of each.

    Raises:
        DataError: Pillow is not installed, or frames cannot be read.
    """
    import_pillow("a picture of a dataset")
    from PIL import Image, ImageDraw, ImageFont

    font: Any = ImageFont.load_default(12)
    count = min(EPISODES, dataset.num_episodes)
    episodes = np.linspace(0, dataset.num_episodes - 1, count).round().astype(int).tolist()
    y, x = _side(dataset.frame_size)
    canvas = Image.new("RGB", (2 * MARGIN + FRAMES * (x + GAP), 2 * MARGIN + count * (y + LINE + GAP)), PAPER)
    draw = ImageDraw.Draw(canvas)
    for row, episode in enumerate(episodes):
        steps = np.unique(np.linspace(0, dataset.lengths[episode] - 1, FRAMES).round().astype(int))
        frames = dataset.frames(dataset.offsets[episode] + steps)
        top = MARGIN + row * (y + LINE + GAP)
        for column, (step, frame) in enumerate(zip(steps.tolist(), frames, strict=True)):
            left = MARGIN + column * (x + GAP)
            label = f"step {step}" if column else f"episode {episode}"
            draw.text((left, top), label, INK if column == 0 else GREY, font)
            canvas.paste(_enlarged(frame, (y, x)), (left, top + LINE))
    with replacing(path) as temporary:
        canvas.save(temporary, "png")


def film_episode(dataset: Dataset, episode: int, path: Path, fps: float) -> None:
    """Writes an .mp4 of an episode; under each frame, curves of the actions with a mark at the present one.

    Beside the step stands its time, if the dataset says at which rate it was recorded, whatever the film's `fps`.

    Raises:
        DataError: There is no such episode, PyAV or Pillow is not installed, or frames cannot be read.
    """
    import_pillow("a video of an episode")
    rows = dataset.rows(np.array([episode]))
    actions = dataset.column(ACTION, np.array([episode])).astype(np.float64)
    names = dataset.action_names or tuple(f"action[{number}]" for number in range(dataset.action_dim))
    factor = max(1, -(-FILM_SIDE // dataset.frame_size[1]))
    size = dataset.frame_size[0] * factor, dataset.frame_size[1] * factor
    with VideoWriter(path, fps) as video:
        for first in range(0, len(rows), TOGETHER):
            some = rows[first : first + TOGETHER]
            frames = dataset.frames(some)
            dataset.check_frames(some, frames)
            for step, frame in enumerate(frames, first):
                said = _said_step(step, len(rows), dataset.fps)
                video.write(_above_curves(_enlarged(frame, size), actions, step, said, names))


def import_pillow(what: str) -> None:
    """Raises unless Pillow is installed, which `what` needs.

    Raises:
        DataError: It is not.
    """
    try:
        import PIL.ImageDraw  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing(f"{what} needs Pillow", "video") from error


def _said_step(step: int, steps: int, fps: float | None) -> str:
    """A step of an episode in words, with its time where the rate is known."""
    return f"step {step} of {steps - 1}" + ("" if fps is None else f", {step / fps:.1f} s")


def _above_curves(
    picture: Image.Image, actions: Float[np.ndarray, "T A"], step: int, said: str, names: Sequence[str]
) -> UInt8[np.ndarray, "Y X 3"]:
    from PIL import Image, ImageDraw, ImageFont

    font: Any = ImageFont.load_default(12)
    drawn = min(actions.shape[1], MOST_CURVES)
    height = picture.height + LINE + GAP + drawn * CURVE
    canvas = Image.new("RGB", (picture.width + picture.width % 2, height + height % 2), PAPER)
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, picture.height + 2), said, INK, font)
    if actions.shape[1] > drawn:
        some = f"the first {drawn} of {actions.shape[1]} numbers of the action"
        draw.text((canvas.width - MARGIN, picture.height + 2), some, GREY, font, anchor="ra")
    across = np.linspace(MARGIN + LABEL, canvas.width - MARGIN, max(len(actions), 2))
    for number in range(drawn):
        values, top = actions[:, number], picture.height + LINE + GAP + number * CURVE
        least, greatest = (np.nanmin(values), np.nanmax(values)) if np.isfinite(values).any() else (0.0, 0.0)
        down = top + (CURVE - GAP) * (1 - (values - least) / (greatest - least or 1.0))
        points = [(float(a), float(b)) for a, b in zip(across, down, strict=False) if np.isfinite(b)]
        if len(points) > 1:
            draw.line(points, GREY, 2)
        if np.isfinite(values[step]):
            at = (float(across[step]), float(down[step]))
            draw.ellipse((at[0] - 3, at[1] - 3, at[0] + 3, at[1] + 3), fill=RED)
            draw.text(
                (MARGIN, top + (CURVE - GAP) / 2),
                f"{names[number][:LONGEST]} {values[step]:+.3g}",
                INK,
                font,
                anchor="lm",
            )
    return np.asarray(canvas)


def _side(size: tuple[int, int]) -> tuple[int, int]:
    """Y and X of a frame in the grid."""
    largest = max(size)
    if largest > MOST_SIDE:
        return round(size[0] * MOST_SIDE / largest), round(size[1] * MOST_SIDE / largest)
    factor = max(1, -(-LEAST_SIDE // largest))
    return size[0] * factor, size[1] * factor


def _enlarged(frame: UInt8[np.ndarray, "Y X 3"], size: tuple[int, int]) -> Image.Image:
    from PIL import Image

    larger = size[0] >= frame.shape[0]
    how = Image.Resampling.NEAREST if larger else Image.Resampling.BOX
    return Image.fromarray(frame).resize((size[1], size[0]), how)
