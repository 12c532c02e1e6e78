"""A video of an episode: what happened, beside the goal.

T frames, Y and X their sides.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lewm.evaluation.run import Film
from lewm_data.video import import_av, write_video

SIDE = 256  # a picture's least side in the video: small frames are enlarged by a whole factor
FRAMES_PER_SECOND = 10.0
HOLD = 8  # times the last frame is shown
BORDER = 6
GREY, GREEN, RED = (200, 200, 200), (40, 160, 70), (200, 50, 40)


def film_writer(directory: Path, ending: str) -> Callable[[Film], None]:
    """A function that writes each film to `directory`/episode-NNNN.`ending` ("mp4" or "gif")."""
    import_av()  # before hours of planning, not after
    directory.mkdir(parents=True, exist_ok=True)

    def write(film: Film) -> None:
        write_video(directory / f"episode-{film.task:04d}.{ending}", compose(film), FRAMES_PER_SECOND)

    return write


def compose(film: Film) -> UInt8[np.ndarray, "T Y X 3"]:
    """Episode on the left, goal on the right; the last frame is framed green when solved, red when not."""
    factor = max(1, -(-SIDE // film.frames.shape[1]))
    frames = film.frames.repeat(factor, axis=1).repeat(factor, axis=2)
    goal = film.goal.repeat(factor, axis=0).repeat(factor, axis=1)
    colours = [GREY] * (len(frames) - 1) + [GREEN if film.solved else RED] * HOLD
    shown = [*frames[:-1], *[frames[-1]] * HOLD]
    right = _framed(goal, GREY)
    return np.stack([np.hstack([_framed(f, c), right]) for f, c in zip(shown, colours, strict=True)])


def _framed(picture: UInt8[np.ndarray, "Y X 3"], colour: tuple[int, int, int]) -> UInt8[np.ndarray, "Y+12 X+12 3"]:
    height, width, _ = picture.shape
    canvas = np.empty((height + 2 * BORDER, width + 2 * BORDER, 3), dtype=np.uint8)
    canvas[:] = colour
    canvas[BORDER:-BORDER, BORDER:-BORDER] = picture
    return canvas
